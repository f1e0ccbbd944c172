//! Record data in wire form, taken field by field.

use super::super::name::MAX_NAME;
use std::borrow::Cow;
use std::fmt;

/// An error in record data.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct MalformedRdata(Cow<'static, str>);

impl MalformedRdata {
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }

    /// The data ends within a field.
    fn cut(field: &str) -> Self {
        Self(format!("expected {field}, found the end of the data").into())
    }
}

impl fmt::Display for MalformedRdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in record data.
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The number of bytes taken.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.data.len()
    }

    /// Fails if anything remains.
    pub(super) fn end(&self) -> Result<(), MalformedRdata> {
        match self.data.len() - self.at {
            0 => Ok(()),
            1 => Err(MalformedRdata::new("1 byte more than it should have")),
            more => Err(MalformedRdata::new(format!("{more} bytes more than it should have"))),
        }
    }

    /// The next bytes, which are `field`.
    pub(super) fn take(&mut self, count: usize, field: &str) -> Result<&'a [u8], MalformedRdata> {
        let taken = self.data[self.at..].get(..count).ok_or_else(|| MalformedRdata::cut(field))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], MalformedRdata> {
        let taken = self.data[self.at..].first_chunk().ok_or_else(|| MalformedRdata::cut(field))?;
        self.at += N;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &str) -> Result<u8, MalformedRdata> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &str) -> Result<u16, MalformedRdata> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, MalformedRdata> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A number of this many bytes.
    pub(super) fn number(&mut self, width: usize, field: &str) -> Result<u64, MalformedRdata> {
        Ok(self.take(width, field)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.data[self.at..];
        self.at = self.data.len();
        rest
    }

    /// A string with its length before it (RFC 1035 section 3.3), without the length.
    pub(super) fn string(&mut self, field: &str) -> Result<&'a [u8], MalformedRdata> {
        let length = self.u8(field)?;
        self.take(length.into(), field)
    }

    /// An uncompressed name.
    pub(super) fn name(&mut self, field: &str) -> Result<&'a [u8], MalformedRdata> {
        let start = self.at;
        loop {
            let label = self.u8(field)?;
            if label > 63 {
                return Err(MalformedRdata::new(format!(
                    "{field} has a label that is compressed or too long"
                )));
            }
            self.take(label.into(), field)?;
            if self.at - start > MAX_NAME {
                return Err(MalformedRdata::new(format!("{field} is longer than 255 bytes")));
            }
            if label == 0 {
                return Ok(&self.data[start..self.at]);
            }
        }
    }
}
