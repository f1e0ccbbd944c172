//! Rules on several fields of a type's data together.

use super::cursor::MalformedRdata;

/// Fails unless a digest has the length that its algorithm gives.
fn length(what: &str, algorithm: u8, expected: Option<usize>, digest: &[u8]) -> Result<(), MalformedRdata> {
    match expected {
        Some(expected) if digest.len() != expected => Err(MalformedRdata::new(format!(
            "expected a digest of {expected} bytes, as {what} {algorithm} has, found {}",
            digest.len()
        ))),
        _ => Ok(()),
    }
}

/// DS, CDS and those of their form: key tag, algorithm, digest type, digest.
pub(super) fn ds(rdata: &[u8]) -> Result<(), MalformedRdata> {
    let [_, _, _, kind, digest @ ..] = rdata else { return Ok(()) };
    let expected = match kind {
        1 => Some(20),
        2 | 3 => Some(32),
        4 => Some(48),
        _ => None,
    };
    length("digest type", *kind, expected, digest)
}

/// SSHFP: algorithm, fingerprint type, fingerprint (RFC 4255, RFC 6594).
pub(super) fn sshfp(rdata: &[u8]) -> Result<(), MalformedRdata> {
    let [_, kind, fingerprint @ ..] = rdata else { return Ok(()) };
    let expected = match kind {
        1 => Some(20),
        2 => Some(32),
        _ => None,
    };
    length("fingerprint type", *kind, expected, fingerprint)
}

/// ZONEMD: serial, scheme, hash algorithm, digest (RFC 8976 section 2.2).
pub(super) fn zonemd(rdata: &[u8]) -> Result<(), MalformedRdata> {
    let [_, _, _, _, _, kind, digest @ ..] = rdata else { return Ok(()) };
    let expected = match kind {
        1 => Some(48),
        2 => Some(64),
        _ => None,
    };
    length("hash algorithm", *kind, expected, digest)
}

/// KEY: the key is empty only if the flags say so (RFC 2535 section 3.1.2).
pub(super) fn key(rdata: &[u8]) -> Result<(), MalformedRdata> {
    let [flags, _, _, _, key @ ..] = rdata else { return Ok(()) };
    match (flags & 0xc0 == 0xc0, key) {
        (false, []) => Err(MalformedRdata::new("expected a key: its flags do not say NOKEY")),
        _ => Ok(()),
    }
}

/// X25: decimal digits, four or more (RFC 1183 section 3.1).
pub(super) fn x25(rdata: &[u8]) -> Result<(), MalformedRdata> {
    match rdata {
        [_, digits @ ..] if digits.len() >= 4 && digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(MalformedRdata::new("expected an X.121 address of four or more digits")),
    }
}
