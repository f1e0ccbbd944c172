//! The VLAN of a frame.

use crate::wire::bytes::Frame;
use crate::wire::offset;

/// Bits of an identifier.
const ID: u16 = 0x0fff;

/// The VLAN identifiers of a frame's one or two tags. A tag without an identifier only has a priority, and does not count
/// (IEEE 802.1Q section 6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VlanTags(
    /// The outer identifier, if there are two, in the high half, and the inner one in the low half.
    pub u32,
);

impl VlanTags {
    /// No tag.
    pub const NONE: Self = Self(0);

    /// These tags, and one with identifier `id` within them. None if there are two already.
    #[inline]
    #[must_use]
    pub const fn within(self, id: u16) -> Option<Self> {
        if self.0 >> 16 == 0 { Some(Self(self.0 << 16 | id as u32)) } else { None }
    }

    /// The tags of the frame whose IP header begins at `network`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "in BPF the verifier follows its offsets through every check")]
    pub(super) fn read<F: Frame + ?Sized>(frame: &F, network: usize) -> Option<Self> {
        let mut tags = 0;
        for at in [offset::ethernet::TYPE, offset::ethernet::TYPE + offset::ethernet::TAG] {
            // The type of what follows is the last field before it.
            if at + 2 < network {
                let id = u16::from_be_bytes(frame.read(at + 2)?) & ID;
                tags = if id == 0 { tags } else { tags << 16 | u32::from(id) };
            }
        }
        Some(Self(tags))
    }
}
