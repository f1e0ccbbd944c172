//! Record types: of each the fields of its data, in one [table](table::TABLE). What is read from a zone file, checked in
//! wire form, lower-cased, compressed and written as text follows from the fields; nothing else here knows a type.
//!
//! What this room does not know: zones, messages, and what a server does with a type.

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

/// The type of this number; of one that is not known, a type of opaque data.
pub(super) fn record_type(number: u16) -> &'static RecordType {
    table::find(number)
}

/// The number of the type that `word` names, by its mnemonic in any case or as `TYPE123` (RFC 3597 section 5).
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

/// The type's mnemonic, or `TYPE123` where it has none.
pub(super) fn mnemonic(number: u16) -> impl fmt::Display {
    fmt::from_fn(move |f| match record_type(number).mnemonic {
        "" => write!(f, "TYPE{number}"),
        mnemonic => f.write_str(mnemonic),
    })
}

#[cfg(test)]
mod tests;
