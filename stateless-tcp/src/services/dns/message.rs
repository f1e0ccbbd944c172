//! Writing a response: records, name compression, the room that is left. Never allocates.

use super::catalog::{Catalog, Rrset, View};
use super::compression::{Places, REACH};
use super::name::Name;
use super::zone::{Data, NameId, Records, SetId, rtype};
use std::ops::{ControlFlow, Range};

/// Octets of the header.
pub(super) const HEADER: usize = 12;
/// Octets of type, class, TTL and data length, which stand between a record's owner and its data.
pub(super) const FIXED: usize = 10;
/// Where the TTL and the data length lie in them.
pub(super) const TTL: Range<usize> = 4..8;
pub(super) const DATA_LENGTH: Range<usize> = 8..10;
/// Class IN.
const IN: [u8; 2] = [0, 1];
/// Class ANY, which TSIG has (RFC 8945 section 4.2).
const ANY: [u8; 2] = [0, 255];
/// Sets whose presence is remembered. Beyond that nothing optional is added any more.
const SETS: usize = 96;

/// Sets that prove something. One answer needs four, and two for each wildcard that its CNAMEs lead through.
const PROOFS: usize = 48;

/// No addresses are added beyond so many bytes: they are there to save a question, not to cost the answer. The rest is for
/// OPT and TSIG records.
const OPTIONAL: usize = 64_000;

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
    places: Places,
    /// Sets that have been written, by zone and number; bit n of `own`: the nth under its own name, not under one that a
    /// wildcard stands for.
    set_zones: [u32; SETS],
    sets: [u32; SETS],
    own: u128,
    present: usize,
    /// Owners of proofs, by zone and number.
    proof_zones: [u32; PROOFS],
    proofs: [u32; PROOFS],
    proven: usize,
    counts: [u16; 3],
}

impl<'a> Message<'a> {
    /// Begins a message of at most `room` octets at the end of `out`.
    pub(super) fn new(catalog: &'a Catalog, out: &'a mut Vec<u8>, room: usize) -> Self {
        let start = out.len();
        // All zero: cleared by a few wide stores.
        Self {
            catalog,
            out,
            start,
            end: start + room,
            places: Places::new(),
            set_zones: [0; SETS],
            sets: [0; SETS],
            own: 0,
            present: 0,
            proof_zones: [0; PROOFS],
            proofs: [0; PROOFS],
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

    /// Remembers that `name` can be read at `at`, written in full, and so its ancestors behind it.
    pub(super) fn note(&mut self, view: View<'_>, name: NameId, at: usize) {
        self.places.note(view, name, at);
    }

    /// Writes a name, compressed, and returns where it can be read: here, or where the pointer that stands for it leads.
    fn name(&mut self, view: View<'a>, name: NameId) -> Result<usize, Full> {
        let names = &view.zone.names;
        let start = self.len();
        let mut rest = name;
        while rest != NameId::ROOT {
            if let Some(at) = self.places.find(&self.out[self.start..], view, rest, start) {
                self.push(&(0xc000 | at).to_be_bytes())?;
                return Ok(if rest == name { usize::from(at) } else { start });
            }
            self.places.place(view, rest, self.len());
            self.push(names.label(rest))?;
            rest = names.parent(rest);
        }
        self.push(&[0])?;
        Ok(start)
    }

    fn owner(&mut self, set: &Rrset<'a>, owner: Owner<'_>) -> Result<(), Full> {
        match owner {
            Owner::Own => self.name(set.view, set.owner).map(drop),
            Owner::Written(_, at) if at < REACH => {
                #[expect(clippy::cast_possible_truncation, reason = "below REACH")]
                let pointer = 0xc000 | at as u16;
                self.push(&pointer.to_be_bytes())
            }
            Owner::Written(name, _) => self.push(name.wire()),
        }
    }

    /// Whether the set has been written under its own name.
    pub(super) fn has(&self, set: &Rrset<'_>) -> bool {
        let written = self.sets[..self.present].iter().zip(&self.set_zones);
        let mut written = written.enumerate().filter(|(_, at)| *at == (&set.set.0, &set.view.index()));
        written.any(|(index, _)| self.own >> index & 1 != 0)
    }

    /// Writes the set, and with `signed` its signatures; a `ttl` replaces its own. Returns where the last name in the
    /// last record's data can be read.
    pub(super) fn set(
        &mut self,
        section: Section,
        set: &Rrset<'a>,
        owner: Owner<'_>,
        signed: bool,
        ttl: Option<u32>,
    ) -> Result<usize, Full> {
        if self.present < SETS {
            self.set_zones[self.present] = set.view.index();
            self.sets[self.present] = set.set.0;
            let is_wildcard = set.view.zone.names.label(set.owner) == b"\x01*";
            self.own |= u128::from(matches!(owner, Owner::Own) || !is_wildcard) << self.present;
            self.present += 1;
        }
        let zone = set.view.zone;
        let content = zone.set(set.set);
        let head = head(content.rtype, ttl.unwrap_or(content.ttl));
        let mut target = 0;
        for data in zone.records(content) {
            target = self.record(section, set, owner, &head, data)?;
        }
        if signed {
            self.write_signatures(section, set, owner, head, zone.signatures(content))?;
        }
        Ok(target)
    }

    /// Writes the signatures of the set only.
    pub(super) fn signatures(&mut self, set: &Rrset<'a>, owner: Owner<'_>) -> Result<(), Full> {
        let zone = set.view.zone;
        let content = zone.set(set.set);
        let signatures = zone.signatures(content);
        self.write_signatures(Section::Answer, set, owner, head(content.rtype, content.ttl), signatures)
    }

    fn write_signatures(
        &mut self,
        section: Section,
        set: &Rrset<'a>,
        owner: Owner<'_>,
        mut head: [u8; FIXED],
        signatures: Records<'a>,
    ) -> Result<(), Full> {
        head[..2].copy_from_slice(&rtype::RRSIG.to_be_bytes());
        for data in signatures {
            self.record(section, set, owner, &head, data)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        section: Section,
        set: &Rrset<'a>,
        owner: Owner<'_>,
        head: &[u8; FIXED],
        data: Data<'a>,
    ) -> Result<usize, Full> {
        self.owner(set, owner)?;
        let fixed = self.out.len();
        self.push(head)?;
        let mut target = 0;
        match data {
            Data::Plain(data) => self.push(data)?,
            Data::Names(before, targets, after) => {
                self.push(before)?;
                for name in targets.iter() {
                    target = self.name(set.view, name)?;
                }
                self.push(after)?;
            }
        }
        self.finish(fixed, section);
        Ok(target)
    }

    /// Fills in the length of the data of the record whose fixed part stands at `fixed`, and counts it.
    fn finish(&mut self, fixed: usize, section: Section) {
        let length = self.out.len() - fixed - FIXED;
        #[expect(clippy::cast_possible_truncation, reason = "no longer than uncompressed")]
        self.out[fixed..][DATA_LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
        // 65,535 octets hold no more records than 16 bits count.
        self.counts[section as usize] += 1;
    }

    /// Writes the CNAME that a DNAME stands for (RFC 6672 section 3.1): from `owner` to its first `kept` octets followed
    /// by the DNAME's target. Returns where the new name can be read.
    pub(super) fn synthesized_cname(
        &mut self,
        dname: &Rrset<'a>,
        owner: Owner<'_>,
        kept: &[u8],
        target: &Name,
    ) -> Result<usize, Full> {
        let zone = dname.view.zone;
        self.owner(dname, owner)?;
        let fixed = self.out.len();
        self.push(&head(rtype::CNAME, zone.set(dname.set).ttl))?;
        let at = self.len();
        self.push(kept)?;
        let end = match zone.names.find(target, target.depth()) {
            Some(known) => self.name(dname.view, known)?,
            None => self.push(target.wire()).map(|()| at + kept.len())?,
        };
        self.finish(fixed, Section::Answer);
        Ok(if kept.is_empty() { end } else { at })
    }

    /// Remembers the owner of a proof for the end of the authority section: the answer section may yet go on.
    pub(super) fn prove(&mut self, view: View<'a>, owner: NameId) {
        let mut known = self.proofs[..self.proven].iter().zip(&self.proof_zones);
        if self.proven < PROOFS && !known.any(|known| known == (&owner.0, &view.index())) {
            self.proof_zones[self.proven] = view.index();
            self.proofs[self.proven] = owner.0;
            self.proven += 1;
        }
    }

    /// Writes the sets of NSEC or NSEC3 whose owners [`Message::prove`] remembers.
    pub(super) fn proofs(&mut self) -> Result<(), Full> {
        for index in 0..self.proven {
            let owner = NameId(self.proofs[index]);
            if let Some(view) = self.catalog.by_index(self.proof_zones[index])
                && let Some(set) = view.zone.proof_set(owner)
            {
                self.set(Section::Authority, &Rrset { view, owner, set }, Owner::Own, true, None)?;
            }
        }
        Ok(())
    }

    /// Writes the addresses that belong to the sets written so far.
    pub(super) fn additional(&mut self, signed: bool) -> Result<(), Full> {
        let catalog = self.catalog;
        for index in 0..self.present {
            let set = SetId(self.sets[index]);
            let Some(view) = catalog.by_index(self.set_zones[index]) else { continue };
            let more = catalog.additional(view, set, |addresses| {
                for set in addresses.into_iter().flatten() {
                    if self.present < SETS && !self.has(&set) && !self.optional(&set, signed)? {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if more.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Writes addresses, unless the message gets longer than [`OPTIONAL`] by them: then they are left out, and `false` is said.
    /// That depends on nothing but what the message is, so that it is the same when it is asked for again.
    fn optional(&mut self, set: &Rrset<'a>, signed: bool) -> Result<bool, Full> {
        let (length, counts, present, own) = (self.out.len(), self.counts, self.present, self.own);
        let places = self.places.mark();
        let written = self.set(Section::Additional, set, Owner::Own, signed, None);
        let is_too_long = self.len() > OPTIONAL || written.is_err() && self.end - self.start >= OPTIONAL;
        if !is_too_long {
            return written.map(|_| true);
        }
        self.out.truncate(length);
        (self.counts, self.present, self.own) = (counts, present, own);
        self.places.return_to(places);
        Ok(false)
    }

    /// Writes an OPT record (RFC 6891 section 6.1).
    pub(super) fn opt(&mut self, octets: &[u8]) -> Result<(), Full> {
        self.push(octets)?;
        self.counts[Section::Additional as usize] += 1;
        Ok(())
    }

    /// Writes a TSIG record, which must be the last: its owner in wire form, and its data in parts.
    pub(super) fn tsig(&mut self, owner: &[u8], data: &[&[u8]]) -> Result<(), Full> {
        self.push(owner)?;
        let fixed = self.out.len();
        let mut head = head(rtype::TSIG, 0);
        head[2..4].copy_from_slice(&ANY);
        self.push(&head)?;
        data.iter().try_for_each(|part| self.push(part))?;
        self.finish(fixed, Section::Additional);
        Ok(())
    }
}

/// Type, class, TTL and room for the length of a record.
fn head(rtype: u16, ttl: u32) -> [u8; FIXED] {
    let mut head = [0; FIXED];
    head[..2].copy_from_slice(&rtype.to_be_bytes());
    head[2..4].copy_from_slice(&IN);
    head[TTL].copy_from_slice(&ttl.to_be_bytes());
    head
}
