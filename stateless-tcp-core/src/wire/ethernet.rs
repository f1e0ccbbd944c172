//! The Ethernet header with up to two VLAN tags (IEEE 802.3, 802.1Q).

use super::offset::ethernet as field;
use super::{array, first, put};
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
    /// The header that goes back to the sender of `frame`, whose header has `length` octets (14, 18 or 22): addresses swapped,
    /// tags kept.
    #[inline]
    #[must_use]
    pub fn reply(frame: &[u8], length: usize) -> Self {
        let mut octets = [0; MAX_HEADER];
        match frame.first_chunk() {
            // As many as a header can have: to copy as many as this one has would be a call.
            Some(longest) => octets = *longest,
            None => octets[..length].copy_from_slice(&frame[..length]),
        }
        let [destination, source] =
            [field::DESTINATION, field::SOURCE].map(|at| array::<6, MAX_HEADER>(&octets, at));
        put(&mut octets, field::DESTINATION, source);
        put(&mut octets, field::SOURCE, destination);
        Self { octets, length }
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

    /// Octets.
    #[inline]
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Writes the header at the beginning of `frame`, and returns what stands behind it. The octets there mean nothing.
    #[inline]
    pub(super) fn emit<'a>(&self, frame: &'a mut [u8]) -> &'a mut [u8] {
        let (header, _) = first(frame);
        *header = self.octets;
        &mut frame[self.length..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_swap_and_tags_stay() {
        let received: Vec<u8> = (1..=60).collect();
        for length in [14, 18, 22] {
            let mut sent = [0; 60];
            let rest = Header::reply(&received, length).emit(&mut sent).len();
            let expected = [&received[6..12], &received[..6], &received[12..length]].concat();
            assert_eq!((&sent[..length], rest), (&expected[..], 60 - length));
        }
    }
}
