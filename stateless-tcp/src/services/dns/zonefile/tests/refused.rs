use super::*;
use rstest::rstest;

#[rstest]
#[case::no_type("a", "1:2: expected a record type, found the end of the entry")]
#[case::only_a_ttl("a 5", "1:4: expected a record type, found the end of the entry")]
#[case::unknown_type("a 5 FOO x", "1:5: unknown record type: \"FOO\"")]
#[case::large_type("a 5 TYPE65536 \\# 0", "1:5: unknown record type: \"TYPE65536\"")]
#[case::no_unit("a 5x A 192.0.2.1", "1:3: unknown record type: \"5x\"")]
#[case::two_ttls("a 5 5 A 192.0.2.1", "1:5: unknown record type: \"5\"")]
#[case::two_classes("a IN IN A 192.0.2.1", "1:6: unknown record type: \"IN\"")]
#[case::other_class("a CH A 192.0.2.1", "1:3: only class IN is served: \"CH\"")]
#[case::other_class_as_number("a 5 CLASS3 A 192.0.2.1", "1:5: only class IN is served: \"CLASS3\"")]
#[case::too_large_a_ttl(
    "a 4294967296 A 192.0.2.1",
    "1:3: a TTL of more than 4294967295 seconds: \"4294967296\""
)]
#[case::too_large_a_time("a 7102w A 192.0.2.1", "1:3: a TTL of more than 4294967295 seconds: \"7102w\"")]
#[case::quoted_type("a 5 \"A\" 192.0.2.1", "1:5: expected a record type, found \"A\"")]
#[case::quoted_owner("\"a\" 5 A 192.0.2.1", "1:1: expected an owner name, found \"a\"")]
#[case::long_label(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 5 A 192.0.2.1",
    "1:1: an owner name: it has a label longer than 63 bytes: \
     \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\""
)]
#[case::no_owner(" 5 A 192.0.2.1", "1:2: a line begins with a blank, but there is no owner name before it")]
#[case::no_ttl("a A 192.0.2.1", "1:1: no TTL: state one, or begin the file with $TTL")]
#[case::behind_lines("a 5 TXT ( b\n c ) \n\n \nd 5 A x", "5:7: A: expected an IPv4 address, found \"x\"")]
#[case::never_closed("a 5 A ( 192.0.2.1\n", "1:7: a parenthesis that is never closed")]
#[case::unknown_directive(
    "$FOO x",
    "1:1: unknown directive: there are $ORIGIN, $TTL, $INCLUDE and $GENERATE: \"$FOO\""
)]
#[case::ttl_of_nothing("$TTL", "1:5: $TTL: expected a TTL, found the end of the entry")]
#[case::ttl_of_two("$TTL 1 2", "1:8: $TTL: expected the end of the entry, found \"2\"")]
#[case::ttl_of_no_time("$TTL x", "1:6: $TTL: expected a TTL, in seconds or as in 1h30m, found \"x\"")]
#[case::ttl_beyond("$TTL 4294967296", "1:6: $TTL: a TTL of more than 4294967295 seconds: \"4294967296\"")]
#[case::origin_of_nothing("$ORIGIN", "1:8: $ORIGIN: expected a domain name, found the end of the entry")]
#[case::origin_in_quotes("$ORIGIN \"x\"", "1:9: $ORIGIN: expected a domain name, found \"x\"")]
#[case::indented_directive(
    " $TTL 5",
    "1:2: a line begins with a blank, but there is no owner name before it"
)]
#[case::include_of_nothing(
    "$INCLUDE",
    "1:9: $INCLUDE: expected the name of a file, found the end of the entry"
)]
#[case::include_by_text("$INCLUDE x", "1:1: $INCLUDE: this text is no file, and includes none")]
#[case::opaque_short("a 5 A \\# 4 c00002", "1:10: A: expected 4 bytes of data behind \\#, found 3")]
#[case::opaque_odd(
    "a 5 A \\# 4 c000020",
    "1:12: A: expected the data, in pairs of hexadecimal digits, found \"c000020\""
)]
#[case::opaque_of_nothing("a 5 A \\#", "1:9: A: expected a length, 0 to 65535, found the end of the entry")]
#[case::generate_nothing(
    "$GENERATE 1-2 a",
    "1:16: $GENERATE: expected a record type, found the end of the entry"
)]
#[case::generate_backwards(
    "$GENERATE 3-1 a A 192.0.2.1",
    "1:11: $GENERATE: expected a range, as in 1-10 or 0-254/2, of numbers up to 2147483647, found \"3-1\""
)]
#[case::generate_by_nothing(
    "$GENERATE 1-3/0 a A 192.0.2.1",
    "1:11: $GENERATE: expected a range, as in 1-10 or 0-254/2, of numbers up to 2147483647, found \"1-3/0\""
)]
#[case::generate_other_base(
    "$GENERATE 1-3 ${0,2,z} A 192.0.2.1",
    "1:15: $GENERATE: expected ${OFFSET,WIDTH,BASE}, the base one of d, o, x, X, n and N, found \"${0,2,z}\""
)]
#[case::generate_too_many(
    "$GENERATE 0-16777216 $ 5 A 192.0.2.1",
    "1:1: $GENERATE: more than 1048576 records in all"
)]
#[case::generated(
    "$GENERATE 255-256 a$ 5 A 192.0.2.$",
    "1:1: $GENERATE, at 256: A: expected an IPv4 address, found \"192.0.2.256\""
)]
fn says_where_and_what(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(wrong(text.as_bytes(), Some(ORIGIN)), format!("z:{expected}"));
}

#[rstest]
#[case::relative_owner(
    b"a 5 A 192.0.2.1",
    "1:1: an owner name: relative, and neither $ORIGIN nor the configuration (NAME=FILE) gives an origin: \"a\""
)]
#[case::origin_itself(
    b"a. 5 NS @",
    "1:9: NS: a name server: relative, and neither $ORIGIN nor the configuration (NAME=FILE) gives an origin: \"@\""
)]
#[case::byte_order_mark(b"\xef\xbb\xbf$TTL 5", "1:1: a byte order mark: save the file as UTF-8 without one")]
fn says_what_is_missing(#[case] text: &[u8], #[case] expected: &str) {
    assert_eq!(wrong(text, None), format!("z:{expected}"));
}

#[test]
fn strings_and_data_have_their_limits() {
    let string = format!("\"{}\"", "x".repeat(255));
    assert!(shown(&format!("a 5 TXT {string}")).len() > 255);
    let longer = format!("a 5 TXT b \"{}\"", "x".repeat(256));
    assert_eq!(wrong(longer.as_bytes(), Some(ORIGIN)), "z:1:11: TXT: a string of 256 bytes: at most 255");
    // 255 strings of 256 bytes, and one of 255.
    let most = format!("a 5 TXT {} \"{}\"", vec![&*string; 255].join(" "), "x".repeat(254));
    assert!(shown(&most).len() > 65_535);
    let more = format!("{most} \"\"");
    assert_eq!(wrong(more.as_bytes(), Some(ORIGIN)), "z:1:1: record data of more than 65535 bytes");
}
