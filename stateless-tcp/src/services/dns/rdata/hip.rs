//! The Host Identity Protocol's data (RFC 8005 section 5).

use super::cursor::{Cursor, MalformedRdata};
use super::encoded::{base64, hex};
use super::field::{Field, NameListField};
use super::present::put;
use crate::services::dns::presentation::{ParseError, Words};
use data_encoding::{BASE64, HEXUPPER};

const SERVERS: NameListField = NameListField("a rendezvous server");

/// Algorithm, host identity tag, public key, rendezvous servers.
pub(super) struct Hip;

/// Lengths of tag and key stand before both, with the algorithm between them.
fn head(data: &mut Cursor<'_>) -> Result<(u8, usize, usize), MalformedRdata> {
    let tag = data.u8("the length of a host identity tag")?;
    let algorithm = data.u8("a public key algorithm")?;
    let key = data.u16("the length of a public key")?;
    if tag == 0 || key == 0 {
        return Err(MalformedRdata::new("the host identity tag or the public key is empty"));
    }
    Ok((algorithm, tag.into(), key.into()))
}

impl Field for Hip {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const TAG: &str = "a host identity tag, in 1 to 255 pairs of hexadecimal digits";
        const KEY: &str = "a public key, in base64 without blanks";
        let algorithm = words.byte("a public key algorithm")?;
        let start = out.len();
        out.extend_from_slice(&[0, algorithm, 0, 0]);
        let word = words.plain(TAG)?;
        hex(word.raw, out).ok_or_else(|| words.unexpected(&word, TAG))?;
        let tag = out.len() - start - 4;
        out[start] =
            u8::try_from(tag).ok().filter(|&tag| tag > 0).ok_or_else(|| words.unexpected(&word, TAG))?;
        let word = words.plain(KEY)?;
        base64(word.raw, out).ok_or_else(|| words.unexpected(&word, KEY))?;
        let key = u16::try_from(out.len() - start - 4 - tag).ok().filter(|&key| key > 0);
        let key = key.ok_or_else(|| words.unexpected(&word, KEY))?;
        out[start + 2..start + 4].copy_from_slice(&key.to_be_bytes());
        SERVERS.parse(words, out)
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let (_, tag, key) = head(data)?;
        data.take(tag, "a host identity tag")?;
        data.take(key, "a public key")?;
        SERVERS.check(data)
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let (algorithm, tag, key) = head(data)?;
        put!(out, "{algorithm} ");
        HEXUPPER.encode_append(data.take(tag, "a host identity tag")?, out);
        out.push(' ');
        BASE64.encode_append(data.take(key, "a public key")?, out);
        if !data.is_at_end() {
            out.push(' ');
        }
        SERVERS.present(data, out)
    }
}
