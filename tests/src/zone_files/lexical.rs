//! The syntax of words, lines, times, classes and names.

use super::Case;
use super::cases::{HEAD, after_head, bytes, whole};

/// Behind the usual beginning.
const BEHIND: &[(&str, &str)] = &[
    ("time-seconds", "r 60 A 192.0.2.1\n"),
    ("time-zero", "r 0 A 192.0.2.1\n"),
    ("time-unit-s", "r 60s A 192.0.2.1\n"),
    ("time-unit-m", "r 5m A 192.0.2.1\n"),
    ("time-unit-h", "r 1h A 192.0.2.1\n"),
    ("time-unit-d", "r 1d A 192.0.2.1\n"),
    ("time-unit-w", "r 1w A 192.0.2.1\n"),
    ("time-uppercase-unit", "r 1H A 192.0.2.1\n"),
    ("time-two-units", "r 1h30m A 192.0.2.1\n"),
    ("time-units-in-odd-order", "r 30m1h A 192.0.2.1\n"),
    ("time-unit-twice", "r 1h1h A 192.0.2.1\n"),
    ("time-unit-then-number", "r 1h30 A 192.0.2.1\n"),
    ("time-unit-alone", "r h A 192.0.2.1\n"),
    ("time-unknown-unit", "r 1y A 192.0.2.1\n"),
    ("time-largest", "r 2147483647 A 192.0.2.1\n"),
    ("time-above-31-bits", "r 2147483648 A 192.0.2.1\n"),
    ("time-32-bits", "r 4294967295 A 192.0.2.1\n"),
    ("time-above-32-bits", "r 4294967296 A 192.0.2.1\n"),
    ("time-units-above-32-bits", "r 7102w A 192.0.2.1\n"),
    ("time-negative", "r -1 A 192.0.2.1\n"),
    ("time-fraction", "r 1.5 A 192.0.2.1\n"),
    ("time-leading-zeros", "r 0060 A 192.0.2.1\n"),
    ("time-quoted", "r \"60\" A 192.0.2.1\n"),
    ("time-twice", "r 60 60 A 192.0.2.1\n"),
    ("time-before-class", "r 60 IN A 192.0.2.1\n"),
    ("time-after-class", "r IN 60 A 192.0.2.1\n"),
    ("time-around-class", "r 60 IN 60 A 192.0.2.1\n"),
    ("time-inherited-not", "r 60 A 192.0.2.1\ns A 192.0.2.2\n"),
    ("class-in", "r IN A 192.0.2.1\n"),
    ("class-lowercase", "r in A 192.0.2.1\n"),
    ("class-number", "r CLASS1 A 192.0.2.1\n"),
    ("class-ch", "r CH A 192.0.2.1\n"),
    ("class-hs", "r HS A 192.0.2.1\n"),
    ("class-any", "r ANY A 192.0.2.1\n"),
    ("class-none", "r NONE A 192.0.2.1\n"),
    ("class-other-number", "r CLASS3 TXT a\n"),
    ("class-too-large", "r CLASS65536 TXT a\n"),
    ("class-twice", "r IN IN A 192.0.2.1\n"),
    ("class-quoted", "r \"IN\" A 192.0.2.1\n"),
    ("class-as-owner", "IN A 192.0.2.1\n"),
    ("class-as-owner-and-class", "IN IN A 192.0.2.1\n"),
    ("type-as-owner", "A A 192.0.2.1\n"),
    ("type-quoted", "r \"A\" 192.0.2.1\n"),
    ("type-missing", "r\n"),
    ("type-missing-after-class", "r IN\n"),
    ("type-missing-after-time", "r 60\n"),
    ("number-as-owner", "60 A 192.0.2.1\n"),
    ("number-as-owner-and-time", "60 60 A 192.0.2.1\n"),
    ("blank-owner", "r A 192.0.2.1\n A 192.0.2.2\n"),
    ("blank-owner-by-tab", "r A 192.0.2.1\n\tA 192.0.2.2\n"),
    ("blank-owner-with-time", "r A 192.0.2.1\n 60 TXT a\n"),
    ("blank-owner-with-class", "r A 192.0.2.1\n IN TXT a\n"),
    ("blank-owner-after-blank-line", "r A 192.0.2.1\n\n A 192.0.2.2\n"),
    ("blank-owner-after-comment", "r A 192.0.2.1\n; note\n A 192.0.2.2\n"),
    ("blank-owner-of-head", " TXT a\n"),
    ("blank-line-with-blanks", "r A 192.0.2.1\n   \t \n A 192.0.2.2\n"),
    ("blank-then-comment", "r A 192.0.2.1\n   ; note\n A 192.0.2.2\n"),
    ("parentheses-around-data", "r A ( 192.0.2.1 )\n"),
    ("parentheses-over-lines", "r MX (\n 10\n mail\n)\n"),
    ("parentheses-with-comments", "r MX ( ; a\n 10 ; b (\n mail ; c )\n) ; d\n"),
    ("parentheses-nested", "r MX ( ( 10 ) mail )\n"),
    ("parentheses-empty", "r A () 192.0.2.1\n"),
    ("parentheses-touching", "r MX(10 mail)\n"),
    ("parentheses-before-type", "r ( A 192.0.2.1 )\n"),
    ("parentheses-before-owner", "( r A 192.0.2.1 )\n"),
    ("parentheses-at-line-start", "r A 192.0.2.1 (\n)\ns A 192.0.2.2\n"),
    ("parentheses-owner-in-line", "r A (\n192.0.2.1 )\n"),
    ("parentheses-never-closed", "r A ( 192.0.2.1\n"),
    ("parentheses-never-opened", "r A 192.0.2.1 )\n"),
    ("parentheses-then-more", "r A ( 192.0.2.1 ) 192.0.2.2\n"),
    ("parentheses-next-record", "r A ( 192.0.2.1\n) s A 192.0.2.2\n"),
    ("parentheses-blank-lines", "r A (\n\n\n192.0.2.1\n\n)\n"),
    ("parentheses-alone", "()\nr A 192.0.2.1\n"),
    ("comment-touching", "r A 192.0.2.1;note\n"),
    ("comment-line", "; note\nr A 192.0.2.1\n"),
    ("comment-at-end", "r A 192.0.2.1\n; note"),
    ("comment-empty", "r A 192.0.2.1 ;\n;\n"),
    ("comment-with-quote", "r A 192.0.2.1 ; \"\ns A 192.0.2.2 ; \"\n"),
    ("comment-with-backslash", "r A 192.0.2.1 ; \\\ns A 192.0.2.2\n"),
    ("quote-over-lines", "r TXT \"a\nb\"\n"),
    ("quote-over-lines-in-parentheses", "r TXT (\"a\nb\")\n"),
    ("quote-escaped-newline", "r TXT \"a\\\nb\"\n"),
    ("word-escaped-newline", "r TXT a\\\nb\n"),
    ("quoted-owner", "\"r\" A 192.0.2.1\n"),
    ("quoted-dot-owner", "\"a.b\" A 192.0.2.1\n"),
    ("quoted-empty-owner", "\"\" A 192.0.2.1\n"),
    ("escaped-owner-letter", "\\r A 192.0.2.1\n"),
    ("escaped-owner-number", "\\114 A 192.0.2.1\n"),
    ("escaped-owner-dot", "a\\.b A 192.0.2.1\n"),
    ("escaped-owner-dot-number", "a\\046b A 192.0.2.1\n"),
    ("escaped-owner-blank", "a\\ b A 192.0.2.1\n"),
    ("escaped-owner-blank-number", "a\\032b A 192.0.2.1\n"),
    ("escaped-owner-backslash", "a\\\\b A 192.0.2.1\n"),
    ("escaped-owner-quote", "a\\\"b A 192.0.2.1\n"),
    ("escaped-owner-semicolon", "a\\;b A 192.0.2.1\n"),
    ("escaped-owner-parenthesis", "a\\(b A 192.0.2.1\n"),
    ("escaped-owner-at", "\\@ A 192.0.2.1\n"),
    ("escaped-owner-zero", "a\\000b A 192.0.2.1\n"),
    ("escaped-owner-high", "a\\255b A 192.0.2.1\n"),
    ("escaped-owner-too-high", "a\\256b A 192.0.2.1\n"),
    ("escaped-owner-two-digits", "a\\12 A 192.0.2.1\n"),
    ("escaped-owner-digits-then-digit", "a\\0977 A 192.0.2.1\n"),
    ("escaped-owner-at-end", "a\\"),
    ("escaped-owner-uppercase", "\\065 A 192.0.2.1\n"),
    ("escaped-asterisk", "\\*.w A 192.0.2.1\n"),
    ("escaped-data-dot", "r MX 0 a\\.b\n"),
    ("escaped-time", "r \\060 A 192.0.2.1\n"),
    ("escaped-type", "r \\065 192.0.2.1\n"),
    ("escaped-address", "r A \\0492.0.2.1\n"),
    ("at-owner", "@ TXT a\n"),
    ("at-with-dot", "@. TXT a\n"),
    ("at-in-owner", "a@b A 192.0.2.1\n"),
    ("owner-empty-label", "a..b A 192.0.2.1\n"),
    ("owner-leading-dot", ".a A 192.0.2.1\n"),
    ("owner-dot", ". A 192.0.2.1\n"),
    ("owner-two-dots", "r.. A 192.0.2.1\n"),
    ("owner-underscore", "_r A 192.0.2.1\n"),
    ("owner-underscore-txt", "_r TXT a\n"),
    ("owner-hyphen", "-r- A 192.0.2.1\n"),
    ("owner-digits", "1.2.3 PTR host\n"),
    ("owner-uppercase", "RRR A 192.0.2.1\n"),
    ("owner-slash", "0/25 NS ns\n"),
    ("owner-asterisk-inside", "a.*.b A 192.0.2.1\n"),
    ("owner-asterisk-in-label", "a* A 192.0.2.1\n"),
    ("owner-double-asterisk", "*.* A 192.0.2.1\n"),
    ("owner-utf-8", "é A 192.0.2.1\n"),
    ("owner-utf-8-txt", "é TXT a\n"),
    ("owner-byte-order-mark", "\u{feff}r A 192.0.2.1\n"),
    ("tab-between-words", "r\tA\t192.0.2.1\n"),
    ("many-blanks", "r    A \t  192.0.2.1   \t\n"),
    ("form-feed", "r A 192.0.2.1\n\u{c}\ns A 192.0.2.2\n"),
    ("vertical-tab", "r\u{b}A 192.0.2.1\n"),
    ("comma", "r A 192.0.2.1,\n"),
    ("equals-sign", "r=A 192.0.2.1\n"),
    ("hash-comment", "# note\nr A 192.0.2.1\n"),
    ("slash-comment", "// note\nr A 192.0.2.1\n"),
    ("utf-8-comment", "r A 192.0.2.1 ; é日本\n"),
    ("carriage-return-alone", "r A 192.0.2.1\rs A 192.0.2.2\n"),
    ("carriage-return-in-quotes", "r TXT \"a\r\nb\"\n"),
    ("carriage-return-in-parentheses", "r A (\r\n192.0.2.1\r\n)\r\n"),
    ("no-last-newline", "r A 192.0.2.1"),
    ("no-last-newline-in-quotes", "r TXT \"a\""),
    ("no-last-newline-open-quote", "r TXT \"a"),
    ("no-last-newline-in-parentheses", "r A ( 192.0.2.1 )"),
    ("many-last-newlines", "r A 192.0.2.1\n\n\n\n"),
    ("end-mark", "r A 192.0.2.1\n\u{1a}"),
    ("backslash-alone", "\\\n"),
    ("quote-alone", "\"\n"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = BEHIND.iter().map(|(name, text)| after_head(name, text)).collect();
    let crlf = format!("{HEAD}r MX (\n 10 ; note\n mail )\n\n A 192.0.2.1\n").replace('\n', "\r\n");
    cases.push(whole("crlf", &crlf));
    cases.push(whole("empty-file", ""));
    cases.push(whole("only-blanks", " \n\t\n\n"));
    cases.push(whole("only-a-comment", "; nothing\n"));
    cases.push(whole("only-a-ttl", "$TTL 60\n"));
    cases.push(whole("byte-order-mark", &format!("\u{feff}{HEAD}")));
    let raw = |name: &str, behind: &[u8]| bytes(name, [HEAD.as_bytes(), behind].concat());
    cases.push(raw("latin-1-owner", b"\xe9 TXT a\n"));
    cases.push(raw("latin-1-text", b"r TXT \"\xe9\"\n"));
    cases.push(raw("latin-1-word", b"r TXT \xe9\n"));
    cases.push(raw("latin-1-comment", b"r A 192.0.2.1 ; \xe9\n"));
    cases.push(raw("high-byte", b"r TXT \"\xff\"\n"));
    cases.push(raw("zero-byte-text", b"r TXT \"a\0b\"\n"));
    cases.push(raw("zero-byte-word", b"r TXT a\0b\n"));
    cases.push(raw("zero-byte-comment", b"r A 192.0.2.1 ; \0\ns A 192.0.2.2\n"));
    cases.push(raw("zero-byte-line", b"\0\nr A 192.0.2.1\n"));
    cases.push(raw("control-byte-text", b"r TXT \"\x01\x7f\"\n"));
    cases.extend(long());
    cases
}

/// Names, labels, strings and lines about as long as they may be.
fn long() -> Vec<Case> {
    let letters = |count: usize| "x".repeat(count);
    let escapes = |count: usize| "\\120".repeat(count);
    // Labels of 61 with a dot each, then what the zone's name leaves.
    let name = |total: usize| {
        let mut text = String::new();
        while text.len() + 62 < total {
            text += &letters(61);
            text.push('.');
        }
        let rest = total - text.len();
        text + &letters(rest)
    };
    let case = |name: &str, text: &str| after_head(name, text);
    let mut cases = vec![
        case("long-label-63", &format!("{} A 192.0.2.1\n", letters(63))),
        case("long-label-64", &format!("{} A 192.0.2.1\n", letters(64))),
        case("long-label-63-escaped", &format!("{} A 192.0.2.1\n", escapes(63))),
        case("long-label-64-escaped", &format!("{} A 192.0.2.1\n", escapes(64))),
        case("long-label-64-in-data", &format!("r MX 0 {}\n", letters(64))),
        case("long-string-255", &format!("r TXT \"{}\"\n", letters(255))),
        case("long-string-256", &format!("r TXT \"{}\"\n", letters(256))),
        case("long-string-255-escaped", &format!("r TXT \"{}\"\n", escapes(255))),
        case("long-string-256-escaped", &format!("r TXT \"{}\"\n", escapes(256))),
        case("long-word-255", &format!("r TXT {}\n", letters(255))),
        case("long-word-256", &format!("r TXT {}\n", letters(256))),
        case("long-word-70000", &format!("r TXT {}\n", letters(70_000))),
        case("long-comment", &format!("r A 192.0.2.1 ; {}\n", letters(100_000))),
        case("long-blanks", &format!("r A{}192.0.2.1\n", " ".repeat(100_000))),
        case("long-parentheses", &format!("r A {}192.0.2.1{}\n", "(".repeat(1_000), ")".repeat(1_000))),
        case("long-data-of-a-megabyte", &format!("r TYPE65280 \\# 1000000 {}\n", "00".repeat(1_000_000))),
        case("long-data-of-65535", &format!("r TYPE65280 \\# 65535 {}\n", "00".repeat(65_535))),
        case("long-data-of-65536", &format!("r TYPE65280 \\# 65536 {}\n", "00".repeat(65_536))),
        case("long-data-of-60000", &format!("r TYPE65280 \\# 60000 {}\n", "00".repeat(60_000))),
        case("long-txt-of-200-strings", &format!("r TXT {}\n", format!("\"{}\" ", letters(250)).repeat(200))),
        case("long-txt-of-300-strings", &format!("r TXT {}\n", format!("\"{}\" ", letters(250)).repeat(300))),
        case("long-key", &format!("@ DNSKEY 256 3 8 {}\n", "AwEA".repeat(4_000))),
        case("long-owner-127-labels", &format!("{}r A 192.0.2.1\n", "a.".repeat(100))),
        case("long-owner-too-many-labels", &format!("{}r A 192.0.2.1\n", "a.".repeat(130))),
        case("many-lines", &format!("{}r A 192.0.2.1\n", "\n".repeat(50_000))),
    ];
    // A name has at most 255 bytes: one for each label, and the root's.
    for (label, longest) in [("long-owner-255", 255), ("long-owner-256", 256)] {
        let zone = format!("{label}.example.").len() + 1;
        cases.push(case(label, &format!("{} A 192.0.2.1\n", name(longest - zone - 1))));
    }
    for (label, longest) in [("long-target-255", 255), ("long-target-256", 256)] {
        let zone = format!("{label}.example.").len() + 1;
        cases.push(case(label, &format!("r PTR {}\n", name(longest - zone - 1))));
    }
    cases
}
