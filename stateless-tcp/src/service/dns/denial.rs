//! What proves to a validator that something is not there: NSEC (RFC 4034) and NSEC3 (RFC 5155) chains, sorted, with
//! all that depends on existing names only found beforehand.

use super::catalog::SetId;
use super::name::{CanonicalKey, Name};
use sha1::{Digest, Sha1};

/// An NSEC3 hash (RFC 5155 section 5; SHA-1 is the only algorithm there is).
pub(super) type Hash = [u8; 20];

/// More iterations than a query may cost; RFC 9276 section 3.1 wants none at all, and resolvers take such a zone for
/// insecure or bogus.
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
    /// The set that covers the name, or matches it.
    pub(super) fn cover(&self, name: &Name) -> Option<SetId> {
        match self {
            Self::None => None,
            Self::Nsec(chain) => {
                let key = CanonicalKey::of(name);
                before(chain.partition_point(|(owner, _)| **owner <= *key.as_slice()), chain)
            }
            Self::Nsec3(nsec3) => nsec3.cover(&nsec3.hash(name.wire())),
        }
    }
}

impl Nsec3 {
    /// RFC 5155 section 5: IH(salt, x, 0) = H(x || salt), IH(salt, x, k) = H(IH(salt, x, k-1) || salt).
    pub(super) fn hash(&self, wire: &[u8]) -> Hash {
        let round = |input: &[u8]| -> Hash {
            Sha1::new().chain_update(input).chain_update(&self.salt).finalize().into()
        };
        (0..self.iterations).fold(round(wire), |hash, _| round(&hash))
    }

    pub(super) fn matching(&self, hash: &Hash) -> Option<SetId> {
        self.chain.binary_search_by_key(hash, |&(hash, _)| hash).ok().map(|at| self.chain[at].1)
    }

    pub(super) fn cover(&self, hash: &Hash) -> Option<SetId> {
        before(self.chain.partition_point(|(owner, _)| owner <= hash), &self.chain)
    }
}

/// The set before place `end` of a chain, which is a ring.
fn before<K>(end: usize, chain: &[(K, SetId)]) -> Option<SetId> {
    let last = chain.len().checked_sub(1)?;
    Some(chain[end.checked_sub(1).unwrap_or(last)].1)
}
