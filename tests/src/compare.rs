//! Two DNS answers section by section, whatever their order and compression.

use anyhow::Context;
use domain::base::iana::Rtype;
use domain::base::rdata::ComposeRecordData;
use domain::base::{Message, ParsedRecord};
use domain::rdata::AllRecordData;
use std::fmt::Write as _;

/// QR, opcode, AA, TC, RD, RA, AD and CD: all but the code, which has its own field, and the reserved bit.
const FLAGS: u16 = 0xffb0;

/// One record, comparable.
#[derive(Clone, Debug)]
pub struct Record {
    /// Owner in lowercase.
    pub owner: String,
    /// Type.
    pub rtype: u16,
    /// Class.
    pub class: u16,
    /// Time to live.
    pub ttl: u32,
    /// Data in canonical form (RFC 4034 section 6.2).
    pub rdata: Vec<u8>,
    /// Data in words, for the reader.
    pub text: String,
}

impl Record {
    /// Whether both are the same record; the words do not count.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let key = |record: &Self| {
            (record.owner.clone(), record.rtype, record.class, record.ttl, record.rdata.clone())
        };
        key(self) == key(other)
    }
}

/// An answer, comparable.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Header flags without the response code.
    pub flags: u16,
    /// Response code with the OPT record's upper bits.
    pub rcode: u16,
    /// The question section as it stands.
    pub question: Vec<u8>,
    /// Answer, authority, additional without OPT.
    pub sections: [Vec<Record>; 3],
    /// The OPT record's version and flags.
    pub opt: Option<u32>,
}

impl Reply {
    /// Reads a message without its length.
    ///
    /// # Errors
    ///
    /// It is no well-formed DNS message.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let message = Message::from_octets(bytes).ok().context("no header")?;
        let flags = u16::from_be_bytes([bytes[2], bytes[3]]);
        let sections = [message.answer()?, message.authority()?, message.additional()?];
        let end = sections[0].pos();
        let mut reply = Self {
            flags: flags & FLAGS,
            rcode: flags & 0xf,
            question: bytes[12..end].to_vec(),
            sections: [vec![], vec![], vec![]],
            opt: None,
        };
        for (index, section) in sections.into_iter().enumerate() {
            for record in section {
                let record = record?;
                if record.rtype() == Rtype::OPT {
                    let ttl = record.ttl().as_secs();
                    let high = (ttl >> 24) as u16;
                    reply.rcode |= high << 4;
                    reply.opt = Some(ttl & 0x00ff_ffff);
                    continue;
                }
                reply.sections[index].push(read(&record)?);
            }
        }
        Ok(reply)
    }
}

/// Takes out of a positive answer what a server may add to it and we do not: the zone's NS set in the authority section,
/// and addresses that nothing in the answer section names.
pub fn trim(reply: &mut Reply) {
    let [answer, authority, additional] = &mut reply.sections;
    if answer.is_empty() {
        return;
    }
    authority.retain(|record| !record.text.starts_with("NS ") && !record.text.starts_with("RRSIG NS "));
    additional.retain(|record| {
        answer.iter().any(|other| other.text.to_ascii_lowercase().contains(&format!(" {}", record.owner)))
    });
}

fn read(record: &ParsedRecord<'_, &[u8]>) -> anyhow::Result<Record> {
    let data = record.to_record::<AllRecordData<_, _>>()?.context("data of no type at all")?;
    let mut rdata = Vec::new();
    let Ok(()) = data.data().compose_canonical_rdata(&mut rdata);
    Ok(Record {
        owner: record.owner().to_string().to_ascii_lowercase(),
        rtype: record.rtype().to_int(),
        class: record.class().to_int(),
        ttl: record.ttl().as_secs(),
        rdata,
        text: format!("{} {}", record.rtype(), data.data()),
    })
}

/// The differences, line by line, or `None`.
#[must_use]
pub fn difference(expected: &Reply, actual: &Reply) -> Option<String> {
    let mut lines = String::new();
    let mut field = |name: &str, expected: String, actual: String| {
        if expected != actual {
            let _ = writeln!(lines, "  {name}: expected {expected}, is {actual}");
        }
    };
    field("flags", format!("{:#06x}", expected.flags), format!("{:#06x}", actual.flags));
    field("rcode", expected.rcode.to_string(), actual.rcode.to_string());
    field("question", format!("{:02x?}", expected.question), format!("{:02x?}", actual.question));
    field("OPT", format!("{:x?}", expected.opt), format!("{:x?}", actual.opt));
    let names = ["answer", "authority", "additional"];
    for ((name, expected), actual) in names.iter().zip(&expected.sections).zip(&actual.sections) {
        for (sign, here, there) in [("missing", expected, actual), ("extra", actual, expected)] {
            let mut there = there.clone();
            for record in here {
                match there.iter().position(|other| other.is(record)) {
                    Some(at) => drop(there.swap_remove(at)),
                    None => {
                        let _ = writeln!(
                            lines,
                            "  {name}: {sign} {} {} {}",
                            record.owner, record.ttl, record.text
                        );
                    }
                }
            }
        }
    }
    (!lines.is_empty()).then_some(lines)
}
