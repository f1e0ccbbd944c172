//! Directives: the entries that begin with `$`.

use super::generate::Template;
use super::ttl;
use crate::services::dns::presentation::{ParseError, Word, Words, seconds};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// A directive with its arguments; names are in wire form.
pub(super) enum Directive {
    Origin(Vec<u8>),
    Ttl(u32),
    /// A file, and its origin if the directive states one.
    Include(PathBuf, Option<Vec<u8>>),
    Generate(Template),
}

impl Directive {
    /// Parses the directive that begins with `first` and goes on with `words`.
    pub(super) fn parse(first: &Word<'_>, words: &mut Words<'_, '_>) -> Result<Self, ParseError> {
        let mut name = Vec::new();
        if first.is("$ORIGIN") {
            words.subject = "$ORIGIN";
            words.name("a domain name", &mut name)?;
            words.end()?;
            Ok(Self::Origin(name))
        } else if first.is("$TTL") {
            words.subject = "$TTL";
            let word = words.plain("a TTL")?;
            let time = seconds(word.raw);
            let time = time.ok_or_else(|| words.unexpected(&word, "a TTL, in seconds or as in 1h30m"))?;
            let ttl = ttl::checked(time).ok_or_else(|| words.refuse(&word, ttl::TOO_LONG))?;
            words.end()?;
            Ok(Self::Ttl(ttl))
        } else if first.is("$INCLUDE") {
            words.subject = "$INCLUDE";
            let word = words.any("the name of a file")?;
            let mut path = Vec::new();
            words.decode(&word, &mut path)?;
            if path.is_empty() {
                return Err(words.unexpected(&word, "the name of a file"));
            }
            let has_origin = words.has_more()?;
            if has_origin {
                words.name("an origin", &mut name)?;
            }
            words.end()?;
            Ok(Self::Include(OsStr::from_bytes(&path).into(), has_origin.then_some(name)))
        } else if first.is("$GENERATE") {
            words.subject = "$GENERATE";
            Template::parse(words).map(Self::Generate)
        } else {
            let expected = "unknown directive: there are $ORIGIN, $TTL, $INCLUDE and $GENERATE";
            Err(words.refuse(first, expected))
        }
    }
}
