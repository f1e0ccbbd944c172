//! $ORIGIN, $TTL, $INCLUDE and $GENERATE, and what looks like one of them.

use super::Case;
use super::cases::{HEAD, after_head, whole};

/// Behind the usual beginning.
const BEHIND: &[(&str, &str)] = &[
    ("origin-relative", "$ORIGIN sub\nr A 192.0.2.1\n"),
    ("origin-absolute", "$ORIGIN sub.{zone}\nr A 192.0.2.1\n@ TXT apex\n"),
    ("origin-at", "$ORIGIN @\nr A 192.0.2.1\n"),
    ("origin-twice", "$ORIGIN a\n$ORIGIN b\nr A 192.0.2.1\n"),
    ("origin-of-data", "$ORIGIN sub\nr MX 0 @\nr MX 1 mail\n"),
    ("origin-root", "$ORIGIN .\nr.{zone} A 192.0.2.1\n"),
    ("origin-root-outside", "$ORIGIN .\nr A 192.0.2.1\n"),
    ("origin-absolute-lowercase", "$origin sub.{zone}\nr A 192.0.2.1\n"),
    ("origin-absolute-mixed-case", "$OriGin sub.{zone}\nr A 192.0.2.1\n"),
    ("origin-absolute-comment", "$ORIGIN sub.{zone} ; note\nr A 192.0.2.1\n"),
    ("origin-absolute-in-parentheses", "$ORIGIN ( sub.{zone} )\nr A 192.0.2.1\n"),
    ("origin-absolute-twice", "$ORIGIN a.{zone}\n$ORIGIN b.{zone}\nr A 192.0.2.1\n"),
    ("origin-absolute-of-data", "$ORIGIN sub.{zone}\nr MX 0 @\nr MX 1 mail\n"),
    ("origin-absolute-then-blank-owner", "r A 192.0.2.1\n$ORIGIN sub.{zone}\n A 192.0.2.2\n"),
    ("origin-lowercase", "$origin sub\nr A 192.0.2.1\n"),
    ("origin-mixed-case", "$OriGin sub\nr A 192.0.2.1\n"),
    ("origin-missing", "$ORIGIN\nr A 192.0.2.1\n"),
    ("origin-two-names", "$ORIGIN a b\nr A 192.0.2.1\n"),
    ("origin-quoted", "$ORIGIN \"sub\"\nr A 192.0.2.1\n"),
    ("origin-comment", "$ORIGIN sub ; note\nr A 192.0.2.1\n"),
    ("origin-indented", " $ORIGIN sub\nr A 192.0.2.1\n"),
    ("origin-outside", "$ORIGIN example.net.\n"),
    ("origin-outside-data", "$ORIGIN example.net.\nr A 192.0.2.1\n"),
    ("origin-then-blank-owner", "r A 192.0.2.1\n$ORIGIN sub\n A 192.0.2.2\n"),
    ("origin-empty-label", "$ORIGIN a..b\nr A 192.0.2.1\n"),
    ("origin-in-parentheses", "$ORIGIN ( sub )\nr A 192.0.2.1\n"),
    ("ttl-lowercase", "$ttl 60\nr A 192.0.2.1\n"),
    ("ttl-again", "$TTL 60\nr A 192.0.2.1\n$TTL 120\ns A 192.0.2.2\n"),
    ("ttl-units", "$TTL 1h30m\nr A 192.0.2.1\n"),
    ("ttl-all-units", "$TTL 1w2d3h4m5s\nr A 192.0.2.1\n"),
    ("ttl-uppercase-units", "$TTL 1W2D3H4M5S\nr A 192.0.2.1\n"),
    ("ttl-zero", "$TTL 0\nr A 192.0.2.1\n"),
    ("ttl-largest", "$TTL 2147483647\nr A 192.0.2.1\n"),
    ("ttl-above-31-bits", "$TTL 2147483648\nr A 192.0.2.1\n"),
    ("ttl-32-bits", "$TTL 4294967295\nr A 192.0.2.1\n"),
    ("ttl-above-32-bits", "$TTL 4294967296\nr A 192.0.2.1\n"),
    ("ttl-missing-number", "$TTL\nr A 192.0.2.1\n"),
    ("ttl-word", "$TTL hour\nr A 192.0.2.1\n"),
    ("ttl-negative", "$TTL -1\nr A 192.0.2.1\n"),
    ("ttl-two-numbers", "$TTL 60 120\nr A 192.0.2.1\n"),
    ("ttl-comment", "$TTL 60; note\nr A 192.0.2.1\n"),
    ("ttl-quoted", "$TTL \"60\"\nr A 192.0.2.1\n"),
    ("ttl-indented", " $TTL 60\nr A 192.0.2.1\n"),
    ("ttl-in-parentheses", "$TTL ( 60\n )\nr A 192.0.2.1\n"),
    ("ttl-leading-zeros", "$TTL 0060\nr A 192.0.2.1\n"),
    ("generate-plain", "$GENERATE 1-3 r$ A 192.0.2.$\n"),
    ("generate-step", "$GENERATE 1-9/4 r$ A 192.0.2.$\n"),
    ("generate-ttl", "$GENERATE 1-3 r$ 60 A 192.0.2.$\n"),
    ("generate-class", "$GENERATE 1-3 r$ IN A 192.0.2.$\n"),
    ("generate-ttl-and-class", "$GENERATE 1-3 r$ 60 IN A 192.0.2.$\n"),
    ("generate-class-and-ttl", "$GENERATE 1-3 r$ IN 60 A 192.0.2.$\n"),
    ("generate-offset", "$GENERATE 1-3 r${10} A 192.0.2.${100}\n"),
    ("generate-negative-offset", "$GENERATE 11-13 r${-10} A 192.0.2.$\n"),
    ("generate-below-zero", "$GENERATE 1-3 r${-10} A 192.0.2.$\n"),
    ("generate-width", "$GENERATE 1-3 r${0,3} A 192.0.2.$\n"),
    ("generate-decimal", "$GENERATE 1-3 r${0,3,d} A 192.0.2.$\n"),
    ("generate-octal", "$GENERATE 8-10 r${0,3,o} A 192.0.2.$\n"),
    ("generate-hexadecimal", "$GENERATE 9-11 r${0,2,x} A 192.0.2.$\n"),
    ("generate-uppercase", "$GENERATE 9-11 r${0,2,X} A 192.0.2.$\n"),
    ("generate-nibbles", "$GENERATE 18-19 ${0,7,n} PTR host$\n"),
    ("generate-uppercase-nibbles", "$GENERATE 26-27 ${0,7,N} PTR host$\n"),
    ("generate-even-nibbles", "$GENERATE 26-27 r${0,4,n} PTR host$\n"),
    ("generate-unknown-base", "$GENERATE 1-3 r${0,3,z} A 192.0.2.$\n"),
    ("generate-unclosed", "$GENERATE 1-3 r${0 A 192.0.2.$\n"),
    ("generate-escaped-dollar", "$GENERATE 1-3 r$ TXT a\\$b\n"),
    ("generate-double-dollar", "$GENERATE 1-3 r$ TXT a$$b\n"),
    ("generate-twice", "$GENERATE 1-3 r$-$ A 192.0.2.$\n"),
    ("generate-quoted-data", "$GENERATE 1-3 r$ TXT \"number $\"\n"),
    ("generate-unquoted-data", "$GENERATE 1-3 r$ TXT number$\n"),
    ("generate-two-words", "$GENERATE 1-3 r$ MX 10 mail$\n"),
    ("generate-quoted-two-words", "$GENERATE 1-3 r$ MX \"10 mail$\"\n"),
    ("generate-cname", "$GENERATE 1-3 $ CNAME $.0\n"),
    ("generate-relative-owner", "$ORIGIN sub\n$GENERATE 1-3 r$ A 192.0.2.$\n"),
    ("generate-absolute-owner", "$GENERATE 1-3 r$.{zone} A 192.0.2.$\n"),
    ("generate-same-owner", "$GENERATE 1-3 r A 192.0.2.$\n"),
    ("generate-at-owner", "$GENERATE 1-3 @ TXT t$\n"),
    ("generate-no-dollar", "$GENERATE 1-3 r A 192.0.2.1\n"),
    ("generate-one", "$GENERATE 5-5 r$ A 192.0.2.$\n"),
    ("generate-from-zero", "$GENERATE 0-2 r$ A 192.0.2.$\n"),
    ("generate-backwards", "$GENERATE 3-1 r$ A 192.0.2.$\n"),
    ("generate-step-zero", "$GENERATE 1-3/0 r$ A 192.0.2.$\n"),
    ("generate-large-step", "$GENERATE 1-3/100 r$ A 192.0.2.$\n"),
    ("generate-negative-start", "$GENERATE -1-3 r$ A 192.0.2.$\n"),
    ("generate-blank-in-range", "$GENERATE 1 - 3 r$ A 192.0.2.$\n"),
    ("generate-no-range", "$GENERATE r$ A 192.0.2.$\n"),
    ("generate-no-type", "$GENERATE 1-3 r$\n"),
    ("generate-no-data", "$GENERATE 1-3 r$ A\n"),
    ("generate-bad-data", "$GENERATE 1-3 r$ A 192.0.2\n"),
    ("generate-too-large-a-number", "$GENERATE 255-256 r$ A 192.0.2.$\n"),
    ("generate-lowercase", "$generate 1-3 r$ A 192.0.2.$\n"),
    ("generate-comment", "$GENERATE 1-3 r$ A 192.0.2.$ ; note\n"),
    ("generate-generic", "$GENERATE 1-3 r$ TYPE65280 \\# 1 0$\n"),
    ("generate-outside", "$GENERATE 1-3 r$.example.net. A 192.0.2.$\n"),
    ("generate-then-blank-owner", "r A 192.0.2.9\n$GENERATE 1-3 s$ A 192.0.2.$\n A 192.0.2.10\n"),
    ("generate-soa", "$GENERATE 1-2 @ SOA ns host $ 2 3 4 5\n"),
    ("generate-any-type", "$GENERATE 1-3 r$ SRV 0 0 $ host$\n"),
    ("generate-indented", " $GENERATE 1-3 r$ A 192.0.2.$\n"),
    ("unknown-directive", "$UNKNOWN 1\nr A 192.0.2.1\n"),
    ("dollar-alone", "$ A 192.0.2.1\n"),
    ("escaped-dollar-owner", "\\$TTL A 192.0.2.1\n"),
    ("owner-with-dollar", "r$ A 192.0.2.1\n"),
    ("date-directive", "$DATE 20200101000000\nr A 192.0.2.1\n"),
    ("include-missing-file", "$INCLUDE nothing\nr A 192.0.2.1\n"),
    ("include-no-name", "$INCLUDE\nr A 192.0.2.1\n"),
    ("include-directory", "$INCLUDE {dir}\n"),
    ("include-itself", "$INCLUDE {dir}/zone\n"),
];

/// Name, text behind the usual beginning, and the file `part` beside it.
const INCLUDES: &[(&str, &str, &str)] = &[
    ("include-absolute", "$INCLUDE {dir}/part\n", "r A 192.0.2.1\n"),
    ("include-relative", "$INCLUDE part\n", "r A 192.0.2.1\n"),
    ("include-dotted", "$INCLUDE ./part\n", "r A 192.0.2.1\n"),
    ("include-quoted", "$INCLUDE \"part\"\n", "r A 192.0.2.1\n"),
    ("include-lowercase", "$include part\n", "r A 192.0.2.1\n"),
    ("include-comment", "$INCLUDE part ; note\n", "r A 192.0.2.1\n"),
    ("include-touching-comment", "$INCLUDE part;note\n", "r A 192.0.2.1\n"),
    ("include-with-origin", "$INCLUDE part sub\n", "r A 192.0.2.1\n@ TXT apex\n"),
    ("include-with-absolute-origin", "$INCLUDE part sub.{zone}\n", "r A 192.0.2.1\n"),
    ("include-with-quoted-and-absolute-origin", "$INCLUDE \"part\" sub.{zone}\n", "r A 192.0.2.1\n"),
    (
        "include-absolute-origin-inside",
        "$INCLUDE part\ns A 192.0.2.2\n",
        "$ORIGIN sub.{zone}\nr A 192.0.2.1\n",
    ),
    ("include-absolute-origin-restored", "$INCLUDE part b.{zone}\ns A 192.0.2.2\n", "r A 192.0.2.1\n"),
    (
        "include-blank-owner-first-at-absolute-origin",
        "o A 192.0.2.9\n$INCLUDE part sub.{zone}\n",
        " A 192.0.2.1\n",
    ),
    (
        "include-twice-with-absolute-origins",
        "$INCLUDE part a.{zone}\n$INCLUDE part b.{zone}\n",
        "r A 192.0.2.1\n",
    ),
    ("include-with-at-origin", "$INCLUDE part @\n", "r A 192.0.2.1\n"),
    ("include-with-quoted-and-origin", "$INCLUDE \"part\" sub\n", "r A 192.0.2.1\n"),
    ("include-with-three-words", "$INCLUDE part sub more\n", "r A 192.0.2.1\n"),
    ("include-origin-inside", "$INCLUDE part\ns A 192.0.2.2\n", "$ORIGIN sub\nr A 192.0.2.1\n"),
    ("include-origin-restored", "$ORIGIN a\n$INCLUDE part b\ns A 192.0.2.2\n", "r A 192.0.2.1\n"),
    ("include-ttl-inside", "$INCLUDE part\ns A 192.0.2.2\n", "$TTL 60\nr A 192.0.2.1\n"),
    ("include-ttl-before", "$TTL 60\n$INCLUDE part\n", "r A 192.0.2.1\n"),
    ("include-blank-owner-first", "o A 192.0.2.9\n$INCLUDE part\n", " A 192.0.2.1\n"),
    ("include-blank-owner-first-at-origin", "o A 192.0.2.9\n$INCLUDE part sub\n", " A 192.0.2.1\n"),
    ("include-blank-owner-after", "o A 192.0.2.9\n$INCLUDE part\n A 192.0.2.2\n", "r A 192.0.2.1\n"),
    ("include-empty", "$INCLUDE part\nr A 192.0.2.1\n", ""),
    ("include-only-a-comment", "$INCLUDE part\nr A 192.0.2.1\n", "; nothing"),
    ("include-no-last-newline", "$INCLUDE part\ns A 192.0.2.2\n", "r A 192.0.2.1"),
    ("include-open-parenthesis", "$INCLUDE part\n192.0.2.1 )\n", "r A (\n"),
    ("include-closing-parenthesis", "r A ( 192.0.2.1\n$INCLUDE part\n", ")\n"),
    ("include-open-quote", "$INCLUDE part\n\"\n", "r TXT \"open\n"),
    ("include-bad-record", "$INCLUDE part\n", "r A 192.0.2\n"),
    ("include-outside", "$INCLUDE part\n", "example.net. A 192.0.2.1\n"),
    ("include-twice", "$INCLUDE part a\n$INCLUDE part b\n", "r A 192.0.2.1\n"),
    ("include-same-twice", "$INCLUDE part\n$INCLUDE part\n", "r A 192.0.2.1\n"),
    ("include-nested", "$INCLUDE part\n", "$INCLUDE part2\nr A 192.0.2.1\n"),
    ("include-nested-origin", "$INCLUDE part a\n", "$INCLUDE part2 b\nr A 192.0.2.1\n"),
    ("include-loop", "$INCLUDE part\n", "$INCLUDE part\n"),
    ("include-indented", " $INCLUDE part\n", "r A 192.0.2.1\n"),
    ("include-generate", "$INCLUDE part\n", "$GENERATE 1-3 r$ A 192.0.2.$\n"),
    ("include-with-ttl-of-record", "r 60 A 192.0.2.1\n$INCLUDE part\n", "s A 192.0.2.2\n"),
];

/// Whole files.
const WHOLE: &[(&str, &str)] = &[
    ("origin-first", "$ORIGIN {zone}\n$TTL 60\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"),
    ("origin-of-the-parent", "$ORIGIN example.\n$TTL 60\n{zone} SOA ns host 1 2 3 4 5\n{zone} NS ns\n"),
    (
        "origin-none-and-absolute",
        "$TTL 60\n{zone} SOA ns.{zone} host.{zone} 1 2 3 4 5\n{zone} NS ns.{zone}\nns.{zone} A 192.0.2.1\n",
    ),
    ("origin-none-and-relative", "$TTL 60\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"),
    (
        "origin-of-another-zone",
        "$ORIGIN other.example.\n$TTL 60\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n",
    ),
    ("soa-included", "$TTL 60\n$INCLUDE part\n@ NS ns\nns A 192.0.2.1\n"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = BEHIND.iter().map(|(name, text)| after_head(name, text)).collect();
    cases.extend(WHOLE.iter().map(|(name, text)| whole(name, text)));
    for case in &mut cases {
        if case.name == "soa-included" {
            case.beside.push(("part".to_owned(), b"@ SOA ns host 1 2 3 4 5\n".to_vec()));
        }
    }
    for (name, text, part) in INCLUDES {
        let mut case = after_head(name, text);
        case.beside.push(("part".to_owned(), part.as_bytes().to_vec()));
        case.beside.push(("part2".to_owned(), b"inner A 192.0.2.7\n".to_vec()));
        cases.push(case);
    }
    cases.push(deep_includes("include-seven-deep", 7));
    cases.push(deep_includes("include-twenty-deep", 20));
    cases.push(deep_includes("include-hundred-deep", 100));
    cases
}

/// Files that include one another, `depth` of them.
fn deep_includes(name: &str, depth: usize) -> Case {
    let beside = |at: usize| {
        let text = format!("r{at} A 192.0.2.1\n$INCLUDE part{}\n", at + 1);
        let last = format!("r{at} A 192.0.2.1\n");
        (format!("part{at}"), if at == depth { last } else { text }.into_bytes())
    };
    let mut case = whole(name, &format!("{HEAD}$INCLUDE part1\n"));
    case.beside = (1..=depth).map(beside).collect();
    case
}
