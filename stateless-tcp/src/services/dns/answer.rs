//! From a question to the records of its answer: RFC 1034 section 4.3.2, with RFC 4592 (wildcards), RFC 6672 (DNAME),
//! RFC 4035 section 3.1 and RFC 5155 section 7.2 (signed zones).

use super::catalog::{Authority, Catalog, Rrset, View};
use super::message::{Full, HEADER, Message, Owner, Section};
use super::name::{MAX_NAME, Name};
use super::query::{Question, Rcode};
use super::zone::{self, Denial, Found, NameId, Set, SetId, Zone, rtype};

/// Most CNAMEs that one answer follows. A loop ends sooner, where it closes.
const MAX_CHAIN: usize = 20;

/// What the answer's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) rcode: Rcode,
    /// The first name of the answer is one that we are authoritative for.
    pub(super) authoritative: bool,
}

/// What is asked, and how.
pub(super) struct Lookup<'a> {
    pub(super) catalog: &'a Catalog,
    /// Signatures and proofs are wanted.
    pub(super) signed: bool,
    /// ANY is answered with one set (RFC 8482).
    pub(super) minimal_any: bool,
}

/// Where the walk along CNAMEs and DNAMEs goes on.
enum Step {
    Done(Rcode),
    /// To the name where this alias leads, its suffix of `depth` labels replaced; the new name can be read at `place`.
    Follow {
        alias: SetId,
        depth: usize,
        place: usize,
    },
}

/// The name that is looked up at this step, and where the message holds it.
struct Sought<'a> {
    name: &'a Name,
    place: usize,
    rtype: u16,
}

impl Sought<'_> {
    fn owner(&self) -> Owner<'_> {
        Owner::Written(self.name, self.place)
    }
}

/// A set of a node, for an answer.
const fn rrset(view: View<'_>, owner: NameId, set: SetId) -> Rrset<'_> {
    Rrset { view, owner, set }
}

/// The sets of a node that may be asked for: an NSEC3 record's owner is no name of the zone (RFC 5155 section 7.2.8).
fn sets_of(view: View<'_>, node: NameId) -> impl Iterator<Item = (SetId, &Set)> {
    view.zone.sets_of(node).filter(|(_, set)| set.rtype != rtype::NSEC3)
}

impl<'a> Lookup<'a> {
    /// Writes the answer to `question`, whose name stands right behind the header.
    pub(super) fn answer(&self, question: &Question, message: &mut Message<'a>) -> Result<Outcome, Full> {
        let view = match self.authority(&question.name, question.rtype) {
            Authority::Zone(view) => view,
            Authority::Broken(_) => return Ok(Outcome { rcode: Rcode::ServFail, authoritative: false }),
            Authority::None => return Ok(Outcome { rcode: Rcode::Refused, authoritative: false }),
        };
        let found = view.zone.find(&question.name);
        let (anchor, depth) = match found {
            Found::Exact(node) => (node, question.name.depth()),
            Found::Below(node, depth) => (node, depth),
        };
        message.note(view, anchor, HEADER + question.name.suffix_start(depth));

        let referral = Self::delegates(view, found, question.rtype).is_some();
        let mut visited = [0; MAX_CHAIN];
        let mut followed;
        let (mut name, mut place) = (&question.name, HEADER);
        let (mut view, mut found) = (view, found);
        let mut rcode = Rcode::NoError;
        for link in 0..MAX_CHAIN {
            let sought = Sought { name, place, rtype: question.rtype };
            match self.step(view, found, &sought, message)? {
                Step::Done(code) => {
                    rcode = code;
                    break;
                }
                Step::Follow { alias, depth, place: at } => {
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
        message.proofs()?;
        message.additional(self.signed)?;
        Ok(Outcome { rcode, authoritative: !referral })
    }

    /// The zone to answer from. A DS set belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1).
    fn authority(&self, name: &Name, rtype: u16) -> Authority<'a> {
        let authority = self.catalog.authority(name, name.depth());
        let (Authority::Zone(View { zone: Zone { depth, .. }, .. }) | Authority::Broken(depth)) = &authority
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
    fn delegates(view: View<'_>, found: Found, rtype: u16) -> Option<NameId> {
        let (Found::Exact(anchor) | Found::Below(anchor, _)) = found;
        let cut = view.zone.cut(anchor)?;
        match found {
            Found::Exact(node) if node == cut && rtype == rtype::DS => None,
            _ => Some(cut),
        }
    }

    fn step(
        &self,
        view: View<'a>,
        found: Found,
        sought: &Sought<'_>,
        message: &mut Message<'a>,
    ) -> Result<Step, Full> {
        if let Some(cut) = Self::delegates(view, found, sought.rtype) {
            self.refer(view, cut, message)?;
            return Ok(Step::Done(Rcode::NoError));
        }
        match found {
            Found::Exact(node) => self.data(view, node, None, sought, message),
            Found::Below(encloser, depth) => {
                if let Some(dname) = view.zone.dname(encloser) {
                    return self.redirect(&rrset(view, encloser, dname), depth, sought, message);
                }
                if let Some(wildcard) = view.zone.wildcard(encloser) {
                    return self.data(view, wildcard, Some((encloser, depth)), sought, message);
                }
                self.soa(view, message)?;
                self.deny(view, encloser, depth, sought.name, message);
                self.prove(view, [view.zone.proof(encloser).wildcard, None], message);
                Ok(Step::Done(Rcode::NxDomain))
            }
        }
    }

    /// Answers from a node: the name's own, or the wildcard that it is made from, `below` its encloser at a depth.
    fn data(
        &self,
        view: View<'a>,
        node: NameId,
        below: Option<(NameId, usize)>,
        sought: &Sought<'_>,
        message: &mut Message<'a>,
    ) -> Result<Step, Full> {
        let zone = view.zone;
        let owner = sought.owner();
        let before = message.counts()[0];
        match sought.rtype {
            rtype::ANY => self.any(view, node, owner, message)?,
            rtype::RRSIG => {
                for (id, _) in sets_of(view, node) {
                    message.signatures(&rrset(view, node, id), owner)?;
                }
            }
            rtype::NSEC3 => {}
            rtype => {
                if let Some(set) = zone.find_set(node, rtype) {
                    message.set(Section::Answer, &rrset(view, node, set), owner, self.signed, None)?;
                }
            }
        }
        let is_empty = message.counts()[0] == before;
        // NSEC and RRSIG stand beside a CNAME (RFC 4034 section 3): where the zone denies by NSEC, their absence is final.
        let is_final = match sought.rtype {
            rtype::NSEC => matches!(zone.denial, Denial::Nsec(_)),
            rtype::RRSIG => true,
            _ => false,
        };
        let followed = match zone.cname(node) {
            Some(cname) if is_empty && !is_final => {
                let place =
                    message.set(Section::Answer, &rrset(view, node, cname), owner, self.signed, None)?;
                Some(Step::Follow { alias: cname, depth: sought.name.depth(), place })
            }
            _ => None,
        };
        if is_empty && followed.is_none() {
            self.soa(view, message)?;
            if let Some((encloser, depth)) = below {
                self.deny(view, encloser, depth, sought.name, message);
            }
            self.prove(view, zone.proof(node).node, message);
        } else if let Some((encloser, depth)) = below {
            self.deny_closer(view, encloser, depth, sought.name, message);
        }
        Ok(followed.unwrap_or(Step::Done(Rcode::NoError)))
    }

    /// Everything at the node, or what stands for it.
    fn any(
        &self,
        view: View<'a>,
        node: NameId,
        owner: Owner<'_>,
        message: &mut Message<'a>,
    ) -> Result<(), Full> {
        for (id, set) in sets_of(view, node) {
            // A set may have nothing but signatures.
            if !self.signed && (set.rtype == rtype::NSEC || !set.has_records()) {
                continue;
            }
            message.set(Section::Answer, &rrset(view, node, id), owner, self.signed, None)?;
            if self.minimal_any {
                break;
            }
        }
        Ok(())
    }

    /// RFC 6672 section 3.2, step 3.C. A DNAME that the answer crosses again stands there already.
    fn redirect(
        &self,
        dname: &Rrset<'a>,
        depth: usize,
        sought: &Sought<'_>,
        message: &mut Message<'a>,
    ) -> Result<Step, Full> {
        if !message.has(dname) {
            message.set(Section::Answer, dname, Owner::Own, self.signed, None)?;
        }
        let Some(target) = dname.view.zone.target(dname.set) else { return Ok(Step::Done(Rcode::ServFail)) };
        let kept = &sought.name.wire()[..sought.name.suffix_start(depth)];
        if kept.len() + target.len() > MAX_NAME {
            return Ok(Step::Done(Rcode::YxDomain));
        }
        let place = message.synthesized_cname(dname, sought.owner(), kept, &target)?;
        Ok(if sought.rtype == rtype::CNAME {
            Step::Done(Rcode::NoError)
        } else {
            Step::Follow { alias: dname.set, depth, place }
        })
    }

    fn refer(&self, view: View<'a>, cut: NameId, message: &mut Message<'a>) -> Result<(), Full> {
        let zone = view.zone;
        if let Some(set) = zone.find_set(cut, rtype::NS) {
            message.set(Section::Authority, &rrset(view, cut, set), Owner::Own, false, None)?;
        }
        if !self.signed || matches!(zone.denial, Denial::None) {
            return Ok(());
        }
        if let Some(set) = zone.find_set(cut, rtype::DS) {
            return message.set(Section::Authority, &rrset(view, cut, set), Owner::Own, true, None).map(drop);
        }
        self.prove(view, zone.proof(cut).node, message);
        Ok(())
    }

    fn soa(&self, view: View<'a>, message: &mut Message<'a>) -> Result<(), Full> {
        let soa = rrset(view, view.zone.apex, view.zone.soa);
        let ttl = Some(view.zone.negative_ttl);
        message.set(Section::Authority, &soa, Owner::Own, self.signed, ttl).map(drop)
    }

    /// Proves that no node matches `name` closer than its encloser does.
    fn deny(&self, view: View<'a>, encloser: NameId, depth: usize, name: &Name, message: &mut Message<'a>) {
        if matches!(view.zone.denial, Denial::Nsec3(_)) {
            self.prove(view, view.zone.proof(encloser).node, message);
        }
        self.deny_closer(view, encloser, depth, name, message);
    }

    /// Proves that no node lies between `name` and its encloser, where the encloser is known from a wildcard's
    /// signature (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6).
    fn deny_closer(
        &self,
        view: View<'a>,
        encloser: NameId,
        depth: usize,
        name: &Name,
        message: &mut Message<'a>,
    ) {
        if !self.signed {
            return;
        }
        let proof = view.zone.proof(encloser);
        let cover = match &view.zone.denial {
            Denial::Nsec3(_) if !proof.hashed => proof.node[1],
            denial => denial.cover(name, depth + 1),
        };
        self.prove(view, [cover, None], message);
    }

    fn prove(&self, view: View<'a>, owners: [Option<zone::Prover>; 2], message: &mut Message<'a>) {
        if self.signed {
            owners.into_iter().flatten().for_each(|owner| message.prove(view, owner.id()));
        }
    }
}
