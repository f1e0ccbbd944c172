//! What is decided about a segment before its messages are looked at, and what without any.

use super::{AckStatus, MAX_HINTED, MAX_PACKED, ParsedMessages, Tcb};
use crate::tcp::input::{AckPolicy, Reason};
use crate::tcp::output::{Acknowledgment, TxSegment};
use crate::tcp::segment::{Flags, Segment, Timestamps};
use crate::tcp::ts_cookie::{TsCookie, TsState};

/// What a segment is to the promise in its echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentClass {
    /// Its payload holds what lies around P, which is so many octets into it: [`Tcb::settle`] wants a walk.
    AroundRcvNxt(usize),
    /// Its payload begins inside a message, at P: the same, with the octets that went before.
    MidMessage,
    /// Its payload begins beyond P. Who knows where the answers to what lies between end may say [`Tcb::hint`].
    Beyond,
    /// No answer is to be looked for.
    Decided(Result<Decision, Reason>),
}

/// One segment that is to be sent, without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The segment.
    pub outgoing: TxSegment,
    /// What it rests on can be guessed: it is to be sent at a limited rate only.
    pub doubtful: bool,
}

impl From<TxSegment> for Decision {
    fn from(outgoing: TxSegment) -> Self {
        Self { outgoing, doubtful: false }
    }
}

impl Tcb {
    /// What to do with a segment before its messages are looked at.
    #[inline]
    #[must_use]
    pub fn place(&self, segment: &Segment) -> SegmentClass {
        let length = i32::from(segment.length);
        let fin = segment.flags.contains(Flags::FIN);
        if length == 0 {
            return SegmentClass::Decided(self.alone(segment).map(Decision::from));
        }
        if let Some(outgoing) = self.end(segment) {
            return SegmentClass::Decided(Ok(outgoing.into()));
        }
        if self.gap < 0 {
            return SegmentClass::Beyond;
        }
        if self.gap > 0 && self.gap >= length && self.received() {
            // Resent, long since answered and received; but for FIN, perhaps.
            let decided = if fin && self.gap == length {
                self.finish(segment)
            } else if self.closing() {
                self.finish_again(segment)
            } else {
                Ok(self.confirm(segment))
            };
            return SegmentClass::Decided(decided.map(Decision::from));
        }
        if self.gap > length + i32::from(fin) {
            return SegmentClass::Decided(self.unreadable(segment));
        }
        match (self.promise.state, self.gap) {
            (TsState::MidMessage, 0) => SegmentClass::MidMessage,
            // Acknowledged when everything before it was received: the client has no cause to go back behind it.
            (TsState::MidMessage, _) => SegmentClass::Decided(Err(Reason::Misaligned)),
            (_, gap) => SegmentClass::AroundRcvNxt(gap.min(length).unsigned_abs() as usize),
        }
    }

    /// What a segment without payload gets: ACK alone, or FIN.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn alone(&self, segment: &Segment) -> Result<TxSegment, Reason> {
        if let Some(outgoing) = self.end(segment) {
            return Ok(outgoing);
        }
        if segment.flags.contains(Flags::FIN) { self.finish(segment) } else { self.acknowledgment(segment) }
    }

    /// For what takes sequence numbers after our FIN: nothing is answered any more, and all acknowledged. RST would take from
    /// the client what it has received and not read yet. P stays where it is: it would run around its 13 bits while our own
    /// numbers stand still.
    #[inline]
    #[must_use]
    pub fn end(&self, segment: &Segment) -> Option<TxSegment> {
        let takes = segment.length > 0 || segment.flags.contains(Flags::FIN);
        (self.closed() && takes)
            .then(|| self.bare(segment, segment.next(), self.promise.raised_to(TsState::Closing)))
    }

    /// ACK alone. Never answered by what takes a sequence number: two sides that find each other's unacceptable would
    /// go on for ever.
    #[inline]
    fn acknowledgment(&self, segment: &Segment) -> Result<TxSegment, Reason> {
        match self.promise.state {
            // Everything promised is received, and what it answers is not acknowledged yet.
            TsState::AckPending if self.received() && self.gap <= 0 => Ok(self.confirm(segment)),
            TsState::Closing if self.closed() && self.gap <= 0 => Ok(self.confirm(segment)),
            // A probe (RFC 9293 section 3.8.4).
            _ if self.received() && self.gap == 1 => Ok(self.confirm(segment)),
            _ => Err(Reason::BareAck),
        }
    }

    /// FIN, and no payload behind P, before our own FIN is known to be received.
    #[inline]
    fn finish(&self, segment: &Segment) -> Result<TxSegment, Reason> {
        match self.standing {
            _ if self.gap != i32::from(segment.length) => Err(Reason::OutOfOrder),
            AckStatus::Unacked(0) if segment.window == 0 => Err(Reason::WindowTooSmall),
            AckStatus::Unacked(0) => {
                let promise = TsCookie::new(segment.next(), segment.ack, TsState::Closing);
                let fin = Flags::FIN | Flags::ACK;
                Ok(TxSegment { flags: fin, ..self.bare(segment, segment.next(), promise) })
            }
            // All that the client ever sent is accounted for: what it has beyond B can only be our FIN.
            AckStatus::Beyond(1) => {
                let promise = TsCookie::new(segment.next(), segment.ack.wrapping_sub(1), TsState::Closing);
                Ok(self.bare(segment, segment.next(), promise))
            }
            _ => Err(Reason::OutOfOrder),
        }
    }

    /// Our FIN, all before which is received.
    #[inline]
    fn finish_again(&self, segment: &Segment) -> Result<TxSegment, Reason> {
        if segment.window == 0 {
            return Err(Reason::WindowTooSmall);
        }
        Ok(TxSegment { flags: Flags::FIN | Flags::ACK, ..self.confirm(segment) })
    }

    /// Acknowledges all of the payload, which ends inside a message: for an idle client, which will not send it in
    /// another cut.
    #[inline]
    #[must_use]
    pub fn acknowledge_part(&self, segment: &Segment) -> TxSegment {
        let promise = TsCookie::new(segment.next(), segment.ack, TsState::MidMessage);
        self.bare(segment, segment.next(), promise)
    }

    /// For a payload that goes on inside a message whose beginning is lost: FIN, so that the client asks again on another
    /// connection; RST, if it has a part of the answer. Another server may have answered meanwhile, and this be late: so FIN
    /// acknowledges nothing and promises nothing new.
    ///
    /// # Errors
    /// The reason for RST or silence.
    pub fn forgotten(&self, segment: &Segment, size: u16) -> Result<TxSegment, Reason> {
        let grid = self.grid(u32::from(self.segment_size(size)));
        match self.standing {
            AckStatus::Unacked(0) if segment.window > 0 => {
                let fin = Flags::FIN | Flags::ACK;
                Ok(TxSegment { flags: fin, ..self.bare(segment, segment.seq, self.promise) })
            }
            // Hardly a guess: the promise fits SEG.SEQ, and SEG.ACK lies close to it or where a segment may have ended.
            AckStatus::Beyond(octets) if octets <= MAX_PACKED || grid.beyond(segment.ack) == 0 => {
                Err(Reason::ReassemblyLost)
            }
            _ => Err(Reason::Misaligned),
        }
    }

    /// For a payload whose messages cannot be told apart: P can be acknowledged nevertheless, once all is received that
    /// was promised.
    ///
    /// # Errors
    /// [`Reason::Misaligned`], if it is not.
    pub fn unreadable(&self, segment: &Segment) -> Result<Decision, Reason> {
        let doubtful = match self.standing {
            _ if self.received() => false,
            // And more, that was sent on hints, of which nobody knows any more.
            AckStatus::Beyond(1..=MAX_HINTED) => true,
            _ => return Err(Reason::Misaligned),
        };
        Ok(Decision { outgoing: self.confirm(segment), doubtful })
    }

    /// Whether all that is known of the client's having everything is that it acknowledges more than can be accounted
    /// for: octets sent on hints of which nobody knows any more, or a guess. (More than that is not answered at all.)
    #[inline]
    #[must_use]
    pub fn is_doubtful(&self, walk: &ParsedMessages) -> bool {
        self.gap > 0
            && self.echoed.is_none()
            && matches!(self.standing, AckStatus::Beyond(octets @ ..=MAX_HINTED) if octets > walk.new + 1)
    }

    /// ACK of P.
    #[inline]
    pub(super) fn confirm(&self, segment: &Segment) -> TxSegment {
        self.bare(segment, self.position(segment), self.confirmed())
    }

    /// The promise, for a segment whose ACK field covers P.
    #[inline]
    pub(super) fn confirmed(&self) -> TsCookie {
        self.promise.raised_to(TsState::Acked)
    }

    #[inline]
    pub(super) fn bare(&self, segment: &Segment, ack: u32, promise: TsCookie) -> TxSegment {
        let Acknowledgment { number, window } = self.acknowledge(segment, ack);
        let outgoing = TxSegment::bare(segment.ack, number, Flags::ACK, window);
        TxSegment { timestamps: Some(self.timestamps(segment, promise)), ..outgoing }
    }

    /// Acknowledges what comes before `number`. The window ends where it always does, seen from what the client echoes:
    /// whether it takes the promise that goes with an acknowledgment nobody knows before it echoes that, unless nothing
    /// else is under way to it.
    #[inline]
    pub(super) fn acknowledge(&self, segment: &Segment, number: u32) -> Acknowledgment {
        let (gap, _) = self.echoed();
        let most = AckPolicy::Reliable.window();
        let beyond = number.wrapping_sub(segment.seq).cast_signed().wrapping_sub(gap);
        let beyond = if self.at_rest || self.closing() || self.closed() { 0 } else { beyond.max(0) };
        let window = most.saturating_sub(u16::try_from(beyond).unwrap_or(most));
        Acknowledgment { number, window }
    }

    #[inline]
    pub(super) fn timestamps(&self, segment: &Segment, promise: TsCookie) -> Timestamps {
        let echo = segment.options.timestamps.map_or(0, |timestamps| timestamps.value);
        Timestamps { value: promise.seal(self.drift.seal()), echo }
    }
}
