use super::*;
use rstest::rstest;

#[rstest]
#[case::class_and_ttl("a IN 5 A 192.0.2.1", "a.o. 5 A 192.0.2.1")]
#[case::ttl_and_class("a 5 in a 192.0.2.1", "a.o. 5 A 192.0.2.1")]
#[case::class_as_number("a class1 5 A 192.0.2.1", "a.o. 5 A 192.0.2.1")]
#[case::units("a 1h30m A 192.0.2.1", "a.o. 5400 A 192.0.2.1")]
#[case::largest_ttl("a 2147483647 A 192.0.2.1", "a.o. 2147483647 A 192.0.2.1")]
#[case::larger_ttl_is_none("a 2147483648 A 192.0.2.1", "a.o. 0 A 192.0.2.1")]
#[case::owner_in_parentheses("( a 5 A\n192.0.2.1 )", "a.o. 5 A 192.0.2.1")]
#[case::owner_named_as_a_type("A 5 A 192.0.2.1", "A.o. 5 A 192.0.2.1")]
#[case::owner_named_as_a_ttl("60 5 A 192.0.2.1", "60.o. 5 A 192.0.2.1")]
#[case::last_owner("a 5 A 192.0.2.1\n\n ; b\n\t5 A 192.0.2.2", "a.o. 5 A 192.0.2.1\na.o. 5 A 192.0.2.2")]
#[case::dollar_within("a$x 5 A 192.0.2.1", "a\\$x.o. 5 A 192.0.2.1")]
#[case::escaped_dollar("\\$x 5 A 192.0.2.1", "\\$x.o. 5 A 192.0.2.1")]
#[case::crlf("a 5 A 192.0.2.1\r\n\r\n 5 TXT \"b\"\r\n", "a.o. 5 A 192.0.2.1\na.o. 5 TXT \"b\"")]
#[case::any_bytes("a 5 TXT \u{e9} \"\t\u{1}\"", "a.o. 5 TXT \"\\195\\169\" \"\\009\\001\"")]
#[case::line_end_in_string("a 5 TXT \"\\\n\" ( \"\n\" )", "a.o. 5 TXT \"\\010\" \"\\010\"")]
#[case::default_ttl("$TTL 1h\na A 192.0.2.1", "a.o. 3600 A 192.0.2.1")]
#[case::default_before_stated(
    "$TTL 7\na 5 A 192.0.2.1\nb A 192.0.2.1",
    "a.o. 5 A 192.0.2.1\nb.o. 7 A 192.0.2.1"
)]
#[case::stated_before("a 5 A 192.0.2.1\nb A 192.0.2.1", "a.o. 5 A 192.0.2.1\nb.o. 5 A 192.0.2.1")]
#[case::minimum(
    "@ SOA @ @ 1 2 3 4 5\na 9 A 192.0.2.1\nb A 192.0.2.1",
    "o. 5 SOA o. o. 1 2 3 4 5\na.o. 9 A 192.0.2.1\nb.o. 5 A 192.0.2.1"
)]
#[case::stated_before_minimum(
    "@ 9 SOA @ @ 1 2 3 4 5\nb A 192.0.2.1",
    "o. 9 SOA o. o. 1 2 3 4 5\nb.o. 9 A 192.0.2.1"
)]
#[case::soa_in_units("@ 9 SOA @ @ 1 1w 1D 2h ( 1m30s )", "o. 9 SOA o. o. 1 604800 86400 7200 90")]
#[case::origin("$ORIGIN p.\na 5 NS @", "a.p. 5 NS p.")]
#[case::origin_of_itself("$ORIGIN @\n$origin p\na 5 NS @", "a.p.o. 5 NS p.o.")]
#[case::owner_behind_generated_ones(
    "a 5 NS @\n$GENERATE 1-1 h$ 5 NS @\n A 192.0.2.1",
    "a.o. 5 NS o.\nh1.o. 5 NS o.\na.o. 5 A 192.0.2.1"
)]
#[case::opaque_in_words("a 5 TYPE65000 \\# ( 3\nab c\nde f )", "a.o. 5 TYPE65000 \\# 3 ABCDEF")]
#[case::opaque_of_known_type("a 5 MX \\# 3 000a00", "a.o. 5 MX 10 .")]
fn reads(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(shown(text), format!("{expected}\n"));
}

#[rstest]
#[case::all("$GENERATE 1-3 h$ 5 A 192.0.2.$", "h1 A 192.0.2.1|h2 A 192.0.2.2|h3 A 192.0.2.3")]
#[case::step("$GENERATE 1-4/2 h$ IN 5 A 192.0.2.$", "h1 A 192.0.2.1|h3 A 192.0.2.3")]
#[case::offset("$GENERATE 1-1 h${-3} 5 A 192.0.2.${+9}", "h-2 A 192.0.2.10")]
#[case::bases(
    "$GENERATE 30-30 ${0,4,d}.${0,4,o}.${0,4,x}.${1,4,X} 5 TXT $",
    "0030.0036.001e.001F TXT \"30\""
)]
#[case::nibbles("$GENERATE 43-43 ${0,6,n}${0,5,N}.${0,0,n} 5 TXT $", "b.2.0.B.2.0.b.2 TXT \"43\"")]
#[case::literal("$GENERATE 1-1 $$\\$ 5 TXT \"a $ \\$$$\"", "\\$\\$ TXT \"a\" \"1\" \"$$\"")]
#[case::quoted_data("$GENERATE 1-2/9 m$ 5 MX \"10 h$\"", "m1 MX 10 h1.o.")]
#[case::several_words("$GENERATE 1-1 m$ 5 MX 10 h$ ; $", "m1 MX 10 h1.o.")]
fn generates(#[case] text: &str, #[case] expected: &str) {
    let lines: Vec<String> = expected
        .split('|')
        .map(|line| {
            let (owner, data) = line.split_once(' ').unwrap();
            format!("{owner}.o. 5 {data}\n")
        })
        .collect();
    assert_eq!(shown(text), lines.concat());
}
