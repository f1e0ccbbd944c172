//! The permitted differences of two right answers to the same question.

use crate::compare::{Record, Reply};
use crate::exceptions::Arbiter;
use crate::questions::{Edns, Question};

const A: u16 = 1;
const NS: u16 = 2;
const AAAA: u16 = 28;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const ANY: u16 = 255;

/// Takes that out of both answers. `apexes` are the names of the zones that are served, in lowercase and without a final
/// dot.
pub fn settle(
    question: &Question,
    peer: Arbiter,
    apexes: &[String],
    expected: &mut Reply,
    actual: &mut Reply,
) {
    for reply in [&mut *expected, &mut *actual] {
        // RFC 2181 section 5: no record is there twice; Knot and NSD repeat an alias that leads to itself by a wildcard.
        reply.sections.iter_mut().for_each(without_repeated);
        let [answer, authority, additional] = &mut reply.sections;
        let cuts: Vec<String> = authority
            .iter()
            .filter(|record| record.rtype == NS && !apexes.contains(&record.owner))
            .map(|record| record.owner.clone())
            .collect();
        // RFC 1034 section 4.3.2 asks for no NS set of the zone beside an answer.
        if !answer.is_empty() {
            authority.retain(|record| {
                let of_apex = apexes.contains(&record.owner);
                !(of_apex && (record.rtype == NS || record.text.starts_with("RRSIG NS ")))
            });
        }
        // RFC 9471 section 2: addresses of name servers below the cut have to be in a referral; all else is a kindness.
        additional.retain(|record| {
            let below = |cut: &String| record.owner == *cut || record.owner.ends_with(&format!(".{cut}"));
            matches!(record.rtype, A | AAAA) && cuts.iter().any(below)
        });
    }
    if question.rtype == ANY {
        if peer == Arbiter::Bind && question.edns != Edns::Signed {
            // RFC 4035 section 3.2.1: no RRSIG or NSEC records without DO, unless they are asked for.
            expected.sections[0].retain(|record| !matches!(record.rtype, RRSIG | NSEC));
        }
        // RFC 8482 section 4.1: Knot and NSD choose one set.
        if peer != Arbiter::Bind {
            retain_expected(expected, actual);
        }
    }
    // RFC 8482 section 7: Knot chooses one set's.
    if question.rtype == RRSIG && peer == Arbiter::Knot {
        retain_expected(expected, actual);
    }
}

fn without_repeated(section: &mut Vec<Record>) {
    let mut kept = Vec::<Record>::new();
    for record in section.drain(..) {
        if !kept.iter().any(|other| other.is(&record)) {
            kept.push(record);
        }
    }
    *section = kept;
}

/// Leaves of an answer only what the other has, if that is something.
fn retain_expected(expected: &Reply, actual: &mut Reply) {
    if !expected.sections[0].is_empty() {
        actual.sections[0].retain(|record| expected.sections[0].iter().any(|other| other.is(record)));
    }
}
