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
use crate::services::{FetchId, FetchPolicy, Upstream};
use crate::serving::{AnswerPolicy, Content, ServingState};
use limit::{RateGate, RetryDetector};
use stateless_tcp_core::tcp::input::{self, Reason, Reply, TxSegment, Verdict};
use stateless_tcp_core::tcp::segment::{Flags, Segment};
use std::sync::Arc;
use std::time::SystemTime;
use walk::Answers;

/// Octets of payload that every client takes in one segment: the least MSS (536), less options.
const WHOLE: u16 = 512;

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
        if self.crowded { FetchPolicy::AtOnce } else { FetchPolicy::Answer }
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
    /// The response being sent. Never grows: [`Service::answer`](crate::services::Service::answer) is given less room than it has.
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
    pub fn errands(&self) -> impl Iterator<Item = &dyn Upstream> {
        let all = || self.offer.contents().flat_map(|content| content.content.upstreams());
        let first = move |&(index, errands): &(usize, &dyn Upstream)| {
            !all().take(index).any(|other| std::ptr::addr_eq(other, errands))
        };
        all().enumerate().filter(first).map(|(_, errands)| errands)
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
        let AnswerPolicy { rules, ref keys, .. } = self.offer.policy;
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
