//! The rules: what is sent in answer to a segment, as a function of the segment, the keys and the length of the
//! response. Nothing else is known and nothing is kept (docs/protocol.md, "The four rules").
//!
//! | arrives | [`decide`] says | sent |
//! |---|---|---|
//! | SYN | [`Verdict::Send`] | SYN,ACK with the cookie as its sequence number |
//! | first segment, with payload | [`Verdict::Answer`] | the response by [`Request::reply`], then FIN |
//! | a later one, in the first message | [`Verdict::Ignore`], but [`continues`] says more | the same |
//! | FIN without payload | [`Verdict::Send`] | ACK; with our FIN if the client has asked for nothing |
//! | anything of a connection with timestamps | [`Verdict::Converse`] | what [`crate::tcp::tcb`] says |
//! | anything else | [`Verdict::Ignore`] | nothing |

use crate::tcp::isn::{self, CookieFields, Generations, Keys, MssClass, Proof};
use crate::tcp::output::{Acknowledgment, Fin, Grid, MAX_VOLATILE, Rest};
pub use crate::tcp::output::{Reply, TxSegment};
use crate::tcp::segment::{Flags, Segment, Timestamps};
use crate::tcp::ts_cookie::{TsCookie, TsState};

/// Most octets of one response: the longest DNS message, behind its length.
pub const MAX_RESPONSE: u32 = 65_537;

/// Without timestamps, most windows of a response. What the first one has no room for goes out when the client asks again,
/// and its timer doubles each time.
const MAX_WINDOWS: u32 = 4;

/// Most octets of what is said instead of a response that finds no room.
const MAX_REFUSAL: u32 = 512;

/// A rule set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckPolicy {
    /// A request is acknowledged at once, and FIN has a segment of its own. What the network loses stays lost.
    Classic,
    /// A request is acknowledged only together with its answer, so that the client resends it until it has that.
    #[default]
    Reliable,
}

impl AckPolicy {
    /// The receive window that we advertise. It is a promise about nothing, for we hold no buffer: a bound on what the
    /// client has in flight.
    #[inline]
    #[must_use]
    pub const fn window(self) -> u16 {
        match self {
            Self::Classic => 65_535,
            Self::Reliable => 4_095,
        }
    }

    /// The payload of our segments unless configured, in octets.
    #[inline]
    #[must_use]
    pub const fn segment_size(self) -> u16 {
        match self {
            Self::Classic => 512,
            Self::Reliable => MssClass::Standard.octets(),
        }
    }
}

/// Why a segment is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Sent from an address or port that no single other host can have.
    Martian,
    /// RST: never answered (RFC 9293 section 3.10.7).
    Reset,
    /// SYN,ACK: we open no connections.
    SynAck,
    /// A combination of control bits that no conversation holds: none, FIN without ACK, SYN with FIN, ...
    UnusualFlags,
    /// SYN of a client whose largest segment is below 536 octets.
    MssTooSmall,
    /// ACK alone: the client has what it acknowledges, and we keep no account of it.
    BareAck,
    /// Payload whose sequence and acknowledgment numbers do not fit our cookie: forged, or not the first segment.
    BadCookie,
    /// The content that the connection began under is not served any more.
    GenerationGone,
    /// Acknowledges more than the response holds.
    BeyondResponse,
    /// Asks to resume inside octets that were not the same the first time.
    NonRepeatable,
    /// The client's window cannot take the response.
    WindowTooSmall,
    /// The beginning of its message was acknowledged and kept, and is lost.
    ReassemblyLost,
    /// Sent again and again, and cannot be answered.
    RetryLimit,
    /// Behind octets of the client's whose answers it has not received: it keeps this, and sends it again.
    OutOfOrder,
    /// Acknowledges what no segment of ours ended at, or a promise that does not fit the messages at hand.
    Misaligned,
}

/// What is to be done about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this one segment; it has no payload.
    Send(TxSegment),
    /// Find the response, then send what [`Request::reply`] says.
    Answer(Request),
    /// A segment of a connection with timestamps: [`crate::tcp::tcb`] decides.
    Converse,
    /// Send nothing.
    Ignore(Reason),
}

/// Decides what `segment` gets. `generations` are those of the content that can be served.
#[inline]
#[must_use]
pub fn decide(rules: AckPolicy, keys: &Keys, generations: &Generations, segment: &Segment) -> Verdict {
    if segment.tuple.is_martian() {
        return Verdict::Ignore(Reason::Martian);
    }
    let (syn, ack, fin) = (
        segment.flags.contains(Flags::SYN),
        segment.flags.contains(Flags::ACK),
        segment.flags.contains(Flags::FIN),
    );
    if segment.flags.contains(Flags::RST) {
        return Verdict::Ignore(Reason::Reset);
    }
    // Whoever negotiated timestamps sends them in every segment (RFC 7323 section 3.2).
    if rules == AckPolicy::Reliable && !syn && ack && segment.options.timestamps.is_some() {
        return Verdict::Converse;
    }
    match (syn, ack, fin) {
        (true, false, false) => synchronise(rules, keys, generations.current(), segment),
        (true, true, false) => Verdict::Ignore(Reason::SynAck),
        (false, true, _) if segment.length > 0 => continues(keys, generations, segment, 0),
        (false, true, true) => finish(rules, keys, generations, segment),
        (false, true, false) => Verdict::Ignore(Reason::BareAck),
        (true, _, true) | (false, false, _) => Verdict::Ignore(Reason::UnusualFlags),
    }
}

/// SYN. Whatever payload it carries is not acknowledged and comes again (RFC 9293 section 3.10.7.2).
#[inline]
fn synchronise(rules: AckPolicy, keys: &Keys, generation: u8, segment: &Segment) -> Verdict {
    let Some(class) = MssClass::offered(segment.options.mss, segment.tuple.server.ipv4().is_some()) else {
        return Verdict::Ignore(Reason::MssTooSmall);
    };
    let terms = CookieFields { class, generation };
    let ack = segment.seq.wrapping_add(1);
    let (seq, timestamps) = match segment.options.timestamps {
        Some(offered) if rules == AckPolicy::Reliable => {
            let (iss, seal) = isn::iss_with_timestamps(&keys.current, &segment.tuple, segment.seq, terms);
            let promise = TsCookie::new(ack, iss.wrapping_add(1), TsState::Acked);
            (iss, Some(Timestamps { value: promise.seal(seal), echo: offered.value }))
        }
        _ => (isn::iss(&keys.current, &segment.tuple, segment.seq, terms), None),
    };
    Verdict::Send(TxSegment {
        mss: Some(MssClass::Standard.octets()),
        timestamps,
        ..TxSegment::bare(seq, ack, Flags::SYN | Flags::ACK, rules.window())
    })
}

/// Payload: answered if exactly `lead` octets of its connection went before it; none of the first, two of one behind a DNS
/// length that was written by itself.
#[inline]
#[must_use]
pub fn continues(keys: &Keys, generations: &Generations, segment: &Segment, lead: u32) -> Verdict {
    match isn::prove(keys, generations, segment, lead, MAX_RESPONSE + 1) {
        None => Verdict::Ignore(Reason::BadCookie),
        Some(Proof { terms, .. }) if !generations.hold(terms.generation) => {
            Verdict::Ignore(Reason::GenerationGone)
        }
        Some(Proof { received, terms: CookieFields { class, generation } }) => {
            Verdict::Answer(Request { received, class, generation })
        }
    }
}

/// FIN without payload. Acknowledged as it stands, for nothing is known of a later segment; the answer is no larger
/// than the question. A client that closes without having asked anything gets our FIN as well.
#[inline]
fn finish(rules: AckPolicy, keys: &Keys, generations: &Generations, segment: &Segment) -> Verdict {
    let asked_nothing =
        matches!(isn::prove(keys, generations, segment, 0, 0), Some(Proof { received: 0, .. }));
    let flags = if asked_nothing { Flags::FIN | Flags::ACK } else { Flags::ACK };
    Verdict::Send(TxSegment::bare(segment.ack, segment.next(), flags, rules.window()))
}

/// RST, for a segment whose sender knows our sequence numbers and cannot be helped otherwise (RFC 9293 section 3.5.2).
#[inline]
#[must_use]
pub fn reset(segment: &Segment) -> TxSegment {
    TxSegment::bare(segment.ack, 0, Flags::RST, 0)
}

/// A connection's first message, proven, or the end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Octets of the response (FIN counts one) that the client has received in order: 0 unless it asks again.
    pub received: u32,
    /// Largest payload that the client takes.
    pub class: MssClass,
    /// Generation of the content that it is to be answered from: one of those served.
    pub generation: u8,
}

impl Request {
    /// Offset in the response of the first octet that lies beyond the client's window.
    ///
    /// A window never shrinks from the right (RFC 9293 section 3.8.6), so for a resent request this is no less than the
    /// first time, nor is what follows from it: a response that found room once finds it again.
    #[inline]
    fn edge(self, segment: &Segment) -> u32 {
        self.received + u32::from(segment.window)
    }

    /// Most octets of a response that the client's window takes at once, with room for FIN.
    #[inline]
    #[must_use]
    pub fn at_once(&self, segment: &Segment) -> u32 {
        self.edge(segment).saturating_sub(1).min(MAX_RESPONSE)
    }

    /// Most octets that the response may have. Where the window takes a segment, and what changes at the front of a response,
    /// that is more than it takes at once: the client can go on behind that. A refusal fits such a window at once: another
    /// time, in a larger one, the true response might follow a part of it.
    #[inline]
    #[must_use]
    pub fn room(&self, rules: AckPolicy, segment: &Segment, segment_size: u16) -> u32 {
        let edge = self.edge(segment);
        let least = u32::from(self.segment_size(segment_size)).max(MAX_REFUSAL) + MAX_VOLATILE;
        if rules == AckPolicy::Classic || edge < least {
            return self.at_once(segment);
        }
        (MAX_WINDOWS * edge).min(MAX_RESPONSE)
    }

    /// Offset in the response of the first octet that is not sent; FIN's is `length`. What does not fit the window ends
    /// where a segment of `size` octets does: there the client can go on.
    #[inline]
    fn last(self, segment: &Segment, length: u32, size: u32) -> u32 {
        match self.edge(segment) {
            edge if edge > length => length + 1,
            edge => edge - edge % size,
        }
    }

    /// Acknowledges a part of a message, all that the segment holds, without an answer.
    #[inline]
    #[must_use]
    pub fn acknowledge_part(&self, rules: AckPolicy, segment: &Segment) -> TxSegment {
        TxSegment::bare(segment.ack, segment.next(), Flags::ACK, rules.window())
    }

    /// Most octets of payload of our segments to this client.
    #[inline]
    #[must_use]
    pub fn segment_size(&self, configured: u16) -> u16 {
        configured.min(self.class.octets())
    }

    /// The segments that carry `response` in payloads of at most `segment_size` octets.
    ///
    /// # Errors
    /// The reason why nothing is sent.
    #[inline]
    pub fn reply(
        &self,
        rules: AckPolicy,
        segment: &Segment,
        response: Response,
        segment_size: u16,
    ) -> Result<Reply, Reason> {
        let Response { length, volatile, .. } = response;
        let size = u32::from(self.segment_size(segment_size));
        if self.received > length + 1 {
            return Err(Reason::BeyondResponse);
        }
        // A later segment of a connection passes for the first one by chance; it then acknowledges any octet at all.
        if self.received < length && !self.received.is_multiple_of(size) {
            return Err(Reason::Misaligned);
        }
        if self.received > 0 && self.received < volatile {
            return Err(Reason::NonRepeatable);
        }
        // FIN takes an octet of the window too, even where nothing goes before it. Who acknowledges the request at once is
        // not asked for the rest.
        let edge = self.last(segment, length, size);
        let cut_short =
            edge <= self.received || edge <= length && (rules == AckPolicy::Classic || edge < volatile);
        if self.received <= length && cut_short {
            return Err(Reason::WindowTooSmall);
        }
        let base = segment.ack.wrapping_sub(self.received);
        // What one segment can carry is whole or absent, so it may acknowledge the request. Were one of several to do
        // so, a lost sibling could never be asked for again (docs/protocol.md, "Connections without timestamps").
        // Nor does an answer to a part: late, it would take the beginning of a message off the send buffer of a client
        // that meanwhile sends that message whole.
        let all = edge > length && length.saturating_sub(self.received) <= size;
        let whole = self.received > length || response.complete && all;
        let acknowledged = match rules {
            AckPolicy::Reliable if !whole => segment.seq,
            AckPolicy::Reliable | AckPolicy::Classic => segment.next(),
        };
        let rest = if self.received > length {
            Rest::Acknowledgment { then_data: false }
        } else if rules == AckPolicy::Classic {
            Rest::Acknowledgment { then_data: true }
        } else {
            Rest::Data
        };
        let reply = Reply {
            base,
            first: Acknowledgment { number: acknowledged, window: rules.window() },
            others: Acknowledgment { number: acknowledged, window: rules.window() },
            timestamps: None,
            size,
            grid: Grid::EVERYWHERE,
            length,
            edge,
            fin: if rules == AckPolicy::Classic { Fin::Apart } else { Fin::OnLast },
            next: self.received,
            rest,
            held: None,
        };
        let cut_off = rules == AckPolicy::Reliable && !response.complete;
        if cut_off && self.received > length && segment.window > 0 {
            // Either our FIN is received, or an octet of a longer response that was sent when somebody on the way had merged
            // this segment with the next. So FIN once more, behind what is received: who has one heeds no second.
            return Ok(Reply { base: segment.ack, length: 0, edge: 1, next: 0, rest: Rest::Data, ..reply });
        }
        Ok(reply)
    }
}

/// What the rules must know of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Octets.
    pub length: u32,
    /// So many at the front may differ from what was sent before.
    pub volatile: u32,
    /// It answers all of the payload.
    pub complete: bool,
}

#[cfg(test)]
mod tests;
