//! Parses the words of one entry as the expected numbers, names and strings.

use super::scanner::{ParseError, Scanner, Word};
use super::text;
use std::fmt::Display;

/// The remaining words of an entry.
pub(in crate::services::dns) struct Words<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    /// The origin of relative names, in wire form.
    origin: Option<&'s [u8]>,
    /// The position of the entry.
    pub(in crate::services::dns) start: (u32, u32),
    /// The subject of the entry, the prefix of its errors.
    pub(in crate::services::dns) subject: &'static str,
    /// Errors may quote the text. Never for an included file, which could be any file, even one with keys.
    pub(in crate::services::dns) may_quote: bool,
    /// Buffer for encodings that span several words.
    pub(in crate::services::dns) scratch: &'s mut Vec<u8>,
}

impl<'s, 'a> Words<'s, 'a> {
    pub(in crate::services::dns) fn new(
        scanner: &'s mut Scanner<'a>,
        origin: Option<&'s [u8]>,
        may_quote: bool,
        scratch: &'s mut Vec<u8>,
    ) -> Self {
        let start = scanner.place();
        Self { scanner, origin, start, subject: "", may_quote, scratch }
    }

    /// The next word, if there is one.
    pub(in crate::services::dns) fn next(&mut self) -> Result<Option<Word<'a>>, ParseError> {
        self.scanner.word()
    }

    /// The next word, quoted or not.
    pub(in crate::services::dns) fn any(&mut self, expected: impl Display) -> Result<Word<'a>, ParseError> {
        match self.scanner.word()? {
            Some(word) => Ok(word),
            None => Err(self.missing(expected)),
        }
    }

    /// The next word, which must be unquoted.
    pub(in crate::services::dns) fn plain(&mut self, expected: impl Display) -> Result<Word<'a>, ParseError> {
        match self.scanner.word()? {
            Some(word) if !word.quoted => Ok(word),
            Some(word) => Err(self.unexpected(&word, expected)),
            None => Err(self.missing(expected)),
        }
    }

    /// Whether another word follows.
    pub(in crate::services::dns) fn has_more(&mut self) -> Result<bool, ParseError> {
        self.scanner.has_more()
    }

    /// Whether a quoted string follows the last word directly.
    pub(in crate::services::dns) fn is_at_quote(&self) -> bool {
        self.scanner.is_at_quote()
    }

    pub(in crate::services::dns) fn is_next(&mut self, keyword: &[u8]) -> Result<bool, ParseError> {
        self.scanner.is_next(keyword)
    }

    /// Fails if anything remains.
    pub(in crate::services::dns) fn end(&mut self) -> Result<(), ParseError> {
        match self.scanner.word()? {
            None => Ok(()),
            Some(word) => Err(self.unexpected(&word, "the end of the entry")),
        }
    }

    /// The error of an unexpected word.
    pub(in crate::services::dns) fn unexpected(&self, word: &Word<'_>, expected: impl Display) -> ParseError {
        word.error(format!("{}expected {expected}{}", self.prefix(), self.found(word)))
    }

    /// The error of a word of the expected kind with an invalid value.
    pub(in crate::services::dns) fn refuse(&self, word: &Word<'_>, what: impl Display) -> ParseError {
        word.error(format!("{}{what}{}", self.prefix(), self.at(word)))
    }

    /// The same without quoting the word.
    pub(in crate::services::dns) fn refuse_bare(&self, word: &Word<'_>, what: impl Display) -> ParseError {
        word.error(format!("{}{what}", self.prefix()))
    }

    /// The error of data whose fields do not fit together, at the position of the entry.
    pub(in crate::services::dns) fn malformed(&self, malformed: &impl Display) -> ParseError {
        let (line, column) = self.start;
        ParseError { line, column, what: format!("{}{malformed}", self.prefix()) }
    }

    /// The error of data whose only form is that of RFC 3597.
    pub(in crate::services::dns) fn unknown_form(&mut self) -> ParseError {
        let expected = "\\# LENGTH HEXADECIMAL: its data has no other form";
        match self.scanner.word() {
            Ok(Some(word)) => self.unexpected(&word, expected),
            Ok(None) => self.missing(expected),
            Err(error) => error,
        }
    }

    fn missing(&self, expected: impl Display) -> ParseError {
        let (line, column) = self.scanner.place();
        let what = format!("{}expected {expected}, found the end of the entry", self.prefix());
        ParseError { line, column, what }
    }

    fn prefix(&self) -> String {
        if self.subject.is_empty() { String::new() } else { format!("{}: ", self.subject) }
    }

    fn found(&self, word: &Word<'_>) -> String {
        if self.may_quote { format!(", found {}", text::QuotedWord(word)) } else { String::new() }
    }

    /// The word as a suffix of an error, if it may be quoted.
    pub(in crate::services::dns) fn at(&self, word: &Word<'_>) -> String {
        if self.may_quote { format!(": {}", text::QuotedWord(word)) } else { String::new() }
    }

    /// A decimal number of at most `max`.
    pub(in crate::services::dns) fn number(
        &mut self,
        what: impl Display,
        max: u64,
    ) -> Result<u64, ParseError> {
        let expected = format_args!("{what}, 0 to {max}");
        let word = self.plain(expected)?;
        let number = text::decimal(word.raw).filter(|&number| number <= max);
        number.ok_or_else(|| self.unexpected(&word, expected))
    }

    /// A decimal number of one byte.
    pub(in crate::services::dns) fn byte(&mut self, expected: &'static str) -> Result<u8, ParseError> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 255")]
        self.number(expected, u8::MAX.into()).map(|number| number as u8)
    }

    /// Appends the wire form of the next word as a name.
    pub(in crate::services::dns) fn name(
        &mut self,
        expected: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let word = self.plain(expected)?;
        self.parse_name(&word, expected, out)
    }

    /// Appends the wire form of `word` as a name.
    pub(in crate::services::dns) fn parse_name(
        &self,
        word: &Word<'_>,
        expected: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        text::name(word.raw, self.origin, out)
            .map_err(|wrong| self.refuse(word, format_args!("{expected}: {wrong}")))
    }

    /// Appends `word` with its escapes decoded.
    pub(in crate::services::dns) fn decode(
        &self,
        word: &Word<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        if !word.escaped {
            out.extend_from_slice(word.raw);
            return Ok(());
        }
        text::decode(word.raw, out).map_err(|wrong| self.refuse(word, wrong))
    }

    /// Joins all remaining words in [`Words::scratch`], and returns the first one.
    pub(in crate::services::dns) fn gather(
        &mut self,
        expected: impl Display,
    ) -> Result<Word<'a>, ParseError> {
        let first = self.plain(&expected)?;
        self.scratch.clear();
        self.scratch.extend_from_slice(first.raw);
        while let Some(word) = self.next()? {
            if word.quoted {
                return Err(self.unexpected(&word, expected));
            }
            self.scratch.extend_from_slice(word.raw);
        }
        Ok(first)
    }
}
