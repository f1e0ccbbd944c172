//! `$GENERATE` as BIND 9 documents it: one entry for each number of a range.

use crate::services::dns::presentation::{ParseError, Word, Words, decimal};
use std::io::Write as _;

/// Limit on the width of a padded number: no name or string is longer.
const MAX_WIDTH: u64 = 255;

/// An entry with placeholders for numbers.
pub(super) struct Template {
    first: i64,
    last: i64,
    step: i64,
    /// Text, and the placeholder behind it.
    parts: Vec<(Vec<u8>, Option<NumberFormat>)>,
}

/// The format of a number.
#[derive(Clone, Copy)]
struct NumberFormat {
    offset: i64,
    width: usize,
    base: u8,
}

impl Template {
    pub(super) fn parse(words: &mut Words<'_, '_>) -> Result<Self, ParseError> {
        const RANGE: &str = "a range, as in 1-10 or 0-254/2, of numbers up to 2147483647";
        let word = words.plain(RANGE)?;
        let (first, last, step) = range(word.raw).ok_or_else(|| words.unexpected(&word, RANGE))?;
        let mut template = Self { first, last, step, parts: Vec::new() };
        let mut text = Vec::new();
        let owner = words.plain("an owner name")?;
        template.add(&owner, words, &mut text)?;
        let mut word = words.plain("a record type")?;
        while words.has_more()? {
            text.push(b' ');
            text.extend_from_slice(word.raw);
            word = words.any("record data")?;
        }
        text.push(b' ');
        template.add(&word, words, &mut text)?;
        template.parts.push((text, None));
        Ok(template)
    }

    /// Adds a word that may have placeholders.
    fn add(&mut self, word: &Word<'_>, words: &Words<'_, '_>, text: &mut Vec<u8>) -> Result<(), ParseError> {
        let mut rest = word.raw;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            match (byte, behind) {
                (b'\\', [escaped, behind @ ..]) => {
                    text.extend_from_slice(&[b'\\', *escaped]);
                    rest = behind;
                }
                (b'$', [b'$', behind @ ..]) => {
                    // Escaped, so it never begins a directive.
                    text.extend_from_slice(b"\\$");
                    rest = behind;
                }
                (b'$', [b'{', behind @ ..]) => {
                    let end = behind.iter().position(|&byte| byte == b'}');
                    let number = end.and_then(|end| NumberFormat::parse(&behind[..end]));
                    let (Some(end), Some(number)) = (end, number) else {
                        let expected = "${OFFSET,WIDTH,BASE}, the base one of d, o, x, X, n and N";
                        return Err(words.unexpected(word, expected));
                    };
                    self.parts.push((std::mem::take(text), Some(number)));
                    rest = &behind[end + 1..];
                }
                (b'$', _) => {
                    let number = NumberFormat { offset: 0, width: 0, base: b'd' };
                    self.parts.push((std::mem::take(text), Some(number)));
                }
                _ => text.push(byte),
            }
        }
        Ok(())
    }

    /// The number of entries.
    pub(super) fn count(&self) -> i64 {
        (self.last - self.first) / self.step + 1
    }

    /// The numbers of the range.
    pub(super) fn iterators(&self) -> impl Iterator<Item = i64> + use<> {
        let (first, step) = (self.first, self.step);
        (0..self.count()).map(move |index| first + index * step)
    }

    /// Appends the entry for one number.
    pub(super) fn write(&self, iterator: i64, out: &mut Vec<u8>) {
        for (text, number) in &self.parts {
            out.extend_from_slice(text);
            if let Some(number) = number {
                number.write(iterator, out);
            }
        }
    }
}

/// The first number, the last, and the step between them.
fn range(text: &[u8]) -> Option<(i64, i64, i64)> {
    let number = |text| decimal(text).and_then(|number| i32::try_from(number).ok()).map(i64::from);
    let dash = text.iter().position(|&byte| byte == b'-')?;
    let (first, rest) = (&text[..dash], &text[dash + 1..]);
    let (last, step) = match rest.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&rest[..slash], number(&rest[slash + 1..])?),
        None => (rest, 1),
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && step > 0).then_some((first, last, step))
}

impl NumberFormat {
    /// Parses the text between the braces.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|&byte| byte == b',');
        let offset = parts.next()?;
        let (sign, digits) = offset.strip_prefix(b"-").map_or((1, offset), |digits| (-1, digits));
        let digits = digits.strip_prefix(b"+").unwrap_or(digits);
        let offset = sign * i64::from(i32::try_from(decimal(digits)?).ok()?);
        let width = match parts.next() {
            Some(width) => decimal(width).filter(|&width| width <= MAX_WIDTH)?,
            None => 0,
        };
        let base = match parts.next() {
            Some(&[base]) if b"doxXnN".contains(&base) => base,
            Some(_) => return None,
            None => b'd',
        };
        let width = usize::try_from(width).ok()?;
        parts.next().is_none().then_some(Self { offset, width, base })
    }

    fn write(&self, iterator: i64, out: &mut Vec<u8>) {
        let Self { offset, width, base } = *self;
        let number = iterator + offset;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as printf takes an int")]
        let bits = number as u32;
        let written = match base {
            b'o' => write!(out, "{bits:0width$o}"),
            b'x' => write!(out, "{bits:0width$x}"),
            b'X' => write!(out, "{bits:0width$X}"),
            b'n' | b'N' => {
                nibbles(bits, width, base == b'N', out);
                Ok(())
            }
            _ => write!(out, "{number:0width$}"),
        };
        debug_assert!(written.is_ok(), "a vector takes all");
    }
}

/// Writes hexadecimal digits from last to first, separated by dots, with at least `width` characters.
fn nibbles(mut bits: u32, width: usize, upper: bool, out: &mut Vec<u8>) {
    let mut left = width;
    loop {
        let digit = char::from_digit(bits & 15, 16).unwrap_or('0');
        let digit = if upper { digit.to_ascii_uppercase() } else { digit };
        out.push(digit as u8);
        bits >>= 4;
        left = left.saturating_sub(1);
        if left == 0 && bits == 0 {
            return;
        }
        out.push(b'.');
        left = left.saturating_sub(1);
        if left == 0 && bits == 0 {
            return;
        }
    }
}
