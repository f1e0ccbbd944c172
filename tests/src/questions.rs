//! The questions that our answers and a real name server's are compared over, always the same.

use std::fmt;

/// The EDNS part of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edns {
    /// Not at all.
    None,
    /// With an OPT record.
    Plain,
    /// With DO set: signatures and proofs are wanted.
    Signed,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Absolute name, no final dot; in the case in which it is asked.
    pub name: String,
    /// Type.
    pub rtype: u16,
    /// EDNS.
    pub edns: Edns,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. TYPE{} {:?}", self.name, self.rtype, self.edns)
    }
}

impl Question {
    /// The query as a message without its length; RD set as `id` is odd.
    ///
    /// # Panics
    ///
    /// If the name has a label of more than 255 bytes.
    #[must_use]
    pub fn wire(&self, id: u16) -> Vec<u8> {
        let mut wire = id.to_be_bytes().to_vec();
        wire.extend([u8::from(id % 2 == 1), 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns != Edns::None)]);
        for label in self.name.split('.').filter(|label| !label.is_empty()) {
            wire.push(u8::try_from(label.len()).expect("a label of a question is short"));
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire.extend(self.rtype.to_be_bytes());
        wire.extend([0, 1]);
        if self.edns != Edns::None {
            wire.extend([0, 0, 41, 4, 208, 0, 0, if self.edns == Edns::Signed { 0x80 } else { 0 }, 0, 0, 0]);
        }
        wire
    }
}

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const HINFO: u16 = 13;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const NAPTR: u16 = 35;
const DNAME: u16 = 39;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const DNSKEY: u16 = 48;
const NSEC3: u16 = 50;
const NSEC3PARAM: u16 = 51;
const TLSA: u16 = 52;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const ANY: u16 = 255;
const CAA: u16 = 257;
const ODD: u16 = 65400;

/// Names relative to the zone, each of a kind of its own, with the types to ask for.
const KINDS: &[(&str, &[u16])] = &[
    // The apex, and names with data.
    ("", &[A, NS, SOA, MX, TXT, DS, DNSKEY, NSEC, NSEC3PARAM, RRSIG, ANY]),
    ("ns1", &[A, AAAA, MX, DS, ANY]),
    ("mail", &[A, AAAA, TXT]),
    ("www", &[A, AAAA, TXT, MX, CNAME, DS, NSEC, RRSIG, ANY]),
    ("WwW", &[A, AAAA, MX, ANY]),
    ("mixed", &[A, TXT]),
    ("MIXED", &[A]),
    ("txt", &[TXT, A]),
    ("_sip._tcp", &[SRV, A, ANY]),
    ("_25._tcp.mail", &[TLSA, A]),
    ("caa", &[CAA, A]),
    ("hinfo", &[HINFO, A]),
    ("ptr", &[PTR, A]),
    ("naptr", &[NAPTR, A]),
    ("odd", &[ODD, A]),
    ("svcb", &[SVCB, A]),
    ("https", &[HTTPS, A]),
    // Empty non-terminals.
    ("ent", &[A, NS, DS, NSEC, ANY]),
    ("b.ent", &[A, TXT, ANY]),
    ("_tcp", &[A, SRV]),
    ("_tcp.mail", &[A]),
    ("er", &[A, DS, ANY]),
    ("cut.er", &[A, DS]),
    // No names.
    ("nowhere", &[A, MX, NS, DS, SOA, NSEC, NSEC3, RRSIG, ANY]),
    ("0", &[A]),
    ("zzz", &[A, TXT]),
    ("a.nowhere", &[A, ANY]),
    ("a.b.c.d.e.f.nowhere", &[A]),
    ("below.www", &[A, TXT]),
    ("c.b.ent", &[A]),
    ("missing.ent", &[A, ANY]),
    ("missing.er", &[A]),
    ("\u{1}", &[A]),
    ("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk", &[A]),
    ("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24.25.26.27.28.29.30", &[A]),
    // Wildcards.
    ("*.wild", &[A, TXT, MX, AAAA, ANY]),
    ("wild", &[A, TXT]),
    ("any.wild", &[A, TXT, MX, AAAA, DS, NSEC, RRSIG, ANY]),
    ("AnY.WiLd", &[A]),
    ("a.b.c.wild", &[A, AAAA]),
    ("host.wild", &[A, TXT]),
    ("below.host.wild", &[A]),
    ("ent.wild", &[A]),
    ("y.ent.wild", &[A, TXT]),
    ("x.ent.wild", &[A]),
    ("*.*.wild", &[A]),
    ("a.*.wild", &[A]),
    ("x.wdeep.ent", &[A, TXT]),
    ("wdeep.ent", &[A]),
    // CNAMEs.
    ("cname", &[A, AAAA, MX, CNAME, TXT, DS, NSEC, RRSIG, ANY]),
    ("chain1", &[A, AAAA, MX, CNAME]),
    ("chain2", &[TXT]),
    ("dangling", &[A, CNAME, ANY]),
    ("loop1", &[A, CNAME, ANY]),
    ("self", &[A, CNAME]),
    ("external", &[A, TXT, MX, CNAME, ANY]),
    ("outside", &[A, CNAME]),
    ("intodeleg", &[A, DS]),
    ("intowild", &[A, AAAA]),
    ("intoent", &[A]),
    ("intodname", &[A, MX, CNAME]),
    ("any.wcname", &[A, MX, CNAME, ANY]),
    ("any.wdangle", &[A, CNAME]),
    ("any.wout", &[A]),
    // DNAMEs.
    ("dname", &[A, DNAME, TXT, DS, ANY]),
    ("a.dname", &[A, TXT, MX, CNAME, DNAME, DS, ANY]),
    ("A.DName", &[A]),
    ("b.dname", &[A, CNAME]),
    ("c.dname", &[A]),
    ("x.y.dname", &[A]),
    ("host.dother", &[A, TXT]),
    ("nohost.dother", &[A]),
    ("www.dout", &[A]),
    ("x.dloop", &[A]),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbb.dlong", &[A]),
    // Delegations.
    ("sub", &[A, NS, SOA, DS, NSEC, RRSIG, ANY]),
    ("SUB", &[A]),
    ("www.sub", &[A, DS, NS, ANY]),
    ("ns1.sub", &[A, AAAA, DS, NSEC]),
    ("a.b.c.sub", &[MX]),
    ("secure", &[A, NS, DS, NSEC, ANY]),
    ("www.secure", &[A, DS, ANY]),
    ("ns.secure", &[A, AAAA]),
    ("noglue", &[A, NS, DS]),
    ("x.noglue", &[A]),
    ("deep.cut.er", &[A, DS, NS]),
    ("x.deep.cut.er", &[A]),
];

/// The zones, and how they are asked.
const ZONES: &[(&str, &[Edns])] = &[
    ("plain.example", &[Edns::None, Edns::Signed]),
    ("nsec.example", &[Edns::Plain, Edns::Signed]),
    ("nsec3.example", &[Edns::None, Edns::Signed]),
    ("strict.example", &[Edns::Signed]),
];

/// Whole names that occur in one zone only, or in none.
const SINGLES: &[(&str, u16, Edns)] = &[
    // Below names that opt-out left without an NSEC3.
    ("x.alone.deep.under.nsec3.example", DS, Edns::Signed),
    ("x.alone.deep.under.nsec3.example", A, Edns::Signed),
    ("alone.deep.under.nsec3.example", A, Edns::Signed),
    ("deep.under.nsec3.example", DS, Edns::Signed),
    ("under.nsec3.example", A, Edns::Signed),
    ("nowhere.alone.deep.under.nsec3.example", A, Edns::Signed),
    ("nowhere.deep.under.nsec3.example", DS, Edns::Signed),
    ("a.b.nowhere.under.nsec3.example", TXT, Edns::Signed),
    ("intoloop.plain.example", A, Edns::None),
    ("child.plain.example", SOA, Edns::None),
    ("child.plain.example", A, Edns::None),
    ("child.plain.example", DS, Edns::None),
    ("child.plain.example", DS, Edns::Signed),
    ("child.plain.example", NS, Edns::None),
    ("ns.child.plain.example", A, Edns::None),
    ("ns.child.plain.example", AAAA, Edns::Plain),
    ("ns.child.plain.example", DS, Edns::None),
    ("nowhere.child.plain.example", A, Edns::None),
    ("other.example", NS, Edns::Signed),
    ("other.example", ANY, Edns::None),
    ("host.other.example", TXT, Edns::None),
    ("nohost.other.example", A, Edns::Signed),
    ("elsewhere.test", A, Edns::None),
    ("elsewhere.test", ANY, Edns::Signed),
    ("example", SOA, Edns::Plain),
    ("example", DS, Edns::None),
    ("", NS, Edns::None),
    ("", SOA, Edns::Signed),
];

/// All questions; no two alike.
#[must_use]
pub fn list() -> Vec<Question> {
    let mut list = Vec::new();
    for &(zone, ways) in ZONES {
        for &edns in ways {
            for &(name, types) in KINDS {
                for &rtype in types {
                    let dot = if name.is_empty() { "" } else { "." };
                    list.push(Question { name: format!("{name}{dot}{zone}"), rtype, edns });
                }
            }
        }
    }
    list.extend(SINGLES.iter().map(|&(name, rtype, edns)| Question { name: name.to_owned(), rtype, edns }));
    list
}
