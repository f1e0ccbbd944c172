//! The presentation format of zone files (RFC 1035 section 5.1): scanning text into words, and parsing single words.
//!
//! This module knows neither record types nor directives; `rdata` and `zonefile` are built on it.

mod scanner;
mod text;
mod words;

pub(super) use scanner::{ParseError, Scanner, Word};
pub(super) use text::{decimal, name, seconds};
pub(super) use words::Words;
