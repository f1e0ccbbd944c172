//! Address prefixes, as in 192.0.2.0/24.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use stateless_tcp_core::tcp::segment::Address;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;

/// Bits before an IPv4 address in its IPv4-mapped form, which [`Address`] holds.
pub(super) const IPV4_BITS: u8 = 96;

/// An IPv4 or IPv6 prefix. Bits behind its length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNet);

/// The text is not a prefix, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidPrefix(String);

impl Prefix {
    /// The first address, and the prefix length in the 128 bits of an [`Address`].
    #[must_use]
    pub fn bits(&self) -> (Address, u8) {
        let mapped = if self.0.addr().is_ipv4() { IPV4_BITS } else { 0 };
        (self.0.network().into(), mapped + self.0.prefix_len())
    }

    /// Whether `address` has this prefix.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.0.contains(&IpAddr::from(*address))
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let host = |_| text.parse::<IpAddr>().map(IpNet::from);
        let net: IpNet = text.parse().or_else(host).map_err(|_| {
            InvalidPrefix(format!(
                "{text:?} is not a prefix: write an address, or an address with a prefix length as in 192.0.2.0/24"
            ))
        })?;
        if net.trunc() != net {
            return Err(InvalidPrefix(format!(
                "{net} has bits set behind its prefix length: write {}",
                net.trunc()
            )));
        }
        Ok(Self(net))
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        text.parse()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::network("192.0.2.0/24", "192.0.2.255", "192.0.3.0", 120)]
    #[case::host("192.0.2.7", "192.0.2.7", "192.0.2.6", 128)]
    #[case::all("0.0.0.0/0", "255.255.255.255", "2001:db8::1", 96)]
    #[case::six("2001:db8::/32", "2001:db8:ffff::", "2001:db9::", 32)]
    fn contains_its_addresses(
        #[case] text: &str,
        #[case] inside: IpAddr,
        #[case] outside: IpAddr,
        #[case] bits: u8,
    ) {
        let prefix: Prefix = text.parse().unwrap();
        assert!(prefix.contains(&inside.into()) && !prefix.contains(&outside.into()));
        assert_eq!(prefix.bits().1, bits);
    }

    #[rstest]
    #[case("192.0.2.1/24", "192.0.2.1/24 has bits set behind its prefix length: write 192.0.2.0/24")]
    #[case(
        "192.0.2.0/33",
        "\"192.0.2.0/33\" is not a prefix: write an address, or an address with a prefix length as in 192.0.2.0/24"
    )]
    #[case(
        "here",
        "\"here\" is not a prefix: write an address, or an address with a prefix length as in 192.0.2.0/24"
    )]
    fn an_invalid_prefix_is_explained(#[case] text: &str, #[case] error: &str) {
        assert_eq!(text.parse::<Prefix>().unwrap_err().to_string(), error);
    }
}
