//! Gateways: in IPSECKEY (RFC 4025) and AMTRELAY (RFC 8777) a type states the form of the gateway.

use super::address::{Ipv4, Ipv6, address};
use super::cursor::{Cursor, MalformedRdata};
use super::encoded::OptionalBase64;
use super::field::{Field, NameCase, NameField};
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words};

const GATEWAY: NameField = NameField("a gateway name", NameCase::Kept);
const KEY: OptionalBase64 = OptionalBase64("a public key", None);

/// The form of a gateway of this type; `None` for no gateway.
fn form(kind: u8) -> Result<Option<&'static dyn Field>, MalformedRdata> {
    match kind {
        0 => Ok(None),
        1 => Ok(Some(&Ipv4)),
        2 => Ok(Some(&Ipv6)),
        3 => Ok(Some(&GATEWAY)),
        _ => Err(MalformedRdata::new(format!("gateway type {kind}: only 0 to 3 are known"))),
    }
}

fn parse(kind: u8, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    const NONE: &str = ". for no gateway";
    match form(kind).map_err(|malformed| words.malformed(&malformed))? {
        Some(field) => field.parse(words, out),
        None => match words.plain(NONE)? {
            word if word.raw == b"." => Ok(()),
            word => Err(words.unexpected(&word, NONE)),
        },
    }
}

fn check(kind: u8, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
    form(kind)?.map_or(Ok(()), |field| field.check(data))
}

fn present(kind: u8, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
    if let Some(field) = form(kind)? {
        return field.present(data, out);
    }
    out.push('.');
    Ok(())
}

/// Precedence, gateway type, algorithm, gateway, key (RFC 4025 section 2.1).
pub(super) struct IpsecKey;

impl Field for IpsecKey {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let mut head = [0; 3];
        for (byte, what) in head.iter_mut().zip(["a precedence", "a gateway type", "an algorithm"]) {
            *byte = words.byte(what)?;
        }
        out.extend_from_slice(&head);
        parse(head[1], words, out)?;
        KEY.parse(words, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let [_, kind, _] = data.array("precedence, gateway type and algorithm")?;
        check(kind, data)?;
        KEY.check(data)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let [precedence, kind, algorithm] = data.array("precedence, gateway type and algorithm")?;
        put!(out, "{precedence} {kind} {algorithm} ");
        present(kind, data, out)?;
        if !data.is_at_end() {
            out.push(' ');
        }
        KEY.present(data, out)
    }
}

/// Precedence, whether discovery is optional, relay type, relay (RFC 8777 section 4).
pub(super) struct AmtRelay;

/// Discovery is optional.
const OPTIONAL: u8 = 0x80;

impl Field for AmtRelay {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let precedence = words.byte("a precedence")?;
        let optional = words.number("whether discovery is optional", 1)?;
        let kind = words.byte("a relay type")?;
        if kind >= OPTIONAL {
            let malformed = MalformedRdata::new(format!("gateway type {kind}: only 0 to 3 are known"));
            return Err(words.malformed(&malformed));
        }
        out.extend_from_slice(&[precedence, kind | if optional == 1 { OPTIONAL } else { 0 }]);
        parse(kind, words, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let [_, kind] = data.array("precedence and relay type")?;
        check(kind & !OPTIONAL, data)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let [precedence, kind] = data.array("precedence and relay type")?;
        put!(out, "{precedence} {} {} ", kind >> 7, kind & !OPTIONAL);
        present(kind & !OPTIONAL, data, out)
    }
}

/// An address prefix of A6, the suffix that it lacks, and the name that has the rest (RFC 2874 section 3.1).
pub(super) struct A6;

impl A6 {
    /// Bytes that the suffix has for a prefix of so many bits.
    fn suffix(bits: u8) -> usize {
        16 - usize::from(bits / 8)
    }

    /// The bits of the suffix's first byte that are not the prefix's.
    fn mask(bits: u8) -> u8 {
        0xff >> (bits % 8)
    }
}

const PREFIX_NAME: &str = "the name of the prefix";

impl Field for A6 {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const BITS: &str = "a prefix length";
        const SUFFIX: &str = "an IPv6 address";
        #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
        let bits = words.number(BITS, 128)? as u8;
        out.push(bits);
        if bits < 128 {
            let word = words.plain(SUFFIX)?;
            let suffix: std::net::Ipv6Addr =
                address(word.raw).ok_or_else(|| words.unexpected(&word, SUFFIX))?;
            let start = out.len();
            out.extend_from_slice(&suffix.octets()[16 - Self::suffix(bits)..]);
            out[start] &= Self::mask(bits);
        }
        if bits > 0 { words.name(PREFIX_NAME, out) } else { Ok(()) }
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let bits = data.u8("a prefix length")?;
        if bits > 128 {
            return Err(MalformedRdata::new("expected a prefix length, 0 to 128"));
        }
        let suffix = data.take(Self::suffix(bits), "an address suffix")?;
        if suffix.first().is_some_and(|first| first & !Self::mask(bits) != 0) {
            return Err(MalformedRdata::new("the address suffix has bits of the prefix"));
        }
        if bits > 0 { data.name(PREFIX_NAME).map(drop) } else { Ok(()) }
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let bits = data.u8("a prefix length")?;
        put!(out, "{bits}");
        if bits < 128 {
            let suffix = data.take(Self::suffix(bits), "an address suffix")?;
            let mut whole = [0; 16];
            whole[16 - suffix.len()..].copy_from_slice(suffix);
            put!(out, " {}", std::net::Ipv6Addr::from(whole));
        }
        if bits > 0 {
            out.push(' ');
            super::escape_name(data.name(PREFIX_NAME)?, out);
        }
        Ok(())
    }

    fn case(&self) -> NameCase {
        NameCase::Folded
    }

    fn fold(&self, field: &mut [u8]) {
        if let Some(&bits) = field.first()
            && let Some(name) = field.get_mut(1 + Self::suffix(bits.min(128))..)
        {
            name.make_ascii_lowercase();
        }
    }
}
