//! Options of the DNS relay: what may be said, and what follows from it.

use super::count::Count;
use super::relay::{Endpoint, means_nothing_without};
use super::{ConfigError, Options};
use crate::services::dns::relay::{ClientSubnet, DnsRelayOptions, DnsUpstream};
use serde::Deserialize;
use std::time::Duration;

/// Mebibytes that answers may take.
pub type CacheSize = Count<0, 65_536>;
type StoreSize = Count<1, 65_536>;
/// At most half the IDs of one socket.
type InFlight = Count<1, 32_768>;
type Milliseconds = Count<10, 60_000>;
type Weight = Count<1, 1_000>;
/// What every server can do without EDNS (RFC 1035 section 4.2.1), and what is said to be wise at most (RFC 6891 section
/// 6.2.5).
type Payload = Count<512, 4_096>;

const CACHE: u32 = 64;
const STORE: u32 = 64;
const IN_FLIGHT: u32 = 4_096;
const TIMEOUT: u32 = 1_000;
const TOTAL: u32 = 4_000;

/// What every path carries (RFC 9715), and what this machine's own does.
const PAYLOAD: u16 = 1_232;
const PAYLOAD_LOOPBACK: u16 = 4_096;

/// The table `[dns]` of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Table {
    relay: Vec<Server>,
    timeout_ms: Option<Milliseconds>,
    total_timeout_ms: Option<Milliseconds>,
    in_flight: Option<InFlight>,
    store_mib: Option<StoreSize>,
    edns_client_subnet: bool,
    edns_client_subnet_from_clients: bool,
    proxy_protocol: bool,
}

/// A table `[[dns.relay]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Server {
    address: Endpoint,
    weight: Option<Weight>,
    edns_payload: Option<Payload>,
}

impl From<Endpoint> for Server {
    fn from(address: Endpoint) -> Self {
        Self { address, weight: None, edns_payload: None }
    }
}

impl From<&Server> for DnsUpstream {
    fn from(server: &Server) -> Self {
        let address = server.address.get();
        let usual = if address.ip().is_loopback() { PAYLOAD_LOOPBACK } else { PAYLOAD };
        let said = server.edns_payload.and_then(|payload| u16::try_from(payload.get()).ok());
        Self { address, weight: server.weight.map_or(1, Count::get), payload: said.unwrap_or(usual) }
    }
}

impl Options {
    /// How questions are relayed, if they are.
    pub(super) fn relay_dns(&self) -> Result<Option<DnsRelayOptions>, ConfigError> {
        let servers: Vec<Server> = match &self.dns_relay[..] {
            [] => self.dns.relay.clone(),
            flags => flags.iter().copied().map(Server::from).collect(),
        };
        if servers.is_empty() {
            let said = [(self.dns_cache.is_some(), "--dns-cache"), (self.dns != Table::default(), "[dns]")];
            return means_nothing_without("--dns-relay", &said).map(|()| None);
        }
        let zones = [(!self.zone.is_empty(), "--zone"), (!self.zone_dir.is_empty(), "--zone-dir")];
        for (said, name) in zones.into_iter().chain([(self.minimal_any, "--minimal-any")]) {
            if said {
                return Err(ConfigError::invalid(format!(
                    "--dns-relay and {name} cannot both be had: questions are answered by servers or from zones; leave \
                     out one of them"
                )));
            }
        }
        let upstreams: Vec<DnsUpstream> = servers.iter().map(DnsUpstream::from).collect();
        for (index, DnsUpstream { address, .. }) in upstreams.iter().enumerate() {
            if upstreams[..index].iter().any(|other| other.address == *address) {
                return Err(ConfigError::invalid(format!(
                    "the server {address} is named twice: name it once, and give it a weight in the file"
                )));
            }
        }
        if upstreams.len() > DnsUpstream::MAX {
            return Err(ConfigError::invalid(format!(
                "{} servers are too many: {} can be asked",
                upstreams.len(),
                DnsUpstream::MAX
            )));
        }
        let table = &self.dns;
        let timeout = table.timeout_ms.map_or(TIMEOUT, Count::get);
        let total = table.total_timeout_ms.map_or(TOTAL.max(timeout), Count::get);
        if total < timeout {
            return Err(ConfigError::invalid(format!(
                "total-timeout-ms = {total} leaves no server the time that timeout-ms = {timeout} gives it"
            )));
        }
        let client_subnet = match (table.edns_client_subnet, table.edns_client_subnet_from_clients) {
            (true, true) => ClientSubnet::FromClientOrAddress,
            (true, false) => ClientSubnet::FromAddress,
            (false, false) => ClientSubnet::PassThrough,
            (false, true) => {
                return Err(ConfigError::invalid(
                    "edns-client-subnet-from-clients means nothing without edns-client-subnet: what clients say goes on \
                     then; leave it out",
                ));
            }
        };
        Ok(Some(DnsRelayOptions {
            upstreams,
            timeout: Duration::from_millis(timeout.into()),
            total_timeout: Duration::from_millis(total.into()),
            in_flight: table.in_flight.map_or(IN_FLIGHT, Count::get) as usize,
            cache: u64::from(self.dns_cache.map_or(CACHE, Count::get)) << 20,
            retransmit_store: (table.store_mib.map_or(STORE, Count::get) as usize) << 20,
            client_subnet,
            proxy_protocol: table.proxy_protocol,
        }))
    }
}
