//! Single values of the configuration: each type holds only what is valid, whether a flag or a file said it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Deserialize;
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_ebpf::abi::MAX_QUEUES;

/// The mode in which the XDP program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// Native if the driver supports it, else generic
    #[default]
    Auto,
    /// In the driver, or fail
    Native,
    /// In the kernel's general receive path: slower, works with every driver
    Generic,
}

/// The component that answers segments that need no content: SYN, FIN, and acknowledgments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Handshake {
    /// The XDP program if that is known to work, else the workers
    #[default]
    Auto,
    /// The XDP program, in the driver; unusual segments go to the workers
    Driver,
    /// The workers, through the ring
    Ring,
}

/// The way of frames from the driver to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// Zero-copy if the driver supports it, else copied
    #[default]
    Auto,
    /// Zero-copy, or fail
    Always,
    /// Copied
    Never,
}

/// The log level of the XDP program: it logs messages of this level and above.
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
    /// The level, unless nothing is logged.
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

/// The name of a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RuleSet {
    /// Acknowledge a request at once; segments that the network loses stay lost
    Classic,
    /// Acknowledge a request with its answer, so that the client's retransmission recovers losses
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

/// Why a value is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue(String);

impl BadValue {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BadValue {}

/// A TCP port, not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Port(u16);

impl Port {
    /// DNS's.
    pub const DNS: Self = Self(53);
    /// HTTP's.
    pub const HTTP: Self = Self(80);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for Port {
    type Error = BadValue;

    fn try_from(number: i64) -> Result<Self, BadValue> {
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(Self(port)),
            _ => Err(BadValue(format!("{number} is no port: ports are 1 to 65535"))),
        }
    }
}

impl FromStr for Port {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        number(text)?.try_into()
    }
}

/// Most octets of payload in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct SegmentSize(u16);

impl SegmentSize {
    /// The number of octets.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for SegmentSize {
    type Error = BadValue;

    fn try_from(number: i64) -> Result<Self, BadValue> {
        match u16::try_from(number) {
            Ok(size @ 64..=1220) => Ok(Self(size)),
            _ => Err(BadValue(format!(
                "{number} is no segment size: 64 to 1220 octets fit every path (IPv6 carries 1280)"
            ))),
        }
    }
}

impl FromStr for SegmentSize {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        number(text)?.try_into()
    }
}

/// Seconds that a DNS connection may be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Keepalive(u16);

impl Keepalive {
    /// What 16 bits of 100 ms each can say (RFC 7828 section 3.1), in whole seconds.
    const MAX: u16 = u16::MAX / 10;

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Keepalive {
    /// As long as clients care to keep one: an idle connection costs nothing here.
    fn default() -> Self {
        Self(120)
    }
}

impl TryFrom<i64> for Keepalive {
    type Error = BadValue;

    fn try_from(number: i64) -> Result<Self, BadValue> {
        match u16::try_from(number) {
            Ok(seconds @ 0..=Self::MAX) => Ok(Self(seconds)),
            _ => Err(BadValue(format!(
                "{number} seconds cannot be told: 1 to {} can, and with 0 nothing is",
                Self::MAX
            ))),
        }
    }
}

impl FromStr for Keepalive {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        number(text)?.try_into()
    }
}

/// How many connections a worker remembers something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Hints(usize);

impl Hints {
    /// The number of connections.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for Hints {
    /// 256 KiB: with it, a second-level cache holds the whole table.
    fn default() -> Self {
        Self(4_096)
    }
}

impl TryFrom<i64> for Hints {
    type Error = BadValue;

    fn try_from(number: i64) -> Result<Self, BadValue> {
        match usize::try_from(number) {
            Ok(places @ 0..=1_048_576) => Ok(Self(places)),
            _ => Err(BadValue(format!(
                "{number} is no number of connections to remember: 0 to 1048576, which is 64 MiB a queue"
            ))),
        }
    }
}

impl FromStr for Hints {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        number(text)?.try_into()
    }
}

pub(super) fn number(text: &str) -> Result<i64, BadValue> {
    text.parse().map_err(|_| BadValue(format!("{text:?} is no number")))
}

/// An address that TCP can be served on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "IpAddr")]
pub struct Address(IpAddr);

impl Address {
    /// The address.
    #[must_use]
    pub const fn get(self) -> IpAddr {
        self.0
    }
}

impl TryFrom<IpAddr> for Address {
    type Error = BadValue;

    fn try_from(address: IpAddr) -> Result<Self, BadValue> {
        let what = match address {
            _ if address.is_unspecified() => "names no host: leave it out to serve the interface's own",
            _ if address.is_multicast() => "is a multicast address, which TCP does not know",
            IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address, which TCP does not know",
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                "is an IPv4 address written as IPv6, which no packet carries: write it as IPv4"
            }
            _ => return Ok(Self(address)),
        };
        Err(BadValue(format!("{address} {what}")))
    }
}

impl FromStr for Address {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let address: IpAddr = text.parse().map_err(|_| {
            BadValue(format!("{text:?} is no IP address: write it without port, prefix length and zone"))
        })?;
        address.try_into()
    }
}

/// Receive queues, at least one, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Queues(Vec<u32>);

impl Queues {
    /// The queues' numbers.
    #[must_use]
    pub fn get(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn into_inner(self) -> Vec<u32> {
        self.0
    }
}

impl FromStr for Queues {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let bad =
            |what: &str| BadValue(format!("{text:?} is no list of queues ({what}): write it as in 0,2-5"));
        let queue = |text: &str| match text.trim().parse::<u32>() {
            Ok(queue) if queue < MAX_QUEUES => Ok(queue),
            Ok(queue) => Err(bad(&format!("{queue} is above {}", MAX_QUEUES - 1))),
            Err(_) => Err(bad(&format!("{text:?} is no number"))),
        };
        if text.trim().is_empty() {
            return Err(bad("it is empty"));
        }
        let mut queues = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (queue(first)?, queue(last)?);
            if first > last {
                return Err(bad(&format!("{part:?} goes backwards")));
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

impl TryFrom<String> for Queues {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}
