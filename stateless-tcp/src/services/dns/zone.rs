//! One zone, compiled: what an answer may hold, in wire form or one step from it, linked by indices.
//!
//! A zone knows nothing of other zones, so that one can be replaced while the others stay: [`super::catalog`] puts them
//! together. It never changes once it is built ([`build`]).

pub(super) mod build;
mod check;
mod compile_denial;
mod denial;
mod name_tree;
mod problem;

pub(super) use denial::{Denial, ProofOwner};
pub(super) use name_tree::{NameId, NameTree, hash};

use super::name::DomainName;
use super::rdata;
use super::rtype;
use denial::DenialProof;
use name_tree::flag;
use std::sync::LazyLock;

/// A set of records of one owner and type, with its signatures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rrset {
    pub(super) rtype: u16,
    /// Of signatures. A set may have nothing else: the file has a signature of what it does not have.
    signatures: u16,
    /// Of records.
    count: u32,
    pub(super) ttl: u32,
    /// Where its records and its signatures begin in [`Zone::data`].
    data: u32,
    signed: u32,
}

impl Rrset {
    /// It is not of signatures alone.
    pub(super) const fn has_records(&self) -> bool {
        self.count > 0
    }
}

/// A set's place in its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RrsetId(pub(super) u32);

/// What a zone keeps of one record: its data, in wire form, or with [`NameId`]s in place of the names that may be
/// compressed.
#[derive(Clone, Copy)]
pub(super) enum RecordData<'a> {
    Plain(&'a [u8]),
    /// Bytes before the names, the names, bytes after them.
    Names(&'a [u8], RdataNames, &'a [u8]),
}

/// One name, or two.
#[derive(Clone, Copy)]
pub(super) struct RdataNames {
    first: NameId,
    second: Option<NameId>,
}

impl RdataNames {
    pub(super) fn iter(self) -> impl Iterator<Item = NameId> {
        std::iter::once(self.first).chain(self.second)
    }
}

/// A zone.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) names: NameTree,
    pub(super) apex: NameId,
    /// Labels of the apex, and of its deepest node.
    pub(super) depth: usize,
    deepest: usize,
    sets: Vec<Rrset>,
    /// The records of all sets: each its length (16 bits) and data as [`RecordData`] has it.
    data: Vec<u8>,
    /// Nodes with a child `*`, in order, and that.
    wildcards: Vec<(NameId, NameId)>,
    pub(super) soa: RrsetId,
    /// TTL of the SOA in a negative answer (RFC 2308 section 3).
    pub(super) negative_ttl: u32,
    pub(super) denial: Denial,
    /// By name; empty where nothing is to be proved.
    proofs: Vec<DenialProof>,
}

/// How a name relates to a zone's nodes.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodeMatch {
    /// The node of this name.
    Exact(NameId),
    /// There is none: this is its closest encloser (RFC 4592 section 3.3.1), at this depth.
    Below(NameId, usize),
}

impl Zone {
    /// Looks up a name at or below the apex.
    ///
    /// Every ancestor of a node down from the apex is a node, so that the closest encloser is found by bisection over
    /// the depth: a name of 127 labels costs no more than the zone's own depth allows.
    pub(super) fn find(&self, name: &DomainName) -> NodeMatch {
        let depth = name.depth();
        if depth <= self.deepest
            && let Some(node) = self.node(name, depth)
        {
            return NodeMatch::Exact(node);
        }
        let (mut encloser, mut low) = (self.apex, self.depth);
        let mut high = self.deepest.min(depth.saturating_sub(1)).max(low);
        while low < high {
            let middle = (low + high).div_ceil(2);
            match self.node(name, middle) {
                Some(node) => (encloser, low) = (node, middle),
                None => high = middle - 1,
            }
        }
        NodeMatch::Below(encloser, low)
    }

    /// The node of the suffix of so many labels of a name at or below the apex.
    pub(super) fn node(&self, name: &DomainName, depth: usize) -> Option<NameId> {
        self.names.find_below(name, depth, self.apex).filter(|&id| self.is_node(id))
    }

    pub(super) fn is_node(&self, id: NameId) -> bool {
        self.names.has(id, flag::NODE)
    }

    /// The topmost zone cut at or above the node: what lies below it is the child's (RFC 1034 section 4.2.1).
    pub(super) fn cut(&self, node: NameId) -> Option<NameId> {
        let (mut cut, mut id) = (None, node);
        while id != self.apex {
            if self.names.has(id, flag::CUT) {
                cut = Some(id);
            }
            id = self.names.parent(id);
        }
        cut
    }

    pub(super) fn cname(&self, node: NameId) -> Option<RrsetId> {
        self.names.has(node, flag::CNAME).then(|| self.find_rrset(node, rtype::CNAME)).flatten()
    }

    pub(super) fn dname(&self, node: NameId) -> Option<RrsetId> {
        self.names.has(node, flag::DNAME).then(|| self.find_rrset(node, rtype::DNAME)).flatten()
    }

    /// The node's child `*`.
    pub(super) fn wildcard(&self, node: NameId) -> Option<NameId> {
        if !self.names.has(node, flag::WILDCARD) {
            return None;
        }
        let at = self.wildcards.binary_search_by_key(&node, |&(parent, _)| parent).ok()?;
        Some(self.wildcards[at].1)
    }

    /// The sets of an owner with their ids, in the zone file's order.
    pub(super) fn rrsets_of(&self, owner: NameId) -> impl Iterator<Item = (RrsetId, &Rrset)> {
        let (first, count) = self.names.sets(owner);
        let start = first as usize;
        (first..).map(RrsetId).zip(&self.sets[start..start + usize::from(count)])
    }

    /// The owner's set of this type.
    pub(super) fn find_rrset(&self, owner: NameId, rtype: u16) -> Option<RrsetId> {
        self.rrsets_of(owner).find_map(|(id, set)| (set.rtype == rtype && set.count > 0).then_some(id))
    }

    /// The set that proves something at the owner of a [`DenialProof`]: of the kind that the zone denies by.
    pub(super) fn proof_rrset(&self, owner: NameId) -> Option<RrsetId> {
        let rtype = if matches!(self.denial, Denial::Nsec3(_)) { rtype::NSEC3 } else { rtype::NSEC };
        self.find_rrset(owner, rtype)
    }

    pub(super) fn rrset(&self, id: RrsetId) -> &Rrset {
        &self.sets[id.0 as usize]
    }

    pub(super) fn proof(&self, node: NameId) -> DenialProof {
        self.proofs.get(node.get()).copied().unwrap_or_default()
    }

    /// The records of a set.
    pub(super) fn records(&self, set: &Rrset) -> RecordIter<'_> {
        RecordIter { rest: &self.data[set.data as usize..], left: set.count, names: compressible(set.rtype) }
    }

    /// The signatures of a set.
    pub(super) fn signatures(&self, set: &Rrset) -> RecordIter<'_> {
        RecordIter { rest: &self.data[set.signed as usize..], left: set.signatures.into(), names: (0, 0) }
    }

    /// The name that a CNAME or DNAME leads to, in wire form and any case.
    pub(super) fn target(&self, set: RrsetId) -> Option<DomainName> {
        match self.records(self.rrset(set)).next()? {
            RecordData::Plain(wire) => DomainName::read(wire).map(|(name, _)| name),
            RecordData::Names(_, targets, _) => Some(self.names.name(targets.first)),
        }
    }

    /// Owners, and empty non-terminals.
    pub(super) fn owners(&self) -> usize {
        self.names.ids().filter(|&id| self.is_node(id)).count()
    }

    /// Records, signatures among them.
    pub(super) fn record_count(&self) -> usize {
        self.sets.iter().map(|set| set.count as usize + usize::from(set.signatures)).sum()
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.names.memory()
            + self.sets.capacity() * size_of::<Rrset>()
            + self.data.capacity()
            + self.proofs.capacity() * size_of::<DenialProof>()
            + self.denial.memory()
    }
}

/// Records of one set, one by one.
pub(super) struct RecordIter<'a> {
    rest: &'a [u8],
    left: u32,
    names: (usize, usize),
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = RecordData<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordData<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (length, rest) = self.rest.split_first_chunk::<LENGTH>()?;
        let (data, rest) = rest.split_at_checked(u16::from_ne_bytes(*length).into())?;
        self.rest = rest;
        let (before, names) = self.names;
        if names == 0 {
            return Some(RecordData::Plain(data));
        }
        let (before, rest) = data.split_at_checked(before)?;
        let (first, rest) = name_id(rest)?;
        let (second, after) = match names {
            2 => name_id(rest).map(|(second, after)| (Some(second), after))?,
            _ => (None, rest),
        };
        Some(RecordData::Names(before, RdataNames { first, second }, after))
    }
}

/// Where the names in a type's data lie that may be compressed: bytes before them, and how many there are. Those types are
/// all among the first 16 (RFC 3597 section 4).
fn compressible(rtype: u16) -> (usize, usize) {
    static FIRST: LazyLock<[(usize, usize); 16]> = LazyLock::new(|| {
        std::array::from_fn(|number| {
            u16::try_from(number).map_or((0, 0), |number| rdata::record_type(number).compressible())
        })
    });
    FIRST.get(usize::from(rtype)).copied().unwrap_or_default()
}

/// Bytes of the length before a record's data.
const LENGTH: usize = 2;

fn name_id(bytes: &[u8]) -> Option<(NameId, &[u8])> {
    let (id, rest) = bytes.split_first_chunk()?;
    Some((NameId(u32::from_ne_bytes(*id)), rest))
}
