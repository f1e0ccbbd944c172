//! What the messages around P come to: the answers' place in our stream, and what of them is sent.

use super::{AckStatus, MAX_HINTED, MAX_PROMISED, Tcb};
use crate::tcp::input::Reason;
use crate::tcp::output::{Fin, Reply, Rest};
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::ts_cookie::{TsCookie, TsState};

/// What was found in a payload: the messages before P and after it, and their answers' lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four things that have nothing to do with each other")]
pub struct ParsedMessages {
    /// Octets of the answers to the messages before P.
    pub old: u32,
    /// Octets of the answers to the messages after P.
    pub new: u32,
    /// Offset in the payload behind the last message that was answered.
    pub end: u16,
    /// The service is done with the connection.
    pub last: bool,
    /// The payload ends in an incomplete message.
    pub incomplete: bool,
    /// Octets behind the last message that was answered.
    pub rest: usize,
    /// What it ends in is a message's length and no more, which nobody needs to keep.
    pub prefix: bool,
    /// What it ends in is kept if the reply acknowledges it.
    pub kept: bool,
}

/// One answer among those of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseSpan {
    /// Offset in the answers behind it.
    pub end: u32,
    /// Offset in the payload behind its message.
    pub message: u16,
    /// So many octets at its front may differ from what was sent before.
    pub volatile: u32,
}

/// What is known of a position in the answers.
struct ResumePoint {
    /// A segment of ours may have ended here.
    known: bool,
    /// It lies within octets that change.
    changes: bool,
    /// Here begins an answer with so many volatile octets.
    volatile: u32,
    /// Offset in the payload behind the last message whose answer lies before this position.
    answered: u16,
    /// How far one may go from here if octets that change are to stay in one segment.
    stop: u32,
}

impl Tcb {
    /// The segments that answer a payload in which `walk` found the answers `parts`: what the client lacks of them, old
    /// and new. The promise that they carry covers what was walked, so that whatever of them is lost, the resend can be
    /// read.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn settle(
        &self,
        segment: &Segment,
        walk: &ParsedMessages,
        parts: &[ResponseSpan],
        segment_size: u16,
    ) -> Result<Reply, Reason> {
        let size = u32::from(self.segment_size(segment_size));
        let grid = self.grid(size);
        let length = walk.old + walk.new;
        if walk.incomplete
            && walk.end == 0
            && self.gap == 0
            && matches!(self.standing, AckStatus::Beyond(2..))
        {
            // It has an answer to what begins here, and nobody knows the rest of that message any more.
            return Err(Reason::Misaligned);
        }
        let next = self.next(walk).ok_or(Reason::OutOfOrder)?;
        let spot = ResumePoint::find(parts, next, length);
        if !spot.known && grid.beyond(segment.ack) != 0 {
            return Err(Reason::Misaligned);
        }
        if spot.changes {
            return Err(Reason::NonRepeatable);
        }
        let End { closing, position: end_position } = self.reach(segment, walk);
        let total = length + u32::from(closing);
        let base = segment.ack.wrapping_sub(next);
        let nothing_missing = next >= total;
        if walk.incomplete && walk.end == 0 && next > total {
            // It has an answer to what it sends a part of: somebody on the way merged that part with what followed.
            return Err(Reason::Misaligned);
        }
        let single = length.saturating_sub(next) <= size;
        let promised = length.saturating_sub(next) <= MAX_PROMISED;
        let edge = {
            let stop = if single { total } else { spot.stop.min(total) };
            let window = u32::from(segment.window);
            // Nor, beyond what it is promised, more than could be.
            let window = next.saturating_add(if promised { window } else { window.min(MAX_PROMISED) });
            match window {
                _ if window >= stop => stop,
                _ if window >= length => length,
                _ => window.saturating_sub(grid.beyond(base.wrapping_add(window))),
            }
        };
        let mid_message = self.promise.state == TsState::MidMessage;
        // Nor a single octet where FIN may have been sent instead: [`Tcb::end`].
        if !nothing_missing && (edge <= next || mid_message && edge == 1 && total > 1) {
            return Err(Reason::WindowTooSmall);
        }
        // One segment with all that is missing is whole or absent, so it may acknowledge. Were one of several to do so, a
        // lost sibling could never be asked for again.
        // Not so an answer to what began inside a message: the resend does again, and has to find the same promise.
        let confirmed = nothing_missing || single && edge == total && !mid_message;
        let position = self.position(segment);
        let (end, promise) = if !confirmed && (mid_message || !promised) {
            (position, self.promise)
        } else {
            let part = confirmed && (walk.prefix || walk.kept) && !closing;
            let end = if part { segment.next() } else { end_position };
            let state = match (closing, confirmed) {
                (true, _) => TsState::Closing,
                (false, true) if part => TsState::MidMessage,
                (false, true) => TsState::Acked,
                (false, false) => TsState::AckPending,
            };
            let state = if end == position { state.max(self.promise.state) } else { state };
            (end, TsCookie::new(end, base.wrapping_add(length), state))
        };
        let answered = |gap: i32| segment.seq.wrapping_add_signed(gap.min(i32::from(spot.answered)));
        let reply = Reply {
            base,
            first: self.acknowledge(segment, if confirmed { end } else { answered(self.gap) }),
            // What arrives out of order moves the beginning of the client's send buffer, but not its echo (RFC 7323
            // section 4.3). Only the first segment is in order for certain; the others leave both where the client has them.
            others: self.acknowledge(segment, answered(self.echoed().0)),
            timestamps: Some(self.timestamps(segment, promise)),
            size,
            grid,
            length,
            edge,
            fin: if closing { Fin::OnLast } else { Fin::None },
            next,
            rest: if nothing_missing { Rest::Acknowledgment { then_data: false } } else { Rest::Data },
            held: None,
        };
        if !nothing_missing && reply.cut() < spot.volatile {
            return Err(Reason::WindowTooSmall);
        }
        Ok(reply)
    }

    /// Offset of SEG.ACK in the answers, old and new; none if the client lacks answers to what went before them.
    #[inline]
    fn next(&self, walk: &ParsedMessages) -> Option<u32> {
        match self.standing {
            AckStatus::Unacked(octets) => walk.old.checked_sub(octets),
            // A stale echo: what was sent for this payload arrived, or FIN behind it, or answers sent on hints.
            AckStatus::Beyond(octets) => {
                (octets <= MAX_HINTED.max(walk.new + 1)).then_some(walk.old + octets)
            }
        }
    }

    /// How far the client's octets are accounted for after `walk`.
    #[inline]
    fn reach(&self, segment: &Segment, walk: &ParsedMessages) -> End {
        if self.closing() {
            return End { closing: true, position: self.position(segment) };
        }
        let fin = segment.flags.contains(Flags::FIN);
        // What is cut off at the head, with nothing before it to wait for, hardly ever comes in another cut. If it did
        // nevertheless, a late FIN must not take its beginning off the client's send buffer: it acknowledges nothing. An
        // octet that the client has beyond B is that FIN.
        let waited_for =
            self.gap == 0 && matches!(self.standing, AckStatus::Unacked(0) | AckStatus::Beyond(1));
        let cut_off = walk.incomplete && walk.end == 0 && waited_for;
        let closing = walk.last || cut_off || fin && (walk.end == segment.length || walk.incomplete);
        // What is not answered is no part of the promise, though nobody will answer it any more.
        let all = fin && walk.end == segment.length;
        let position = if all { segment.next() } else { segment.seq.wrapping_add(u32::from(walk.end)) };
        End { closing, position }
    }
}

/// How far the client's octets are accounted for.
struct End {
    closing: bool,
    position: u32,
}

impl ResumePoint {
    #[inline]
    fn find(parts: &[ResponseSpan], next: u32, length: u32) -> Self {
        let known = next == 0 || next >= length;
        let mut spot = Self { known, changes: false, volatile: 0, answered: 0, stop: u32::MAX };
        let mut start = 0;
        for (index, part) in parts.iter().enumerate() {
            spot.changes |= start < next && next < start + part.volatile;
            spot.known |= next == start;
            if part.end <= next {
                spot.answered = part.message;
            }
            if next == start {
                spot.volatile = part.volatile;
            }
            let follower_changes = parts.get(index + 1).is_some_and(|part| part.volatile > 0);
            if part.end > next && (part.volatile > 0 || follower_changes) && index + 1 < parts.len() {
                spot.stop = spot.stop.min(part.end);
            }
            start = part.end;
        }
        spot
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::tcp::input::MAX_RESPONSE;
    use crate::tcp::isn::{CookieFields, Key, MssClass, iss_with_timestamps};
    use crate::tcp::segment::{Address, FourTuple, Options, Timestamps};

    /// Only a client that lacks all of what it echoes would show it, as one may that found no memory for the first segment.
    #[test]
    fn a_long_answer_is_promised_when_the_client_lacks_less() {
        const REQUEST: u16 = 31;
        let key = Key([7; 16]);
        let tuple = FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: Address::from_ipv4([192, 0, 2, 2]),
            server_port: 53,
            client_port: 40_000,
        };
        let terms = CookieFields { class: MssClass::Standard, generation: 7 };
        let (iss, seal) = iss_with_timestamps(&key, &tuple, 1_000, terms);
        let (seq, base) = (1_001, iss.wrapping_add(1));
        let before = TsCookie::new(seq, base, TsState::Acked);
        let end = seq + u32::from(REQUEST);
        // What is lacking then is one segment.
        let after = TsCookie::new(end, base.wrapping_add(MAX_RESPONSE), TsState::Acked);
        let walk = ParsedMessages { new: MAX_RESPONSE, end: REQUEST, ..ParsedMessages::default() };
        let parts = [ResponseSpan { end: MAX_RESPONSE, message: REQUEST, volatile: 0 }];
        let mut received = 0;
        for (promise, acknowledged, most) in [(before, seq, MAX_PROMISED), (after, end, MAX_RESPONSE)] {
            let timestamps = Timestamps { value: 5, echo: before.seal(seal) };
            let segment = Segment {
                tuple,
                seq,
                ack: base.wrapping_add(received),
                flags: Flags::ACK,
                window: u16::MAX,
                options: Options { timestamps: Some(timestamps), ..Options::default() },
                length: REQUEST,
            };
            let echo = read(&key, &segment).expect("timestamps");
            let reply = echo.settle(&segment, &walk, &parts, 1220).expect("there is room");
            assert_eq!(reply.timestamps, Some(Timestamps { value: promise.seal(seal), echo: 5 }));
            assert_eq!(reply.acknowledged(), acknowledged);
            assert!((most - 1024..=most).contains(&reply.edge), "sent up to {}", reply.edge);
            received = reply.edge;
        }
    }
}
