//! TTLs in zone files: their limit, and the TTL of a record that states none (RFC 2308 section 4).

use crate::services::dns::rtype;

/// Largest TTL in seconds; a larger one counts as 0 (RFC 2181 section 8).
const MAX: u64 = (1 << 31) - 1;
/// Bytes of the minimum TTL at the end of an SOA record's data.
const MINIMUM: usize = 4;

/// The error of a TTL that 32 bits do not hold.
pub(super) const TOO_LONG: &str = "a TTL of more than 4294967295 seconds";

/// The TTL for a number of seconds, if 32 bits hold it.
pub(super) fn checked(seconds: u64) -> Option<u32> {
    let ttl = u32::try_from(seconds).ok()?;
    Some(if seconds > MAX { 0 } else { ttl })
}

/// The TTL of a record that states none.
#[derive(Clone, Copy, Default)]
pub(super) struct DefaultTtl {
    /// Set by `$TTL`.
    pub(super) directive: Option<u32>,
    /// The last one that a record stated.
    stated: Option<u32>,
}

impl DefaultTtl {
    /// The TTL of a record, which may state one.
    pub(super) fn for_record(&mut self, stated: Option<u32>, rtype: u16, rdata: &[u8]) -> Option<u32> {
        if stated.is_some() {
            self.stated = stated;
        } else if self.directive.is_none() && self.stated.is_none() && rtype == rtype::SOA {
            // As in BIND: the minimum counts from here on as if $TTL had stated it.
            let minimum: &[u8; MINIMUM] = rdata.last_chunk()?;
            self.directive = checked(u32::from_be_bytes(*minimum).into());
        }
        stated.or(self.directive).or(self.stated)
    }
}
