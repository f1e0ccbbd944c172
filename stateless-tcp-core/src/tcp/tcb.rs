//! A connection with timestamps as one of its segments tells it: RCV.NXT and SND.NXT, recovered from the timestamp cookie
//! that the segment echoes (docs/protocol.md, "Connections with timestamps").
//!
//! Everything before RCV.NXT is answered, and the answers end at SND.NXT. From these, SEG.SEQ and SEG.ACK follows the place
//! in our stream of the answer to each message in the segment, and which bytes of it the client lacks.
//!
//! The invariant behind every rule: **no byte of the client's is acknowledged before the client is proven to have
//! everything that was sent for the bytes before it.** So the head of its send buffer lies at or before the RCV.NXT that it
//! echoes, its retransmission can be parsed, and no loss ends in a deadlock.
//!
//! | module | task |
//! |---|---|
//! | `classify` | relates a segment to RCV.NXT; answers it, if that takes no look at messages |
//! | `reply` | places the answers to the messages around RCV.NXT, and decides which bytes are sent |
//! | `ahead` | answers beyond RCV.NXT, from the connection cache |

use crate::tcp::AckPolicy;
use crate::tcp::application::MAX_RESPONSE;
use crate::tcp::conn_entry::SeqPair;
use crate::tcp::epoch::Slots;
use crate::tcp::isn::{self, Key, StreamDelta};
use crate::tcp::output::Grid;
use crate::tcp::segment::Segment;
use crate::tcp::ts_cookie::{TsCookie, TsState};

mod ahead;
mod classify;
mod reply;

pub use classify::{Control, SegmentClass};
pub use reply::{ParsedMessages, ResponseSpan};

/// Bytes of the timestamps option: so much less payload goes into a segment.
const OPTION: u16 = 12;

/// Most bytes beyond the SND.NXT that a client echoes up to which answers from the connection cache reach.
pub const MAX_AHEAD: u32 = 8_192;

/// Most bytes of the new answers to one payload, if there are several: with them, the bytes that a client may have beyond
/// its echo stay few, and so do those that a guess can hit.
pub const MAX_BATCH: u32 = 16_384;

/// Most bytes that a client may lack of those that a cookie covers. A longer answer is sent without a new cookie until the
/// client lacks no more.
///
/// The bytes that it has beyond its cookie are at most one answer, and FIN: so the two cannot be confused.
pub const MAX_UNACKED: u32 = 65_000;

const _: () = assert!(MAX_UNACKED + MAX_RESPONSE + 1 < 1 << 17, "one of the two, modulo 2^17");

/// A connection as one segment tells it, read under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcb {
    delta: StreamDelta,
    /// The cookie that the client echoes, or a later one whose bytes it is known to have.
    cookie: TsCookie,
    /// RCV.NXT - SEG.SEQ: bytes of the segment that are accounted for; negative if it begins beyond RCV.NXT.
    accounted: i32,
    /// SND.NXT - SEG.ACK.
    ack_status: AckStatus,
    /// `accounted` and `ack_status` as the client echoes them, where more is known: it has received everything of
    /// `cookie`, and does not know yet that we know.
    echoed: Option<(i32, AckStatus)>,
    /// Nothing of ours is under way to the client, as far as is known.
    at_rest: bool,
}

/// Bytes before SND.NXT that the client lacks, or bytes beyond that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckStatus {
    /// It lacks so many.
    Unacked(u32),
    /// It lacks none, and has so many (at least one; FIN counts one) that were sent later.
    Beyond(u32),
}

impl AckStatus {
    #[inline]
    fn snd_nxt(self, segment: &Segment) -> u32 {
        match self {
            Self::Unacked(bytes) => segment.ack.wrapping_add(bytes),
            Self::Beyond(bytes) => segment.ack.wrapping_sub(bytes),
        }
    }
}

impl Tcb {
    /// Reads `segment`, of a connection that began in one of `slots`, under `key`; none without timestamps. Every number says
    /// something: only the messages at hand tell whether it is true.
    #[inline]
    #[must_use]
    pub fn read(key: &Key, slots: Slots, segment: &Segment) -> Option<Self> {
        let timestamps = segment.options.timestamps?;
        let delta = isn::stream_delta(key, slots, segment);
        Some(Self::new(delta, TsCookie::decode(timestamps.echo, delta.mask()), segment))
    }

    #[inline]
    fn new(delta: StreamDelta, cookie: TsCookie, segment: &Segment) -> Self {
        let unacked = cookie.unacked(segment.ack);
        let ack_status = if unacked <= MAX_UNACKED {
            AckStatus::Unacked(unacked)
        } else {
            AckStatus::Beyond((1 << 17) - unacked)
        };
        let accounted = cookie.accounted(segment.seq);
        Self { delta, cookie, accounted, ack_status, echoed: None, at_rest: false }
    }

    /// The last six bits of the number of the generation that the connection is served from.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u8 {
        self.delta.generation
    }

    /// The time slot in which the connection began.
    #[inline]
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.delta.slot
    }

    /// Identifies the connection in the cache: the same for all its segments, and known to nobody who lacks the key.
    #[inline]
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.delta.secret
    }

    #[inline]
    fn grid(&self, size: u32) -> Grid {
        Grid::within(size, self.delta.mask().0)
    }

    /// Whether everything before this segment is answered and received, as far as the segment says itself.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.accounted == 0 && self.ack_status == AckStatus::Unacked(0)
    }

    /// Whether the segment begins at RCV.NXT, and the client has received everything before SND.NXT, and perhaps our FIN.
    #[inline]
    #[must_use]
    pub fn has_received_all(&self) -> bool {
        self.accounted == 0 && matches!(self.ack_status, AckStatus::Unacked(0) | AckStatus::Beyond(1))
    }

    /// RCV.NXT.
    #[inline]
    #[must_use]
    pub fn rcv_nxt(&self, segment: &Segment) -> u32 {
        segment.seq.wrapping_add_signed(self.accounted)
    }

    /// SND.NXT.
    #[inline]
    #[must_use]
    pub fn snd_nxt(&self, segment: &Segment) -> u32 {
        self.ack_status.snd_nxt(segment)
    }

    /// RCV.NXT and SND.NXT.
    #[inline]
    #[must_use]
    pub fn pair(&self, segment: &Segment) -> SeqPair {
        SeqPair { rcv_nxt: self.rcv_nxt(segment), snd_nxt: self.snd_nxt(segment) }
    }

    /// The same connection, of a client that is known to have received everything of `pair`.
    #[inline]
    #[must_use]
    pub fn advanced_to(&self, pair: SeqPair, segment: &Segment) -> Self {
        self.advanced(TsCookie::new(pair.rcv_nxt, pair.snd_nxt, TsState::AckPending), segment)
    }

    /// The same, where `pair` lies inside a message and was acknowledged.
    #[inline]
    #[must_use]
    pub fn advanced_into(&self, pair: SeqPair, segment: &Segment) -> Self {
        self.advanced(TsCookie::new(pair.rcv_nxt, pair.snd_nxt, TsState::MidMessage), segment)
    }

    #[inline]
    fn advanced(&self, cookie: TsCookie, segment: &Segment) -> Self {
        let echoed = Some(self.as_echoed());
        Self { echoed, ..Self::new(self.delta, cookie, segment) }
    }

    /// The same, of a client to which nothing of ours is under way.
    #[inline]
    #[must_use]
    pub fn at_rest(self) -> Self {
        Self { at_rest: true, ..self }
    }

    /// `accounted` and `ack_status` as the client echoes them.
    #[inline]
    fn as_echoed(&self) -> (i32, AckStatus) {
        self.echoed.unwrap_or((self.accounted, self.ack_status))
    }

    /// Whether `rcv_nxt` lies beyond this RCV.NXT, and no further than a window beyond the one that the client echoes, in a
    /// connection that goes on.
    #[inline]
    #[must_use]
    pub fn precedes(&self, rcv_nxt: u32, segment: &Segment) -> bool {
        let (accounted, _) = self.as_echoed();
        let advance = rcv_nxt.wrapping_sub(self.rcv_nxt(segment)).cast_signed();
        let beyond = rcv_nxt.wrapping_sub(segment.seq).cast_signed().wrapping_sub(accounted);
        !self.is_closing() && advance > 0 && (1..=i32::from(AckPolicy::Reliable.window())).contains(&beyond)
    }

    /// Whether the client has sent, or was sent, bytes that its echo does not account for: only then can more be known
    /// about it than it says.
    #[inline]
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.is_beyond_rcv_nxt() || matches!(self.ack_status, AckStatus::Beyond(_))
    }

    /// Whether the segment begins beyond RCV.NXT.
    #[inline]
    #[must_use]
    pub fn is_beyond_rcv_nxt(&self) -> bool {
        self.accounted < 0
    }

    /// Bytes that we sent up to SND.NXT less those that the client sent up to RCV.NXT.
    #[inline]
    #[must_use]
    pub fn stream_delta(&self) -> i32 {
        let unacked = match self.ack_status {
            AckStatus::Unacked(bytes) => bytes.cast_signed(),
            AckStatus::Beyond(bytes) => -bytes.cast_signed(),
        };
        self.delta.bytes + unacked - self.accounted
    }

    /// The same up to `snd_nxt`, and up to the beginning of `segment`.
    #[inline]
    #[must_use]
    pub fn stream_delta_at(&self, snd_nxt: u32, segment: &Segment) -> i32 {
        self.delta.bytes.wrapping_add(snd_nxt.wrapping_sub(segment.ack).cast_signed())
    }

    /// Most bytes of payload of our segments to this client.
    #[inline]
    #[must_use]
    pub fn segment_size(&self, configured: u16) -> u16 {
        configured.min(self.delta.class.bytes() - OPTION)
    }

    /// Bytes before SND.NXT that the client lacks.
    #[inline]
    #[must_use]
    pub fn unacked(&self) -> u32 {
        match self.ack_status {
            AckStatus::Unacked(bytes) => bytes,
            AckStatus::Beyond(_) => 0,
        }
    }

    /// Bytes that the client has beyond SND.NXT; its FIN counts one.
    #[inline]
    #[must_use]
    pub fn beyond(&self) -> u32 {
        match self.ack_status {
            AckStatus::Unacked(_) => 0,
            AckStatus::Beyond(bytes) => bytes,
        }
    }

    /// Whether RCV.NXT lies inside a message.
    #[inline]
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.cookie.state == TsState::MidMessage
    }

    /// Whether nothing is to be answered any more.
    #[inline]
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.cookie.state == TsState::Closing
    }

    /// Whether our FIN is received: behind SND.NXT; or behind the beginning of a message, from a server that did not know
    /// that beginning ([`Tcb::reassembly_lost`]). No answer's first segment has a single byte.
    #[inline]
    fn is_closed(&self) -> bool {
        matches!(self.cookie.state, TsState::Closing | TsState::MidMessage)
            && self.ack_status == AckStatus::Beyond(1)
    }

    /// Whether everything that the cookie covers is received.
    #[inline]
    fn is_received(&self) -> bool {
        self.ack_status == AckStatus::Unacked(0) || self.echoed.is_some() || self.is_closed()
    }
}
