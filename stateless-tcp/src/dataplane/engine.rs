//! A segment in, segments out: the protocol core together with the services, knowing nothing of frames.

mod application;

use crate::dataplane::conn_cache::ConnTable;
use crate::dataplane::query_log::QueryLog;
use crate::observe::counters::Counters;
use crate::observe::snapshot::Occupancy;
use crate::observe::transaction::Role;
use crate::services::{FetchId, Service, Upstream};
use crate::serving::ServingState;
use crate::serving::clients::Clients;
use crate::serving::fingerprint::Fingerprint;
use application::ServedApplication;
use foldhash::fast::RandomState;
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{ClientPolicy, Steering};
pub use stateless_tcp_core::tcp::Source;
use stateless_tcp_core::tcp::isn::Keys;
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::parser::MAX_RESPONSES;
use stateless_tcp_core::tcp::segment::{Address, Segment};
use stateless_tcp_core::tcp::{AckPolicy, Assembly, Engine, Handled, Pending, RxSegment, Transmit};
use stateless_tcp_ebpf::abi::Settings;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Counts the changes of this program that give another answer to a question, octet by octet, from the same content: what
/// was begun by one version may be finished by the next.
const ANSWERS: u32 = 1;

/// What is served where. Shared by all workers.
#[derive(Clone)]
pub struct Content {
    addresses: HashSet<Address, RandomState>,
    services: Vec<(u16, Arc<dyn Service>)>,
    fingerprint: Option<Fingerprint>,
    clients: Clients,
    settings: Settings,
}

impl Content {
    /// Serves each service at its TCP port on all of `addresses`. Reads through all that they answer from.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = Address>, services: Vec<(u16, Arc<dyn Service>)>) -> Self {
        let of = |(port, service): &(u16, Arc<dyn Service>)| Some((*port, service.fingerprint()?));
        let all: Option<Vec<_>> = services.iter().map(of).collect();
        Self {
            addresses: addresses.into_iter().collect(),
            fingerprint: all.map(|all| Fingerprint::of(&(ANSWERS, all))),
            services,
            clients: Clients::default(),
            settings: Settings::default(),
        }
    }

    /// The same, to clients as is said of them.
    #[must_use]
    pub fn treating(self, clients: Clients) -> Self {
        Self { clients, ..self }
    }

    /// The same, by these settings.
    #[must_use]
    pub fn set(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// What the operator has said besides. That clients are limited is seen to by the XDP program, before anything gets
    /// here.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is said of clients.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The served addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter()
    }

    /// The served ports.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.services.iter().map(|&(port, _)| port)
    }

    /// Whether every process that serves this gives the same answers: none is fetched from elsewhere.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        self.upstreams().next().is_none()
    }

    /// Of the services and their ports, where that can be told of all: connections that begin with one content can go on with
    /// another that has the same, octet by octet.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    fn upstreams(&self) -> impl Iterator<Item = &dyn Upstream> {
        self.services.iter().filter_map(|(_, service)| service.upstream())
    }

    #[inline]
    fn service(&self, port: u16) -> Option<&dyn Service> {
        self.services.iter().find(|&&(served, _)| served == port).map(|(_, service)| &**service)
    }
}

impl Steering for Content {
    #[inline]
    fn address(&self, address: &Address) -> bool {
        self.addresses.contains(address)
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
        self.clients.treatment(client)
    }

    #[inline]
    fn limits_segments(&self) -> bool {
        false
    }

    #[inline]
    fn affords(&self, _: &Address, _: PacketKind) -> bool {
        true
    }
}

/// How segments are answered.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Rule set.
    pub rules: AckPolicy,
    /// Cookie keys.
    pub keys: Keys,
    /// Largest payload sent, in octets. The same on all servers that share a key: a client acknowledges where segments
    /// end.
    pub segment_size: u16,
    /// Connections that each worker remembers something of ([`ConnCache`]).
    pub hints: usize,
    /// Answer requests that come with the SYN (RFC 7413).
    pub fast_open: bool,
}

/// A segment, and everything that its answer depends on besides.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// Wall-clock time.
    pub now: SystemTime,
    /// Its header.
    pub segment: &'a Segment,
    /// Its payload.
    pub payload: &'a [u8],
    /// Where it comes from.
    pub source: Source,
    /// There is no room for more requests that wait.
    pub crowded: bool,
}

/// A request that waits: the rest of its segment, to be handled again as if the client had sent it again.
#[derive(Debug)]
pub struct DeferredSegment {
    /// The answer that it waits for.
    pub ticket: FetchId,
    /// Its header.
    pub segment: Segment,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Answers the segments of one worker, one at a time.
pub struct TcpEngine {
    worker: usize,
    state: Arc<ServingState>,
    /// The responses to one segment. Never grow: [`Service::answer`] is given less room than there is.
    responses: Vec<u8>,
    query_log: QueryLog,
    /// Memory of [`Assembly`].
    assembly: Box<[u8]>,
    cache: ConnTable,
    waiting: Option<DeferredSegment>,
}

impl TcpEngine {
    /// Answers from `state` for one worker.
    #[must_use]
    pub fn new(worker: usize, state: Arc<ServingState>) -> Self {
        Self {
            worker,
            cache: ConnTable::new(state.policy.hints),
            state,
            responses: Vec::with_capacity(MAX_RESPONSES),
            query_log: QueryLog::default(),
            assembly: vec![0; Assembly::CAPACITY].into(),
            waiting: None,
        }
    }

    /// Answers from `state` from now on.
    pub fn switch(&mut self, state: Arc<ServingState>) {
        self.state = state;
    }

    /// Entries of the connection cache in use.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.cache.occupancy()
    }

    /// The connection cache.
    pub fn cache(&mut self) -> &mut ConnTable {
        &mut self.cache
    }

    /// The content that new connections get.
    #[inline]
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.state.current.content
    }

    /// The upstreams of all services, each once, though it may run for several generations.
    pub fn upstreams(&self) -> impl Iterator<Item = &dyn Upstream> {
        let all = || self.state.editions().flat_map(|edition| edition.content.upstreams());
        let first = move |&(index, upstream): &(usize, &dyn Upstream)| {
            !all().take(index).any(|other| std::ptr::addr_eq(other, upstream))
        };
        all().enumerate().filter(first).map(|(_, upstream)| upstream)
    }

    /// Logs queries and their responses, or not, from the next segment on.
    pub fn log_queries(&mut self, enabled: bool) {
        self.query_log.enable(enabled);
    }

    /// The queries that were answered anew by the last answer, as far as its first `reached` bytes, and their responses.
    /// Both are framed.
    pub fn logged_queries(&self, reached: usize) -> impl Iterator<Item = (Role, &[u8], &[u8])> {
        self.query_log.up_to(&self.responses, reached)
    }

    /// The request that was left to wait by the last segment.
    #[inline]
    pub fn take_waiting(&mut self) -> Option<DeferredSegment> {
        self.waiting.take()
    }

    /// Handles a segment, and counts its outcome.
    #[inline]
    pub fn handle(&mut self, arrival: Arrival<'_>, counters: &Counters) -> Transmit {
        let Arrival { now, segment, payload, source, crowded } = arrival;
        self.query_log.clear();
        let Self { worker, state, responses, query_log, assembly, cache, .. } = self;
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut application =
            ServedApplication { state, worker: *worker, now, service: None, responses, query_log };
        let engine = Engine {
            config: state.tcp_config(),
            application: &mut application,
            cache,
            assembly: Assembly::new(assembly),
        };
        // The application and the cache are here: nothing is deferred.
        let Ok(handled) = engine.handle(&RxSegment { now: since_epoch, segment, payload, source, crowded })
        else {
            return Transmit::Nothing;
        };
        let Handled { outcome, notes, messages, transmit, pending } = handled;
        counters.add(outcome, 1);
        for note in notes.into_iter().flatten() {
            counters.add(note, 1);
        }
        if messages > 0 {
            counters.add(Outcome::Messages, messages.into());
        }
        if let Some(Pending { fetch, segment, range, assembled }) = pending {
            let payload = if assembled { &self.assembly[range] } else { &payload[range] };
            self.waiting = Some(DeferredSegment { ticket: fetch, segment, payload: payload.to_vec() });
        }
        transmit
    }

    /// The payload of a segment of the last answer.
    #[inline]
    #[must_use]
    pub fn payload(&self, segment: &TxSegment) -> &[u8] {
        &self.responses[segment.payload()]
    }
}

impl<'a> Arrival<'a> {
    /// A segment of a client's, while there is room for requests that wait.
    #[must_use]
    pub fn new(now: SystemTime, segment: &'a Segment, payload: &'a [u8]) -> Self {
        Self { now, segment, payload, source: Source::Client, crowded: false }
    }
}

#[cfg(test)]
mod tests;
