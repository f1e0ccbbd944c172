//! One client: a TCP that opens, asks, hears the answer out and closes (RFC 9293), with as little kept as that takes. What
//! follows from its number is not kept but handed in as [`Terms`].

use crate::answer::{self, Codes, HEAD};
use crate::stats::Failure;
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Flags, Segment, Timestamps};

/// Bytes that a client takes at a time, as its segments say. No answer is longer than a window and the next.
const WINDOW: u16 = u16::MAX;

/// The constants of a client, known before it begins.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Its initial sequence number.
    pub iss: u32,
    /// Bytes of its question, those of the length included.
    pub asked: u32,
    /// Its question's id.
    pub id: u16,
    /// Codes that the answer may have.
    pub codes: Codes,
    /// Bytes of payload that a segment for it may have.
    pub mss: u16,
    /// It offers timestamps (RFC 7323).
    pub timestamps: bool,
}

/// A segment that a client sends: each stands for all its header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// SYN.
    Syn,
    /// The ACK of the SYN,ACK by itself, before the question.
    Opened,
    /// The question, with the ACK of the SYN,ACK in it.
    Question,
    /// Nothing but ACK.
    Ack,
    /// FIN,ACK.
    Fin,
    /// RST: it gives up.
    Reset,
}

/// The result of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The client's reply.
    pub say: Option<Say>,
    /// The client's end, if this segment ended it.
    pub end: Option<Result<(), Failure>>,
    /// The code of the answer, if that is whole now.
    pub code: Option<u8>,
}

impl Heard {
    const fn then(say: Say) -> Self {
        Self { say: Some(say), end: None, code: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not begun, or given up.
    Over,
    /// SYN sent.
    Opening,
    /// Question sent.
    Waiting,
    /// FIN sent.
    Closing,
}

/// A client, in 56 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// When it sent its first SYN, in nanoseconds.
    pub began: u64,
    /// The server's initial sequence number.
    irs: u32,
    /// Bytes of the answer so far.
    received: u32,
    /// The range of it that came early: its begin and end; 0 to 0 if nothing has.
    early: (u32, u32),
    /// FIN's offset in the server's stream, if it has come.
    fin: Option<u32>,
    /// The server's latest timestamp, if it takes part in them.
    echo: Option<u32>,
    /// The first bytes of the answer.
    head: [u8; HEAD],
    phase: Phase,
    /// The server's FIN has come, and all before it.
    closed: bool,
}

impl Client {
    /// None.
    pub const NONE: Self = Self {
        began: 0,
        irs: 0,
        received: 0,
        early: (0, 0),
        fin: None,
        echo: None,
        head: [0; HEAD],
        phase: Phase::Over,
        closed: false,
    };

    /// One that sends its SYN.
    #[inline]
    #[must_use]
    pub const fn begin(now: u64) -> Self {
        Self { began: now, phase: Phase::Opening, ..Self::NONE }
    }

    /// Hears `segment`, which carries `payload`. None if it does not belong to its connection.
    #[inline]
    pub fn hear(&mut self, terms: &Terms, segment: &Segment, payload: &[u8]) -> Option<Heard> {
        match self.phase {
            Phase::Over => None,
            Phase::Opening => self.open(terms, segment),
            Phase::Waiting => self.wait(terms, segment, payload),
            Phase::Closing => Some(self.close(segment)),
        }
    }

    /// RFC 9293 section 3.10.7.3.
    fn open(&mut self, terms: &Terms, segment: &Segment) -> Option<Heard> {
        let answers = segment.flags.contains(Flags::ACK) && segment.ack == terms.iss.wrapping_add(1);
        if !answers {
            return None;
        }
        if segment.flags.contains(Flags::RST) {
            self.phase = Phase::Over;
            return Some(Heard { end: Some(Err(Failure::Refused)), ..Heard::default() });
        }
        if !segment.flags.contains(Flags::SYN) {
            return None;
        }
        self.irs = segment.seq;
        self.echo =
            segment.options.timestamps.filter(|_| terms.timestamps).map(|timestamps| timestamps.value);
        self.phase = Phase::Waiting;
        Some(Heard::then(Say::Question))
    }

    /// RFC 9293 section 3.10.7.4, established.
    fn wait(&mut self, terms: &Terms, segment: &Segment, payload: &[u8]) -> Option<Heard> {
        if segment.flags.contains(Flags::RST) {
            if segment.seq != self.next() {
                return None;
            }
            self.phase = Phase::Over;
            return Some(Heard { end: Some(Err(Failure::Reset)), ..Heard::default() });
        }
        let acknowledged = segment.ack.wrapping_sub(terms.iss.wrapping_add(1));
        if !segment.flags.contains(Flags::ACK) || acknowledged > terms.asked {
            return None;
        }
        if segment.flags.contains(Flags::SYN) {
            // The server sent its SYN,ACK once more: what acknowledged it has not come, or not yet.
            return Some(Heard::then(Say::Ack));
        }
        self.note_time(segment);
        Some(self.take(terms, segment, payload))
    }

    /// RFC 7323 section 4.3: the latest timestamp of those in order. What came was acknowledged at once, so what was
    /// acknowledged last is what is expected next.
    fn note_time(&mut self, segment: &Segment) {
        let in_order = self.next().wrapping_sub(segment.seq).cast_signed() >= 0;
        if let (Some(echo), Some(Timestamps { value, .. })) = (&mut self.echo, segment.options.timestamps)
            && in_order
            && value.wrapping_sub(*echo).cast_signed() >= 0
        {
            *echo = value;
        }
    }

    /// Takes what of the segment is new. Servers change the order of segments, too: what comes early is kept, as long as it
    /// makes one piece. The rest is acknowledged as what it is, old or too early.
    fn take(&mut self, terms: &Terms, segment: &Segment, payload: &[u8]) -> Heard {
        let fin = segment.flags.contains(Flags::FIN);
        if payload.is_empty() && !fin {
            return Heard::default();
        }
        let old = self.received.wrapping_sub(segment.seq.wrapping_sub(self.irs.wrapping_add(1)));
        let ahead = old.wrapping_neg();
        let (start, fresh) = match payload.get(old as usize..) {
            Some(fresh) => (self.received, fresh),
            None if ahead < u32::from(WINDOW) => (self.received + ahead, payload),
            None => return Heard::then(Say::Ack),
        };
        let end = start + u32::try_from(fresh.len()).unwrap_or(0);
        for (room, byte) in self.head.iter_mut().skip(start as usize).zip(fresh) {
            *room = *byte;
        }
        if fin {
            self.fin = Some(end);
        }
        self.join(start, end);
        self.closed = self.fin == Some(self.received);
        self.judge(terms)
    }

    /// Puts a piece, not empty but for FIN, to what there is of the answer.
    fn join(&mut self, start: u32, end: u32) {
        let (first, last) = self.early;
        let apart = last > 0 && (end < first || start > last);
        match (start <= self.received, last > 0) {
            (true, _) => self.received = self.received.max(end),
            (false, true) if apart => {}
            (false, true) => self.early = (first.min(start), last.max(end)),
            (false, false) => self.early = (start, end),
        }
        let (first, last) = self.early;
        if last > 0 && first <= self.received {
            self.received = self.received.max(last);
            self.early = (0, 0);
        }
    }

    /// The verdict on the answer, if it is whole now or the server has closed.
    fn judge(&mut self, terms: &Terms) -> Heard {
        let length = answer::length(&self.head[..HEAD.min(self.received as usize)]);
        let (end, code) = match length {
            Some(length) if self.received > length => (Err(Failure::Malformed), None),
            Some(length) if self.received == length => {
                (answer::judge(&self.head, terms.id, terms.codes), Some(answer::code(&self.head)))
            }
            _ if self.closed => (Err(Failure::Closed), None),
            _ => return Heard::then(Say::Ack),
        };
        self.phase = Phase::Closing;
        Heard { say: Some(Say::Fin), end: Some(end), code }
    }

    /// RFC 9293 section 3.10.7.4, FIN-WAIT and what follows.
    fn close(&mut self, segment: &Segment) -> Heard {
        if segment.flags.contains(Flags::RST) {
            self.phase = Phase::Over;
            return Heard::default();
        }
        self.note_time(segment);
        let fin = segment.flags.contains(Flags::FIN);
        if fin && !self.closed && segment.next() == self.next().wrapping_add(1) {
            self.closed = true;
        }
        // Also to what came before: an acknowledgment of ours may have been lost.
        Heard { say: (fin || segment.length > 0).then_some(Say::Ack), ..Heard::default() }
    }

    /// The segment to retransmit as nothing has come for a while.
    #[inline]
    #[must_use]
    pub const fn remind(&self) -> Option<Say> {
        match self.phase {
            Phase::Opening => Some(Say::Syn),
            Phase::Waiting => Some(Say::Question),
            Phase::Closing if !self.closed => Some(Say::Fin),
            Phase::Closing | Phase::Over => None,
        }
    }

    /// Its time is over: how it failed, if it has no answer.
    #[inline]
    #[must_use]
    pub const fn expire(&self) -> Option<Failure> {
        match self.phase {
            Phase::Opening => Some(Failure::NoSynAck),
            Phase::Waiting => Some(Failure::NoAnswer),
            Phase::Closing | Phase::Over => None,
        }
    }

    /// Whether it waits for something still.
    #[inline]
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.remind().is_some()
    }

    /// Whether it leaves a connection behind if it gives up now.
    #[inline]
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Waiting)
    }

    /// The header of what it says, by its clock of milliseconds. The question is its caller's to add.
    #[inline]
    #[must_use]
    pub fn segment(&self, terms: &Terms, say: Say, clock: u32) -> TxSegment {
        let (data, end) = (terms.iss.wrapping_add(1), terms.iss.wrapping_add(1).wrapping_add(terms.asked));
        let (seq, flags) = match say {
            Say::Syn => (terms.iss, Flags::SYN),
            Say::Opened => (data, Flags::ACK),
            Say::Question => (data, Flags::PSH | Flags::ACK),
            // FIN takes a number of its own.
            Say::Ack => (end.wrapping_add(u32::from(self.phase == Phase::Closing)), Flags::ACK),
            Say::Fin => (end, Flags::FIN | Flags::ACK),
            Say::Reset => (end, Flags::RST | Flags::ACK),
        };
        let opens = say == Say::Syn;
        let echo = if opens { terms.timestamps.then_some(0) } else { self.echo };
        TxSegment {
            seq,
            ack: if opens { 0 } else { self.next() },
            flags,
            window: WINDOW,
            mss: opens.then_some(terms.mss),
            timestamps: echo.map(|echo| Timestamps { value: clock, echo }),
            fast_open: None,
            offset: 0,
            length: 0,
        }
    }

    /// RCV.NXT.
    const fn next(&self) -> u32 {
        self.irs.wrapping_add(1).wrapping_add(self.received).wrapping_add(self.closed as u32)
    }
}

const _: () = assert!(size_of::<Client>() == 56, "as its documentation says");

#[cfg(test)]
mod tests;
