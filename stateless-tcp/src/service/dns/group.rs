//! A zone's records by owner and type, and what must not stand beside or below what: checked once, here.

use super::catalog::{ByName, rtype};
use super::compile::layout;
use super::load::{Place, RawRecord, ZoneError, display};
use super::name::Name;
use std::path::Path;

/// The records of one owner, as the master file orders them.
pub(super) struct Group {
    pub(super) name: Name,
    /// The owner in the file's case.
    pub(super) wire: Vec<u8>,
    pub(super) sets: Vec<Raw>,
}

/// A set of records before it is compiled.
pub(super) struct Raw {
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) rdatas: Vec<Vec<u8>>,
    pub(super) signatures: Vec<Vec<u8>>,
    pub(super) place: Place,
}

/// Owners in order of first occurrence.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) list: Vec<Group>,
    index: ByName<usize>,
}

impl Groups {
    fn group(&mut self, name: &Name, wire: &[u8]) -> &mut Group {
        let next = self.list.len();
        let index = *self.index.entry(name.wire().into()).or_insert(next);
        if index == next {
            self.list.push(Group { name: name.clone(), wire: wire.to_vec(), sets: Vec::new() });
        }
        &mut self.list[index]
    }

    fn get(&self, wire: &[u8]) -> Option<&Group> {
        self.index.get(wire).map(|&index| &self.list[index])
    }
}

impl Group {
    pub(super) fn find(&self, rtype: u16) -> Option<&Raw> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }

    fn add(&mut self, record: RawRecord) {
        match self.sets.iter_mut().find(|set| set.rtype == record.rtype) {
            Some(set) => {
                // Records of one set share a TTL (RFC 2181 section 5.2): the least, where the file disagrees with itself.
                set.ttl = set.ttl.min(record.ttl);
                // A record occurs once in a set (RFC 2181 section 5).
                if !set.rdatas.contains(&record.rdata) {
                    set.rdatas.push(record.rdata);
                }
            }
            None => self.sets.push(Raw {
                rtype: record.rtype,
                ttl: record.ttl,
                rdatas: vec![record.rdata],
                signatures: Vec::new(),
                place: record.place,
            }),
        }
    }
}

/// Whether all that this room reads in a type's data is there: data in the form of RFC 3597 section 5 may be anything.
fn well_formed(rtype: u16, rdata: &[u8]) -> bool {
    let (mut at, names, _) = layout(rtype);
    for _ in 0..names {
        match rdata.get(at..).and_then(Name::read) {
            Some((_, length)) => at += length,
            None => return false,
        }
    }
    let rest = rdata.len().saturating_sub(at);
    match rtype {
        rtype::SOA => rest == 20,
        rtype::RRSIG => rest >= 18,
        rtype::NSEC3 | rtype::NSEC3PARAM => rest >= 5,
        rtype::SVCB | rtype::HTTPS => true,
        _ => names == 0 || rest == 0,
    }
}

/// The SOA's owner.
pub(super) fn find_apex(file: &Path, records: &[RawRecord]) -> Result<Name, ZoneError> {
    let mut soas = records.iter().filter(|record| record.rtype == rtype::SOA);
    let Some(soa) = soas.next() else {
        let what = "no SOA record: a zone begins with one".to_owned();
        return Err(ZoneError::File { file: file.to_path_buf(), what });
    };
    if let Some(second) = soas.next() {
        return Err(second.place.error("a second SOA record: a zone has one"));
    }
    let (apex, _) = Name::read(&soa.owner).ok_or_else(|| soa.place.error("bad owner name"))?;
    Ok(apex)
}

/// The records by owner and set; those of NSEC3 owners, which are no names of the zone (RFC 5155 section 7.2.8), apart.
pub(super) fn sort_out(apex: &Name, records: Vec<RawRecord>) -> Result<(Groups, Groups), ZoneError> {
    let (mut groups, mut hashed) = (Groups::default(), Groups::default());
    let mut signatures = Vec::new();
    for record in records {
        let (name, _) = Name::read(&record.owner).ok_or_else(|| record.place.error("bad owner name"))?;
        if name.depth() < apex.depth() || name.suffix(apex.depth()) != apex.wire() {
            return Err(record.place.error(format!("{name} lies outside the zone {apex}")));
        }
        if !well_formed(record.rtype, &record.rdata) {
            return Err(record.place.error("the data does not have the form of its type"));
        }
        match record.rtype {
            rtype::RRSIG => signatures.push((name, record)),
            rtype::NSEC3 => hashed.group(&name, &record.owner).add(record),
            _ => {
                let group = groups.group(&name, &record.owner);
                group.add(record);
            }
        }
    }
    for (name, record) in signatures {
        let covered = u16::from_be_bytes([record.rdata[0], record.rdata[1]]);
        let from = if covered == rtype::NSEC3 { &mut hashed } else { &mut groups };
        let set = from.group(&name, &record.owner).sets.iter_mut().find(|set| set.rtype == covered);
        let Some(set) = set else {
            return Err(record
                .place
                .error(format!("RRSIG of a set that {name} does not have (type {covered})")));
        };
        set.signatures.push(record.rdata);
    }
    Ok((groups, hashed))
}

/// What must not stand beside or below what (RFC 1034 section 3.6.2, RFC 6672 sections 2.3 and 2.4).
pub(super) fn check(apex: &Name, groups: &Groups) -> Result<(), ZoneError> {
    for group in &groups.list {
        let name = &group.name;
        for set in &group.sets {
            let problem = match set.rtype {
                rtype::CNAME | rtype::DNAME if set.rdatas.len() > 1 => Some("more than one at a name"),
                rtype::CNAME => group
                    .sets
                    .iter()
                    .any(|other| !matches!(other.rtype, rtype::CNAME | rtype::NSEC))
                    .then_some("CNAME and other data at one name"),
                rtype::DNAME if name.depth() > apex.depth() && group.find(rtype::NS).is_some() => {
                    Some("DNAME at a zone cut")
                }
                rtype::DNAME if name.wire().starts_with(b"\x01*") => Some("DNAME at a wildcard"),
                _ => None,
            };
            if let Some(problem) = problem {
                return Err(set.place.error(format!("{name}: {problem}")));
            }
        }
        let above = (apex.depth()..name.depth()).map(|depth| name.suffix(depth));
        let dname =
            above.filter_map(|wire| groups.get(wire)).find(|above| above.find(rtype::DNAME).is_some());
        if let (Some(above), Some(set)) = (dname, group.sets.first()) {
            let what = format!("{name} lies below the DNAME at {}, which hides it", display(&above.wire));
            return Err(set.place.error(what));
        }
    }
    Ok(())
}

pub(super) fn add_empty_non_terminals(apex: &Name, groups: &mut Groups) {
    for index in 0..groups.list.len() {
        let (name, wire) = (groups.list[index].name.clone(), groups.list[index].wire.clone());
        for depth in (apex.depth() + 1)..name.depth() {
            let start = name.suffix_start(depth);
            if let Some((ancestor, _)) = Name::read(&wire[start..]) {
                groups.group(&ancestor, &wire[start..]);
            }
        }
    }
}
