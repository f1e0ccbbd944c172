//! The names of one zone, owners and targets, as a tree of labels: each name is its first label and its parent.
//!
//! A name costs 16 bytes, its first label and an index entry; shared suffixes are stored once. The names of a zone take
//! about as much memory as their text. Each ancestor of a name, which compression and proofs need, is one step away.

use super::super::name::{DomainName, MAX_NAME};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// Randomly keyed, so nobody can forge names that collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The hash of a name in lowercase wire form, the same in all zones of a process.
pub(in super::super) fn hash(wire: &[u8]) -> u64 {
    HASHER.hash_one(wire)
}

/// A name of one zone's [`NameTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct NameId(pub(in super::super) u32);

impl NameId {
    /// The root's.
    pub(in super::super) const ROOT: Self = Self(0);

    pub(in super::super) const fn get(self) -> usize {
        self.0 as usize
    }
}

/// Properties of a name in its zone.
pub(super) mod flag {
    /// An owner, or an empty non-terminal: a node of the zone's tree (RFC 4592 section 2.2).
    pub(in super::super) const NODE: u8 = 1;
    /// Its NS set delegates it.
    pub(in super::super) const CUT: u8 = 2;
    pub(in super::super) const CNAME: u8 = 4;
    pub(in super::super) const DNAME: u8 = 8;
    /// `*` is a node below it.
    pub(in super::super) const WILDCARD: u8 = 16;
    /// All names between this one and the apex are marked as nodes.
    pub(in super::super) const LINKED: u8 = 32;
}

#[derive(Clone, Copy, Debug)]
struct NameEntry {
    parent: NameId,
    /// The offset of its first label.
    label: u32,
    /// The first of its RRsets, and their number.
    first_set: u32,
    sets: u16,
    flags: u8,
    depth: u8,
}

/// A zone has more names, or more text in names, than 32 bits count.
#[derive(Debug)]
pub(super) struct TooManyNames;

/// The names of one zone.
#[derive(Debug)]
pub(in super::super) struct NameTree {
    entries: Vec<NameEntry>,
    /// Labels, each behind its length, in the case of their first occurrence.
    labels: Vec<u8>,
    index: HashTable<NameId>,
    /// By name, while the index grows.
    hashes: Vec<u32>,
}

impl NameTree {
    pub(super) fn new() -> Self {
        let root = NameEntry { parent: NameId::ROOT, label: 0, first_set: 0, sets: 0, flags: 0, depth: 0 };
        let mut names =
            Self { entries: vec![root], labels: vec![0], index: HashTable::new(), hashes: Vec::new() };
        let hash = fold(hash(&[0]));
        names.hashes.push(hash);
        names.index.insert_unique(spread(hash), NameId::ROOT, |_| spread(hash));
        names
    }

    /// The id of the name in wire form, in any case; a new name is added with its ancestors.
    pub(super) fn intern(&mut self, wire: &[u8]) -> Result<NameId, TooManyNames> {
        let mut lowercase = [0; MAX_NAME];
        let lowercase = &mut lowercase[..wire.len()];
        lowercase.copy_from_slice(wire);
        lowercase.make_ascii_lowercase();
        // Up from the whole name to its closest known ancestor, then down again.
        let mut unknown = [(0_u8, 0_u32); MAX_NAME / 2];
        let mut count = 0;
        let mut at = 0;
        let mut parent = loop {
            let hash = fold(hash(&lowercase[at..]));
            if let Some(id) = self.find_wire(hash, &lowercase[at..]) {
                break id;
            }
            #[expect(clippy::cast_possible_truncation, reason = "a name has at most 255 bytes")]
            let start = at as u8;
            unknown[count] = (start, hash);
            count += 1;
            at += 1 + usize::from(lowercase[at]);
        };
        for &(start, hash) in unknown[..count].iter().rev() {
            let label = &wire[usize::from(start)..][..=usize::from(wire[usize::from(start)])];
            parent = self.add(parent, label, hash)?;
        }
        Ok(parent)
    }

    fn add(&mut self, parent: NameId, label: &[u8], hash: u32) -> Result<NameId, TooManyNames> {
        let id = NameId(u32::try_from(self.entries.len()).map_err(|_| TooManyNames)?);
        let at = u32::try_from(self.labels.len()).map_err(|_| TooManyNames)?;
        self.labels.extend_from_slice(label);
        let depth = self.entries[parent.get()].depth + 1;
        self.entries.push(NameEntry { parent, label: at, first_set: 0, sets: 0, flags: 0, depth });
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.index.insert_unique(spread(hash), id, |id| spread(hashes[id.get()]));
        Ok(id)
    }

    fn find_wire(&self, hash: u32, lowercase: &[u8]) -> Option<NameId> {
        self.index.find(spread(hash), |&id| self.is(id, lowercase)).copied()
    }

    /// Whether the name is `lowercase`, in wire form.
    fn is(&self, id: NameId, lowercase: &[u8]) -> bool {
        let (mut id, mut rest) = (id, lowercase);
        loop {
            let entry = &self.entries[id.get()];
            let Some(others) = without(rest, self.label_at(entry.label)) else { return false };
            if id == NameId::ROOT {
                return others.is_empty();
            }
            (id, rest) = (entry.parent, others);
        }
    }

    /// The id of `name`'s suffix of this many labels, if it occurs.
    pub(in super::super) fn find(&self, name: &DomainName, depth: usize) -> Option<NameId> {
        let wire = name.suffix(depth);
        self.find_wire(fold(hash(wire)), wire)
    }

    /// The same for a name at or below `apex`: the labels above it need no comparison.
    pub(in super::super) fn find_below(
        &self,
        name: &DomainName,
        depth: usize,
        apex: NameId,
    ) -> Option<NameId> {
        let wire = name.suffix(depth);
        let is = |&id: &NameId| {
            let (mut id, mut rest) = (id, wire);
            if usize::from(self.entries[id.get()].depth) != depth {
                return false;
            }
            while id != apex && id != NameId::ROOT {
                let entry = &self.entries[id.get()];
                let Some(others) = without(rest, self.label_at(entry.label)) else { return false };
                (id, rest) = (entry.parent, others);
            }
            id == apex
        };
        self.index.find(spread(fold(hash(wire))), is).copied()
    }

    fn label_at(&self, at: u32) -> &[u8] {
        let at = at as usize;
        &self.labels[at..][..=usize::from(self.labels[at])]
    }

    /// The name's first label behind its length; for the root the length alone.
    pub(in super::super) fn label(&self, id: NameId) -> &[u8] {
        self.label_at(self.entries[id.get()].label)
    }

    /// The name without its first label; for the root the root.
    pub(in super::super) fn parent(&self, id: NameId) -> NameId {
        self.entries[id.get()].parent
    }

    /// Its number of labels.
    pub(in super::super) fn depth(&self, id: NameId) -> usize {
        self.entries[id.get()].depth.into()
    }

    pub(super) fn has(&self, id: NameId, flag: u8) -> bool {
        self.entries[id.get()].flags & flag != 0
    }

    pub(super) fn mark(&mut self, id: NameId, flag: u8) {
        self.entries[id.get()].flags |= flag;
    }

    /// The first of its RRsets, and their number.
    pub(super) fn sets(&self, id: NameId) -> (u32, u16) {
        let entry = &self.entries[id.get()];
        (entry.first_set, entry.sets)
    }

    pub(super) fn set_rrsets(&mut self, id: NameId, first: u32, count: u16) {
        let entry = &mut self.entries[id.get()];
        (entry.first_set, entry.sets) = (first, count);
    }

    /// Whether the name is `ancestor`, or lies below it.
    pub(super) fn is_within(&self, id: NameId, ancestor: NameId) -> bool {
        let depth = self.depth(ancestor);
        let mut id = id;
        while self.depth(id) > depth {
            id = self.parent(id);
        }
        id == ancestor
    }

    /// The name, lowercased.
    pub(in super::super) fn name(&self, id: NameId) -> DomainName {
        let (mut wire, mut length, mut id) = ([0; MAX_NAME], 0, id);
        while id != NameId::ROOT {
            let label = self.label(id);
            wire[length..][..label.len()].copy_from_slice(label);
            length += label.len();
            id = self.parent(id);
        }
        DomainName::read(&wire[..=length]).map_or_else(DomainName::root, |(name, _)| name)
    }

    /// All ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = NameId> + use<> {
        (0..self.entries.len()).map(|index| {
            #[expect(clippy::cast_possible_truncation, reason = "Names::add counts them")]
            let index = index as u32;
            NameId(index)
        })
    }

    pub(in super::super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Frees the memory that only growing needs.
    pub(super) fn finish(&mut self) {
        let hashes = std::mem::take(&mut self.hashes);
        self.entries.shrink_to_fit();
        self.labels.shrink_to_fit();
        self.index.shrink_to_fit(|id| spread(hashes[id.get()]));
    }

    /// Bytes of memory that the names take.
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<NameEntry>()
            + self.labels.capacity()
            + self.index.allocation_size()
    }
}

/// Strips `label`, in any case, from the front of a lowercase wire form.
#[inline]
fn without<'a>(lowercase: &'a [u8], label: &[u8]) -> Option<&'a [u8]> {
    let (first, others) = lowercase.split_at_checked(label.len())?;
    // The label is mostly lowercase. Length bytes are below 64, hence no letters.
    (first == label || first.eq_ignore_ascii_case(label)).then_some(others)
}

/// Half of a hash, which is kept while the index grows.
#[expect(clippy::cast_possible_truncation, reason = "half of the bits")]
fn fold(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

/// Spreads a folded hash: the table takes the slot from the low bits and a tag from the high bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        let labels = text.split('.').filter(|label| !label.is_empty());
        let labels = labels.map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
        [labels.collect::<Vec<_>>().concat(), vec![0]].concat()
    }

    fn name(text: &str) -> DomainName {
        DomainName::read(&wire(text)).unwrap().0
    }

    #[test]
    fn a_name_and_its_ancestors_are_found_in_any_case() {
        let mut names = NameTree::new();
        let www = names.intern(&wire("WWW.Example.com")).unwrap();
        let mail = names.intern(&wire("mail.example.COM")).unwrap();
        assert_eq!(names.intern(&wire("www.example.com")).unwrap(), www);
        assert_eq!(names.len(), 5, "the root, com, example.com, and the two");
        names.finish();
        let asked = name("www.EXAMPLE.com");
        assert_eq!(names.find(&asked, 3), Some(www));
        assert_eq!(names.find(&asked, 2), Some(names.parent(mail)));
        assert_eq!(names.find(&asked, 0), Some(NameId::ROOT));
        assert_eq!(names.find(&name("ww.example.com"), 3), None);
        assert_eq!(names.label(names.parent(mail)), b"\x07Example", "as it occurred first");
        assert_eq!(names.name(www).wire(), wire("www.example.com"));
        assert!(names.is_within(www, names.parent(mail)) && !names.is_within(www, mail));
    }

    #[test]
    fn names_at_the_limits_are_interned() {
        let mut names = NameTree::new();
        let deep = [&[1, b'x'].repeat(127)[..], &[0]].concat();
        let id = names.intern(&deep).unwrap();
        assert_eq!(names.depth(id), 127);
        assert_eq!(names.name(id).wire(), deep);
        assert_eq!(names.intern(&[0]).unwrap(), NameId::ROOT);
    }

    #[test]
    fn thousands_of_names_keep_apart() {
        let mut names = NameTree::new();
        let ids: Vec<NameId> =
            (0..20_000).map(|number| names.intern(&wire(&format!("h{number}.example"))).unwrap()).collect();
        names.finish();
        for (number, &id) in ids.iter().enumerate() {
            assert_eq!(names.find(&name(&format!("H{number}.example")), 2), Some(id));
        }
    }
}
