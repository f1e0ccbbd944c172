//! From a question to the records of its answer: RFC 1034 section 4.3.2, with RFC 4592 (wildcards), RFC 6672 (DNAME),
//! RFC 4035 section 3.1 and RFC 5155 section 7.2 (signed zones).

use super::catalog::{Catalog, Found, NameId, Node, SetId, Zone, rtype};
use super::denial::Denial;
use super::message::{Full, HEADER, Message, Owner, Section};
use super::name::{MAX_NAME, Name};
use super::query::{Question, Rcode};

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
    /// To the name sought with its suffix of `depth` labels replaced by `target`, which can be read at `place`.
    Follow {
        depth: usize,
        target: NameId,
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

impl Lookup<'_> {
    /// Writes the answer to `question`, whose name stands right behind the header.
    pub(super) fn answer(&self, question: &Question, message: &mut Message<'_>) -> Result<Outcome, Full> {
        let Some(zone) = self.zone(&question.name, question.rtype) else {
            return Ok(Outcome { rcode: Rcode::Refused, authoritative: false });
        };
        let found = zone.find(&question.name);
        let (Found::Exact(anchor) | Found::Below(anchor, _)) = found;
        message.note(zone.node(anchor).name, HEADER + question.name.len());

        let referral = Self::delegates(zone, found, question.rtype).is_some();
        let mut visited = [0; MAX_CHAIN];
        let mut followed;
        let (mut name, mut place) = (&question.name, HEADER);
        let (mut zone, mut found) = (zone, found);
        let mut rcode = Rcode::NoError;
        for link in 0..MAX_CHAIN {
            let sought = Sought { name, place, rtype: question.rtype };
            match self.step(zone, found, &sought, message)? {
                Step::Done(code) => {
                    rcode = code;
                    break;
                }
                Step::Follow { depth, target, place: at } => {
                    let Some(redirected) = name.redirect(depth, self.catalog.wire(target)) else { break };
                    followed = redirected;
                    (name, place) = (&followed, at);
                }
            }
            visited[link] = self.catalog.fingerprint(name);
            if visited[..link].contains(&visited[link]) || name.wire() == question.name.wire() {
                break;
            }
            let Some(next) = self.zone(name, question.rtype) else { break };
            (zone, found) = (next, next.find(name));
        }
        message.proofs()?;
        message.additional(self.signed)?;
        Ok(Outcome { rcode, authoritative: !referral })
    }

    /// The zone to answer from. A DS set belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1).
    fn zone(&self, name: &Name, rtype: u16) -> Option<&Zone> {
        let zone = self.catalog.zone_of(name, name.depth())?;
        if rtype == rtype::DS && zone.depth == name.depth() && zone.depth > 0 {
            return self.catalog.zone_of(name, name.depth() - 1).or(Some(zone));
        }
        Some(zone)
    }

    /// The cut that the answer refers to.
    fn delegates(zone: &Zone, found: Found, rtype: u16) -> Option<&Node> {
        let (Found::Exact(anchor) | Found::Below(anchor, _)) = found;
        let cut = zone.node(anchor).cut?;
        match found {
            Found::Exact(node) if node == cut && rtype == rtype::DS => None,
            _ => Some(zone.node(cut)),
        }
    }

    fn step(
        &self,
        zone: &Zone,
        found: Found,
        sought: &Sought<'_>,
        message: &mut Message<'_>,
    ) -> Result<Step, Full> {
        if let Some(cut) = Self::delegates(zone, found, sought.rtype) {
            self.refer(zone, cut, message)?;
            return Ok(Step::Done(Rcode::NoError));
        }
        match found {
            Found::Exact(node) => {
                let node = zone.node(node);
                self.data(zone, node, None, sought, message)
            }
            Found::Below(encloser, depth) => {
                let encloser = zone.node(encloser);
                if let Some(dname) = encloser.dname {
                    return self.redirect(dname, depth, sought, message);
                }
                if let Some(wildcard) = encloser.wildcard {
                    return self.data(zone, zone.node(wildcard), Some((encloser, depth)), sought, message);
                }
                self.soa(zone, message)?;
                self.deny(zone, encloser, depth, sought.name, message);
                self.prove([encloser.proof.wildcard, None], message);
                Ok(Step::Done(Rcode::NxDomain))
            }
        }
    }

    /// Answers from a node: the name's own, or the wildcard that it is made from, `below` its encloser.
    fn data(
        &self,
        zone: &Zone,
        node: &Node,
        below: Option<(&Node, usize)>,
        sought: &Sought<'_>,
        message: &mut Message<'_>,
    ) -> Result<Step, Full> {
        let catalog = self.catalog;
        let owner = sought.owner();
        let before = message.counts()[0];
        match sought.rtype {
            rtype::ANY => self.any(node, owner, message)?,
            rtype::RRSIG => {
                for (id, _) in catalog.sets_of(node) {
                    message.signatures(id, owner)?;
                }
            }
            rtype => {
                if let Some(set) = catalog.find_set(node, rtype) {
                    message.set(Section::Answer, set, owner, self.signed, None)?;
                }
            }
        }
        let is_empty = message.counts()[0] == before;
        let followed = match node.cname {
            // NSEC and RRSIG stand beside a CNAME (RFC 4034 section 3): their absence is final.
            Some(cname) if is_empty && !matches!(sought.rtype, rtype::NSEC | rtype::RRSIG) => {
                let place = message.set(Section::Answer, cname, owner, self.signed, None)?;
                catalog.set(cname).target.map(|target| Step::Follow {
                    depth: sought.name.depth(),
                    target,
                    place,
                })
            }
            _ => None,
        };
        if is_empty && followed.is_none() {
            self.soa(zone, message)?;
            if let Some((encloser, depth)) = below {
                self.deny(zone, encloser, depth, sought.name, message);
            }
            self.prove(node.proof.node, message);
        } else if let Some((encloser, depth)) = below {
            self.deny_closer(zone, encloser, depth, sought.name, message);
        }
        Ok(followed.unwrap_or(Step::Done(Rcode::NoError)))
    }

    /// Everything at the node, or what stands for it.
    fn any(&self, node: &Node, owner: Owner<'_>, message: &mut Message<'_>) -> Result<(), Full> {
        for (id, set) in self.catalog.sets_of(node) {
            if set.rtype == rtype::NSEC && !self.signed {
                continue;
            }
            message.set(Section::Answer, id, owner, self.signed, None)?;
            if self.minimal_any {
                break;
            }
        }
        Ok(())
    }

    /// RFC 6672 section 3.2, step 3.C.
    fn redirect(
        &self,
        dname: SetId,
        depth: usize,
        sought: &Sought<'_>,
        message: &mut Message<'_>,
    ) -> Result<Step, Full> {
        let catalog = self.catalog;
        message.set(Section::Answer, dname, Owner::Own, self.signed, None)?;
        let Some(target) = catalog.set(dname).target else { return Ok(Step::Done(Rcode::ServFail)) };
        let kept = &sought.name.wire()[..sought.name.suffix_start(depth)];
        if kept.len() + catalog.wire(target).len() > MAX_NAME {
            return Ok(Step::Done(Rcode::YxDomain));
        }
        let place = message.synthesized_cname(dname, sought.owner(), kept, target)?;
        Ok(if sought.rtype == rtype::CNAME {
            Step::Done(Rcode::NoError)
        } else {
            Step::Follow { depth, target, place }
        })
    }

    fn refer(&self, zone: &Zone, cut: &Node, message: &mut Message<'_>) -> Result<(), Full> {
        let catalog = self.catalog;
        if let Some(set) = catalog.find_set(cut, rtype::NS) {
            message.set(Section::Authority, set, Owner::Own, false, None)?;
        }
        if !self.signed || matches!(zone.denial, Denial::None) {
            return Ok(());
        }
        if let Some(set) = catalog.find_set(cut, rtype::DS) {
            return message.set(Section::Authority, set, Owner::Own, true, None).map(drop);
        }
        self.prove(cut.proof.node, message);
        Ok(())
    }

    fn soa(&self, zone: &Zone, message: &mut Message<'_>) -> Result<(), Full> {
        let ttl = Some(zone.negative_ttl);
        message.set(Section::Authority, zone.soa, Owner::Own, self.signed, ttl).map(drop)
    }

    /// Proves that no node matches `name` closer than its encloser does.
    fn deny(&self, zone: &Zone, encloser: &Node, depth: usize, name: &Name, message: &mut Message<'_>) {
        if matches!(zone.denial, Denial::Nsec3(_)) {
            self.prove(encloser.proof.node, message);
        }
        self.deny_closer(zone, encloser, depth, name, message);
    }

    /// Proves that no node lies between `name` and its encloser, where the encloser is known from a wildcard's
    /// signature (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6).
    fn deny_closer(
        &self,
        zone: &Zone,
        encloser: &Node,
        depth: usize,
        name: &Name,
        message: &mut Message<'_>,
    ) {
        if !self.signed {
            return;
        }
        let cover = match &zone.denial {
            Denial::Nsec3(_) if !encloser.proof.hashed => encloser.proof.node[1],
            denial => denial.cover(name, depth + 1),
        };
        self.prove([cover, None], message);
    }

    fn prove(&self, sets: [Option<SetId>; 2], message: &mut Message<'_>) {
        if self.signed {
            sets.into_iter().flatten().for_each(|set| message.prove(set));
        }
    }
}
