//! BIND's raw format of zones, as `named-compilezone -F raw` writes it: a header of six 32-bit fields (format, version, time,
//! flags, the source's serial number, the last transfer's time), then one set of records after the other.

use anyhow::{Context, ensure};

use super::wire::WireRecord;

/// The header's first two fields: the raw format, in its second version.
const FORMAT: [u8; 8] = [0, 0, 0, 2, 0, 0, 0, 1];
const HEADER: usize = 24;

/// Reads all records of a file.
///
/// # Errors
///
/// It is no raw zone file, or another version of the format.
pub fn read(bytes: &[u8]) -> anyhow::Result<Vec<WireRecord>> {
    ensure!(bytes.starts_with(&FORMAT), "no raw zone of version 1: {:02x?}", bytes.get(..8));
    let mut rest = bytes.get(HEADER..).context("a raw zone that ends in its header")?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        set(&mut rest, &mut records).context("a raw zone that ends in a set of records")?;
    }
    Ok(records)
}

/// Reads a set: its length, class, type, the type that it covers (of RRSIG), TTL, number of records, owner, records.
fn set(rest: &mut &[u8], records: &mut Vec<WireRecord>) -> Option<()> {
    let _length: [u8; 4] = take(rest)?;
    let class = u16::from_be_bytes(take(rest)?);
    let rtype = u16::from_be_bytes(take(rest)?);
    let _covers: [u8; 2] = take(rest)?;
    let ttl = u32::from_be_bytes(take(rest)?);
    let count = u32::from_be_bytes(take(rest)?);
    let owner = counted(rest)?;
    for _ in 0..count {
        let rdata = counted(rest)?;
        records.push(WireRecord { owner: owner.clone(), class, rtype, ttl, rdata });
    }
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*field)
}

/// Bytes after their number in 16 bits.
fn counted(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes.to_vec())
}
