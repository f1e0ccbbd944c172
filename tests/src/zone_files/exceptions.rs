//! Where this differs from other name servers on purpose, and why.

/// Who reads a zone file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// BIND, by its raw files.
    Bind,
    /// Knot DNS, by a zone transfer.
    Knot,
}

/// Zone files that the majority accepts and this refuses, or the other way round: name and reason.
pub const VERDICTS: &[(&str, &str)] = &[];

const LOWEST: &str =
    "RFC 2181 section 5.2: one TTL for a set, the lowest; BIND and Knot take that of one of its records";
const LAST_STATED: &str =
    "RFC 1035 section 5.1: a TTL that is omitted is the last one stated; Knot takes an hour";
const TOO_LONG: &str =
    "RFC 1035 section 4.2.2: no message has room for the record, neither of an answer nor of a transfer";

/// Zone files of which a server serves other records than this: its name, the server, the reason.
pub const RECORDS: &[(&str, Peer, &str)] = &[
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
    VERDICTS.iter().any(|(case, _)| *case == name)
}

/// Whether a zone's records are others than a server has, on purpose.
#[must_use]
pub fn of_records(name: &str, peer: Peer) -> bool {
    RECORDS.iter().any(|(case, other, _)| *case == name && *other == peer)
}
