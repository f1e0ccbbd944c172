//! The Ethernet header with up to two VLAN tags (IEEE 802.3, 802.1Q).

use super::offset::ethernet as field;
use crate::steering::Version;

/// Octets of the longest header: addresses, two tags, type.
pub const MAX_HEADER: usize = field::HEADER + 2 * field::TAG;

/// A link header, kept apart from its frame because that is overwritten by the reply.
#[derive(Clone, Debug)]
pub struct Header {
    octets: [u8; MAX_HEADER],
    length: usize,
}

impl Header {
    /// The header that goes back to the sender of `received` (14, 18 or 22 octets): addresses swapped, tags kept.
    #[inline]
    #[must_use]
    pub fn reply(received: &[u8]) -> Self {
        let mut octets = [0; MAX_HEADER];
        octets[..received.len()].copy_from_slice(received);
        octets[field::DESTINATION..field::SOURCE].copy_from_slice(&received[field::SOURCE..field::TYPE]);
        octets[field::SOURCE..field::TYPE].copy_from_slice(&received[field::DESTINATION..field::SOURCE]);
        Self { octets, length: received.len() }
    }

    /// A header without tags, of a frame that an interface sends to itself, or receives from itself.
    #[must_use]
    pub fn within(address: [u8; 6], version: Version) -> Self {
        let mut octets = [0; MAX_HEADER];
        octets[field::DESTINATION..field::SOURCE].copy_from_slice(&address);
        octets[field::SOURCE..field::TYPE].copy_from_slice(&address);
        let ethertype = match version {
            Version::V4 => field::IPV4,
            Version::V6 => field::IPV6,
        };
        octets[field::TYPE..field::HEADER].copy_from_slice(&ethertype.to_be_bytes());
        Self { octets, length: field::HEADER }
    }

    /// The header's octets.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_swap_and_tags_stay() {
        let received: Vec<u8> = (1..=22).collect();
        let reply = Header::reply(&received);
        assert_eq!(
            reply.as_slice(),
            [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]
        );
        assert_eq!(Header::reply(&received[..14]).as_slice().len(), 14);
    }
}
