//! Where this differs from other name servers on purpose, and why.

/// Who reads a zone file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// BIND, by its raw files.
    Bind,
    /// Knot DNS, by a zone transfer.
    Knot,
}

/// Reason, and the names of zone files.
type Verdicts = &'static [(&'static str, &'static [&'static str])];

/// Zone files that the majority accepts and this refuses, or the other way round: reason and names.
pub const VERDICTS: Verdicts = &[
    (
        "$GENERATE is BIND's: files that are written for it load here; and data may have blanks without being quoted",
        &[
            "generate-absolute-owner",
            "generate-at-owner",
            "generate-below-zero",
            "generate-class",
            "generate-class-and-ttl",
            "generate-cname",
            "generate-comment",
            "generate-decimal",
            "generate-double-dollar",
            "generate-escaped-dollar",
            "generate-even-nibbles",
            "generate-from-zero",
            "generate-generic",
            "generate-hexadecimal",
            "generate-large-step",
            "generate-lowercase",
            "generate-negative-offset",
            "generate-nibbles",
            "generate-no-dollar",
            "generate-octal",
            "generate-offset",
            "generate-one",
            "generate-outside",
            "generate-plain",
            "generate-quoted-data",
            "generate-quoted-two-words",
            "generate-relative-owner",
            "generate-same-owner",
            "generate-step",
            "generate-then-blank-owner",
            "generate-ttl",
            "generate-ttl-and-class",
            "generate-twice",
            "generate-two-words",
            "generate-unquoted-data",
            "generate-uppercase",
            "generate-uppercase-nibbles",
            "generate-width",
            "include-generate",
        ],
    ),
    (
        "RFC 1035 section 5.1: a relative name in a directive is relative to the origin, as everywhere; Knot and NSD take absolute ones only",
        &[
            "include-blank-owner-first-at-origin",
            "include-nested-origin",
            "include-origin-inside",
            "include-origin-restored",
            "include-twice",
            "include-with-at-origin",
            "include-with-origin",
            "include-with-quoted-and-origin",
            "origin-at",
            "origin-comment",
            "origin-in-parentheses",
            "origin-lowercase",
            "origin-mixed-case",
            "origin-of-data",
            "origin-relative",
            "origin-then-blank-owner",
            "origin-twice",
        ],
    ),
    (
        "RFC 1035 section 5.1 forbids no parentheses within parentheses",
        &["long-parentheses", "parentheses-nested", "txt-48"],
    ),
    (
        "RFC 1035 section 5.1: @ with a dot behind it is a name of one label; it lies outside the zone and is ignored, as BIND does",
        &["at-with-dot"],
    ),
    (
        "mnemonics of flags, protocols and digests (RFC 2535 section 7.1 has those of KEY), which BIND reads",
        &["dnskey-5", "dnskey-6", "ds-7", "ds-8", "key-4", "key-5"],
    ),
    (
        "a registered type that BIND or NSD reads",
        &[
            "a6-1",
            "a6-2",
            "a6-3",
            "a6-7",
            "a6-8",
            "a6-in-mixed-case",
            "a6-in-parentheses",
            "cla-1",
            "cla-2",
            "cla-in-mixed-case",
            "cla-in-parentheses",
            "cla-with-quoted-first-field",
            "cla-with-trailing-data",
            "gid-1",
            "gid-generic-without-data",
            "gid-in-mixed-case",
            "gid-in-parentheses",
            "gpos-2",
            "gpos-4",
            "gpos-6",
            "gpos-9",
            "gpos-with-quoted-first-field",
            "ipn-1",
            "ipn-3",
            "ipn-4",
            "ipn-in-mixed-case",
            "ipn-in-parentheses",
            "md-1",
            "md-2",
            "md-3",
            "md-in-mixed-case",
            "md-in-parentheses",
            "mf-1",
            "mf-2",
            "mf-3",
            "mf-in-mixed-case",
            "mf-in-parentheses",
            "nsap-ptr-1",
            "nsap-ptr-2",
            "nsap-ptr-3",
            "nsap-ptr-in-mixed-case",
            "nsap-ptr-in-parentheses",
            "rkey-2",
            "sink-3",
            "svcb-128",
            "svcb-132",
            "uid-1",
            "uid-generic-without-data",
            "uid-in-mixed-case",
            "uid-in-parentheses",
            "uinfo-1",
            "uinfo-generic-without-data",
            "uinfo-in-mixed-case",
            "uinfo-in-parentheses",
            "unspec-1",
            "unspec-generic-without-data",
            "unspec-in-mixed-case",
            "unspec-in-parentheses",
        ],
    ),
    ("served with a warning: a zone is asked for by whoever knows its server", &["no-ns", "soa-alone"]),
    (
        "RFC 1035 section 5.1: any byte but those with a meaning of their own stands for itself",
        &["zero-byte-word"],
    ),
    ("the same data as with a target of \"\", which most accept", &["uri-12"]),
    (
        "RFC 6895 section 3.1: no type of data",
        &[
            "type0-1",
            "type0-2",
            "type0-generic-without-data",
            "type0-in-mixed-case",
            "type0-in-parentheses",
            "type128-1",
            "type128-generic-without-data",
            "type128-in-mixed-case",
            "type128-in-parentheses",
            "type249-generic-without-data",
            "type252-1",
            "type252-generic-without-data",
            "type252-in-mixed-case",
            "type252-in-parentheses",
            "type255-1",
            "type255-generic-without-data",
            "type255-in-mixed-case",
            "type255-in-parentheses",
        ],
    ),
    (
        "RFC 9460 sections 2.2 and 7: a value that no client can read, as text or in wire form (ech: RFC 9848 section 3)",
        &[
            "svcb-117", "svcb-163", "svcb-164", "svcb-166", "svcb-167", "svcb-169", "svcb-170", "svcb-30",
            "svcb-31", "svcb-32", "svcb-41", "svcb-48", "svcb-50",
        ],
    ),
    ("RFC 4034 section 4.1.2: no window is empty or ends with 0", &["nsec-18", "nsec-21"]),
    ("RFC 3123 section 4: an address ends with no byte of 0", &["apl-20"]),
    (
        "RFC 1876 section 2: degrees up to 90, one digit and an exponent, version 0",
        &["loc-37", "loc-38", "loc-8"],
    ),
    ("RFC 2535 section 5.2: there are types, NXT at least", &["nxt-6"]),
    (
        "RFC 9276 section 3.2: more than 150 iterations are a way to wear a server out, and make the zone insecure",
        &["nsec3param-6"],
    ),
];

const LOWEST: &str =
    "RFC 2181 section 5.2: one TTL for a set, the lowest; BIND and Knot take that of one of its records";
const LAST_STATED: &str =
    "RFC 1035 section 5.1: a TTL that is omitted is the last one stated; Knot takes an hour";
const CASE: &str = "RFC 4034 section 6.2: the case of names in this data does not tell records apart";
const KNOT_TTL: &str =
    "RFC 2308 section 4: without $TTL, a TTL is the SOA's own, or what $TTL said last; Knot takes an hour";
const SIGN: &str = "RFC 2181 section 8: a TTL with the highest bit set counts as 0";
const TOO_LONG: &str =
    "RFC 1035 section 4.2.2: no message has room for the record, neither of an answer nor of a transfer";

/// Zone files of which a server serves other records than this: its name, the server, the reason.
pub const RECORDS: &[(&str, Peer, &str)] = &[
    ("duplicate-differing-in-case-of-lp", Peer::Knot, CASE),
    ("duplicate-differing-in-case-of-naptr", Peer::Bind, CASE),
    ("duplicate-differing-in-case-of-rp", Peer::Bind, CASE),
    ("duplicate-differing-in-case-of-srv", Peer::Bind, CASE),
    ("include-ttl-inside", Peer::Knot, KNOT_TTL),
    ("no-ttl-anywhere", Peer::Knot, KNOT_TTL),
    ("no-ttl-at-first", Peer::Knot, KNOT_TTL),
    ("ttl-directive-late", Peer::Knot, KNOT_TTL),
    (
        "nsec3param-5",
        Peer::Knot,
        "RFC 5155 section 4.1: an algorithm that is not known is ignored; Knot transfers no such zone",
    ),
    ("time-32-bits", Peer::Knot, SIGN),
    ("time-above-31-bits", Peer::Knot, SIGN),
    ("ttl-32-bits", Peer::Knot, SIGN),
    ("ttl-above-31-bits", Peer::Knot, SIGN),
    ("duplicate-another-ttl", Peer::Knot, LOWEST),
    ("long-data-of-65535", Peer::Bind, TOO_LONG),
    ("long-data-of-65535", Peer::Knot, TOO_LONG),
    ("no-ttl-but-of-the-soa", Peer::Knot, LAST_STATED),
    ("no-ttl-inherited", Peer::Knot, LAST_STATED),
    (
        "rrsig-another-ttl",
        Peer::Bind,
        "RFC 4034 section 3: the TTL of an RRSIG record is that of the set that it covers",
    ),
    ("ttl-differs-apart", Peer::Bind, LOWEST),
    ("ttl-differs-apart", Peer::Knot, LOWEST),
    ("ttl-differs-apex-ns", Peer::Bind, LOWEST),
    ("ttl-differs-first-higher", Peer::Bind, LOWEST),
    ("ttl-differs-first-lower", Peer::Knot, LOWEST),
    ("ttl-differs-three", Peer::Bind, LOWEST),
    ("ttl-differs-three", Peer::Knot, LOWEST),
];

/// Whether the verdict on a zone file is another than the majority's on purpose.
#[must_use]
pub fn of_verdict(name: &str) -> bool {
    VERDICTS.iter().any(|(_, cases)| cases.contains(&name))
}

/// Whether a zone's records are others than a server has, on purpose.
#[must_use]
pub fn of_records(name: &str, peer: Peer) -> bool {
    RECORDS.iter().any(|(case, other, _)| *case == name && *other == peer)
}
