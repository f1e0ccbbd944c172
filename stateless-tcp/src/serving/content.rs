//! Addresses, services and client policies: everything that one reload replaces at once.

use crate::acl::ClientPolicies;
use crate::fingerprint::Fingerprint;
use crate::services::{Service, Upstream};
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::steering::{ClientPolicy, Steering, VlanTags};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::Settings;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Version of the answers that this program gives to the same question from the same content. It goes into the fingerprint:
/// a response that one version began may be finished by another only if both give the same bytes.
const ANSWER_VERSION: u32 = 2;

/// The services at the served addresses, shared by all workers.
#[derive(Clone)]
pub struct Content {
    /// In ascending order ([`ascending`]).
    addresses: Arc<[Address]>,
    services: Vec<(u16, Arc<dyn Service>)>,
    fingerprint: Option<Fingerprint>,
    clients: ClientPolicies,
    vlans: Vec<VlanTags>,
    settings: Settings,
}

impl Content {
    /// Serves each service at its TCP port on all of `addresses`. Computes the fingerprint, and so reads all zones and files.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = Address>, services: Vec<(u16, Arc<dyn Service>)>) -> Self {
        let fingerprint = |(port, service): &(u16, Arc<dyn Service>)| Some((*port, service.fingerprint()?));
        let all: Option<Vec<_>> = services.iter().map(fingerprint).collect();
        Self {
            addresses: ascending(addresses),
            fingerprint: all.map(|all| Fingerprint::new(&(ANSWER_VERSION, all))),
            services,
            clients: ClientPolicies::default(),
            vlans: Vec::new(),
            settings: Settings::default(),
        }
    }

    /// The same content at these addresses.
    #[must_use]
    pub fn with_addresses(self, addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { addresses: ascending(addresses), ..self }
    }

    /// The same content with these client policies.
    #[must_use]
    pub fn with_clients(self, clients: ClientPolicies) -> Self {
        Self { clients, ..self }
    }

    /// The same content, also for these VLANs.
    #[must_use]
    pub fn with_vlans(self, vlans: Vec<VlanTags>) -> Self {
        Self { vlans, ..self }
    }

    /// The VLANs that it is for besides those of the host.
    #[must_use]
    pub fn vlans(&self) -> &[VlanTags] {
        &self.vlans
    }

    /// The same content with these settings of the XDP program.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The settings of the XDP program. It alone applies the rate limit, before a frame gets to a worker.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The client policies.
    #[must_use]
    pub fn clients(&self) -> &ClientPolicies {
        &self.clients
    }

    /// The served addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter()
    }

    /// The served TCP ports.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.services.iter().map(|&(port, _)| port)
    }

    /// The services, with their ports.
    pub fn services(&self) -> impl Iterator<Item = (u16, &dyn Service)> {
        self.services.iter().map(|(port, service)| (*port, &**service))
    }

    /// Whether every process that serves this content gives the same answers, as no answer is fetched from an upstream.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        self.upstreams().next().is_none()
    }

    /// The fingerprint of all services and their ports; `None` if a service has none. A connection that began with one
    /// content can continue with another of the same fingerprint: both give the same bytes.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// The upstreams of all services.
    pub fn upstreams(&self) -> impl Iterator<Item = &dyn Upstream> {
        self.services.iter().filter_map(|(_, service)| service.upstream())
    }

    /// The service at `port`.
    #[inline]
    #[must_use]
    pub fn service(&self, port: u16) -> Option<&dyn Service> {
        self.services.iter().find(|&&(served, _)| served == port).map(|(_, service)| &**service)
    }
}

/// The addresses, each once, as [`Content`] searches them.
fn ascending(addresses: impl IntoIterator<Item = Address>) -> Arc<[Address]> {
    addresses.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

impl Steering for Content {
    #[inline]
    fn address(&self, address: &Address) -> bool {
        match &self.addresses[..] {
            // The usual host.
            [only] => only == address,
            all => all.binary_search(address).is_ok(),
        }
    }

    #[inline]
    fn port(&self, port: u16) -> bool {
        self.service(port).is_some()
    }

    #[inline]
    fn datagrams(&self) -> Option<u16> {
        self.settings.datagrams()
    }

    #[inline]
    fn treatment(&self, client: &Address) -> ClientPolicy {
        self.clients.policy(client)
    }

    #[inline]
    fn limits_segments(&self) -> bool {
        false
    }

    #[inline]
    fn affords(&self, _: &Address, _: PacketKind) -> bool {
        true
    }

    #[inline]
    fn passes_extension_headers(&self) -> bool {
        self.settings.passes_extension_headers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the order in which the kernel lists them, which is that of their configuration.
    #[test]
    fn every_address_is_served_in_any_order() {
        let [low, middle, high] = [1, 2, 3].map(|last| Address::from_ipv4([192, 0, 2, last]));
        for order in [[low, middle, high], [high, middle, low], [middle, high, low]] {
            let content = Content::new(order, Vec::new());
            let changed = Content::new([], Vec::new()).with_addresses(order);
            for content in [content, changed] {
                assert!(order.iter().all(|address| content.address(address)), "{order:?}");
                assert!(!content.address(&Address::from_ipv4([192, 0, 2, 4])));
            }
        }
    }
}
