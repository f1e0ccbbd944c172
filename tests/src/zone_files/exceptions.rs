//! Deliberate differences from most other name servers, and their reasons.

use super::judge::Verdicts;

/// A reader of zone files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// BIND: of records, by its raw files.
    Bind,
    /// Knot DNS: of records, by a zone transfer.
    Knot,
    /// NSD.
    Nsd,
}

/// The right verdict on a zone file where the majority is not followed.
#[derive(Clone, Copy, Debug)]
enum Right {
    /// This server's verdict.
    As(Peer),
    Accepted,
    Refused,
}

use Peer::{Bind, Knot, Nsd};
use Right::{Accepted, As, Refused};

/// Names of zone files (`*` at the end stands for anything), what is right of them, the reason. The first that applies counts.
const VERDICTS: &[(&[&str], Right, &str)] = &[
    (
        &["generate-generic", "generate-two-words"],
        Accepted,
        "RFC 1035 section 5.1: data runs to the end of the line; BIND wants quotes where $GENERATE makes it",
    ),
    (
        &["generate-*", "include-generate"],
        As(Bind),
        "$GENERATE is BIND's, and zone files have it; Knot and NSD do not",
    ),
    (
        &[
            "origin-at",
            "origin-comment",
            "origin-in-parentheses",
            "origin-lowercase",
            "origin-mixed-case",
            "origin-of-data",
            "origin-relative",
            "origin-then-blank-owner",
            "origin-twice",
            "include-blank-owner-first-at-origin",
            "include-nested-origin",
            "include-origin-inside",
            "include-origin-restored",
            "include-twice",
            "include-with-at-origin",
            "include-with-origin",
            "include-with-quoted-and-origin",
        ],
        As(Bind),
        "RFC 1035 section 5.1: a name without a final dot is relative to the origin; Knot and NSD want $ORIGIN and \
         $INCLUDE to have one",
    ),
    (
        &["at-with-dot"],
        As(Bind),
        "RFC 1035 section 5.1: only a free standing @ is the origin; this is a name outside the zone, and left out",
    ),
    (
        &["type0-*", "type128-*", "type249-*", "type252-*", "type255-*"],
        As(Bind),
        "RFC 6895 section 3.1, RFC 9824 section 3.1: these are of messages and questions, no record in a zone has them",
    ),
    (
        &[
            "svcb-30", "svcb-31", "svcb-32", "svcb-41", "svcb-48", "svcb-50", "svcb-163", "svcb-164",
            "svcb-166", "svcb-167", "svcb-169", "svcb-170",
        ],
        As(Bind),
        "RFC 9460 sections 2.1, 2.2 and 7: keys in order, and values in their form, however they are written",
    ),
    (&["nsec-18", "nsec-21"], As(Bind), "RFC 4034 section 4.1.2: no window is empty or ends with 0"),
    (&["apl-20"], As(Bind), "RFC 3123 section 4: no address ends with 0"),
    (&["loc-38", "loc-8"], As(Bind), "RFC 1876 sections 2 and 3: digits up to 9, latitudes up to 90 degrees"),
    (
        &["nsec3param-6"],
        Refused,
        "RFC 9276 section 3.2: validators take more iterations for none or for an attack",
    ),
    (
        &["ipseckey-21", "ipseckey-22"],
        Accepted,
        "RFC 4025 section 3: the key may be left out, in text as Knot and NSD take it, and so in the generic form",
    ),
    (
        &[
            "cla-1",
            "cla-2",
            "cla-in-*",
            "cla-with-*",
            "ipn-1",
            "ipn-3",
            "ipn-4",
            "ipn-in-*",
            "svcb-128",
            "svcb-132",
        ],
        As(Nsd),
        "in IANA's registries; BIND and Knot are older",
    ),
    (&["md-*", "mf-*"], As(Nsd), "RFC 1035 sections 3.3.4 and 3.3.5: obsolete, and types all the same"),
    (
        &["a6-*", "gid-*", "uid-*", "uinfo-*", "unspec-*", "nsap-ptr-*"],
        As(Bind),
        "in IANA's registry (RFC 2874, RFC 1348); Knot and NSD leave them out",
    ),
    (
        &["key-4", "key-5", "dnskey-5", "dnskey-6"],
        As(Bind),
        "RFC 2535 section 7.1: flags, protocol and algorithm may be names",
    ),
    (&["ds-7", "ds-8"], As(Bind), "the names of IANA's registry of digests, which BIND reads"),
    (
        &["gpos-*"],
        As(Bind),
        "RFC 1712 section 3: strings, which may be quoted, and whose use is not the server's",
    ),
    (
        &["long-parentheses", "parentheses-nested", "txt-48"],
        As(Bind),
        "RFC 1035 section 5.1 forbids no parentheses within parentheses",
    ),
    (
        &["no-ns", "soa-alone"],
        As(Nsd),
        "served with a warning: RFC 1034 section 4.2.1 wants NS records, and each name can be answered without",
    ),
    (&["rkey-2"], As(Nsd), "draft-reid-dnsext-rkey section 3: flags are a number"),
    (&["svcb-117"], As(Knot), "RFC 9848 section 3: the value of ech is a list, and not empty"),
    (&["uri-12"], Accepted, "the same data as that of a target \"\", which most accept"),
    (
        &["zero-byte-word"],
        As(Nsd),
        "RFC 1035 section 5.1: a byte that has no meaning of its own stands for itself",
    ),
    (
        &["sink-3"],
        As(Bind),
        "draft-eastlake-kitchen-sink section 2: three numbers, then data, of which there may be none",
    ),
];

const LOWEST: &str =
    "RFC 2181 section 5.2: one TTL for a set, the lowest; BIND and Knot take that of one of its records";
const LAST_STATED: &str =
    "RFC 1035 section 5.1: a TTL that is omitted is the last one stated; Knot takes an hour";
const MINIMUM: &str =
    "RFC 2308 section 4: where no TTL is stated, MINIMUM was the default; Knot takes an hour";
const TOO_LONG: &str =
    "RFC 1035 section 4.2.2: no message has room for the record, neither of an answer nor of a transfer";
const NEGATIVE: &str = "RFC 2181 section 8: a TTL with the highest bit set is 0; Knot leaves it as it is";
const SAME: &str = "RFC 4034 section 6.2: one record, whatever the case; BIND has it as it was written last";

/// Zone files of which a server serves other records than this: its name, the server, the reason.
pub const RECORDS: &[(&str, Peer, &str)] = &[
    ("duplicate-another-ttl", Knot, LOWEST),
    ("duplicate-differing-in-case-of-lp", Knot, "RFC 6840 section 5.1: in LP case counts"),
    ("duplicate-differing-in-case-of-naptr", Bind, SAME),
    ("duplicate-differing-in-case-of-rp", Bind, SAME),
    ("duplicate-differing-in-case-of-srv", Bind, SAME),
    ("include-ttl-inside", Knot, "RFC 2308 section 4: $TTL holds for all records that come after"),
    ("long-data-of-65535", Knot, TOO_LONG),
    ("no-ttl-anywhere", Knot, MINIMUM),
    ("no-ttl-at-first", Knot, MINIMUM),
    ("no-ttl-but-of-the-soa", Knot, LAST_STATED),
    ("no-ttl-inherited", Knot, LAST_STATED),
    ("nsec3param-5", Knot, "RFC 5155 section 4.1: Knot does not serve a zone hashed by an unknown algorithm"),
    (
        "rrsig-another-ttl",
        Bind,
        "RFC 4034 section 3: the TTL of an RRSIG record is that of the set that it covers",
    ),
    ("time-32-bits", Knot, NEGATIVE),
    ("time-above-31-bits", Knot, NEGATIVE),
    ("ttl-32-bits", Knot, NEGATIVE),
    ("ttl-above-31-bits", Knot, NEGATIVE),
    ("ttl-differs-apart", Bind, LOWEST),
    ("ttl-differs-apart", Knot, LOWEST),
    ("ttl-differs-apex-ns", Bind, LOWEST),
    ("ttl-differs-first-higher", Bind, LOWEST),
    ("ttl-differs-first-lower", Knot, LOWEST),
    ("ttl-differs-three", Bind, LOWEST),
    ("ttl-differs-three", Knot, LOWEST),
    ("ttl-directive-late", Knot, LAST_STATED),
];

/// Whether a zone file is to be accepted: as most servers say, or as an exception does, which is then named by the first of
/// its names.
#[must_use]
pub fn verdict(name: &str, verdicts: &Verdicts) -> (bool, Option<&'static str>) {
    let applies = |pattern: &&str| {
        pattern.strip_suffix('*').map_or(*pattern == name, |prefix| name.starts_with(prefix))
    };
    let Some((names, right, _)) = VERDICTS.iter().find(|(names, ..)| names.iter().any(applies)) else {
        return (verdicts.accepted(), None);
    };
    let accepted = match right {
        As(Bind) => verdicts.bind.is_ok(),
        As(Knot) => verdicts.knot.is_ok(),
        As(Nsd) => verdicts.nsd.is_ok(),
        Accepted => true,
        Refused => false,
    };
    (accepted, (accepted != verdicts.accepted()).then(|| names[0]))
}

/// The names by which [`verdict`] tells exceptions apart.
pub fn verdicts() -> impl Iterator<Item = &'static str> {
    VERDICTS.iter().map(|(names, ..)| names[0])
}

/// Whether a zone's records are others than a server has, on purpose.
#[must_use]
pub fn of_records(name: &str, peer: Peer) -> bool {
    RECORDS.iter().any(|(case, other, _)| *case == name && *other == peer)
}
