//! Splits the text of a zone file into words (RFC 1035 section 5.1): it handles blanks, comments, parentheses, quotes
//! and line ends, and does not interpret the words.

use memchr::memchr;

/// An error at one position of a text.
#[derive(Debug)]
pub(in crate::services::dns) struct ParseError {
    /// From 1.
    pub(in crate::services::dns) line: u32,
    /// From 1, in bytes.
    pub(in crate::services::dns) column: u32,
    pub(in crate::services::dns) what: String,
}

/// One word of an entry.
#[derive(Clone, Copy, Debug)]
pub(in crate::services::dns) struct Word<'a> {
    /// The raw text, with escapes and without the quotes around it.
    pub(in crate::services::dns) raw: &'a [u8],
    /// The word was in quotes.
    pub(in crate::services::dns) quoted: bool,
    /// It holds a backslash.
    pub(in crate::services::dns) escaped: bool,
    pub(in crate::services::dns) line: u32,
    pub(in crate::services::dns) column: u32,
}

impl Word<'_> {
    /// An error at this word.
    pub(in crate::services::dns) fn error(&self, what: impl Into<String>) -> ParseError {
        ParseError { line: self.line, column: self.column, what: what.into() }
    }

    /// Whether the word is this keyword, in any case; a quoted word is a string and never a keyword.
    pub(in crate::services::dns) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.raw.eq_ignore_ascii_case(keyword.as_bytes())
    }
}

/// A scanner that returns the words of a text. An entry is one line, or several joined by parentheses.
pub(in crate::services::dns) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
    /// The number of open parentheses, and the position of the last one.
    open: u32,
    opened: (u32, u32),
}

impl<'a> Scanner<'a> {
    pub(in crate::services::dns) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1, line_start: 0, open: 0, opened: (1, 1) }
    }

    /// A scanner for text generated from a line: its errors are at that line.
    pub(in crate::services::dns) fn at_place(text: &'a [u8], line: u32) -> Self {
        Self { line, ..Self::new(text) }
    }

    /// Nothing is left of the text.
    pub(in crate::services::dns) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// The next byte is a blank: at the start of an entry this says that the entry has no owner of its own.
    pub(in crate::services::dns) fn is_at_blank(&self) -> bool {
        matches!(self.text.get(self.at), Some(b' ' | b'\t'))
    }

    /// The next byte opens a quoted string, with no blank between it and the word before.
    pub(in crate::services::dns) fn is_at_quote(&self) -> bool {
        self.text.get(self.at) == Some(&b'"')
    }

    /// Whether another word follows.
    pub(in crate::services::dns) fn has_more(&mut self) -> Result<bool, ParseError> {
        self.skip()?;
        Ok(!matches!(self.text.get(self.at), None | Some(b'\n')))
    }

    /// Whether the next word is this one and unquoted; the word is not taken.
    pub(in crate::services::dns) fn is_next(&mut self, keyword: &[u8]) -> Result<bool, ParseError> {
        self.skip()?;
        let rest = &self.text[self.at.min(self.text.len())..];
        let behind = rest.get(keyword.len()).copied();
        Ok(rest.starts_with(keyword) && behind.is_none_or(|byte| CLASS[usize::from(byte)] & END != 0))
    }

    /// The position of the next byte.
    pub(in crate::services::dns) fn place(&self) -> (u32, u32) {
        (self.line, self.column(self.at))
    }

    #[expect(clippy::cast_possible_truncation, reason = "texts are shorter than 4 GiB")]
    fn column(&self, at: usize) -> u32 {
        (at - self.line_start) as u32 + 1
    }

    /// Ends the entry: goes to the start of the next line. Every word must have been taken.
    pub(in crate::services::dns) fn end_entry(&mut self) {
        if self.at < self.text.len() {
            self.at += 1;
            self.line += 1;
            self.line_start = self.at;
        }
    }

    /// Goes to the next word, or to the line end that ends the entry.
    fn skip(&mut self) -> Result<(), ParseError> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'\n') if self.open > 0 => self.end_entry(),
                Some(b';') => {
                    let rest = &self.text[self.at..];
                    self.at += memchr(b'\n', rest).unwrap_or(rest.len());
                }
                Some(b'(') => {
                    self.opened = self.place();
                    self.open += 1;
                    self.at += 1;
                }
                Some(b')') => {
                    let (line, column) = self.place();
                    let Some(open) = self.open.checked_sub(1) else {
                        let what = "a closing parenthesis that nothing has opened".to_owned();
                        return Err(ParseError { line, column, what });
                    };
                    self.open = open;
                    self.at += 1;
                }
                None if self.open > 0 => {
                    let (line, column) = self.opened;
                    return Err(ParseError {
                        line,
                        column,
                        what: "a parenthesis that is never closed".to_owned(),
                    });
                }
                _ => return Ok(()),
            }
        }
    }

    /// The entry's next word; `None` at its end.
    pub(in crate::services::dns) fn word(&mut self) -> Result<Option<Word<'a>>, ParseError> {
        self.skip()?;
        let start = self.at;
        let (line, column) = self.place();
        match self.text.get(start) {
            None | Some(b'\n') => Ok(None),
            Some(b'"') => self.quoted(line, column).map(Some),
            Some(_) => {
                let (mut at, mut escaped) = (start, false);
                while let Some(&byte) = self.text.get(at) {
                    let class = CLASS[usize::from(byte)];
                    if class & END != 0 {
                        break;
                    }
                    at += 1;
                    if class & ESCAPE != 0 {
                        escaped = true;
                        // A line end cannot be escaped: decoding the word fails at the backslash at its end.
                        at += usize::from(self.text.get(at).is_some_and(|&next| next != b'\n'));
                    }
                }
                self.at = at;
                let raw = &self.text[start..at];
                Ok(Some(Word { raw, quoted: false, escaped, line, column }))
            }
        }
    }

    /// Scans a quoted string. It may contain a line end that is escaped or inside parentheses.
    fn quoted(&mut self, line: u32, column: u32) -> Result<Word<'a>, ParseError> {
        let start = self.at + 1;
        let (mut at, mut escaped) = (start, false);
        loop {
            let is_escape = self.text.get(at) == Some(&b'\\');
            if is_escape {
                escaped = true;
                at += 1;
            }
            match self.text.get(at) {
                Some(b'"') if !is_escape => break,
                Some(b'\n') if is_escape || self.open > 0 => {
                    at += 1;
                    self.line += 1;
                    self.line_start = at;
                }
                None | Some(b'\n') => {
                    let what = "a quoted string that does not end on its line".to_owned();
                    return Err(ParseError { line, column, what });
                }
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        Ok(Word { raw: &self.text[start..at], quoted: true, escaped, line, column })
    }
}

/// The byte ends an unquoted word.
const END: u8 = 1;
/// The byte escapes the next one.
const ESCAPE: u8 = 2;

/// Byte classes in an unquoted word.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let ends = b" \t\r\n;()\"";
    let mut index = 0;
    while index < ends.len() {
        class[ends[index] as usize] = END;
        index += 1;
    }
    class[b'\\' as usize] = ESCAPE;
    class
};

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// The words of each entry, quoted ones in angle brackets; or the error.
    fn entries(text: &str) -> String {
        let mut scanner = Scanner::new(text.as_bytes());
        let mut shown = String::new();
        while !scanner.is_at_end() {
            loop {
                match scanner.word() {
                    Ok(Some(word)) => {
                        let raw = String::from_utf8_lossy(word.raw);
                        let (open, close) = if word.quoted { ("<", ">") } else { ("", "") };
                        let word = format!("{open}{raw}{close}@{}:{} ", word.line, word.column);
                        shown.push_str(&word);
                    }
                    Ok(None) => break,
                    Err(ParseError { line, column, what }) => {
                        return format!("{shown}{line}:{column}: {what}");
                    }
                }
            }
            shown.push('|');
            scanner.end_entry();
        }
        shown
    }

    #[rstest]
    #[case::words("a  b\tc\n", "a@1:1 b@1:4 c@1:6 |")]
    #[case::no_last_newline("a b", "a@1:1 b@1:3 |")]
    #[case::crlf("a b\r\nc\r\n", "a@1:1 b@1:3 |c@2:1 |")]
    #[case::comment("a ; b\n;c\nd", "a@1:1 ||d@3:1 |")]
    #[case::comment_at_the_end("a ; b", "a@1:1 |")]
    #[case::parentheses("a ( b ; (\n c\n)d\ne", "a@1:1 b@1:5 c@2:2 d@3:2 |e@4:1 |")]
    #[case::no_blanks_around("a(b)c", "a@1:1 b@1:3 c@1:5 |")]
    #[case::nested("(a (b\n) c\n)\n", "a@1:2 b@1:5 c@2:3 |")]
    #[case::quoted(r#"a "b ; ( c" "" "#, "a@1:1 <b ; ( c>@1:3 <>@1:13 |")]
    #[case::quotes_touch(r#"a"b"c"#, "a@1:1 <b>@1:2 c@1:5 |")]
    #[case::escapes(r#"a\ b\;\( "c\"d" \""#, r#"a\ b\;\(@1:1 <c\"d>@1:10 \"@1:17 |"#)]
    #[case::backslash_at_the_end("a\\\nb", "a\\@1:1 |b@2:1 |")]
    #[case::line_end_in_parentheses("a ( \"b\nc\" )\nd", "a@1:1 <b\nc>@1:5 |d@3:1 |")]
    #[case::escaped_line_end("a \"b\\\nc\" d\ne", "a@1:1 <b\\\nc>@1:3 d@2:4 |e@3:1 |")]
    #[case::never_closed("a (\nb\n", "a@1:1 b@2:1 1:3: a parenthesis that is never closed")]
    #[case::never_opened("a )", "a@1:1 1:3: a closing parenthesis that nothing has opened")]
    #[case::no_end_of_quotes("a \"b\n\"", "a@1:1 1:3: a quoted string that does not end on its line")]
    #[case::no_end_of_quotes_at_all("\"b", "1:1: a quoted string that does not end on its line")]
    fn splits_into_words(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(entries(text), expected);
    }

    #[rstest]
    #[case::it("\\# 1", true)]
    #[case::alone("  \\#", true)]
    #[case::longer("\\#1", false)]
    #[case::other("\\a", false)]
    #[case::nothing("", false)]
    fn looks_ahead(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(Scanner::new(text.as_bytes()).is_next(b"\\#").unwrap(), expected);
    }
}
