//! The lookup, from a question to the records of its answer: RFC 1034 section 4.3.2, with RFC 4592 (wildcards), RFC
//! 6672 (DNAME), RFC 4035 section 3.1 and RFC 5155 section 7.2 (signed zones).

use super::catalog::{Authority, Catalog, RrsetRef, ZoneView};
use super::extended_error::ExtendedError;
use super::name::{DomainName, MAX_NAME};
use super::query::DnsQuestion;
use super::response_writer::{Overflow, OwnerName, ResponseWriter, Section};
use super::rtype;
use super::wire::{HEADER, Rcode};
use super::zone::{self, Denial, NameId, NodeMatch, Rrset, RrsetId, Zone};

/// Limit on the CNAMEs that one answer follows. A loop ends sooner, when it closes.
const MAX_CHAIN: usize = 20;

/// The header fields that the lookup decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseStatus {
    pub(super) rcode: Rcode,
    /// The first name of the answer lies in a zone of this server.
    pub(super) authoritative: bool,
    /// The reason for the code, for clients that use EDNS.
    pub(super) error: Option<ExtendedError>,
}

impl ResponseStatus {
    const fn error(rcode: Rcode, error: ExtendedError) -> Self {
        Self { rcode, authoritative: false, error: Some(error) }
    }
}

/// A lookup and its options.
pub(super) struct Lookup<'a> {
    pub(super) catalog: &'a Catalog,
    /// The client wants signatures and proofs.
    pub(super) dnssec_ok: bool,
    /// Answer ANY with one RRset (RFC 8482).
    pub(super) minimal_any: bool,
}

/// The next step of the walk along CNAMEs and DNAMEs.
enum LookupStep {
    Done(Rcode),
    /// On to the alias's target: the suffix of `depth` labels is replaced, and the new name is at `place` of the
    /// message.
    Follow {
        alias: RrsetId,
        depth: usize,
        place: usize,
    },
}

/// The name of the current step, and its offset in the message.
struct CurrentName<'a> {
    name: &'a DomainName,
    place: usize,
    rtype: u16,
}

impl CurrentName<'_> {
    fn owner(&self) -> OwnerName<'_> {
        OwnerName::Written(self.name, self.place)
    }
}

/// An RRset of a node.
const fn rrset(view: ZoneView<'_>, owner: NameId, id: RrsetId) -> RrsetRef<'_> {
    RrsetRef { view, owner, id }
}

/// The RRsets of a node that queries can reach: an NSEC3 record's owner is no name of the zone (RFC 5155 section
/// 7.2.8).
fn rrsets_of(view: ZoneView<'_>, node: NameId) -> impl Iterator<Item = (RrsetId, &Rrset)> {
    view.zone.rrsets_of(node).filter(|(_, set)| set.rtype != rtype::NSEC3)
}

impl<'a> Lookup<'a> {
    /// Writes the answer to `question`, whose name follows the header.
    pub(super) fn answer(
        &self,
        question: &DnsQuestion,
        message: &mut ResponseWriter<'a>,
    ) -> Result<ResponseStatus, Overflow> {
        let view = match self.authority(&question.name, question.rtype) {
            Authority::Zone(view) => view,
            Authority::Broken(_) => {
                return Ok(ResponseStatus::error(Rcode::ServFail, ExtendedError::InvalidData));
            }
            Authority::None => {
                return Ok(ResponseStatus::error(Rcode::Refused, ExtendedError::NotAuthoritative));
            }
        };
        let found = view.zone.find(&question.name);
        let (anchor, depth) = match found {
            NodeMatch::Exact(node) => (node, question.name.depth()),
            NodeMatch::Below(node, depth) => (node, depth),
        };
        message.note_name(view, anchor, HEADER + question.name.suffix_start(depth));

        let referral = Self::delegates(view, found, question.rtype).is_some();
        let mut visited = [0; MAX_CHAIN];
        let mut followed;
        let (mut name, mut place) = (&question.name, HEADER);
        let (mut view, mut found) = (view, found);
        let mut rcode = Rcode::NoError;
        for link in 0..MAX_CHAIN {
            let current = CurrentName { name, place, rtype: question.rtype };
            match self.step(view, found, &current, message)? {
                LookupStep::Done(code) => {
                    rcode = code;
                    break;
                }
                LookupStep::Follow { alias, depth, place: at } => {
                    let target = view.zone.target(alias);
                    let Some(redirected) = target.and_then(|target| name.redirect(depth, target.wire()))
                    else {
                        break;
                    };
                    followed = redirected;
                    (name, place) = (&followed, at);
                }
            }
            visited[link] = zone::hash(name.wire());
            if visited[..link].contains(&visited[link]) || name.wire() == question.name.wire() {
                break;
            }
            let Authority::Zone(next) = self.authority(name, question.rtype) else { break };
            (view, found) = (next, next.zone.find(name));
        }
        message.write_proofs()?;
        message.write_additional(self.dnssec_ok)?;
        Ok(ResponseStatus { rcode, authoritative: !referral, error: None })
    }

    /// The zone to answer from. A DS set belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1).
    fn authority(&self, name: &DomainName, rtype: u16) -> Authority<'a> {
        let authority = self.catalog.authority(name, name.depth());
        let (Authority::Zone(ZoneView { zone: Zone { depth, .. }, .. }) | Authority::Broken(depth)) =
            &authority
        else {
            return authority;
        };
        if rtype != rtype::DS || *depth != name.depth() || *depth == 0 {
            return authority;
        }
        match self.catalog.authority(name, depth - 1) {
            Authority::None => authority,
            parent => parent,
        }
    }

    /// The cut that the answer refers to.
    fn delegates(view: ZoneView<'_>, found: NodeMatch, rtype: u16) -> Option<NameId> {
        let (NodeMatch::Exact(anchor) | NodeMatch::Below(anchor, _)) = found;
        let cut = view.zone.cut(anchor)?;
        match found {
            NodeMatch::Exact(node) if node == cut && rtype == rtype::DS => None,
            _ => Some(cut),
        }
    }

    fn step(
        &self,
        view: ZoneView<'a>,
        found: NodeMatch,
        current: &CurrentName<'_>,
        message: &mut ResponseWriter<'a>,
    ) -> Result<LookupStep, Overflow> {
        if let Some(cut) = Self::delegates(view, found, current.rtype) {
            self.refer(view, cut, message)?;
            return Ok(LookupStep::Done(Rcode::NoError));
        }
        match found {
            NodeMatch::Exact(node) => self.data(view, node, None, current, message),
            NodeMatch::Below(encloser, depth) => {
                if let Some(dname) = view.zone.dname(encloser) {
                    return self.redirect(&rrset(view, encloser, dname), depth, current, message);
                }
                if let Some(wildcard) = view.zone.wildcard(encloser) {
                    return self.data(view, wildcard, Some((encloser, depth)), current, message);
                }
                self.soa(view, message)?;
                self.deny(view, encloser, depth, current.name, message);
                self.add_proofs(view, [view.zone.proof(encloser).wildcard, None], message);
                Ok(LookupStep::Done(Rcode::NxDomain))
            }
        }
    }

    /// Answers from a node: the name's own, or the wildcard that expands to it. `below` is the wildcard's encloser and
    /// its depth.
    fn data(
        &self,
        view: ZoneView<'a>,
        node: NameId,
        below: Option<(NameId, usize)>,
        current: &CurrentName<'_>,
        message: &mut ResponseWriter<'a>,
    ) -> Result<LookupStep, Overflow> {
        let zone = view.zone;
        let owner = current.owner();
        let before = message.counts()[0];
        match current.rtype {
            rtype::ANY => self.any(view, node, owner, message)?,
            rtype::RRSIG => {
                for (id, _) in rrsets_of(view, node) {
                    message.write_rrset_signatures(&rrset(view, node, id), owner)?;
                }
            }
            rtype::NSEC3 => {}
            rtype => {
                if let Some(set) = zone.find_rrset(node, rtype) {
                    message.write_rrset(
                        Section::Answer,
                        &rrset(view, node, set),
                        owner,
                        self.dnssec_ok,
                        None,
                    )?;
                }
            }
        }
        let is_empty = message.counts()[0] == before;
        // NSEC and RRSIG are allowed beside a CNAME (RFC 4034 section 3), so their absence is final in a zone with
        // NSEC.
        let is_final = match current.rtype {
            rtype::NSEC => matches!(zone.denial, Denial::Nsec(_)),
            rtype::RRSIG => true,
            _ => false,
        };
        let followed = match zone.cname(node) {
            Some(cname) if is_empty && !is_final => {
                let place = message.write_rrset(
                    Section::Answer,
                    &rrset(view, node, cname),
                    owner,
                    self.dnssec_ok,
                    None,
                )?;
                Some(LookupStep::Follow { alias: cname, depth: current.name.depth(), place })
            }
            _ => None,
        };
        if is_empty && followed.is_none() {
            self.soa(view, message)?;
            if let Some((encloser, depth)) = below {
                self.deny(view, encloser, depth, current.name, message);
            }
            self.add_proofs(view, zone.proof(node).node, message);
        } else if let Some((encloser, depth)) = below {
            self.deny_closer(view, encloser, depth, current.name, message);
        }
        Ok(followed.unwrap_or(LookupStep::Done(Rcode::NoError)))
    }

    /// Writes all RRsets of the node, or one for a minimal ANY.
    fn any(
        &self,
        view: ZoneView<'a>,
        node: NameId,
        owner: OwnerName<'_>,
        message: &mut ResponseWriter<'a>,
    ) -> Result<(), Overflow> {
        for (id, set) in rrsets_of(view, node) {
            // An RRset may have nothing but signatures.
            if !self.dnssec_ok && (set.rtype == rtype::NSEC || !set.has_records()) {
                continue;
            }
            message.write_rrset(Section::Answer, &rrset(view, node, id), owner, self.dnssec_ok, None)?;
            if self.minimal_any {
                break;
            }
        }
        Ok(())
    }

    /// Follows a DNAME (RFC 6672 section 3.2, step 3.C). A DNAME that the answer already has is not repeated.
    fn redirect(
        &self,
        dname: &RrsetRef<'a>,
        depth: usize,
        current: &CurrentName<'_>,
        message: &mut ResponseWriter<'a>,
    ) -> Result<LookupStep, Overflow> {
        if !message.contains(dname) {
            message.write_rrset(Section::Answer, dname, OwnerName::Own, self.dnssec_ok, None)?;
        }
        let Some(target) = dname.view.zone.target(dname.id) else {
            return Ok(LookupStep::Done(Rcode::ServFail));
        };
        let kept = &current.name.wire()[..current.name.suffix_start(depth)];
        if kept.len() + target.len() > MAX_NAME {
            return Ok(LookupStep::Done(Rcode::YxDomain));
        }
        let place = message.synthesized_cname(dname, current.owner(), kept, &target)?;
        Ok(if current.rtype == rtype::CNAME {
            LookupStep::Done(Rcode::NoError)
        } else {
            LookupStep::Follow { alias: dname.id, depth, place }
        })
    }

    fn refer(
        &self,
        view: ZoneView<'a>,
        cut: NameId,
        message: &mut ResponseWriter<'a>,
    ) -> Result<(), Overflow> {
        let zone = view.zone;
        if let Some(set) = zone.find_rrset(cut, rtype::NS) {
            message.write_rrset(Section::Authority, &rrset(view, cut, set), OwnerName::Own, false, None)?;
        }
        if !self.dnssec_ok || matches!(zone.denial, Denial::None) {
            return Ok(());
        }
        if let Some(set) = zone.find_rrset(cut, rtype::DS) {
            return message
                .write_rrset(Section::Authority, &rrset(view, cut, set), OwnerName::Own, true, None)
                .map(drop);
        }
        self.add_proofs(view, zone.proof(cut).node, message);
        Ok(())
    }

    fn soa(&self, view: ZoneView<'a>, message: &mut ResponseWriter<'a>) -> Result<(), Overflow> {
        let soa = rrset(view, view.zone.apex, view.zone.soa);
        let ttl = Some(view.zone.negative_ttl);
        message.write_rrset(Section::Authority, &soa, OwnerName::Own, self.dnssec_ok, ttl).map(drop)
    }

    /// Proves that no node matches `name` closer than its encloser does.
    fn deny(
        &self,
        view: ZoneView<'a>,
        encloser: NameId,
        depth: usize,
        name: &DomainName,
        message: &mut ResponseWriter<'a>,
    ) {
        if matches!(view.zone.denial, Denial::Nsec3(_)) {
            self.add_proofs(view, view.zone.proof(encloser).node, message);
        }
        self.deny_closer(view, encloser, depth, name, message);
    }

    /// Proves that no node lies between `name` and its encloser, where the encloser is known from a wildcard's
    /// signature (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6).
    fn deny_closer(
        &self,
        view: ZoneView<'a>,
        encloser: NameId,
        depth: usize,
        name: &DomainName,
        message: &mut ResponseWriter<'a>,
    ) {
        if !self.dnssec_ok {
            return;
        }
        let proof = view.zone.proof(encloser);
        let cover = match &view.zone.denial {
            Denial::Nsec3(_) if !proof.hashed => proof.node[1],
            denial => denial.cover(name, depth + 1),
        };
        self.add_proofs(view, [cover, None], message);
    }

    fn add_proofs(
        &self,
        view: ZoneView<'a>,
        owners: [Option<zone::ProofOwner>; 2],
        message: &mut ResponseWriter<'a>,
    ) {
        if self.dnssec_ok {
            owners.into_iter().flatten().for_each(|owner| message.add_proof(view, owner.id()));
        }
    }
}
