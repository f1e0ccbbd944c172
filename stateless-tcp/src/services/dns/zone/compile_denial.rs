//! Compiles a signed zone's denial of existence: the chains, and for each node the proofs that it lacks types and
//! children.

use super::super::name::DomainName;
use super::super::rtype;
use super::super::zonefile::Position;
use super::denial::{Denial, DenialProof, MAX_ITERATIONS, Nsec, Nsec3, Nsec3Hash, ProofOwner};
use super::name_tree::NameId;
use super::problem::Problem;
use super::{RecordData, Zone};
use domain::utils::base32;

/// Bytes of algorithm, flags, iterations and salt length, in front of the salt (RFC 5155 sections 3.2 and 4.2).
const PARAMETERS: usize = 5;
/// The only hash algorithm.
const SHA_1: u8 = 1;

/// The zone's method of denial: the NSEC3 chain of its NSEC3PARAM, or else its NSEC records, if any. `place` returns
/// the position of an owner's records of a type.
pub(super) fn chain(
    zone: &Zone,
    place: impl Fn(NameId, u16) -> Position,
    warnings: &mut Vec<Problem>,
) -> Result<Denial, Problem> {
    let hashed: Vec<NameId> =
        zone.names.ids().filter(|&id| zone.find_rrset(id, rtype::NSEC3).is_some()).collect();
    let parameters = zone.find_rrset(zone.apex, rtype::NSEC3PARAM);
    if let Some(set) = parameters {
        let at = place(zone.apex, rtype::NSEC3PARAM);
        for data in zone.records(zone.rrset(set)) {
            if let Some(nsec3) = nsec3(zone, plain(data), &hashed, at)? {
                return Ok(Denial::Nsec3(nsec3));
            }
        }
        warnings.push(Problem::at(
            at,
            "no NSEC3 record has the parameters of NSEC3PARAM: nothing is denied by NSEC3",
        ));
    } else if let Some(&first) = hashed.first() {
        let what = "NSEC3, but the apex has no NSEC3PARAM to say how names are hashed: not served";
        warnings.push(Problem::at(place(first, rtype::NSEC3), what));
    }
    let owners =
        zone.names.ids().filter(|&id| zone.is_node(id) && zone.find_rrset(id, rtype::NSEC).is_some());
    let nsec = Nsec::new(&zone.names.name(zone.apex), owners.map(|id| (zone.names.name(id), id)));
    let nsec =
        nsec.ok_or_else(|| Problem::whole_zone("the names of its NSEC records take more than 4 GiB"))?;
    Ok(if nsec.is_empty() { Denial::None } else { Denial::Nsec(nsec) })
}

/// The chain of the NSEC3 records with these parameters. `None` if there are none, or if a server must ignore these
/// parameters (RFC 5155 section 4.1.2).
fn nsec3(zone: &Zone, parameters: &[u8], hashed: &[NameId], at: Position) -> Result<Option<Nsec3>, Problem> {
    let &[algorithm, flags, high, low, salt_length, ref salt @ ..] = parameters else { return Ok(None) };
    if algorithm != SHA_1 || flags != 0 {
        return Ok(None);
    }
    let iterations = u16::from_be_bytes([high, low]);
    if iterations > MAX_ITERATIONS {
        let what =
            format!("{iterations} NSEC3 iterations: at most {MAX_ITERATIONS} are served; RFC 9276 wants 0");
        return Err(Problem::at(at, what));
    }
    let same = |data: &[u8]| {
        data.first() == Some(&SHA_1)
            && data.get(2..PARAMETERS) == Some(&[high, low, salt_length])
            && data[PARAMETERS..].starts_with(salt)
    };
    let mut chain: Vec<(Nsec3Hash, NameId)> = Vec::with_capacity(hashed.len());
    for &id in hashed {
        let set = zone.find_rrset(id, rtype::NSEC3);
        let mut records = set.map(|set| zone.records(zone.rrset(set))).into_iter().flatten();
        if zone.names.parent(id) == zone.apex
            && records.any(|data| same(plain(data)))
            && let Some(hash) = decode(zone.names.label(id))
        {
            chain.push((hash, id));
        }
    }
    chain.sort_unstable_by_key(|&(hash, _)| hash);
    Ok((!chain.is_empty()).then(|| Nsec3 { iterations, salt: salt.into(), chain }))
}

fn plain(data: RecordData<'_>) -> &[u8] {
    match data {
        RecordData::Plain(data) | RecordData::Names(data, ..) => data,
    }
}

/// Decodes the hash in a label behind its length (RFC 5155 section 3.3).
fn decode(label: &[u8]) -> Option<Nsec3Hash> {
    let text = std::str::from_utf8(label.get(1..)?).ok()?;
    base32::decode_hex::<Vec<u8>>(text).ok()?.try_into().ok()
}

/// Every name's [`DenialProof`]; empty for an unsigned zone.
pub(super) fn proofs(zone: &Zone) -> Vec<DenialProof> {
    if matches!(zone.denial, Denial::None) {
        return Vec::new();
    }
    let mut proofs = vec![DenialProof::default(); zone.names.len()];
    let mut nodes: Vec<NameId> = zone.names.ids().filter(|&id| zone.is_node(id)).collect();
    // Ancestors first, because nodes inherit from them.
    nodes.sort_by_key(|&id| zone.names.depth(id));
    for id in nodes {
        // Queries below a cut get a referral, not a denial; so do names that a wildcard there would match.
        let cut = zone.cut(id);
        if cut.is_some_and(|cut| cut != id) {
            continue;
        }
        let name = zone.names.name(id);
        let wildcard = || if cut.is_some() { None } else { wildcard_of(&name) };
        proofs[id.get()] = match &zone.denial {
            Denial::None => DenialProof::default(),
            denial @ Denial::Nsec(_) => DenialProof {
                // The node itself, or its predecessor.
                node: [denial.cover(&name, name.depth()), None],
                wildcard: wildcard().and_then(|wildcard| denial.cover(&wildcard, wildcard.depth())),
                hashed: false,
            },
            Denial::Nsec3(nsec3) => match nsec3.matching(&nsec3.hash(name.wire())) {
                Some(owner) => DenialProof {
                    node: [Some(owner), None],
                    wildcard: wildcard().and_then(|wildcard| nsec3.cover(&nsec3.hash(wildcard.wire()))),
                    hashed: true,
                },
                None => opted_out(zone, nsec3, &proofs, id, &name),
            },
        };
    }
    proofs
}

/// The proof of a node without NSEC3 because of opt-out: its closest provable encloser's, and the NSEC3 that covers the
/// next closer name (RFC 5155 section 7.2.1). Ancestors have their proofs already.
fn opted_out(
    zone: &Zone,
    nsec3: &Nsec3,
    proofs: &[DenialProof],
    id: NameId,
    name: &DomainName,
) -> DenialProof {
    let mut next_closer = id;
    while next_closer != zone.apex {
        let encloser = zone.names.parent(next_closer);
        let proof = &proofs[encloser.get()];
        if proof.hashed {
            let cover: Option<ProofOwner> =
                nsec3.cover(&nsec3.hash(name.suffix(zone.names.depth(next_closer))));
            return DenialProof { node: [proof.node[0], cover], wildcard: proof.wildcard, hashed: false };
        }
        next_closer = encloser;
    }
    DenialProof::default()
}

/// The wildcard below the name, if it is not too long.
fn wildcard_of(name: &DomainName) -> Option<DomainName> {
    DomainName::read(&[b"\x01*", name.wire()].concat()).map(|(wildcard, _)| wildcard)
}
