//! Parses single words: names, numbers, times, strings.

use super::super::name::MAX_NAME;
use super::scanner::Word;
use std::fmt;

/// Most bytes of a label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A word as errors quote it: in quotes, on one line, truncated.
pub(in crate::services::dns) struct QuotedWord<'w, 'a>(pub(super) &'w Word<'a>);

impl fmt::Display for QuotedWord<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        let raw = self.0.raw;
        let text = String::from_utf8_lossy(&raw[..raw.len().min(MOST)]);
        let rest = if raw.len() > MOST { "..." } else { "" };
        write!(f, "\"{}{rest}\"", text.escape_debug())
    }
}

/// Parses a decimal number.
pub(in crate::services::dns) fn decimal(raw: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for &byte in raw {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!raw.is_empty()).then_some(number)
}

/// Parses a time in seconds: a number, or numbers with units (w, d, h, m, s) as in BIND. `None` for anything else.
pub(in crate::services::dns) fn seconds(raw: &[u8]) -> Option<u64> {
    let (mut total, mut number, mut units) = (0_u64, None, false);
    for &byte in raw {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let digit = u64::from(digit - b'0');
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

/// Decodes the escape at the front of `raw`, behind its backslash, and returns the byte and the escape's length: `DDD`
/// is the byte of that number, any other byte is itself (RFC 1035 section 5.1).
fn escape(raw: &[u8]) -> Result<(u8, usize), &'static str> {
    match *raw {
        [first, second, third, ..] if first.is_ascii_digit() => decimal(&[first, second, third])
            .and_then(|number| u8::try_from(number).ok())
            .map(|byte| (byte, 3))
            .ok_or("a backslash and digits must be three digits, \\000 to \\255"),
        [first, ..] if first.is_ascii_digit() => {
            Err("a backslash and digits must be three digits, \\000 to \\255")
        }
        [byte, ..] => Ok((byte, 1)),
        [] => Err("a backslash with nothing behind it"),
    }
}

/// Appends `raw` with its escapes decoded.
pub(in crate::services::dns) fn decode(raw: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte == b'\\' {
            let (byte, taken) = escape(&raw[at..])?;
            out.push(byte);
            at += taken;
        } else {
            out.push(byte);
        }
    }
    Ok(())
}

/// Appends the wire form of the name `raw`, which is relative to `origin` unless it ends with a dot; `@` is the origin.
pub(in crate::services::dns) fn name(
    raw: &[u8],
    origin: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    const NO_ORIGIN: &str = "relative, and neither $ORIGIN nor the configuration (NAME=FILE) gives an origin";
    const TOO_LONG: &str = "longer than 255 bytes";
    if raw == b"@" {
        out.extend_from_slice(origin.ok_or(NO_ORIGIN)?);
        return Ok(());
    }
    if raw == b"." {
        out.push(0);
        return Ok(());
    }
    let mut wire = [0; MAX_NAME];
    // Offsets of the current label's length byte and of its next byte.
    let (mut label, mut end) = (0, 1);
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        let byte = match byte {
            b'.' => {
                wire[label] = length(end - label - 1)?;
                label = end;
                end += 1;
                if end > MAX_NAME {
                    return Err(TOO_LONG);
                }
                continue;
            }
            b'\\' => {
                let (byte, taken) = escape(&raw[at..])?;
                at += taken;
                byte
            }
            byte => byte,
        };
        *wire.get_mut(end).ok_or(TOO_LONG)? = byte;
        end += 1;
    }
    if end - label == 1 {
        // The name ends with a dot: the next label's length byte is the root's.
        if label == 0 {
            return Err("empty");
        }
        out.extend_from_slice(&wire[..end]);
        return Ok(());
    }
    wire[label] = length(end - label - 1)?;
    let origin = origin.ok_or(NO_ORIGIN)?;
    if end + origin.len() > MAX_NAME {
        return Err(TOO_LONG);
    }
    out.extend_from_slice(&wire[..end]);
    out.extend_from_slice(origin);
    Ok(())
}

/// A label's length byte.
fn length(label: usize) -> Result<u8, &'static str> {
    match label {
        0 => Err("it has an empty label"),
        #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
        1..=MAX_LABEL => Ok(label as u8),
        _ => Err("it has a label longer than 63 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::seconds("90", Some(90))]
    #[case::units("1W2d3H4m5s", Some(604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5))]
    #[case::again("1m1m", Some(120))]
    #[case::no_unit_at_last("1m1", None)]
    #[case::no_number("m", None)]
    #[case::nothing("", None)]
    #[case::other("1x", None)]
    #[case::sign("-1", None)]
    fn reads_times(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(seconds(text.as_bytes()), expected);
    }

    #[rstest]
    #[case::absolute("a.Bc.", Ok(&b"\x01a\x02Bc\0"[..]))]
    #[case::relative("a", Ok(&b"\x01a\x01o\0"[..]))]
    #[case::origin("@", Ok(&b"\x01o\0"[..]))]
    #[case::escaped_at("\\@", Ok(&b"\x01@\x01o\0"[..]))]
    #[case::root(".", Ok(&b"\0"[..]))]
    #[case::escapes("a\\.b\\065\\\\.", Ok(&b"\x05a.bA\\\0"[..]))]
    #[case::bytes("\u{e9}.", Ok(&b"\x02\xc3\xa9\0"[..]))]
    #[case::empty_label("a..b", Err("it has an empty label"))]
    #[case::leading_dot(".a", Err("it has an empty label"))]
    #[case::two_dots("..", Err("it has an empty label"))]
    #[case::bad_escape("a\\25", Err("a backslash and digits must be three digits, \\000 to \\255"))]
    #[case::big_escape("a\\256", Err("a backslash and digits must be three digits, \\000 to \\255"))]
    #[case::no_escape("a\\", Err("a backslash with nothing behind it"))]
    #[case::nothing("", Err("empty"))]
    fn reads_names(#[case] text: &str, #[case] expected: Result<&[u8], &str>) {
        let mut wire = Vec::new();
        let read = name(text.as_bytes(), Some(b"\x01o\0"), &mut wire);
        assert_eq!(read.map(|()| &*wire), expected);
    }

    #[test]
    fn names_and_labels_have_their_limits() {
        let read = |text: &str, origin: &[u8]| {
            let mut wire = Vec::new();
            name(text.as_bytes(), Some(origin), &mut wire).map(|()| wire.len())
        };
        let label = "x".repeat(63);
        let of_253 = [&*label, &label, &label, &label[..60]].join(".");
        assert_eq!(read(&format!("{label}."), b"\0"), Ok(65));
        assert_eq!(read(&format!("{label}x."), b"\0"), Err("it has a label longer than 63 bytes"));
        assert_eq!(read(&format!("{of_253}x."), b"\0"), Ok(255));
        assert_eq!(read(&format!("{of_253}xx."), b"\0"), Err("longer than 255 bytes"));
        assert_eq!(read(&format!("{of_253}x"), b"\0"), Ok(255));
        assert_eq!(read(&of_253, b"\x01o\0"), Err("longer than 255 bytes"));
        assert_eq!(read(&"x.".repeat(127), b"\0"), Ok(255));
        assert_eq!(read(&"x.".repeat(128), b"\0"), Err("longer than 255 bytes"));
        assert_eq!(
            name(b"a", None, &mut Vec::new()),
            Err("relative, and neither $ORIGIN nor the configuration (NAME=FILE) gives an origin")
        );
    }
}
