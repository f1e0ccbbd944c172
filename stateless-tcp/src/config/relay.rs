//! Values of relays' options: each holds only what is valid.

use super::ConfigError;
use super::values::BadValue;
use serde::Deserialize;
use std::net::SocketAddr;
use std::str::FromStr;

/// Address and port of a server that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(SocketAddr);

impl Endpoint {
    /// The two.
    pub(super) const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Endpoint {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let address: SocketAddr = text.parse().map_err(|_| {
            BadValue::new(format!(
                "{text:?} is no address with a port: write it as in 127.0.0.1:8080 or [::1]:8080"
            ))
        })?;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(BadValue::new(format!("{address} names no server that can be asked")));
        }
        Ok(Self(address))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

/// Refuses what was said of a relay where `option` names none.
pub(super) fn means_nothing_without(option: &str, said: &[(bool, &str)]) -> Result<(), ConfigError> {
    match said.iter().find(|(said, _)| *said) {
        Some((_, name)) => Err(ConfigError::invalid(format!(
            "{name} means nothing without {option}: leave it out, or name a server to ask"
        ))),
        None => Ok(()),
    }
}
