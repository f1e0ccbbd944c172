//! Options of the DNS relay.

use super::upstream_query::ClientSubnet;
use super::upstreams::DnsUpstream;
use std::time::Duration;

/// Options of the DNS relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRelayOptions {
    /// The upstreams: at least one, at most [`DnsUpstream::MAX`].
    pub upstreams: Vec<DnsUpstream>,
    /// The time after which the next upstream is asked as well.
    pub timeout: Duration,
    /// The longest time that a client waits.
    pub total_timeout: Duration,
    /// Limit on the queries in flight of each worker.
    pub in_flight: usize,
    /// Size of the answer cache in bytes; 0: no cache.
    pub cache: u64,
    /// Size of each worker's retransmission store in bytes.
    pub retransmit_store: usize,
    /// The client subnet option for upstreams (RFC 7871).
    pub client_subnet: ClientSubnet,
    /// Send the client's address and port to upstreams (PROXY protocol version 2).
    pub proxy_protocol: bool,
}

impl DnsRelayOptions {
    /// A short description.
    #[must_use]
    pub fn describe(&self) -> String {
        let names: Vec<String> = self.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
        format!("{}, relayed,", names.join(" and "))
    }
}
