//! The table of record types, and how one is found in it.

use super::address::{Groups, Ipv4, Ipv6};
use super::apl::Prefixes;
use super::bitmap::{NxtTypes, Types};
use super::encoded::{Base64, Hex, NextHash, OptionalBase64, Salt};
use super::field::NameCase::{Compressed, Folded, Kept};
use super::field::{Field, NameField};
use super::gateway::{A6, AmtRelay, IpsecKey};
use super::hip::Hip;
use super::legacy::{AtmAddress, Nsap, WellKnownServices};
use super::loc::Location;
use super::mnemonic::{ALGORITHMS, CERTIFICATES, DIGESTS, KEY_PROTOCOLS, SCHEMES};
use super::number::{Date, KeyFlags, Named, Number, RecordTypeField, Span};
use super::record_type::{RdataForm, RecordType, Rule};
use super::rules;
use super::string::{LongText, OptionalText, Tag, Text, Texts};
use super::svcb::{self, Params};

const fn known(number: u16, mnemonic: &'static str, fields: &'static [&'static dyn Field]) -> RecordType {
    RecordType { number, mnemonic, fields: RdataForm::Known(fields), rule: None }
}

const fn opaque(number: u16, mnemonic: &'static str) -> RecordType {
    RecordType { number, mnemonic, fields: RdataForm::Opaque, rule: None }
}

const fn meta(number: u16, mnemonic: &'static str) -> RecordType {
    RecordType { number, mnemonic, fields: RdataForm::Meta, rule: None }
}

impl RecordType {
    const fn with(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }
}

const ALGORITHM: &dyn Field = &Named::<1>("an algorithm", ALGORITHMS);
const FLAGS: &dyn Field = &KeyFlags;
const PROTOCOL: &dyn Field = &Named::<1>("a protocol", KEY_PROTOCOLS);
const PREFERENCE: &dyn Field = &Number::<2>("a preference");
const TEXTS: &[&dyn Field] = &[&Texts("a string")];
/// DS and those of its form.
const DIGEST: &[&dyn Field] =
    &[&Number::<2>("a key tag"), ALGORITHM, &Named::<1>("a digest type", DIGESTS), &Hex("a digest")];
/// TLSA and SMIMEA.
const ASSOCIATION: &[&dyn Field] = &[
    &Number::<1>("a certificate usage"),
    &Number::<1>("a selector"),
    &Number::<1>("a matching type"),
    &Hex("certificate data"),
];
/// RRSIG and SIG.
const SIGNATURE: &[&dyn Field] = &[
    &RecordTypeField("the record type that is signed"),
    ALGORITHM,
    &Number::<1>("a number of labels"),
    &Number::<4>("the original TTL"),
    &Date("an expiration"),
    &Date("an inception"),
    &Number::<2>("a key tag"),
    &NameField("a signer", Folded),
    &Base64("a signature"),
];
/// SVCB and HTTPS.
const SERVICE: &[&dyn Field] = &[&Number::<2>("a priority"), &NameField("a target", Kept), &Params];
const NODE: &dyn Field = &Groups {
    what: "four groups of 16 bits, as in 2001:db8:0:1",
    separator: b':',
    count: 4,
    bytes: 2,
    padded: false,
};

/// All types that have a mnemonic, by number.
static TABLE: [RecordType; COUNT] = [
    meta(0, "TYPE0"),
    known(1, "A", &[&Ipv4]),
    known(2, "NS", &[&NameField("a name server", Compressed)]),
    known(3, "MD", &[&NameField("a mail destination", Compressed)]),
    known(4, "MF", &[&NameField("a mail forwarder", Compressed)]),
    known(5, "CNAME", &[&NameField("a canonical name", Compressed)]),
    known(
        6,
        "SOA",
        &[
            &NameField("a primary server", Compressed),
            &NameField("a mailbox", Compressed),
            &Number::<4>("a serial number"),
            &Span("a refresh interval"),
            &Span("a retry interval"),
            &Span("an expiry"),
            &Span("a minimum TTL"),
        ],
    ),
    known(7, "MB", &[&NameField("a mailbox host", Compressed)]),
    known(8, "MG", &[&NameField("a mail group member", Compressed)]),
    known(9, "MR", &[&NameField("a new mailbox", Compressed)]),
    opaque(10, "NULL"),
    known(11, "WKS", &[&WellKnownServices]),
    known(12, "PTR", &[&NameField("a domain name", Compressed)]),
    known(13, "HINFO", &[&Text("a CPU"), &Text("an operating system")]),
    known(
        14,
        "MINFO",
        &[&NameField("a mailbox", Compressed), &NameField("a mailbox for errors", Compressed)],
    ),
    known(15, "MX", &[PREFERENCE, &NameField("a mail exchange", Compressed)]),
    known(16, "TXT", TEXTS),
    known(17, "RP", &[&NameField("a mailbox", Folded), &NameField("a name with TXT records", Folded)]),
    known(18, "AFSDB", &[&Number::<2>("a subtype"), &NameField("a host", Folded)]),
    known(19, "X25", &[&Text("an X.121 address")]).with(rules::x25),
    known(20, "ISDN", &[&Text("an ISDN address"), &OptionalText("a subaddress")]),
    known(21, "RT", &[PREFERENCE, &NameField("an intermediate host", Folded)]),
    known(22, "NSAP", &[&Nsap]),
    known(23, "NSAP-PTR", &[&NameField("a domain name", Kept)]),
    known(24, "SIG", SIGNATURE),
    known(25, "KEY", &[FLAGS, PROTOCOL, ALGORITHM, &OptionalBase64("a public key", None)]).with(rules::key),
    known(
        26,
        "PX",
        &[PREFERENCE, &NameField("a name of RFC 822", Folded), &NameField("a name of X.400", Folded)],
    ),
    known(27, "GPOS", &[&Text("a longitude"), &Text("a latitude"), &Text("an altitude")]),
    known(28, "AAAA", &[&Ipv6]),
    known(29, "LOC", &[&Location]),
    known(30, "NXT", &[&NameField("the next name", Folded), &NxtTypes]),
    known(31, "EID", &[&Hex("an endpoint identifier")]),
    known(32, "NIMLOC", &[&Hex("a locator")]),
    known(
        33,
        "SRV",
        &[
            &Number::<2>("a priority"),
            &Number::<2>("a weight"),
            &Number::<2>("a port"),
            &NameField("a target", Folded),
        ],
    ),
    known(34, "ATMA", &[&AtmAddress]),
    known(
        35,
        "NAPTR",
        &[
            &Number::<2>("an order"),
            PREFERENCE,
            &Text("flags"),
            &Text("a service"),
            &Text("a regular expression"),
            &NameField("a replacement", Folded),
        ],
    ),
    known(36, "KX", &[PREFERENCE, &NameField("a key exchanger", Folded)]),
    known(
        37,
        "CERT",
        &[
            &Named::<2>("a certificate type", CERTIFICATES),
            &Number::<2>("a key tag"),
            ALGORITHM,
            &Base64("a certificate"),
        ],
    ),
    known(38, "A6", &[&A6]),
    known(39, "DNAME", &[&NameField("a target", Folded)]),
    known(
        40,
        "SINK",
        &[
            &Number::<1>("a meaning"),
            &Number::<1>("a coding"),
            &Number::<1>("a subcoding"),
            &OptionalBase64("data", None),
        ],
    ),
    meta(41, "OPT"),
    known(42, "APL", &[&Prefixes]),
    known(43, "DS", DIGEST).with(rules::ds),
    known(
        44,
        "SSHFP",
        &[&Number::<1>("an algorithm"), &Number::<1>("a fingerprint type"), &Hex("a fingerprint")],
    )
    .with(rules::sshfp),
    known(45, "IPSECKEY", &[&IpsecKey]),
    known(46, "RRSIG", SIGNATURE),
    known(47, "NSEC", &[&NameField("the next name", Kept), &Types]),
    known(48, "DNSKEY", &[FLAGS, PROTOCOL, ALGORITHM, &Base64("a public key")]),
    known(49, "DHCID", &[&Base64("an identifier")]),
    known(
        50,
        "NSEC3",
        &[
            &Number::<1>("a hash algorithm"),
            &Number::<1>("flags"),
            &Number::<2>("iterations"),
            &Salt,
            &NextHash,
            &Types,
        ],
    ),
    known(
        51,
        "NSEC3PARAM",
        &[&Number::<1>("a hash algorithm"), &Number::<1>("flags"), &Number::<2>("iterations"), &Salt],
    ),
    known(52, "TLSA", ASSOCIATION),
    known(53, "SMIMEA", ASSOCIATION),
    known(55, "HIP", &[&Hip]),
    known(56, "NINFO", TEXTS),
    known(57, "RKEY", &[FLAGS, PROTOCOL, ALGORITHM, &Base64("a public key")]),
    known(58, "TALINK", &[&NameField("the previous name", Kept), &NameField("the next name", Kept)]),
    known(59, "CDS", DIGEST).with(rules::ds),
    known(60, "CDNSKEY", &[FLAGS, PROTOCOL, ALGORITHM, &Base64("a public key")]),
    known(61, "OPENPGPKEY", &[&Base64("a public key")]),
    known(62, "CSYNC", &[&Number::<4>("a serial number"), &Number::<2>("flags"), &Types]),
    known(
        63,
        "ZONEMD",
        &[
            &Number::<4>("a serial number"),
            &Number::<1>("a scheme"),
            &Number::<1>("a hash algorithm"),
            &Hex("a digest"),
        ],
    )
    .with(rules::zonemd),
    known(64, "SVCB", SERVICE).with(svcb::rule),
    known(65, "HTTPS", SERVICE).with(svcb::rule),
    known(
        66,
        "DSYNC",
        &[
            &RecordTypeField("a record type"),
            &Named::<1>("a scheme", SCHEMES),
            &Number::<2>("a port"),
            &NameField("a target", Kept),
        ],
    ),
    known(67, "HHIT", &[&Base64("a hierarchical host identity")]),
    known(68, "BRID", &[&Base64("a broadcast remote identity")]),
    known(99, "SPF", TEXTS),
    opaque(100, "UINFO"),
    opaque(101, "UID"),
    opaque(102, "GID"),
    opaque(103, "UNSPEC"),
    known(104, "NID", &[PREFERENCE, NODE]),
    known(105, "L32", &[PREFERENCE, &Ipv4]),
    known(106, "L64", &[PREFERENCE, NODE]),
    known(107, "LP", &[PREFERENCE, &NameField("a name with L32 or L64 records", Kept)]),
    known(
        108,
        "EUI48",
        &[&Groups {
            what: "six bytes, as in 00-00-5e-00-53-2a",
            separator: b'-',
            count: 6,
            bytes: 1,
            padded: true,
        }],
    ),
    known(
        109,
        "EUI64",
        &[&Groups {
            what: "eight bytes, as in 00-00-5e-ef-10-00-00-2a",
            separator: b'-',
            count: 8,
            bytes: 1,
            padded: true,
        }],
    ),
    meta(128, "NXNAME"),
    meta(249, "TKEY"),
    meta(250, "TSIG"),
    meta(251, "IXFR"),
    meta(252, "AXFR"),
    meta(253, "MAILB"),
    meta(254, "MAILA"),
    meta(255, "ANY"),
    known(
        256,
        "URI",
        &[&Number::<2>("a priority"), &Number::<2>("a weight"), &LongText { what: "a target", quoted: true }],
    ),
    known(257, "CAA", &[&Number::<1>("flags"), &Tag("a tag"), &LongText { what: "a value", quoted: false }]),
    known(258, "AVC", TEXTS),
    known(
        259,
        "DOA",
        &[
            &Number::<4>("an enterprise"),
            &Number::<4>("a type"),
            &Number::<1>("a location"),
            &Text("a media type"),
            &OptionalBase64("data", Some("-")),
        ],
    ),
    known(260, "AMTRELAY", &[&AmtRelay]),
    known(261, "RESINFO", TEXTS),
    known(262, "WALLET", TEXTS),
    known(263, "CLA", TEXTS),
    known(264, "IPN", &[&Number::<8>("a node number")]),
    known(32_768, "TA", DIGEST).with(rules::ds),
    known(32_769, "DLV", DIGEST).with(rules::ds),
];
const COUNT: usize = 98;

/// The type that stands for numbers outside the table.
static UNKNOWN: RecordType = opaque(0, "");

/// Numbers below this are looked up by index.
const INDEXED: usize = 265;

/// Index in the table by number.
#[expect(clippy::cast_possible_truncation, reason = "fewer than 255 types")]
static BY_NUMBER: [u8; INDEXED] = {
    let mut places = [NONE; INDEXED];
    let mut place = 0;
    while place < COUNT {
        let number = TABLE[place].number as usize;
        assert!(place == 0 || TABLE[place - 1].number < TABLE[place].number, "the table is in order");
        if number < INDEXED {
            places[number] = place as u8;
        }
        place += 1;
    }
    places
};
const NONE: u8 = u8::MAX;

/// The type of this number.
pub(super) fn find(number: u16) -> &'static RecordType {
    match BY_NUMBER.get(usize::from(number)) {
        Some(&NONE) => &UNKNOWN,
        Some(&place) => &TABLE[usize::from(place)],
        None => TABLE[COUNT - 2..].iter().find(|other| other.number == number).unwrap_or(&UNKNOWN),
    }
}

/// Slots of the hash table of mnemonics, a power of two.
const SLOTS: usize = 512;
/// Most bytes of a mnemonic.
const LONGEST: usize = 16;

/// A mnemonic as a number, its letters in upper case; the place in the table or [`NONE`].
#[expect(clippy::cast_possible_truncation, reason = "fewer than 255 types")]
static BY_NAME: [(u128, u8); SLOTS] = {
    let mut slots = [(0, NONE); SLOTS];
    let mut place = 0;
    while place < COUNT {
        let key = key(TABLE[place].mnemonic.as_bytes());
        let mut slot = slot(key);
        while slots[slot].1 != NONE {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = (key, place as u8);
        place += 1;
    }
    slots
};

const fn key(word: &[u8]) -> u128 {
    let mut key = 0;
    let mut at = 0;
    while at < word.len() {
        key = key << 8 | word[at].to_ascii_uppercase() as u128;
        at += 1;
    }
    key
}

#[expect(clippy::cast_possible_truncation, reason = "a hash")]
const fn slot(key: u128) -> usize {
    let folded = (key >> 64) as u64 ^ key as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize
}

/// The number of the type with this mnemonic, in any case.
pub(super) fn by_name(word: &[u8]) -> Option<u16> {
    if word.len() > LONGEST {
        return None;
    }
    let key = key(word);
    let mut slot = slot(key);
    loop {
        let (known, place) = BY_NAME[slot];
        if place == NONE {
            return None;
        }
        if known == key {
            return Some(TABLE[usize::from(place)].number);
        }
        slot = (slot + 1) % SLOTS;
    }
}
