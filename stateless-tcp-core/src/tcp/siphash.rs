//! SipHash-2-4 (Aumasson and Bernstein, 2012) over 64-bit words.
//!
//! Every hash here is of a few numbers, and each word of them costs two rounds. To write them out as octets, and to gather
//! words from these again, cost as much as the rounds: most of all in XDP programs, which read octets one by one.

use super::isn::Key;
use super::segment::{Address, FourTuple};

/// A hash in progress.
#[derive(Clone, Copy)]
pub(crate) struct SipHash {
    state: [u64; 4],
    words: u64,
}

impl SipHash {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "in BPF the state stays in registers only within one function")]
    pub(crate) fn new(key: &Key) -> Self {
        let [k0, k1] = words(&key.0);
        let state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { state, words: 0 }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see new")]
    pub(crate) fn word(mut self, word: u64) -> Self {
        self.compress(word);
        self.words += 1;
        self
    }

    /// Both addresses: one word for those of IPv4, four for those of IPv6.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see new")]
    pub(crate) fn addresses(self, tuple: &FourTuple) -> Self {
        let ([server_high, server_low], [client_high, client_low]) =
            (words(&tuple.server.0), words(&tuple.client.0));
        if let (Some(server), Some(client)) = (ipv4(server_high, server_low), ipv4(client_high, client_low)) {
            return self.word(server << 32 | client);
        }
        self.word(server_high).word(server_low).word(client_high).word(client_low)
    }

    /// One address, of either family.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see new")]
    pub(crate) fn address(self, address: &Address) -> Self {
        let [high, low] = words(&address.0);
        self.word(high).word(low)
    }

    /// The hash of all words, and of `length` octets behind them, at most seven: `tail` is the number whose low octet is the
    /// first of them.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see new")]
    pub(crate) fn finish(mut self, tail: u64, length: u64) -> u64 {
        self.compress((self.words * 8 + length) << 56 | tail);
        self.state[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        let [v0, v1, v2, v3] = self.state;
        v0 ^ v1 ^ v2 ^ v3
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see new")]
    fn compress(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.round();
        self.state[0] ^= word;
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see new")]
    fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.state;
        v0 = v0.wrapping_add(v1);
        v2 = v2.wrapping_add(v3);
        v1 = v1.rotate_left(13) ^ v0;
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v1);
        v0 = v0.wrapping_add(v3);
        v1 = v1.rotate_left(17) ^ v2;
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.rotate_left(32);
        self.state = [v0, v1, v2, v3];
    }
}

/// The two words of 16 octets.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see SipHash::new")]
fn words(octets: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(*octets);
    #[expect(clippy::cast_possible_truncation, reason = "it is split there")]
    [whole as u64, (whole >> 64) as u64]
}

/// The IPv4 address of which these are the words, if they are of one.
#[inline]
fn ipv4(high: u64, low: u64) -> Option<u64> {
    const MAPPED: u64 = 0xffff_0000;
    (high == 0 && low & 0xffff_ffff == MAPPED).then_some(low >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use proptest::prelude::*;
    use rstest::rstest;
    use siphasher::sip::SipHasher24;

    fn tuple(server: &str, client: &str) -> FourTuple {
        let [server, client] =
            [server, client].map(|text| Address::from(text.parse::<IpAddr>().expect("an address")));
        FourTuple { server, client, server_port: 53, client_port: 40_000 }
    }

    proptest! {
        #[test]
        fn is_siphash_2_4(
            key: [u8; 16],
            words in proptest::collection::vec(any::<u64>(), 0..6),
            tail in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let hash = words.iter().fold(SipHash::new(&Key(key)), |hash, word| hash.word(*word));
            let octets = tail.iter().rev().fold(0, |number, octet| number << 8 | u64::from(*octet));
            let hash = hash.finish(octets, tail.len() as u64);
            let message: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).chain(tail).collect();
            prop_assert_eq!(hash, SipHasher24::new_with_key(&key).hash(&message));
        }
    }

    #[rstest]
    #[case::ipv4("192.0.2.1", "203.0.113.9", &[203, 0, 113, 9, 192, 0, 2, 1])]
    #[case::ipv6(
        "2001:db8::1",
        "2001:db8::2:9",
        &[
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 9,
        ]
    )]
    fn addresses_are_hashed_whole(#[case] server: &str, #[case] client: &str, #[case] octets: &[u8]) {
        let hash = SipHash::new(&Key([7; 16])).addresses(&tuple(server, client));
        let hash = hash.finish(0, 0);
        assert_eq!(hash, SipHasher24::new_with_key(&[7; 16]).hash(octets));
    }
}
