//! Reading a query: header, question, OPT. Whatever else it holds is skipped, but must be well formed.

use super::catalog::rtype;
use super::edns::Edns;
use super::message::HEADER;
use super::name::Name;

/// Where the header counts questions, and the records of each section (RFC 1035 section 4.1.1).
pub(super) const QUESTIONS: usize = 4;
pub(super) const ANSWERS: usize = 6;
pub(super) const AUTHORITIES: usize = 8;
pub(super) const ADDITIONALS: usize = 10;
/// Class IN.
const IN: u16 = 1;
/// Octets of type and class, which end the question, and of what stands between a record's owner and its data.
pub(super) const TYPE_CLASS: usize = 4;
pub(super) const FIXED: usize = 10;

/// Response codes (RFC 1035 section 4.1.1, RFC 6672 section 2.2, RFC 6891 section 9, RFC 7873 section 8). The high 8 bits
/// go into the OPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    YxDomain = 6,
    BadVers = 16,
    BadCookie = 23,
}

/// Bits of the header's second 16.
pub(super) mod flag {
    pub(in super::super) const QR: u16 = 0x8000;
    pub(in super::super) const OPCODE: u16 = 0x7800;
    pub(in super::super) const AA: u16 = 0x0400;
    pub(in super::super) const TC: u16 = 0x0200;
    pub(in super::super) const RD: u16 = 0x0100;
    pub(in super::super) const AD: u16 = 0x0020;
    pub(in super::super) const CD: u16 = 0x0010;
}

/// What every response repeats of its query, whatever becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) id: [u8; 2],
    pub(super) flags: u16,
    /// The question, octet for octet; empty where there is none, or it cannot be read.
    pub(super) question: &'a [u8],
    pub(super) edns: Option<Edns<'a>>,
    /// There are records besides the OPT.
    pub(super) others: bool,
}

/// What is asked.
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) rtype: u16,
    class: u16,
}

impl Question {
    /// This question, if the zones of class IN may be asked it, or the code that answers it without a look at them.
    pub(super) fn of_zones(&self) -> Result<&Self, Rcode> {
        if self.class != IN {
            return Err(Rcode::Refused);
        }
        match self.rtype {
            rtype::MAILA | rtype::MAILB => Err(Rcode::NotImp),
            _ => self.of_anyone(),
        }
    }

    /// This question, if any server may be asked it over a connection like ours: it is no transfer.
    pub(super) fn of_anyone(&self) -> Result<&Self, Rcode> {
        match self.rtype {
            rtype::OPT => Err(Rcode::FormErr),
            rtype::AXFR | rtype::IXFR => Err(Rcode::Refused),
            _ => Ok(self),
        }
    }
}

/// Whether `message` is to be answered at all: it has a header, and is no response (two servers would answer each
/// other for ever).
pub(super) fn is_query(message: &[u8]) -> bool {
    message.len() >= HEADER && word(message, 2) & flag::QR == 0
}

/// Whether `message` begins as the queries of clients do: one question, no answer, and besides it what IXFR, EDNS and
/// signed queries have. The inside of a message hardly ever does.
pub(super) fn is_plain(message: &[u8]) -> bool {
    is_query(message)
        && word(message, 4) == 1
        && word(message, 6) == 0
        && word(message, 8) <= 1
        && word(message, 10) <= 2
}

/// Octets of the query that `stream` begins with, by what its records say.
pub(super) fn length(stream: &[u8]) -> Option<usize> {
    if !is_plain(stream) {
        return None;
    }
    let records = word(stream, 8) + word(stream, 10);
    let mut at = skip_name(stream, HEADER)? + TYPE_CLASS;
    for _ in 0..records {
        at = skip_name(stream, at)?;
        let fixed = stream.get(at..at + FIXED)?;
        at += FIXED + usize::from(word(fixed, 8));
    }
    (at <= stream.len()).then_some(at)
}

/// Reads a message for which [`is_query`] holds: what is asked, or the code that answers it whatever is served.
pub(super) fn parse(message: &[u8]) -> (Envelope<'_>, Result<Question, Rcode>) {
    let mut envelope = Envelope {
        id: [message[0], message[1]],
        flags: word(message, 2),
        question: &[],
        edns: None,
        others: false,
    };
    let question = examine(message, &mut envelope);
    (envelope, question)
}

fn examine<'a>(message: &'a [u8], envelope: &mut Envelope<'a>) -> Result<Question, Rcode> {
    if envelope.flags & flag::OPCODE != 0 {
        return Err(Rcode::NotImp);
    }
    match word(message, QUESTIONS) {
        0 => {
            records(message, HEADER, envelope)?;
            // No question is one for a server cookie (RFC 7873 section 5.4).
            let asks_for_cookie = envelope.edns.is_some_and(|edns| edns.cookie.is_some());
            return Err(if asks_for_cookie { Rcode::NoError } else { Rcode::FormErr });
        }
        1 => {}
        _ => return Err(Rcode::FormErr),
    }
    let (name, length) = Name::read(&message[HEADER..]).ok_or(Rcode::FormErr)?;
    let end = HEADER + length + TYPE_CLASS;
    envelope.question = message.get(HEADER..end).ok_or(Rcode::FormErr)?;
    let (rtype, class) = (word(message, end - 4), word(message, end - 2));
    records(message, end, envelope)?;
    Ok(Question { name, rtype, class })
}

/// Reads what follows the question, from `at` to the message's end.
fn records<'a>(message: &'a [u8], mut at: usize, envelope: &mut Envelope<'a>) -> Result<(), Rcode> {
    let count = |at| u32::from(word(message, at));
    let (answers, authorities, additionals) = (count(ANSWERS), count(AUTHORITIES), count(ADDITIONALS));
    let mut version = 0;
    for index in 0..answers + authorities + additionals {
        let fixed = skip_name(message, at).ok_or(Rcode::FormErr)?;
        let is_root = fixed == at + 1;
        at = fixed;
        let fixed = message.get(at..at + FIXED).ok_or(Rcode::FormErr)?;
        at += FIXED + usize::from(word(fixed, 8));
        let data = message.get(at - usize::from(word(fixed, 8))..at).ok_or(Rcode::FormErr)?;
        if word(fixed, 0) == rtype::OPT {
            // One, in the additional section, of the root (RFC 6891 section 6.1.1).
            let misplaced = index < answers + authorities;
            if misplaced || !is_root || envelope.edns.is_some() {
                envelope.edns = None;
                return Err(Rcode::FormErr);
            }
            version = fixed[5];
            let signed = fixed[6] & 0x80 != 0;
            // Is an option malformed, the answer has an OPT all the same (RFC 6891 section 7).
            envelope.edns = Some(Edns::without_options(signed));
            if version == 0 {
                envelope.edns = Some(Edns::read(signed, data).ok_or(Rcode::FormErr)?);
            }
        } else {
            envelope.others = true;
        }
    }
    if at != message.len() {
        return Err(Rcode::FormErr);
    }
    if version != 0 {
        return Err(Rcode::BadVers);
    }
    Ok(())
}

/// Where the name at `at` ends. A pointer ends it; where it leads does not matter.
pub(super) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + usize::from(label),
            0xc0..=0xff => return (at + 1 < message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

pub(super) fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}
