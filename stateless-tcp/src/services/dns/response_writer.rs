//! Builds a response: records, name compression, remaining room. Never allocates.

use super::catalog::{Catalog, RrsetRef, ZoneView};
use super::compression::{CompressionTable, REACH};
use super::name::DomainName;
use super::rtype;
use super::wire::{CLASS_ANY, CLASS_CH, CLASS_IN, DATA_LENGTH, FIXED, HEADER, TTL};
use super::zone::{NameId, RecordData, RecordIter, RrsetId};
use std::ops::ControlFlow;

/// Limit on remembered RRsets. Beyond it, no optional RRset is added.
const MAX_RRSETS: usize = 96;

/// Limit on denial proofs. One answer needs four, and two for each wildcard on its chain of CNAMEs.
const MAX_PROOFS: usize = 48;

/// No addresses are added beyond this length: they are optional and must not make the answer fail. The rest is for OPT
/// and TSIG records.
const OPTIONAL: usize = 64_000;

/// A pointer to the question's name, which follows the header.
const QUESTION_NAME: [u8; 2] = [0xc0, 12];
const _: () = assert!(QUESTION_NAME[1] as usize == HEADER, "the offset of the question");

/// The response does not fit.
#[derive(Debug)]
pub(super) struct Overflow;

/// The sections of a response, as they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// The owner name of a record.
#[derive(Clone, Copy)]
pub(super) enum OwnerName<'a> {
    /// The RRset's own owner.
    Own,
    /// A name already written, at this offset if a pointer can reach it.
    Written(&'a DomainName, usize),
}

/// A response under construction at the end of a buffer.
pub(super) struct ResponseWriter<'a> {
    catalog: &'a Catalog,
    out: &'a mut Vec<u8>,
    start: usize,
    end: usize,
    compression: CompressionTable,
    /// Written RRsets by zone and number. Bit n of `own`: the nth was written under its own name, not under a
    /// wildcard's expansion.
    rrset_zones: [u32; MAX_RRSETS],
    rrset_ids: [u32; MAX_RRSETS],
    own: u128,
    rrset_count: usize,
    /// Owners of denial proofs by zone and number.
    proof_zones: [u32; MAX_PROOFS],
    proofs: [u32; MAX_PROOFS],
    proof_count: usize,
    counts: [u16; 3],
}

impl<'a> ResponseWriter<'a> {
    /// Starts a message of at most `room` bytes at the end of `out`.
    pub(super) fn new(catalog: &'a Catalog, out: &'a mut Vec<u8>, room: usize) -> Self {
        let start = out.len();
        // All zero, so a few wide stores initialize it.
        Self {
            catalog,
            out,
            start,
            end: start + room,
            compression: CompressionTable::new(),
            rrset_zones: [0; MAX_RRSETS],
            rrset_ids: [0; MAX_RRSETS],
            own: 0,
            rrset_count: 0,
            proof_zones: [0; MAX_PROOFS],
            proofs: [0; MAX_PROOFS],
            proof_count: 0,
            counts: [0; 3],
        }
    }

    /// Writes an empty header, which is filled in at the end, and the question.
    pub(super) fn write_head(&mut self, question: &[u8]) -> Result<(), Overflow> {
        self.push(&[0; HEADER])?;
        self.push(question)
    }

    /// The record counts of the sections.
    pub(super) fn counts(&self) -> [u16; 3] {
        self.counts
    }

    /// The message so far.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.out[self.start..]
    }

    /// The length so far.
    fn len(&self) -> usize {
        self.out.len() - self.start
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        if self.end - self.out.len() < bytes.len() {
            return Err(Overflow);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Records that `name` is written in full at `at`, followed by its ancestors.
    pub(super) fn note_name(&mut self, view: ZoneView<'_>, name: NameId, at: usize) {
        self.compression.note(view, name, at);
    }

    /// Writes a compressed name, and returns its offset: here, or the target of a pointer.
    fn name(&mut self, view: ZoneView<'a>, name: NameId) -> Result<usize, Overflow> {
        let names = &view.zone.names;
        let start = self.len();
        let mut rest = name;
        while rest != NameId::ROOT {
            if let Some(at) = self.compression.find(&self.out[self.start..], view, rest, start) {
                self.push(&(0xc000 | at).to_be_bytes())?;
                return Ok(if rest == name { usize::from(at) } else { start });
            }
            self.compression.place(view, rest, self.len());
            self.push(names.label(rest))?;
            rest = names.parent(rest);
        }
        self.push(&[0])?;
        Ok(start)
    }

    fn owner(&mut self, rrset: &RrsetRef<'a>, owner: OwnerName<'_>) -> Result<(), Overflow> {
        match owner {
            OwnerName::Own => self.name(rrset.view, rrset.owner).map(drop),
            OwnerName::Written(_, at) if at < REACH => {
                #[expect(clippy::cast_possible_truncation, reason = "below REACH")]
                let pointer = 0xc000 | at as u16;
                self.push(&pointer.to_be_bytes())
            }
            OwnerName::Written(name, _) => self.push(name.wire()),
        }
    }

    /// Whether the RRset has been written under its own name.
    pub(super) fn contains(&self, rrset: &RrsetRef<'_>) -> bool {
        let written = self.rrset_ids[..self.rrset_count].iter().zip(&self.rrset_zones);
        let mut written = written.enumerate().filter(|(_, at)| *at == (&rrset.id.0, &rrset.view.index()));
        written.any(|(index, _)| self.own >> index & 1 != 0)
    }

    /// Writes the set, and with `dnssec_ok` its signatures; a `ttl` replaces its own. Returns where the last name in the
    /// last record's data can be read.
    pub(super) fn write_rrset(
        &mut self,
        section: Section,
        rrset: &RrsetRef<'a>,
        owner: OwnerName<'_>,
        dnssec_ok: bool,
        ttl: Option<u32>,
    ) -> Result<usize, Overflow> {
        if self.rrset_count < MAX_RRSETS {
            self.rrset_zones[self.rrset_count] = rrset.view.index();
            self.rrset_ids[self.rrset_count] = rrset.id.0;
            let is_wildcard = rrset.view.zone.names.label(rrset.owner) == b"\x01*";
            self.own |= u128::from(matches!(owner, OwnerName::Own) || !is_wildcard) << self.rrset_count;
            self.rrset_count += 1;
        }
        let zone = rrset.view.zone;
        let content = zone.rrset(rrset.id);
        let head = head(content.rtype, ttl.unwrap_or(content.ttl));
        let mut target = 0;
        for data in zone.records(content) {
            target = self.record(section, rrset, owner, &head, data)?;
        }
        if dnssec_ok {
            self.write_signatures(section, rrset, owner, head, zone.signatures(content))?;
        }
        Ok(target)
    }

    /// Writes only the signatures of the RRset.
    pub(super) fn write_rrset_signatures(
        &mut self,
        rrset: &RrsetRef<'a>,
        owner: OwnerName<'_>,
    ) -> Result<(), Overflow> {
        let zone = rrset.view.zone;
        let content = zone.rrset(rrset.id);
        let signatures = zone.signatures(content);
        self.write_signatures(Section::Answer, rrset, owner, head(content.rtype, content.ttl), signatures)
    }

    fn write_signatures(
        &mut self,
        section: Section,
        rrset: &RrsetRef<'a>,
        owner: OwnerName<'_>,
        mut head: [u8; FIXED],
        signatures: RecordIter<'a>,
    ) -> Result<(), Overflow> {
        head[..2].copy_from_slice(&rtype::RRSIG.to_be_bytes());
        for data in signatures {
            self.record(section, rrset, owner, &head, data)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        section: Section,
        rrset: &RrsetRef<'a>,
        owner: OwnerName<'_>,
        head: &[u8; FIXED],
        data: RecordData<'a>,
    ) -> Result<usize, Overflow> {
        self.owner(rrset, owner)?;
        let fixed = self.out.len();
        self.push(head)?;
        let mut target = 0;
        match data {
            RecordData::Plain(data) => self.push(data)?,
            RecordData::Names(before, targets, after) => {
                self.push(before)?;
                for name in targets.iter() {
                    target = self.name(rrset.view, name)?;
                }
                self.push(after)?;
            }
        }
        self.finish(fixed, section);
        Ok(target)
    }

    /// Fills in the data length of the record whose fixed part is at `fixed`, and counts the record.
    fn finish(&mut self, fixed: usize, section: Section) {
        let length = self.out.len() - fixed - FIXED;
        #[expect(clippy::cast_possible_truncation, reason = "no longer than uncompressed")]
        self.out[fixed..][DATA_LENGTH].copy_from_slice(&(length as u16).to_be_bytes());
        // A message of 65,535 bytes has fewer records than 16 bits count.
        self.counts[section as usize] += 1;
    }

    /// Writes the CNAME that a DNAME synthesizes (RFC 6672 section 3.1): from `owner` to its first `kept` bytes
    /// followed by the DNAME's target. Returns the offset of the new name.
    pub(super) fn synthesized_cname(
        &mut self,
        dname: &RrsetRef<'a>,
        owner: OwnerName<'_>,
        kept: &[u8],
        target: &DomainName,
    ) -> Result<usize, Overflow> {
        let zone = dname.view.zone;
        self.owner(dname, owner)?;
        let fixed = self.out.len();
        self.push(&head(rtype::CNAME, zone.rrset(dname.id).ttl))?;
        let at = self.len();
        self.push(kept)?;
        let end = match zone.names.find(target, target.depth()) {
            Some(known) => self.name(dname.view, known)?,
            None => self.push(target.wire()).map(|()| at + kept.len())?,
        };
        self.finish(fixed, Section::Answer);
        Ok(if kept.is_empty() { end } else { at })
    }

    /// Records the owner of a denial proof. Proofs are written later, because the answer section may still grow.
    pub(super) fn add_proof(&mut self, view: ZoneView<'a>, owner: NameId) {
        let mut known = self.proofs[..self.proof_count].iter().zip(&self.proof_zones);
        if self.proof_count < MAX_PROOFS && !known.any(|known| known == (&owner.0, &view.index())) {
            self.proof_zones[self.proof_count] = view.index();
            self.proofs[self.proof_count] = owner.0;
            self.proof_count += 1;
        }
    }

    /// Writes the NSEC or NSEC3 RRsets whose owners [`ResponseWriter::add_proof`] recorded.
    pub(super) fn write_proofs(&mut self) -> Result<(), Overflow> {
        for index in 0..self.proof_count {
            let owner = NameId(self.proofs[index]);
            if let Some(view) = self.catalog.by_index(self.proof_zones[index])
                && let Some(id) = view.zone.proof_rrset(owner)
            {
                self.write_rrset(
                    Section::Authority,
                    &RrsetRef { view, owner, id },
                    OwnerName::Own,
                    true,
                    None,
                )?;
            }
        }
        Ok(())
    }

    /// Writes the addresses that belong to the RRsets written so far.
    pub(super) fn write_additional(&mut self, dnssec_ok: bool) -> Result<(), Overflow> {
        let catalog = self.catalog;
        for index in 0..self.rrset_count {
            let id = RrsetId(self.rrset_ids[index]);
            let Some(view) = catalog.by_index(self.rrset_zones[index]) else { continue };
            let more = catalog.additional(view, id, |addresses| {
                for rrset in addresses.into_iter().flatten() {
                    if self.rrset_count < MAX_RRSETS
                        && !self.contains(&rrset)
                        && !self.write_if_room(&rrset, dnssec_ok)?
                    {
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

    /// Writes addresses, unless the message would exceed [`OPTIONAL`]; then it leaves them out and returns false. The
    /// decision depends on the message alone, so a repeated query gets the same answer.
    fn write_if_room(&mut self, rrset: &RrsetRef<'a>, dnssec_ok: bool) -> Result<bool, Overflow> {
        let (length, counts, rrset_count, own) = (self.out.len(), self.counts, self.rrset_count, self.own);
        let compression = self.compression.mark();
        let written = self.write_rrset(Section::Additional, rrset, OwnerName::Own, dnssec_ok, None);
        let is_too_long = self.len() > OPTIONAL || written.is_err() && self.end - self.start >= OPTIONAL;
        if !is_too_long {
            return written.map(|_| true);
        }
        self.out.truncate(length);
        (self.counts, self.rrset_count, self.own) = (counts, rrset_count, own);
        self.compression.return_to(compression);
        Ok(false)
    }

    /// Writes the TXT record of class CH that answers the question with `text`, of at most 255 bytes.
    pub(super) fn write_text(&mut self, text: &[u8]) -> Result<(), Overflow> {
        self.push(&QUESTION_NAME)?;
        let fixed = self.out.len();
        let mut head = head(rtype::TXT, 0);
        head[2..4].copy_from_slice(&CLASS_CH.to_be_bytes());
        self.push(&head)?;
        #[expect(clippy::cast_possible_truncation, reason = "at most 255 bytes")]
        self.push(&[text.len() as u8])?;
        self.push(text)?;
        self.finish(fixed, Section::Answer);
        Ok(())
    }

    /// Writes an OPT record (RFC 6891 section 6.1).
    pub(super) fn write_opt(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        self.push(bytes)?;
        self.counts[Section::Additional as usize] += 1;
        Ok(())
    }

    /// Writes a TSIG record, which must be the last one, from its owner in wire form and the parts of its data.
    pub(super) fn write_tsig(&mut self, owner: &[u8], data: &[&[u8]]) -> Result<(), Overflow> {
        self.push(owner)?;
        let fixed = self.out.len();
        let mut head = head(rtype::TSIG, 0);
        head[2..4].copy_from_slice(&CLASS_ANY.to_be_bytes());
        self.push(&head)?;
        data.iter().try_for_each(|part| self.push(part))?;
        self.finish(fixed, Section::Additional);
        Ok(())
    }
}

/// The fixed part of a record: type, class, TTL, and space for the data length.
fn head(rtype: u16, ttl: u32) -> [u8; FIXED] {
    let mut head = [0; FIXED];
    head[..2].copy_from_slice(&rtype.to_be_bytes());
    head[2..4].copy_from_slice(&CLASS_IN.to_be_bytes());
    head[TTL].copy_from_slice(&ttl.to_be_bytes());
    head
}
