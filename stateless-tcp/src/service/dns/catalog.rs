//! Compiled zones: everything that an answer may hold, prepared in wire form and linked by indices.

use super::denial::{Denial, Proof};
use super::name::Name;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::Range;

/// Record types that the algorithms tell apart.
pub(super) mod rtype {
    pub(in super::super) const A: u16 = 1;
    pub(in super::super) const NS: u16 = 2;
    pub(in super::super) const MD: u16 = 3;
    pub(in super::super) const MF: u16 = 4;
    pub(in super::super) const CNAME: u16 = 5;
    pub(in super::super) const SOA: u16 = 6;
    pub(in super::super) const MB: u16 = 7;
    pub(in super::super) const MG: u16 = 8;
    pub(in super::super) const MR: u16 = 9;
    pub(in super::super) const PTR: u16 = 12;
    pub(in super::super) const MINFO: u16 = 14;
    pub(in super::super) const MX: u16 = 15;
    pub(in super::super) const AAAA: u16 = 28;
    pub(in super::super) const SRV: u16 = 33;
    pub(in super::super) const DNAME: u16 = 39;
    pub(in super::super) const OPT: u16 = 41;
    pub(in super::super) const DS: u16 = 43;
    pub(in super::super) const RRSIG: u16 = 46;
    pub(in super::super) const NSEC: u16 = 47;
    pub(in super::super) const NSEC3: u16 = 50;
    pub(in super::super) const NSEC3PARAM: u16 = 51;
    pub(in super::super) const SVCB: u16 = 64;
    pub(in super::super) const HTTPS: u16 = 65;
    pub(in super::super) const IXFR: u16 = 251;
    pub(in super::super) const AXFR: u16 = 252;
    pub(in super::super) const MAILB: u16 = 253;
    pub(in super::super) const MAILA: u16 = 254;
    pub(in super::super) const ANY: u16 = 255;
}

/// Octets of type, class, TTL and data length, which stand between a record's owner and its data.
pub(super) const FIXED: usize = 10;
/// Where the TTL and the data length lie in them.
pub(super) const TTL: Range<usize> = 4..8;
pub(super) const DATA_LENGTH: Range<usize> = 8..10;

/// Index by lowercase wire form. The hasher is keyed at random: nobody can forge names that collide.
pub(super) type ByName<T> = HashMap<Box<[u8]>, T, RandomState>;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) struct $name(u32);

        impl $name {
            /// The first there is.
            pub(super) const FIRST: Self = Self(0);

            pub(super) fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("fewer than 2^32 items: a master file is smaller"))
            }

            pub(super) fn get(self) -> usize {
                self.0 as usize
            }
        }
    };
}
index!(
    /// A name known to the catalog.
    NameId
);
index!(
    /// A set of records.
    SetId
);
index!(
    /// A node of one zone.
    NodeId
);

/// A name known to the catalog. Equal names have one id whatever zone or record they occur in, so that compression
/// compares ids.
#[derive(Debug)]
pub(super) struct Known {
    /// Uncompressed wire form in the case of its first occurrence.
    pub(super) wire: Range<u32>,
    /// The name without its first label; the root's is the root.
    pub(super) parent: NameId,
    /// The sets of A and AAAA to be found here, in whatever zone they lie.
    pub(super) addresses: [Option<SetId>; 2],
}

/// The root's id.
pub(super) const ROOT: NameId = NameId::FIRST;

/// One record, less its owner: [`FIXED`] octets, what goes before the names in its data, the names, what goes after.
/// Only names that may be compressed (RFC 3597 section 4) are kept as names.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) head: Range<u32>,
    pub(super) names: [Option<NameId>; 2],
    pub(super) tail: Range<u32>,
}

/// A set of records of one owner and type, with its signatures.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) owner: NameId,
    pub(super) rtype: u16,
    pub(super) records: Range<u32>,
    pub(super) signatures: Range<u32>,
    /// The names whose addresses belong in the additional section.
    pub(super) additional: Range<u32>,
    /// The name that a CNAME or DNAME leads to.
    pub(super) target: Option<NameId>,
}

/// An owner name of one zone, or an empty non-terminal.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NameId,
    /// Its sets, in the master file's order.
    pub(super) sets: Range<u32>,
    /// The zone cut at or above it.
    pub(super) cut: Option<NodeId>,
    /// Its child `*`.
    pub(super) wildcard: Option<NodeId>,
    pub(super) cname: Option<SetId>,
    pub(super) dname: Option<SetId>,
    pub(super) proof: Proof,
}

/// A zone.
#[derive(Debug)]
pub(super) struct Zone {
    /// Labels of the apex, and of its deepest node.
    pub(super) depth: usize,
    pub(super) deepest: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) index: ByName<NodeId>,
    pub(super) soa: SetId,
    /// TTL of the SOA in a negative answer (RFC 2308 section 3).
    pub(super) negative_ttl: u32,
    pub(super) denial: Denial,
}

/// How a name relates to a zone's nodes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// The node of this name.
    Exact(NodeId),
    /// There is none: this is its closest encloser (RFC 4592 section 3.3.1), at this depth.
    Below(NodeId, usize),
}

impl Zone {
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.get()]
    }

    /// Looks up a name at or below the apex.
    ///
    /// Every ancestor of a node down from the apex is a node, so that the closest encloser is found by bisection over
    /// the depth: a name of 127 labels costs no more than the zone's own depth allows.
    pub(super) fn find(&self, name: &Name) -> Found {
        let depth = name.depth();
        if depth <= self.deepest
            && let Some(&node) = self.index.get(name.wire())
        {
            return Found::Exact(node);
        }
        let (mut encloser, mut low) = (APEX, self.depth);
        let mut high = self.deepest.min(depth.saturating_sub(1)).max(low);
        while low < high {
            let middle = (low + high).div_ceil(2);
            match self.index.get(name.suffix(middle)) {
                Some(&node) => (encloser, low) = (node, middle),
                None => high = middle - 1,
            }
        }
        Found::Below(encloser, low)
    }
}

/// The apex is each zone's first node.
pub(super) const APEX: NodeId = NodeId::FIRST;

/// All zones served.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) octets: Vec<u8>,
    pub(super) names: Vec<Known>,
    pub(super) records: Vec<Record>,
    pub(super) sets: Vec<Set>,
    pub(super) additional: Vec<NameId>,
    pub(super) zones: Vec<Zone>,
    pub(super) apexes: ByName<usize>,
    /// Bit d set: some zone's apex has d labels.
    pub(super) apex_depths: u128,
}

impl Catalog {
    pub(super) fn set(&self, id: SetId) -> &Set {
        &self.sets[id.get()]
    }

    pub(super) fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.octets[range.start as usize..range.end as usize]
    }

    /// Uncompressed wire form.
    pub(super) fn wire(&self, name: NameId) -> &[u8] {
        self.slice(&self.names[name.get()].wire)
    }

    /// A number that two names share by accident only.
    pub(super) fn fingerprint(&self, name: &Name) -> u64 {
        self.apexes.hasher().hash_one(name.wire())
    }

    /// The deepest zone with at most `depth` labels that `name` lies in.
    pub(super) fn zone_of(&self, name: &Name, depth: usize) -> Option<&Zone> {
        let mut depths = self.apex_depths & (u128::MAX >> (127 - depth.min(name.depth())));
        while depths != 0 {
            let deepest = depths.ilog2();
            depths &= !(1 << deepest);
            if let Some(&zone) = self.apexes.get(name.suffix(deepest as usize)) {
                return Some(&self.zones[zone]);
            }
        }
        None
    }

    /// The node's sets with their ids.
    pub(super) fn sets_of<'a>(&'a self, node: &Node) -> impl Iterator<Item = (SetId, &'a Set)> {
        let range = node.sets.start as usize..node.sets.end as usize;
        self.sets[range.clone()].iter().zip(range).map(|(set, index)| (SetId::new(index), set))
    }

    /// The node's set of this type.
    pub(super) fn find_set(&self, node: &Node, rtype: u16) -> Option<SetId> {
        self.sets_of(node).find_map(|(id, set)| (set.rtype == rtype).then_some(id))
    }
}
