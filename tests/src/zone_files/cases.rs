//! All zone files: the records of `records/`, each in a zone of its own, and what `directives`,
//! `lexical` and `rules` add.

use std::collections::HashMap;

use super::{Case, directives, lexical, rules};

/// The beginning of most zones.
pub(super) const HEAD: &str =
    "$TTL 3600\n@ SOA ns hostmaster 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.53\n";

/// Records by kind of type.
const RECORDS: [&str; 4] = [
    include_str!("records/basic.txt"),
    include_str!("records/security.txt"),
    include_str!("records/modern.txt"),
    include_str!("records/svcb.txt"),
];

/// Every case; no two have the same name.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    records(&mut cases);
    cases.extend(directives::cases());
    cases.extend(lexical::cases());
    cases.extend(rules::cases());
    cases
}

/// A case whose zone is the usual one with `text` added.
pub(super) fn after_head(name: &str, text: &str) -> Case {
    whole(name, &format!("{HEAD}{text}"))
}

/// A case by its whole file.
pub(super) fn whole(name: &str, text: &str) -> Case {
    bytes(name, text.as_bytes().to_vec())
}

/// A case by its whole file, which need not be UTF-8.
pub(super) fn bytes(name: &str, text: Vec<u8>) -> Case {
    Case { name: name.to_owned(), text, beside: Vec::new() }
}

fn records(cases: &mut Vec<Case>) {
    let mut counts = HashMap::<String, usize>::new();
    for line in RECORDS.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#')) {
        let (rtype, data) = line.split_once(' ').unwrap_or((line, ""));
        let label = rtype.to_ascii_lowercase();
        let count = counts.entry(label.clone()).or_default();
        *count += 1;
        cases.push(record(&format!("{label}-{count}"), rtype, &fill(data)));
        if *count == 1 {
            variants(cases, &label, rtype, data);
        }
    }
}

/// Changes to a record of any type, here to the first of each.
fn variants(cases: &mut Vec<Case>, label: &str, rtype: &str, data: &str) {
    let mut variant =
        |name: &str, rtype: &str, data: &str| cases.push(record(&format!("{label}-{name}"), rtype, data));
    variant("with-trailing-data", rtype, &format!("{data} trailing"));
    variant("without-data", rtype, "");
    variant("generic-without-data", rtype, "\\# 0");
    variant("in-parentheses", rtype, &format!("(\n {} )", data.replace(' ', "\n ; note\n ")));
    variant("in-mixed-case", &mixed(rtype), data);
    let (first, rest) = data.split_once(' ').unwrap_or((data, ""));
    variant("with-quoted-first-field", rtype, &format!("\"{}\" {rest}", first.replace('"', "")));
    let short = data.rsplit_once(' ').map_or("", |(short, _)| short);
    if !short.is_empty() {
        variant("without-last-field", rtype, short);
    }
}

/// A zone with one record of some type. An SOA record stands at the apex, others have a name of their own.
fn record(name: &str, rtype: &str, data: &str) -> Case {
    let name = if rtype.eq_ignore_ascii_case("SOA") { format!("second-{name}") } else { name.to_owned() };
    after_head(&name, &format!("{} {rtype} {data}\n", owner(rtype)))
}

/// Permitted places of records of a type.
fn owner(rtype: &str) -> &'static str {
    match rtype.to_ascii_uppercase().as_str() {
        // At the apex alone: RFC 1035 section 5.2, RFC 5155 section 4.1, RFC 8976 section 2.1.
        "SOA" | "NSEC3PARAM" | "ZONEMD" | "DNSKEY" | "CDS" | "CDNSKEY" | "CSYNC" => "@",
        // RFC 5155 section 3: a hash.
        "NSEC3" => "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
        // RFC 4035 section 2.4: at a delegation.
        "DS" => "r NS ns\nr",
        // A set to sign.
        "RRSIG" => "r A 192.0.2.1\nr",
        _ => "r",
    }
}

/// Replaces what would be too long to read.
fn fill(data: &str) -> String {
    data.replace("{label63}", &"l".repeat(63))
        .replace("{string255}", &"s".repeat(255))
        .replace("{string256}", &"s".repeat(256))
        .replace("{long}", &format!("\"{}\"", "u".repeat(600)))
}

fn mixed(word: &str) -> String {
    let letter = |(index, letter): (usize, char)| {
        if index % 2 == 1 { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
    };
    word.chars().enumerate().map(letter).collect()
}
