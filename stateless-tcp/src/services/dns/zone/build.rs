//! From records to a [`Zone`].

use super::super::name::Name;
use super::super::rdata;
use super::super::zonefile::{Place, Record, Refusal};
use super::check::{self, Owner};
use super::names::{NameId, Names, TooMany, flag};
use super::problem::Problem;
use super::{Set, SetId, Zone, denial::Denial, prove, rtype};
use crate::fingerprint::{Fingerprint, Fingerprinter};
use std::collections::HashSet;

/// Sets of more records are looked for duplicates by a table.
const FEW: usize = 8;

/// Bytes of a message's header, of a pointer, and of what stands between a record's owner and its data.
const HEADER: usize = 12;
const POINTER: usize = 2;
const FIXED: usize = 10;

/// Most types of records at one name: they are looked through one by one, and no name needs a tenth of them.
const MAX_TYPES: u16 = 256;

const TOO_LARGE: &str = "the zone is larger than 4 GiB, which this server cannot hold";
const TOO_LONG: &str = "record data of more than 65,535 bytes";

/// A record as it was read.
#[derive(Clone, Copy)]
struct Raw {
    owner: NameId,
    rtype: u16,
    /// The type of the set that it belongs to: of RRSIG, the one that it covers.
    set: u16,
    ttl: u32,
    /// Where its data stands in [`Builder::data`], behind its length.
    data: u32,
    place: Place,
}

impl Raw {
    fn is_signature(&self) -> bool {
        self.rtype == rtype::RRSIG
    }

    /// Sorts by owner, set, and records before signatures.
    fn key(&self) -> (NameId, u16, bool) {
        (self.owner, self.set, self.is_signature())
    }
}

/// Takes a zone's records in the order of its file.
pub(in super::super) struct Builder {
    names: Names,
    records: Vec<Raw>,
    data: Vec<u8>,
    content: Fingerprinter,
    /// The last owner, which the next record mostly has as well.
    last: (Vec<u8>, NameId),
}

/// A zone, and what was noticed while it was built.
pub(in super::super) struct Built {
    pub(in super::super) zone: Zone,
    pub(in super::super) fingerprint: Fingerprint,
    /// What is left out of the zone, or cannot be served, each with its place.
    pub(in super::super) warnings: Vec<Problem>,
}

/// What is being put together.
struct Assembly<'a> {
    names: Names,
    raw: &'a [u8],
    sets: Vec<Set>,
    data: Vec<u8>,
    warnings: Vec<Problem>,
}

impl Builder {
    pub(in super::super) fn new() -> Self {
        Self {
            names: Names::new(),
            records: Vec::new(),
            data: Vec::new(),
            content: Fingerprinter::default(),
            last: (vec![0], NameId::ROOT),
        }
    }

    /// Takes a record whose data has the form of its type.
    pub(in super::super) fn add(&mut self, record: &Record<'_>) -> Result<(), Refusal> {
        let &Record { owner, rtype, ttl, rdata, place } = record;
        let too_large = || Refusal(TOO_LARGE.to_owned());
        if self.last.0 != owner {
            self.last.1 = self.names.intern(owner).map_err(|TooMany| too_large())?;
            self.last.0.clear();
            self.last.0.extend_from_slice(owner);
        }
        let data = u32::try_from(self.data.len()).map_err(|_| too_large())?;
        let length = u16::try_from(rdata.len()).map_err(|_| Refusal(TOO_LONG.to_owned()))?;
        self.data.extend_from_slice(&length.to_ne_bytes());
        self.data.extend_from_slice(rdata);
        let set = match rtype {
            rtype::RRSIG => u16::from_be_bytes([rdata[0], rdata[1]]),
            other => other,
        };
        self.content.add(&(owner, rtype, ttl, rdata));
        self.records.push(Raw { owner: self.last.1, rtype, set, ttl, data, place });
        Ok(())
    }

    /// Builds the zone whose apex is `apex`, or the owner of the SOA where none is given.
    pub(in super::super) fn finish(mut self, apex: Option<&Name>) -> Result<Built, Problem> {
        let apex = self.find_apex(apex)?;
        self.content.add(&self.names.name(apex).wire());
        // Mostly in order already.
        self.records.sort_by_key(Raw::key);
        let mut assembly = Assembly {
            names: self.names,
            raw: &self.data,
            sets: Vec::with_capacity(self.records.len()),
            data: Vec::with_capacity(self.data.len()),
            warnings: Vec::new(),
        };
        let mut outside = None;
        for records in self.records.chunk_by(|one, other| one.owner == other.owner) {
            if assembly.names.is_within(records[0].owner, apex) {
                assembly.owner(records, apex)?;
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

    fn find_apex(&mut self, given: Option<&Name>) -> Result<NameId, Problem> {
        let soas = self.records.iter().filter(|record| record.rtype == rtype::SOA);
        let Some(name) = given else {
            let first = soas.clone().next().map(|record| record.owner);
            return first.ok_or_else(|| Problem::of_zone("no SOA record: a zone begins with one"));
        };
        let apex = self.names.find(name, name.depth());
        apex.filter(|&apex| soas.clone().any(|soa| soa.owner == apex)).ok_or_else(|| {
            let other = soas.clone().next().map(|soa| {
                let found = self.names.name(soa.owner);
                Problem::at(soa.place, format!("this SOA record is of {found}, but the zone is {name}"))
            });
            other.unwrap_or_else(|| {
                Problem::of_zone(format!("no SOA record of {name}: a zone begins with one"))
            })
        })
    }
}

impl Assembly<'_> {
    /// Adds all records of one owner in the zone.
    fn owner(&mut self, records: &[Raw], apex: NameId) -> Result<(), Problem> {
        let owner = records[0].owner;
        let first = self.sets.len();
        // In the file's order, which ANY and its minimal form show; a set stands where its first record does.
        let mut sets: Vec<&[Raw]> = records.chunk_by(|one, other| one.set == other.set).collect();
        if sets.len() > 1 {
            sets.sort_by_key(|records| records[0].data);
        }
        for records in &sets {
            self.set(records)?;
        }
        let sets_of = &self.sets[first..];
        let types = || sets_of.iter().filter(|set| set.count > 0).map(|set| set.rtype);
        let has = |rtype| types().any(|other| other == rtype);
        // The owner of NSEC3 is no name of the zone (RFC 5155 section 7.2.8).
        if sets_of.iter().any(|set| set.rtype != rtype::NSEC3) {
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
        check::owner(&Owner {
            is_apex: owner == apex,
            name: || self.names.name(owner),
            sets: sets_of,
            place: |rtype| {
                let of_type = |records: &&&[Raw]| records[0].set == rtype;
                sets.iter().find(of_type).map_or(records[0].place, |records| records[0].place)
            },
        })?;
        let count =
            u16::try_from(sets_of.len()).ok().filter(|&count| count <= MAX_TYPES).ok_or_else(|| {
                let what = format!("more than {MAX_TYPES} types of records at one name");
                Problem::at(records[0].place, what)
            })?;
        let first = u32::try_from(first).map_err(|_| too_large(records[0].place))?;
        self.names.give_sets(owner, first, count);
        Ok(())
    }

    /// Adds one set with its signatures.
    fn set(&mut self, records: &[Raw]) -> Result<(), Problem> {
        let (place, rtype) = (records[0].place, records[0].set);
        let data = u32::try_from(self.data.len()).map_err(|_| too_large(place))?;
        let (records, signatures) = records.split_at(records.partition_point(|raw| !raw.is_signature()));
        let count = self.distinct(records)?;
        // Each has an owner and a fixed part in place of its length here, and its names are pointers at least.
        let (_, names) = super::compressible(rtype);
        let stored = super::LENGTH + names * size_of::<NameId>();
        let each = POINTER + FIXED + names * POINTER;
        let answer = HEADER + self.data.len() - data as usize + count * each - count * stored;
        if answer > usize::from(u16::MAX) {
            let what = format!(
                "the {count} {} records at this name take more than 65,535 bytes, which no answer holds: SERVFAIL to who asks",
                rdata::mnemonic(rtype)
            );
            self.warnings.push(Problem::at(place, what));
        }
        if count == 0 {
            let what = format!(
                "an RRSIG record of {} records, of which there are none at this name: served to who asks for RRSIG",
                rdata::mnemonic(rtype)
            );
            self.warnings.push(Problem::at(place, what));
        }
        let signed = u32::try_from(self.data.len()).map_err(|_| too_large(place))?;
        let signatures_count = self.distinct(signatures)?;
        // Records of one set share a TTL (RFC 2181 section 5.2): the least, where the file disagrees with itself.
        let ttl = |records: &[Raw]| records.iter().map(|record| record.ttl).min();
        self.sets.push(Set {
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

    /// Writes the records that differ, and says how many: one occurs once in a set (RFC 2181 section 5), and the case of the
    /// names in its data does not tell it from another.
    fn distinct(&mut self, records: &[Raw]) -> Result<usize, Problem> {
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
                self.record(record)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn record(&mut self, record: &Raw) -> Result<(), Problem> {
        let raw = rdata_of(self.raw, record);
        let start = self.data.len();
        self.data.extend_from_slice(&[0; super::LENGTH]);
        let (before, names) = super::compressible(record.rtype);
        let mut rest = raw;
        if names > 0 {
            self.data.extend_from_slice(&raw[..before]);
            rest = &raw[before..];
            for _ in 0..names {
                let (name, after) = split_name(rest);
                let id = self.names.intern(name).map_err(|TooMany| too_large(record.place))?;
                self.data.extend_from_slice(&id.0.to_ne_bytes());
                rest = after;
            }
        }
        if record.rtype == rtype::DNAME {
            // Not to be compressed here, but in the CNAMEs that it stands for.
            self.names.intern(raw).map_err(|TooMany| too_large(record.place))?;
        }
        self.data.extend_from_slice(rest);
        let length = u16::try_from(self.data.len() - start - super::LENGTH);
        let length = length.map_err(|_| Problem::at(record.place, TOO_LONG))?;
        self.data[start..][..super::LENGTH].copy_from_slice(&length.to_ne_bytes());
        Ok(())
    }

    fn finish(mut self, apex: NameId, records: &[Raw], fingerprint: Fingerprint) -> Result<Built, Problem> {
        let mut wildcards = Vec::new();
        let depth = self.names.depth(apex);
        let mut deepest = depth;
        for id in self.names.ids() {
            if !self.names.has(id, flag::NODE) {
                continue;
            }
            deepest = deepest.max(self.names.depth(id));
            // What lies between it and the apex are nodes too: empty non-terminals, if nothing else.
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
            soa: SetId(0),
            negative_ttl: 0,
            denial: Denial::None,
            proofs: Vec::new(),
        };
        let place = |owner: NameId, rtype| {
            let at = records.partition_point(|record| (record.owner, record.set) < (owner, rtype));
            records[at.min(records.len() - 1)].place
        };
        let soa = zone.find_set(apex, rtype::SOA).ok_or_else(|| Problem::of_zone("no SOA record"))?;
        if zone.find_set(apex, rtype::NS).is_none() {
            let what = "no NS record at the apex: resolvers and other servers may refuse the zone";
            self.warnings.push(Problem::at(place(apex, rtype::SOA), what));
        }
        zone.soa = soa;
        zone.negative_ttl = negative_ttl(&zone);
        let mut warnings = self.warnings;
        check::below_dnames(&zone, |owner| place(owner, 0))?;
        zone.denial = prove::chain(&zone, place, &mut warnings)?;
        zone.proofs = prove::proofs(&zone);
        Ok(Built { zone, fingerprint, warnings })
    }
}

/// RFC 2308 section 3: the lesser of the SOA's own TTL and its last field.
fn negative_ttl(zone: &Zone) -> u32 {
    let soa = zone.set(zone.soa);
    let minimum = zone.records(soa).next().and_then(|data| match data {
        super::Data::Names(_, _, numbers) => numbers.last_chunk().copied(),
        super::Data::Plain(_) => None,
    });
    minimum.map_or(0, u32::from_be_bytes).min(soa.ttl)
}

fn rdata_of<'a>(data: &'a [u8], record: &Raw) -> &'a [u8] {
    let at = record.data as usize;
    let length = u16::from_ne_bytes([data[at], data[at + 1]]);
    &data[at + super::LENGTH..][..length.into()]
}

/// Its data with the names lowercased whose case does not count.
fn folded(data: &[u8], record: &Raw) -> Vec<u8> {
    let mut folded = rdata_of(data, record).to_vec();
    rdata::of(record.rtype).fold_names(&mut folded);
    folded
}

fn are_same(data: &[u8], one: &Raw, other: &Raw) -> bool {
    // Few look alike at all.
    rdata_of(data, one).eq_ignore_ascii_case(rdata_of(data, other))
        && folded(data, one) == folded(data, other)
}

/// The name that well-formed data begins with, and what follows.
fn split_name(data: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while data[at] != 0 {
        at += 1 + usize::from(data[at]);
    }
    data.split_at(at + 1)
}

fn too_large(place: Place) -> Problem {
    Problem::at(place, TOO_LARGE)
}
