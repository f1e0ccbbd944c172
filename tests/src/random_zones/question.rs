//! Random questions about zones.

use super::zone::{Zone, relative};
use crate::questions::{Edns, Question};
use crate::seed::Random;

/// Types to ask for; common ones several times. TSIG and OPT are none: BIND says FORMERR, as others need not.
const TYPES: [u16; 37] = [
    1, 1, 1, 1, 28, 28, 2, 2, 5, 6, 12, 13, 15, 15, 16, 16, 33, 35, 39, 43, 43, 46, 47, 48, 50, 51, 52, 64,
    65, 65, 99, 255, 255, 257, 65_400, 65_401, 17,
];

/// A question, mostly for a name that a zone has or nearly has.
#[must_use]
pub fn random(zones: &[Zone], random: &mut Random) -> Question {
    let zone = &zones[random.below(zones.len())];
    let names: Vec<&String> = zone.nodes.keys().collect();
    let mut name = match random.below(10) {
        0..=5 => names[random.below(names.len())].clone(),
        6 => relative(random),
        _ => format!("{}.{}", relative(random), names[random.below(names.len())]),
    };
    // Below, above, and where a wildcard would answer.
    if random.one_in(3) {
        name = name.replacen('*', random.pick(&["a", "zz", "*", "www"]), 1);
    }
    if random.one_in(6) {
        name = name.split_once('.').map_or(name.as_str(), |(_, parent)| parent).to_owned();
    }
    if random.one_in(10) {
        name = format!("{}.{name}", random.pick(&["zz", "a.zz", "*", "0", "\u{1}"]));
    }
    let name = name.replace('@', &zone.name);
    let mut name = if name.ends_with(&zone.name) { name } else { format!("{name}.{}", zone.name) };
    if random.one_in(8) {
        name.make_ascii_uppercase();
    }
    let edns = random.pick(&[Edns::None, Edns::Plain, Edns::Signed, Edns::Signed]);
    Question { name, rtype: random.pick(&TYPES), edns }
}
