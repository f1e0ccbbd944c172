//! Answers that are no other server's, on purpose.

use crate::compare::Reply;
use crate::exceptions::Arbiter;
use crate::questions::Question;

const CNAME: u16 = 5;
/// Aliases that this server follows.
const MAX_CHAIN: usize = 20;
const NSEC: u16 = 47;

/// Why BIND and Knot need not have all of an answer.
pub const STAYS: &str = "RFC 1034 section 4.3.2 step 3a: the search restarts in whatever zone is served; BIND and Knot stay in \
                         the first";

/// The answer of BIND and Knot where an alias leads from one zone that is served to another: the part that is of the first, with
/// the code that `expected` has. None where no alias does, or for NSD, which goes on.
#[must_use]
pub fn first_zone_s(
    question: &Question,
    peer: Arbiter,
    expected: &Reply,
    answer: &Reply,
    apexes: &[String],
) -> Option<Reply> {
    let first = zone(&question.name.to_ascii_lowercase(), apexes);
    let aliases = answer.sections[0].iter().filter(|record| record.rtype == CNAME);
    let targets = aliases.filter_map(|record| record.text.strip_prefix("CNAME "));
    let mut zones = targets.map(|target| zone(&target.trim_end_matches('.').to_ascii_lowercase(), apexes));
    if peer == Arbiter::Nsd || !zones.any(|zone| zone.is_some() && zone != first) {
        return None;
    }
    let mut reply = Reply { rcode: expected.rcode, ..answer.clone() };
    for section in &mut reply.sections {
        section.retain(|record| zone(&record.owner, apexes) == first);
    }
    Some(reply)
}

/// The RFC's section that an answer follows where no other server does, if it is one of those.
#[must_use]
pub fn reason(question: &Question, answer: &Reply) -> Option<&'static str> {
    if answer.sections[0].iter().filter(|record| record.rtype == CNAME).count() >= MAX_CHAIN {
        return Some(
            "a chain of aliases that does not end is cut off after 20; Knot, NSD and BIND cut it off elsewhere",
        );
    }
    let has = |rtype: u16| answer.sections[0].iter().any(|record| record.rtype == rtype);
    (question.rtype == NSEC && has(CNAME) && !has(NSEC)).then_some(
        "RFC 1034 section 4.3.2 step 3a: an alias is followed whatever is asked for, unless there is NSEC beside it; BIND \
         and Knot stay, and NSD, which goes on, proves the target's absence by other NSEC3 records below an opt-out span",
    )
}

/// The zone that a name is of.
fn zone<'a>(name: &str, apexes: &'a [String]) -> Option<&'a String> {
    let contains = |apex: &&String| name == apex.as_str() || name.ends_with(&format!(".{apex}"));
    apexes.iter().filter(contains).max_by_key(|apex| apex.len())
}
