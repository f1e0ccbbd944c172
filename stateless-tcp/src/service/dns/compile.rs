//! From records to a [`Catalog`].

use super::catalog::{ByName, Catalog, Known, NameId, Node, NodeId, ROOT, Record, Set, SetId, Zone, rtype};
use super::denial::{Denial, Proof};
use super::group::{Group, Groups, Raw, add_empty_non_terminals, check, find_apex, sort_out};
use super::load::{RawRecord, ZoneError};
use super::name::Name;
use super::prove;
use std::ops::Range;
use std::path::Path;

/// Builds a [`Catalog`] zone by zone.
pub(super) struct Compiler {
    pub(super) catalog: Catalog,
    known: ByName<NameId>,
}

impl Compiler {
    pub(super) fn new() -> Self {
        let root = Known { wire: 0..1, parent: ROOT, addresses: [None; 2] };
        let catalog = Catalog {
            octets: vec![0],
            names: vec![root],
            records: Vec::new(),
            sets: Vec::new(),
            additional: Vec::new(),
            zones: Vec::new(),
            apexes: ByName::default(),
            apex_depths: 0,
        };
        let known = std::iter::once((Box::from([0]), ROOT)).collect();
        Self { catalog, known }
    }

    /// Compiles the zone that `records`, all of `file` and what it includes, make up.
    pub(super) fn add_zone(&mut self, file: &Path, records: Vec<RawRecord>) -> Result<(), ZoneError> {
        let apex = find_apex(file, &records)?;
        if self.catalog.apexes.contains_key(apex.wire()) {
            let what = format!("zone {apex} is loaded already: give each zone once");
            return Err(ZoneError::File { file: file.to_path_buf(), what });
        }
        let (mut groups, hashed) = sort_out(&apex, records)?;
        check(&apex, &groups)?;
        add_empty_non_terminals(&apex, &mut groups);

        let mut nodes = Vec::with_capacity(groups.list.len());
        let mut index = ByName::default();
        // Ancestors first, so that what a node inherits is there.
        let mut order: Vec<&Group> = groups.list.iter().collect();
        order.sort_by_key(|group| group.name.depth());
        for group in &order {
            let id = NodeId::new(nodes.len());
            let parent = (group.name.depth() > apex.depth())
                .then(|| index.get(group.name.suffix(group.name.depth() - 1)).copied())
                .flatten();
            if let Some(parent) = parent
                && group.name.wire().starts_with(b"\x01*")
            {
                let parent: &mut Node = &mut nodes[NodeId::get(parent)];
                parent.wildcard = Some(id);
            }
            let inherited = parent.and_then(|parent: NodeId| nodes[parent.get()].cut);
            let is_cut = parent.is_some() && group.find(rtype::NS).is_some();
            let mut node = self.node(group);
            node.cut = inherited.or(is_cut.then_some(id));
            nodes.push(node);
            index.insert(group.name.wire().into(), id);
        }

        let soa = self.catalog.find_set(&nodes[0], rtype::SOA);
        let Some(soa) = soa else { unreachable!("find_apex saw it") };
        let negative_ttl = order[0].find(rtype::SOA).map_or(0, negative_ttl);
        let deepest = order.last().map_or(0, |group| group.name.depth());
        let denial = self.denial(&order, &nodes, &hashed)?;
        let mut zone = Zone { depth: apex.depth(), deepest, nodes, index, soa, negative_ttl, denial };
        prove::prepare(&mut zone, &order);
        self.catalog.apexes.insert(apex.wire().into(), self.catalog.zones.len());
        self.catalog.apex_depths |= 1 << apex.depth();
        self.catalog.zones.push(zone);
        Ok(())
    }

    /// The catalog, once every zone is in: only now it is known which zone has which address.
    pub(super) fn finish(mut self) -> Catalog {
        for index in 0..self.catalog.names.len() {
            let Some((name, _)) = Name::read(self.catalog.wire(NameId::new(index))) else { continue };
            self.catalog.names[index].addresses = self.addresses(&name);
        }
        self.catalog
    }

    fn addresses(&self, name: &Name) -> [Option<SetId>; 2] {
        let catalog = &self.catalog;
        let mut depth = name.depth();
        while let Some(zone) = catalog.zone_of(name, depth) {
            if let Some(&node) = zone.index.get(name.wire()) {
                return [rtype::A, rtype::AAAA].map(|rtype| catalog.find_set(zone.node(node), rtype));
            }
            let Some(above) = zone.depth.checked_sub(1) else { break };
            depth = above;
        }
        [None; 2]
    }

    fn node(&mut self, group: &Group) -> Node {
        let name = self.intern(&group.wire);
        let first = self.catalog.sets.len();
        for set in &group.sets {
            self.set(name, set);
        }
        let sets = range(first, self.catalog.sets.len());
        let node =
            Node { name, sets, cut: None, wildcard: None, cname: None, dname: None, proof: Proof::default() };
        let [cname, dname] = [rtype::CNAME, rtype::DNAME].map(|rtype| self.catalog.find_set(&node, rtype));
        Node { cname, dname, ..node }
    }

    fn set(&mut self, owner: NameId, raw: &Raw) -> SetId {
        let additional_from = self.catalog.additional.len();
        let mut target = None;
        let first = self.catalog.records.len();
        for rdata in &raw.rdatas {
            target = self.record(raw.rtype, raw.ttl, rdata, additional_from).or(target);
        }
        let signed = self.catalog.records.len();
        for rdata in &raw.signatures {
            self.record(rtype::RRSIG, raw.ttl, rdata, additional_from);
        }
        let id = SetId::new(self.catalog.sets.len());
        self.catalog.sets.push(Set {
            owner,
            rtype: raw.rtype,
            records: range(first, signed),
            signatures: range(signed, self.catalog.records.len()),
            additional: range(additional_from, self.catalog.additional.len()),
            target,
        });
        id
    }

    /// Compiles one record; the name that it leads to goes to the additional names where addresses belong with it.
    fn record(&mut self, rtype: u16, ttl: u32, rdata: &[u8], additional_from: usize) -> Option<NameId> {
        let (skipped, count, compressed) = layout(rtype);
        let mut names = [None; 2];
        let mut end = skipped;
        for name in names.iter_mut().take(count) {
            let length = Name::read(&rdata[end..]).map_or(0, |(_, length)| length);
            *name = Some(self.intern(&rdata[end..end + length]));
            end += length;
        }
        let target = names[0];
        if let (rtype::NS | rtype::MX | rtype::SRV | rtype::SVCB | rtype::HTTPS, Some(target)) =
            (rtype, target)
            && !self.catalog.additional[additional_from..].contains(&target)
        {
            self.catalog.additional.push(target);
        }
        let (head, tail) = if compressed { (&rdata[..skipped], &rdata[end..]) } else { (rdata, &[][..]) };
        let octets = &mut self.catalog.octets;
        let start = octets.len();
        octets.extend_from_slice(&rtype.to_be_bytes());
        octets.extend_from_slice(&1_u16.to_be_bytes());
        octets.extend_from_slice(&ttl.to_be_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "checked when it was read")]
        octets.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        octets.extend_from_slice(head);
        let middle = octets.len();
        octets.extend_from_slice(tail);
        let end = octets.len();
        let names = if compressed { names } else { [None; 2] };
        self.catalog.records.push(Record { head: range(start, middle), names, tail: range(middle, end) });
        target
    }

    /// The name's id, given with all its ancestors'.
    fn intern(&mut self, wire: &[u8]) -> NameId {
        let mut lowercase = wire.to_vec();
        lowercase.make_ascii_lowercase();
        if let Some(&id) = self.known.get(&*lowercase) {
            return id;
        }
        let start = self.catalog.octets.len();
        self.catalog.octets.extend_from_slice(wire);
        let end = start + wire.len();
        let mut unknown = Vec::new();
        let mut at = 0;
        let mut parent = ROOT;
        while wire[at] != 0 {
            if let Some(&id) = self.known.get(&lowercase[at..]) {
                parent = id;
                break;
            }
            unknown.push(at);
            at += 1 + usize::from(wire[at]);
        }
        for at in unknown.into_iter().rev() {
            let id = NameId::new(self.catalog.names.len());
            self.catalog.names.push(Known { wire: range(start + at, end), parent, addresses: [None; 2] });
            self.known.insert(lowercase[at..].into(), id);
            parent = id;
        }
        parent
    }

    fn denial(&mut self, order: &[&Group], nodes: &[Node], hashed: &Groups) -> Result<Denial, ZoneError> {
        if let Some(parameters) = order[0].find(rtype::NSEC3PARAM) {
            let apex = &order[0].name;
            let mut sets = Vec::new();
            for group in &hashed.list {
                let owner = self.intern(&group.wire);
                for set in &group.sets {
                    sets.push((group, self.set(owner, set), &set.rdatas[0], &set.place));
                }
            }
            return prove::nsec3(apex, &parameters.rdatas[0], &parameters.place, &sets);
        }
        if let Some(set) = hashed.list.first().and_then(|group| group.sets.first()) {
            return Err(set.place.error("NSEC3, but the apex has no NSEC3PARAM to say how names are hashed"));
        }
        Ok(prove::nsec(order.iter().zip(nodes).filter_map(|(group, node)| {
            self.catalog.find_set(node, rtype::NSEC).map(|set| (&group.name, set))
        })))
    }
}

/// Where the names in a type's data lie: octets before them, how many there are, whether they may be compressed.
pub(super) fn layout(rtype: u16) -> (usize, usize, bool) {
    match rtype {
        rtype::NS | rtype::MD | rtype::MF | rtype::CNAME | rtype::MB | rtype::MG | rtype::MR | rtype::PTR => {
            (0, 1, true)
        }
        rtype::SOA | rtype::MINFO => (0, 2, true),
        rtype::MX => (2, 1, true),
        // RFC 2782, and RFC 6672 section 2.5: their target is not compressed.
        rtype::SRV => (6, 1, false),
        rtype::DNAME => (0, 1, false),
        // RFC 9460 section 2.2.
        rtype::SVCB | rtype::HTTPS => (2, 1, false),
        _ => (0, 0, false),
    }
}

/// RFC 2308 section 3: the lesser of the SOA's own TTL and its last field.
fn negative_ttl(soa: &Raw) -> u32 {
    let minimum = soa.rdatas[0].last_chunk().map_or(0, |octets| u32::from_be_bytes(*octets));
    minimum.min(soa.ttl)
}

fn range(start: usize, end: usize) -> Range<u32> {
    let narrow = |at| u32::try_from(at).expect("zones of less than 4 GiB in all");
    narrow(start)..narrow(end)
}
