//! Record types: one [table](table::TABLE) lists the fields of each type's data. Parsing, checking, lower-casing,
//! compression and presentation follow from the fields; nothing else here knows a type.
//!
//! This module knows neither zones nor messages, nor the meaning of a type to a server.

mod address;
mod apl;
mod bitmap;
mod cursor;
mod encoded;
mod field;
mod gateway;
mod hip;
mod legacy;
mod loc;
mod mnemonic;
mod number;
mod params;
mod present;
mod record_type;
mod rules;
mod string;
mod svcb;
mod table;

pub(super) use encoded::opaque;
pub(super) use present::escape_name;
pub(super) use record_type::RecordType;

use super::presentation::decimal;
use std::fmt;

/// The type with this number; an unknown type has opaque data.
pub(super) fn record_type(number: u16) -> &'static RecordType {
    table::find(number)
}

/// The number of the type named by `word`: a mnemonic in any case, or `TYPE123` (RFC 3597 section 5).
pub(super) fn by_name(word: &[u8]) -> Option<u16> {
    table::by_name(word).or_else(|| generic_name(word))
}

fn generic_name(word: &[u8]) -> Option<u16> {
    let (prefix, digits) = word.split_at_checked(4)?;
    if !prefix.eq_ignore_ascii_case(b"TYPE") || digits.len() > 5 {
        return None;
    }
    decimal(digits).and_then(|number| number.try_into().ok())
}

/// The type's mnemonic, or `TYPE123` if it has none.
pub(super) fn mnemonic(number: u16) -> impl fmt::Display {
    fmt::from_fn(move |f| match record_type(number).mnemonic {
        "" => write!(f, "TYPE{number}"),
        mnemonic => f.write_str(mnemonic),
    })
}

#[cfg(test)]
mod tests;
