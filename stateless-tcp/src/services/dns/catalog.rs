//! All zones served: which one a name belongs to, and what one zone says of names that occur in another.
//!
//! Zones are numbered, and so are the names of all of them: a number tells a name from all others while an answer is put
//! together.

use super::name::DomainName;
use super::rtype;
use super::zone::{NameId, NodeMatch, RecordData, RrsetId, Zone, hash};
use hashbrown::HashTable;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A zone, or what is left of one.
#[derive(Clone, Debug)]
pub(super) enum CatalogZone {
    /// Its content.
    Zone(Arc<Zone>),
    /// It could not be loaded, and there is nothing older: SERVFAIL.
    Broken,
}

/// An apex, and what is served there.
#[derive(Debug)]
struct CatalogEntry {
    apex: Box<[u8]>,
    served: CatalogZone,
    /// Where the numbers of its names begin.
    names: u32,
    /// Another zone lies below it.
    has_child: bool,
}

/// All zones served.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    zones: Vec<CatalogEntry>,
    /// Indices by apex.
    index: HashTable<u32>,
    /// Bit d set: some zone's apex has d labels.
    depths: u128,
}

/// One zone of a catalog.
#[derive(Clone, Copy)]
pub(super) struct ZoneView<'a> {
    pub(super) zone: &'a Zone,
    index: u32,
    names: u32,
}

impl ZoneView<'_> {
    /// The name's number, which no other name of any zone has.
    pub(super) fn number(self, name: NameId) -> u32 {
        self.names + name.0
    }

    pub(super) const fn index(self) -> u32 {
        self.index
    }
}

/// A set of records, wherever it is.
#[derive(Clone, Copy)]
pub(super) struct RrsetRef<'a> {
    pub(super) view: ZoneView<'a>,
    pub(super) owner: NameId,
    pub(super) id: RrsetId,
}

/// What is served for a name.
pub(super) enum Authority<'a> {
    Zone(ZoneView<'a>),
    /// Its zone, whose apex has so many labels, could not be loaded.
    Broken(usize),
    None,
}

impl Catalog {
    /// Puts zones together. `None` where their names and records are more than 32 bits can count.
    pub(super) fn new(zones: impl IntoIterator<Item = (DomainName, CatalogZone)>) -> Option<Self> {
        let mut catalog = Self::default();
        let mut names = 0_u32;
        for (apex, served) in zones {
            let more = match &served {
                CatalogZone::Zone(zone) => zone.names.len(),
                CatalogZone::Broken => 0,
            };
            let index = u32::try_from(catalog.zones.len()).ok()?;
            catalog.zones.push(CatalogEntry { apex: apex.wire().into(), served, names, has_child: false });
            names = names.checked_add(u32::try_from(more).ok()?)?;
            let zones = &catalog.zones;
            catalog.index.insert_unique(hash(apex.wire()), index, |&index| hash(&zones[index as usize].apex));
            catalog.depths |= 1 << apex.depth();
        }
        for index in 0..catalog.zones.len() {
            let Some((apex, _)) = DomainName::read(&catalog.zones[index].apex) else { continue };
            let above = apex.depth().checked_sub(1).and_then(|depth| catalog.position(&apex, depth));
            if let Some(parent) = above {
                catalog.zones[parent as usize].has_child = true;
            }
        }
        Some(catalog)
    }

    /// The deepest zone with at most `depth` labels that `name` lies in.
    fn position(&self, name: &DomainName, depth: usize) -> Option<u32> {
        let mut depths = self.depths & (u128::MAX >> (127 - depth.min(name.depth())));
        while depths != 0 {
            let deepest = depths.ilog2();
            depths &= !(1 << deepest);
            let wire = name.suffix(deepest as usize);
            if let Some(&index) =
                self.index.find(hash(wire), |&index| *self.zones[index as usize].apex == *wire)
            {
                return Some(index);
            }
        }
        None
    }

    fn view(&self, index: u32) -> Option<ZoneView<'_>> {
        let CatalogEntry { served, names, .. } = &self.zones[index as usize];
        match served {
            CatalogZone::Zone(zone) => Some(ZoneView { zone, index, names: *names }),
            CatalogZone::Broken => None,
        }
    }

    /// What is served for the name by the deepest zone with at most `depth` labels.
    pub(super) fn authority(&self, name: &DomainName, depth: usize) -> Authority<'_> {
        let Some(index) = self.position(name, depth) else { return Authority::None };
        self.view(index).map_or_else(
            || {
                Authority::Broken(
                    DomainName::read(&self.zones[index as usize].apex).map_or(0, |(apex, _)| apex.depth()),
                )
            },
            Authority::Zone,
        )
    }

    /// A zone by its index.
    pub(super) fn by_index(&self, index: u32) -> Option<ZoneView<'_>> {
        self.view(index)
    }

    /// The sets of A and AAAA that a name of one zone's data has, in whatever zone they lie.
    pub(super) fn addresses<'a>(&'a self, view: ZoneView<'a>, name: NameId) -> [Option<RrsetRef<'a>>; 2] {
        let zone = view.zone;
        if !self.zones[view.index as usize].has_child && zone.is_node(name) {
            return addresses_of(view, name);
        }
        if self.zones.len() == 1 {
            return [None; 2];
        }
        self.addresses_of_name(&zone.names.name(name))
    }

    /// The same of any name.
    pub(super) fn addresses_of_name(&self, name: &DomainName) -> [Option<RrsetRef<'_>>; 2] {
        let mut depth = name.depth();
        while let Some(index) = self.position(name, depth) {
            if let Some(view) = self.view(index)
                && let NodeMatch::Exact(node) = view.zone.find(name)
            {
                return addresses_of(view, node);
            }
            let Some((apex, _)) = DomainName::read(&self.zones[index as usize].apex) else { break };
            let Some(above) = apex.depth().checked_sub(1) else { break };
            depth = above;
        }
        [None; 2]
    }

    /// Hands `each` the addresses of every name that they belong to where this set is in an answer, until it fails or has
    /// enough.
    pub(super) fn additional<'a, E>(
        &'a self,
        view: ZoneView<'a>,
        set: RrsetId,
        mut each: impl FnMut([Option<RrsetRef<'a>>; 2]) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let zone = view.zone;
        let Some(skipped) = target_of(zone.rrset(set).rtype) else { return Ok(ControlFlow::Continue(())) };
        for data in zone.records(zone.rrset(set)) {
            match data {
                RecordData::Names(_, targets, _) => {
                    for target in targets.iter() {
                        if each(self.addresses(view, target))?.is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                RecordData::Plain(data) => {
                    // The root stands for the owner, or for nothing (RFC 9460 section 2.5): its addresses are not meant.
                    if let Some((name, _)) = data.get(skipped..).and_then(DomainName::read)
                        && name.depth() > 0
                        && each(self.addresses_of_name(&name))?.is_break()
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Bytes before the name in a type's data whose addresses belong into the additional section (RFC 1035 section 3.3, RFC
/// 2782, RFC 9460 section 4.1).
const fn target_of(rtype: u16) -> Option<usize> {
    match rtype {
        rtype::NS => Some(0),
        rtype::MX | rtype::SVCB | rtype::HTTPS => Some(2),
        rtype::SRV => Some(6),
        _ => None,
    }
}

fn addresses_of(view: ZoneView<'_>, owner: NameId) -> [Option<RrsetRef<'_>>; 2] {
    [rtype::A, rtype::AAAA]
        .map(|rtype| view.zone.find_rrset(owner, rtype).map(|id| RrsetRef { view, owner, id }))
}
