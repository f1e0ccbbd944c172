//! Options about what the program shows of itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Deserialize;

use super::values::BadValue;

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines of text
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Address and port to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// The two.
    pub(super) const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for ListenAddress {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let address: SocketAddr = text.parse().map_err(|_| {
            BadValue::new(format!(
                "{text:?} is no address with a port: write it as in 127.0.0.1:9953 or [::1]:9953"
            ))
        })?;
        if address.port() == 0 || address.ip().is_multicast() {
            return Err(BadValue::new(format!("nobody can be told to find anything at {address}")));
        }
        Ok(Self(address))
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

/// Octets of the path of a UNIX socket at the most (unix(7)).
const LONGEST_PATH: usize = 107;

/// Where a UNIX socket is, or will be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SocketPath(PathBuf);

impl SocketPath {
    pub(super) fn into_inner(self) -> PathBuf {
        self.0
    }
}

impl FromStr for SocketPath {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text.is_empty() || text.len() > LONGEST_PATH {
            return Err(BadValue::new(format!(
                "{text:?} is no path of a UNIX socket, which has 1 to {LONGEST_PATH} octets"
            )));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for SocketPath {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}
