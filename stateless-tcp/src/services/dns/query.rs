//! Parsing a query: header, question, OPT. Other records are skipped, but must be well formed.

use super::edns::Edns;
use super::extended_error::ExtendedError;
use super::name::{DomainName, MAX_NAME};
use super::response_writer::{Overflow, ResponseWriter};
use super::rtype;
use super::wire::{
    ADDITIONALS, ANSWERS, AUTHORITIES, CLASS_ANY, CLASS_IN, FIXED, HEADER, PREFIX, QUESTIONS, Rcode,
    TYPE_CLASS, flag, skip_name, word,
};
use stateless_tcp_core::tcp::conn_cache::MAX_BUFFERED;

/// Bytes of the root's question, the shortest one.
const LEAST_QUESTION: usize = 1 + TYPE_CLASS;

/// Bytes of a record of the root's without data, the shortest one.
const LEAST_RECORD: usize = 1 + FIXED;

/// A parsed query: the parts that every response repeats, and its EDNS and TSIG records.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParsedQuery<'a> {
    pub(super) id: [u8; 2],
    pub(super) flags: u16,
    /// The question's bytes; empty if there is none, or if it is malformed.
    pub(super) question: &'a [u8],
    pub(super) edns: Option<Edns<'a>>,
    /// The TSIG record that signs the message.
    pub(super) tsig: Option<Tsig<'a>>,
    /// There are records besides the OPT.
    pub(super) others: bool,
}

/// A TSIG record (RFC 8945 section 4.2), as far as the answer BADKEY needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tsig<'a> {
    /// The message, and the offset of the record's owner in it: the key's name, which may be compressed.
    message: &'a [u8],
    owner: usize,
    /// The algorithm's name, the time and the fudge.
    terms: &'a [u8],
}

/// Bytes of time (48 bits) and fudge behind the algorithm's name.
const TIME_FUDGE: usize = 8;
/// Error BADKEY (RFC 8945 section 3).
const BADKEY: u16 = 17;

impl<'a> Tsig<'a> {
    /// Parses the record whose owner is at `owner`. `None` if it is malformed.
    fn read(message: &'a [u8], owner: usize, class: u16, data: &'a [u8]) -> Option<Self> {
        let algorithm = DomainName::read(data)?.1;
        let terms = data.get(..algorithm + TIME_FUDGE)?;
        (class == CLASS_ANY && expand(message, owner).is_some()).then_some(Self { message, owner, terms })
    }

    /// Answers an unknown key (RFC 8945 section 5.2.1): unsigned, with error BADKEY.
    pub(super) fn answer(&self, id: [u8; 2], message: &mut ResponseWriter<'_>) -> Result<(), Overflow> {
        let Some((name, length)) = expand(self.message, self.owner) else { return Ok(()) };
        let (no_signature, no_other_data) = ([0; 2], [0; 2]);
        message.write_tsig(
            &name[..length],
            &[self.terms, &no_signature, &id, &BADKEY.to_be_bytes(), &no_other_data],
        )
    }
}

/// The decompressed name at `at`, and its length.
fn expand(message: &[u8], mut at: usize) -> Option<([u8; MAX_NAME], usize)> {
    let (mut name, mut length) = ([0; MAX_NAME], 0);
    loop {
        match *message.get(at)? {
            0 => return (length < MAX_NAME).then_some((name, length + 1)),
            label @ 1..=63 => {
                let label = message.get(at..=at + usize::from(label))?;
                name.get_mut(length..length + label.len())?.copy_from_slice(label);
                (at, length) = (at + label.len(), length + label.len());
            }
            high @ 0xc0.. => {
                let target = usize::from(u16::from_be_bytes([high & 0x3f, *message.get(at + 1)?]));
                // Only backwards, so the loop ends.
                at = (target < at).then_some(target)?;
            }
            _ => return None,
        }
    }
}

/// The question of a query.
pub(super) struct DnsQuestion {
    pub(super) name: DomainName,
    pub(super) rtype: u16,
    pub(super) class: u16,
}

/// The answer to a question that needs no lookup.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectAnswer<'a> {
    pub(super) rcode: Rcode,
    /// The reason for the code, for clients that use EDNS.
    pub(super) error: Option<ExtendedError>,
    /// The text of a TXT record of class CH.
    pub(super) text: Option<&'a [u8]>,
}

impl From<Rcode> for DirectAnswer<'_> {
    fn from(rcode: Rcode) -> Self {
        Self { rcode, error: None, text: None }
    }
}

impl<'a> DirectAnswer<'a> {
    /// A refusal, and its reason.
    pub(super) const fn error(rcode: Rcode, error: ExtendedError) -> Self {
        Self { rcode, error: Some(error), text: None }
    }

    /// A text of class CH.
    pub(super) const fn text(text: &'a [u8]) -> Self {
        Self { rcode: Rcode::NoError, error: None, text: Some(text) }
    }
}

impl DnsQuestion {
    /// Accepts a question for the zones of class IN, or returns the answer that it gets without a lookup.
    pub(super) fn check_authoritative(&self) -> Result<&Self, DirectAnswer<'static>> {
        if self.class != CLASS_IN {
            return Err(DirectAnswer::error(Rcode::Refused, ExtendedError::NotSupported));
        }
        match self.rtype {
            rtype::MAILA | rtype::MAILB => {
                Err(DirectAnswer::error(Rcode::NotImp, ExtendedError::NotSupported))
            }
            _ => self.check_relayable(),
        }
    }

    /// Accepts a question that a relay may forward: anything but a zone transfer.
    pub(super) fn check_relayable(&self) -> Result<&Self, DirectAnswer<'static>> {
        match self.rtype {
            rtype::OPT => Err(Rcode::FormErr.into()),
            rtype::AXFR | rtype::IXFR => Err(DirectAnswer::error(Rcode::Refused, ExtendedError::Prohibited)),
            _ => Ok(self),
        }
    }
}

/// Whether `message` deserves an answer: it has a header and is no response (two servers would answer each other for
/// ever).
pub(super) fn is_query(message: &[u8]) -> bool {
    message.len() >= HEADER && word(message, 2) & flag::QR == 0
}

/// Whether a message of `length` bytes that begins with `beginning` will get no answer, whatever follows: it is too short for
/// a header or too long to be kept until it is complete, it is a response, or it is too short for the records that its header
/// counts. So HTTP, TLS, SSH and the PROXY protocol are told from DNS by their first bytes.
pub(super) fn is_hopeless(length: usize, beginning: &[u8]) -> bool {
    if length < HEADER || beginning.len() < length && PREFIX + length > MAX_BUFFERED {
        return true;
    }
    let Some(header) = beginning.first_chunk::<HEADER>() else {
        return beginning.len() > 3 && word(beginning, 2) & flag::QR != 0;
    };
    let count = |at| usize::from(word(header, at));
    let records = count(ANSWERS) + count(AUTHORITIES) + count(ADDITIONALS);
    let least = HEADER + count(QUESTIONS) * LEAST_QUESTION + records * LEAST_RECORD;
    !is_query(header) || beginning.len() < length && least > length
}

/// Whether `message` begins as clients' queries do: one question, no answer, and no more records than IXFR, EDNS and
/// signed queries have. The inside of a message hardly ever does.
pub(super) fn is_plain(message: &[u8]) -> bool {
    is_query(message)
        && word(message, 4) == 1
        && word(message, 6) == 0
        && word(message, 8) <= 1
        && word(message, 10) <= 2
}

/// The length of the query that `stream` begins with, computed from its records.
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

/// Parses the query behind a length prefix. `None` if it deserves no answer ([`is_query`]), or is what [`is_hopeless`] cut off.
pub(super) fn parse_framed(message: &[u8]) -> Option<(ParsedQuery<'_>, Result<DnsQuestion, Rcode>)> {
    let (length, query) = message.split_first_chunk::<PREFIX>()?;
    let whole = usize::from(u16::from_be_bytes(*length)) == query.len();
    (whole && is_query(query)).then(|| parse(query))
}

/// Parses a message for which [`is_query`] holds: the question, or the code that answers it without a lookup.
pub(super) fn parse(message: &[u8]) -> (ParsedQuery<'_>, Result<DnsQuestion, Rcode>) {
    let mut query = ParsedQuery {
        id: [message[0], message[1]],
        flags: word(message, 2),
        question: &[],
        edns: None,
        tsig: None,
        others: false,
    };
    let mut question = DnsQuestion { name: DomainName::root(), rtype: 0, class: 0 };
    let result = examine(message, &mut query, &mut question);
    (query, result.map(|()| question))
}

fn examine<'a>(
    message: &'a [u8],
    query: &mut ParsedQuery<'a>,
    question: &mut DnsQuestion,
) -> Result<(), Rcode> {
    if query.flags & flag::OPCODE != 0 {
        return Err(Rcode::NotImp);
    }
    match word(message, QUESTIONS) {
        0 => {
            records(message, HEADER, query)?;
            // A query without a question may ask for a server cookie (RFC 7873 section 5.4).
            let asks_for_cookie = query.edns.is_some_and(|edns| edns.cookie.is_some());
            return Err(if asks_for_cookie { Rcode::NoError } else { Rcode::FormErr });
        }
        1 => {}
        _ => return Err(Rcode::FormErr),
    }
    let length = question.name.fill(&message[HEADER..]).ok_or(Rcode::FormErr)?;
    let end = HEADER + length + TYPE_CLASS;
    query.question = message.get(HEADER..end).ok_or(Rcode::FormErr)?;
    (question.rtype, question.class) = (word(message, end - 4), word(message, end - 2));
    records(message, end, query)
}

/// Parses the records behind the question, from `at` to the message's end.
fn records<'a>(message: &'a [u8], mut at: usize, query: &mut ParsedQuery<'a>) -> Result<(), Rcode> {
    let count = |at| u32::from(word(message, at));
    let (answers, authorities, additionals) = (count(ANSWERS), count(AUTHORITIES), count(ADDITIONALS));
    let mut version = 0;
    let all = answers + authorities + additionals;
    for index in 0..all {
        let owner = at;
        let fixed = skip_name(message, at).ok_or(Rcode::FormErr)?;
        let is_root = fixed == at + 1;
        at = fixed;
        let fixed = message.get(at..at + FIXED).ok_or(Rcode::FormErr)?;
        at += FIXED + usize::from(word(fixed, 8));
        let data = message.get(at - usize::from(word(fixed, 8))..at).ok_or(Rcode::FormErr)?;
        if word(fixed, 0) == rtype::OPT {
            // One OPT record, owned by the root, in the additional section (RFC 6891 section 6.1.1).
            let misplaced = index < answers + authorities;
            if misplaced || !is_root || query.edns.is_some() {
                query.edns = None;
                return Err(Rcode::FormErr);
            }
            version = fixed[5];
            let dnssec_ok = fixed[6] & 0x80 != 0;
            // The answer to a malformed option has an OPT record nevertheless (RFC 6891 section 7).
            query.edns = Some(Edns::without_options(dnssec_ok));
            if version == 0 {
                query.edns = Some(Edns::read(dnssec_ok, data).ok_or(Rcode::FormErr)?);
            }
        } else {
            query.others = true;
            if word(fixed, 0) == rtype::TSIG {
                // The last record of the additional section (RFC 8945 section 5.1).
                let misplaced = index < answers + authorities || index + 1 < all;
                let tsig = Tsig::read(message, owner, word(fixed, 2), data).filter(|_| !misplaced);
                query.tsig = Some(tsig.ok_or(Rcode::FormErr)?);
            }
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
