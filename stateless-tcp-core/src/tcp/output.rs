//! Our segments: the header fields that the rules decide, and how a response is cut into them.

use super::application::MAX_NON_REPEATABLE;
use super::segment::{Flags, Timestamps};
use core::ops::Range;

/// A segment of ours: the header fields that the rules decide. Addresses and ports are the client's, swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxSegment {
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND.
    pub window: u16,
    /// MSS option, on SYN,ACK.
    pub mss: Option<u16>,
    /// Timestamps option, where the client offered it.
    pub timestamps: Option<Timestamps>,
    /// A Fast Open cookie for the client, on SYN,ACK.
    pub fast_open: Option<[u8; 8]>,
    /// First octet of the payload, as an offset in the response.
    pub offset: u32,
    /// Octets of payload.
    pub length: u16,
}

impl TxSegment {
    /// A segment without payload and options.
    #[inline]
    #[must_use]
    pub(crate) fn bare(seq: u32, ack: u32, flags: Flags, window: u16) -> Self {
        Self { seq, ack, flags, window, mss: None, timestamps: None, fast_open: None, offset: 0, length: 0 }
    }

    /// The octets of the response that this segment carries.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        self.offset as usize..self.offset as usize + usize::from(self.length)
    }
}

/// The positions of our stream at which a segment may end before a response does: those whose sequence number lies on a
/// power of two, shifted by a secret.
///
/// The client acknowledges only where a segment of ours ended. Were those ends anywhere, any acknowledgment number near
/// the truth would have to be believed, also one that was guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    mask: u32,
    shift: u32,
}

impl Grid {
    /// Every position.
    pub(crate) const EVERYWHERE: Self = Self { mask: 0, shift: 0 };

    /// The widest of which segments of `size` octets always reach a position that lies behind the octets at the front of
    /// a response that change.
    #[inline]
    pub(crate) fn within(size: u32, shift: u32) -> Self {
        let reach = size.saturating_sub(MAX_NON_REPEATABLE).max(1);
        Self { mask: (1 << reach.ilog2()) - 1, shift }
    }

    /// How far `seq` lies beyond the last position.
    #[inline]
    pub(crate) fn beyond(self, seq: u32) -> u32 {
        seq.wrapping_add(self.shift) & self.mask
    }
}

/// FIN's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    /// In a segment of its own, behind the response.
    Apart,
    /// On the last segment of the response.
    OnLast,
    /// Nowhere: the connection stays open.
    None,
}

/// The part of a reply that is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Acknowledgment { then_data: bool },
    Data,
    Nothing,
}

/// SEG.ACK and SEG.WND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgment {
    pub(crate) number: u32,
    pub(crate) window: u16,
}

/// The segments of one reply, in order.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Sequence number of the response's first octet.
    pub(crate) base: u32,
    pub(crate) first: Acknowledgment,
    pub(crate) others: Acknowledgment,
    pub(crate) timestamps: Option<Timestamps>,
    /// Most octets of a payload.
    pub(crate) size: u32,
    pub(crate) grid: Grid,
    /// Octets of the response.
    pub(crate) length: u32,
    /// Offset in the response of the first octet that is not to be sent; FIN's offset is `length`.
    pub(crate) edge: u32,
    pub(crate) fin: Fin,
    /// Offset in the response of the next octet to send.
    pub(crate) next: u32,
    pub(crate) rest: Rest,
    /// What goes out behind the segment that follows it.
    pub(crate) held: Option<TxSegment>,
}

impl Reply {
    #[inline]
    fn outgoing(&self, flags: Flags, length: u16) -> TxSegment {
        TxSegment {
            seq: self.base.wrapping_add(self.next),
            ack: self.first.number,
            flags,
            window: self.first.window,
            mss: None,
            timestamps: self.timestamps,
            fast_open: None,
            offset: self.next.min(self.length),
            length,
        }
    }

    /// The sequence number behind the response.
    #[inline]
    #[must_use]
    pub fn snd_nxt(&self) -> u32 {
        self.base.wrapping_add(self.length)
    }

    /// Octets of the response that the client lacked.
    #[inline]
    #[must_use]
    pub fn lacking(&self) -> u32 {
        self.length.saturating_sub(self.next)
    }

    /// SEG.ACK of the first segment, and the highest.
    #[inline]
    #[must_use]
    pub fn acknowledged(&self) -> u32 {
        self.first.number
    }

    /// Octets of payload of the next segment.
    #[inline]
    pub(crate) fn cut(&self) -> u32 {
        let left = self.length.min(self.edge) - self.next;
        if left <= self.size {
            return left;
        }
        self.size - self.grid.beyond(self.base.wrapping_add(self.next + self.size))
    }
}

impl Reply {
    /// The next segment, in order.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a payload is at most `size`, which came from 16 bits"
    )]
    fn advance(&mut self) -> Option<TxSegment> {
        match self.rest {
            Rest::Nothing => None,
            Rest::Acknowledgment { then_data } => {
                self.rest = if then_data { Rest::Data } else { Rest::Nothing };
                Some(self.outgoing(Flags::ACK, 0))
            }
            Rest::Data => {
                let payload = self.cut();
                let end = self.next + payload;
                let fin_due = end == self.length && self.edge > self.length;
                let fin = match self.fin {
                    Fin::Apart => fin_due && payload == 0,
                    Fin::OnLast => fin_due,
                    Fin::None => false,
                };
                let flags = if fin { Flags::FIN | Flags::ACK } else { Flags::ACK };
                let outgoing = self.outgoing(flags, payload as u16);
                self.next = end;
                self.first = self.others;
                let fin_follows = self.fin == Fin::Apart && !fin;
                if end == self.length.min(self.edge) && !fin_follows {
                    self.rest = Rest::Nothing;
                }
                Some(outgoing)
            }
        }
    }
}

impl Iterator for Reply {
    type Item = TxSegment;

    /// In order; but with timestamps the last two change places. A client acknowledges at once what fills a gap (RFC 5681
    /// section 4.2). Were it to wait for more, as it may for 500 ms, and its own Nagle algorithm for us, requests behind this
    /// one would wait for both.
    #[inline]
    fn next(&mut self) -> Option<TxSegment> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let outgoing = self.advance()?;
        if self.timestamps.is_none() || self.rest == Rest::Nothing {
            return Some(outgoing);
        }
        let mut after = self.clone();
        let last = after.advance();
        if after.rest != Rest::Nothing {
            return Some(outgoing);
        }
        *self = after;
        self.held = Some(outgoing);
        last
    }
}
