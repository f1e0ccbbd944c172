//! Options of the DNS relay.

use super::upstream_query::ClientSubnet;
use super::upstreams::DnsUpstream;
use std::time::Duration;

/// How questions are relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRelayOptions {
    /// Who is asked; at least one, at most [`DnsUpstream::MOST`].
    pub upstreams: Vec<DnsUpstream>,
    /// How long a back end may take until the next is asked, too.
    pub timeout: Duration,
    /// How long a client waits at most.
    pub total_timeout: Duration,
    /// Most queries in flight at each worker.
    pub in_flight: usize,
    /// Octets of answers that are kept for the next who asks; 0: none.
    pub cache: u64,
    /// Octets of answers sent that each worker keeps, for clients that have a part of them.
    pub retransmit_store: usize,
    /// What servers are told of the client's network (RFC 7871).
    pub client_subnet: ClientSubnet,
    /// Tell back ends the client's address and port (PROXY protocol, version 2).
    pub proxy_protocol: bool,
}

impl DnsRelayOptions {
    /// In a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        let names: Vec<String> = self.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
        format!("{}, relayed,", names.join(" and "))
    }
}
