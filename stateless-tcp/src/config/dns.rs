//! Options of the DNS relay.

use super::check::{excludes, requires};
use super::{Bounded, ConfigError, RunOptions, UpstreamAddress};
use crate::services::dns::relay::{ClientSubnet, DnsRelayOptions, DnsUpstream};
use serde::Deserialize;
use std::time::Duration;

/// Size of the cache in MiB.
pub type CacheSize = Bounded<0, 65_536>;
/// Queries in flight: at most half the IDs of one socket.
type QueriesInFlight = Bounded<1, 32_768>;
type QueryTimeout = Bounded<10, 60_000>;
/// From the limit without EDNS (RFC 1035 section 4.2.1) to the recommended maximum (RFC 6891 section 6.2.5).
type UdpPayload = Bounded<512, 4_096>;

const CACHE: u32 = 64;
const STORE: u32 = 64;
const IN_FLIGHT: u32 = 4_096;
const TIMEOUT: u32 = 1_000;
const TOTAL: u32 = 4_000;

/// A payload that every path carries (RFC 9715), and one for the loopback interface.
const PAYLOAD: u16 = 1_232;
const PAYLOAD_LOOPBACK: u16 = 4_096;

/// The table `[dns]` of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DnsTable {
    relay: Vec<UpstreamEntry>,
    timeout_ms: Option<QueryTimeout>,
    total_timeout_ms: Option<QueryTimeout>,
    in_flight: Option<QueriesInFlight>,
    store_mib: Option<Bounded<1, 65_536>>,
    edns_client_subnet: bool,
    edns_client_subnet_from_clients: bool,
    proxy_protocol: bool,
}

/// A table `[[dns.relay]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UpstreamEntry {
    address: UpstreamAddress,
    weight: Option<Bounded<1, 1_000>>,
    edns_payload: Option<UdpPayload>,
}

impl From<UpstreamAddress> for UpstreamEntry {
    fn from(address: UpstreamAddress) -> Self {
        Self { address, weight: None, edns_payload: None }
    }
}

impl From<&UpstreamEntry> for DnsUpstream {
    fn from(server: &UpstreamEntry) -> Self {
        let address = server.address.get();
        let default = if address.ip().is_loopback() { PAYLOAD_LOOPBACK } else { PAYLOAD };
        let payload = server.edns_payload.map_or(default, UdpPayload::get_u16);
        Self { address, weight: server.weight.map_or(1, Bounded::get), payload }
    }
}

impl RunOptions {
    /// The relay's options, if there is one.
    pub(super) fn relay_dns(&self) -> Result<Option<DnsRelayOptions>, ConfigError> {
        let servers: Vec<UpstreamEntry> = match &self.dns_relay[..] {
            [] => self.dns.relay.clone(),
            flags => flags.iter().copied().map(UpstreamEntry::from).collect(),
        };
        if servers.is_empty() {
            let given =
                [(self.dns_cache.is_some(), "--dns-cache"), (self.dns != DnsTable::default(), "[dns]")];
            return requires("--dns-relay", &given).map(|()| None);
        }
        let zones = "queries are answered by upstreams, or from zones";
        excludes(!self.zone.is_empty(), "--dns-relay", "--zone", zones)?;
        excludes(!self.zone_dir.is_empty(), "--dns-relay", "--zone-dir", zones)?;
        excludes(self.minimal_any, "--dns-relay", "--minimal-any", zones)?;
        let upstreams: Vec<DnsUpstream> = servers.iter().map(DnsUpstream::from).collect();
        for (index, DnsUpstream { address, .. }) in upstreams.iter().enumerate() {
            if upstreams[..index].iter().any(|other| other.address == *address) {
                return Err(ConfigError::invalid(format!(
                    "the server {address} is named twice: name it once, and set its weight in the file"
                )));
            }
        }
        if upstreams.len() > DnsUpstream::MAX {
            return Err(ConfigError::invalid(format!(
                "{} servers are too many: the limit is {}",
                upstreams.len(),
                DnsUpstream::MAX
            )));
        }
        let table = &self.dns;
        let timeout = table.timeout_ms.map_or(TIMEOUT, Bounded::get);
        let total = table.total_timeout_ms.map_or(TOTAL.max(timeout), Bounded::get);
        if total < timeout {
            return Err(ConfigError::invalid(format!(
                "total-timeout-ms = {total} is less than timeout-ms = {timeout}: it limits all attempts together"
            )));
        }
        let client_subnet = match (table.edns_client_subnet, table.edns_client_subnet_from_clients) {
            (true, true) => ClientSubnet::FromClientOrAddress,
            (true, false) => ClientSubnet::FromAddress,
            (false, false) => ClientSubnet::PassThrough,
            (false, true) => {
                return Err(ConfigError::invalid(
                    "edns-client-subnet-from-clients has no effect without edns-client-subnet: the option of clients is \
                     forwarded then; leave it out",
                ));
            }
        };
        Ok(Some(DnsRelayOptions {
            upstreams,
            timeout: Duration::from_millis(timeout.into()),
            total_timeout: Duration::from_millis(total.into()),
            in_flight: table.in_flight.map_or(IN_FLIGHT, Bounded::get) as usize,
            cache: u64::from(self.dns_cache.map_or(CACHE, Bounded::get)) << 20,
            retransmit_store: (table.store_mib.map_or(STORE, Bounded::get) as usize) << 20,
            client_subnet,
            proxy_protocol: table.proxy_protocol,
        }))
    }
}
