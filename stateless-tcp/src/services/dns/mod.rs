//! Authoritative DNS from zones compiled into memory: a message of RFC 1035 in, its answer out.
//!
//! A zone file goes down once: `zonefile` reads records by the form of their types in `rdata`, `zone` compiles them,
//! `load` holds zones from one reload to the next, `catalog` combines them. A query goes up once: `query` parses it,
//! `lookup` walks the zones, `response` writes the response. A query costs a few hash lookups and copies, even
//! the first of its kind, and allocates nothing. This module knows nothing of TCP but the length prefix of messages
//! (RFC 7766 section 8), and uses addresses and time for DNS cookies alone.
//!
//! Choices that the RFCs leave open:
//! - AXFR and IXFR are REFUSED, as NSD answers clients without permission (Knot says NOTAUTH).
//! - Every class but IN is REFUSED, ANY too; class CH but for the texts that tell who is answering (`identity`).
//! - A question for type OPT is FORMERR, for MAILA and MAILB (obsolete since RFC 1035) NOTIMP.
//! - [`DnsOptions::minimal_any`] answers ANY with the first RRset in the zone file's order, signed if the client sets
//!   DO.
//! - CNAMEs and DNAMEs are followed into every zone served (RFC 1034 section 4.3.2, step 3a), and additional addresses
//!   taken from each of them.
//! - Bytes behind the last record of a query make it FORMERR.
//! - NSEC3 may use up to 150 iterations, but should use none (RFC 9276): each costs one more hash for every name that
//!   does not exist. All other hashes are computed when the zone is compiled.

mod catalog;
mod compression;
mod cookie;
mod edns;
mod extended_error;
mod identity;
mod load;
mod lookup;
mod name;
mod presentation;
mod query;
mod rdata;
pub mod relay;
mod response_writer;
mod rtype;
pub(crate) mod wire;
mod zone;
mod zonefile;

pub use cookie::Cookies;
pub use identity::{Identity, ServerName};
pub use load::{
    Fallback, Library, LoadedZones, ZoneFailure, ZoneName, ZoneOptions, ZoneReport, ZoneSource, ZoneSummary,
    check as check_zone,
};
pub use zonefile::{ZoneError, count_records, zonefile_text};

use super::{Answered, Context, Framing, Service, Unavailable};
use crate::fingerprint::Fingerprint;
use crate::observe::transaction::Role;
use catalog::{Catalog, CatalogZone};
use cookie::CookieStatus;
use edns::{Edns, Opt};
use lookup::{Lookup, ResponseStatus};
use query::{DirectAnswer, DnsQuestion, ParsedQuery};
use response_writer::{Overflow, ResponseWriter};
use std::path::Path;
use std::sync::Arc;
use wire::{HEADER, PREFIX, Rcode, flag};

/// The default zone.
const BUILTIN: &str = include_str!("../../../zones/example.com.zone");

/// Options of the DNS service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsOptions {
    /// Answer ANY with one RRset (RFC 8482) instead of all.
    pub minimal_any: bool,
    /// The idle timeout that clients learn on request (RFC 7828), in units of 100 ms; 0: the option is ignored.
    pub keepalive: u16,
    /// Server cookies; `None`: cookies are ignored.
    pub cookies: Option<Cookies>,
    /// Answers to clients that ask who is answering.
    pub identity: Identity,
}

/// The authoritative DNS service: compiled zones.
#[derive(Debug)]
pub struct Dns {
    catalog: Catalog,
    options: DnsOptions,
    /// Fingerprint of the zones.
    fingerprint: Fingerprint,
}

impl Dns {
    /// Serves the built-in zone, `example.com.`
    ///
    /// # Panics
    ///
    /// Never: a test compiles the built-in zone.
    #[must_use]
    pub fn builtin(options: DnsOptions) -> Self {
        Self::from_text(BUILTIN, options).expect("the built-in zone compiles")
    }

    /// Serves the zone of `text`, a zone file.
    ///
    /// # Errors
    ///
    /// The first error, with line and column.
    pub fn from_text(text: &str, options: DnsOptions) -> Result<Self, ZoneError> {
        let (apex, zone, fingerprint) = load::text(Path::new("built-in zone"), text)?;
        let catalog = Catalog::new([(apex, CatalogZone::Zone(Arc::new(zone)))]).unwrap_or_default();
        Ok(Self { catalog, options, fingerprint })
    }

    /// Serves the zones that a [`Library`] has loaded.
    #[must_use]
    pub fn new(zones: LoadedZones, options: DnsOptions) -> Self {
        Self { catalog: zones.catalog, options, fingerprint: zones.fingerprint }
    }

    /// Serves the zones of these zone files, all of which must load.
    ///
    /// # Errors
    ///
    /// The first error, with file, line and column.
    pub fn load(files: &[ZoneSource], options: &DnsOptions) -> Result<Self, Arc<ZoneError>> {
        let zones = ZoneOptions { files: files.to_vec(), ..ZoneOptions::default() };
        let zones = Library::default().load(&zones, &[])?;
        match zones.report.failures.first() {
            Some(failure) => Err(Arc::clone(&failure.error)),
            None => Ok(Self::new(zones, *options)),
        }
    }

    /// A service without zones, for the relay: it parses queries and writes refusals.
    fn empty(options: DnsOptions) -> Self {
        Self { catalog: Catalog::default(), options, fingerprint: Fingerprint::default() }
    }

    /// The text that tells who is answering, if `question` asks for it.
    fn own_text(&self, question: &DnsQuestion) -> Option<&[u8]> {
        self.options.identity.text(question)
    }

    /// Appends the response to `question`, or the error for it, as [`Service::answer`] does.
    fn respond(
        &self,
        query: &ParsedQuery<'_>,
        question: Result<&DnsQuestion, DirectAnswer<'_>>,
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Answered {
        let start = response.len();
        let Some(room) = context.room.checked_sub(PREFIX) else { return Answered::default() };
        let room = room.min(usize::from(u16::MAX));
        response.extend_from_slice(&[0; PREFIX]);
        let closing = Context { persistent: false, ..*context };
        let mut last = false;
        let mut written = self.write(query, question, context, room, response);
        // A text that another server would not give must be one segment. Otherwise it is the last answer.
        let tells = question.is_err_and(|direct| direct.text.is_some());
        if written.is_ok() && tells && response.len() - start > context.whole {
            last = true;
            response.truncate(start + PREFIX);
            written = self.write(query, question, &closing, room, response);
        }
        let written = written.or_else(|Overflow| {
            last = true;
            response.truncate(start + PREFIX);
            self.write(query, Err(Rcode::ServFail.into()), &closing, room, response)
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

    /// Writes the response to `question`, or the error for it, and returns true if it depends on the time.
    fn write(
        &self,
        query: &ParsedQuery<'_>,
        question: Result<&DnsQuestion, DirectAnswer<'_>>,
        context: &Context,
        room: usize,
        response: &mut Vec<u8>,
    ) -> Result<bool, Overflow> {
        let mut message = ResponseWriter::new(&self.catalog, response, room);
        message.write_head(query.question)?;
        let mut outcome = match question {
            Ok(question) => {
                let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
                let minimal_any = self.options.minimal_any;
                Lookup { catalog: &self.catalog, dnssec_ok, minimal_any }.answer(question, &mut message)?
            }
            Err(DirectAnswer { rcode, error, text }) => {
                text.map_or(Ok(()), |text| message.write_text(text))?;
                ResponseStatus { rcode, authoritative: false, error }
            }
        };
        let mut volatile = question.is_err_and(|direct| direct.text.is_some());
        if let Some(edns) = &query.edns {
            let mut opt = Opt::new(edns.dnssec_ok);
            if let Some(error) = outcome.error {
                // The code alone is an answer.
                let left = room.saturating_sub(message.bytes().len() + opt.len());
                opt.option_within(left, edns::EXTENDED_ERROR, &error.data());
            }
            if edns.asks() {
                let length = PREFIX + message.bytes().len();
                let cookie = self.options(edns, context, length, &mut opt);
                volatile |= cookie.volatile;
                // A cookie decides only a query without a question (RFC 7873 section 5.4).
                if cookie.status == CookieStatus::Invalid
                    && outcome.rcode == Rcode::NoError
                    && query.question.is_empty()
                {
                    outcome.rcode = Rcode::BadCookie;
                }
            }
            message.write_opt(opt.finish(outcome.rcode as u16, 0))?;
        }
        if let (Rcode::NotAuth, Some(tsig)) = (outcome.rcode, &query.tsig) {
            tsig.answer(query.id, &mut message)?;
        }
        let counts = message.counts();
        let header = &mut message.bytes()[..HEADER];
        header[..2].copy_from_slice(&query.id);
        header[2..4].copy_from_slice(&flags(query, outcome).to_be_bytes());
        header[5] = u8::from(!query.question.is_empty());
        for (field, count) in header[6..].chunks_exact_mut(2).zip(counts) {
            field.copy_from_slice(&count.to_be_bytes());
        }
        Ok(volatile)
    }

    /// Answers the query's EDNS options; `length` bytes of the response precede them.
    fn options(&self, edns: &Edns<'_>, context: &Context, length: usize, opt: &mut Opt) -> CookieOutcome {
        if edns.keepalive && self.options.keepalive > 0 {
            // 0 asks the client to close (RFC 7828 section 3.3.2).
            let timeout = if context.persistent { self.options.keepalive } else { 0 };
            opt.option(edns::KEEPALIVE, &timeout.to_be_bytes());
        }
        let cookies = self.options.cookies.zip(edns.cookie);
        let cookie_length = cookies.map_or(0, |_| edns::OPTION_HEAD + cookie::DATA);
        // A longer answer must be the same from every server that may finish it.
        let left = context.whole.saturating_sub(length + opt.len() + cookie_length);
        let named = match &self.options.identity.name {
            Some(name) if edns.nsid => opt.option_within(left, edns::NSID, name.bytes()),
            _ => false,
        };
        let Some((cookies, presented)) = cookies else {
            return CookieOutcome { status: CookieStatus::ClientOnly, volatile: named };
        };
        let volatile = length + opt.len() + cookie_length <= context.whole;
        let renewed = cookies.answer(presented, context.origin.tuple.client, volatile.then_some(context.now));
        opt.option(edns::COOKIE, &renewed.data);
        CookieOutcome { status: renewed.status, volatile }
    }
}

/// The answer to a query's COOKIE option.
struct CookieOutcome {
    status: CookieStatus,
    /// The cookie in the answer depends on the time.
    volatile: bool,
}

impl Service for Dns {
    fn frame(&self, stream: &[u8]) -> Framing {
        let Some(&prefix) = stream.first_chunk::<PREFIX>() else { return Framing::Incomplete };
        let length = usize::from(u16::from_be_bytes(prefix));
        if query::is_hopeless(length, &stream[PREFIX..]) {
            // Nobody will answer what begins so, whatever follows: the connection ends with it.
            return Framing::Message(stream.len());
        }
        let whole = PREFIX + length;
        if stream.len() < whole { Framing::Incomplete } else { Framing::Message(whole) }
    }

    fn starts_message(&self, stream: &[u8]) -> bool {
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
        let DnsOptions { minimal_any, keepalive, cookies, identity } = self.options;
        let options = (minimal_any, keepalive, cookies.is_some(), identity.lengths());
        Some(Fingerprint::new(&(self.fingerprint, options)))
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let Some((query, question)) = query::parse_framed(message) else {
            return Ok(Answered { last: true, ..Answered::default() });
        };
        let question = match (question.as_ref(), &query.tsig) {
            // This server has no TSIG keys.
            (Ok(_), Some(_)) => Err(Rcode::NotAuth.into()),
            (Err(&rcode), _) => Err(rcode.into()),
            (Ok(question), None) => question
                .check_authoritative()
                .map_err(|refusal| self.own_text(question).map_or(refusal, DirectAnswer::text)),
        };
        Ok(self.respond(&query, question, context, response))
    }

    fn role(&self) -> Option<Role> {
        Some(Role::Authority)
    }
}

/// The header's second 16-bit word: opcode, RD and CD from the query; RA and AD clear.
fn flags(query: &ParsedQuery<'_>, outcome: ResponseStatus) -> u16 {
    let kept = query.flags & (flag::OPCODE | flag::RD | flag::CD);
    let authoritative = if outcome.authoritative { flag::AA } else { 0 };
    flag::QR | kept | authoritative | (outcome.rcode as u16 & 0xf)
}

#[cfg(test)]
mod tests;
