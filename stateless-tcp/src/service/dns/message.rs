//! Writing a response: records, name compression, the room that is left. Never allocates.

use super::catalog::{Catalog, DATA_LENGTH, FIXED, NameId, ROOT, Record, Set, SetId, TTL, rtype};
use super::name::Name;

/// Octets of the header.
pub(super) const HEADER: usize = 12;
/// What a compression pointer can reach (RFC 1035 section 4.1.4).
const REACH: usize = 0x4000;
/// Names whose places are remembered. Beyond that names are written out: right, only longer.
const PLACES: usize = 96;
/// Sets whose presence is remembered. Beyond that nothing optional is added any more.
const SETS: usize = 96;

/// Sets that prove something. One answer needs four, and two for each wildcard that its CNAMEs lead through.
const PROOFS: usize = 48;

/// The response does not fit.
#[derive(Debug)]
pub(super) struct Full;

/// The sections of a response, as they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// What stands before a record: its owner's name.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    /// The set's own.
    Own,
    /// A name already written, at this place if a pointer can reach it.
    Written(&'a Name, usize),
}

/// A response under construction at the end of a buffer.
pub(super) struct Message<'a> {
    catalog: &'a Catalog,
    out: &'a mut Vec<u8>,
    start: usize,
    end: usize,
    /// Names written, and where.
    names: [NameId; PLACES],
    places: [u16; PLACES],
    placed: usize,
    /// Sets written, and whether under their own names.
    sets: [SetId; SETS],
    own: [bool; SETS],
    present: usize,
    proofs: [SetId; PROOFS],
    proven: usize,
    counts: [u16; 3],
}

impl<'a> Message<'a> {
    /// Begins a message of at most `room` octets at the end of `out`.
    pub(super) fn new(catalog: &'a Catalog, out: &'a mut Vec<u8>, room: usize) -> Self {
        let start = out.len();
        // The arrays are of one plain number each, and all zero: cleared by a few wide stores.
        Self {
            catalog,
            out,
            start,
            end: start + room,
            names: [ROOT; PLACES],
            places: [0; PLACES],
            placed: 0,
            sets: [SetId::FIRST; SETS],
            own: [false; SETS],
            present: 0,
            proofs: [SetId::FIRST; PROOFS],
            proven: 0,
            counts: [0; 3],
        }
    }

    /// Writes the header, to be filled in at the end, and the question.
    pub(super) fn head(&mut self, question: &[u8]) -> Result<(), Full> {
        self.push(&[0; HEADER])?;
        self.push(question)
    }

    /// Records in each section.
    pub(super) fn counts(&self) -> [u16; 3] {
        self.counts
    }

    /// The message so far.
    pub(super) fn octets(&mut self) -> &mut [u8] {
        &mut self.out[self.start..]
    }

    /// Octets so far.
    fn len(&self) -> usize {
        self.out.len() - self.start
    }

    fn push(&mut self, octets: &[u8]) -> Result<(), Full> {
        if self.end - self.out.len() < octets.len() {
            return Err(Full);
        }
        self.out.extend_from_slice(octets);
        Ok(())
    }

    /// Remembers that `name` and so its ancestors end the name written in full at `end` octets from the message's start.
    pub(super) fn note(&mut self, name: NameId, end: usize) {
        let mut name = name;
        while name != ROOT {
            let known = &self.catalog.names[name.get()];
            let length = known.wire.len();
            self.place(name, end - length);
            name = known.parent;
        }
    }

    fn place(&mut self, name: NameId, at: usize) {
        if self.placed < PLACES
            && let Ok(place) = u16::try_from(at)
            && at < REACH
        {
            self.names[self.placed] = name;
            self.places[self.placed] = place;
            self.placed += 1;
        }
    }

    fn find(&self, name: NameId) -> Option<u16> {
        let found = self.names[..self.placed].iter().position(|&placed| placed == name);
        found.map(|index| self.places[index])
    }

    /// Writes a name, compressed, and returns where it can be read: here, or where the pointer that stands for it leads.
    fn name(&mut self, name: NameId) -> Result<usize, Full> {
        let catalog = self.catalog;
        let start = self.len();
        let wire = catalog.wire(name);
        let (mut rest, mut skipped) = (name, 0);
        while rest != ROOT {
            if let Some(at) = self.find(rest) {
                self.push(&wire[..skipped])?;
                self.push(&(0xc000 | at).to_be_bytes())?;
                return Ok(if skipped == 0 { usize::from(at) } else { start });
            }
            self.place(rest, start + skipped);
            skipped += 1 + usize::from(wire[skipped]);
            rest = catalog.names[rest.get()].parent;
        }
        self.push(wire)?;
        Ok(start)
    }

    fn owner(&mut self, set: SetId, owner: Owner<'_>) -> Result<(), Full> {
        match owner {
            Owner::Own => self.name(self.catalog.set(set).owner).map(drop),
            Owner::Written(_, at) if at < REACH => {
                #[expect(clippy::cast_possible_truncation, reason = "below REACH")]
                let pointer = 0xc000 | at as u16;
                self.push(&pointer.to_be_bytes())
            }
            Owner::Written(name, _) => self.push(name.wire()),
        }
    }

    /// Whether the set has been written under its own name.
    fn has(&self, set: SetId) -> bool {
        self.sets[..self.present].iter().zip(&self.own).any(|(&present, &own)| own && present == set)
    }

    /// Writes the set, and with `signed` its signatures; a `ttl` replaces its own. Returns where the last name in the
    /// last record's data can be read.
    pub(super) fn set(
        &mut self,
        section: Section,
        set: SetId,
        owner: Owner<'_>,
        signed: bool,
        ttl: Option<u32>,
    ) -> Result<usize, Full> {
        let catalog = self.catalog;
        if self.present < SETS {
            self.sets[self.present] = set;
            self.own[self.present] = matches!(owner, Owner::Own);
            self.present += 1;
        }
        let Set { records, signatures, .. } = catalog.set(set);
        let mut target = 0;
        let records = &catalog.records[records.start as usize..records.end as usize];
        let signatures = if signed { signatures.start as usize..signatures.end as usize } else { 0..0 };
        for record in records {
            target = self.record(section, set, owner, record, ttl)?;
        }
        for record in &catalog.records[signatures] {
            self.record(section, set, owner, record, ttl)?;
        }
        Ok(target)
    }

    /// Writes the signatures of the set only.
    pub(super) fn signatures(&mut self, set: SetId, owner: Owner<'_>) -> Result<(), Full> {
        let catalog = self.catalog;
        let range = &catalog.set(set).signatures;
        for record in &catalog.records[range.start as usize..range.end as usize] {
            self.record(Section::Answer, set, owner, record, None)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        section: Section,
        set: SetId,
        owner: Owner<'_>,
        record: &Record,
        ttl: Option<u32>,
    ) -> Result<usize, Full> {
        let catalog = self.catalog;
        self.owner(set, owner)?;
        let fixed = self.out.len();
        self.push(catalog.slice(&record.head))?;
        if let Some(ttl) = ttl {
            self.out[fixed..][TTL].copy_from_slice(&ttl.to_be_bytes());
        }
        let mut target = 0;
        if record.names[0].is_some() {
            for name in record.names.into_iter().flatten() {
                target = self.name(name)?;
            }
            self.push(catalog.slice(&record.tail))?;
            let length = self.out.len() - fixed - FIXED;
            #[expect(clippy::cast_possible_truncation, reason = "no longer than uncompressed")]
            self.out[fixed..][DATA_LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
        }
        self.count(section);
        Ok(target)
    }

    fn count(&mut self, section: Section) {
        // 65,535 octets hold no more records than 16 bits count.
        self.counts[section as usize] += 1;
    }

    /// Writes the CNAME that a DNAME stands for (RFC 6672 section 3.1): from `owner` to its first `kept` octets followed
    /// by the DNAME's target. Returns where the new name can be read.
    pub(super) fn synthesized_cname(
        &mut self,
        dname: SetId,
        owner: Owner<'_>,
        kept: &[u8],
        target: NameId,
    ) -> Result<usize, Full> {
        let catalog = self.catalog;
        self.owner(dname, owner)?;
        let fixed = self.out.len();
        let first = &catalog.records[catalog.set(dname).records.start as usize];
        self.push(&catalog.slice(&first.head)[..FIXED])?;
        self.out[fixed..][..2].copy_from_slice(&rtype::CNAME.to_be_bytes());
        let at = self.len();
        self.push(kept)?;
        let end = self.name(target)?;
        let length = self.out.len() - fixed - FIXED;
        #[expect(clippy::cast_possible_truncation, reason = "a name")]
        self.out[fixed..][DATA_LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
        self.count(Section::Answer);
        Ok(if kept.is_empty() { end } else { at })
    }

    /// Remembers a set for the end of the authority section: the answer section may yet go on.
    pub(super) fn prove(&mut self, set: SetId) {
        if !self.proofs[..self.proven].contains(&set)
            && let Some(free) = self.proofs.get_mut(self.proven)
        {
            *free = set;
            self.proven += 1;
        }
    }

    /// Writes the sets that [`Message::prove`] remembers.
    pub(super) fn proofs(&mut self) -> Result<(), Full> {
        for index in 0..self.proven {
            self.set(Section::Authority, self.proofs[index], Owner::Own, true, None)?;
        }
        Ok(())
    }

    /// Writes the addresses that belong to the sets written so far.
    pub(super) fn additional(&mut self, signed: bool) -> Result<(), Full> {
        for index in 0..self.present {
            self.addresses(self.sets[index], signed)?;
        }
        Ok(())
    }

    fn addresses(&mut self, set: SetId, signed: bool) -> Result<(), Full> {
        let catalog = self.catalog;
        let range = &catalog.set(set).additional;
        for name in &catalog.additional[range.start as usize..range.end as usize] {
            for set in catalog.names[name.get()].addresses.into_iter().flatten() {
                if self.present < SETS && !self.has(set) {
                    self.set(Section::Additional, set, Owner::Own, signed, None)?;
                }
            }
        }
        Ok(())
    }

    /// Writes an OPT record (RFC 6891 section 6.1).
    pub(super) fn opt(&mut self, octets: &[u8]) -> Result<(), Full> {
        self.push(octets)?;
        self.count(Section::Additional);
        Ok(())
    }
}
