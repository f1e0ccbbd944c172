//! A segment in, segments out: the rules and the services together, knowing nothing of frames.

mod converse;
mod fast_open;
mod first;
mod limit;
mod overheard;
mod turn;
mod walk;

use crate::dataplane::conn_cache::{ConnCache, MAX_KEPT};
use crate::observe::counters::{Counter, Counters};
use crate::observe::snapshot::Occupancy;
use crate::observe::transaction::Role;
use crate::services::{FetchId, FetchPolicy, Service, Upstream};
use crate::serving::ServingState;
use crate::serving::clients::Clients;
use crate::serving::fingerprint::Fingerprint;
use foldhash::fast::RandomState;
use limit::{RateGate, RetryDetector};
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::steering::{ClientPolicy, Steering};
use stateless_tcp_core::tcp::input::{self, AckPolicy, Reason, Reply, TxSegment, Verdict};
use stateless_tcp_core::tcp::isn::Keys;
use stateless_tcp_core::tcp::segment::{Address, Flags, Segment};
use stateless_tcp_ebpf::abi::Settings;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;
use walk::Answers;

/// Octets of payload that every client takes in one segment: the least MSS (536), less options.
const WHOLE: u16 = 512;

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

/// A segment to be considered.
#[derive(Clone, Copy)]
pub struct RxSegment<'a> {
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
    /// Where it is counted what becomes of it.
    pub counters: &'a Counters,
}

/// Where a segment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client sent it.
    Client,
    /// It is kept, and the client sent an ACK that proves what goes before it.
    Reassembled,
    /// It waited for an answer.
    Resumed,
}

impl<'a> RxSegment<'a> {
    /// A segment that the client sent, to somebody who has room.
    #[must_use]
    pub fn new(now: SystemTime, segment: &'a Segment, payload: &'a [u8], counters: &'a Counters) -> Self {
        Self { now, segment, payload, source: Source::Client, crowded: false, counters }
    }

    #[inline]
    fn purpose(&self) -> FetchPolicy {
        if self.crowded { FetchPolicy::AnswerNow } else { FetchPolicy::MayFetch }
    }
}

/// A request that waits: what is left of its segment, to be considered again as if the client had sent it again.
#[derive(Debug)]
pub struct DeferredSegment {
    /// What it waits for.
    pub ticket: FetchId,
    /// Its header.
    pub segment: Segment,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Answers segments, one at a time.
pub struct TcpEngine {
    worker: usize,
    offer: Arc<ServingState>,
    /// The response being sent. Never grows: [`Service::answer`] is given less room than it has.
    answers: Answers,
    /// A message put together from several segments.
    joined: Vec<u8>,
    hints: ConnCache,
    doubtful: RateGate,
    stuck: RetryDetector,
    waiting: Option<DeferredSegment>,
}

/// The segments that answer one segment, in order. Their payload is [`TcpEngine::payload`].
#[derive(Clone, Debug)]
pub enum Transmit {
    /// None.
    Silence,
    /// One: without payload, unless it is SYN,ACK.
    One(TxSegment),
    /// SYN,ACK, and behind it the response to what came with the SYN.
    Opening(TxSegment, Reply),
    /// A response.
    Response(Reply),
}

impl Iterator for Transmit {
    type Item = TxSegment;

    #[inline]
    fn next(&mut self) -> Option<TxSegment> {
        match self {
            Self::Silence => None,
            Self::One(outgoing) => {
                let outgoing = *outgoing;
                *self = Self::Silence;
                Some(outgoing)
            }
            Self::Opening(outgoing, reply) => {
                let outgoing = *outgoing;
                *self = Self::Response(reply.clone());
                Some(outgoing)
            }
            Self::Response(reply) => reply.next(),
        }
    }
}

impl TcpEngine {
    /// Answers from `offer` for one worker.
    #[must_use]
    pub fn new(worker: usize, offer: Arc<ServingState>) -> Self {
        let hints = ConnCache::new(offer.policy.hints);
        let joined = Vec::with_capacity(MAX_KEPT + usize::from(u16::MAX));
        Self {
            worker,
            offer,
            answers: Answers::new(),
            joined,
            hints,
            doubtful: RateGate::default(),
            stuck: RetryDetector::default(),
            waiting: None,
        }
    }

    /// Answers from `offer` from now on.
    pub fn switch(&mut self, offer: Arc<ServingState>) {
        self.offer = offer;
    }

    /// How full what is remembered of connections is.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.hints.occupancy()
    }

    /// What is remembered of connections.
    pub fn hints(&mut self) -> &mut ConnCache {
        &mut self.hints
    }

    /// What new connections are served.
    #[inline]
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.offer.current.content
    }

    /// The errands of all services on offer, each once, though it may run for several generations.
    pub fn upstreams(&self) -> impl Iterator<Item = &dyn Upstream> {
        let all = || self.offer.editions().flat_map(|edition| edition.content.upstreams());
        let first = move |&(index, upstream): &(usize, &dyn Upstream)| {
            !all().take(index).any(|other| std::ptr::addr_eq(other, upstream))
        };
        all().enumerate().filter(first).map(|(_, upstream)| upstream)
    }

    /// Has it heard, or not, what is answered.
    pub fn listen(&mut self, listening: bool) {
        self.answers.overheard.listen(listening);
    }

    /// The questions that were answered anew by the last answer, as far as its first `reached` octets; and what each was
    /// answered. Both are framed.
    pub fn overheard(&self, reached: usize) -> impl Iterator<Item = (Role, &[u8], &[u8])> {
        self.answers.overheard.up_to(&self.answers.octets, reached)
    }

    /// What waits after the last arrival.
    #[inline]
    pub fn take_waiting(&mut self) -> Option<DeferredSegment> {
        self.waiting.take()
    }

    /// What is to be sent in answer to a segment; counts why.
    #[inline]
    pub fn consider(&mut self, arrival: RxSegment<'_>) -> Transmit {
        let RxSegment { segment, counters, .. } = arrival;
        let Policy { rules, ref keys, .. } = self.offer.policy;
        let decided = match input::decide(rules, keys, self.offer.generations(), segment) {
            Verdict::Send(outgoing) if outgoing.flags.contains(Flags::SYN) => {
                return self.synchronise(arrival, outgoing);
            }
            Verdict::Send(outgoing) => {
                counters.add(Counter::FinAcknowledged, 1);
                return Transmit::One(outgoing);
            }
            Verdict::Converse => return self.converse(arrival),
            Verdict::Answer(request) => self.first(arrival, arrival.payload, request),
            Verdict::Ignore(reason) => Err(reason),
        };
        let decided = decided.or_else(|reason| self.later(arrival, reason));
        decided.unwrap_or_else(|reason| {
            counters.add(reason.into(), 1);
            if reason != Reason::RetryLimit {
                return Transmit::Silence;
            }
            counters.add(Counter::ResetSent, 1);
            Transmit::One(input::reset(segment))
        })
    }

    /// The payload of a segment of the last answer.
    #[inline]
    #[must_use]
    pub fn payload(&self, outgoing: &TxSegment) -> &[u8] {
        &self.answers.octets[outgoing.payload()]
    }
}
