//! DNS messages over TCP: each message stands behind its length (RFC 1035 section 4.2.2).

use std::ops::Range;

/// Bytes of the length before a message.
pub(crate) const LENGTH_PREFIX: usize = 2;

/// The ranges of the whole DNS messages in `stream`, which starts with one. In bytes that are not DNS it finds some, too.
pub(crate) fn messages(stream: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &length: &[u8; LENGTH_PREFIX] = stream.get(at..)?.first_chunk()?;
        let begin = at + LENGTH_PREFIX;
        at = begin + usize::from(u16::from_be_bytes(length));
        (at <= stream.len()).then_some(begin..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_one_behind_the_other() {
        let stream = b"\0\x03abc\0\0\0\x02de\0\x09cut";
        assert_eq!(messages(stream).collect::<Vec<_>>(), [2..5, 7..7, 9..11]);
        assert_eq!(messages(b"\0").count(), 0);
    }
}
