//! Data of legacy types.

use super::address::Ipv4;
use super::cursor::{Cursor, MalformedRdata};
use super::encoded::hex;
use super::field::Field;
use super::mnemonic::{PROTOCOLS, SERVICES};
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words, decimal};
use data_encoding::HEXUPPER;

/// Most bytes of the bits of 65,536 ports.
const PORTS: usize = 8_192;

/// Address, protocol, and ports as bits up to the end of the data (RFC 1035 section 3.4.2).
pub(super) struct WellKnownServices;

impl Field for WellKnownServices {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const PROTOCOL: &str = "a protocol, 0 to 255 or a mnemonic";
        const SERVICE: &str = "a service, 0 to 65535 or a mnemonic";
        Ipv4.parse(words, out)?;
        let find = |known: &[(&str, u16)], name: &[u8]| {
            known
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
                .map(|&(_, number)| number)
        };
        let word = words.plain(PROTOCOL)?;
        let number = decimal(word.raw).or_else(|| find(PROTOCOLS, word.raw).map(u64::from));
        let number = number.and_then(|number| u8::try_from(number).ok());
        out.push(number.ok_or_else(|| words.unexpected(&word, PROTOCOL))?);
        let start = out.len();
        while let Some(word) = words.next()? {
            let number = decimal(word.raw).or_else(|| find(SERVICES, word.raw).map(u64::from));
            let port = number.filter(|_| !word.quoted).and_then(|number| u16::try_from(number).ok());
            let port = usize::from(port.ok_or_else(|| words.unexpected(&word, SERVICE))?);
            let length = (out.len() - start).max(port / 8 + 1);
            out.resize(start + length, 0);
            out[start + port / 8] |= 0x80 >> (port % 8);
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.array::<5>("an IPv4 address and a protocol")?;
        if data.rest().len() > PORTS {
            return Err(MalformedRdata::new("more bits than there are ports"));
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        Ipv4.present(data, out)?;
        put!(out, " {}", data.u8("a protocol")?);
        let ports = data.rest();
        if ports.last() == Some(&0) {
            return Err(MalformedRdata::new("a zero at the end, which text cannot say"));
        }
        for (index, bits) in ports.iter().enumerate() {
            for bit in (0..8).filter(|bit| bits & (0x80 >> bit) != 0) {
                put!(out, " {}", 8 * index + bit);
            }
        }
        Ok(())
    }
}

/// `0x` and hexadecimal digits with dots between them up to the end of the data (RFC 1706 section 6).
pub(super) struct Nsap;

impl Field for Nsap {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "0x and pairs of hexadecimal digits";
        let word = words.plain(EXPECTED)?;
        let digits = word.raw.strip_prefix(b"0x").or_else(|| word.raw.strip_prefix(b"0X"));
        let digits = digits.and_then(|digits| without_dots(digits, words.scratch, out));
        digits.ok_or_else(|| words.unexpected(&word, EXPECTED))
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u8("an address")?;
        data.rest();
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        out.push_str("0x");
        HEXUPPER.encode_append(data.rest(), out);
        Ok(())
    }
}

/// Decodes hexadecimal digits with dots between them, at least one byte.
fn without_dots(digits: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Option<()> {
    scratch.clear();
    scratch.extend(digits.iter().filter(|&&byte| byte != b'.'));
    if scratch.is_empty() { None } else { hex(scratch, out) }
}

/// A format, and an address of an ATM network: 0 for hexadecimal digits, 1 for `+` and decimal ones.
pub(super) struct AtmAddress;

impl Field for AtmAddress {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "an ATM address: + and digits, or pairs of hexadecimal digits";
        let word = words.plain(EXPECTED)?;
        let read = if let Some(digits) = word.raw.strip_prefix(b"+") {
            out.push(1);
            let start = out.len();
            out.extend(digits.iter().filter(|&&byte| byte != b'.'));
            let digits = &out[start..];
            (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(())
        } else {
            out.push(0);
            without_dots(word.raw, words.scratch, out)
        };
        read.ok_or_else(|| words.unexpected(&word, EXPECTED))
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let format = data.u8("a format")?;
        let address = data.rest();
        if address.is_empty() || format == 1 && !address.iter().all(u8::is_ascii_digit) || format > 1 {
            return Err(MalformedRdata::new("expected an ATM address in format 0, or of digits in format 1"));
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        match data.u8("a format")? {
            1 => {
                out.push('+');
                out.extend(data.rest().iter().map(|&digit| char::from(digit)));
            }
            _ => HEXUPPER.encode_append(data.rest(), out),
        }
        Ok(())
    }
}
