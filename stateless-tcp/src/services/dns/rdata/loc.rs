//! Places on Earth (RFC 1876).

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::present::put;
use crate::services::dns::presentation::{ParseError, Word, Words, decimal};

/// Thousandths of a second of arc: a degree, and what stands for the equator or the prime meridian.
const DEGREE: u32 = 3_600_000;
const ZERO: u32 = 1 << 31;
/// Altitude is counted in centimetres from 100 km below the ellipsoid.
const BELOW: i64 = 10_000_000;
/// Most that a size or precision can be, in centimetres.
const LARGEST: i64 = 9_000_000_000;
/// Size, horizontal and vertical precision that are not given: 1 m, 10 km, 10 m.
const DEFAULTS: [u8; 3] = [0x12, 0x16, 0x13];

/// Latitude, longitude, altitude, size, horizontal and vertical precision.
pub(super) struct Location;

impl Field for Location {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const ALTITUDE: &str = "an altitude, -100000.00m to 42849672.95m";
        const SIZE: &str = "a size or precision, 0.00m to 90000000.00m";
        let latitude = angle(words, "a latitude", 90, *b"NS")?;
        let longitude = angle(words, "a longitude", 180, *b"EW")?;
        let word = words.plain(ALTITUDE)?;
        let altitude = metres(&word).and_then(|altitude| u32::try_from(altitude.checked_add(BELOW)?).ok());
        let altitude = altitude.ok_or_else(|| words.unexpected(&word, ALTITUDE))?;
        let mut sizes = DEFAULTS;
        for size in &mut sizes {
            let Some(word) = words.next()? else { break };
            let metres = metres(&word).filter(|metres| (0..=LARGEST).contains(metres));
            *size = exponential(metres.ok_or_else(|| words.unexpected(&word, SIZE))?);
        }
        out.push(0);
        out.extend_from_slice(&sizes);
        for number in [latitude, longitude, altitude] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        if data.u8("a version")? != 0 {
            // The form of other versions is unknown (RFC 1876 section 2).
            data.rest();
            return Ok(());
        }
        for byte in data.array::<3>("size and precisions")? {
            if byte >> 4 > 9 || byte & 15 > 9 || byte >> 4 == 0 && byte != 0 {
                return Err(MalformedRdata::new(
                    "a size or precision is not one digit and an exponent of ten",
                ));
            }
        }
        for (what, degrees) in [("the latitude", 90), ("the longitude", 180)] {
            if data.u32(what)?.abs_diff(ZERO) > degrees * DEGREE {
                return Err(MalformedRdata::new(format!("{what} is beyond {degrees} degrees")));
            }
        }
        data.u32("the altitude").map(drop)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let [version, sizes @ ..] = data.array::<4>("version, size and precisions")?;
        if version != 0 {
            return Err(MalformedRdata::new("this version has no presentation form"));
        }
        for (what, [positive, negative]) in [("the latitude", ["N", "S"]), ("the longitude", ["E", "W"])] {
            let angle = data.u32(what)?;
            let (thousandths, direction) =
                (angle.abs_diff(ZERO), if angle < ZERO { negative } else { positive });
            let (degrees, minutes) = (thousandths / DEGREE, thousandths / 60_000 % 60);
            let (seconds, rest) = (thousandths / 1_000 % 60, thousandths % 1_000);
            put!(out, "{degrees} {minutes} {seconds}.{rest:03} {direction} ");
        }
        let altitude = i64::from(data.u32("the altitude")?) - BELOW;
        let sign = if altitude < 0 { "-" } else { "" };
        put!(out, "{sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100);
        for size in sizes {
            let centimetres = i64::from(size >> 4) * 10_i64.pow(u32::from(size & 15));
            put!(out, " {}.{:02}m", centimetres / 100, centimetres % 100);
        }
        Ok(())
    }
}

/// Degrees, perhaps minutes and seconds, and a direction.
fn angle(
    words: &mut Words<'_, '_>,
    what: &'static str,
    most: u32,
    [positive, negative]: [u8; 2],
) -> Result<u32, ParseError> {
    let expected = format!(
        "{what}, as in {most} 0 0.000 {}: degrees up to {most}, minutes and seconds below 60, then {0} or {}",
        char::from(positive),
        char::from(negative)
    );
    let first = words.plain(&expected)?;
    let degrees = decimal(first.raw).and_then(|degrees| u32::try_from(degrees).ok());
    let degrees = degrees.filter(|&degrees| degrees <= most);
    let mut total = degrees.ok_or_else(|| words.unexpected(&first, &expected))? * DEGREE;
    // Thousandths: of a minute none, of a second three digits.
    for (unit, decimals) in [(60_000, 0), (1, 3), (0, 0)] {
        let word = words.plain(&expected)?;
        let direction = match word.raw {
            [letter] if *letter == positive => Some(ZERO.checked_add(total)),
            [letter] if *letter == negative => Some(ZERO.checked_sub(total)),
            _ => None,
        };
        if let Some(angle) = direction {
            let within = angle.filter(|_| total <= most * DEGREE);
            return within.ok_or_else(|| words.unexpected(&first, &expected));
        }
        let limit = if decimals == 0 { 60 } else { 60_000 };
        let number = fixed(word.raw, decimals).and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|&number| unit > 0 && number < limit);
        total += unit * number.ok_or_else(|| words.unexpected(&word, &expected))?;
    }
    Err(words.unexpected(&first, &expected))
}

/// A length in metres with or without their letter, in centimetres.
fn metres(word: &Word<'_>) -> Option<i64> {
    let text = match word.raw {
        [text @ .., b'm' | b'M'] if !word.quoted => text,
        text => text,
    };
    let (sign, text) = text.strip_prefix(b"-").map_or((1, text), |text| (-1, text));
    Some(sign * fixed(text, 2)?)
}

/// A number with so many decimals at most, times as many tens.
fn fixed(text: &[u8], decimals: u32) -> Option<i64> {
    let (whole, rest) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let missing = decimals.checked_sub(u32::try_from(rest.len()).ok()?)?;
    let rest = if rest.is_empty() { 0 } else { decimal(rest)? * 10_u64.pow(missing) };
    let whole = if whole.is_empty() && decimals == 2 && text.len() > 1 { 0 } else { decimal(whole)? };
    let whole = whole.checked_mul(10_u64.pow(decimals))?;
    i64::try_from(whole.checked_add(rest)?).ok()
}

/// Centimetres as one digit and an exponent of ten, rounded down.
fn exponential(centimetres: i64) -> u8 {
    let (mut digit, mut exponent) = (centimetres, 0);
    while digit > 9 {
        digit /= 10;
        exponent += 1;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a digit")]
    let digit = digit as u8;
    digit << 4 | exponent
}
