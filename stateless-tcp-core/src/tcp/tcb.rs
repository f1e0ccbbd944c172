//! Connections with timestamps: many requests, recovered whatever is lost (docs/protocol.md, "Connections with
//! timestamps").
//!
//! Every segment carries, as the echo of our timestamp, a [`TsCookie`]: all before P is answered, and the answers end at B.
//! From it, SEG.SEQ and SEG.ACK follows the place in our stream of the answer to each message in the segment, and what
//! of it the client lacks.
//!
//! The invariant behind every rule: **no octet of the client's is acknowledged before the client is proven to have
//! everything that was sent for the octets before it.** So the head of its send buffer lies at or before the P that it
//! echoes, its retransmission can be walked, and no loss ends in a deadlock.
//!
//! | module | what it decides |
//! |---|---|
//! | `classify` | what a segment is to the promise that it echoes, and what needs no look at messages |
//! | `settle` | where the answers to the messages around P lie, and what of them is sent |
//! | `hint` | what is answered beyond P, from what is remembered |

use crate::tcp::input::{AckPolicy, MAX_RESPONSE};
use crate::tcp::isn::{self, Key, StreamDelta};
use crate::tcp::output::Grid;
use crate::tcp::segment::Segment;
use crate::tcp::ts_cookie::{TsCookie, TsState};

mod classify;
mod hint;
mod settle;

pub use classify::{Decision, SegmentClass};
pub use settle::{ParsedMessages, ResponseSpan};

/// Octets of the timestamps option: so much less payload goes into a segment.
const OPTION: u16 = 12;

/// Most octets beyond the promise that a client echoes that answers may reach which are sent on hints.
pub const MAX_HINTED: u32 = 8_192;

/// Most octets of the new answers of one walk, if there are several: with them, what a client may have beyond its echo
/// stays small, and so does what a guess can find.
pub const MAX_PACKED: u32 = 16_384;

/// Most octets that a client may lack of what it is promised. A longer answer is sent without a promise until it lacks no more.
///
/// What it has beyond its promise is at most one answer, and FIN: so the two cannot be confused.
pub const MAX_PROMISED: u32 = 65_000;

const _: () = assert!(MAX_PROMISED + MAX_RESPONSE + 1 < 1 << 17, "one of the two, modulo 2^17");

/// A segment of a connection with timestamps, read under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcb {
    drift: StreamDelta,
    /// What the client has been promised, or more that it is known to have.
    promise: TsCookie,
    /// P - SEG.SEQ.
    gap: i32,
    /// B - SEG.ACK.
    standing: AckStatus,
    /// `gap` and `standing` as the client echoes them, where more is known: it has received all of `promise`, and does
    /// not know yet that we know.
    echoed: Option<(i32, AckStatus)>,
    /// Nothing of ours is under way to the client, as far as it is known.
    at_rest: bool,
}

/// What the client has of what it was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckStatus {
    /// All but so many octets.
    Unacked(u32),
    /// All, and so many octets (at least one; FIN counts one) that were sent later.
    Beyond(u32),
}

impl AckStatus {
    /// Our sequence number at B.
    #[inline]
    fn boundary(self, segment: &Segment) -> u32 {
        match self {
            Self::Unacked(octets) => segment.ack.wrapping_add(octets),
            Self::Beyond(octets) => segment.ack.wrapping_sub(octets),
        }
    }
}

/// Reads `segment` under `key`; none without timestamps.
#[inline]
#[must_use]
pub fn read(key: &Key, segment: &Segment) -> Option<Tcb> {
    let timestamps = segment.options.timestamps?;
    let drift = isn::drift(key, segment);
    Some(Tcb::new(drift, TsCookie::open(timestamps.echo, drift.seal()), segment))
}

impl Tcb {
    #[inline]
    fn new(drift: StreamDelta, promise: TsCookie, segment: &Segment) -> Self {
        let missing = promise.missing(segment.ack);
        let standing = if missing <= MAX_PROMISED {
            AckStatus::Unacked(missing)
        } else {
            AckStatus::Beyond((1 << 17) - missing)
        };
        Self { drift, promise, gap: promise.gap(segment.seq), standing, echoed: None, at_rest: false }
    }

    /// The last six bits of the number of the generation that the connection is served from.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u8 {
        self.drift.generation
    }

    /// The same for all segments of the connection, and known to nobody who lacks the key.
    #[inline]
    #[must_use]
    pub fn secret(&self) -> u64 {
        self.drift.secret
    }

    #[inline]
    fn grid(&self, size: u32) -> Grid {
        Grid::within(size, self.drift.seal().0)
    }

    /// Whether all is received and answered that goes before this segment, as far as it says itself.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.gap == 0 && self.standing == AckStatus::Unacked(0)
    }

    /// SEG.SEQ of the client's first octet that is not accounted for.
    #[inline]
    #[must_use]
    pub fn position(&self, segment: &Segment) -> u32 {
        segment.seq.wrapping_add_signed(self.gap)
    }

    /// The same, of a client that is known to have received the answers to all that it sent before `position`, which
    /// end at `boundary`.
    #[inline]
    #[must_use]
    pub fn advanced_to(&self, position: u32, boundary: u32, segment: &Segment) -> Self {
        self.advanced(TsCookie::new(position, boundary, TsState::AckPending), segment)
    }

    /// The same, of a client to which nothing of ours is under way.
    #[inline]
    #[must_use]
    pub fn at_rest(self) -> Self {
        Self { at_rest: true, ..self }
    }

    /// The same, where `position` lies inside a message and was acknowledged.
    #[inline]
    #[must_use]
    pub fn advanced_into(&self, position: u32, boundary: u32, segment: &Segment) -> Self {
        self.advanced(TsCookie::new(position, boundary, TsState::MidMessage), segment)
    }

    #[inline]
    fn advanced(&self, promise: TsCookie, segment: &Segment) -> Self {
        let echoed = Some(self.echoed());
        Self { echoed, ..Self::new(self.drift, promise, segment) }
    }

    /// P - SEG.SEQ and B - SEG.ACK as the client echoes them.
    #[inline]
    fn echoed(&self) -> (i32, AckStatus) {
        self.echoed.unwrap_or((self.gap, self.standing))
    }

    /// Whether `position` lies beyond P, and no further than a window beyond what the client echoes, in a connection that
    /// goes on.
    #[inline]
    #[must_use]
    pub fn precedes(&self, position: u32, segment: &Segment) -> bool {
        let (gap, _) = self.echoed();
        let advance = position.wrapping_sub(self.position(segment)).cast_signed();
        let beyond = position.wrapping_sub(segment.seq).cast_signed().wrapping_sub(gap);
        !self.closing() && advance > 0 && (1..=i32::from(AckPolicy::Reliable.window())).contains(&beyond)
    }

    /// Our sequence number at B.
    #[inline]
    #[must_use]
    pub fn boundary(&self, segment: &Segment) -> u32 {
        self.standing.boundary(segment)
    }

    /// Whether the client has sent, or been sent, what is not accounted for in its echo: only then can more be known
    /// about it than it says.
    #[inline]
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.gap < 0 || matches!(self.standing, AckStatus::Beyond(_))
    }

    /// Octets that we sent up to B less those that the client sent up to P.
    #[inline]
    #[must_use]
    pub fn drift(&self) -> i32 {
        let standing = match self.standing {
            AckStatus::Unacked(octets) => octets.cast_signed(),
            AckStatus::Beyond(octets) => -octets.cast_signed(),
        };
        self.drift.octets + standing - self.gap
    }

    /// The same up to `boundary`, and up to the beginning of `segment`.
    #[inline]
    #[must_use]
    pub fn drift_at(&self, boundary: u32, segment: &Segment) -> i32 {
        self.drift.octets.wrapping_add(boundary.wrapping_sub(segment.ack).cast_signed())
    }

    /// Most octets of payload of our segments to this client.
    #[inline]
    #[must_use]
    pub fn segment_size(&self, configured: u16) -> u16 {
        configured.min(self.drift.class.octets() - OPTION)
    }

    /// Octets that the client lacks of what it was promised.
    #[inline]
    #[must_use]
    pub fn missing(&self) -> u32 {
        match self.standing {
            AckStatus::Unacked(octets) => octets,
            AckStatus::Beyond(_) => 0,
        }
    }

    /// Octets that the client has beyond its promise; its FIN counts one.
    #[inline]
    #[must_use]
    pub fn ahead(&self) -> u32 {
        match self.standing {
            AckStatus::Unacked(_) => 0,
            AckStatus::Beyond(octets) => octets,
        }
    }

    /// P lies inside a message.
    #[inline]
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.promise.state == TsState::MidMessage
    }

    /// Our FIN is received: behind B; or behind the beginning of a message, from somebody who did not know it
    /// ([`Tcb::forgotten`]). No answer's first segment has a single octet.
    #[inline]
    fn closed(&self) -> bool {
        matches!(self.promise.state, TsState::Closing | TsState::MidMessage)
            && self.standing == AckStatus::Beyond(1)
    }

    /// Nothing is to be answered any more.
    #[inline]
    #[must_use]
    pub fn closing(&self) -> bool {
        self.promise.state == TsState::Closing
    }

    /// All that was promised is received.
    #[inline]
    fn received(&self) -> bool {
        self.standing == AckStatus::Unacked(0) || self.echoed.is_some() || self.closed()
    }
}
