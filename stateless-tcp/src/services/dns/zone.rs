//! One compiled zone: records in wire form or close to it, linked by indices.
//!
//! A zone knows no other zone, so it can be replaced alone; [`super::catalog`] combines zones. A zone never changes
//! once it is built ([`build`]).

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

/// An RRset, the records of one owner and type, with its signatures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rrset {
    pub(super) rtype: u16,
    /// The number of signatures. An RRset may have nothing else: a signature of records that the zone does not have.
    signatures: u16,
    /// The number of records.
    count: u32,
    pub(super) ttl: u32,
    /// Offsets of its records and its signatures in [`Zone::data`].
    data: u32,
    signed: u32,
}

impl Rrset {
    /// The RRset has records, not only signatures.
    pub(super) const fn has_records(&self) -> bool {
        self.count > 0
    }
}

/// The index of an RRset in its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RrsetId(pub(super) u32);

/// The stored data of one record: in wire form, or with [`NameId`]s in place of compressible names.
#[derive(Clone, Copy)]
pub(super) enum RecordData<'a> {
    Plain(&'a [u8]),
    /// Bytes before the names, the names, bytes after them.
    Names(&'a [u8], RdataNames, &'a [u8]),
}

/// One or two names.
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
    /// Label counts of the apex and of the deepest node.
    pub(super) depth: usize,
    deepest: usize,
    sets: Vec<Rrset>,
    /// The records of all RRsets: each a length (16 bits) and its [`RecordData`].
    data: Vec<u8>,
    /// Sorted nodes with a child `*`, and that child.
    wildcards: Vec<(NameId, NameId)>,
    pub(super) soa: RrsetId,
    /// TTL of the SOA in a negative answer (RFC 2308 section 3).
    pub(super) negative_ttl: u32,
    pub(super) denial: Denial,
    /// By name; empty for an unsigned zone.
    proofs: Vec<DenialProof>,
}

/// The result of a search for a name among a zone's nodes.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodeMatch {
    /// The node of this name.
    Exact(NameId),
    /// No node of this name: its closest encloser (RFC 4592 section 3.3.1), and that one's depth.
    Below(NameId, usize),
}

impl Zone {
    /// Looks up a name at or below the apex.
    ///
    /// Every ancestor of a node below the apex is a node, so bisection over the depth finds the closest encloser: the
    /// cost is bounded by the zone's depth, even for a name of 127 labels.
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

    /// The node of the suffix of this many labels of a name at or below the apex.
    pub(super) fn node(&self, name: &DomainName, depth: usize) -> Option<NameId> {
        self.names.find_below(name, depth, self.apex).filter(|&id| self.is_node(id))
    }

    pub(super) fn is_node(&self, id: NameId) -> bool {
        self.names.has(id, flag::NODE)
    }

    /// The topmost zone cut at or above the node: names below it belong to the child zone (RFC 1034 section 4.2.1).
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

    /// The RRsets of an owner with their ids, in the zone file's order.
    pub(super) fn rrsets_of(&self, owner: NameId) -> impl Iterator<Item = (RrsetId, &Rrset)> {
        let (first, count) = self.names.sets(owner);
        let start = first as usize;
        (first..).map(RrsetId).zip(&self.sets[start..start + usize::from(count)])
    }

    /// The owner's RRset of this type.
    pub(super) fn find_rrset(&self, owner: NameId, rtype: u16) -> Option<RrsetId> {
        self.rrsets_of(owner).find_map(|(id, set)| (set.rtype == rtype && set.count > 0).then_some(id))
    }

    /// The NSEC or NSEC3 RRset at the owner of a [`DenialProof`].
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

    /// The records of an RRset.
    pub(super) fn records(&self, set: &Rrset) -> RecordIter<'_> {
        RecordIter { rest: &self.data[set.data as usize..], left: set.count, names: compressible(set.rtype) }
    }

    /// The signatures of an RRset.
    pub(super) fn signatures(&self, set: &Rrset) -> RecordIter<'_> {
        RecordIter { rest: &self.data[set.signed as usize..], left: set.signatures.into(), names: (0, 0) }
    }

    /// The target of a CNAME or DNAME.
    pub(super) fn target(&self, set: RrsetId) -> Option<DomainName> {
        match self.records(self.rrset(set)).next()? {
            RecordData::Plain(wire) => DomainName::read(wire).map(|(name, _)| name),
            RecordData::Names(_, targets, _) => Some(self.names.name(targets.first)),
        }
    }

    /// The number of nodes: owners and empty non-terminals.
    pub(super) fn owners(&self) -> usize {
        self.names.ids().filter(|&id| self.is_node(id)).count()
    }

    /// The number of records, including signatures.
    pub(super) fn record_count(&self) -> usize {
        self.sets.iter().map(|set| set.count as usize + usize::from(set.signatures)).sum()
    }

    /// Its memory in bytes.
    pub(super) fn memory(&self) -> usize {
        self.names.memory()
            + self.sets.capacity() * size_of::<Rrset>()
            + self.data.capacity()
            + self.proofs.capacity() * size_of::<DenialProof>()
            + self.denial.memory()
    }
}

/// An iterator over the records of one RRset.
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

/// The compressible names in a type's data: bytes before them, and their number. All such types are among the first 16
/// (RFC 3597 section 4).
fn compressible(rtype: u16) -> (usize, usize) {
    static FIRST: LazyLock<[(usize, usize); 16]> = LazyLock::new(|| {
        std::array::from_fn(|number| {
            u16::try_from(number).map_or((0, 0), |number| rdata::record_type(number).compressible())
        })
    });
    FIRST.get(usize::from(rtype)).copied().unwrap_or_default()
}

/// Bytes of the length before a record's stored data.
const LENGTH: usize = 2;

fn name_id(bytes: &[u8]) -> Option<(NameId, &[u8])> {
    let (id, rest) = bytes.split_first_chunk()?;
    Some((NameId(u32::from_ne_bytes(*id)), rest))
}
