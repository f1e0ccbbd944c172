//! Normalises the path of a request. Knows nothing of pages.

use super::error_pages::HttpError;
use super::request::MAX_LINE;

/// Whether `path` needs neither decoding nor normalisation.
pub(super) fn is_normal(path: &[u8]) -> bool {
    !path.contains(&b'%') && !path.windows(2).any(|two| matches!(two, b"//" | b"/."))
}

/// Decodes the percent-encoded `path` into `buffer`, and resolves "//", "/./" and "/../", encoded or not, as nginx
/// does. The result never leads above the root.
///
/// # Errors
/// [`HttpError::BadTarget`] if its encoding is invalid, it contains NUL, or it leads above the root.
pub(super) fn normalise<'a>(path: &[u8], buffer: &'a mut [u8; MAX_LINE]) -> Result<&'a [u8], HttpError> {
    let mut len = 0;
    let mut rest = path;
    while let Some((byte, after)) = next(rest)? {
        rest = after;
        if byte == b'/' {
            len = end_segment(&buffer[..len])?;
            // Of several slashes in a row one is kept.
            if buffer[..len].ends_with(b"/") {
                continue;
            }
        }
        *buffer.get_mut(len).ok_or(HttpError::BadTarget)? = byte;
        len += 1;
    }
    let len = end_segment(&buffer[..len])?;
    Ok(&buffer[..len])
}

/// The first byte of `path`, decoded, and what follows it.
fn next(path: &[u8]) -> Result<Option<(u8, &[u8])>, HttpError> {
    match path {
        [] => Ok(None),
        [b'%', high, low, after @ ..] => {
            let byte = hexadecimal(*high).zip(hexadecimal(*low)).map(|(high, low)| high << 4 | low);
            byte.filter(|byte| *byte != 0).map(|byte| Some((byte, after))).ok_or(HttpError::BadTarget)
        }
        [b'%', ..] => Err(HttpError::BadTarget),
        [byte, after @ ..] => Ok(Some((*byte, after))),
    }
}

/// The length of a path after its last segment ends: without that segment if it is ".", without the one before too if
/// it is "..".
fn end_segment(path: &[u8]) -> Result<usize, HttpError> {
    if path.ends_with(b"/.") {
        return Ok(path.len() - 1);
    }
    let Some(above) = path.strip_suffix(b"/..") else { return Ok(path.len()) };
    // RFC 3986 5.2.4 would stay at the root, but such a request is malicious.
    above.iter().rposition(|byte| *byte == b'/').map(|slash| slash + 1).ok_or(HttpError::BadTarget)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::root("/", Some("/"))]
    #[case::plain("/a/b", Some("/a/b"))]
    #[case::dot("/./a", Some("/a"))]
    #[case::dots_in_a_row("/././a/./b", Some("/a/b"))]
    #[case::dot_dot("/sub/../a.css", Some("/a.css"))]
    #[case::slashes("//a///b", Some("/a/b"))]
    #[case::slashes_and_dots("/a//../b", Some("/b"))]
    #[case::final_dot("/a/.", Some("/a/"))]
    #[case::final_dot_dot("/a/b/..", Some("/a/"))]
    #[case::only_dot("/.", Some("/"))]
    #[case::back_to_the_root("/a/..", Some("/"))]
    #[case::two_up("/a/b/../../c", Some("/c"))]
    #[case::dot_files_stay("/.well-known/..a/...", Some("/.well-known/..a/..."))]
    #[case::final_dot_of_a_name("/a./b", Some("/a./b"))]
    #[case::encoded("/%61%2Eb", Some("/a.b"))]
    #[case::encoded_dots("/a/%2e%2E/b", Some("/b"))]
    #[case::encoded_slash("/a%2Fb", Some("/a/b"))]
    #[case::all_encoded("/a%2f%2e%2e%2fb", Some("/b"))]
    #[case::once_only("/%252e%252e", Some("/%2e%2e"))]
    #[case::percent("/%25", Some("/%"))]
    #[case::question_mark("/a%3Fb", Some("/a?b"))]
    #[case::above("/..", None)]
    #[case::above_deeper("/a/../..", None)]
    #[case::above_and_back("/../a", None)]
    #[case::above_encoded("/%2e%2e%2fa", None)]
    #[case::above_behind_slashes("//../a", None)]
    #[case::nul("/a%00", None)]
    #[case::cut("/a%", None)]
    #[case::cut_more("/a%4", None)]
    #[case::no_digits("/%4g", None)]
    fn path_is_normalised(#[case] path: &str, #[case] expected: Option<&str>) {
        let mut buffer = [0; MAX_LINE];
        assert_eq!(normalise(path.as_bytes(), &mut buffer).ok(), expected.map(str::as_bytes));
        if is_normal(path.as_bytes()) {
            assert_eq!(expected, Some(path));
        }
    }

    proptest! {
        /// The result is a path below the root, and normalising it again changes nothing.
        #[test]
        fn nothing_leads_above_the_root(path in "/([./a]|%2e|%2F|%25|%61){0,20}") {
            let (mut once, mut twice) = ([0; MAX_LINE], [0; MAX_LINE]);
            if let Ok(path) = normalise(path.as_bytes(), &mut once) {
                prop_assert!(path.starts_with(b"/"));
                let text = std::str::from_utf8(path).unwrap();
                prop_assert!(text.split('/').all(|segment| segment != "." && segment != ".."), "{text}");
                prop_assert!(!text.contains("//"), "{text}");
                if !path.contains(&b'%') {
                    prop_assert_eq!(normalise(path, &mut twice), Ok(path));
                }
            }
        }
    }
}
