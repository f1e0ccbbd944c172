//! Addresses of sockets: of upstreams, of the metrics listener, and of a dnstap reader.

use super::values::{InvalidValue, deserialize_from_text};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Largest path of a UNIX socket in bytes (unix(7)).
const MAX_PATH: usize = 107;

/// Address and port of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UpstreamAddress(SocketAddr);

impl UpstreamAddress {
    /// The address and port.
    pub(super) const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for UpstreamAddress {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let address = parse(text, 8080)?;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(InvalidValue::new(format!("{address} is not the address of a server")));
        }
        Ok(Self(address))
    }
}

/// Address and port to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// The address and port.
    pub(super) const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let address = parse(text, 9953)?;
        if address.port() == 0 || address.ip().is_multicast() {
            return Err(InvalidValue::new(format!("no client can connect to {address}")));
        }
        Ok(Self(address))
    }
}

fn parse(text: &str, example: u16) -> Result<SocketAddr, InvalidValue> {
    text.parse().map_err(|_| {
        InvalidValue::new(format!(
            "{text:?} is not an address with a port: write it as in 127.0.0.1:{example} or [::1]:{example}"
        ))
    })
}

/// The path of a UNIX socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SocketPath(PathBuf);

impl SocketPath {
    pub(super) fn into_inner(self) -> PathBuf {
        self.0
    }
}

impl FromStr for SocketPath {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.is_empty() || text.len() > MAX_PATH {
            return Err(InvalidValue::new(format!(
                "{text:?} is not the path of a UNIX socket, which has 1 to {MAX_PATH} bytes"
            )));
        }
        Ok(Self(text.into()))
    }
}

deserialize_from_text!(UpstreamAddress, ListenAddress, SocketPath);
