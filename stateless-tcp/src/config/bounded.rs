//! Numbers with bounds.

use super::values::InvalidValue;
use serde::Deserialize;
use std::str::FromStr;

/// A whole number from `MIN` to `MAX`, from a flag or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number, where `MAX` permits 16 bits.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "MAX has 16 bits")]
    pub const fn get_u16(self) -> u16 {
        const { assert!(MAX <= u16::MAX as u32) };
        self.0 as u16
    }
}

impl<const MIN: u32, const MAX: u32> TryFrom<i64> for Bounded<MIN, MAX> {
    type Error = InvalidValue;

    fn try_from(number: i64) -> Result<Self, InvalidValue> {
        let bounded = u32::try_from(number).ok().filter(|bounded| (MIN..=MAX).contains(bounded));
        bounded
            .map(Self)
            .ok_or_else(|| InvalidValue::new(format!("{number} is not in the range {MIN} to {MAX}")))
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Bounded<MIN, MAX> {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let number: i64 = text.parse().map_err(|_| InvalidValue::new(format!("{text:?} is not a number")))?;
        number.try_into()
    }
}
