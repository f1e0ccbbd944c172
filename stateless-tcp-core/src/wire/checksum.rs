//! The Internet checksum (RFC 1071) and the pseudo-header that TCP adds to it (RFC 9293 section 3.1, RFC 8200 section 8.1).

use crate::tcp::segment::FourTuple;

/// A ones' complement sum in progress, of words as they lie in memory: it is turned to host byte order once, at the end
/// (RFC 1071 section 2(B)). The sum of 64-bit words folds to the same 16 bits as that of 16-bit words (section 2(C)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Goes on over `octets`, taken as 16-bit words in network byte order; of all that is summed, only the last may be odd.
    #[inline]
    #[must_use]
    pub fn over(self, octets: &[u8]) -> Self {
        let (words, rest) = octets.as_chunks();
        let mut sum = words.iter().fold(self, |sum, word| sum.and(u64::from_ne_bytes(*word)));
        // Piece by piece: a copy into a word would be a call for these few octets.
        let (words, rest) = rest.as_chunks();
        if let [word] = words {
            sum = sum.and(u32::from_ne_bytes(*word).into());
        }
        let (words, rest) = rest.as_chunks();
        if let [word] = words {
            sum = sum.and(u16::from_ne_bytes(*word).into());
        }
        match rest {
            [last] => sum.and(u16::from_ne_bytes([*last, 0]).into()),
            _ => sum,
        }
    }

    /// Adds a word, and the carry.
    #[inline]
    fn and(self, word: u64) -> Self {
        let (sum, carry) = self.0.overflowing_add(word);
        Self(sum + u64::from(carry))
    }

    /// The sum folded to 16 bits, not complemented.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "folded below 2^16")]
    pub fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        // Below 2^33, then 2^18, then 2^16 + 4, then 2^16.
        let fold = |sum: u64| (sum & 0xffff) + (sum >> 16);
        u16::from_be(fold(fold(fold(sum))) as u16)
    }

    /// The value for a checksum field.
    #[inline]
    #[must_use]
    pub fn complement(self) -> u16 {
        !self.fold()
    }
}

/// Sum of the pseudo-header of a TCP segment of `length` octets, header included. That an IPv4 address is mapped into an IPv6 one
/// changes nothing: 0xffff is the zero of this arithmetic.
#[inline]
#[must_use]
pub fn pseudo_header(tuple: &FourTuple, length: usize) -> Sum {
    const TCP: u32 = 6;
    let addresses = Sum::default().over(&tuple.server.0).over(&tuple.client.0);
    #[expect(clippy::cast_possible_truncation, reason = "the IP header bounds it by 16 bits")]
    let length = length as u32;
    addresses.and((length + TCP).to_be().into())
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
        fn equals_word_by_word(octets in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..200)) {
            let mut sum = 0u32;
            for pair in octets.chunks(2) {
                sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
                sum = (sum & 0xffff) + (sum >> 16);
            }
            prop_assert_eq!(u32::from(Sum::default().over(&octets).fold()), sum);
        }
    }
}
