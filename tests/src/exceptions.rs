//! Deliberate differences from Knot's answers: the server to compare with instead, and the reason.

use crate::compare::{Reply, trim};
use crate::questions::{Edns, Question};

/// Whose answer is taken for right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arbiter {
    /// Knot DNS.
    Knot,
    /// NSD.
    Nsd,
    /// BIND.
    Bind,
}

const NSEC: u16 = 47;
const RRSIG: u16 = 46;
const ANY: u16 = 255;

/// First labels of the names concerned (none: all), the type (none: all), the arbiter, the reason.
type Exception = (&'static [&'static str], Option<u16>, Arbiter, &'static str);

const EXCEPTIONS: &[Exception] = &[
    (
        &["a.dname"],
        Some(ANY),
        Arbiter::Knot,
        "RFC 6672 section 3.2: the substitution restarts whatever the type; BIND stops",
    ),
    (&[], Some(ANY), Arbiter::Bind, "ANY in full; Knot and NSD answer with one set (RFC 8482)"),
    (&[], Some(RRSIG), Arbiter::Bind, "all signatures at the name; Knot answers with one set's"),
    (
        &["external", "host.dother", "nohost.dother"],
        None,
        Arbiter::Nsd,
        "RFC 1034 section 4.3.2 step 3a: the search restarts in whatever zone is served; Knot stays in the first",
    ),
    (&["x.dloop"], None, Arbiter::Nsd, "a loop ends where it closes; Knot repeats one CNAME five times"),
    (
        &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbb.dlong"],
        None,
        Arbiter::Nsd,
        "RFC 6672 section 2.2: YXDOMAIN; Knot says NXDOMAIN",
    ),
    (
        &["cname"],
        Some(NSEC),
        Arbiter::Nsd,
        "RFC 1034 section 3.6.2: where no NSEC stands beside it, an alias is followed for this type as for any; Knot and BIND stop",
    ),
    (&["svcb"], None, Arbiter::Bind, "Knot puts the target's NSEC or NSEC3 beside its addresses"),
    (
        &["any.wild"],
        Some(NSEC),
        Arbiter::Nsd,
        "the NSEC that is the answer is the proof as well, under another name; Knot leaves that out",
    ),
];

/// Whom to compare with, and why if not Knot.
#[must_use]
pub fn arbiter(question: &Question) -> (Arbiter, Option<&'static str>) {
    let applies = |&&(names, rtype, _, _): &&Exception| {
        let prefix = |name: &&str| {
            question
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.') && rest.matches('.').count() == 2)
        };
        rtype.is_none_or(|rtype| rtype == question.rtype) && (names.is_empty() || names.iter().any(prefix))
    };
    EXCEPTIONS
        .iter()
        .find(applies)
        .map_or((Arbiter::Knot, None), |&(_, _, arbiter, why)| (arbiter, Some(why)))
}

/// Takes out of both answers what they may differ in.
pub fn settle(question: &Question, arbiter: Arbiter, expected: &mut Reply, actual: &mut Reply) {
    // Addresses from every zone served, which no other server looks for.
    let zones: Vec<&str> = question.name.rsplitn(3, '.').take(2).collect();
    let zone = zones.into_iter().rev().collect::<Vec<_>>().join(".");
    actual.sections[2].retain(|record| record.owner.ends_with(&zone));
    if arbiter != Arbiter::Knot {
        trim(expected);
    }
    if question.rtype == ANY {
        // BIND adds no addresses to ANY, and adds NSEC and RRSIG without DO, against RFC 4035 section 3.2.1.
        expected.sections[2].clear();
        actual.sections[2].clear();
        if question.edns != Edns::Signed {
            expected.sections[0].retain(|record| !matches!(record.rtype, RRSIG | NSEC));
        }
        // Knot answers with the first set only.
        if arbiter == Arbiter::Knot {
            let first = expected.sections[0].clone();
            actual.sections[0].retain(|record| first.iter().any(|other| other.is(record)));
        }
    }
}
