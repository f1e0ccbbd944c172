//! Options about clients: access lists, rate limits, and DNS over UDP.

use crate::acl::ClientPolicies;
use clap::ValueEnum;
use serde::Deserialize;
use stateless_tcp_core::admission::{Limit, MAX_RATE, PacketKind};
use stateless_tcp_core::steering::ClientPolicy;
use stateless_tcp_core::tcp::isn::Key;
use stateless_tcp_ebpf::abi::MAX_CLIENTS;

use super::{Bounded, ConfigError, RunOptions};

/// Tokens for each second.
pub(super) type Rate = Bounded<1, MAX_RATE>;
/// The length of an IPv4 prefix.
pub(super) type Ipv4Length = Bounded<0, 32>;
/// The length of an IPv6 prefix.
pub(super) type Ipv6Length = Bounded<0, 128>;

/// The options that list clients.
const LISTS: [(ClientPolicy, &str); 3] = [
    (ClientPolicy::PassToKernel, "--kernel-from"),
    (ClientPolicy::Deny, "--deny"),
    (ClientPolicy::Allow, "--allow"),
];

/// Default tokens for each second for queries over UDP.
const UDP_RATE: u32 = 1000;

/// The handling of DNS over UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UdpMode {
    /// Queries are passed to the kernel, for a name server there
    #[default]
    Kernel,
    /// Queries are answered with TC, so that clients retry over TCP
    Truncate,
}

/// The handling of served traffic that has IPv6 extension headers. What is denied or limited is dropped in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExtensionHeaders {
    /// It is dropped
    #[default]
    Drop,
    /// It is passed to the kernel, which answers it if a program listens there, and resets it otherwise
    Kernel,
}

/// The rate limit for the clients of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens for each second; `None`: no limit, except over UDP.
    pub rate: Option<u32>,
    /// Prefix length of a network's IPv4 addresses.
    pub ipv4: u32,
    /// Prefix length of a network's IPv6 addresses.
    pub ipv6: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { rate: None, ipv4: 24, ipv6: 56 }
    }
}

impl RateLimit {
    /// The limit that the XDP program applies. `key` is random, so that clients cannot predict collisions in its table.
    #[must_use]
    pub fn limit(&self, key: Key) -> Limit {
        let rate = |kind| match kind {
            PacketKind::Datagram => Some(self.rate.unwrap_or(UDP_RATE)),
            PacketKind::Syn | PacketKind::Data => self.rate,
        };
        Limit::new(key, rate, self.ipv4, self.ipv6)
    }
}

impl RunOptions {
    /// The access lists.
    pub(super) fn clients(&self) -> Result<ClientPolicies, ConfigError> {
        let mut clients = ClientPolicies::default();
        for ((policy, name), prefixes) in LISTS.into_iter().zip([&self.kernel_from, &self.deny, &self.allow])
        {
            for prefix in prefixes {
                let Some(other) = clients.add(prefix, policy) else { continue };
                let other = LISTS.iter().find(|(policy, _)| *policy == other).map_or("", |(_, name)| name);
                return Err(ConfigError::invalid(format!(
                    "{name} {prefix} is listed by {other}, too: leave out one of them"
                )));
            }
        }
        if clients.len() > MAX_CLIENTS as usize {
            return Err(ConfigError::invalid(format!(
                "{} prefixes of --kernel-from, --deny and --allow are too many: the limit is {MAX_CLIENTS}",
                clients.len()
            )));
        }
        Ok(clients)
    }

    /// The rate limit.
    pub(super) fn rate_limit(&self) -> Result<RateLimit, ConfigError> {
        let default = RateLimit::default();
        let lengths = self.rate_prefix_ipv4.is_some() || self.rate_prefix_ipv6.is_some();
        if lengths && self.rate_limit.is_none() && self.udp.unwrap_or_default() == UdpMode::Kernel {
            return Err(ConfigError::invalid(
                "--rate-prefix-ipv4 and --rate-prefix-ipv6 have no effect without --rate-limit or --udp truncate: leave \
                 them out",
            ));
        }
        Ok(RateLimit {
            rate: self.rate_limit.map(Rate::get),
            ipv4: self.rate_prefix_ipv4.map_or(default.ipv4, Ipv4Length::get),
            ipv6: self.rate_prefix_ipv6.map_or(default.ipv6, Ipv6Length::get),
        })
    }
}
