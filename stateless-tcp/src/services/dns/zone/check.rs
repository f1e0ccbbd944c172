//! Checks for records that must not coexist at a name or below it.

use super::super::name::DomainName;
use super::super::rtype;
use super::super::zonefile::Position;
use super::problem::Problem;
use super::{NameId, Rrset, Zone, flag};

/// One owner's RRsets, its name and positions for errors.
pub(super) struct OwnerRrsets<'a, N, P> {
    pub(super) is_apex: bool,
    pub(super) name: N,
    pub(super) sets: &'a [Rrset],
    /// The position of the records of a type.
    pub(super) place: P,
}

/// Rejects RRsets that must not coexist at one name (RFC 1034 section 3.6.2, RFC 4035 section 2.4, RFC 6672 section
/// 2.4).
pub(super) fn owner<N, P>(owner: &OwnerRrsets<'_, N, P>) -> Result<(), Problem>
where
    N: Fn() -> DomainName,
    P: Fn(u16) -> Position,
{
    let sets = || owner.sets.iter().filter(|set| set.count > 0);
    for set in sets() {
        let problem = match set.rtype {
            rtype::SOA | rtype::CNAME | rtype::DNAME if set.count > 1 => "more than one at a name",
            rtype::SOA if !owner.is_apex => "an SOA record below the apex: each zone has a file of its own",
            rtype::DS if owner.is_apex => "a DS record at the apex: it belongs to the parent zone",
            // NSEC is allowed beside CNAME (RFC 4034 section 3); signatures are no RRset of their own.
            rtype::CNAME if sets().any(|other| !matches!(other.rtype, rtype::CNAME | rtype::NSEC)) => {
                "CNAME and other data at one name"
            }
            _ => continue,
        };
        let what = format!("{}: {problem}", (owner.name)());
        return Err(Problem::at((owner.place)(set.rtype), what));
    }
    Ok(())
}

/// Rejects owners below a DNAME, which hides them (RFC 6672 section 2.4).
pub(super) fn below_dnames(zone: &Zone, place: impl Fn(NameId) -> Position) -> Result<(), Problem> {
    let has_dname = zone.names.ids().any(|id| zone.names.has(id, flag::DNAME));
    for id in zone.names.ids().filter(|&id| has_dname && zone.is_node(id)) {
        let mut above = id;
        while above != zone.apex {
            above = zone.names.parent(above);
            if zone.names.has(above, flag::DNAME) && zone.rrsets_of(id).next().is_some() {
                let (name, above) = (zone.names.name(id), zone.names.name(above));
                let what = format!("{name} lies below the DNAME at {above}, which hides it");
                return Err(Problem::at(place(id), what));
            }
        }
    }
    Ok(())
}
