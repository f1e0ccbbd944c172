//! The Internet checksum (RFC 1071) and the pseudo-header that TCP adds to it (RFC 9293 section 3.1, RFC 8200 section 8.1).

use super::Network;

/// A ones' complement sum in progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Goes on over `octets`, taken as 16-bit words in network byte order; of all that is summed, only the last may be odd.
    #[inline]
    #[must_use]
    pub fn over(self, octets: &[u8]) -> Self {
        // Four words at a time: the sum of 32-bit halves folds to the same 16 bits (RFC 1071 section 2(C)).
        let (blocks, rest) = octets.as_chunks::<8>();
        let mut sum = self.0;
        for block in blocks {
            let value = u64::from_be_bytes(*block);
            sum += (value >> 32) + (value & 0xffff_ffff);
        }
        let mut padded = [0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        let value = u64::from_be_bytes(padded);
        Self(sum + (value >> 32) + (value & 0xffff_ffff))
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
        sum as u16
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
    const TCP: u64 = 6;
    let addresses = match *network {
        Network::V4 { source, destination } => Sum::default().over(&source).over(&destination),
        Network::V6 { source, destination } => Sum::default().over(&source).over(&destination),
    };
    Sum(addresses.0 + length as u64 + TCP)
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
