//! A file as it is served: answers made ready beforehand, and the choice among them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sha1::{Digest as _, Sha1};

use super::conditions::{Conditions, Validators, Verdict};
use super::faults::Fault;
use super::prepared::{self, Prepared};

/// Octets of a file's hash that its entity tag shows: two different contents have the same by chance only.
const HASH: usize = 16;
/// Octets of an entity tag: two hexadecimal digits an octet, in quotes.
const TAG: usize = 2 * HASH + 2;

/// The answers to requests for a file.
#[derive(Debug, Hash)]
pub(super) struct File {
    found: Prepared,
    not_modified: Prepared,
    tag: [u8; TAG],
    /// In whole seconds, as it stands in Last-Modified.
    modified: Option<SystemTime>,
}

impl File {
    /// A file of this name and content.
    pub(super) fn new(name: &Path, modified: Option<SystemTime>, body: Arc<[u8]>) -> Self {
        let tag = tag(&body);
        let date = |time| format!("Last-Modified: {}\r\n", prepared::http_date(time));
        let validators =
            format!("{}ETag: {}\r\n", modified.map(date).unwrap_or_default(), String::from_utf8_lossy(&tag));
        let fields =
            format!("{validators}Content-Type: {}\r\nContent-Length: {}\r\n", content_type(name), body.len());
        Self {
            found: Prepared::new("200 OK", &fields, body),
            not_modified: Prepared::new("304 Not Modified", &validators, []),
            tag,
            modified,
        }
    }

    /// The answer to a request with these conditions.
    pub(super) fn answer_to(&self, conditions: &Conditions<'_>) -> Result<&Prepared, Fault> {
        match conditions.judge(&Validators { tag: &self.tag, modified: self.modified }) {
            Verdict::Proceed => Ok(&self.found),
            Verdict::NotModified => Ok(&self.not_modified),
            Verdict::Failed => Err(Fault::Precondition),
        }
    }

    /// Octets of the answer that has all of the file.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Octets of memory, besides the content's.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.found.size() + self.not_modified.size()
    }
}

/// The entity tag of `content`: the same on every server and after every restart, and another for other content.
fn tag(content: &[u8]) -> [u8; TAG] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut tag = [b'"'; TAG];
    for (digits, octet) in tag[1..].chunks_exact_mut(2).zip(Sha1::digest(content).iter().take(HASH)) {
        digits[0] = DIGITS[usize::from(octet >> 4)];
        digits[1] = DIGITS[usize::from(octet & 0xf)];
    }
    tag
}

/// The type of a file by its name; text is taken to be UTF-8.
fn content_type(name: &Path) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    if guess.type_() == mime_guess::mime::TEXT && guess.get_param("charset").is_none() {
        format!("{guess}; charset=utf-8")
    } else {
        guess.to_string()
    }
}
