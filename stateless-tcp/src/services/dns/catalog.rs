//! All zones served: the zone of a name, and the addresses of names across zones.
//!
//! Zones and their names are numbered: a number identifies a name among all zones while a response is built.

use super::name::DomainName;
use super::rtype;
use super::zone::{NameId, NodeMatch, RecordData, RrsetId, Zone, hash};
use hashbrown::HashTable;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A zone of the catalog.
#[derive(Clone, Debug)]
pub(super) enum CatalogZone {
    /// Loaded.
    Zone(Arc<Zone>),
    /// Not loaded, and without previous content: SERVFAIL.
    Broken,
}

/// An apex and its zone.
#[derive(Debug)]
struct CatalogEntry {
    apex: Box<[u8]>,
    served: CatalogZone,
    /// The number of its first name.
    names: u32,
    /// Another zone lies below this one.
    has_child: bool,
}

/// All zones served.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    zones: Vec<CatalogEntry>,
    /// Indices by apex.
    index: HashTable<u32>,
    /// Bit d is set if some zone's apex has d labels.
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
    /// The name's number, unique among all zones.
    pub(super) fn number(self, name: NameId) -> u32 {
        self.names + name.0
    }

    pub(super) const fn index(self) -> u32 {
        self.index
    }
}

/// A reference to an RRset of any zone.
#[derive(Clone, Copy)]
pub(super) struct RrsetRef<'a> {
    pub(super) view: ZoneView<'a>,
    pub(super) owner: NameId,
    pub(super) id: RrsetId,
}

/// The authority for a name.
pub(super) enum Authority<'a> {
    Zone(ZoneView<'a>),
    /// The zone, whose apex has this many labels, could not be loaded.
    Broken(usize),
    None,
}

impl Catalog {
    /// Combines zones. `None` if they have more names than 32 bits can count.
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

    /// The deepest zone of `name` whose apex has at most `depth` labels.
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

    /// The deepest authority for the name whose apex has at most `depth` labels.
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

    /// The A and AAAA RRsets of a name in a zone's data, from the zone that holds them.
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

    /// The A and AAAA RRsets of any name.
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

    /// Calls `each` with the addresses of every name in this RRset that needs them (RFC 1034 section 3.7), until it
    /// fails or has enough.
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
                    // The root stands for the owner or for nothing (RFC 9460 section 2.5), so its addresses are not
                    // added.
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

/// Offset of the name in a type's data whose addresses belong in the additional section (RFC 1035 section 3.3, RFC
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
