//! Answers that are no other server's, on purpose.

use crate::compare::Reply;
use crate::questions::Question;

const CNAME: u16 = 5;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;

/// The RFC's section that an answer follows where no other server does, if it is one of those.
#[must_use]
pub fn reason(question: &Question, answer: &Reply, apexes: &[String]) -> Option<&'static str> {
    if question.rtype == NSEC3 && leads_to_another_zone(question, answer, apexes) {
        return Some(
            "RFC 1034 section 4.3.2 step 3a: the search restarts in whatever zone is served; BIND and Knot stay in the \
             first, and NSD, which goes on else, leaves aliases out where NSEC3 is asked for",
        );
    }
    let has = |rtype: u16| answer.sections[0].iter().any(|record| record.rtype == rtype);
    (question.rtype == NSEC && has(CNAME) && !has(NSEC)).then_some(
        "RFC 1034 section 4.3.2 step 3a: an alias is followed whatever is asked for, unless there is NSEC beside it; BIND \
         and Knot stay, and NSD, which goes on, proves the target's absence by other NSEC3 records below an opt-out span",
    )
}

/// Whether an alias in the answer leads from one zone to another.
fn leads_to_another_zone(question: &Question, answer: &Reply, apexes: &[String]) -> bool {
    let zone = |name: &str| {
        let contains = |apex: &&String| name == apex.as_str() || name.ends_with(&format!(".{apex}"));
        apexes.iter().filter(contains).max_by_key(|apex| apex.len())
    };
    let first = zone(&question.name.to_ascii_lowercase());
    let aliases = answer.sections[0].iter().filter(|record| record.rtype == CNAME);
    let targets = aliases.filter_map(|record| record.text.strip_prefix("CNAME "));
    targets
        .map(|target| zone(target.trim_end_matches('.').to_ascii_lowercase().as_str()))
        .any(|zone| zone.is_some() && zone != first)
}
