//! Denial of existence: sorted NSEC (RFC 4034) and NSEC3 (RFC 5155) chains.

use super::super::name::{CanonicalKey, DomainName};
use super::name_tree::NameId;
use sha1::{Digest, Sha1, block_api};

/// An NSEC3 hash (RFC 5155 section 5; SHA-1 is the only algorithm).
pub(super) type Nsec3Hash = [u8; 20];

/// Limit on NSEC3 iterations. Each is one more block of SHA-1 for every name that does not exist: 150 instructions with
/// SHA instructions, 1,400 in software, compared to 5,000 for the whole answer. RFC 9276 section 3.1 recommends none;
/// beyond this limit, resolvers treat the zone as insecure (section 3.2).
pub(super) const MAX_ITERATIONS: u16 = 150;

/// The zone's method of denial.
#[derive(Debug)]
pub(in super::super) enum Denial {
    /// Not signed.
    None,
    /// By NSEC records.
    Nsec(Nsec),
    /// By NSEC3 records.
    Nsec3(Nsec3),
}

/// The owners of NSEC records in canonical order, by the [`CanonicalKey`]s of their labels below the apex.
#[derive(Debug, Default)]
pub(in super::super) struct Nsec {
    keys: Vec<u8>,
    /// The end of each key, and its owner.
    chain: Vec<(u32, NameId)>,
    /// The length of the apex's own key.
    skipped: usize,
}

/// The NSEC3 chain that NSEC3PARAM names.
#[derive(Debug)]
pub(in super::super) struct Nsec3 {
    pub(super) iterations: u16,
    pub(super) salt: Box<[u8]>,
    pub(super) chain: Vec<(Nsec3Hash, NameId)>,
}

/// Proofs about one node, found when the zone is compiled: owners of NSEC or NSEC3 records.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct DenialProof {
    /// The node has no other types: its NSEC, or the one that covers an empty non-terminal; its NSEC3, or, for an
    /// opted-out node, the closest provable encloser's and the one that covers the next closer name (RFC 5155 section
    /// 7.2.4).
    pub(in super::super) node: [Option<ProofOwner>; 2],
    /// The node has no wildcard child.
    pub(in super::super) wildcard: Option<ProofOwner>,
    /// The node's NSEC3 exists: a next closer name below it has to be hashed.
    pub(in super::super) hashed: bool,
}

/// The owner of an NSEC or NSEC3 record; `Option` of it has the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct ProofOwner(std::num::NonZeroU32);

impl ProofOwner {
    fn new(id: NameId) -> Option<Self> {
        std::num::NonZeroU32::new(id.0.wrapping_add(1)).map(Self)
    }

    pub(in super::super) const fn id(self) -> NameId {
        NameId(self.0.get() - 1)
    }
}

impl Denial {
    /// The owner of the record that covers or matches the name's suffix of this many labels.
    ///
    /// For a name that does not exist the next closer name is enough: no owner lies below it, so both names have the
    /// same predecessor.
    pub(in super::super) fn cover(&self, name: &DomainName, depth: usize) -> Option<ProofOwner> {
        match self {
            Self::None => None,
            Self::Nsec(nsec) => nsec.cover(name, depth),
            Self::Nsec3(nsec3) => nsec3.cover(&nsec3.hash(name.suffix(depth))),
        }
    }

    /// The name of the method, for reports.
    pub(in super::super) const fn kind(&self) -> &'static str {
        match self {
            Self::None => "not signed",
            Self::Nsec(_) => "signed with NSEC",
            Self::Nsec3(_) => "signed with NSEC3",
        }
    }

    pub(super) fn memory(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Nsec(nsec) => nsec.keys.capacity() + nsec.chain.capacity() * size_of::<(u32, NameId)>(),
            Self::Nsec3(nsec3) => nsec3.chain.capacity() * size_of::<(Nsec3Hash, NameId)>(),
        }
    }
}

impl Nsec {
    /// The chain of these owners, all at or below `apex`. `None` if their keys take more than 4 GiB.
    pub(super) fn new(apex: &DomainName, owners: impl Iterator<Item = (DomainName, NameId)>) -> Option<Self> {
        let skipped = CanonicalKey::new(apex, apex.depth()).as_slice().len();
        let (mut text, mut ends, mut start) = (Vec::new(), Vec::new(), 0);
        for (name, id) in owners {
            text.extend_from_slice(&CanonicalKey::new(&name, name.depth()).as_slice()[skipped..]);
            ends.push((start..text.len(), id));
            start = text.len();
        }
        ends.sort_unstable_by(|(one, _), (other, _)| text[one.clone()].cmp(&text[other.clone()]));
        let mut nsec =
            Self { keys: Vec::with_capacity(text.len()), chain: Vec::with_capacity(ends.len()), skipped };
        for (range, id) in ends {
            nsec.keys.extend_from_slice(&text[range]);
            nsec.chain.push((u32::try_from(nsec.keys.len()).ok()?, id));
        }
        Some(nsec)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.chain[before].0);
        &self.keys[start as usize..self.chain[index].0 as usize]
    }

    fn cover(&self, name: &DomainName, depth: usize) -> Option<ProofOwner> {
        let key = CanonicalKey::new(name, depth);
        let key = key.as_slice().get(self.skipped..)?;
        let (mut low, mut high) = (0, self.chain.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) <= key { low = middle + 1 } else { high = middle }
        }
        before(low, &self.chain)
    }
}

impl Nsec3 {
    /// RFC 5155 section 5: IH(salt, x, 0) = H(x || salt), IH(salt, x, k) = H(IH(salt, x, k-1) || salt).
    pub(super) fn hash(&self, wire: &[u8]) -> Nsec3Hash {
        let round =
            |input: &[u8]| hash_one_block(input, &self.salt).unwrap_or_else(|| hash(input, &self.salt));
        (0..self.iterations).fold(round(wire), |hash, _| round(&hash))
    }

    pub(super) fn matching(&self, hash: &Nsec3Hash) -> Option<ProofOwner> {
        self.chain
            .binary_search_by_key(hash, |&(hash, _)| hash)
            .ok()
            .and_then(|at| ProofOwner::new(self.chain[at].1))
    }

    pub(super) fn cover(&self, hash: &Nsec3Hash) -> Option<ProofOwner> {
        before(self.chain.partition_point(|(owner, _)| owner <= hash), &self.chain)
    }
}

/// SHA-1 of `input` and `salt` of any length.
fn hash(input: &[u8], salt: &[u8]) -> Nsec3Hash {
    Sha1::new().chain_update(input).chain_update(salt).finalize().into()
}

/// The same if both fit one padded block, as a hash with its salt and most names do. It avoids the buffers of
/// incremental hashing, which cost as much as the hash itself.
fn hash_one_block(input: &[u8], salt: &[u8]) -> Option<Nsec3Hash> {
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
    let mut hash = Nsec3Hash::default();
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Some(hash)
}

/// The owner before index `end` of a chain, which is a ring.
fn before<K>(end: usize, chain: &[(K, NameId)]) -> Option<ProofOwner> {
    let last = chain.len().checked_sub(1)?;
    ProofOwner::new(chain[end.checked_sub(1).unwrap_or(last)].1)
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
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..100 {
            for salt in 0..100 {
                let (input, salt) = (&bytes[..length], &bytes[100..100 + salt]);
                let one = hash_one_block(input, salt);
                assert_eq!(one.is_some(), input.len() + salt.len() <= 55);
                assert!(one.is_none_or(|one| one == hash(input, salt)), "{length} and {}", salt.len());
            }
        }
    }
}
