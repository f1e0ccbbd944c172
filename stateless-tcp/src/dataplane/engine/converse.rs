//! Segments of connections with timestamps: what the core must be told of messages and answers, and of what is
//! remembered.

use super::limit::{ONCE_MORE, PATIENCE};
use super::turn::{MessageParser, SegmentHandler};
use super::{RxSegment, Source, TcpEngine, Transmit, WHOLE};
use crate::dataplane::conn_cache::{ConnCache, SeqPair};
use crate::observe::counters::Counter;
use crate::services::{Context, MAX_RESPONSE, Origin, Service};
use crate::serving::ServingState;
use stateless_tcp_core::tcp::input::{self, Reason};
use stateless_tcp_core::tcp::isn::Key;
use stateless_tcp_core::tcp::segment::{Flags, Segment};
use stateless_tcp_core::tcp::tcb::{self, SegmentClass, Tcb};
use std::time::SystemTime;

impl TcpEngine {
    /// What is to be sent in answer to a segment of a connection with timestamps.
    ///
    /// Both keys are tried whole: one that fits the numbers and fails the messages has not fitted.
    #[inline]
    pub(super) fn converse(&mut self, arrival: RxSegment<'_>) -> Transmit {
        let RxSegment { now, segment, counters, .. } = arrival;
        let keys = self.offer.policy.keys;
        let mut failed = Reason::BadCookie;
        for key in std::iter::once(keys.current).chain(keys.previous) {
            let Some(echo) = tcb::read(&key, segment) else { break };
            match self.attempt(arrival, echo, &key) {
                Ok(answer) => return answer,
                Err(reason) if failed == Reason::BadCookie => {
                    failed = if self.leads_nowhere(now, segment, &echo, reason) {
                        Reason::RetryLimit
                    } else {
                        reason
                    };
                }
                Err(_) => {}
            }
        }
        counters.add(failed.into(), 1);
        match failed {
            // Silence would keep the client trying for a quarter of an hour.
            Reason::GenerationGone | Reason::NonRepeatable | Reason::ReassemblyLost | Reason::RetryLimit => {
                counters.add(Counter::ResetSent, 1);
                Transmit::One(input::reset(segment))
            }
            _ => Transmit::Silence,
        }
    }

    /// Whether a client sends the same again and again that cannot be answered.
    #[inline]
    fn leads_nowhere(&mut self, now: SystemTime, segment: &Segment, echo: &Tcb, reason: Reason) -> bool {
        matches!(reason, Reason::OutOfOrder | Reason::Misaligned)
            && (segment.length > 0 || segment.flags.contains(Flags::FIN))
            && self.stuck.is(identify(echo, segment), PATIENCE, now)
            && self.doubtful.allows(now)
    }

    #[inline]
    fn attempt(&mut self, arrival: RxSegment<'_>, echo: Tcb, key: &Key) -> Result<Transmit, Reason> {
        let RxSegment { now, segment, .. } = arrival;
        let Self { worker, offer, answers, joined, hints, doubtful, stuck, waiting } = self;
        let Some(service) = service(offer, &echo, segment) else {
            // Nothing can be walked any more. A client that begins anew knows both its numbers and its promise; whoever else
            // is no forger comes again.
            let asks = segment.length > 0 || segment.flags.contains(Flags::FIN);
            let certain = segment.length > 0 && echo.is_idle();
            let told =
                certain || asks && stuck.is(identify(&echo, segment), ONCE_MORE, now) && doubtful.allows(now);
            return Err(if told { Reason::GenerationGone } else { Reason::BadCookie });
        };
        let size = offer.policy.segment_size;
        let echo = advance(hints, &echo, segment).unwrap_or(echo);
        let single = echo.segment_size(size);
        let context = conversation(*worker, arrival, single);
        answers.clear();
        let walker = MessageParser { service, context, segment, single, answers };
        let mut turn = SegmentHandler { arrival, echo, size, walker, joined, hints, waiting };
        let decision = match echo.place(segment) {
            SegmentClass::Beyond => return turn.hint(),
            SegmentClass::MidMessage => return turn.resume(),
            SegmentClass::AroundRcvNxt(position) => match turn.walk(position) {
                Some(walk) => return turn.settle(&walk, doubtful),
                None => echo.unreadable(segment)?,
            },
            SegmentClass::Decided(decision) => decision?,
        };
        let Some(segment) = turn.kept(&decision) else { return turn.decide(decision, doubtful) };
        let echo = tcb::read(key, &segment).ok_or(Reason::BadCookie)?;
        let kept = std::mem::take(&mut self.joined);
        let again = RxSegment { segment: &segment, payload: &kept, source: Source::Reassembled, ..arrival };
        let answer = self.attempt(again, echo, key);
        self.joined = kept;
        answer
    }
}

/// What the answers depend on in a connection with timestamps, at the beginning of the payload. Segments of ours hold
/// `single` octets.
pub(super) fn conversation(worker: usize, arrival: RxSegment<'_>, single: u16) -> Context {
    let RxSegment { now, segment, .. } = arrival;
    Context {
        worker,
        origin: Origin { tuple: segment.tuple, seq: segment.seq },
        policy: arrival.purpose(),
        now,
        persistent: true,
        whole: single.min(WHOLE).into(),
        room: MAX_RESPONSE,
    }
}

/// What is sent, by whom: another segment is another,
/// and who has heard anything new is not stuck.
#[inline]
fn identify(echo: &Tcb, segment: &Segment) -> u64 {
    let heard = segment.options.timestamps.map_or(0, |timestamps| u64::from(timestamps.echo));
    echo.secret() ^ heard.rotate_right(16) ^ (u64::from(segment.seq) << 32 | u64::from(segment.ack))
}

/// What answers the segment, of the generation that its connection began with.
#[inline]
fn service<'a>(offer: &'a ServingState, echo: &Tcb, segment: &Segment) -> Option<&'a dyn Service> {
    let generation = offer.generations().ending_in(echo.generation())?;
    offer.content(generation)?.service(segment.tuple.server_port)
}

/// What the client would echo if it echoed all that it has, where that is more than it does.
#[inline]
fn advance(hints: &ConnCache, echo: &Tcb, segment: &Segment) -> Option<Tcb> {
    if !echo.is_behind() {
        return None;
    }
    let known = hints.known(echo.secret())?;
    let SeqPair { position, boundary } = known.received(segment.ack)?;
    echo.precedes(position, segment).then(|| {
        let advanced = echo.advanced_to(position, boundary, segment);
        if known.newest().boundary == segment.ack { advanced.at_rest() } else { advanced }
    })
}
