//! What the XDP program answers itself, or knows to need no answer (`--handshake driver`): of a conversation, all that
//! can be said without the content and without what a worker remembers.
//!
//! It decides what a server that shares the key and remembers nothing would, by the same rules; and of that only what
//! comes to the same in one that remembers much. Everything else is the ring's:
//!
//! - Payload, and SYN with Fast Open, where that is on: they take content.
//! - ACK alone, or FIN, from beyond what is accounted for, or that has more than is promised ([`tcb::Tcb::is_behind`]): more may
//!   be known about such a client, and octets behind P be kept, which the answers to come begin with. Where SEG.SEQ is P no
//!   such octets were sent, nor where it lies before P. A connection that closes has nothing to come.
//! - FIN of a generation that is gone, or that is ahead: if it comes again and again, it is told so.

use crate::tcp::input::{self, AckPolicy, Reason, Verdict};
use crate::tcp::isn::{Generations, Key, Keys};
use crate::tcp::output::TxSegment;
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::tcb;
use crate::udp::Refusal;

/// What answers rest on, besides the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeConfig {
    /// Rule set.
    pub rules: AckPolicy,
    /// Cookie keys.
    pub keys: Keys,
    /// Generations of the content that is served.
    pub generations: Generations,
    /// A Fast Open option is for user space.
    pub fast_open: bool,
}

/// What the XDP program decided, by what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FastPathEvent {
    /// SYN,ACK sent.
    SynAck,
    /// ACK, or FIN,ACK, sent for a FIN.
    FinAcknowledged,
    /// Sent for a segment of a connection with timestamps.
    Confirmed,
    /// See [`Reason::Martian`].
    Martian,
    /// See [`Reason::Reset`].
    Reset,
    /// See [`Reason::SynAck`].
    SynAckReceived,
    /// See [`Reason::UnusualFlags`].
    UnusualFlags,
    /// See [`Reason::MssTooSmall`].
    MssTooSmall,
    /// See [`Reason::BareAck`].
    BareAck,
    /// See [`Reason::BadCookie`].
    BadCookie,
    /// See [`Reason::WindowTooSmall`].
    WindowTooSmall,
    /// Sent for a question over UDP.
    Truncated,
    /// See [`Refusal::NoQuestion`].
    NoQuestion,
}

impl FastPathEvent {
    /// Every event, by its index.
    pub const ALL: [Self; 13] = [
        Self::SynAck,
        Self::FinAcknowledged,
        Self::Confirmed,
        Self::Martian,
        Self::Reset,
        Self::SynAckReceived,
        Self::UnusualFlags,
        Self::MssTooSmall,
        Self::BareAck,
        Self::BadCookie,
        Self::WindowTooSmall,
        Self::Truncated,
        Self::NoQuestion,
    ];

    /// Whether anything was sent.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::SynAck | Self::FinAcknowledged | Self::Confirmed | Self::Truncated)
    }

    /// That nothing is sent for `reason`; none if that is for user space to say, which may send RST.
    #[inline]
    const fn silence(reason: Reason) -> Option<Self> {
        Some(match reason {
            Reason::Martian => Self::Martian,
            Reason::Reset => Self::Reset,
            Reason::SynAck => Self::SynAckReceived,
            Reason::UnusualFlags => Self::UnusualFlags,
            Reason::MssTooSmall => Self::MssTooSmall,
            Reason::BareAck => Self::BareAck,
            Reason::BadCookie => Self::BadCookie,
            Reason::WindowTooSmall => Self::WindowTooSmall,
            _ => return None,
        })
    }
}

impl From<Refusal> for FastPathEvent {
    #[inline]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Martian => Self::Martian,
            Refusal::NoQuestion => Self::NoQuestion,
        }
    }
}

/// What a segment without payload gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The segment to send, if any.
    pub outgoing: Option<TxSegment>,
    /// What is counted.
    pub event: FastPathEvent,
}

impl Decided {
    #[inline]
    const fn send(outgoing: TxSegment, event: FastPathEvent) -> Self {
        Self { outgoing: Some(outgoing), event }
    }
}

/// Decides what `segment` gets; none if user space has to.
#[inline(always)]
#[expect(clippy::inline_always, reason = "in BPF what is not inlined may not return such values")]
#[must_use]
pub fn decide(terms: &HandshakeConfig, segment: &Segment) -> Option<Decided> {
    let HandshakeConfig { rules, ref keys, ref generations, fast_open } = *terms;
    if segment.length > 0 {
        return None;
    }
    match input::decide(rules, keys, generations, segment) {
        Verdict::Send(outgoing) if outgoing.flags.contains(Flags::SYN) => {
            let opens = fast_open && segment.options.fast_open.is_some();
            (!opens).then_some(Decided::send(outgoing, FastPathEvent::SynAck))
        }
        Verdict::Send(outgoing) => Some(Decided::send(outgoing, FastPathEvent::FinAcknowledged)),
        Verdict::Ignore(reason) => silence(reason),
        Verdict::Converse => converse(keys, generations, segment),
        Verdict::Answer(_) => None,
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see decide")]
fn silence(reason: Reason) -> Option<Decided> {
    Some(Decided { outgoing: None, event: FastPathEvent::silence(reason)? })
}

/// Both keys are tried whole, as in user space.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see decide")]
fn converse(keys: &Keys, generations: &Generations, segment: &Segment) -> Option<Decided> {
    let mut said = Decided { outgoing: None, event: FastPathEvent::BadCookie };
    for key in core::iter::once(&keys.current).chain(&keys.previous) {
        let decided = attempt(key, generations, segment)?;
        if decided.outgoing.is_some() {
            return Some(decided);
        }
        if said.event == FastPathEvent::BadCookie {
            said = decided;
        }
    }
    Some(said)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see decide")]
fn attempt(key: &Key, generations: &Generations, segment: &Segment) -> Option<Decided> {
    let echo = tcb::read(key, segment)?;
    if generations.ending_in(echo.generation()).is_none() {
        return if segment.flags.contains(Flags::FIN) { None } else { silence(Reason::BadCookie) };
    }
    if echo.is_behind() && !echo.closing() {
        return None;
    }
    match echo.alone(segment) {
        Ok(outgoing) => Some(Decided::send(outgoing, FastPathEvent::Confirmed)),
        Err(reason) => silence(reason),
    }
}
