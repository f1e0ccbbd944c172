//! The text of a master file beside the library's scanner, which knows neither where a record stands nor TTLs with units.

use super::load::{Place, ZoneError};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Classes, as entries name them.
const CLASSES: [&[u8]; 3] = [b"IN", b"CH", b"HS"];

/// A master file, walked entry by entry.
pub(super) struct Source<'a> {
    file: &'a Arc<Path>,
    text: &'a [u8],
    at: usize,
    line: usize,
    in_seconds: Vec<u8>,
    /// Where a time with units ends in `in_seconds`, and in `text`.
    rewritten: Vec<(usize, usize)>,
}

/// A line, or as many as its parentheses hold together.
struct Entry<'a> {
    text: &'a [u8],
    start: usize,
    line: usize,
    words: Vec<Range<usize>>,
}

impl<'a> Source<'a> {
    /// Fails on a time that is no 32-bit number of seconds.
    pub(super) fn new(file: &'a Arc<Path>, text: &'a [u8]) -> Result<Self, ZoneError> {
        let mut source = Self {
            file,
            text,
            at: 0,
            line: 1,
            in_seconds: Vec::with_capacity(text.len()),
            rewritten: Vec::new(),
        };
        source.rewrite()?;
        Ok(source)
    }

    /// The text with all times as numbers of seconds: RFC 1035 section 5.1 knows no others, and nor does the library; BIND
    /// takes `1h30m`, and so do those who came after it.
    pub(super) fn in_seconds(&self) -> &[u8] {
        &self.in_seconds
    }

    fn rewrite(&mut self) -> Result<(), ZoneError> {
        let mut copied = 0;
        while self.at < self.text.len() {
            for range in self.entry().times() {
                let word = &self.text[range.clone()];
                let Some(time) = seconds(word) else { continue };
                if word.iter().all(u8::is_ascii_digit) {
                    continue;
                }
                if time > u64::from(u32::MAX) {
                    let word = String::from_utf8_lossy(word);
                    let what = format!("{word} is more than {} seconds", u32::MAX);
                    return Err(self.place(range.start).error(what));
                }
                self.in_seconds.extend_from_slice(&self.text[copied..range.start]);
                self.in_seconds.extend_from_slice(time.to_string().as_bytes());
                self.rewritten.push((self.in_seconds.len(), range.end));
                copied = range.end;
            }
        }
        self.in_seconds.extend_from_slice(&self.text[copied..]);
        (self.at, self.line) = (0, 1);
        Ok(())
    }

    /// Walks over the next record or `$INCLUDE`: tells where it begins, and whether a TTL was stated in or before it. The
    /// `$TTL` lines on the way go to `default_ttl`.
    pub(super) fn advance(&mut self, default_ttl: &mut Option<u32>) -> (Place, bool) {
        let mut stated = false;
        loop {
            let entry = self.entry();
            let ttl = entry.ttl().and_then(|range| seconds(&self.text[range.clone()]));
            stated |= ttl.is_some();
            if entry.is_control("$TTL") {
                *default_ttl = ttl.and_then(|ttl| u32::try_from(ttl).ok());
            }
            let exhausted = self.at >= self.text.len();
            let control = entry.word(0).starts_with(b"$") && !entry.is_control("$INCLUDE");
            if !entry.words.is_empty() && !control || exhausted {
                let column = 1 + entry.words.first().map_or(0, |word| word.start - entry.start);
                return (Place { file: Arc::clone(self.file), line: entry.line, column }, stated);
            }
        }
    }

    fn entry(&mut self) -> Entry<'a> {
        let text = self.text;
        let mut entry = Entry { text, start: self.at, line: self.line, words: Vec::new() };
        let (mut open, mut quoted) = (0_usize, false);
        while let Some(&octet) = text.get(self.at) {
            let at = self.at;
            self.at += 1;
            let in_word = match octet {
                b'\\' => {
                    self.at = (self.at + 1).min(text.len());
                    true
                }
                b'"' => {
                    quoted = !quoted;
                    true
                }
                b'\n' => {
                    self.line += 1;
                    if open == 0 && !quoted {
                        break;
                    }
                    quoted
                }
                _ if quoted => true,
                b';' => {
                    let rest = &text[self.at..];
                    self.at += rest.iter().position(|&octet| octet == b'\n').unwrap_or(rest.len());
                    false
                }
                b'(' => {
                    open += 1;
                    false
                }
                b')' => {
                    open = open.saturating_sub(1);
                    false
                }
                _ => !octet.is_ascii_whitespace(),
            };
            if in_word {
                match entry.words.last_mut() {
                    Some(word) if word.end == at => word.end = self.at,
                    _ => entry.words.push(at..self.at),
                }
            }
        }
        entry
    }

    fn place(&self, at: usize) -> Place {
        let before = &self.text[..at];
        let line = before.split(|&octet| octet == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&octet| octet != b'\n').count();
        Place { file: Arc::clone(self.file), line, column }
    }

    /// The library's `line:column: message` as an error that also says which word it stumbled over. It has read
    /// `head_lines` more than [`Source::in_seconds`].
    pub(super) fn explain(&self, head_lines: usize, message: &str) -> ZoneError {
        let mut parts = message.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.trim().parse::<usize>().ok());
        let (Some(line), Some(column)) = (number(), number()) else {
            return ZoneError::File { file: self.file.to_path_buf(), what: message.to_owned() };
        };
        let what = parts.next().unwrap_or(message).trim();
        // The scanner stands behind the word that it could not take, perhaps lines behind.
        let lines = self.in_seconds.split_inclusive(|&octet| octet == b'\n');
        let before = lines.take(line.saturating_sub(head_lines + 1)).map(<[u8]>::len).sum::<usize>();
        let stop = self.original(before + column.saturating_sub(1)).min(self.text.len());
        let end = self.text[..stop].trim_ascii_end().len();
        let start = self.text[..end].iter().rposition(u8::is_ascii_whitespace).map_or(0, |space| space + 1);
        let word = String::from_utf8_lossy(&self.text[start..end]);
        self.place(start).error(match what {
            "expected rtype" => format!("unknown record type \"{word}\""),
            "missing origin" => format!("relative name \"{word}\", and no $ORIGIN before it"),
            other => format!("{other}, at \"{word}\""),
        })
    }

    /// Where the octet at `at` of [`Source::in_seconds`] stands in the text.
    fn original(&self, at: usize) -> usize {
        let before = self.rewritten.partition_point(|&(end, _)| end <= at);
        let (end, original) = before.checked_sub(1).map_or((0, 0), |last| self.rewritten[last]);
        original + (at - end)
    }
}

impl Entry<'_> {
    /// The word at `index`, empty if there are fewer.
    fn word(&self, index: usize) -> &[u8] {
        self.words.get(index).map_or(&[], |word| &self.text[word.clone()])
    }

    fn is_control(&self, name: &str) -> bool {
        self.word(0).eq_ignore_ascii_case(name.as_bytes())
    }

    /// The words between a record's owner, if it states one, and its type: TTL and class, in either order.
    fn before_type(&self) -> Range<usize> {
        let indented = self.text.get(self.start).is_some_and(u8::is_ascii_whitespace);
        let first = usize::from(!indented);
        let before = (first..first + 2).take_while(|&index| {
            let word = self.word(index);
            seconds(word).is_some() || CLASSES.iter().any(|class| word.eq_ignore_ascii_case(class))
        });
        first..first + before.count()
    }

    /// The TTL of a record or a `$TTL`.
    fn ttl(&self) -> Option<&Range<usize>> {
        if self.is_control("$TTL") {
            return self.words.get(1);
        }
        let index = self.before_type().find(|&index| seconds(self.word(index)).is_some())?;
        self.words.get(index).filter(|_| !self.word(0).starts_with(b"$"))
    }

    /// All times: the TTL, and those of an SOA.
    fn times(&self) -> impl Iterator<Item = &Range<usize>> {
        let rtype = self.before_type().end;
        // Primary, mailbox, serial; then refresh, retry, expire, minimum (RFC 1035 section 3.3.13).
        let soa =
            self.word(rtype).eq_ignore_ascii_case(b"SOA").then(|| self.words.iter().skip(rtype + 4).take(4));
        self.ttl().into_iter().chain(soa.into_iter().flatten())
    }
}

/// How many seconds a time is: a number, or numbers with units (w, d, h, m, s). `None` where the word is neither.
fn seconds(word: &[u8]) -> Option<u64> {
    let (mut total, mut number, mut units) = (0_u64, None, false);
    for octet in word.to_ascii_lowercase() {
        let unit = match octet {
            b'0'..=b'9' => {
                let digit = u64::from(octet - b'0');
                number = Some(number.unwrap_or(0_u64).saturating_mul(10).saturating_add(digit));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.saturating_add(number.take()?.saturating_mul(unit));
        units = true;
    }
    if units { number.is_none().then_some(total) } else { number }
}
