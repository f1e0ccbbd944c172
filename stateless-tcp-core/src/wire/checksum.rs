//! The Internet checksum (RFC 1071) and the pseudo-header that TCP adds to it (RFC 9293 section 3.1, RFC 8200 section 8.1).

use super::Network;

/// Octets added at a time: the sum of 32-bit words folds to the same 16 bits as that of 16-bit words (RFC 1071 section
/// 2(C)).
const WORD: usize = 4;

/// Octets that vector instructions add side by side.
const BLOCK: usize = 32;

/// A ones' complement sum in progress, of words as they lie in memory: it is turned to host byte order once, at the end
/// (RFC 1071 section 2(B)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Goes on over `octets`, taken as 16-bit words in network byte order; of all that is summed, only the last may be odd.
    #[inline]
    #[must_use]
    pub fn over(self, octets: &[u8]) -> Self {
        let (blocks, rest) = octets.as_chunks::<BLOCK>();
        let mut lanes = [0; BLOCK / WORD];
        for block in blocks {
            let (words, _) = block.as_chunks::<WORD>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let (words, rest) = rest.as_chunks::<WORD>();
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word)));
        Self(self.0 + lanes.iter().sum::<u64>() + words.sum::<u64>())
    }

    /// The sum folded to 16 bits, not complemented.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "folded below 2^16")]
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_be(sum as u16)
    }

    /// The value for a checksum field.
    #[inline]
    #[must_use]
    pub fn complement(self) -> u16 {
        !self.fold()
    }
}

/// Sum of the pseudo-header of a TCP segment of `length` octets, header included.
#[inline]
#[must_use]
pub fn pseudo_header(network: &Network, length: usize) -> Sum {
    const TCP: u32 = 6;
    let addresses = match *network {
        Network::V4 { source, destination } => Sum::default().over(&source).over(&destination),
        Network::V6 { source, destination } => Sum::default().over(&source).over(&destination),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the IP header bounds it by 16 bits")]
    let length = length as u32;
    Sum(addresses.0 + u64::from((length + TCP).to_be()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(Sum::default().over(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
    }

    proptest! {
        #[test]
        fn equals_word_by_word(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut sum = 0u32;
            for pair in octets.chunks(2) {
                sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
                sum = (sum & 0xffff) + (sum >> 16);
            }
            prop_assert_eq!(u32::from(Sum::default().over(&octets).fold()), sum);
        }
    }
}
