//! DNS messages read by code of its own: what is compared byte for byte must not go through a library's idea of a type.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

/// One record; names in it are not compressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireRecord {
    /// Owner in wire form.
    pub owner: Vec<u8>,
    /// Class.
    pub class: u16,
    /// Type.
    pub rtype: u16,
    /// Time to live.
    pub ttl: u32,
    /// Data.
    pub rdata: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Message {
    /// The header's code.
    pub rcode: u8,
    /// Answer, authority, additional.
    pub sections: [Vec<WireRecord>; 3],
}

/// Types whose names may be compressed (RFC 3597 section 4), and what their data is of.
fn fields(rtype: u16) -> &'static [Field] {
    use Field::{Bytes, Name};
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR
        2..=5 | 7..=9 | 12 => &[Name],
        // SOA
        6 => &[Name, Name, Bytes(20)],
        // MINFO
        14 => &[Name, Name],
        // MX
        15 => &[Bytes(2), Name],
        _ => &[],
    }
}

/// Further types whose names count in lowercase where signatures are made (RFC 4034 section 6.2, RFC 6840 section 5.1).
fn signed_fields(rtype: u16) -> &'static [Field] {
    use Field::{Bytes, Name, Rest, Strings};
    match rtype {
        // RP
        17 => &[Name, Name],
        // AFSDB, RT, KX
        18 | 21 | 36 => &[Bytes(2), Name],
        // SIG, RRSIG
        24 | 46 => &[Bytes(18), Name, Rest],
        // PX
        26 => &[Bytes(2), Name, Name],
        // NXT
        30 => &[Name, Rest],
        // SRV
        33 => &[Bytes(6), Name],
        // NAPTR
        35 => &[Bytes(4), Strings(3), Name],
        // DNAME
        39 => &[Name],
        other => fields(other),
    }
}

enum Field {
    Bytes(usize),
    Strings(usize),
    Name,
    Rest,
}

impl WireRecord {
    /// The record with its owner, and the names of its data that may be compressed, in lowercase: their case may get lost.
    #[must_use]
    pub fn comparable(&self) -> Self {
        self.in_lowercase(fields(self.rtype))
    }

    /// As [`WireRecord::comparable`], with all names that are signed in lowercase.
    #[must_use]
    pub fn canonical(&self) -> Self {
        self.in_lowercase(signed_fields(self.rtype))
    }

    fn in_lowercase(&self, fields: &[Field]) -> Self {
        let mut rdata = self.rdata.clone();
        let mut at = 0;
        for field in fields {
            match field {
                Field::Bytes(count) => at += count,
                Field::Strings(count) => {
                    for _ in 0..*count {
                        at += 1 + usize::from(rdata.get(at).copied().unwrap_or_default());
                    }
                }
                Field::Name => {
                    let end = at + name_length(rdata.get(at..).unwrap_or_default());
                    if let Some(name) = rdata.get_mut(at..end) {
                        name.make_ascii_lowercase();
                    }
                    at = end;
                }
                Field::Rest => break,
            }
        }
        Self { owner: self.owner.to_ascii_lowercase(), rdata, ..self.clone() }
    }
}

impl Message {
    /// Reads a message without its length.
    ///
    /// # Errors
    ///
    /// It is not well-formed.
    pub fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        Self::parse(bytes).with_context(|| format!("malformed: {bytes:02x?}"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let count = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let mut at = 12;
        for _ in 0..count(4)? {
            name(bytes, &mut at)?;
            at += 4;
        }
        let mut sections = [vec![], vec![], vec![]];
        for (section, field) in sections.iter_mut().zip([6, 8, 10]) {
            for _ in 0..count(field)? {
                section.push(record(bytes, &mut at)?);
            }
        }
        (at == bytes.len()).then_some(Self { rcode: bytes[3] & 0xf, sections })
    }
}

fn record(bytes: &[u8], at: &mut usize) -> Option<WireRecord> {
    let owner = name(bytes, at)?;
    let head: [u8; 10] = bytes.get(*at..*at + 10)?.try_into().ok()?;
    let [t0, t1, c0, c1, l0, l1, l2, l3, n0, n1] = head;
    *at += 10;
    let end = *at + usize::from(u16::from_be_bytes([n0, n1]));
    bytes.get(*at..end)?;
    let rtype = u16::from_be_bytes([t0, t1]);
    let mut rdata = Vec::new();
    for field in fields(rtype) {
        match field {
            Field::Bytes(count) => {
                rdata.extend_from_slice(bytes.get(*at..*at + count)?);
                *at += count;
            }
            _ => rdata.extend(name(bytes, at)?),
        }
    }
    rdata.extend_from_slice(bytes.get(*at..end)?);
    *at = end;
    let (class, ttl) = (u16::from_be_bytes([c0, c1]), u32::from_be_bytes([l0, l1, l2, l3]));
    Some(WireRecord { owner, class, rtype, ttl, rdata })
}

/// Reads a name that may be compressed, and moves behind it.
fn name(bytes: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let (mut name, mut from, mut jumped) = (Vec::new(), *at, false);
    loop {
        let length = *bytes.get(from)?;
        if length >= 0xc0 {
            let target = usize::from(u16::from_be_bytes([length & 0x3f, *bytes.get(from + 1)?]));
            if !jumped {
                *at = from + 2;
            }
            // Pointers lead backwards, so that this ends.
            if target >= from {
                return None;
            }
            (from, jumped) = (target, true);
            continue;
        }
        let label = bytes.get(from..=from + usize::from(length))?;
        name.extend_from_slice(label);
        from += label.len();
        if name.len() > 255 {
            return None;
        }
        if length == 0 {
            if !jumped {
                *at = from;
            }
            return Some(name);
        }
    }
}

/// Length of the name that the bytes begin with.
#[must_use]
pub fn name_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&length) = bytes.get(at) {
        at += 1 + usize::from(length);
        if length == 0 {
            break;
        }
    }
    at.min(bytes.len())
}

/// A query without EDNS, for a name in wire form.
#[must_use]
pub fn query(id: u16, owner: &[u8], rtype: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend_from_slice(owner);
    query.extend_from_slice(&rtype.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    query
}

/// A name of letters, digits and dots in wire form.
///
/// # Panics
///
/// A label is longer than 255 bytes.
#[must_use]
pub fn plain_name(text: &str) -> Vec<u8> {
    let mut name = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        name.push(u8::try_from(label.len()).expect("a short label"));
        name.extend_from_slice(label.as_bytes());
    }
    name.push(0);
    name
}

/// A name as one reads it.
#[must_use]
pub fn display(name: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, after) = after.split_at_checked(usize::from(length)).unwrap_or((after, &[]));
        text.push_str(&label.escape_ascii().to_string());
        text.push('.');
        rest = after;
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Says which records only one side has, or nothing.
#[must_use]
pub fn difference(expected: &BTreeSet<WireRecord>, actual: &BTreeSet<WireRecord>) -> Vec<String> {
    let say = |sign: &str, record: &WireRecord| {
        let WireRecord { owner, class, rtype, ttl, rdata } = record;
        format!("{sign} {} {ttl} CLASS{class} TYPE{rtype} {rdata:02x?}", display(owner))
    };
    let missing = expected.difference(actual).map(|record| say("missing", record));
    missing.chain(actual.difference(expected).map(|record| say("extra", record))).collect()
}

/// Reads one message after its length in 16 bits.
///
/// # Errors
///
/// The stream ends, or what it holds is no message.
pub fn receive(stream: &mut impl std::io::Read) -> anyhow::Result<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut message)?;
    ensure!(message.len() >= 12, "a message without a header");
    Ok(message)
}
