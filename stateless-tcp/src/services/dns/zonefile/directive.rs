//! Directives: the entries that begin with `$`.

use super::files::directory;
use super::reader::{CurrentFile, EntryDefaults, TOO_LONG, ZoneReader, checked_ttl};
use super::scanner::{ParseError, Scanner, Word};
use super::text::seconds;
use super::{ZoneError, generate};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// How deep `$INCLUDE` may nest.
const MAX_INCLUDES: usize = 128;

/// A directive that brings another text.
pub(super) struct Directive {
    line: u32,
    column: u32,
    kind: Kind,
}

enum Kind {
    /// A file, and its origin.
    Include(PathBuf, Option<Vec<u8>>),
    Generate(generate::Template),
}

impl ZoneReader<'_> {
    /// Reads the directive that begins with `first`.
    pub(super) fn directive(
        &mut self,
        first: &Word<'_>,
        scanner: &mut Scanner<'_>,
        current: CurrentFile<'_>,
    ) -> Result<Option<Directive>, ParseError> {
        let mut words = self.words(scanner, current);
        let mut name = Vec::new();
        let kind = if first.is("$ORIGIN") {
            words.subject = "$ORIGIN";
            words.name("a domain name", &mut name)?;
            words.end()?;
            self.state().origin = name;
            return Ok(None);
        } else if first.is("$TTL") {
            words.subject = "$TTL";
            let word = words.plain("a TTL")?;
            let time = seconds(word.raw);
            let time = time.ok_or_else(|| words.unexpected(&word, "a TTL, in seconds or as in 1h30m"))?;
            let ttl = checked_ttl(time).ok_or_else(|| words.refuse(&word, TOO_LONG))?;
            words.end()?;
            self.state().ttl.directive = Some(ttl);
            return Ok(None);
        } else if first.is("$INCLUDE") {
            words.subject = "$INCLUDE";
            let word = words.any("the name of a file")?;
            let mut path = Vec::new();
            words.decode(&word, &mut path)?;
            if path.is_empty() {
                return Err(words.unexpected(&word, "the name of a file"));
            }
            let has_origin = words.has_more()?;
            if has_origin {
                words.name("an origin", &mut name)?;
            }
            words.end()?;
            Kind::Include(OsStr::from_bytes(&path).into(), has_origin.then_some(name))
        } else if first.is("$GENERATE") {
            words.subject = "$GENERATE";
            Kind::Generate(generate::Template::parse(&mut words)?)
        } else {
            let expected = "unknown directive: there are $ORIGIN, $TTL, $INCLUDE and $GENERATE";
            return Err(words.refuse(first, expected));
        };
        Ok(Some(Directive { line: first.line, column: first.column, kind }))
    }

    /// Reads the text that a directive brings.
    pub(super) fn follow(&mut self, directive: Directive, current: CurrentFile<'_>) -> Result<(), ZoneError> {
        let Directive { line, column, kind } = directive;
        match kind {
            Kind::Generate(template) => {
                self.generate(&template, line, current).map_err(|error| self.error(error, current))
            }
            Kind::Include(path, origin) => {
                let error = |what| ParseError { line, column, what };
                self.include(&path, origin, error, current)
            }
        }
    }

    fn include(
        &mut self,
        path: &std::path::Path,
        origin: Option<Vec<u8>>,
        error: impl Fn(String) -> ParseError,
        current: CurrentFile<'_>,
    ) -> Result<(), ZoneError> {
        let refuse =
            |reader: &Self, what: &str| Err(reader.error(error(format!("$INCLUDE: {what}")), current));
        if current.within.is_empty() {
            return refuse(self, "this text is no file, and includes none");
        }
        if current.within.len() > MAX_INCLUDES {
            return refuse(self, "nested too deep: at most 128 files include each other");
        }
        let path = directory(self.files.path(current.file())).join(path);
        let Some(index) = self.files.add(&path) else {
            return refuse(self, "more than 65535 files");
        };
        let text = match self.files.include(index, self.policy, current.within) {
            Ok(text) => text,
            Err(cause) if current.may_quote() => {
                return refuse(self, &format!("cannot include {}: {cause}", path.display()));
            }
            Err(cause) => return refuse(self, &format!("cannot include the file: {cause}")),
        };
        let within = [current.within, &[index]].concat();
        let state = self.state();
        let before = state.clone();
        if let Some(origin) = origin {
            state.origin = origin;
        }
        self.text(&text, CurrentFile { within: &within })?;
        let EntryDefaults { origin, owner, ttl: _ } = before;
        let state = self.state();
        (state.origin, state.owner) = (origin, owner);
        Ok(())
    }
}
