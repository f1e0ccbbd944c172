//! Numbers, times, and numbers with mnemonics.

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words, decimal, seconds};

/// A decimal number of `N` bytes.
pub(super) struct Number<const N: usize>(pub(super) &'static str);

/// The largest number of this many bytes.
const fn largest(width: usize) -> u64 {
    u64::MAX >> (64 - 8 * width)
}

/// Appends a number's last `width` bytes.
fn push(number: u64, width: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes()[8 - width..]);
}

impl<const N: usize> Field for Number<N> {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        push(words.number(self.0, largest(N))?, N, out);
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.number(N, self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        put!(out, "{}", data.number(N, self.0)?);
        Ok(())
    }

    fn width(&self) -> usize {
        N
    }
}

/// A number of `N` bytes that may also be given by a mnemonic.
pub(super) struct Named<const N: usize>(pub(super) &'static str, pub(super) &'static [(&'static str, u16)]);

impl<const N: usize> Field for Named<N> {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(self.0)?;
        let named = || self.1.iter().find(|(name, _)| word.is(name)).map(|&(_, number)| number.into());
        let number = decimal(word.raw).or_else(named).filter(|&number| number <= largest(N));
        let number = number.ok_or_else(|| {
            words.unexpected(&word, format_args!("{}, 0 to {} or a mnemonic", self.0, largest(N)))
        })?;
        push(number, N, out);
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        Number::<N>(self.0).check(data)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        Number::<N>(self.0).present(data, out)
    }
}

/// The flags of a KEY: a number, or mnemonics joined by `|` (RFC 2535 section 7.1).
pub(super) struct KeyFlags;

impl Field for KeyFlags {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "flags, 0 to 65535 or mnemonics";
        let word = words.plain(EXPECTED)?;
        let named = |name: &[u8]| {
            let known = super::mnemonic::KEY_FLAGS.iter();
            known
                .clone()
                .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
                .map(|&(_, bits)| bits)
        };
        let flags = match decimal(word.raw) {
            Some(number) => number.try_into().ok(),
            None => {
                word.raw.split(|&byte| byte == b'|').try_fold(0, |flags, name| Some(flags | named(name)?))
            }
        };
        let flags = flags.ok_or_else(|| words.unexpected(&word, EXPECTED))?;
        out.extend_from_slice(&u16::to_be_bytes(flags));
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u16("flags").map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        put!(out, "{}", data.u16("flags")?);
        Ok(())
    }
}

/// A time span in seconds, which text may give with units.
pub(super) struct Span(pub(super) &'static str);

impl Field for Span {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(self.0)?;
        let span = seconds(word.raw).and_then(|span| u32::try_from(span).ok());
        let span = span.ok_or_else(|| {
            words.unexpected(&word, format_args!("{}, 0 to {} seconds or as in 1h30m", self.0, u32::MAX))
        })?;
        out.extend_from_slice(&span.to_be_bytes());
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u32(self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        put!(out, "{}", data.u32(self.0)?);
        Ok(())
    }
}

/// A point in time: YYYYMMDDHHmmSS, or seconds since 1970 (RFC 4034 section 3.2).
pub(super) struct Date(pub(super) &'static str);

impl Field for Date {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(self.0)?;
        let time = match decimal(word.raw) {
            Some(seconds) if word.raw.len() <= 10 => seconds.try_into().ok(),
            Some(date) if word.raw.len() == 14 => since_1970(date),
            _ => None,
        };
        let time = time.ok_or_else(|| {
            words.unexpected(&word, format_args!("{}, as YYYYMMDDHHmmSS or in seconds since 1970", self.0))
        })?;
        out.extend_from_slice(&time.to_be_bytes());
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u32(self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let time = data.u32(self.0)?;
        let (days, second) = (i64::from(time / 86_400), time % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        put!(out, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
        Ok(())
    }
}

/// Seconds since 1970 of a date written as one number, modulo 2^32 (RFC 4034 section 3.1.5).
fn since_1970(date: u64) -> Option<u32> {
    let two_digits = |behind: u64| i64::try_from(date / behind % 100).unwrap_or(0);
    let year = i64::try_from(date / 10_000_000_000).ok()?;
    let [month, day] = [100_000_000, 1_000_000].map(two_digits);
    let [hour, minute, second] = [10_000, 100, 1].map(two_digits);
    let days = days_from_civil(year, month, day);
    // A leap second counts as the second behind it, as in POSIX.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if year < 1970 || !is_time || !(1..=12).contains(&month) || civil_from_days(days) != (year, month, day) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "serial number arithmetic")]
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) as u32)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years begin in March, so that a leap day ends one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day so many days after 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// A record type, by mnemonic or as `TYPE123`.
pub(super) struct RecordTypeField(pub(super) &'static str);

impl Field for RecordTypeField {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let word = words.plain(self.0)?;
        let number = super::by_name(word.raw).ok_or_else(|| words.unexpected(&word, self.0))?;
        out.extend_from_slice(&number.to_be_bytes());
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        data.u16(self.0).map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        put!(out, "{}", super::mnemonic(data.u16(self.0)?));
        Ok(())
    }
}
