//! Builds a [`Zone`] from records.

use super::super::name::DomainName;
use super::super::wire::{FIXED, HEADER};
use super::super::zonefile::{Position, RecordRejected, ZoneRecord};
use super::super::{rdata, rtype};
use super::check::{self, OwnerRrsets};
use super::name_tree::{NameId, NameTree, TooManyNames, flag};
use super::{Rrset, RrsetId, Zone, compile_denial, denial::Denial, problem::Problem};
use crate::fingerprint::{Fingerprint, Fingerprinter};
use std::collections::HashSet;

/// RRsets of more records are searched for duplicates with a hash table.
const FEW: usize = 8;

/// Bytes of a compression pointer.
const POINTER: usize = 2;

/// Limit on the record types at one name. They are searched one by one, and no name needs a tenth of this.
const MAX_TYPES: u16 = 256;

const TOO_LARGE: &str = "the zone is larger than 4 GiB, which this server cannot hold";
const TOO_LONG: &str = "record data of more than 65,535 bytes";

/// A record of the zone file.
#[derive(Clone, Copy)]
struct RawRecord {
    owner: NameId,
    rtype: u16,
    /// The type of its RRset: for RRSIG the covered type.
    set: u16,
    ttl: u32,
    /// Offset of its data in [`ZoneBuilder::data`], behind its length.
    data: u32,
    place: Position,
}

impl RawRecord {
    fn is_signature(&self) -> bool {
        self.rtype == rtype::RRSIG
    }

    /// The sort key: owner, RRset, records before signatures.
    fn key(&self) -> (NameId, u16, bool) {
        (self.owner, self.set, self.is_signature())
    }
}

/// Collects a zone's records in the order of its file.
pub(in super::super) struct ZoneBuilder {
    names: NameTree,
    records: Vec<RawRecord>,
    data: Vec<u8>,
    content: Fingerprinter,
    /// The last owner, which the next record usually shares.
    last: (Vec<u8>, NameId),
}

/// A built zone, and the warnings about it.
pub(in super::super) struct BuiltZone {
    pub(in super::super) zone: Zone,
    pub(in super::super) fingerprint: Fingerprint,
    /// Records left out of the zone or impossible to serve, with their positions.
    pub(in super::super) warnings: Vec<Problem>,
}

/// A zone under construction.
struct ZoneAssembly<'a> {
    names: NameTree,
    raw: &'a [u8],
    sets: Vec<Rrset>,
    data: Vec<u8>,
    warnings: Vec<Problem>,
}

impl ZoneBuilder {
    pub(in super::super) fn new() -> Self {
        Self {
            names: NameTree::new(),
            records: Vec::new(),
            data: Vec::new(),
            content: Fingerprinter::default(),
            last: (vec![0], NameId::ROOT),
        }
    }

    /// Adds a record whose data is well formed.
    pub(in super::super) fn add(&mut self, record: &ZoneRecord<'_>) -> Result<(), RecordRejected> {
        let &ZoneRecord { owner, rtype, ttl, rdata, place } = record;
        let too_large = || RecordRejected(TOO_LARGE.to_owned());
        if self.last.0 != owner {
            self.last.1 = self.names.intern(owner).map_err(|TooManyNames| too_large())?;
            self.last.0.clear();
            self.last.0.extend_from_slice(owner);
        }
        let data = u32::try_from(self.data.len()).map_err(|_| too_large())?;
        let length = u16::try_from(rdata.len()).map_err(|_| RecordRejected(TOO_LONG.to_owned()))?;
        self.data.extend_from_slice(&length.to_ne_bytes());
        self.data.extend_from_slice(rdata);
        let set = match rtype {
            rtype::RRSIG => u16::from_be_bytes([rdata[0], rdata[1]]),
            other => other,
        };
        self.content.add(&(owner, rtype, ttl, rdata));
        self.records.push(RawRecord { owner: self.last.1, rtype, set, ttl, data, place });
        Ok(())
    }

    /// Builds the zone with this apex, or with the owner of the SOA record as its apex.
    pub(in super::super) fn finish(mut self, apex: Option<&DomainName>) -> Result<BuiltZone, Problem> {
        let apex = self.find_apex(apex)?;
        self.content.add(&self.names.name(apex).wire());
        self.records.sort_by_key(RawRecord::key);
        let mut assembly = ZoneAssembly {
            names: self.names,
            raw: &self.data,
            sets: Vec::with_capacity(self.records.len()),
            data: Vec::with_capacity(self.data.len()),
            warnings: Vec::new(),
        };
        let mut outside = None;
        for records in self.records.chunk_by(|one, other| one.owner == other.owner) {
            if assembly.names.is_within(records[0].owner, apex) {
                assembly.add_owner(records, apex)?;
            } else {
                let (count, _) = outside.get_or_insert((0_usize, records[0]));
                *count += records.len();
            }
        }
        if let Some((count, first)) = outside {
            let owner = assembly.names.name(first.owner);
            let others =
                if count > 1 { format!(", and {} more such records", count - 1) } else { String::new() };
            let what =
                format!("{owner} lies outside the zone {}: ignored{others}", assembly.names.name(apex));
            assembly.warnings.push(Problem::at(first.place, what));
        }
        assembly.finish(apex, &self.records, self.content.finish())
    }

    fn find_apex(&mut self, given: Option<&DomainName>) -> Result<NameId, Problem> {
        let soas = self.records.iter().filter(|record| record.rtype == rtype::SOA);
        let Some(name) = given else {
            let first = soas.clone().next().map(|record| record.owner);
            return first.ok_or_else(|| Problem::whole_zone("no SOA record: a zone begins with one"));
        };
        let apex = self.names.find(name, name.depth());
        apex.filter(|&apex| soas.clone().any(|soa| soa.owner == apex)).ok_or_else(|| {
            let other = soas.clone().next().map(|soa| {
                let found = self.names.name(soa.owner);
                Problem::at(soa.place, format!("this SOA record is of {found}, but the zone is {name}"))
            });
            other.unwrap_or_else(|| {
                Problem::whole_zone(format!("no SOA record of {name}: a zone begins with one"))
            })
        })
    }
}

impl ZoneAssembly<'_> {
    /// Adds all records of one owner.
    fn add_owner(&mut self, records: &[RawRecord], apex: NameId) -> Result<(), Problem> {
        let owner = records[0].owner;
        let first = self.sets.len();
        // In the file's order, which the answer to ANY shows: an RRset stands at its first record.
        let mut sets: Vec<&[RawRecord]> = records.chunk_by(|one, other| one.set == other.set).collect();
        if sets.len() > 1 {
            sets.sort_by_key(|records| records[0].data);
        }
        for records in &sets {
            self.add_rrset(records)?;
        }
        let present = &self.sets[first..];
        let types = || present.iter().filter(|set| set.count > 0).map(|set| set.rtype);
        let has = |rtype| types().any(|other| other == rtype);
        // The owner of an NSEC3 record is no name of the zone (RFC 5155 section 7.2.8).
        if present.iter().any(|set| set.rtype != rtype::NSEC3) {
            self.names.mark(owner, flag::NODE);
        }
        if has(rtype::CNAME) {
            self.names.mark(owner, flag::CNAME);
        }
        if has(rtype::DNAME) {
            self.names.mark(owner, flag::DNAME);
        }
        if owner != apex && has(rtype::NS) {
            self.names.mark(owner, flag::CUT);
        }
        check::owner(&OwnerRrsets {
            is_apex: owner == apex,
            name: || self.names.name(owner),
            sets: present,
            place: |rtype| {
                let of_type = |records: &&&[RawRecord]| records[0].set == rtype;
                sets.iter().find(of_type).map_or(records[0].place, |records| records[0].place)
            },
        })?;
        let count =
            u16::try_from(present.len()).ok().filter(|&count| count <= MAX_TYPES).ok_or_else(|| {
                Problem::at(records[0].place, format!("more than {MAX_TYPES} types of records at one name"))
            })?;
        let first = u32::try_from(first).map_err(|_| too_large(records[0].place))?;
        self.names.set_rrsets(owner, first, count);
        Ok(())
    }

    /// Adds one RRset with its signatures.
    fn add_rrset(&mut self, records: &[RawRecord]) -> Result<(), Problem> {
        let (place, rtype) = (records[0].place, records[0].set);
        let data = u32::try_from(self.data.len()).map_err(|_| too_large(place))?;
        let (records, signatures) = records.split_at(records.partition_point(|raw| !raw.is_signature()));
        let count = self.distinct(records)?;
        // In a message, each record has an owner and a fixed part instead of this length, and each name takes a pointer
        // at least.
        let (_, names) = super::compressible(rtype);
        let stored = super::LENGTH + names * size_of::<NameId>();
        let each = POINTER + FIXED + names * POINTER;
        let answer = HEADER + self.data.len() - data as usize + count * each - count * stored;
        if answer > usize::from(u16::MAX) {
            let what = format!(
                "the {count} {} records at this name take more than 65,535 bytes, too many for an answer: queries get SERVFAIL",
                rdata::mnemonic(rtype)
            );
            self.warnings.push(Problem::at(place, what));
        }
        if count == 0 {
            let what = format!(
                "an RRSIG record of {} records, but this name has none: only queries for RRSIG get it",
                rdata::mnemonic(rtype)
            );
            self.warnings.push(Problem::at(place, what));
        }
        let signed = u32::try_from(self.data.len()).map_err(|_| too_large(place))?;
        let signatures_count = self.distinct(signatures)?;
        // Records of one RRset share a TTL (RFC 2181 section 5.2): the least, if the file states several.
        let ttl = |records: &[RawRecord]| records.iter().map(|record| record.ttl).min();
        self.sets.push(Rrset {
            rtype,
            signatures: u16::try_from(signatures_count)
                .map_err(|_| Problem::at(place, "more than 65,535 signatures of one set"))?,
            count: u32::try_from(count).map_err(|_| too_large(place))?,
            signed,
            ttl: ttl(records).or(ttl(signatures)).unwrap_or(0),
            data,
        });
        Ok(())
    }

    /// Writes the distinct records, and returns their number: an RRset has no duplicates (RFC 2181 section 5). The case
    /// of names in the data does not count.
    fn distinct(&mut self, records: &[RawRecord]) -> Result<usize, Problem> {
        let raw = self.raw;
        let mut known = HashSet::new();
        let mut count = 0;
        for (index, record) in records.iter().enumerate() {
            let is_known = if records.len() <= FEW {
                records[..index].iter().any(|other| are_same(raw, record, other))
            } else {
                !known.insert(folded(raw, record))
            };
            if !is_known {
                self.add_record(record)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn add_record(&mut self, record: &RawRecord) -> Result<(), Problem> {
        let raw = stored_rdata(self.raw, record);
        let start = self.data.len();
        self.data.extend_from_slice(&[0; super::LENGTH]);
        let (before, names) = super::compressible(record.rtype);
        let mut rest = raw;
        if names > 0 {
            self.data.extend_from_slice(&raw[..before]);
            rest = &raw[before..];
            for _ in 0..names {
                let (name, after) = split_name(rest);
                let id = self.names.intern(name).map_err(|TooManyNames| too_large(record.place))?;
                self.data.extend_from_slice(&id.0.to_ne_bytes());
                rest = after;
            }
        }
        if record.rtype == rtype::DNAME {
            // It is not compressed here, but in the CNAMEs that it synthesizes.
            self.names.intern(raw).map_err(|TooManyNames| too_large(record.place))?;
        }
        self.data.extend_from_slice(rest);
        let length = u16::try_from(self.data.len() - start - super::LENGTH);
        let length = length.map_err(|_| Problem::at(record.place, TOO_LONG))?;
        self.data[start..][..super::LENGTH].copy_from_slice(&length.to_ne_bytes());
        Ok(())
    }

    fn finish(
        mut self,
        apex: NameId,
        records: &[RawRecord],
        fingerprint: Fingerprint,
    ) -> Result<BuiltZone, Problem> {
        let mut wildcards = Vec::new();
        let depth = self.names.depth(apex);
        let mut deepest = depth;
        for id in self.names.ids() {
            if !self.names.has(id, flag::NODE) {
                continue;
            }
            deepest = deepest.max(self.names.depth(id));
            // The names between it and the apex are nodes too, at least empty non-terminals.
            let mut child = id;
            while child != apex && !self.names.has(child, flag::LINKED) {
                let parent = self.names.parent(child);
                self.names.mark(child, flag::LINKED);
                self.names.mark(parent, flag::NODE);
                if self.names.label(child) == b"\x01*" {
                    self.names.mark(parent, flag::WILDCARD);
                    wildcards.push((parent, child));
                }
                child = parent;
            }
        }
        wildcards.sort_unstable_by_key(|&(parent, _)| parent);
        self.names.finish();
        self.sets.shrink_to_fit();
        self.data.shrink_to_fit();
        let mut zone = Zone {
            names: self.names,
            apex,
            depth,
            deepest,
            sets: self.sets,
            data: self.data,
            wildcards,
            soa: RrsetId(0),
            negative_ttl: 0,
            denial: Denial::None,
            proofs: Vec::new(),
        };
        let place = |owner: NameId, rtype| {
            let at = records.partition_point(|record| (record.owner, record.set) < (owner, rtype));
            records[at.min(records.len() - 1)].place
        };
        let soa = zone.find_rrset(apex, rtype::SOA).ok_or_else(|| Problem::whole_zone("no SOA record"))?;
        if zone.find_rrset(apex, rtype::NS).is_none() {
            let what = "no NS record at the apex: resolvers and other servers may refuse the zone";
            self.warnings.push(Problem::at(place(apex, rtype::SOA), what));
        }
        zone.soa = soa;
        zone.negative_ttl = negative_ttl(&zone);
        let mut warnings = self.warnings;
        check::below_dnames(&zone, |owner| place(owner, 0))?;
        zone.denial = compile_denial::chain(&zone, place, &mut warnings)?;
        zone.proofs = compile_denial::proofs(&zone);
        Ok(BuiltZone { zone, fingerprint, warnings })
    }
}

/// The lesser of the SOA's own TTL and its last field (RFC 2308 section 3).
fn negative_ttl(zone: &Zone) -> u32 {
    let soa = zone.rrset(zone.soa);
    let minimum = zone.records(soa).next().and_then(|data| match data {
        super::RecordData::Names(_, _, numbers) => numbers.last_chunk().copied(),
        super::RecordData::Plain(_) => None,
    });
    minimum.map_or(0, u32::from_be_bytes).min(soa.ttl)
}

fn stored_rdata<'a>(data: &'a [u8], record: &RawRecord) -> &'a [u8] {
    let at = record.data as usize;
    let length = u16::from_ne_bytes([data[at], data[at + 1]]);
    &data[at + super::LENGTH..][..length.into()]
}

/// Its data with case-insensitive names lowercased.
fn folded(data: &[u8], record: &RawRecord) -> Vec<u8> {
    let mut folded = stored_rdata(data, record).to_vec();
    rdata::record_type(record.rtype).fold_names(&mut folded);
    folded
}

fn are_same(data: &[u8], one: &RawRecord, other: &RawRecord) -> bool {
    // Few records are similar at all.
    stored_rdata(data, one).eq_ignore_ascii_case(stored_rdata(data, other))
        && folded(data, one) == folded(data, other)
}

/// Splits well-formed data behind the name at its front.
fn split_name(data: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while data[at] != 0 {
        at += 1 + usize::from(data[at]);
    }
    data.split_at(at + 1)
}

fn too_large(place: Position) -> Problem {
    Problem::at(place, TOO_LARGE)
}
