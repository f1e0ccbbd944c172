//! Which clients are served, how much they may ask for, and what becomes of questions over UDP.

use crate::serving::clients::Clients;
use clap::ValueEnum;
use serde::Deserialize;
use stateless_tcp_core::admission::{Limit, MAX_RATE, PacketKind};
use stateless_tcp_core::steering::ClientPolicy;
use stateless_tcp_core::tcp::isn::Key;
use stateless_tcp_ebpf::abi::MAX_CLIENTS;

use super::count::Count;

use super::{ConfigError, Options};

/// Tokens a second.
pub(super) type Rate = Count<1, MAX_RATE>;
/// Bits of an IPv4 address.
pub(super) type Bits4 = Count<0, 32>;
/// Bits of an IPv6 address.
pub(super) type Bits6 = Count<0, 128>;

/// The options that say something of clients.
const TREATMENTS: [(ClientPolicy, &str); 3] = [
    (ClientPolicy::PassToKernel, "--kernel-from"),
    (ClientPolicy::Deny, "--deny"),
    (ClientPolicy::Allow, "--allow"),
];

/// Tokens a second for questions over UDP, where nothing else is said.
const UDP_RATE: u32 = 1000;

/// The reply to DNS queries over UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Udp {
    /// Leave them to the kernel, and so to a name server there
    #[default]
    Kernel,
    /// Answer with TC set, so that clients ask over TCP
    Truncate,
}

/// How much the clients of one network may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens a second; `None`: as many as they like, but not over UDP.
    pub rate: Option<u32>,
    /// Bits that the IPv4 addresses of a network have in common.
    pub ipv4: u32,
    /// Bits that the IPv6 addresses of a network have in common.
    pub ipv6: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { rate: None, ipv4: 24, ipv6: 56 }
    }
}

impl RateLimit {
    /// As it is applied, by a table that `key`, which is random, makes unpredictable.
    #[must_use]
    pub fn limit(&self, key: Key) -> Limit {
        let rate = |kind| match kind {
            PacketKind::Datagram => Some(self.rate.unwrap_or(UDP_RATE)),
            PacketKind::Syn | PacketKind::Data => self.rate,
        };
        Limit::new(key, rate, self.ipv4, self.ipv6)
    }
}

impl Options {
    pub(super) fn clients(&self) -> Result<Clients, ConfigError> {
        let mut clients = Clients::default();
        for ((treatment, name), prefixes) in
            TREATMENTS.into_iter().zip([&self.kernel_from, &self.deny, &self.allow])
        {
            for prefix in prefixes {
                let Some(other) = clients.add(prefix, treatment) else { continue };
                let other =
                    TREATMENTS.iter().find(|(treatment, _)| *treatment == other).map_or("", |(_, name)| name);
                return Err(ConfigError::invalid(format!(
                    "{name} {prefix} is said by {other} too: leave out one of them"
                )));
            }
        }
        if clients.len() > MAX_CLIENTS as usize {
            return Err(ConfigError::invalid(format!(
                "{} prefixes of --kernel-from, --deny and --allow are too many: {MAX_CLIENTS} can be told apart",
                clients.len()
            )));
        }
        Ok(clients)
    }

    pub(super) fn rate_limit(&self) -> Result<RateLimit, ConfigError> {
        let default = RateLimit::default();
        let lengths = self.rate_prefix_ipv4.is_some() || self.rate_prefix_ipv6.is_some();
        if lengths && self.rate_limit.is_none() && self.udp.unwrap_or_default() == Udp::Kernel {
            return Err(ConfigError::invalid(
                "--rate-prefix-ipv4 and --rate-prefix-ipv6 mean nothing without --rate-limit or --udp truncate: leave \
                 them out",
            ));
        }
        Ok(RateLimit {
            rate: self.rate_limit.map(Rate::get),
            ipv4: self.rate_prefix_ipv4.map_or(default.ipv4, Bits4::get),
            ipv6: self.rate_prefix_ipv6.map_or(default.ipv6, Bits6::get),
        })
    }
}
