//! A cached answer of an upstream, parsed once, so that it can be written again without parsing.

use super::upstream_query::is_hop_by_hop;
use crate::services::dns::edns;
use crate::services::dns::extended_error::ExtendedError;
use crate::services::dns::query::ParsedQuery;
use crate::services::dns::rtype;
use crate::services::dns::wire::{
    ADDITIONALS, ANSWERS, AUTHORITIES, DATA_LENGTH, FIXED, HEADER, QUESTIONS, Rcode, TTL, flag, skip_name,
    word,
};

/// Limits in seconds on the lifetime of an answer, of a negative answer (RFC 2308 section 5) and of a failure (RFC 9520
/// section 3.2: at least one second, which needs two when time is counted in whole seconds).
const LONGEST: u32 = 86_400;
const LONGEST_NEGATIVE: u32 = 10_800;
const FAILURE: u32 = 2;

/// Seconds for which an expired answer is served while no upstream answers, and its TTL then (RFC 8767 section 5).
const STALE: u32 = 86_400;
const STALE_TTL: u32 = 30;

/// Mask of the response code in the header's fourth byte.
const RCODE: u8 = 0x0f;

/// An answer without its ID and OPT record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CachedAnswer {
    message: Box<[u8]>,
    /// Offsets of its TTLs.
    ttls: Box<[u16]>,
    /// EDNS options to pass on.
    options: Box<[u8]>,
    /// All 12 bits.
    pub(super) rcode: u16,
    /// Lifetime in seconds; 0: only for the requests that wait for it.
    lifetime: u32,
    /// Arrival time in seconds since 1970.
    since: u64,
}

/// The reason why a datagram is no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerError {
    /// It answers another question, or none.
    Mismatched,
    /// It is malformed.
    Malformed,
    /// It is truncated: the whole answer does not fit a datagram.
    Truncated,
}

/// The age of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerAge {
    /// Seconds since its arrival, within its lifetime.
    Fresh(u32),
    /// Beyond its lifetime.
    Stale,
}

impl CachedAnswer {
    /// Parses an answer to `question` that arrived at `now`, in seconds since 1970.
    pub(super) fn parse(message: &[u8], question: &[u8], now: u64) -> Result<Self, AnswerError> {
        if message.len() < HEADER || word(message, 2) & (flag::QR | flag::OPCODE) != flag::QR {
            return Err(AnswerError::Mismatched);
        }
        if word(message, QUESTIONS) != 1 || !message[HEADER..].starts_with(question) {
            return Err(AnswerError::Mismatched);
        }
        if word(message, 2) & flag::TC != 0 {
            return Err(AnswerError::Truncated);
        }
        let records = AnswerRecords::parse(message, HEADER + question.len()).ok_or(AnswerError::Malformed)?;
        let rcode = records.extended << 4 | u16::from(message[3] & RCODE);
        let mut cached = Self {
            lifetime: records.lifetime(message, rcode),
            ttls: records.ttls.into(),
            options: records.options.into(),
            message: message[..records.end].into(),
            rcode,
            since: now,
        };
        cached.message[ADDITIONALS..][..2].copy_from_slice(&records.additionals.to_be_bytes());
        Ok(cached)
    }

    /// Its memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.message.len() + 2 * self.ttls.len() + self.options.len()
    }

    /// The length of the message.
    pub(super) fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether it may be cached for later requests.
    pub(super) fn may_be_kept(&self) -> bool {
        self.lifetime > 0
    }

    /// Its age within its lifetime.
    pub(super) fn fresh(&self, now: u64) -> Option<AnswerAge> {
        let age = u32::try_from(now.saturating_sub(self.since)).ok()?;
        (age < self.lifetime).then_some(AnswerAge::Fresh(age))
    }

    /// Its age beyond its lifetime, if it may still be served.
    pub(super) fn stale(&self, now: u64) -> Option<AnswerAge> {
        let beyond = now.saturating_sub(self.since).saturating_sub(self.lifetime.into());
        let failed = self.rcode == Rcode::ServFail as u16;
        (beyond < STALE.into() && self.may_be_kept() && !failed).then_some(AnswerAge::Stale)
    }

    /// The extended error for this answer once it is stale (RFC 8914 sections 4.4 and 4.20).
    pub(super) fn stale_error(&self) -> ExtendedError {
        if self.rcode == Rcode::NxDomain as u16 {
            ExtendedError::StaleNxDomain
        } else {
            ExtendedError::StaleAnswer
        }
    }

    /// EDNS options to pass on: code and whole option.
    pub(super) fn options(&self) -> impl Iterator<Item = (u16, &[u8])> + Clone {
        edns::options(&self.options)
    }

    /// Appends the message as the answer to this query; `more` additional records will follow.
    pub(super) fn write(&self, age: AnswerAge, query: &ParsedQuery<'_>, more: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.message);
        let message = &mut out[start..];
        message[..2].copy_from_slice(&query.id);
        // In the client's own case, because names in the message may point into it.
        message[HEADER..][..query.question.len()].copy_from_slice(query.question);
        let additionals = word(message, ADDITIONALS) + more;
        message[ADDITIONALS..][..2].copy_from_slice(&additionals.to_be_bytes());
        if more == 0 && self.rcode > RCODE.into() {
            // Only an OPT record can hold this code.
            message[3] = message[3] & !RCODE | Rcode::ServFail as u8;
        }
        if age == AnswerAge::Fresh(0) {
            return;
        }
        for &at in &self.ttls {
            let place = &mut message[usize::from(at)..][..4];
            let ttl = match age {
                AnswerAge::Fresh(age) => {
                    u32::from_be_bytes([place[0], place[1], place[2], place[3]]).saturating_sub(age)
                }
                AnswerAge::Stale => STALE_TTL,
            };
            place.copy_from_slice(&ttl.to_be_bytes());
        }
    }
}

/// A summary of the records behind the question.
struct AnswerRecords {
    /// The offset of the OPT record, or the end of the message.
    end: usize,
    additionals: u16,
    ttls: Vec<u16>,
    options: Vec<u8>,
    extended: u16,
    least: u32,
    /// The lifetime of a negative answer by its SOA record (RFC 2308 section 5).
    negative: Option<u32>,
    referral: bool,
}

impl AnswerRecords {
    /// Parses the records from `at` on. `None` if they are malformed.
    fn parse(message: &[u8], mut at: usize) -> Option<Self> {
        let [answers, authorities, additionals] =
            [ANSWERS, AUTHORITIES, ADDITIONALS].map(|at| u32::from(word(message, at)));
        let mut records = Self {
            end: message.len(),
            additionals: word(message, ADDITIONALS),
            ttls: Vec::new(),
            options: Vec::new(),
            extended: 0,
            least: LONGEST,
            negative: None,
            referral: false,
        };
        for index in 0..answers + authorities + additionals {
            let owner = at;
            at = skip_name(message, at)?;
            let fixed = message.get(at..at + FIXED)?;
            let data = at + FIXED;
            let length = usize::from(word(fixed, DATA_LENGTH.start));
            let next = data + length;
            let data = message.get(data..next)?;
            let behind = index.checked_sub(answers + authorities);
            match (word(fixed, 0), behind) {
                (rtype::OPT, Some(before)) if at == owner + 1 => {
                    records.end = owner;
                    records.additionals = u16::try_from(before).ok()?;
                    records.extended = fixed[4].into();
                    records.options = passed_on(data)?;
                    return Some(records);
                }
                (rtype::OPT, _) => return None,
                (rtype, _) => {
                    let section_of_authority = index >= answers && behind.is_none();
                    records.note(rtype, fixed, data, section_of_authority)?;
                    records.ttls.push(u16::try_from(at + TTL.start).ok()?);
                }
            }
            at = next;
        }
        (at == message.len()).then_some(records)
    }

    fn note(&mut self, rtype: u16, fixed: &[u8], data: &[u8], authority: bool) -> Option<()> {
        let ttl = seconds(&fixed[TTL])?;
        self.least = self.least.min(ttl);
        match rtype {
            rtype::SOA if authority => {
                let minimum = seconds(data.last_chunk::<4>()?)?;
                self.negative = Some(minimum);
            }
            rtype::NS if authority => self.referral = true,
            _ => {}
        }
        Some(())
    }

    /// The lifetime of the answer in seconds.
    fn lifetime(&self, message: &[u8], rcode: u16) -> u32 {
        const NO_ERROR: u16 = Rcode::NoError as u16;
        const NX_DOMAIN: u16 = Rcode::NxDomain as u16;
        const SERV_FAIL: u16 = Rcode::ServFail as u16;
        let is_empty = word(message, ANSWERS) == 0;
        match (rcode, self.negative) {
            (NO_ERROR | NX_DOMAIN, Some(negative)) => self.least.min(negative).min(LONGEST_NEGATIVE),
            (NO_ERROR, None) if !is_empty || self.referral => self.least,
            (SERV_FAIL, _) => FAILURE,
            _ => 0,
        }
    }
}

/// A TTL; with the first bit set it counts as 0 (RFC 2181 section 8).
fn seconds(bytes: &[u8]) -> Option<u32> {
    let ttl = u32::from_be_bytes(*bytes.first_chunk()?);
    Some(if ttl >> 31 == 1 { 0 } else { ttl })
}

/// The options to pass on to the client. `None` if they are malformed.
fn passed_on(mut options: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    while !options.is_empty() {
        let (code, data, rest) = edns::split_option(options)?;
        if !is_hop_by_hop(code) {
            kept.extend_from_slice(&options[..edns::OPTION_HEAD + data.len()]);
        }
        options = rest;
    }
    Some(kept)
}
