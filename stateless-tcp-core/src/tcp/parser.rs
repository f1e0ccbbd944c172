//! The messages of a payload on both sides of RCV.NXT, and their answers.

use super::application::{Application, FetchPolicy, Framing, MAX_RESPONSE, RequestContext, Unavailable};
use super::isn::{MAX_NEGATIVE_DELTA, MAX_STREAM_DELTA};
use super::tcb::{self, ParsedMessages, ResponseSpan};
use arrayvec::ArrayVec;

const MAX_BATCH: usize = tcb::MAX_BATCH as usize;
const MAX_UNACKED: usize = tcb::MAX_UNACKED as usize;
const LONGEST: usize = MAX_RESPONSE as usize;

/// Most messages of one payload. More than a segment of ours holds; a segment of 64 empty ones is no client's.
const MAX_MESSAGES: usize = 64;

/// Bytes that the responses to one payload can need together.
pub const MAX_RESPONSES: usize = 4 * LONGEST;

/// Limits of parsing one payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParseLimits {
    /// Bytes of the stream that were not in this payload, but buffered.
    pub(super) lead: usize,
    /// RCV.NXT, as an offset in the stream.
    pub(super) rcv_nxt: usize,
    /// Nothing behind RCV.NXT is to be answered.
    pub(super) closing: bool,
    /// Bytes that the client lacks of the answers to the messages before RCV.NXT.
    pub(super) unacked: usize,
    /// Bytes that the client has of the answers to the messages behind RCV.NXT.
    pub(super) beyond: usize,
    /// Bytes sent less bytes received, at RCV.NXT.
    pub(super) stream_delta: i32,
    /// Most bytes of one segment of ours.
    pub(super) segment_size: usize,
    /// The client's window.
    pub(super) window: usize,
}

/// Details of the last payload that was parsed.
pub(super) struct Parsed<F> {
    /// Answers, in the order of their messages.
    pub(super) spans: ArrayVec<ResponseSpan, MAX_MESSAGES>,
    /// Bytes of the stream whose messages were parsed.
    pub(super) reached: usize,
    /// The message behind them waits for this.
    pub(super) pending: Option<F>,
    /// The client lacks a part of an answer whose bytes nobody knows any more.
    pub(super) gone: bool,
}

impl<F> Parsed<F> {
    pub(super) fn new() -> Self {
        Self { spans: ArrayVec::new(), reached: 0, pending: None, gone: false }
    }

    /// Drops everything, responses included.
    #[inline]
    pub(super) fn clear<A: Application<FetchId = F>>(&mut self, application: &mut A) {
        application.truncate_responses(0);
        self.spans.clear();
        (self.reached, self.pending, self.gone) = (0, None, false);
    }
}

impl<F: Copy> Parsed<F> {
    /// Answers the whole messages of `stream`, and says what lies before RCV.NXT and after it. None if RCV.NXT lies inside
    /// a message.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a payload is at most 16 bits, responses at most MAX_RESPONSES"
    )]
    #[expect(clippy::too_many_lines, reason = "one loop over the messages, whose branches share its state")]
    pub(super) fn parse<A: Application<FetchId = F>>(
        &mut self,
        application: &mut A,
        context: &RequestContext,
        stream: &[u8],
        limits: &ParseLimits,
    ) -> Option<ParsedMessages> {
        self.clear(application);
        let ParseLimits { lead, rcv_nxt, closing, unacked, beyond, segment_size, window, .. } = *limits;
        let mut messages = ParsedMessages::default();
        let mut at = 0;
        // Where the new answers begin, once RCV.NXT is reached.
        let mut new = None;
        let mut changes = false;
        let mut gone = false;
        loop {
            if at == rcv_nxt {
                new = Some(application.response_length());
            }
            let rest = &stream[at..];
            if rest.is_empty() || (new.is_some() && closing) || self.spans.is_full() {
                break;
            }
            let Framing::Message(length) = application.frame(rest) else {
                messages.incomplete = true;
                messages.prefix = application.is_prefix(rest);
                break;
            };
            let message = (at + length).saturating_sub(lead) as u16;
            if new.is_none() {
                if unacked == 0 && !closing && at + length <= rcv_nxt {
                    // It has all of this answer.
                    at += length;
                    self.spans.push(ResponseSpan { end: 0, message, volatile: 0 });
                    continue;
                }
                self.drop_received(application);
            }
            let before = application.response_length();
            let again = new.is_none_or(|new| before - new < beyond);
            let policy = if again { FetchPolicy::Repeat } else { context.policy };
            let context = RequestContext { policy, ..context.behind(at) };
            let answered = match application.answer(&rest[..length], &context) {
                Ok(answered) => answered,
                Err(Unavailable::Pending(fetch)) => {
                    self.pending = Some(fetch);
                    prefetch(application, &context, rest, length);
                    break;
                }
                Err(Unavailable::NotCached) if at + length <= rcv_nxt => {
                    // The client may have all of it and of those before.
                    gone = true;
                    application.truncate_responses(0);
                    for span in &mut self.spans {
                        *span = ResponseSpan { end: 0, volatile: 0, ..*span };
                    }
                    self.spans.push(ResponseSpan { end: 0, message, volatile: 0 });
                    at += length;
                    continue;
                }
                Err(Unavailable::NotCached) => {
                    gone = true;
                    break;
                }
            };
            let end = application.response_length();
            if new.is_some_and(|new| {
                let all = unacked + end - new;
                // More could not be told from bytes beyond SND.NXT: [`tcb::Tcb`]. Nor does a cookie cover what this reply
                // would carry nothing of: only a timer would ask for it.
                unacked > 0
                    && (all > MAX_UNACKED || unacked >= window || answered.volatile > 0 && all > segment_size)
            }) {
                application.truncate_responses(before);
                break;
            }
            if new.is_some_and(|new| before > new) {
                changes |= answered.volatile > 0;
                let all = end - new.unwrap_or(0);
                // It waits in the client's send buffer until what goes before it is received.
                if all > MAX_BATCH.min(window) || changes && all > segment_size {
                    application.truncate_responses(before);
                    break;
                }
            }
            changes |= answered.volatile > 0;
            at += length;
            if !again {
                application.log_query(&rest[..length], before);
            }
            self.spans.push(ResponseSpan { end: end as u32, message, volatile: answered.volatile as u32 });
            // Its end depends on where the segment ended, and nothing comes after it.
            let ends_all = answered.last && closing;
            if at > rcv_nxt && new.is_none() {
                if !ends_all {
                    return None;
                }
                new = Some(end);
            }
            messages.last = answered.last || new.is_some_and(|new| limits.exhausted(end - new, at));
            if messages.last {
                break;
            }
        }
        let end = application.response_length();
        if messages.last && closing {
            new = Some(end);
        }
        let old = new?;
        self.reached = at;
        self.gone = gone && (old < unacked || end - old < beyond);
        messages.old = old as u32;
        messages.new = (end - old) as u32;
        messages.end = at.saturating_sub(lead) as u16;
        messages.rest = stream.len() - at;
        Some(messages)
    }

    /// Drops responses that the client has for certain: of the answers before RCV.NXT it lacks no more than a cookie covers.
    #[inline]
    fn drop_received<A: Application>(&mut self, application: &mut A) {
        let length = application.response_length();
        if length <= 2 * LONGEST {
            return;
        }
        let excess = length - MAX_UNACKED;
        application.drop_responses(excess);
        for span in &mut self.spans {
            *span = match (span.end as usize).checked_sub(excess) {
                #[expect(clippy::cast_possible_truncation, reason = "less than it was")]
                Some(end) => ResponseSpan { end: end as u32, ..*span },
                None => ResponseSpan { end: 0, volatile: 0, ..*span },
            };
        }
    }
}

impl ParseLimits {
    /// Whether the two streams differ so much that the connection ends with the message that ends at `at`, where the new
    /// answers have `sent` bytes.
    #[inline]
    fn exhausted(&self, sent: usize, at: usize) -> bool {
        let received = (at - self.rcv_nxt).cast_signed();
        let delta = i64::from(self.stream_delta) + (sent.cast_signed() - received) as i64;
        delta > MAX_STREAM_DELTA.into() || delta < -i64::from(MAX_NEGATIVE_DELTA)
    }
}

/// Begins to fetch the answers to the messages of `rest` behind the first, which is `length` bytes long and pending.
#[cold]
pub(super) fn prefetch<A: Application>(
    application: &mut A,
    context: &RequestContext,
    rest: &[u8],
    length: usize,
) {
    let mut at = length;
    for _ in 0..MAX_MESSAGES {
        let Some(stream) = rest.get(at..).filter(|stream| !stream.is_empty()) else { return };
        let Framing::Message(length) = application.frame(stream) else { return };
        application.prefetch(&stream[..length], &context.behind(at));
        at += length;
    }
}

#[cfg(test)]
mod tests;
