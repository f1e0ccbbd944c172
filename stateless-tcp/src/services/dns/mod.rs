//! Authoritative DNS from zones compiled into memory: a message of RFC 1035 in, its answer out.
//!
//! A zone file goes down once: `zonefile` reads it into records by what `rdata` knows of their types, `zone` compiles
//! them, `load` holds zones from one reload to the next, `catalog` puts them together. A question goes up once: `query`
//! reads it, `answer` walks the zones, `message` writes. It costs a few hash lookups and copies, whether or not it was ever
//! asked before, and allocates nothing. This module does not know TCP beyond the length that frames a message (RFC 7766
//! section 8); of addresses and time it knows what a DNS cookie is made of.
//!
//! Choices where the texts leave one:
//! - AXFR and IXFR are REFUSED, as NSD answers who may not transfer (Knot says NOTAUTH).
//! - Every class but IN is REFUSED; ANY too, since no other class is known here.
//! - OPT as a type to ask for is FORMERR, MAILA and MAILB (obsolete since RFC 1035) NOTIMP.
//! - [`DnsOptions::minimal_any`] answers ANY with the first set in the zone file's order, signed if asked so.
//! - CNAMEs and DNAMEs are followed into every zone served (RFC 1034 section 4.3.2, step 3a), and additional addresses
//!   taken from each of them.
//! - Octets behind the last record of a query make it FORMERR.
//! - NSEC3 may iterate, up to 150 times, but should not (RFC 9276): each iteration is one more hash for every name that
//!   does not exist, and only that; all other hashes are prepared.

mod answer;
mod catalog;
mod compression;
mod cookie;
mod edns;
mod load;
mod message;
mod name;
mod query;
mod rdata;
pub mod relay;
mod zone;
mod zonefile;

pub use cookie::Cookies;
pub use load::{
    Failure, Instead, Library, Report, Summary, ZoneName, ZoneOptions, ZoneSource, Zones, check as check_zone,
};
pub use zonefile::{ZoneError, count_records, zonefile_text};

use super::{Answered, Context, Framing, Service, Unavailable};
use crate::fingerprint::Fingerprint;
use crate::observe::transaction::Role;
use answer::{Lookup, Outcome};
use catalog::{Catalog, Served};
use cookie::Sent;
use edns::{Edns, Opt};
use message::{Full, HEADER, Message};
use query::{Envelope, Question, Rcode, flag};
use std::path::Path;
use std::sync::Arc;

pub(crate) use crate::dns_framing::LENGTH_PREFIX as PREFIX;

/// The zone that is served when none is given.
const BUILTIN: &str = include_str!("../../../zones/example.com.zone");

/// How questions are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsOptions {
    /// Answer ANY with one set of records (RFC 8482) instead of all.
    pub minimal_any: bool,
    /// How long a connection may stay idle, as told to who asks (RFC 7828), in units of 100 ms; 0: nobody is told.
    pub keepalive: u16,
    /// What DNS cookies are answered with; `None`: they are not.
    pub cookies: Option<Cookies>,
}

/// The DNS service: zones, compiled.
#[derive(Debug)]
pub struct Dns {
    catalog: Catalog,
    options: DnsOptions,
    /// Of the zones.
    fingerprint: Fingerprint,
}

impl Dns {
    /// Serves the built-in zone, `example.com.`
    ///
    /// # Panics
    ///
    /// Never: that the built-in zone compiles is tested.
    #[must_use]
    pub fn builtin(options: DnsOptions) -> Self {
        Self::of_text(BUILTIN, options).expect("the built-in zone compiles")
    }

    /// Serves the zone that `text` describes, as a zone file does.
    ///
    /// # Errors
    ///
    /// The first thing wrong with it, by line and column.
    pub fn of_text(text: &str, options: DnsOptions) -> Result<Self, ZoneError> {
        let (apex, zone, fingerprint) = load::text(Path::new("built-in zone"), text)?;
        let catalog = Catalog::new([(apex, Served::Zone(Arc::new(zone)))]).unwrap_or_default();
        Ok(Self { catalog, options, fingerprint })
    }

    /// Serves the zones that a [`Library`] has loaded.
    #[must_use]
    pub fn new(zones: Zones, options: DnsOptions) -> Self {
        Self { catalog: zones.catalog, options, fingerprint: zones.fingerprint }
    }

    /// Serves the zones of these zone files; all of them can be loaded.
    ///
    /// # Errors
    ///
    /// The first thing wrong with them, by file, line and column.
    pub fn load(files: &[ZoneSource], options: &DnsOptions) -> Result<Self, Arc<ZoneError>> {
        let zones = ZoneOptions { files: files.to_vec(), ..ZoneOptions::default() };
        let zones = Library::default().load(&zones, &[])?;
        match zones.report.failures.first() {
            Some(failure) => Err(Arc::clone(&failure.error)),
            None => Ok(Self::new(zones, *options)),
        }
    }

    /// Serves nothing: a question in vain, as others are there to be asked.
    fn empty(options: DnsOptions) -> Self {
        Self { catalog: Catalog::default(), options, fingerprint: Fingerprint::default() }
    }

    /// Appends the response to `question`, or what refuses it, as [`Service::answer`] does.
    fn respond(
        &self,
        envelope: &Envelope<'_>,
        question: Result<&Question, Rcode>,
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Answered {
        let start = response.len();
        let Some(room) = context.room.checked_sub(PREFIX) else { return Answered::default() };
        let room = room.min(usize::from(u16::MAX));
        response.extend_from_slice(&[0; PREFIX]);
        let mut last = false;
        let written = self.write(envelope, question, context, room, response).or_else(|Full| {
            last = true;
            response.truncate(start + PREFIX);
            let closing = Context { persistent: false, ..*context };
            self.write(envelope, Err(Rcode::ServFail), &closing, room, response)
        });
        let Ok(volatile) = written else {
            response.truncate(start);
            return Answered { last, ..Answered::default() };
        };
        let whole = response.len() - start;
        #[expect(clippy::cast_possible_truncation, reason = "room is at most 65,535")]
        response[start..][..PREFIX].copy_from_slice(&((whole - PREFIX) as u16).to_be_bytes());
        Answered { volatile: if volatile { whole } else { 0 }, last }
    }

    /// Writes the answer to `question`, or what refuses it, and says whether it depends on the time.
    fn write(
        &self,
        envelope: &Envelope<'_>,
        question: Result<&Question, Rcode>,
        context: &Context,
        room: usize,
        response: &mut Vec<u8>,
    ) -> Result<bool, Full> {
        let mut message = Message::new(&self.catalog, response, room);
        message.head(envelope.question)?;
        let mut outcome = match question {
            Ok(question) => {
                let signed = envelope.edns.is_some_and(|edns| edns.signed);
                let minimal_any = self.options.minimal_any;
                Lookup { catalog: &self.catalog, signed, minimal_any }.answer(question, &mut message)?
            }
            Err(rcode) => Outcome { rcode, authoritative: false },
        };
        let mut volatile = false;
        if let Some(edns) = &envelope.edns {
            let mut opt = Opt::new(edns.signed);
            if edns.keepalive || edns.cookie.is_some() {
                let length = PREFIX + message.octets().len();
                let cookie = self.options(edns, context, length, &mut opt);
                volatile = cookie.volatile;
                // The only query that a cookie decides (RFC 7873 section 5.4): there is no question.
                if cookie.sent == Sent::Bad && outcome.rcode == Rcode::NoError && envelope.question.is_empty()
                {
                    outcome.rcode = Rcode::BadCookie;
                }
            }
            message.opt(opt.finish(outcome.rcode as u16, 0))?;
        }
        if let (Rcode::NotAuth, Some(tsig)) = (outcome.rcode, &envelope.tsig) {
            tsig.answer(envelope.id, &mut message)?;
        }
        let counts = message.counts();
        let header = &mut message.octets()[..HEADER];
        header[..2].copy_from_slice(&envelope.id);
        header[2..4].copy_from_slice(&flags(envelope, outcome).to_be_bytes());
        header[5] = u8::from(!envelope.question.is_empty());
        for (field, count) in header[6..].chunks_exact_mut(2).zip(counts) {
            field.copy_from_slice(&count.to_be_bytes());
        }
        Ok(volatile)
    }

    /// Answers the options that the query has, behind `length` octets of a response.
    fn options(&self, edns: &Edns<'_>, context: &Context, length: usize, opt: &mut Opt) -> Exchanged {
        if edns.keepalive && self.options.keepalive > 0 {
            // 0 asks the client to close (RFC 7828 section 3.3.2).
            let timeout = if context.persistent { self.options.keepalive } else { 0 };
            opt.option(edns::KEEPALIVE, &timeout.to_be_bytes());
        }
        let (Some(cookies), Some(presented)) = (self.options.cookies, edns.cookie) else {
            return Exchanged { sent: Sent::None, volatile: false };
        };
        let volatile = length + opt.len() + edns::OPTION_HEAD + cookie::DATA <= context.whole;
        let renewed = cookies.renew(presented, context.origin.tuple.client, volatile.then_some(context.now));
        opt.option(edns::COOKIE, &renewed.data);
        Exchanged { sent: renewed.sent, volatile }
    }
}

/// What became of a query's COOKIE option.
struct Exchanged {
    sent: Sent,
    /// The answer's depends on the time.
    volatile: bool,
}

impl Service for Dns {
    fn frame(&self, stream: &[u8]) -> Framing {
        let Some(&prefix) = stream.first_chunk::<PREFIX>() else { return Framing::Incomplete };
        let whole = PREFIX + usize::from(u16::from_be_bytes(prefix));
        if stream.len() < whole { Framing::Incomplete } else { Framing::Message(whole) }
    }

    fn begins(&self, stream: &[u8]) -> bool {
        stream.get(PREFIX..).is_some_and(query::is_plain)
    }

    fn is_prefix(&self, tail: &[u8]) -> bool {
        tail.len() == PREFIX
    }

    fn prefix(&self, stream: &[u8]) -> Option<[u8; PREFIX]> {
        let length = query::length(stream)?;
        u16::try_from(length).ok().map(u16::to_be_bytes)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let DnsOptions { minimal_any, keepalive, cookies } = self.options;
        Some(Fingerprint::new(&(self.fingerprint, minimal_any, keepalive, cookies.is_some())))
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let Some(query) = message.get(PREFIX..).filter(|query| query::is_query(query)) else {
            return Ok(Answered::default());
        };
        let (envelope, question) = query::parse(query);
        let question = match (question.as_ref(), &envelope.tsig) {
            // We share a key with nobody.
            (Ok(_), Some(_)) => Err(Rcode::NotAuth),
            (question, _) => question.map_err(|&rcode| rcode).and_then(Question::of_zones),
        };
        Ok(self.respond(&envelope, question, context, response))
    }

    fn role(&self) -> Option<Role> {
        Some(Role::Authority)
    }
}

/// The header's second 16 bits: opcode, RD and CD are the query's, RA and AD clear.
fn flags(envelope: &Envelope<'_>, outcome: Outcome) -> u16 {
    let kept = envelope.flags & (flag::OPCODE | flag::RD | flag::CD);
    let authoritative = if outcome.authoritative { flag::AA } else { 0 };
    flag::QR | kept | authoritative | (outcome.rcode as u16 & 0xf)
}

#[cfg(test)]
mod tests;
