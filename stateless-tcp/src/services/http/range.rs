//! Range requests (RFC 9110 14).

/// The part of a file that a Range field requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestedRange {
    /// The whole file: no range, several ranges, or an unknown unit.
    All,
    /// The bytes from the first position to the last one, inclusive.
    Part(usize, usize),
    /// Nothing in the file: 416.
    Nothing,
}

/// The part of a file of `len` bytes that `value` requests. As in nginx, a malformed range is not satisfiable.
pub(super) fn requested(value: &[u8], len: usize) -> RequestedRange {
    const UNIT: &[u8] = b"bytes=";
    let Some((unit, ranges)) = value.split_at_checked(UNIT.len()) else { return RequestedRange::All };
    if !unit.eq_ignore_ascii_case(UNIT) || ranges.is_empty() {
        return RequestedRange::All;
    }
    let mut requested = RequestedRange::Nothing;
    for range in ranges.split(|byte| *byte == b',') {
        match (part(range.trim_ascii(), len), requested) {
            (Some(RequestedRange::Nothing), _) => {}
            (Some(one), RequestedRange::Nothing) => requested = one,
            // Several ranges may be ignored (RFC 9110 14.2).
            (Some(_), _) => requested = RequestedRange::All,
            (None, _) => return RequestedRange::Nothing,
        }
    }
    requested
}

/// Parses one range: `first-`, `first-last` or `-length`. `None` if it is malformed.
fn part(range: &[u8], len: usize) -> Option<RequestedRange> {
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (range[..dash].trim_ascii(), range[dash + 1..].trim_ascii());
    let (first, end) = match (first, last) {
        ([], length) => (len.saturating_sub(number(length)?), len),
        (first, []) => (number(first)?, len),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(len)),
    };
    Some(match end.checked_sub(1) {
        Some(last) if first <= last => RequestedRange::Part(first, last),
        // The whole of an empty file.
        None if first == 0 && len == 0 => RequestedRange::All,
        _ => RequestedRange::Nothing,
    })
}

/// Parses a position; an overflow counts as the largest number.
fn number(digits: &[u8]) -> Option<usize> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| str::from_utf8(digits).ok()?.parse().ok()).map(|number| number.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::first_and_last("bytes=2-5", RequestedRange::Part(2, 5))]
    #[case::one_byte("bytes=0-0", RequestedRange::Part(0, 0))]
    #[case::to_the_end("bytes=7-", RequestedRange::Part(7, 9))]
    #[case::beyond_the_end("bytes=7-700", RequestedRange::Part(7, 9))]
    #[case::huge("bytes=7-99999999999999999999999", RequestedRange::Part(7, 9))]
    #[case::all("bytes=0-", RequestedRange::Part(0, 9))]
    #[case::suffix("bytes=-3", RequestedRange::Part(7, 9))]
    #[case::long_suffix("bytes=-300", RequestedRange::Part(0, 9))]
    #[case::no_suffix("bytes=-0", RequestedRange::Nothing)]
    #[case::behind_the_end("bytes=10-", RequestedRange::Nothing)]
    #[case::far_behind("bytes=99999999999999999999999-", RequestedRange::Nothing)]
    #[case::backwards("bytes=5-4", RequestedRange::Nothing)]
    #[case::spaces("bytes= 2 - 5 ", RequestedRange::Part(2, 5))]
    #[case::capitals("BYTES=2-5", RequestedRange::Part(2, 5))]
    #[case::several("bytes=0-1,5-6", RequestedRange::All)]
    #[case::one_of_several("bytes=20-30, 5-6, 10-", RequestedRange::Part(5, 6))]
    #[case::none_of_several("bytes=20-30,10-", RequestedRange::Nothing)]
    #[case::another_unit("lines=1-2", RequestedRange::All)]
    #[case::no_unit("1-2", RequestedRange::All)]
    #[case::nothing("", RequestedRange::All)]
    #[case::no_range("bytes=", RequestedRange::All)]
    #[case::no_dash("bytes=5", RequestedRange::Nothing)]
    #[case::no_digits("bytes=a-b", RequestedRange::Nothing)]
    #[case::only_a_dash("bytes=-", RequestedRange::Nothing)]
    #[case::negative("bytes=--5", RequestedRange::Nothing)]
    #[case::second_is_none("bytes=1-2,x", RequestedRange::Nothing)]
    fn part_of_ten_bytes(#[case] value: &str, #[case] expected: RequestedRange) {
        assert_eq!(requested(value.as_bytes(), 10), expected);
    }

    #[rstest]
    #[case::all("bytes=0-", RequestedRange::All)]
    #[case::suffix("bytes=-5", RequestedRange::All)]
    #[case::first("bytes=0-0", RequestedRange::All)]
    #[case::behind("bytes=1-", RequestedRange::Nothing)]
    fn part_of_an_empty_file(#[case] value: &str, #[case] expected: RequestedRange) {
        assert_eq!(requested(value.as_bytes(), 0), expected);
    }
}
