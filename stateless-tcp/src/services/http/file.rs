//! A served file: static responses, and the selection among them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sha1::{Digest as _, Sha1};

use super::coding::{self, ContentCoding};
use super::conditions::{Conditions, Precondition, Validators};
use super::error_pages::{ErrorPages, HttpError};
use super::options::FileOptions;
use super::range::{self, RequestedRange};
use super::static_response::{self, ResponseParts, StaticResponse, write_text};
use crate::services::MAX_RESPONSE;

/// Bytes of a file's hash in its entity tag: enough that different contents practically never share one.
const HASH: usize = 16;
/// Bytes of an entity tag: two hexadecimal digits per byte, in quotes.
const ETAG_LEN: usize = 2 * HASH + 2;

/// Buffer in bytes for the fields that one request computes.
pub(super) const TEXT: usize = 128;

/// The content of a file.
#[derive(Clone, Debug)]
pub(super) struct FileContent {
    /// The whole content; empty if it is too large.
    pub(super) body: Arc<[u8]>,
    /// The length of the whole content.
    pub(super) len: u64,
    /// Modification time in whole seconds, as in Last-Modified.
    pub(super) modified: Option<SystemTime>,
}

/// The responses to requests for a file.
#[derive(Debug, Hash)]
pub(super) struct ServedFile {
    /// The file itself, or the length of a response that would be too large.
    plain: Result<Representation, u64>,
    /// The compressed variants, the smallest first.
    coded: Box<[(ContentCoding, Representation)]>,
}

/// The file in one coding.
#[derive(Debug, Hash)]
struct Representation {
    found: StaticResponse,
    /// Bytes of the fields of `found` that a partial response shares.
    common: usize,
    not_modified: StaticResponse,
    etag: [u8; ETAG_LEN],
    modified: Option<SystemTime>,
}

impl ServedFile {
    /// A file with this name and content, and its compressed variants.
    pub(super) fn new(
        name: &Path,
        content: FileContent,
        coded: Vec<(ContentCoding, FileContent)>,
        options: &FileOptions,
    ) -> Self {
        let varies = !coded.is_empty();
        let represent = |coding, content: FileContent| {
            let unread = content.len - content.body.len() as u64;
            let file = Representation::new(name, coding, varies, content, options);
            let len = file.found.len() as u64 + unread;
            if len > MAX_RESPONSE as u64 { Err(len) } else { Ok(file) }
        };
        let mut coded: Vec<_> = coded
            .into_iter()
            .filter_map(|(coding, content)| Some((coding, represent(Some(coding), content).ok()?)))
            .collect();
        coded.sort_by_key(|(_, file)| file.found.body().len());
        Self { plain: represent(None, content), coded: coded.into() }
    }

    /// The length of the full uncompressed response, if it is too large to be sent.
    pub(super) fn too_large(&self) -> Option<u64> {
        self.plain.as_ref().err().copied()
    }

    /// Whether any representation can be sent.
    pub(super) fn is_served(&self) -> bool {
        self.plain.is_ok() || !self.coded.is_empty()
    }

    /// The response to a request with these conditions; computed fields go to `text`. The error is the length of a
    /// response that is too large.
    pub(super) fn parts<'a>(
        &'a self,
        conditions: &Conditions<'_>,
        head_only: bool,
        error_pages: &'a ErrorPages,
        text: &'a mut [u8; TEXT],
    ) -> Result<ResponseParts<'a>, u64> {
        let accepted = conditions.accept_encoding.as_ref().filter(|_| !self.coded.is_empty());
        let chosen =
            accepted.and_then(|list| coding::choose(list, self.coded.iter().map(|(coding, _)| *coding)));
        let file = match chosen {
            Some(chosen) => &self.coded[chosen].1,
            None => self.plain.as_ref().map_err(|len| *len)?,
        };
        let validators = Validators { etag: &file.etag, modified: file.modified };
        match conditions.evaluate(&validators) {
            Precondition::NotModified => return Ok(file.not_modified.parts()),
            Precondition::Failed => return Ok(error_pages.get(HttpError::PreconditionFailed).parts()),
            Precondition::Proceed => {}
        }
        // RFC 9110 14.2: ranges are for GET alone.
        let range = conditions.range(&validators).filter(|_| !head_only);
        let len = file.found.body().len();
        Ok(match range.map_or(RequestedRange::All, |range| range::requested(range, len)) {
            RequestedRange::All => file.found.parts(),
            RequestedRange::Part(first, last) => {
                let body = &file.found.body()[first..=last];
                let count = body.len();
                let lines =
                    format_args!("Content-Range: bytes {first}-{last}/{len}\r\nContent-Length: {count}\r\n");
                ResponseParts::partial(file.found.fields(file.common), write_text(text, lines), body)
            }
            RequestedRange::Nothing => {
                let line = write_text(text, format_args!("Content-Range: bytes */{len}\r\n"));
                error_pages.get(HttpError::RangeNotSatisfiable).with_text(0, line)
            }
        })
    }

    /// Its memory in bytes, besides the content's.
    pub(super) fn size(&self) -> usize {
        let coded = self.coded.iter().map(|(_, file)| file);
        size_of::<Self>() + self.plain.iter().chain(coded).map(Representation::size).sum::<usize>()
    }
}

impl Representation {
    fn new(
        name: &Path,
        coding: Option<ContentCoding>,
        varies: bool,
        content: FileContent,
        options: &FileOptions,
    ) -> Self {
        let FileContent { body, len, modified } = content;
        let etag = etag(&body, coding);
        let date = |time| format!("Last-Modified: {}\r\n", static_response::http_date(time));
        // The fields that a 304 has too (RFC 9110 15.4.5).
        let always = format!(
            "{}ETag: {}\r\n{}{}",
            modified.map(date).unwrap_or_default(),
            String::from_utf8_lossy(&etag),
            if varies { "Vary: Accept-Encoding\r\n" } else { "" },
            options.cache_control_field()
        );
        let coding =
            coding.map(|coding| format!("Content-Encoding: {}\r\n", coding.name())).unwrap_or_default();
        let common = format!("{always}Content-Type: {}\r\n{coding}", content_type(name));
        let fields = format!("{common}Accept-Ranges: bytes\r\nContent-Length: {len}\r\n");
        Self {
            found: StaticResponse::new("200 OK", &fields, body),
            common: common.len(),
            not_modified: StaticResponse::new("304 Not Modified", &always, []),
            etag,
            modified,
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.found.size() + self.not_modified.size()
    }
}

/// The entity tag of `content`: equal on every server and after every restart, and different for other content and
/// codings.
fn etag(content: &[u8], coding: Option<ContentCoding>) -> [u8; ETAG_LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hash = Sha1::new();
    hash.update(coding.map_or("", ContentCoding::name));
    hash.update(content);
    let mut etag = [b'"'; ETAG_LEN];
    for (digits, byte) in etag[1..].chunks_exact_mut(2).zip(hash.finalize().iter().take(HASH)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
    etag
}

/// The media type by file name; text is assumed to be UTF-8.
fn content_type(name: &Path) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    if guess.type_() == mime_guess::mime::TEXT && guess.get_param("charset").is_none() {
        format!("{guess}; charset=utf-8")
    } else {
        guess.to_string()
    }
}
