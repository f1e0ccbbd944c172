//! Values of options. Each type holds valid values only, from a flag or a file.

use crate::services::dns::ServerName;
use clap::ValueEnum;
use serde::Deserialize;
use stateless_tcp_core::steering::VlanTags;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_ebpf::abi::MAX_QUEUES;
use std::net::IpAddr;
use std::str::FromStr;

/// The mode in which the XDP program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// Native if the driver supports it, else generic
    #[default]
    Auto,
    /// In the driver, or fail
    Native,
    /// In the kernel's network stack: works with every driver, slower
    Generic,
}

/// The place where handshakes are answered: SYN, FIN, and acknowledgments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HandshakeMode {
    /// By the workers with zero-copy; where frames are copied, in the driver if that is known to work, else by the workers
    #[default]
    Auto,
    /// In the driver, by the XDP program; unusual segments go to the workers
    Driver,
    /// By the workers, through the ring
    Ring,
}

/// The use of zero-copy between driver and workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// Zero-copy if the driver supports it, else copies
    #[default]
    Auto,
    /// Zero-copy, or fail
    Always,
    /// Copies
    Never,
}

/// The log level of the XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum XdpLog {
    /// Nothing, at no cost
    #[default]
    Off,
    /// Errors
    Error,
    /// Warnings
    Warn,
    /// Rare events
    Info,
    /// Frequent events
    Debug,
    /// Every frame
    Trace,
}

impl XdpLog {
    /// The level; `None` if nothing is logged.
    #[must_use]
    pub const fn level(self) -> Option<log::Level> {
        match self {
            Self::Off => None,
            Self::Error => Some(log::Level::Error),
            Self::Warn => Some(log::Level::Warn),
            Self::Info => Some(log::Level::Info),
            Self::Debug => Some(log::Level::Debug),
            Self::Trace => Some(log::Level::Trace),
        }
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines of text
    #[default]
    Text,
    /// A JSON object for each line
    Json,
}

/// The name of a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RuleSet {
    /// A request is acknowledged at once; a response that the network loses stays lost
    Classic,
    /// A request is acknowledged with its response, so that the client retransmits it after a loss
    Reliable,
}

impl From<RuleSet> for AckPolicy {
    fn from(name: RuleSet) -> Self {
        match name {
            RuleSet::Classic => Self::Classic,
            RuleSet::Reliable => Self::Reliable,
        }
    }
}

/// The reason why a value is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

impl InvalidValue {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }
}

/// Makes types that are parsed from text readable from a file as well.
macro_rules! deserialize_from_text {
    ($($name:ident),*) => {
        $(impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                text.parse()
            }
        })*
    };
}
pub(super) use deserialize_from_text;

/// An address that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServedAddress(IpAddr);

impl ServedAddress {
    /// The address.
    #[must_use]
    pub const fn get(self) -> IpAddr {
        self.0
    }
}

impl TryFrom<IpAddr> for ServedAddress {
    type Error = InvalidValue;

    fn try_from(address: IpAddr) -> Result<Self, InvalidValue> {
        let what = match address {
            _ if address.is_unspecified() => {
                "is not the address of a host: leave it out to serve the interface's own addresses"
            }
            _ if address.is_multicast() => "is a multicast address, which TCP does not use",
            IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address, which TCP does not use",
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                "is an IPv4-mapped address, which no packet carries: write it as IPv4"
            }
            _ => return Ok(Self(address)),
        };
        Err(InvalidValue(format!("{address} {what}")))
    }
}

impl FromStr for ServedAddress {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let address: IpAddr = text.parse().map_err(|_| {
            InvalidValue(format!(
                "{text:?} is not an IP address: write it without port, prefix length and zone"
            ))
        })?;
        address.try_into()
    }
}

/// A non-empty, sorted list of receive queues.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Queues(Vec<u32>);

impl Queues {
    /// The numbers of the queues.
    #[must_use]
    pub fn get(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn into_inner(self) -> Vec<u32> {
        self.0
    }
}

impl FromStr for Queues {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let bad = |what: &str| {
            InvalidValue(format!("{text:?} is not a list of queues ({what}): write it as in 0,2-5"))
        };
        let queue = |text: &str| match text.trim().parse::<u32>() {
            Ok(queue) if queue < MAX_QUEUES => Ok(queue),
            Ok(queue) => Err(bad(&format!("{queue} is above {}", MAX_QUEUES - 1))),
            Err(_) => Err(bad(&format!("{text:?} is not a number"))),
        };
        if text.trim().is_empty() {
            return Err(bad("it is empty"));
        }
        let mut queues = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (queue(first)?, queue(last)?);
            if first > last {
                return Err(bad(&format!("{part:?} is not ascending")));
            }
            queues.extend(first..=last);
        }
        queues.sort_unstable();
        if let Some([queue, ..]) = queues.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(bad(&format!("queue {queue} is named twice")));
        }
        Ok(Self(queues))
    }
}

/// The name that a server tells clients who ask which one answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IdentityName(ServerName);

impl IdentityName {
    /// The name.
    #[must_use]
    pub const fn get(self) -> ServerName {
        self.0
    }
}

impl FromStr for IdentityName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        ServerName::new(text).filter(|_| printable).map(Self).ok_or_else(|| {
            InvalidValue(format!(
                "write 1 to {} printable ASCII characters, as in ns1.example.net",
                ServerName::MAX
            ))
        })
    }
}

/// A VLAN: an identifier, or two for a VLAN within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServedVlan(VlanTags);

impl ServedVlan {
    /// The tags of its frames.
    #[must_use]
    pub const fn get(self) -> VlanTags {
        self.0
    }
}

impl FromStr for ServedVlan {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let id = |text: &str| text.parse().ok().filter(|id| (1..=4094).contains(id));
        let within = |tags: VlanTags, text: &str| tags.within(id(text)?);
        text.split('.').try_fold(VlanTags::NONE, within).map(Self).ok_or_else(|| {
            InvalidValue(format!(
                "{text:?} is not a VLAN: write its identifier, 1 to 4094, or OUTER.INNER for a VLAN within one"
            ))
        })
    }
}

deserialize_from_text!(IdentityName, Queues, ServedAddress, ServedVlan);
