//! A segment in, segments out: the protocol core together with the services, knowing nothing of frames.

mod application;

use crate::dataplane::conn_cache::ConnTable;
use crate::dataplane::query_log::QueryLog;
use crate::observe::counters::Counters;
use crate::observe::snapshot::Occupancy;
use crate::observe::transaction::Role;
use crate::services::{FetchId, Upstream};
use crate::serving::{Content, ServingState};
use application::ServedApplication;
use stateless_tcp_core::outcome::Outcome;
pub use stateless_tcp_core::tcp::Source;
use stateless_tcp_core::tcp::epoch::EpochClock;
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::parser::MAX_RESPONSES;
use stateless_tcp_core::tcp::segment::Segment;
use stateless_tcp_core::tcp::{Assembly, Engine, Handled, Pending, RxSegment, Transmit};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    /// The responses to one segment. Never grow: [`Service::answer`](crate::services::Service::answer) is given less room than there is.
    responses: Vec<u8>,
    query_log: QueryLog,
    /// Memory of [`Assembly`].
    assembly: Box<[u8]>,
    cache: ConnTable,
    waiting: Option<DeferredSegment>,
    clock: EpochClock,
    /// The time of the last segment.
    time: Time,
}

/// A time as the wall clock has it, and as the protocol does. All segments of a batch have the same time, so that it is
/// converted once.
#[derive(Clone, Copy)]
struct Time {
    wall: SystemTime,
    since_epoch: Duration,
}

impl TcpEngine {
    /// Answers from `state` for one worker.
    #[must_use]
    pub fn new(worker: usize, state: Arc<ServingState>) -> Self {
        Self {
            worker,
            cache: ConnTable::new(state.policy.hints),
            clock: EpochClock::new(state.policy.connection_lifetime),
            time: Time { wall: UNIX_EPOCH, since_epoch: Duration::ZERO },
            state,
            responses: Vec::with_capacity(MAX_RESPONSES),
            query_log: QueryLog::default(),
            assembly: vec![0; Assembly::CAPACITY].into(),
            waiting: None,
        }
    }

    /// Answers from `state` from now on.
    pub fn switch(&mut self, state: Arc<ServingState>) {
        self.clock = EpochClock::new(state.policy.connection_lifetime);
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
        let all = || self.state.contents().flat_map(|content| content.content.upstreams());
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
        let Self { worker, state, responses, query_log, assembly, cache, clock, time, .. } = self;
        if time.wall != now {
            *time = Time { wall: now, since_epoch: now.duration_since(UNIX_EPOCH).unwrap_or_default() };
        }
        let since_epoch = time.since_epoch;
        let epochs = clock.at(since_epoch);
        let mut application =
            ServedApplication { state, worker: *worker, now, service: None, responses, query_log };
        let engine = Engine {
            config: state.tcp_config(),
            application: &mut application,
            cache,
            assembly: Assembly::new(assembly),
        };
        // The application and the cache are here: nothing is deferred.
        // Taken apart at once: the whole would be copied first.
        let Ok(Handled { outcome, notes, messages, transmit, pending }) =
            engine.handle(&RxSegment { now: since_epoch, epochs, segment, payload, source, crowded })
        else {
            return Transmit::Nothing;
        };
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
