//! Connections without timestamps: the first message and its followers in the same segment, answered once
//! (docs/protocol.md, "Connections without timestamps").
//!
//! Every segment of that message has to prove itself by the client's ISN. The first one does, and one behind a length of
//! two bytes, which DNS clients may write by itself: the number of bytes before it is known. Those before others are
//! buffered in the connection cache, or they cannot be answered.

mod data;

use super::application::{MAX_NON_REPEATABLE, MAX_RESPONSE};
use super::epoch::Epochs;
use super::isn::{self, Generations, Keys, MssClass, Proof};
use super::output::{Acknowledgment, Fin, Grid, Reply, Rest, TxSegment};
use super::segment::{Flags, Segment};
use super::{AckPolicy, TcpConfig};
use crate::outcome::Outcome;

pub(super) use data::{early_reply, on_data};

/// Most windows of a response. The bytes that the first one has no room for go out when the client asks again, and its
/// timer doubles each time.
const MAX_WINDOWS: u32 = 4;

/// Most bytes of a refusal that is sent instead of a response that finds no room.
const MAX_REFUSAL: u32 = 512;

/// FIN without payload. Acknowledged as it stands, for nothing is known of a later segment; the answer is no larger
/// than the segment. A client that closes without having asked anything gets our FIN as well.
#[inline]
pub(super) fn on_fin(config: &TcpConfig, epochs: &Epochs, segment: &Segment) -> TxSegment {
    let proof = isn::prove(&config.keys, epochs, &config.generations, segment, 0, 0);
    let asked_nothing = matches!(proof, Some(Proof { received: 0, .. }));
    let flags = if asked_nothing { Flags::FIN | Flags::ACK } else { Flags::ACK };
    TxSegment::bare(segment.ack, segment.next(), flags, config.ack_policy.window())
}

/// Proves a segment with payload: exactly `lead` bytes of its connection went before it; none of the first, two of one
/// behind a DNS length that was written by itself.
///
/// # Errors
/// [`Outcome::BadCookie`], or [`Outcome::GenerationGone`].
#[inline]
pub fn prove(
    keys: &Keys,
    epochs: &Epochs,
    generations: &Generations,
    segment: &Segment,
    lead: u32,
) -> Result<Request, Outcome> {
    let proof =
        isn::prove(keys, epochs, generations, segment, lead, MAX_RESPONSE + 1).ok_or(Outcome::BadCookie)?;
    let Proof { received, terms } = proof;
    if !generations.hold(terms.generation) {
        return Err(Outcome::GenerationGone);
    }
    Ok(Request { received, class: terms.class, generation: terms.generation })
}

/// A connection's first message, or the end of it, whose segment has proven our ISS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the response (FIN counts one) that the client has received in order: 0 unless it asks again.
    pub received: u32,
    /// Largest payload that the client takes.
    pub class: MssClass,
    /// Generation of the content that it is to be answered from: one of those served.
    pub generation: u8,
}

impl Request {
    /// Offset in the response of the first byte that lies beyond the client's window.
    ///
    /// A window never shrinks from the right (RFC 9293 section 3.8.6), so for a resent request this is no less than the
    /// first time: a response that found room once finds it again.
    #[inline]
    fn edge(self, segment: &Segment) -> u32 {
        self.received + u32::from(segment.window)
    }

    /// Most bytes of a response that the client's window takes at once, with room for FIN.
    #[inline]
    #[must_use]
    pub fn at_once(&self, segment: &Segment) -> u32 {
        self.edge(segment).saturating_sub(1).min(MAX_RESPONSE)
    }

    /// Most bytes that the response may have. A window that takes a segment, and the bytes that change at the front of a
    /// response, is filled several times: the client can go on behind each. A refusal fits such a window at once: another
    /// time, in a larger one, the true response might follow a part of it.
    #[inline]
    #[must_use]
    pub fn room(&self, ack_policy: AckPolicy, segment: &Segment, segment_size: u16) -> u32 {
        let edge = self.edge(segment);
        let least = u32::from(self.segment_size(segment_size)).max(MAX_REFUSAL) + MAX_NON_REPEATABLE;
        if ack_policy == AckPolicy::Classic || edge < least {
            return self.at_once(segment);
        }
        (MAX_WINDOWS * edge).min(MAX_RESPONSE)
    }

    /// Offset in the response of the first byte that is not sent; FIN's is `length`. A response that does not fit the window
    /// ends where a segment of `size` bytes does: there the client can go on.
    #[inline]
    fn last(self, segment: &Segment, length: u32, size: u32) -> u32 {
        match self.edge(segment) {
            edge if edge > length => length + 1,
            edge => edge - edge % size,
        }
    }

    /// Acknowledges a part of a message, everything that the segment holds, without an answer.
    #[inline]
    #[must_use]
    pub fn acknowledge_part(&self, ack_policy: AckPolicy, segment: &Segment) -> TxSegment {
        TxSegment::bare(segment.ack, segment.next(), Flags::ACK, ack_policy.window())
    }

    /// Most bytes of payload of our segments to this client.
    #[inline]
    #[must_use]
    pub fn segment_size(&self, configured: u16) -> u16 {
        configured.min(self.class.bytes())
    }

    /// The segments that carry `response` in payloads of at most `segment_size` bytes.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn reply(
        &self,
        ack_policy: AckPolicy,
        segment: &Segment,
        response: Response,
        segment_size: u16,
    ) -> Result<Reply, Outcome> {
        let Response { length, volatile, .. } = response;
        let size = u32::from(self.segment_size(segment_size));
        if self.received > length + 1 {
            return Err(Outcome::BeyondResponse);
        }
        // A later segment of a connection passes for the first one by chance; it then acknowledges any byte at all.
        if self.received < length && !self.received.is_multiple_of(size) {
            return Err(Outcome::Misaligned);
        }
        if self.received > 0 && self.received < volatile {
            return Err(Outcome::NonRepeatable);
        }
        // FIN takes a byte of the window too, even where nothing goes before it. Who acknowledges the request at once is
        // not asked for the rest.
        let edge = self.last(segment, length, size);
        let cut_short =
            edge <= self.received || edge <= length && (ack_policy == AckPolicy::Classic || edge < volatile);
        if self.received <= length && cut_short {
            return Err(Outcome::WindowTooSmall);
        }
        let base = segment.ack.wrapping_sub(self.received);
        // A response of one segment is whole or absent, so it may acknowledge the request. Were one of several to do
        // so, a lost sibling could never be asked for again (docs/protocol.md, "Connections without timestamps").
        // Nor does an answer to a part: late, it would take the beginning of a message off the send buffer of a client
        // that meanwhile sends that message whole.
        let all = edge > length && length.saturating_sub(self.received) <= size;
        let whole = self.received > length || response.complete && all;
        let acknowledged = match ack_policy {
            AckPolicy::Reliable if !whole => segment.seq,
            AckPolicy::Reliable | AckPolicy::Classic => segment.next(),
        };
        let rest = if self.received > length {
            Rest::Acknowledgment { then_data: false }
        } else if ack_policy == AckPolicy::Classic {
            Rest::Acknowledgment { then_data: true }
        } else {
            Rest::Data
        };
        let reply = Reply {
            base,
            first: Acknowledgment { number: acknowledged, window: ack_policy.window() },
            others: Acknowledgment { number: acknowledged, window: ack_policy.window() },
            timestamps: None,
            size,
            grid: Grid::EVERYWHERE,
            length,
            edge,
            fin: if ack_policy == AckPolicy::Classic { Fin::Apart } else { Fin::OnLast },
            next: self.received,
            rest,
            held: None,
        };
        let cut_off = ack_policy == AckPolicy::Reliable && !response.complete;
        if cut_off && self.received > length && segment.window > 0 {
            // Either our FIN is received, or a byte of a longer response that was sent when somebody on the way had merged
            // this segment with the next. So FIN once more, behind what is received: who has one heeds no second.
            return Ok(Reply { base: segment.ack, length: 0, edge: 1, next: 0, rest: Rest::Data, ..reply });
        }
        Ok(reply)
    }
}

/// Properties of the response to a first segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Bytes.
    pub length: u32,
    /// So many at the front may differ from those sent before.
    pub volatile: u32,
    /// It answers all of the payload.
    pub complete: bool,
}

#[cfg(test)]
mod tests;
