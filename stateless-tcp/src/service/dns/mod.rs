//! Authoritative DNS from zones compiled into memory: a message of RFC 1035 in, its answer out.
//!
//! Master files are compiled when they are loaded: names to nodes by a hash of the wire form, sets of records to octets
//! that are copied into the answer, what proves a name's absence to pointers. A question then costs a few hash
//! lookups and copies, whether or not it was ever asked before, and allocates nothing. What this room does not know:
//! TCP beyond the length that frames a message (RFC 7766 section 8), addresses, and time.
//!
//! Choices where the texts leave one:
//! - AXFR and IXFR are REFUSED, as NSD answers who may not transfer (Knot says NOTAUTH).
//! - Every class but IN is REFUSED; ANY too, since no other class is known here.
//! - OPT as a type to ask for is FORMERR, MAILA and MAILB (obsolete since RFC 1035) NOTIMP.
//! - [`DnsOptions::minimal_any`] answers ANY with the first set in the master file's order, signed if asked so.
//! - CNAMEs and DNAMEs are followed into every zone served (RFC 1034 section 4.3.2, step 3a), and additional addresses
//!   taken from each of them.
//! - Octets behind the last record of a query make it FORMERR.
//! - Times in a master file may have units (`1h30m`, as BIND takes them).
//! - NSEC3 may iterate, up to 150 times, but should not (RFC 9276): each iteration is one more hash for every name that
//!   does not exist, and only that; all other hashes are prepared.

mod answer;
mod catalog;
mod compile;
mod denial;
mod group;
mod load;
mod message;
mod name;
mod prove;
mod query;
mod source;

pub use load::ZoneError;

use super::{Answered, Context, Framing, Service};
use answer::{Lookup, Outcome};
use catalog::Catalog;
use compile::Compiler;
use message::{Full, HEADER, Message};
use query::{Edns, Envelope, Question, Rcode, flag};
use std::path::{Path, PathBuf};

/// Octets of the length before a message (RFC 1035 section 4.2.2).
const PREFIX: usize = 2;
/// What our OPT says of UDP, which we do not serve: the size that every path carries (RFC 9715).
const UDP_SIZE: u16 = 1232;

/// The zone that is served when none is given.
const BUILTIN: &str = include_str!("../../../zones/example.com.zone");

/// How questions are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsOptions {
    /// Answer ANY with one set of records (RFC 8482) instead of all.
    pub minimal_any: bool,
}

/// The DNS service: zones, compiled.
#[derive(Debug)]
pub struct Dns {
    catalog: Catalog,
    options: DnsOptions,
}

impl Dns {
    /// Serves the built-in zone, `example.com.`
    ///
    /// # Panics
    ///
    /// Never: that the built-in zone compiles is tested.
    #[must_use]
    pub fn builtin(options: DnsOptions) -> Self {
        let mut compiler = Compiler::new();
        let file = Path::new("built-in zone");
        load::read_text(file, BUILTIN)
            .and_then(|records| compiler.add_zone(file, records))
            .expect("the built-in zone compiles");
        Self { catalog: compiler.finish(), options }
    }

    /// Serves the zones of the master files `files`, one zone each.
    ///
    /// # Errors
    ///
    /// The first thing wrong with them, by file, line and column.
    pub fn load(files: &[PathBuf], options: &DnsOptions) -> Result<Self, ZoneError> {
        let mut compiler = Compiler::new();
        for file in files {
            compiler.add_zone(file, load::read_file(file)?)?;
        }
        Ok(Self { catalog: compiler.finish(), options: *options })
    }

    /// Writes the answer to `question`, or what refuses it.
    fn write(
        &self,
        envelope: &Envelope<'_>,
        question: Result<&Question, Rcode>,
        room: usize,
        response: &mut Vec<u8>,
    ) -> Result<(), Full> {
        let mut message = Message::new(&self.catalog, response, room);
        message.head(envelope.question)?;
        let outcome = match question {
            Ok(question) => {
                let signed = envelope.edns.is_some_and(|edns| edns.signed);
                let minimal_any = self.options.minimal_any;
                Lookup { catalog: &self.catalog, signed, minimal_any }.answer(question, &mut message)?
            }
            Err(rcode) => Outcome { rcode, authoritative: false },
        };
        if let Some(edns) = envelope.edns {
            message.opt(&opt(edns, outcome.rcode))?;
        }
        let counts = message.counts();
        let header = &mut message.octets()[..HEADER];
        header[..2].copy_from_slice(&envelope.id);
        header[2..4].copy_from_slice(&flags(envelope, outcome).to_be_bytes());
        header[5] = u8::from(!envelope.question.is_empty());
        for (field, count) in header[6..].chunks_exact_mut(2).zip(counts) {
            field.copy_from_slice(&count.to_be_bytes());
        }
        Ok(())
    }
}

impl Service for Dns {
    fn frame(&self, stream: &[u8]) -> Framing {
        let Some(&prefix) = stream.first_chunk::<PREFIX>() else { return Framing::Incomplete };
        let whole = PREFIX + usize::from(u16::from_be_bytes(prefix));
        if stream.len() < whole { Framing::Incomplete } else { Framing::Message(whole) }
    }

    fn answer(&self, message: &[u8], context: &Context, response: &mut Vec<u8>) -> Answered {
        let start = response.len();
        let Some(query) = message.get(PREFIX..).filter(|query| query::is_query(query)) else {
            return Answered::default();
        };
        let Some(room) = context.room.checked_sub(PREFIX) else { return Answered::default() };
        let room = room.min(usize::from(u16::MAX));
        let (envelope, question) = query::parse(query);
        response.extend_from_slice(&[0; PREFIX]);
        let mut last = false;
        let written = self
            .write(&envelope, question.as_ref().map_err(|&rcode| rcode), room, response)
            .or_else(|Full| {
                last = true;
                response.truncate(start + PREFIX);
                self.write(&envelope, Err(Rcode::ServFail), room, response)
            });
        match written {
            Ok(()) => {
                let length = response.len() - start - PREFIX;
                #[expect(clippy::cast_possible_truncation, reason = "room is at most 65,535")]
                response[start..][..PREFIX].copy_from_slice(&(length as u16).to_be_bytes());
            }
            Err(Full) => response.truncate(start),
        }
        Answered { last, ..Answered::default() }
    }
}

/// The header's second 16 bits: opcode, RD and CD are the query's, RA and AD clear.
fn flags(envelope: &Envelope<'_>, outcome: Outcome) -> u16 {
    let kept = envelope.flags & (flag::OPCODE | flag::RD | flag::CD);
    let authoritative = if outcome.authoritative { flag::AA } else { 0 };
    flag::QR | kept | authoritative | (outcome.rcode as u16 & 0xf)
}

/// An OPT record: root, type 41, size, extended RCODE, version 0, DO as it came, no options (RFC 6891 section 6.1.3).
fn opt(edns: Edns, rcode: Rcode) -> [u8; 11] {
    let [high, low] = UDP_SIZE.to_be_bytes();
    [0, 0, 41, high, low, rcode as u8 >> 4, 0, if edns.signed { 0x80 } else { 0 }, 0, 0, 0]
}

#[cfg(test)]
mod tests;
