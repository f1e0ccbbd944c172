//! Addresses: of IP, of Ethernet, and those that RFC 6742 writes like them.

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The address that `text` is.
pub(super) fn address<A: FromStr>(text: &[u8]) -> Option<A> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

const IPV4: &str = "an IPv4 address";
const IPV6: &str = "an IPv6 address";

/// An IPv4 address.
pub(super) struct Ipv4;

impl Field for Ipv4 {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(IPV4)?;
        let address: Ipv4Addr = address(word.raw).ok_or_else(|| words.unexpected(&word, IPV4))?;
        out.extend_from_slice(&address.octets());
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.array::<4>(IPV4).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        put!(out, "{}", Ipv4Addr::from(data.array::<4>(IPV4)?));
        Ok(())
    }
}

/// An IPv6 address.
pub(super) struct Ipv6;

impl Field for Ipv6 {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(IPV6)?;
        let address: Ipv6Addr = address(word.raw).ok_or_else(|| words.unexpected(&word, IPV6))?;
        out.extend_from_slice(&address.octets());
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.array::<16>(IPV6).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        put!(out, "{}", Ipv6Addr::from(data.array::<16>(IPV6)?));
        Ok(())
    }
}

/// Groups of hexadecimal digits with a separator between them.
pub(super) struct Groups {
    pub(super) what: &'static str,
    pub(super) separator: u8,
    /// The number of groups, and the bytes of each.
    pub(super) count: usize,
    pub(super) bytes: usize,
    /// Groups must have all their digits.
    pub(super) padded: bool,
}

impl Groups {
    fn digits(&self, word: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut groups = 0;
        for group in word.split(|&byte| byte == self.separator) {
            let whole = 2 * self.bytes;
            if group.is_empty() || group.len() > whole || self.padded && group.len() < whole {
                return None;
            }
            let number = u64::from_str_radix(std::str::from_utf8(group).ok()?, 16).ok()?;
            // The parser takes a sign.
            if !group[0].is_ascii_hexdigit() {
                return None;
            }
            out.extend_from_slice(&number.to_be_bytes()[8 - self.bytes..]);
            groups += 1;
        }
        (groups == self.count).then_some(())
    }
}

impl Field for Groups {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(self.what)?;
        self.digits(word.raw, out).ok_or_else(|| words.unexpected(&word, self.what))
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.take(self.count * self.bytes, self.what).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        for (index, group) in data.take(self.count * self.bytes, self.what)?.chunks(self.bytes).enumerate() {
            if index > 0 {
                out.push(self.separator.into());
            }
            for byte in group {
                put!(out, "{byte:02x}");
            }
        }
        Ok(())
    }
}
