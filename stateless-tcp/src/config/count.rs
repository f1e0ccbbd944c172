//! Numbers that are within bounds.

use super::values::{BadValue, number};
use serde::Deserialize;
use std::str::FromStr;

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Count<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Count<LEAST, MOST> {
    /// The number.
    pub(super) const fn get(self) -> u32 {
        self.0
    }
}

impl<const LEAST: u32, const MOST: u32> TryFrom<i64> for Count<LEAST, MOST> {
    type Error = BadValue;

    fn try_from(number: i64) -> Result<Self, BadValue> {
        let count = u32::try_from(number).ok().filter(|count| (LEAST..=MOST).contains(count));
        count.map(Self).ok_or_else(|| BadValue::new(format!("{number} is not from {LEAST} to {MOST}")))
    }
}

impl<const LEAST: u32, const MOST: u32> FromStr for Count<LEAST, MOST> {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        number(text)?.try_into()
    }
}
