//! Relates a segment to RCV.NXT, and answers it if that takes no look at messages.

use super::{AckStatus, MAX_AHEAD, MAX_BATCH, ParsedMessages, Tcb};
use crate::outcome::Outcome;
use crate::tcp::AckPolicy;
use crate::tcp::output::{Acknowledgment, TxSegment};
use crate::tcp::segment::{Flags, Segment, Timestamps};
use crate::tcp::ts_cookie::{TsCookie, TsState};

/// A payload's relation to RCV.NXT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentClass {
    /// The messages around RCV.NXT, which is so many bytes into it: [`Tcb::build_reply`] wants them parsed.
    AroundRcvNxt(usize),
    /// It begins inside a message, at RCV.NXT: the same, with the bytes before it.
    MidMessage,
    /// It begins beyond RCV.NXT. Who knows where the answers to the bytes between end may use [`Tcb::reply_ahead`].
    Beyond,
    /// No answer is to be looked for.
    Decided(Result<Control, Outcome>),
}

/// One segment to be sent, without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The segment.
    pub segment: TxSegment,
    /// Its reason can be guessed: it is to be sent at a limited rate only.
    pub unproven: bool,
}

impl From<TxSegment> for Control {
    fn from(segment: TxSegment) -> Self {
        Self { segment, unproven: false }
    }
}

impl Tcb {
    /// Classifies a segment with payload.
    #[inline]
    #[must_use]
    pub fn classify(&self, segment: &Segment) -> SegmentClass {
        let length = i32::from(segment.length);
        let fin = segment.flags.contains(Flags::FIN);
        if let Some(end) = self.on_segment_after_fin(segment) {
            return SegmentClass::Decided(end.map(Control::from));
        }
        if self.is_beyond_rcv_nxt() {
            return SegmentClass::Beyond;
        }
        if self.accounted > 0 && self.accounted >= length && self.is_received() {
            // Resent, long since answered and received; but for FIN, perhaps.
            let decided = if fin && self.accounted == length {
                self.on_fin(segment)
            } else if self.is_closing() {
                self.resend_fin(segment)
            } else {
                Ok(self.ack(segment))
            };
            return SegmentClass::Decided(decided.map(Control::from));
        }
        if self.accounted > length + i32::from(fin) {
            return SegmentClass::Decided(self.on_unparsable(segment));
        }
        match (self.cookie.state, self.accounted) {
            (TsState::MidMessage, 0) => SegmentClass::MidMessage,
            // Acknowledged when everything before it was received: the client has no cause to go back behind it.
            (TsState::MidMessage, _) => SegmentClass::Decided(Err(Outcome::Misaligned)),
            (_, accounted) => SegmentClass::AroundRcvNxt(accounted.min(length).unsigned_abs() as usize),
        }
    }

    /// Answers a segment without payload: ACK alone, or FIN.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn on_control_segment(&self, segment: &Segment) -> Result<TxSegment, Outcome> {
        if let Some(end) = self.on_segment_after_fin(segment) {
            return end;
        }
        if segment.flags.contains(Flags::FIN) { self.on_fin(segment) } else { self.on_ack(segment) }
    }

    /// Acknowledges what takes sequence numbers after our FIN: nothing is answered any more. RST would take from the client
    /// bytes that it has received and not read yet. RCV.NXT in the cookie stays where it is: it would run around its 13 bits
    /// while our own numbers stand still.
    ///
    /// Where RCV.NXT lies inside a message, the byte beyond SND.NXT that stands for FIN may be one of an answer: a middlebox
    /// merged this message with others, and a segment of their answers ended there. So FIN goes out once more, behind the
    /// bytes received. A client that has our FIN ignores the second.
    #[inline]
    #[must_use]
    pub fn on_segment_after_fin(&self, segment: &Segment) -> Option<Result<TxSegment, Outcome>> {
        let takes = segment.length > 0 || segment.flags.contains(Flags::FIN);
        // That FIN, behind the byte of an answer.
        let second = self.is_closing() && self.ack_status == AckStatus::Beyond(2);
        if !takes || !self.is_closed() && !second {
            return None;
        }
        let ack = self.bare(segment, segment.next(), self.cookie.raised_to(TsState::Closing));
        Some(match self.cookie.state {
            TsState::MidMessage if segment.window == 0 => Err(Outcome::WindowTooSmall),
            TsState::MidMessage => Ok(TxSegment { flags: Flags::FIN | Flags::ACK, ..ack }),
            _ => Ok(ack),
        })
    }

    /// ACK alone. Never answered by what takes a sequence number: two sides that find each other's unacceptable would
    /// go on for ever.
    #[inline]
    fn on_ack(&self, segment: &Segment) -> Result<TxSegment, Outcome> {
        match self.cookie.state {
            // Everything covered is received, and the requests for it are not acknowledged yet.
            TsState::AckPending if self.is_received() && self.accounted <= 0 => Ok(self.ack(segment)),
            TsState::Closing if self.is_closed() && self.accounted <= 0 => Ok(self.ack(segment)),
            // A probe (RFC 9293 section 3.8.4).
            _ if self.is_received() && self.accounted == 1 => Ok(self.ack(segment)),
            _ => Err(Outcome::BareAck),
        }
    }

    /// FIN, and no payload behind RCV.NXT, before our own FIN is known to be received.
    #[inline]
    fn on_fin(&self, segment: &Segment) -> Result<TxSegment, Outcome> {
        match self.ack_status {
            _ if self.accounted != i32::from(segment.length) => Err(Outcome::OutOfOrder),
            AckStatus::Unacked(0) if segment.window == 0 => Err(Outcome::WindowTooSmall),
            AckStatus::Unacked(0) => {
                let cookie = TsCookie::new(segment.next(), segment.ack, TsState::Closing);
                let flags = Flags::FIN | Flags::ACK;
                Ok(TxSegment { flags, ..self.bare(segment, segment.next(), cookie) })
            }
            // All that the client ever sent is accounted for: its one byte beyond SND.NXT can only be our FIN.
            AckStatus::Beyond(1) => {
                let cookie = TsCookie::new(segment.next(), segment.ack.wrapping_sub(1), TsState::Closing);
                Ok(self.bare(segment, segment.next(), cookie))
            }
            _ => Err(Outcome::OutOfOrder),
        }
    }

    /// Our FIN, everything before which is received.
    #[inline]
    fn resend_fin(&self, segment: &Segment) -> Result<TxSegment, Outcome> {
        if segment.window == 0 {
            return Err(Outcome::WindowTooSmall);
        }
        Ok(TxSegment { flags: Flags::FIN | Flags::ACK, ..self.ack(segment) })
    }

    /// Acknowledges all of the payload, which ends inside a message: for an idle client, which will not send it in
    /// another cut.
    #[inline]
    #[must_use]
    pub fn acknowledge_part(&self, segment: &Segment) -> TxSegment {
        let cookie = TsCookie::new(segment.next(), segment.ack, TsState::MidMessage);
        self.bare(segment, segment.next(), cookie)
    }

    /// Answers a payload that goes on inside a message whose beginning is lost: FIN, so that the client asks again on
    /// another connection; RST, if it has a part of the answer. Another server may have answered meanwhile, and this be
    /// late: so FIN acknowledges nothing and covers nothing new.
    ///
    /// # Errors
    /// The reason for RST or silence.
    pub fn reassembly_lost(&self, segment: &Segment, segment_size: u16) -> Result<TxSegment, Outcome> {
        let grid = self.grid(u32::from(self.segment_size(segment_size)));
        match self.ack_status {
            AckStatus::Unacked(0) if segment.window > 0 => self.end_unanswered(segment),
            // Hardly a guess: the cookie fits SEG.SEQ, and SEG.ACK lies close to it or where a segment may have ended.
            AckStatus::Beyond(bytes) if bytes <= MAX_BATCH || grid.beyond(segment.ack) == 0 => {
                Err(Outcome::ReassemblyLost)
            }
            _ => Err(Outcome::Misaligned),
        }
    }

    /// FIN, which acknowledges nothing of the payload and covers nothing new: for a client that has received everything
    /// before it.
    ///
    /// # Errors
    /// [`Outcome::Misaligned`], if it has not, or has our FIN; [`Outcome::WindowTooSmall`].
    #[inline]
    pub fn end_unanswered(&self, segment: &Segment) -> Result<TxSegment, Outcome> {
        match self.ack_status {
            AckStatus::Unacked(0) if segment.window == 0 => Err(Outcome::WindowTooSmall),
            AckStatus::Unacked(0) => {
                let flags = Flags::FIN | Flags::ACK;
                Ok(TxSegment { flags, ..self.bare(segment, segment.seq, self.cookie) })
            }
            _ => Err(Outcome::Misaligned),
        }
    }

    /// Answers a payload whose messages cannot be told apart: RCV.NXT can be acknowledged nevertheless, once everything
    /// that the cookie covers is received.
    ///
    /// # Errors
    /// [`Outcome::Misaligned`], if it is not.
    pub fn on_unparsable(&self, segment: &Segment) -> Result<Control, Outcome> {
        let unproven = match self.ack_status {
            _ if self.is_received() => false,
            // And more, that was sent ahead, of which nobody knows any more.
            AckStatus::Beyond(1..=MAX_AHEAD) => true,
            _ => return Err(Outcome::Misaligned),
        };
        Ok(Control { segment: self.ack(segment), unproven })
    }

    /// Whether the only sign that the client has everything is that it acknowledges more than can be accounted for: bytes
    /// sent ahead of which nobody knows any more, or a guess. (More than that is not answered at all.)
    #[inline]
    #[must_use]
    pub fn is_unproven(&self, messages: &ParsedMessages) -> bool {
        self.accounted > 0
            && self.echoed.is_none()
            && matches!(self.ack_status, AckStatus::Beyond(bytes @ ..=MAX_AHEAD) if bytes > messages.new + 1)
    }

    /// ACK of RCV.NXT.
    #[inline]
    pub(super) fn ack(&self, segment: &Segment) -> TxSegment {
        self.bare(segment, self.rcv_nxt(segment), self.acked())
    }

    /// The cookie for a segment whose ACK field covers RCV.NXT.
    #[inline]
    pub(super) fn acked(&self) -> TsCookie {
        self.cookie.raised_to(TsState::Acked)
    }

    #[inline]
    pub(super) fn bare(&self, segment: &Segment, ack: u32, cookie: TsCookie) -> TxSegment {
        let Acknowledgment { number, window } = self.acknowledge(segment, ack);
        let bare = TxSegment::bare(segment.ack, number, Flags::ACK, window);
        TxSegment { timestamps: Some(self.timestamps(segment, cookie)), ..bare }
    }

    /// Acknowledges the bytes before `number`. The window ends where it always does, seen from the client's echo: before the
    /// client echoes it, nobody knows that it took the cookie that goes with an acknowledgment, unless nothing else is
    /// under way to it.
    #[inline]
    pub(super) fn acknowledge(&self, segment: &Segment, number: u32) -> Acknowledgment {
        let (accounted, _) = self.as_echoed();
        let most = AckPolicy::Reliable.window();
        let beyond = number.wrapping_sub(segment.seq).cast_signed().wrapping_sub(accounted);
        let beyond = if self.at_rest || self.is_closing() || self.is_closed() { 0 } else { beyond.max(0) };
        let window = most.saturating_sub(u16::try_from(beyond).unwrap_or(most));
        Acknowledgment { number, window }
    }

    #[inline]
    pub(super) fn timestamps(&self, segment: &Segment, cookie: TsCookie) -> Timestamps {
        let echo = segment.options.timestamps.map_or(0, |timestamps| timestamps.value);
        Timestamps { value: cookie.encode(self.delta.mask()), echo }
    }
}
