//! Places the answers to the messages around RCV.NXT in our stream, and decides which bytes of them are sent.

use super::{AckStatus, MAX_AHEAD, MAX_UNACKED, Tcb};
use crate::outcome::Outcome;
use crate::tcp::output::{Fin, Reply, Rest};
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::ts_cookie::{TsCookie, TsState};

/// Result of parsing a payload: the messages on both sides of RCV.NXT, and their answers' lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts")]
pub struct ParsedMessages {
    /// Bytes of the answers to the messages before RCV.NXT.
    pub old: u32,
    /// Bytes of the answers to the messages after RCV.NXT.
    pub new: u32,
    /// Offset in the payload behind the last message that was answered.
    pub end: u16,
    /// The application is done with the connection.
    pub last: bool,
    /// The payload ends in an incomplete message.
    pub incomplete: bool,
    /// Bytes behind the last message that was answered.
    pub rest: usize,
    /// The incomplete message is a length and no more, which need not be buffered.
    pub prefix: bool,
    /// The incomplete message is buffered if the reply acknowledges it.
    pub buffered: bool,
}

/// One answer among those to a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseSpan {
    /// Offset in the responses behind it.
    pub end: u32,
    /// Offset in the payload behind its message.
    pub message: u16,
    /// So many bytes at its front may differ from those sent before.
    pub volatile: u32,
}

/// Facts about a position in the responses at which a reply resumes.
struct ResumePoint {
    /// A segment of ours may have ended here.
    known: bool,
    /// It lies within bytes that change.
    changes: bool,
    /// An answer with so many bytes that change begins here.
    volatile: u32,
    /// Offset in the payload behind the last message whose answer lies before this position.
    answered: u16,
    /// End of the reply, if bytes that change are to stay in one segment.
    stop: u32,
}

/// End of the client's bytes that are accounted for.
struct End {
    closing: bool,
    /// The client may have our FIN, or may not: it gets one behind the bytes that it has.
    again: bool,
    rcv_nxt: u32,
}

impl Tcb {
    /// Answers a payload in which `messages` were found, with the answers `spans`: the bytes of them, old and new, that the
    /// client lacks. The cookie covers everything that was parsed, so that whatever of it is lost, the resend can be read.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn build_reply(
        &self,
        segment: &Segment,
        messages: &ParsedMessages,
        spans: &[ResponseSpan],
        segment_size: u16,
    ) -> Result<Reply, Outcome> {
        let size = u32::from(self.segment_size(segment_size));
        let grid = self.grid(size);
        let length = messages.old + messages.new;
        if messages.incomplete
            && messages.end == 0
            && self.accounted == 0
            && matches!(self.ack_status, AckStatus::Beyond(2..))
        {
            // It has an answer to the message that begins here, and nobody knows the rest of that message any more.
            return Err(Outcome::Misaligned);
        }
        let next = self.next(messages).ok_or(Outcome::OutOfOrder)?;
        let resume = ResumePoint::find(spans, next, length);
        if !resume.known && grid.beyond(segment.ack) != 0 {
            return Err(Outcome::Misaligned);
        }
        if resume.changes {
            return Err(Outcome::NonRepeatable);
        }
        let End { closing, again, rcv_nxt: end_rcv_nxt } = self.end(segment, messages);
        let total = length + u32::from(closing);
        let base = segment.ack.wrapping_sub(next);
        let nothing_unacked = next >= total;
        if messages.incomplete && messages.end == 0 && next > total {
            // It has an answer to a message of which it sends a part: a middlebox merged that part with the next one.
            return Err(Outcome::Misaligned);
        }
        let single = length.saturating_sub(next) <= size;
        let covered = length.saturating_sub(next) <= MAX_UNACKED;
        let edge = {
            let stop = if single { total } else { resume.stop.min(total) };
            let window = u32::from(segment.window);
            // Nor more beyond its cookie than a cookie can cover.
            let window = next.saturating_add(if covered { window } else { window.min(MAX_UNACKED) });
            match window {
                _ if window >= stop => stop,
                _ if window >= length => length,
                _ => window.saturating_sub(grid.beyond(base.wrapping_add(window))),
            }
        };
        let mid_message = self.cookie.state == TsState::MidMessage;
        // Nor a single byte where FIN may have been sent instead: [`Tcb::is_closed`].
        if !nothing_unacked && (edge <= next || mid_message && edge == 1 && total > 1) {
            return Err(Outcome::WindowTooSmall);
        }
        // One segment with everything that the client lacks is whole or absent, so it may acknowledge. Were one of several to
        // do so, a lost sibling could never be asked for again.
        // An answer to a message that began before the payload may not: its resend has to find the same cookie.
        let acked = nothing_unacked || single && edge == total && !mid_message;
        let rcv_nxt = self.rcv_nxt(segment);
        let (end, cookie) = if !acked && (mid_message || !covered) {
            (rcv_nxt, self.cookie)
        } else {
            let part = acked && (messages.prefix || messages.buffered) && !closing;
            let end = if part { segment.next() } else { end_rcv_nxt };
            let state = match (closing, acked) {
                (true, _) => TsState::Closing,
                (false, true) if part => TsState::MidMessage,
                (false, true) => TsState::Acked,
                (false, false) => TsState::AckPending,
            };
            let state = if end == rcv_nxt { state.max(self.cookie.state) } else { state };
            (end, TsCookie::new(end, base.wrapping_add(length), state))
        };
        let answered =
            |accounted: i32| segment.seq.wrapping_add_signed(accounted.min(i32::from(resume.answered)));
        let reply = Reply {
            base,
            first: self.acknowledge(segment, if acked { end } else { answered(self.accounted) }),
            // A segment that arrives out of order moves the beginning of the client's send buffer, but not its echo (RFC 7323
            // section 4.3). Only the first one is in order for certain; the others leave both where the client has them.
            others: self.acknowledge(segment, answered(self.as_echoed().0)),
            timestamps: Some(self.timestamps(segment, cookie)),
            size,
            grid,
            length,
            edge,
            fin: if closing { Fin::OnLast } else { Fin::None },
            next,
            rest: if nothing_unacked { Rest::Acknowledgment { then_data: false } } else { Rest::Data },
            held: None,
        };
        if !nothing_unacked && reply.cut() < resume.volatile || again && segment.window == 0 {
            return Err(Outcome::WindowTooSmall);
        }
        if again {
            return Ok(Reply { base: segment.ack, length: 0, edge: 1, next: 0, rest: Rest::Data, ..reply });
        }
        Ok(reply)
    }

    /// Offset of SEG.ACK in the answers, old and new; none if the client lacks answers to messages before them.
    #[inline]
    fn next(&self, messages: &ParsedMessages) -> Option<u32> {
        match self.ack_status {
            AckStatus::Unacked(bytes) => messages.old.checked_sub(bytes),
            // A stale echo: answers to this payload arrived, or FIN behind it, or answers sent ahead.
            AckStatus::Beyond(bytes) => {
                (bytes <= MAX_AHEAD.max(messages.new + 1)).then_some(messages.old + bytes)
            }
        }
    }

    /// End of the client's bytes that are accounted for after `messages`.
    #[inline]
    fn end(&self, segment: &Segment, messages: &ParsedMessages) -> End {
        if self.is_closing() {
            return End { closing: true, again: false, rcv_nxt: self.rcv_nxt(segment) };
        }
        let fin = segment.flags.contains(Flags::FIN);
        // A message that is cut off at the head, with nothing before it to wait for, hardly ever comes in another cut. If it
        // did nevertheless, a late FIN must not take its beginning off the client's send buffer: it acknowledges nothing. One
        // byte beyond SND.NXT is that FIN, or one of an answer: see [`Tcb::on_segment_after_fin`].
        let waited_for =
            self.accounted == 0 && matches!(self.ack_status, AckStatus::Unacked(0) | AckStatus::Beyond(1));
        let cut_off = messages.incomplete && messages.end == 0 && waited_for;
        let closing =
            messages.last || cut_off || fin && (messages.end == segment.length || messages.incomplete);
        // A message that is not answered is not covered by the cookie, though nobody will answer it any more.
        let all = fin && messages.end == segment.length;
        let rcv_nxt = if all { segment.next() } else { segment.seq.wrapping_add(u32::from(messages.end)) };
        End { closing, again: cut_off && self.ack_status == AckStatus::Beyond(1), rcv_nxt }
    }
}

impl ResumePoint {
    #[inline]
    fn find(spans: &[ResponseSpan], next: u32, length: u32) -> Self {
        let known = next == 0 || next >= length;
        let mut resume = Self { known, changes: false, volatile: 0, answered: 0, stop: u32::MAX };
        let mut start = 0;
        for (index, part) in spans.iter().enumerate() {
            resume.changes |= start < next && next < start + part.volatile;
            resume.known |= next == start;
            if part.end <= next {
                resume.answered = part.message;
            }
            if next == start {
                resume.volatile = part.volatile;
            }
            let follower_changes = spans.get(index + 1).is_some_and(|part| part.volatile > 0);
            if part.end > next && (part.volatile > 0 || follower_changes) && index + 1 < spans.len() {
                resume.stop = resume.stop.min(part.end);
            }
            start = part.end;
        }
        resume
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::application::MAX_RESPONSE;
    use crate::tcp::epoch::Slots;
    use crate::tcp::isn::{CookieFields, Key, MssClass, iss_with_timestamps};
    use crate::tcp::segment::{Address, FourTuple, Options, Timestamps};
    use crate::tcp::testing::epochs;
    use crate::tcp::ts_cookie::Mask;
    use std::vec::Vec;

    const KEY: Key = Key([7; 16]);
    const TUPLE: FourTuple = FourTuple {
        server: Address::from_ipv4([192, 0, 2, 1]),
        client: Address::from_ipv4([192, 0, 2, 2]),
        server_port: 53,
        client_port: 40_000,
    };

    fn slots() -> Slots {
        epochs().persistent
    }

    /// The first sequence numbers behind SYN, the client's and ours, and the mask of a connection.
    fn opened() -> (u32, u32, Mask) {
        let fields = CookieFields { class: MssClass::Standard, generation: 7 };
        let (iss, mask) = iss_with_timestamps(&KEY, &TUPLE, 1_000, slots().current, fields);
        (1_001, iss.wrapping_add(1), mask)
    }

    /// Only a client that lacks everything that it echoes would show it, as one may that found no memory for the first
    /// segment.
    #[test]
    fn a_long_answer_is_covered_when_the_client_lacks_less() {
        const REQUEST: u16 = 31;
        let (seq, base, mask) = opened();
        let before = TsCookie::new(seq, base, TsState::Acked);
        let end = seq + u32::from(REQUEST);
        let after = |state| TsCookie::new(end, base.wrapping_add(MAX_RESPONSE), state);
        let messages = ParsedMessages { new: MAX_RESPONSE, end: REQUEST, ..ParsedMessages::default() };
        let spans = [ResponseSpan { end: MAX_RESPONSE, message: REQUEST, volatile: 0 }];
        let mut received = 0;
        for most in [MAX_UNACKED, MAX_RESPONSE] {
            let timestamps = Timestamps { value: 5, echo: before.encode(mask) };
            let segment = Segment {
                tuple: TUPLE,
                seq,
                ack: base.wrapping_add(received),
                flags: Flags::ACK,
                window: u16::MAX,
                options: Options { timestamps: Some(timestamps), ..Options::default() },
                length: REQUEST,
            };
            let tcb = Tcb::read(&KEY, slots(), &segment).expect("timestamps");
            let reply = tcb.build_reply(&segment, &messages, &spans, 1220).expect("there is room");
            let (cookie, acknowledged) = match (most, reply.clone().count()) {
                (MAX_UNACKED, _) => (before, seq),
                // Where our segments end is secret, and so is how many are lacking now.
                (_, 1) => (after(TsState::Acked), end),
                _ => (after(TsState::AckPending), seq),
            };
            assert_eq!(reply.timestamps, Some(Timestamps { value: cookie.encode(mask), echo: 5 }));
            assert_eq!(reply.acknowledged(), acknowledged);
            assert!((most - 1024..=most).contains(&reply.edge), "sent up to {}", reply.edge);
            received = reply.edge;
        }
    }

    /// Behind the place where a message begins that is cut off, our FIN and a byte of an answer look the same.
    #[test]
    fn a_byte_beyond_a_message_that_is_cut_off_gets_fin_once_more() {
        const PART: u16 = 20;
        let (seq, base, mask) = opened();
        let part = |state, beyond, window| {
            let echo = TsCookie::new(seq, base, state).encode(mask);
            let segment = Segment {
                tuple: TUPLE,
                seq,
                ack: base.wrapping_add(beyond),
                flags: Flags::ACK,
                window,
                options: Options { timestamps: Some(Timestamps { value: 5, echo }), ..Options::default() },
                length: PART,
            };
            (segment, Tcb::read(&KEY, slots(), &segment).expect("timestamps"))
        };
        let value = TsCookie::new(seq, base, TsState::Closing).encode(mask);
        let closing = Some(Timestamps { value, echo: 5 });
        let fin = Flags::FIN | Flags::ACK;

        // RCV.NXT lies before the message: bytes that the client may send in another cut are not acknowledged.
        let messages = ParsedMessages { incomplete: true, rest: PART.into(), ..ParsedMessages::default() };
        for state in [TsState::AckPending, TsState::Acked] {
            let (segment, tcb) = part(state, 1, 1);
            let sent: Vec<_> = tcb.build_reply(&segment, &messages, &[], 1220).expect("FIN").collect();
            let [once] = sent[..] else { panic!("{sent:?}") };
            assert_eq!((once.seq, once.ack, once.flags), (segment.ack, seq, fin));
            assert_eq!((once.length, once.timestamps), (0, closing));
            let (segment, tcb) = part(state, 1, 0);
            assert_eq!(tcb.build_reply(&segment, &messages, &[], 1220).err(), Some(Outcome::WindowTooSmall));
        }

        // RCV.NXT lies inside the message, and the connection closes.
        for (state, beyond, flags) in [
            (TsState::MidMessage, 1, fin),
            (TsState::Closing, 1, Flags::ACK),
            (TsState::Closing, 2, Flags::ACK),
        ] {
            let (segment, tcb) = part(state, beyond, 1);
            let end = tcb.on_segment_after_fin(&segment).expect("the end").expect("a window");
            assert_eq!((end.seq, end.ack, end.flags), (segment.ack, segment.next(), flags));
            assert_eq!(end.timestamps, closing);
        }
        let (segment, tcb) = part(TsState::MidMessage, 1, 0);
        assert_eq!(tcb.on_segment_after_fin(&segment), Some(Err(Outcome::WindowTooSmall)));
        for (state, beyond) in [(TsState::MidMessage, 2), (TsState::Closing, 3), (TsState::Acked, 1)] {
            let (segment, tcb) = part(state, beyond, 1);
            assert_eq!(tcb.on_segment_after_fin(&segment), None, "{state:?} {beyond}");
        }
    }
}
