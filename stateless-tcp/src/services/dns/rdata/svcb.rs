//! The parameters of SVCB and HTTPS (RFC 9460 section 2): each a key and a value, in ascending order of keys.

use super::cursor::{Cursor, MalformedRdata};
use super::field::Field;
use super::params::{self, ALPN, MANDATORY, NO_DEFAULT_ALPN};
use crate::services::dns::presentation::{ParseError, Word, Words};

/// Key and length before a parameter's value.
const HEAD: usize = 4;

/// Parameters up to the end of the data.
pub(super) struct Params;

impl Field for Params {
    fn parse(&self, words: &mut Words<'_, '_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let start = out.len();
        while let Some(word) = words.next()? {
            parse(&word, words, start, out)?;
        }
        Ok(())
    }

    fn check(&self, data: &mut Cursor<'_>) -> Result<(), MalformedRdata> {
        let mut last = None;
        while !data.is_at_end() {
            let (key, value) = take(data)?;
            if last.is_some_and(|last| last >= key) {
                return Err(MalformedRdata::new("the parameters are not in ascending order of their keys"));
            }
            params::check(key, value)
                .map_err(|wrong| MalformedRdata::new(format!("{}: {wrong}", params::name(key))))?;
            last = Some(key);
        }
        Ok(())
    }

    fn present(&self, data: &mut Cursor<'_>, out: &mut String) -> Result<(), MalformedRdata> {
        let mut separator = "";
        while !data.is_at_end() {
            out.push_str(separator);
            separator = " ";
            let (key, value) = take(data)?;
            params::present(key, value, out)?;
        }
        Ok(())
    }
}

fn take<'a>(data: &mut Cursor<'a>) -> Result<(u16, &'a [u8]), MalformedRdata> {
    let key = data.u16("the key of a parameter")?;
    let length = data.u16("the length of a parameter")?;
    Ok((key, data.take(length.into(), "the value of a parameter")?))
}

/// Reads one parameter, and puts it where its key belongs among those from `start` on.
fn parse(
    word: &Word<'_>,
    words: &mut Words<'_, '_>,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let equals = word.raw.iter().position(|&byte| byte == b'=');
    let name = &word.raw[..equals.unwrap_or(word.raw.len())];
    let key = (!word.quoted).then(|| params::by_name(name)).flatten();
    let key = key.ok_or_else(|| words.unexpected(word, "a parameter, as in alpn=h2 or key667=value"))?;
    let is_generic = name.starts_with(b"key");
    // A value in quotes is a word of its own to the scanner.
    let value = match equals {
        Some(at) if at + 1 == word.raw.len() && words.is_at_quote() => words.next()?,
        Some(at) => Some(Word { raw: &word.raw[at + 1..], ..*word }),
        None => None,
    };
    let mut decoded = std::mem::take(words.scratch);
    decoded.clear();
    let read = value.map_or(Ok(()), |value| words.decode(&value, &mut decoded));
    let end = out.len();
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    let encoded = read.and_then(|()| {
        let encoded = if is_generic {
            out.extend_from_slice(&decoded);
            Ok(())
        } else {
            params::encode(key, value.map(|_| &*decoded), out)
        };
        let checked = encoded.and_then(|()| params::check(key, &out[end + HEAD..]));
        checked.map_err(|wrong| words.refuse_bare(word, format_args!("{}: {wrong}", params::name(key))))
    });
    *words.scratch = decoded;
    encoded?;
    let length = u16::try_from(out.len() - end - HEAD)
        .map_err(|_| words.refuse_bare(word, "a value of more than 65535 bytes"))?;
    out[end + 2..end + HEAD].copy_from_slice(&length.to_be_bytes());
    let mut at = start;
    while at < end {
        let before = u16::from_be_bytes([out[at], out[at + 1]]);
        if before == key {
            return Err(words.refuse_bare(word, format_args!("{} stands here twice", params::name(key))));
        }
        if before > key {
            break;
        }
        at += HEAD + usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
    }
    let taken = out.len() - end;
    out[at..].rotate_right(taken);
    Ok(())
}

/// Rules among parameters: all mandatory ones are present (RFC 9460 section 8), and no-default-alpn needs alpn (section
/// 7.1.1). Parameters of an alias are allowed and ignored (section 2.4.2).
pub(super) fn rule(rdata: &[u8]) -> Result<(), MalformedRdata> {
    let mut data = Cursor::new(rdata);
    data.u16("a priority")?;
    data.name("a target")?;
    let params = data.rest();
    let has = |wanted: u16| {
        let mut data = Cursor::new(params);
        std::iter::from_fn(|| take(&mut data).ok()).any(|(key, _)| key == wanted)
    };
    let mut data = Cursor::new(params);
    while !data.is_at_end() {
        let (key, value) = take(&mut data)?;
        if key == NO_DEFAULT_ALPN && !has(ALPN) {
            return Err(MalformedRdata::new("no-default-alpn without alpn"));
        }
        if key == MANDATORY {
            let wanted = value.chunks_exact(2).map(|key| u16::from_be_bytes([key[0], key[1]]));
            if let Some(missing) = wanted.into_iter().find(|&wanted| !has(wanted)) {
                return Err(MalformedRdata::new(format!(
                    "{} is mandatory but not there",
                    params::name(missing)
                )));
            }
        }
    }
    Ok(())
}
