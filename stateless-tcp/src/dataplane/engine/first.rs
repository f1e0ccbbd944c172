//! Connections without timestamps: the first message and what follows it in its segment, answered once.
//!
//! Every segment of that message has to prove itself by the client's ISN. The first one does, and one behind a length of
//! two octets, which DNS clients may write by itself: how many octets went before it is known. Of others it is remembered,
//! or they cannot be answered.

use super::limit::PATIENCE;
use super::walk::{Answers, prepare};
use super::{AnswerPolicy, DeferredSegment, RxSegment, Source, TcpEngine, Transmit, WHOLE};
use crate::dataplane::conn_cache::BufferedRange;
use crate::observe::counters::{Counter, Counters};
use crate::services::{Context, FetchPolicy, Framing, MAX_RESPONSE, Origin, Service, Unavailable};
use stateless_tcp_core::tcp::input::{self, AckPolicy, Reason, Request, Response, Verdict};
use stateless_tcp_core::tcp::isn;
use stateless_tcp_core::tcp::segment::{Flags, Segment};
use std::time::SystemTime;

/// Octets of a length that is written by itself.
const PREFIX: u32 = 2;

impl TcpEngine {
    /// Answers `stream`, all of the connection up to the end of `segment`.
    #[inline]
    pub(super) fn first(
        &mut self,
        arrival: RxSegment<'_>,
        stream: &[u8],
        request: Request,
    ) -> Result<Transmit, Reason> {
        let RxSegment { segment, payload, source, counters, .. } = arrival;
        let Found { response, messages, cut } = match self.find(arrival, stream, request, arrival.purpose()) {
            Ok(found) => found,
            Err(Unavailable::Gone) => return Err(Reason::NonRepeatable),
            Err(Unavailable::Pending(ticket)) => {
                counters.add(Counter::Pending, 1);
                self.waiting = Some(DeferredSegment { ticket, segment: *segment, payload: payload.to_vec() });
                let rules = self.offer.policy.rules;
                let acknowledges = rules == AckPolicy::Classic && source == Source::Client;
                let acknowledgment = || Transmit::One(request.acknowledge_part(rules, segment));
                return Ok(if acknowledges { acknowledgment() } else { Transmit::Silence });
            }
        };
        counters.add(Counter::Messages, messages);
        let Self { offer, hints, .. } = self;
        let (rules, size) = (offer.policy.rules, offer.policy.segment_size);
        let edition = offer.content(request.generation);
        if let Some(service) = edition.and_then(|content| content.service(segment.tuple.server_port)) {
            // With octets of an answer it is most likely a later segment that passes for the first one by chance.
            let part = cut && response.length == 0 && request.received == 0;
            if part && rules == AckPolicy::Reliable && !segment.flags.contains(Flags::FIN) {
                let secret = isn::drift(&offer.policy.keys.current, segment).secret;
                let end = segment.next();
                let kept = BufferedRange { position: end, boundary: segment.ack, part: true };
                // A client sends the rest only when this is acknowledged, or without waiting for it.
                let keep = service.frame(stream) == Framing::Incomplete
                    && (hints.before(secret, end) == Some(stream)
                        || hints.keep(secret, stream, kept)
                        || service.is_prefix(stream));
                if keep {
                    counters.add(Counter::Buffered, 1);
                    return Ok(Transmit::One(request.acknowledge_part(rules, segment)));
                }
            }
        }
        if cut {
            counters.add(Counter::Incomplete, 1);
        }
        let mut reply = request.reply(rules, segment, response, size)?;
        if rules == AckPolicy::Classic && source == Source::Resumed {
            // It was acknowledged when it came.
            reply.next();
        }
        counters.add(if request.received == 0 { Counter::Answered } else { Counter::Resumed }, 1);
        Ok(Transmit::Response(reply))
    }

    /// Answers `stream`, and says what it found there.
    #[inline]
    pub(super) fn find(
        &mut self,
        arrival: RxSegment<'_>,
        stream: &[u8],
        request: Request,
        purpose: FetchPolicy,
    ) -> Result<Found, Unavailable> {
        let RxSegment { now, segment, .. } = arrival;
        let Self { worker, offer, answers, .. } = self;
        answers.clear();
        let edition = offer.content(request.generation);
        let Some(service) = edition.and_then(|content| content.service(segment.tuple.server_port)) else {
            let response = Response { length: 0, volatile: 0, complete: true };
            return Ok(Found { response, messages: 0, cut: false });
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a first message is at most 16 bits and what is kept"
        )]
        let seq = segment.seq.wrapping_add(segment.length.into()).wrapping_sub(stream.len() as u32);
        let context = Context {
            worker: *worker,
            origin: Origin { tuple: segment.tuple, seq },
            purpose,
            now,
            persistent: false,
            whole: request.segment_size(offer.policy.segment_size).min(WHOLE).into(),
            room: request.room(offer.policy.rules, segment, offer.policy.segment_size) as usize,
        };
        let at_once = request.at_once(segment) as usize;
        answer(service, stream, &context, at_once, request.received as usize, answers)
    }

    /// Answers a segment that is not the first of its connection, for which `reason` speaks, if it goes on inside the first
    /// message.
    pub(super) fn later(&mut self, arrival: RxSegment<'_>, reason: Reason) -> Result<Transmit, Reason> {
        let RxSegment { now, segment, payload, counters, .. } = arrival;
        // One in some thousand looks like a first segment that acknowledges too much, one in 130 like one of old content.
        let may_be_later = matches!(
            reason,
            Reason::BadCookie
                | Reason::GenerationGone
                | Reason::BeyondResponse
                | Reason::Misaligned
                | Reason::NonRepeatable
        );
        if !may_be_later || payload.is_empty() || self.offer.policy.rules != AckPolicy::Reliable {
            return Err(reason);
        }
        let mut joined = std::mem::take(&mut self.joined);
        let decided = match self.recall(segment, payload, &mut joined) {
            Some((request, true)) => match self.first(arrival, &joined, request) {
                Err(Reason::NonRepeatable) if self.comes_in_vain(now, segment) => Err(Reason::RetryLimit),
                decided => decided,
            },
            Some((request, false)) => self.forgotten(segment, request, counters),
            None if reason != Reason::Misaligned && self.comes_in_vain(now, segment) => {
                Err(Reason::RetryLimit)
            }
            None => Err(reason),
        };
        self.joined = joined;
        decided
    }

    /// Ends a connection whose message is not known any more, and of whose answer the client has nothing.
    fn forgotten(
        &self,
        segment: &Segment,
        request: Request,
        counters: &Counters,
    ) -> Result<Transmit, Reason> {
        let AnswerPolicy { rules, segment_size, .. } = self.offer.policy;
        let nothing = Response { length: 0, volatile: 0, complete: false };
        let reply = request.reply(rules, segment, nothing, segment_size)?;
        counters.add(Counter::ReassemblyLost, 1);
        Ok(Transmit::Response(reply))
    }

    /// Puts `payload`, behind what went before it on its connection, into `joined`. False if that is not known, none if
    /// nothing is proven.
    fn recall(&self, segment: &Segment, payload: &[u8], joined: &mut Vec<u8>) -> Option<(Request, bool)> {
        let Self { offer, hints, .. } = self;
        let keys = &offer.policy.keys;
        let prove = |lead| match input::continues(keys, offer.generations(), segment, lead) {
            Verdict::Answer(request) => Some(request),
            _ => None,
        };
        joined.clear();
        if let Some(before) = hints.before(isn::drift(&keys.current, segment).secret, segment.seq) {
            #[expect(clippy::cast_possible_truncation, reason = "at most MAX_KEPT")]
            if let Some(request) = prove(before.len() as u32) {
                joined.extend_from_slice(before);
                joined.extend_from_slice(payload);
                return Some((request, true));
            }
        }
        let request = prove(PREFIX)?;
        let content = offer.content(request.generation);
        let service = content.and_then(|content| content.service(segment.tuple.server_port));
        if let Some(prefix) = service.and_then(|service| service.prefix(payload)) {
            joined.extend_from_slice(&prefix);
            joined.extend_from_slice(payload);
        }
        // That it has octets of an answer is too easily guessed to be told to anybody.
        (request.received == 0 || !joined.is_empty()).then_some((request, !joined.is_empty()))
    }

    /// Whether a client sends the same again and again in vain: what went before it is not known, somebody on the way merged
    /// what it sends in parts, or it resends in other cuts. It need not be proven that there is a connection: RST is what any
    /// host says to such a segment (RFC 9293 section 3.5.2), and no more often than others that are in doubt are told.
    fn comes_in_vain(&mut self, now: SystemTime, segment: &Segment) -> bool {
        let sent = u64::from(segment.seq) << 32 | u64::from(segment.ack);
        // Not what is the same from many addresses: nobody sent that again.
        let secret = isn::drift(&self.offer.policy.keys.current, segment).secret;
        self.stuck.is(secret ^ sent, PATIENCE, now) && self.doubtful.allows(now)
    }
}

/// What was found in a stream.
pub(super) struct Found {
    pub(super) response: Response,
    /// Messages answered.
    messages: u64,
    /// It ends inside a message.
    cut: bool,
}

/// Puts the responses to all whole messages of `stream` into `answers`, as far as there is room: behind the first one, what
/// the client takes `at_once`. It has `received` octets of them.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a response is at most MAX_RESPONSE octets")]
fn answer(
    service: &dyn Service,
    stream: &[u8],
    context: &Context,
    at_once: usize,
    received: usize,
    answers: &mut Answers,
) -> Result<Found, Unavailable> {
    let Answers { octets: response, overheard, .. } = answers;
    let mut at = 0;
    let mut volatile = 0;
    let mut messages = 0;
    let mut complete = true;
    let mut cut = false;
    while at < stream.len() {
        let rest = &stream[at..];
        let Framing::Message(length) = service.frame(rest) else {
            cut = true;
            break;
        };
        let before = response.len();
        // Only the first answer may be refused for want of room. A refusal behind others would be taken back when the
        // request comes again with a larger window, while the client has octets of what followed it.
        let room = if messages == 0 { context.room } else { MAX_RESPONSE };
        // What follows another response may be cut anywhere.
        let whole = if messages == 0 { context.whole } else { 0 };
        let purpose = if before < received { FetchPolicy::Again } else { context.purpose };
        let origin = Origin { seq: context.origin.seq.wrapping_add(at as u32), ..context.origin };
        let answered = service
            .answer(&rest[..length], &Context { origin, purpose, whole, room, ..*context }, response)
            .inspect_err(|absent| {
                if matches!(absent, Unavailable::Pending(_)) {
                    prepare(service, &Context { origin, ..*context }, rest, length);
                }
            })?;
        if response.len() > at_once && messages > 0 {
            // No room for this one behind the others: the connection closes, and the client asks again for what it
            // has no answer to (RFC 7766 section 6.2.4).
            response.truncate(before);
            complete = false;
            break;
        }
        messages += 1;
        if before >= received {
            overheard.take(service, &rest[..length], before..response.len());
        }
        if answered.volatile > 0 {
            volatile = before + answered.volatile;
        }
        if answered.last {
            break;
        }
        at += length;
    }
    let complete = complete && !cut;
    let response = Response { length: response.len() as u32, volatile: volatile as u32, complete };
    Ok(Found { response, messages, cut })
}

#[cfg(test)]
mod tests;
