//! Compiling a signed zone's denial: the chains, and for each node what proves its lack of types and of children.

use super::catalog::{SetId, Zone};
use super::denial::{Denial, Hash, MAX_ITERATIONS, Nsec3, Proof};
use super::group::Group;
use super::load::{Place, ZoneError};
use super::name::{CanonicalKey, Name};
use domain::utils::base32;

/// The chain of a zone's NSEC sets; none if it has none.
pub(super) fn nsec<'a>(sets: impl Iterator<Item = (&'a Name, SetId)>) -> Denial {
    let mut chain: Vec<(Box<[u8]>, SetId)> =
        sets.map(|(name, set)| (CanonicalKey::of(name, name.depth()).as_slice().into(), set)).collect();
    chain.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    if chain.is_empty() { Denial::None } else { Denial::Nsec(chain) }
}

/// The chain of the NSEC3 sets that have the parameters (algorithm, flags, iterations, salt) of NSEC3PARAM.
pub(super) fn nsec3(
    apex: &Name,
    parameters: &[u8],
    place: &Place,
    sets: &[(&Group, SetId, &Vec<u8>, &Place)],
) -> Result<Denial, ZoneError> {
    let &[algorithm, _, high, low, salt_length, ref salt @ ..] = parameters else {
        return Err(place.error("NSEC3PARAM too short"));
    };
    if algorithm != 1 {
        return Err(place.error(format!("NSEC3 hash algorithm {algorithm}: only 1 (SHA-1) is defined")));
    }
    let iterations = u16::from_be_bytes([high, low]);
    if iterations > MAX_ITERATIONS {
        let what =
            format!("{iterations} NSEC3 iterations: at most {MAX_ITERATIONS} are served; RFC 9276 wants 0");
        return Err(place.error(what));
    }
    let mut chain = Vec::new();
    for &(group, set, rdata, place) in sets {
        if rdata.get(2..5) != Some(&[high, low, salt_length]) || !rdata[5..].starts_with(salt) {
            continue;
        }
        let hash = (group.name.depth() == apex.depth() + 1).then(|| decode(group.name.wire())).flatten();
        let Some(hash) = hash else {
            return Err(place.error("the owner of NSEC3 is no hash below the apex"));
        };
        chain.push((hash, set));
    }
    chain.sort_unstable_by_key(|&(hash, _)| hash);
    if chain.is_empty() {
        return Err(place.error("NSEC3PARAM, but no NSEC3 record with its parameters"));
    }
    Ok(Denial::Nsec3(Nsec3 { iterations, salt: salt.into(), chain }))
}

/// The hash that a name's first label spells (RFC 5155 section 3.3).
fn decode(wire: &[u8]) -> Option<Hash> {
    let label = std::str::from_utf8(wire.get(1..=usize::from(wire[0]))?).ok()?;
    base32::decode_hex::<Vec<u8>>(label).ok()?.try_into().ok()
}

/// Finds every node's [`Proof`]. `groups` are the owners of the zone's nodes, in their order.
pub(super) fn prepare(zone: &mut Zone, groups: &[&Group]) {
    for (index, group) in groups.iter().enumerate() {
        let name = &group.name;
        let proof = match &zone.denial {
            Denial::None => Proof::default(),
            // The predecessor or the node itself, if the key is in the chain.
            denial @ Denial::Nsec(_) => Proof {
                node: [denial.cover(name, name.depth()), None],
                wildcard: wildcard_of(name).and_then(|wildcard| denial.cover(&wildcard, wildcard.depth())),
                hashed: false,
            },
            Denial::Nsec3(nsec3) => match nsec3.matching(&nsec3.hash(name.wire())) {
                Some(set) => Proof {
                    node: [Some(set), None],
                    wildcard: wildcard_of(name)
                        .and_then(|wildcard| nsec3.cover(&nsec3.hash(wildcard.wire()))),
                    hashed: true,
                },
                None => opted_out(zone, nsec3, name),
            },
        };
        zone.nodes[index].proof = proof;
    }
}

/// The proof of a node that opt-out left without an NSEC3: its closest provable encloser's, with what covers the next
/// closer name (RFC 5155 section 7.2.1). Ancestors have been prepared.
fn opted_out(zone: &Zone, nsec3: &Nsec3, name: &Name) -> Proof {
    for depth in (zone.depth..name.depth()).rev() {
        let Some(&encloser) = zone.index.get(name.suffix(depth)) else { continue };
        let encloser = &zone.node(encloser).proof;
        if encloser.hashed {
            let cover = nsec3.cover(&nsec3.hash(name.suffix(depth + 1)));
            return Proof { node: [encloser.node[0], cover], wildcard: encloser.wildcard, hashed: false };
        }
    }
    Proof::default()
}

/// The wildcard below the name, if there can be one.
fn wildcard_of(name: &Name) -> Option<Name> {
    Name::read(&[b"\x01*", name.wire()].concat()).map(|(wildcard, _)| wildcard)
}
