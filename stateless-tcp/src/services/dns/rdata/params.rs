//! The values of service parameters, by key (IANA's registry of SvcParamKeys).

use super::address::address;
use super::cursor::{Cursor, MalformedRdata};
use super::encoded::base64;
use super::present::{put, quote};
use crate::services::dns::presentation::decimal;
use data_encoding::BASE64;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The form of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueForm {
    /// Keys in ascending order.
    Keys,
    /// Strings, at least one, none empty.
    Protocols,
    /// Strings, perhaps none.
    Segments,
    /// Nothing.
    Flag,
    Number,
    Numbers,
    Ipv4s,
    Ipv6s,
    Base64,
    /// Bytes, but not left out.
    Bytes,
    /// Any bytes.
    Opaque,
}

pub(super) const MANDATORY: u16 = 0;
pub(super) const ALPN: u16 = 1;
pub(super) const NO_DEFAULT_ALPN: u16 = 2;

/// Name and form of each key from 0 on.
const KEYS: [(&str, ValueForm); 12] = [
    ("mandatory", ValueForm::Keys),
    ("alpn", ValueForm::Protocols),
    ("no-default-alpn", ValueForm::Flag),
    ("port", ValueForm::Number),
    ("ipv4hint", ValueForm::Ipv4s),
    ("ech", ValueForm::Base64),
    ("ipv6hint", ValueForm::Ipv6s),
    ("dohpath", ValueForm::Bytes),
    ("ohttp", ValueForm::Flag),
    ("tls-supported-groups", ValueForm::Numbers),
    ("docpath", ValueForm::Segments),
    ("pvd", ValueForm::Flag),
];

fn form(key: u16) -> ValueForm {
    KEYS.get(usize::from(key)).map_or(ValueForm::Opaque, |&(_, form)| form)
}

/// The key as text.
pub(super) fn name(key: u16) -> impl fmt::Display {
    fmt::from_fn(move |f| match KEYS.get(usize::from(key)) {
        Some((name, _)) => f.write_str(name),
        None => write!(f, "key{key}"),
    })
}

/// The key that a word names, by its name or as `key123`.
pub(super) fn by_name(word: &[u8]) -> Option<u16> {
    if let Some(known) = KEYS.iter().position(|(name, _)| word == name.as_bytes()) {
        return u16::try_from(known).ok();
    }
    let digits = word.strip_prefix(b"key").filter(|digits| *digits == b"0" || !digits.starts_with(b"0"))?;
    u16::try_from(decimal(digits)?).ok()
}

/// Appends the wire form of the value that stands behind a key's own name; `None` where nothing does.
pub(super) fn encode(key: u16, value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let form = form(key);
    let value = match (form, value) {
        (ValueForm::Flag | ValueForm::Segments | ValueForm::Opaque, None) => return Ok(()),
        (ValueForm::Flag, Some(_)) => return Err("it takes no value"),
        (_, None) => return Err("it takes a value"),
        (_, Some(value)) => value,
    };
    let items = || value.split(|&byte| byte == b',');
    match form {
        ValueForm::Keys => {
            let keys = items().map(by_name).collect::<Option<Vec<u16>>>();
            let mut keys = keys.ok_or("expected keys with commas between them")?;
            keys.sort_unstable();
            out.extend(keys.into_iter().flat_map(u16::to_be_bytes));
        }
        ValueForm::Protocols | ValueForm::Segments if value.is_empty() => {}
        ValueForm::Protocols | ValueForm::Segments => strings(value, out)?,
        ValueForm::Number | ValueForm::Numbers => {
            for item in items() {
                let number = decimal(item).and_then(|number| u16::try_from(number).ok());
                out.extend_from_slice(&number.ok_or("expected a number, 0 to 65535")?.to_be_bytes());
            }
        }
        ValueForm::Ipv4s => {
            for item in items() {
                let address: Ipv4Addr =
                    address(item).ok_or("expected IPv4 addresses with commas between them")?;
                out.extend_from_slice(&address.octets());
            }
        }
        ValueForm::Ipv6s => {
            for item in items() {
                let address: Ipv6Addr =
                    address(item).ok_or("expected IPv6 addresses with commas between them")?;
                out.extend_from_slice(&address.octets());
            }
        }
        ValueForm::Base64 => base64(value, out).ok_or("expected base64")?,
        ValueForm::Bytes | ValueForm::Opaque | ValueForm::Flag => out.extend_from_slice(value),
    }
    Ok(())
}

/// Appends a list of strings, each with its length before it. A comma or backslash within one has a backslash before it
/// (RFC 9460 appendix A.1).
fn strings(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    const LONG: &str = "it has a string longer than 255 bytes";
    let mut length_at = out.len();
    out.push(0);
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b',' => {
                out[length_at] = u8::try_from(out.len() - length_at - 1).map_err(|_| LONG)?;
                length_at = out.len();
                out.push(0);
            }
            b'\\' => match bytes.next() {
                Some(&byte @ (b',' | b'\\')) => out.push(byte),
                _ => return Err("in a list a backslash stands before a comma or a backslash"),
            },
            byte => out.push(byte),
        }
    }
    out[length_at] = u8::try_from(out.len() - length_at - 1).map_err(|_| LONG)?;
    Ok(())
}

/// Checks a value's wire form.
pub(super) fn check(key: u16, value: &[u8]) -> Result<(), &'static str> {
    let pairs = || value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let even = !value.is_empty() && value.len().is_multiple_of(2);
    let (holds, otherwise) = match form(key) {
        ValueForm::Keys => (
            even && pairs().is_sorted_by(|a, b| a < b) && pairs().all(|key| key != MANDATORY),
            "expected keys, each once, without mandatory itself",
        ),
        ValueForm::Protocols => (
            !value.is_empty() && every_string(value, |string| !string.is_empty()),
            "expected protocols, none of them empty",
        ),
        ValueForm::Segments => (every_string(value, |_| true), "expected strings"),
        ValueForm::Flag => (value.is_empty(), "it takes no value"),
        ValueForm::Number => (value.len() == 2, "expected one number"),
        ValueForm::Numbers => {
            let repeated =
                pairs().enumerate().any(|(index, number)| pairs().take(index).any(|n| n == number));
            (even && !repeated, "expected numbers, each once")
        }
        ValueForm::Ipv4s => (!value.is_empty() && value.len().is_multiple_of(4), "expected IPv4 addresses"),
        ValueForm::Ipv6s => (!value.is_empty() && value.len().is_multiple_of(16), "expected IPv6 addresses"),
        ValueForm::Base64 | ValueForm::Bytes | ValueForm::Opaque => (true, ""),
    };
    if holds { Ok(()) } else { Err(otherwise) }
}

fn every_string(value: &[u8], holds: impl Fn(&[u8]) -> bool) -> bool {
    let mut data = Cursor::new(value);
    while !data.is_at_end() {
        if !data.string("").is_ok_and(&holds) {
            return false;
        }
    }
    true
}

/// Appends a parameter in presentation form.
pub(super) fn present(key: u16, value: &[u8], out: &mut String) -> Result<(), MalformedRdata> {
    put!(out, "{}", name(key));
    let form = form(key);
    if value.is_empty() && matches!(form, ValueForm::Flag | ValueForm::Segments | ValueForm::Opaque) {
        return Ok(());
    }
    out.push('=');
    let mut separator = "";
    match form {
        ValueForm::Keys | ValueForm::Number | ValueForm::Numbers => {
            for pair in value.chunks_exact(2) {
                let number = u16::from_be_bytes([pair[0], pair[1]]);
                match form {
                    ValueForm::Keys => put!(out, "{separator}{}", name(number)),
                    _ => put!(out, "{separator}{number}"),
                }
                separator = ",";
            }
        }
        ValueForm::Protocols | ValueForm::Segments => {
            let mut list = Vec::with_capacity(value.len());
            let mut data = Cursor::new(value);
            let mut first = true;
            while !data.is_at_end() {
                if !first {
                    list.push(b',');
                }
                first = false;
                for &byte in data.string("a string")? {
                    if matches!(byte, b',' | b'\\') {
                        list.push(b'\\');
                    }
                    list.push(byte);
                }
            }
            quote(&list, out);
        }
        ValueForm::Ipv4s => {
            for &address in value.as_chunks::<4>().0 {
                put!(out, "{separator}{}", Ipv4Addr::from(address));
                separator = ",";
            }
        }
        ValueForm::Ipv6s => {
            for &address in value.as_chunks::<16>().0 {
                put!(out, "{separator}{}", Ipv6Addr::from(address));
                separator = ",";
            }
        }
        ValueForm::Base64 => BASE64.encode_append(value, out),
        ValueForm::Flag | ValueForm::Bytes | ValueForm::Opaque => quote(value, out),
    }
    Ok(())
}
