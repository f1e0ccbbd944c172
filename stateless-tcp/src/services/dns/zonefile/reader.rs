//! Entries of a zone file, one after another.

use super::directive::Directive;
use super::files::IncludePolicy;
use super::scanner::{ParseError, Scanner, Word};
use super::text::seconds;
use super::words::Words;
use super::{Position, ReadOutcome, RecordRejected, RecordSink, ZoneError, ZoneFiles, ZoneRecord};
use crate::services::dns::rdata;
use std::path::Path;

/// Most seconds of a TTL; more count as none (RFC 2181 section 8).
const MAX_TTL: u64 = (1 << 31) - 1;
const SOA: u16 = 6;
/// Bytes of an SOA's data from the minimum TTL on.
const MINIMUM: usize = 4;

/// Most bytes of text of one zone, whatever is included how often.
const MAX_TEXT: u64 = 4 << 30;

/// Reads files, and hands their records on.
pub(super) struct ZoneReader<'r> {
    pub(super) policy: &'r IncludePolicy,
    sink: RecordSink<'r>,
    pub(super) files: ZoneFiles,
    /// The owner of the first SOA.
    apex: Option<Vec<u8>>,
    /// The configured origin, or the first `$ORIGIN`.
    pub(super) name: Option<Vec<u8>>,
    /// Records that `$GENERATE` has made so far.
    pub(super) generated: u64,
    /// How many bytes of text may still be read.
    left: u64,
    state: EntryDefaults,
    rdata: Vec<u8>,
    scratch: Vec<u8>,
}

/// What entries leave to those behind them.
#[derive(Clone, Default)]
pub(super) struct EntryDefaults {
    /// What relative names are relative to. Names are in wire form; empty: there is none yet.
    pub(super) origin: Vec<u8>,
    /// The last owner.
    pub(super) owner: Vec<u8>,
    pub(super) ttl: DefaultTtl,
}

/// The TTL of a record that states none.
#[derive(Clone, Copy, Default)]
pub(super) struct DefaultTtl {
    /// By `$TTL`.
    pub(super) directive: Option<u32>,
    /// The last one that a record stated.
    stated: Option<u32>,
}

/// A text that is being read.
#[derive(Clone, Copy)]
pub(super) struct CurrentFile<'c> {
    /// The files that include each other up to this one, which is the last, by index.
    pub(super) within: &'c [u16],
}

impl CurrentFile<'_> {
    pub(super) fn file(&self) -> u16 {
        self.within.last().copied().unwrap_or(0)
    }

    /// Errors may repeat what stands there: it is the zone file itself.
    pub(super) fn may_quote(&self) -> bool {
        self.within.len() <= 1
    }
}

impl<'r> ZoneReader<'r> {
    pub(super) fn new(policy: &'r IncludePolicy, origin: Option<&[u8]>, sink: RecordSink<'r>) -> Self {
        let state = EntryDefaults { origin: origin.unwrap_or_default().to_vec(), ..EntryDefaults::default() };
        Self {
            policy,
            sink,
            files: ZoneFiles::default(),
            apex: None,
            name: origin.map(<[u8]>::to_vec),
            generated: 0,
            left: MAX_TEXT,
            state,
            rdata: Vec::with_capacity(u16::MAX.into()),
            scratch: Vec::new(),
        }
    }

    pub(super) fn read(mut self, path: &Path) -> ReadOutcome {
        let index = self.files.add(path).unwrap_or(0);
        let result = match self.files.read(index, self.policy) {
            Ok(text) => self.text(&text, CurrentFile { within: &[index] }),
            Err(cause) => Err(ZoneError::Unreadable { file: path.to_path_buf(), cause }),
        };
        self.finish(result)
    }

    pub(super) fn read_text(mut self, name: &Path, text: &[u8]) -> ReadOutcome {
        self.files.add(name);
        let result = self.text(text, CurrentFile { within: &[] });
        self.finish(result)
    }

    fn finish(self, result: Result<(), ZoneError>) -> ReadOutcome {
        ReadOutcome { files: self.files, name: self.apex.or(self.name), result }
    }

    /// Reads a whole text.
    pub(super) fn text(&mut self, text: &[u8], current: CurrentFile<'_>) -> Result<(), ZoneError> {
        let mut scanner = Scanner::new(text);
        if let Err(what) = self.spend(text.len()) {
            return Err(self.error(ParseError { line: 1, column: 1, what }, current));
        }
        if text.starts_with(b"\xef\xbb\xbf") {
            let what = "a byte order mark: save the file as UTF-8 without one".to_owned();
            return Err(self.error(ParseError { line: 1, column: 1, what }, current));
        }
        while !scanner.is_at_end() {
            match self.entry(&mut scanner, current) {
                Ok(None) => scanner.end_entry(),
                Ok(Some(directive)) => {
                    scanner.end_entry();
                    self.follow(directive, current)?;
                }
                Err(error) => return Err(self.error(error, current)),
            }
        }
        Ok(())
    }

    /// Takes account of text that is read, included or generated, so that small files cannot bring about work without end.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or_else(|| format!("the zone has more than {MAX_TEXT} bytes of text in all"))?;
        Ok(())
    }

    pub(super) fn error(&self, error: ParseError, current: CurrentFile<'_>) -> ZoneError {
        ZoneError::Entry {
            file: self.files.path(current.file()).to_path_buf(),
            line: error.line as usize,
            column: error.column as usize,
            what: error.what,
        }
    }

    /// Reads one entry: a record is handed on, a directive that needs another text is returned.
    pub(super) fn entry(
        &mut self,
        scanner: &mut Scanner<'_>,
        current: CurrentFile<'_>,
    ) -> Result<Option<Directive>, ParseError> {
        let is_blank = scanner.is_at_blank();
        let Some(first) = scanner.word()? else { return Ok(None) };
        if !is_blank && !first.quoted && first.raw.starts_with(b"$") {
            return self.directive(&first, scanner, current);
        }
        let Self { state, rdata, scratch, .. } = self;
        let origin = (!state.origin.is_empty()).then_some(&*state.origin);
        let mut words = Words::new(scanner, origin, current.may_quote(), scratch);
        words.start = (first.line, first.column);
        let mut word = first;
        if is_blank {
            if state.owner.is_empty() {
                return Err(first.error("a line begins with a blank, but there is no owner name before it"));
            }
        } else {
            if first.quoted {
                return Err(words.unexpected(&first, "an owner name"));
            }
            state.owner.clear();
            words.parse_name(&first, "an owner name", &mut state.owner)?;
            word = words.plain(TYPE)?;
        }
        let (stated, rtype, word) = ttl_and_type(word, &mut words)?;
        let kind = rdata::record_type(rtype);
        if kind.is_meta() {
            return Err(
                words.unexpected(&word, "a type of records: this one is of messages or questions only")
            );
        }
        words.subject = kind.subject();
        rdata.clear();
        if words.is_next(b"\\#")? {
            words.plain("")?;
            rdata::opaque(&mut words, rdata)?;
            kind.check(rdata).map_err(|malformed| words.malformed(&malformed))?;
        } else {
            kind.parse(&mut words, rdata)?;
            words.end()?;
        }
        if rdata.len() > usize::from(u16::MAX) {
            return Err(first.error("record data of more than 65535 bytes"));
        }
        let ttl = state
            .ttl
            .for_record(stated, rtype, rdata)
            .ok_or_else(|| first.error("no TTL: state one, or begin the file with $TTL"))?;
        if rtype == SOA && self.apex.is_none() {
            self.apex = Some(state.owner.clone());
        }
        let place = Position {
            file: current.file(),
            line: first.line,
            column: first.column.try_into().unwrap_or(u16::MAX),
        };
        let record = ZoneRecord { owner: &state.owner, rtype, ttl, rdata, place };
        (self.sink)(record).map_err(|RecordRejected(what)| first.error(what))?;
        Ok(None)
    }

    /// What relative names are relative to.
    pub(super) fn state(&mut self) -> &mut EntryDefaults {
        &mut self.state
    }

    pub(super) fn words<'s, 'a>(
        &'s mut self,
        scanner: &'s mut Scanner<'a>,
        current: CurrentFile<'_>,
    ) -> Words<'s, 'a> {
        let origin = (!self.state.origin.is_empty()).then_some(&*self.state.origin);
        Words::new(scanner, origin, current.may_quote(), &mut self.scratch)
    }
}

const TYPE: &str = "a record type";

/// What stands between owner and data: a TTL and a class, in any order or not at all, and a type.
fn ttl_and_type<'a>(
    mut word: Word<'a>,
    words: &mut Words<'_, 'a>,
) -> Result<(Option<u32>, u16, Word<'a>), ParseError> {
    let (mut ttl, mut class) = (None, false);
    loop {
        if !word.quoted {
            if ttl.is_none()
                && word.raw[0].is_ascii_digit()
                && let Some(time) = seconds(word.raw)
            {
                ttl = Some(checked_ttl(time).ok_or_else(|| words.refuse(&word, TOO_LONG))?);
                word = words.plain(TYPE)?;
                continue;
            }
            if !class && let Some(number) = class_number(word.raw) {
                if number != IN {
                    return Err(words.refuse(&word, "only class IN is served"));
                }
                class = true;
                word = words.plain(TYPE)?;
                continue;
            }
            if let Some(rtype) = rdata::by_name(word.raw) {
                return Ok((ttl, rtype, word));
            }
        }
        return Err(words.refuse(&word, "unknown record type"));
    }
}

/// What a TTL cannot be.
pub(super) const TOO_LONG: &str = "a TTL of more than 4294967295 seconds";

/// A TTL of so many seconds, if 32 bits hold them.
pub(super) fn checked_ttl(time: u64) -> Option<u32> {
    let time = u32::try_from(time).ok()?;
    Some(if u64::from(time) > MAX_TTL { 0 } else { time })
}

const IN: u16 = 1;

/// The class that a word names (RFC 1035 section 3.2.4, RFC 2136 section 1.3, RFC 3597 section 5).
fn class_number(word: &[u8]) -> Option<u16> {
    let known: [(&[u8], u16); 8] = [
        (b"IN", IN),
        (b"CS", 2),
        (b"CH", 3),
        (b"CHAOS", 3),
        (b"HS", 4),
        (b"HESIOD", 4),
        (b"NONE", 254),
        // ANY is a type as well, but no record is of it.
        (b"RESERVED0", 0),
    ];
    if word.len() > 10 {
        return None;
    }
    if let Some(&(_, number)) = known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)) {
        return Some(number);
    }
    let (prefix, digits) = word.split_at_checked(5)?;
    let number = super::decimal(digits).filter(|_| prefix.eq_ignore_ascii_case(b"CLASS"))?;
    number.try_into().ok()
}

impl DefaultTtl {
    /// The TTL of a record that states this one, or none (RFC 2308 section 4).
    fn for_record(&mut self, stated: Option<u32>, rtype: u16, rdata: &[u8]) -> Option<u32> {
        if stated.is_some() {
            self.stated = stated;
        } else if self.directive.is_none() && self.stated.is_none() && rtype == SOA {
            // As BIND has it: from here on as if $TTL had said so.
            let minimum: &[u8; MINIMUM] = rdata.last_chunk()?;
            self.directive = checked_ttl(u32::from_be_bytes(*minimum).into());
        }
        stated.or(self.directive).or(self.stated)
    }
}
