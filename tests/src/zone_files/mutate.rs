//! Zone files with faults put in: what a reader must survive.

use super::Case;
use crate::seed::Random;

/// Words that readers have stumbled over.
const WORDS: &[&str] = &[
    "(",
    ")",
    "\"",
    ";",
    "\\",
    "\\000",
    "\\25",
    "\\256",
    "\n",
    "\r",
    "\t",
    "\0",
    "@",
    ".",
    "..",
    "*",
    "$",
    "$ORIGIN ",
    "$ORIGIN .",
    "$TTL ",
    "\n$TTL 4294967296\n",
    "\n$INCLUDE zone\n",
    "\n$INCLUDE part\n",
    "\n$INCLUDE \"\"\n",
    "\n$INCLUDE /dev/null\n",
    "\n$GENERATE 1-100 g$ A 192.0.2.$\n",
    "\n$GENERATE 0-4294967295/1000000000 g$ TXT $\n",
    "\n$GENERATE 1-3 ${0,4000000000,d} TXT a\n",
    "\n$GENERATE 1-3 ${-2147483648,255,n} TXT a\n",
    "\\# ",
    "\\# 65535 00",
    "\\# 4294967296 ",
    "0",
    "-1",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999999",
    "1w1w1w1w1w",
    "IN",
    "CH",
    "ANY",
    "TYPE0",
    "TYPE65536",
    "SOA",
    "NSEC3",
    "RRSIG",
    "SVCB",
    "alpn=",
    "key65535=",
    "mandatory=",
    "AwEAAQ==",
    "\u{feff}",
    "é",
    "-",
    "!1:",
    "::",
    "0x",
];

/// About as many bytes as a repeated line may take.
const LARGEST: usize = 1 << 22;

/// Puts one to three faults into a case's file. `others` are where parts are taken from.
#[must_use]
pub fn mutate(case: &Case, others: &[Case], random: &mut Random) -> Case {
    let mut mutated = case.clone();
    for _ in 0..=random.below(3) {
        let text = match mutated.beside.first_mut() {
            Some((_, beside)) if random.one_in(3) => beside,
            _ => &mut mutated.text,
        };
        fault(text, others, random);
    }
    mutated
}

fn fault(text: &mut Vec<u8>, others: &[Case], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(20) {
        // Most of these leave a zone that can be read.
        14..20 => lines(text, random),
        0 | 1 => flip(text, random),
        2 => text.truncate(at),
        3 => drop(text.drain(part(text.len(), 40, random))),
        4 => repeat(text, random),
        5 => swap(text, random),
        6 => number(text, random),
        7 => insert(text, at, "(".repeat(1 << random.below(15)).as_bytes()),
        8 => {
            let name = format!("{}.", "x".repeat(1 + random.below(70))).repeat(1 + random.below(60));
            insert(text, at, name.as_bytes());
        }
        9 => insert(text, at, "a".repeat(1 << random.below(17)).as_bytes()),
        10 => {
            let other = &others[random.below(others.len())].text;
            let taken = other[part(other.len(), 200, random)].to_vec();
            insert(text, at, &taken);
        }
        _ => insert(text, at, random.pick(WORDS).as_bytes()),
    }
}

fn flip(text: &mut [u8], random: &mut Random) {
    if text.is_empty() {
        return;
    }
    for _ in 0..=random.below(4) {
        let at = random.below(text.len());
        text[at] = if random.one_in(2) { text[at] ^ (1 << random.below(8)) } else { random.byte() };
    }
}

/// Repeats a part of the text, up to some thousand times.
fn repeat(text: &mut Vec<u8>, random: &mut Random) {
    let range = part(text.len(), 100, random);
    let repeated = text[range.clone()].repeat(1 << random.below(12));
    insert(text, range.end, &repeated);
}

/// Leaves a line out, or repeats or moves one.
fn lines(text: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(4) {
        0 => drop(lines.remove(from)),
        1 => lines.swap(from, to),
        2 => lines.insert(to, lines[from].clone()),
        _ => {
            let many = (1 + random.below(1_000)).min(1 + LARGEST / (1 + lines[from].len()));
            let repeated = lines[from].repeat(many);
            lines.insert(from, repeated);
        }
    }
    *text = lines.concat();
}

/// Exchanges two words.
fn swap(text: &mut Vec<u8>, random: &mut Random) {
    let mut words: Vec<Vec<u8>> = text.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.below(words.len()), random.below(words.len()));
    words.swap(one, other);
    *text = words.join(&b' ');
}

/// Puts another number in the place of one, or a digit more into it.
fn number(text: &mut Vec<u8>, random: &mut Random) {
    let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    if digits.is_empty() {
        return;
    }
    let at = digits[random.below(digits.len())];
    let number = random.pick(&[
        "9",
        "99",
        "-",
        "65536",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "0",
        "00",
    ]);
    text.splice(at..=at, number.bytes());
}

fn insert(text: &mut Vec<u8>, at: usize, what: &[u8]) {
    text.splice(at..at, what.iter().copied());
}

/// A range of at most `longest` bytes.
fn part(length: usize, longest: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(length + 1);
    start..(start + random.below(longest + 1)).min(length)
}
