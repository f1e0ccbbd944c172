//! Entries of a zone file, one after another.

use super::directive::Directive;
use super::error::ZoneError;
use super::files::{IncludePolicy, Position, ZoneFiles, directory};
use super::generate::Template;
use super::record::{ReadOutcome, RecordRejected, RecordSink, ZoneRecord};
use super::ttl::{self, DefaultTtl};
use crate::services::dns::presentation::{ParseError, Scanner, Word, Words, decimal, seconds};
use crate::services::dns::wire::CLASS_IN;
use crate::services::dns::{rdata, rtype};
use std::path::Path;

/// Limit on the text of one zone in bytes; a file that is included twice counts twice.
const MAX_TEXT: u64 = 4 << 30;
/// Limit on the depth of `$INCLUDE`.
const MAX_INCLUDES: usize = 128;
/// Limit on the records that all `$GENERATE` directives of a zone make.
const MAX_GENERATED: u64 = 1 << 20;

/// Reads files and passes their records to a sink.
pub(super) struct ZoneReader<'r> {
    policy: &'r IncludePolicy,
    sink: RecordSink<'r>,
    files: ZoneFiles,
    /// The owner of the first SOA.
    apex: Option<Vec<u8>>,
    /// The configured origin, or the first `$ORIGIN`.
    name: Option<Vec<u8>>,
    /// Records made by `$GENERATE` so far.
    generated: u64,
    /// The bytes of text that may still be read.
    left: u64,
    state: EntryDefaults,
    rdata: Vec<u8>,
    scratch: Vec<u8>,
}

/// Defaults that entries set for the entries behind them.
#[derive(Clone, Default)]
struct EntryDefaults {
    /// The origin. Names are in wire form; empty if there is none yet.
    origin: Vec<u8>,
    /// The last owner.
    owner: Vec<u8>,
    ttl: DefaultTtl,
}

/// The text being read.
#[derive(Clone, Copy)]
struct CurrentFile<'c> {
    /// The indices of the including files, outermost first, down to this file.
    within: &'c [u16],
}

impl CurrentFile<'_> {
    fn file(&self) -> u16 {
        self.within.last().copied().unwrap_or(0)
    }

    /// Whether errors may quote the text: only the zone file itself, never an included file.
    fn may_quote(&self) -> bool {
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
    fn text(&mut self, text: &[u8], current: CurrentFile<'_>) -> Result<(), ZoneError> {
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
                Ok(Some((directive, line, column))) => {
                    scanner.end_entry();
                    self.follow(directive, line, column, current)?;
                }
                Err(error) => return Err(self.error(error, current)),
            }
        }
        Ok(())
    }

    /// Charges text that is read, included or generated to the limit, so that small files cannot cause unbounded work.
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or_else(|| format!("the zone has more than {MAX_TEXT} bytes of text in all"))?;
        Ok(())
    }

    fn error(&self, error: ParseError, current: CurrentFile<'_>) -> ZoneError {
        ZoneError::Entry {
            file: self.files.path(current.file()).to_path_buf(),
            line: error.line as usize,
            column: error.column as usize,
            what: error.what,
        }
    }

    /// Reads one entry: passes a record to the sink, or returns a directive with its position.
    fn entry(
        &mut self,
        scanner: &mut Scanner<'_>,
        current: CurrentFile<'_>,
    ) -> Result<Option<(Directive, u32, u32)>, ParseError> {
        let is_blank = scanner.is_at_blank();
        let Some(first) = scanner.word()? else { return Ok(None) };
        if !is_blank && !first.quoted && first.raw.starts_with(b"$") {
            let directive = Directive::parse(&first, &mut self.words(scanner, current))?;
            return Ok(Some((directive, first.line, first.column)));
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
        if rtype == rtype::SOA && self.apex.is_none() {
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

    /// Applies the directive at this place, and reads the text that it brings.
    fn follow(
        &mut self,
        directive: Directive,
        line: u32,
        column: u32,
        current: CurrentFile<'_>,
    ) -> Result<(), ZoneError> {
        match directive {
            Directive::Origin(name) => self.state.origin = name,
            Directive::Ttl(ttl) => self.state.ttl.directive = Some(ttl),
            Directive::Generate(template) => {
                self.generate(&template, line, current).map_err(|error| self.error(error, current))?;
            }
            Directive::Include(path, origin) => {
                let included = self.open_included(&path, current).map_err(|what| {
                    self.error(ParseError { line, column, what: format!("$INCLUDE: {what}") }, current)
                })?;
                self.include(&included, origin, current)?;
            }
        }
        Ok(())
    }

    /// Opens a file to include, and returns its index and its text.
    fn open_included(&mut self, path: &Path, current: CurrentFile<'_>) -> Result<(u16, Vec<u8>), String> {
        if current.within.is_empty() {
            return Err("this text is no file, and includes none".to_owned());
        }
        if current.within.len() > MAX_INCLUDES {
            return Err(format!("nested too deep: at most {MAX_INCLUDES} files include each other"));
        }
        let path = directory(self.files.path(current.file())).join(path);
        let index = self.files.add(&path).ok_or("more than 65535 files")?;
        match self.files.include(index, self.policy, current.within) {
            Ok(text) => Ok((index, text)),
            Err(cause) if current.may_quote() => Err(format!("cannot include {}: {cause}", path.display())),
            Err(cause) => Err(format!("cannot include the file: {cause}")),
        }
    }

    /// Reads an included file. Its origin and owner end with it; a TTL that it sets stays.
    fn include(
        &mut self,
        (index, text): &(u16, Vec<u8>),
        origin: Option<Vec<u8>>,
        current: CurrentFile<'_>,
    ) -> Result<(), ZoneError> {
        let within = [current.within, &[*index]].concat();
        let EntryDefaults { origin: outer, owner, ttl: _ } = self.state.clone();
        if let Some(origin) = origin {
            self.state.origin = origin;
        }
        self.text(text, CurrentFile { within: &within })?;
        (self.state.origin, self.state.owner) = (outer, owner);
        Ok(())
    }

    /// Reads the entries that a template makes; their position is its line.
    fn generate(
        &mut self,
        template: &Template,
        line: u32,
        current: CurrentFile<'_>,
    ) -> Result<(), ParseError> {
        let refuse = |what| ParseError { line, column: 1, what };
        self.generated += template.count().unsigned_abs();
        if self.generated > MAX_GENERATED {
            return Err(refuse(format!("$GENERATE: more than {MAX_GENERATED} records in all")));
        }
        // As in BIND: a line behind it that begins with a blank continues with the owner before it.
        let owner = self.state.owner.clone();
        let mut entry = Vec::new();
        for iterator in template.iterators() {
            entry.clear();
            template.write(iterator, &mut entry);
            self.spend(entry.len()).map_err(refuse)?;
            self.entry(&mut Scanner::at_place(&entry, line), current)
                .map_err(|error| refuse(format!("$GENERATE, at {iterator}: {}", error.what)))?;
        }
        self.state.owner = owner;
        Ok(())
    }

    fn words<'s, 'a>(&'s mut self, scanner: &'s mut Scanner<'a>, current: CurrentFile<'_>) -> Words<'s, 'a> {
        let origin = (!self.state.origin.is_empty()).then_some(&*self.state.origin);
        Words::new(scanner, origin, current.may_quote(), &mut self.scratch)
    }
}

const TYPE: &str = "a record type";

/// Parses the words between owner and data: optional TTL and class, in any order, and the type.
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
                ttl = Some(ttl::checked(time).ok_or_else(|| words.refuse(&word, ttl::TOO_LONG))?);
                word = words.plain(TYPE)?;
                continue;
            }
            if !class && let Some(number) = class_number(word.raw) {
                if number != CLASS_IN {
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

/// The class named by a word (RFC 1035 section 3.2.4, RFC 2136 section 1.3, RFC 3597 section 5).
fn class_number(word: &[u8]) -> Option<u16> {
    let known: [(&[u8], u16); 8] = [
        (b"IN", CLASS_IN),
        (b"CS", 2),
        (b"CH", 3),
        (b"CHAOS", 3),
        (b"HS", 4),
        (b"HESIOD", 4),
        (b"NONE", 254),
        // ANY is missing: it is a type as well, and no record has it.
        (b"RESERVED0", 0),
    ];
    if word.len() > 10 {
        return None;
    }
    if let Some(&(_, number)) = known.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)) {
        return Some(number);
    }
    let (prefix, digits) = word.split_at_checked(5)?;
    let number = decimal(digits).filter(|_| prefix.eq_ignore_ascii_case(b"CLASS"))?;
    number.try_into().ok()
}
