//! The zone that every server serves, and the questions for its names.

use std::fmt::Write;

/// Names with an address, which are asked for in turn.
pub(super) const NAMES: u16 = 1_000;
pub(super) const APEX: &str = "example.com";

/// The zone file.
pub(super) fn file() -> String {
    let mut text = format!(
        "$ORIGIN {APEX}.\n$TTL 3600\n@ IN SOA ns hostmaster 1 3600 900 604800 300\n@ IN NS ns\nns IN A 192.0.2.1\n"
    );
    for name in 0..NAMES {
        let [high, low] = name.to_be_bytes();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "h{name} IN A 198.18.{high}.{low}");
    }
    text
}

/// A query with the ID `number` for the address of one of the names.
pub(super) fn question(number: u16) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    // A query, with one question and nothing else.
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let host = format!("h{}", number % NAMES);
    for label in std::iter::once(host.as_str()).chain(APEX.split('.')) {
        message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        message.extend(label.as_bytes());
    }
    // The root's label, type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_a_host_of_the_zone() {
        let message = question(1_007);
        assert_eq!(message[..2], 1_007_u16.to_be_bytes());
        assert_eq!(message[12..], *b"\x02h7\x07example\x03com\0\0\x01\0\x01");
        assert!(file().lines().any(|line| line == "h7 IN A 198.18.0.7"));
        assert_eq!(file().lines().filter(|line| line.starts_with('h')).count(), usize::from(NAMES));
    }
}
