//! Lists of address prefixes (RFC 3123).

use super::address::address;
use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words, decimal};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The prefix is an exception; shares a byte with the length of the address.
const NEGATED: u8 = 0x80;

/// Prefixes up to the end of the data, which may be none.
pub(super) struct Prefixes;

impl Field for Prefixes {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        while let Some(word) = words.next()? {
            let prefix = if word.quoted { None } else { push(word.raw, out) };
            prefix.ok_or_else(|| {
                words.unexpected(&word, "a prefix, as in 1:192.0.2.0/24 or !2:2001:db8::/32")
            })?;
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        while !data.is_at_end() {
            let family = data.u16("an address family")?;
            let bits = data.u8("a prefix length")?;
            let length = data.u8("the length of an address")? & !NEGATED;
            let address = data.take(length.into(), "an address")?;
            let whole = match family {
                1 => 4,
                2 => 16,
                _ => {
                    return Err(MalformedRdata::new(format!(
                        "address family {family}: only 1 and 2 are known"
                    )));
                }
            };
            if bits > 8 * whole || length > whole || address.last() == Some(&0) {
                return Err(MalformedRdata::new("a prefix is too long, or its address ends with 0"));
            }
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let mut separator = "";
        while !data.is_at_end() {
            let family = data.u16("an address family")?;
            let bits = data.u8("a prefix length")?;
            let length = data.u8("the length of an address")?;
            let significant = data.take((length & !NEGATED).into(), "an address")?;
            let mut address = [0; 16];
            address[..significant.len().min(16)].copy_from_slice(significant);
            let sign = if length & NEGATED == 0 { "" } else { "!" };
            match family {
                1 => {
                    let [a, b, c, d, ..] = address;
                    put!(out, "{separator}{sign}1:{}/{bits}", Ipv4Addr::new(a, b, c, d));
                }
                _ => put!(out, "{separator}{sign}{family}:{}/{bits}", Ipv6Addr::from(address)),
            }
            separator = " ";
        }
        Ok(())
    }
}

/// Appends one prefix. The zeros that an address ends with are not sent.
fn push(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negated, text) = text.strip_prefix(b"!").map_or((0, text), |text| (NEGATED, text));
    let colon = text.iter().position(|&byte| byte == b':')?;
    let slash = text.iter().position(|&byte| byte == b'/')?;
    let (family, prefix) = (decimal(&text[..colon])?, decimal(&text[slash + 1..])?);
    let text = text.get(colon + 1..slash)?;
    let mut whole = [0; 16];
    let length: u8 = match family {
        1 => {
            whole[..4].copy_from_slice(&address::<Ipv4Addr>(text)?.octets());
            4
        }
        2 => {
            whole = address::<Ipv6Addr>(text)?.octets();
            16
        }
        _ => return None,
    };
    let bits = u8::try_from(prefix).ok().filter(|&bits| bits <= 8 * length)?;
    let zeros = whole[..length.into()].iter().rev().take_while(|&&byte| byte == 0).count();
    let significant = usize::from(length) - zeros;
    #[expect(clippy::cast_possible_truncation, reason = "at most 16, and families 1 and 2")]
    out.extend_from_slice(&[0, family as u8, bits, negated | significant as u8]);
    out.extend_from_slice(&whole[..significant]);
    Some(())
}
