//! The walk: which messages a payload holds around P, and their answers.

use super::overheard::Overheard;
use crate::services::{Context, FetchId, FetchPolicy, Framing, MAX_RESPONSE, Origin, Service, Unavailable};
use stateless_tcp_core::tcp::isn::MAX_DRIFT;
use stateless_tcp_core::tcp::tcb::{self, ParsedMessages, ResponseSpan};

/// [`tcb::MAX_PACKED`], as a length.
const MAX_PACKED: usize = tcb::MAX_PACKED as usize;

/// [`tcb::MAX_PROMISED`], as a length.
const MAX_PROMISED: usize = tcb::MAX_PROMISED as usize;

/// Most messages of one walk. More than a segment of ours holds; a segment of 64 empty ones is no client's.
const MAX_MESSAGES: usize = 64;

/// Octets that the answers of a walk can need together.
pub(super) const CAPACITY: usize = 4 * MAX_RESPONSE;

/// What a walk is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParseLimits {
    /// Octets of the stream that were not in this payload, but kept.
    pub(super) lead: usize,
    /// P, as an offset in the stream.
    pub(super) position: usize,
    /// Nothing behind P is to be answered.
    pub(super) closing: bool,
    /// Octets that the client lacks of the answers to what lies before P.
    pub(super) missing: usize,
    /// Octets that the client has of the answers to what lies behind P.
    pub(super) ahead: usize,
    /// Octets sent less octets received, at P.
    pub(super) drift: i32,
    /// Most octets of one segment of ours.
    pub(super) size: usize,
    /// The client's window.
    pub(super) window: usize,
}

/// Where the answers go.
#[derive(Default)]
pub(super) struct Answers {
    /// Their octets.
    pub(super) octets: Vec<u8>,
    /// Where each begins.
    pub(super) parts: Vec<ResponseSpan>,
    /// Octets of the stream whose messages were walked.
    pub(super) reached: usize,
    /// What the message behind them waits for.
    pub(super) pending: Option<FetchId>,
    /// The client lacks a part of an answer of which nobody knows the octets any more.
    pub(super) gone: bool,
    /// What was asked, if somebody listens.
    pub(super) overheard: Overheard,
}

impl Answers {
    /// Room that no walk exceeds.
    pub(super) fn new() -> Self {
        Self {
            octets: Vec::with_capacity(CAPACITY),
            parts: Vec::with_capacity(MAX_MESSAGES),
            ..Self::default()
        }
    }

    /// No answers.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.parts.clear();
        self.reached = 0;
        self.pending = None;
        self.gone = false;
        self.overheard.clear();
    }

    /// Answers the whole messages of `stream`, and says what lies before P and after it. None if P lies inside a message.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a payload is at most 16 bits, answers at most CAPACITY"
    )]
    pub(super) fn walk(
        &mut self,
        service: &dyn Service,
        context: &Context,
        stream: &[u8],
        bounds: &ParseLimits,
    ) -> Option<ParsedMessages> {
        self.clear();
        let ParseLimits { lead, position, closing, missing, ahead, size, window, .. } = *bounds;
        let mut walk = ParsedMessages::default();
        let mut at = 0;
        // Where the new answers begin, once P is reached.
        let mut new = None;
        let mut changes = false;
        let mut gone = false;
        loop {
            if at == position {
                new = Some(self.octets.len());
            }
            let rest = &stream[at..];
            if rest.is_empty() || (new.is_some() && closing) || self.parts.len() == MAX_MESSAGES {
                break;
            }
            let Framing::Message(length) = service.frame(rest) else {
                walk.incomplete = true;
                walk.prefix = service.is_prefix(rest);
                break;
            };
            let message = (at + length).saturating_sub(lead) as u16;
            if new.is_none() {
                if missing == 0 && !closing && at + length <= position {
                    // It has all of this answer.
                    at += length;
                    self.parts.push(ResponseSpan { end: 0, message, volatile: 0 });
                    continue;
                }
                self.forget_received();
            }
            let before = self.octets.len();
            let again = new.is_none_or(|new| before - new < ahead);
            let policy = if again { FetchPolicy::Repeat } else { context.policy };
            let origin = Origin { seq: context.origin.seq.wrapping_add(at as u32), ..context.origin };
            let context = Context { origin, policy, ..*context };
            let answered = match service.answer(&rest[..length], &context, &mut self.octets) {
                Ok(answered) => answered,
                Err(Unavailable::Pending(ticket)) => {
                    self.pending = Some(ticket);
                    prepare(service, &context, rest, length);
                    break;
                }
                Err(Unavailable::NotCached) if at + length <= position => {
                    // The client may have all of it and of those before.
                    gone = true;
                    self.octets.clear();
                    self.parts
                        .iter_mut()
                        .for_each(|part| *part = ResponseSpan { end: 0, volatile: 0, ..*part });
                    self.parts.push(ResponseSpan { end: 0, message, volatile: 0 });
                    at += length;
                    continue;
                }
                Err(Unavailable::NotCached) => {
                    gone = true;
                    break;
                }
            };
            if new.is_some_and(|new| {
                let all = missing + self.octets.len() - new;
                // More could not be told from what it has beyond its promise: [`Tcb`](tcb::Echo). Nor is anything
                // promised of which this reply would carry nothing: only a timer would ask for it.
                missing > 0
                    && (all > MAX_PROMISED || missing >= window || answered.volatile > 0 && all > size)
            }) {
                self.octets.truncate(before);
                break;
            }
            if new.is_some_and(|new| before > new) {
                changes |= answered.volatile > 0;
                let all = self.octets.len() - new.unwrap_or(0);
                // It waits in the client's send buffer until what goes before it is received.
                if all > MAX_PACKED.min(window) || changes && all > size {
                    self.octets.truncate(before);
                    break;
                }
            }
            changes |= answered.volatile > 0;
            at += length;
            if !again {
                self.overheard.take(service, &rest[..length], before..self.octets.len());
            }
            let end = self.octets.len() as u32;
            self.parts.push(ResponseSpan { end, message, volatile: answered.volatile as u32 });
            // Its end depends on where the segment ended, and nothing comes after it.
            let ends_all = answered.last && closing;
            if at > position && new.is_none() {
                if !ends_all {
                    return None;
                }
                new = Some(self.octets.len());
            }
            walk.last = answered.last || new.is_some_and(|new| self.exhausted(bounds, new, at));
            if walk.last {
                break;
            }
        }
        if walk.last && closing {
            new = Some(self.octets.len());
        }
        let old = new?;
        self.reached = at;
        self.gone = gone && (old < missing || self.octets.len() - old < ahead);
        walk.old = old as u32;
        walk.new = (self.octets.len() - old) as u32;
        walk.end = at.saturating_sub(lead) as u16;
        walk.rest = stream.len() - at;
        Some(walk)
    }

    /// Whether the connection has drifted so far that it ends with what was answered up to `at`.
    #[inline]
    fn exhausted(&self, bounds: &ParseLimits, new: usize, at: usize) -> bool {
        let sent = (self.octets.len() - new).cast_signed();
        let received = (at - bounds.position).cast_signed();
        let drift = i64::from(bounds.drift) + (sent - received) as i64;
        drift.unsigned_abs() > u64::from(MAX_DRIFT.unsigned_abs())
    }

    /// Drops answers that the client has for certain: of what was answered before P it lacks no more than it was promised.
    #[inline]
    fn forget_received(&mut self) {
        if self.octets.len() <= 2 * MAX_RESPONSE {
            return;
        }
        let excess = self.octets.len() - MAX_PROMISED;
        self.octets.drain(..excess);
        for part in &mut self.parts {
            *part = match (part.end as usize).checked_sub(excess) {
                #[expect(clippy::cast_possible_truncation, reason = "less than it was")]
                Some(end) => ResponseSpan { end: end as u32, ..*part },
                None => ResponseSpan { end: 0, volatile: 0, ..*part },
            };
        }
    }
}

/// Has the answers fetched to the messages of `rest` behind the first, which is `length` octets long and pending.
#[cold]
pub(super) fn prepare(service: &dyn Service, context: &Context, rest: &[u8], length: usize) {
    let mut at = length;
    for _ in 0..MAX_MESSAGES {
        let Some(stream) = rest.get(at..).filter(|stream| !stream.is_empty()) else { return };
        let Framing::Message(length) = service.frame(stream) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "a payload is at most 16 bits")]
        let seq = context.origin.seq.wrapping_add(at as u32);
        let origin = Origin { seq, ..context.origin };
        service.prepare(&stream[..length], &Context { origin, ..*context });
        at += length;
    }
}

#[cfg(test)]
mod tests;
