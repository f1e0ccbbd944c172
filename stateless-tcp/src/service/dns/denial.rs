//! What proves to a validator that something is not there: NSEC (RFC 4034) and NSEC3 (RFC 5155) chains, sorted, with
//! all that depends on existing names only found beforehand.

use super::catalog::SetId;
use super::name::{CanonicalKey, Name};
use sha1::{Digest, Sha1, block_api};

/// An NSEC3 hash (RFC 5155 section 5; SHA-1 is the only algorithm there is).
pub(super) type Hash = [u8; 20];

/// Most NSEC3 iterations that are served. Each is one more block of SHA-1 for every name that does not exist: 150
/// instructions where the processor has them for SHA, 1,400 in software, beside 5,000 for the whole answer. RFC 9276
/// section 3.1 wants none at all; beyond this, resolvers take the zone for insecure (section 3.2).
pub(super) const MAX_ITERATIONS: u16 = 150;

/// How the zone denies.
#[derive(Debug)]
pub(super) enum Denial {
    /// Not signed.
    None,
    /// NSEC sets by [`CanonicalKey`] of their owners.
    Nsec(Vec<(Box<[u8]>, SetId)>),
    /// NSEC3 sets by hash.
    Nsec3(Nsec3),
}

/// The NSEC3 chain that NSEC3PARAM names.
#[derive(Debug)]
pub(super) struct Nsec3 {
    pub(super) iterations: u16,
    pub(super) salt: Box<[u8]>,
    pub(super) chain: Vec<(Hash, SetId)>,
}

/// What is proved about one node, found when the zone is compiled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proof {
    /// That the node has no more types than it shows: its NSEC, or the one that covers an empty non-terminal; its
    /// NSEC3, or, where opt-out left it without one, the closest provable encloser's and the one covering the next
    /// closer name (RFC 5155 section 7.2.4).
    pub(super) node: [Option<SetId>; 2],
    /// That it has no wildcard child.
    pub(super) wildcard: Option<SetId>,
    /// The node's NSEC3 exists: a next closer name below it has to be hashed.
    pub(super) hashed: bool,
}

impl Denial {
    /// The set that covers the name's suffix of so many labels, or matches it.
    ///
    /// For a name that does not exist the next closer one is enough, whatever stands before it: no owner lies below a name
    /// that is none, so that both have one predecessor.
    pub(super) fn cover(&self, name: &Name, depth: usize) -> Option<SetId> {
        match self {
            Self::None => None,
            Self::Nsec(chain) => {
                let key = CanonicalKey::of(name, depth);
                before(chain.partition_point(|(owner, _)| **owner <= *key.as_slice()), chain)
            }
            Self::Nsec3(nsec3) => nsec3.cover(&nsec3.hash(name.suffix(depth))),
        }
    }
}

impl Nsec3 {
    /// RFC 5155 section 5: IH(salt, x, 0) = H(x || salt), IH(salt, x, k) = H(IH(salt, x, k-1) || salt).
    pub(super) fn hash(&self, wire: &[u8]) -> Hash {
        let round =
            |input: &[u8]| hash_one_block(input, &self.salt).unwrap_or_else(|| hash(input, &self.salt));
        (0..self.iterations).fold(round(wire), |hash, _| round(&hash))
    }

    pub(super) fn matching(&self, hash: &Hash) -> Option<SetId> {
        self.chain.binary_search_by_key(hash, |&(hash, _)| hash).ok().map(|at| self.chain[at].1)
    }

    pub(super) fn cover(&self, hash: &Hash) -> Option<SetId> {
        before(self.chain.partition_point(|(owner, _)| owner <= hash), &self.chain)
    }
}

/// SHA-1 of `input` and `salt`, whatever their lengths.
fn hash(input: &[u8], salt: &[u8]) -> Hash {
    Sha1::new().chain_update(input).chain_update(salt).finalize().into()
}

/// The same where both fit one block with their padding, as a hash with its salt does and most names do: without the
/// buffers that hashing piece by piece takes, which cost as much as the hash itself, and here as often.
fn hash_one_block(input: &[u8], salt: &[u8]) -> Option<Hash> {
    /// FIPS 180-4 sections 5.1.1 and 5.3.1.
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    const LENGTH: usize = 56;
    const END: u8 = 0x80;

    let end = input.len() + salt.len();
    if end >= LENGTH {
        return None;
    }
    let mut block = [0; 64];
    block[..input.len()].copy_from_slice(input);
    block[input.len()..end].copy_from_slice(salt);
    block[end] = END;
    block[LENGTH..].copy_from_slice(&(8 * end as u64).to_be_bytes());
    let mut state = INITIAL;
    block_api::compress(&mut state, &[block]);
    let mut hash = Hash::default();
    for (octets, word) in hash.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_be_bytes());
    }
    Some(hash)
}

/// The set before place `end` of a chain, which is a ring.
fn before<K>(end: usize, chain: &[(K, SetId)]) -> Option<SetId> {
    let last = chain.len().checked_sub(1)?;
    Some(chain[end.checked_sub(1).unwrap_or(last)].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::utils::base32;
    use rstest::rstest;

    /// RFC 5155 appendix A.
    #[rstest]
    #[case(b"\x07example\0", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom")]
    #[case(b"\x01*\x01w\x07example\0", "r53bq7cc2uvmubfu5ocmm6pers9tk9en")]
    fn hashes_as_rfc_5155_lists(#[case] wire: &[u8], #[case] hash: &str) {
        let nsec3 = Nsec3 { iterations: 12, salt: [0xaa, 0xbb, 0xcc, 0xdd].into(), chain: Vec::new() };
        assert_eq!(base32::encode_string_hex(&nsec3.hash(wire)).to_lowercase(), hash);
    }

    #[test]
    fn one_block_or_several_the_hash_is_the_same() {
        let octets: Vec<u8> = (0..=255).collect();
        for length in 0..100 {
            for salt in 0..100 {
                let (input, salt) = (&octets[..length], &octets[100..100 + salt]);
                let one = hash_one_block(input, salt);
                assert_eq!(one.is_some(), input.len() + salt.len() <= 55);
                assert!(one.is_none_or(|one| one == hash(input, salt)), "{length} and {}", salt.len());
            }
        }
    }
}
