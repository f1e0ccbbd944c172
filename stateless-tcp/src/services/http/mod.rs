//! The embedded HTTP/1.x service: files.
//!
//! All pages are loaded once and kept as whole responses in a map from decoded path to response. A request is a lookup
//! and a copy. It opens no file, so no path can leave the root.
//!
//! A connection that can stay open does (RFC 9112 9.3), until the client says `Persistence: close` or sends what cannot be
//! read: behind that no message is known to begin.
//! Knows nothing of TCP; see [`Service`].

mod coding;
mod conditions;
mod error_pages;
mod file;
mod load;
mod options;
mod page;
mod path;
mod range;
mod relay;
mod request;
mod static_response;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use self::error_pages::{ErrorPages, HttpError};
use self::file::{FileContent, ServedFile, TEXT};
use self::page::Page;
use self::request::{FileRequest, MAX_LINE, RequestError, RequestTarget};
use self::static_response::{Persistence, ResponseForm, ResponseParts};
use crate::fingerprint::Fingerprint;

use super::{Answered, Context, Framing, MAX_RESPONSE, Service, Unavailable};

pub use self::load::HttpRootError;
pub use self::options::FileOptions;
pub use self::relay::{HttpRelay, HttpRelayOptions};

/// Files served over HTTP.
pub struct Http {
    pages: HashMap<Box<[u8]>, Page, foldhash::fast::RandomState>,
    error_pages: ErrorPages,
}

impl Http {
    /// The built-in pages: `/`, `/robots.txt`, and `/20k.html` of exactly 20,000 bytes.
    #[must_use]
    pub fn builtin() -> Self {
        let mut http = Self::empty();
        let large = numbered_page(20_000);
        for (path, name, body) in [
            ("/", "index.html", include_str!("builtin/index.html")),
            ("/index.html", "index.html", include_str!("builtin/index.html")),
            ("/robots.txt", "robots.txt", include_str!("builtin/robots.txt")),
            ("/20k.html", "20k.html", large.as_str()),
        ] {
            let content =
                FileContent { body: body.as_bytes().into(), len: body.len() as u64, modified: None };
            let file = ServedFile::new(Path::new(name), content, Vec::new(), &FileOptions::default());
            http.pages.insert(path.as_bytes().into(), Page::File(Arc::new(file)));
        }
        http
    }

    /// Reads every file under `root`.
    ///
    /// Symbolic links to targets under `root` are followed. Other links, special files, unreadable files and files that
    /// are too large are skipped, and the log names them.
    ///
    /// # Errors
    /// When `root` is no readable directory, or its pages exceed the memory limit.
    pub fn load(root: &Path, options: &FileOptions) -> Result<Self, HttpRootError> {
        let mut http = Self::empty();
        let (pages, report) = load::pages(root, options, SystemTime::now(), load::MAX_MEMORY)?;
        report.log();
        http.pages = pages;
        Ok(http)
    }

    /// The number of paths with a page.
    #[must_use]
    pub fn paths(&self) -> usize {
        self.pages.len()
    }

    fn empty() -> Self {
        Self { pages: HashMap::default(), error_pages: ErrorPages::new() }
    }

    /// The response to a request; computed fields go to `text`. The error is the length of a response that is too
    /// large.
    fn choose<'a>(
        &'a self,
        parsed: &'a Result<FileRequest<'_>, RequestError>,
        head_only: bool,
        text: &'a mut [u8; TEXT],
    ) -> Result<ResponseParts<'a>, u64> {
        let found = match parsed {
            Ok(FileRequest { target, conditions, .. }) => {
                target.and_then(|target| self.find(target.path).map(|page| (page, target, conditions)))
            }
            Err(refusal) => Err(refusal.error()),
        };
        match found {
            Ok((Page::File(file), _, conditions)) => {
                file.parts(conditions, head_only, &self.error_pages, text)
            }
            Ok((Page::Redirect(moved), RequestTarget { query, .. }, _)) => {
                Ok(moved.parts.with_text(moved.place_end, query))
            }
            Err(error) => Ok(self.error_pages.get(error).parts()),
        }
    }

    fn find(&self, path: &[u8]) -> Result<&Page, HttpError> {
        let page = if path::is_normal(path) {
            self.pages.get(path)
        } else {
            let mut place = [0; MAX_LINE];
            self.pages.get(path::normalise(path, &mut place)?)
        };
        page.ok_or(HttpError::NotFound)
    }
}

impl Service for Http {
    fn frame(&self, stream: &[u8]) -> Framing {
        match request::parse(stream) {
            Ok(request) => Framing::Message(request.len),
            Err(RequestError::Incomplete) => Framing::Incomplete,
            // The end of such a message is unknown, so the connection ends with its answer.
            Err(RequestError::Invalid(_)) => Framing::Message(stream.len()),
        }
    }

    fn starts_message(&self, stream: &[u8]) -> bool {
        request::starts_message(stream)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::of_set(self.pages.iter().map(|(path, page)| match page {
            Page::File(file) => Fingerprint::new(&(path, file)),
            Page::Redirect(moved) => Fingerprint::new(&(path, moved)),
        })))
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let room = context.room.min(MAX_RESPONSE);
        let head_only = request::is_head(message);
        let parsed = request::parse(message);
        let persistence = match &parsed {
            Ok(request) if context.persistent => request.persistence,
            _ => Persistence::Close,
        };
        let form = ResponseForm { head_only, persistence };
        let mut text = [0; TEXT];
        let chosen = self.choose(&parsed, head_only, &mut text);
        // RFC 9110 9.3.2: HEAD is answered like GET, so the body counts although it is not sent.
        let wanted = chosen.as_ref().map_or_else(|wanted| *wanted, |parts| parts.len(form) as u64);
        let Some(parts) = chosen.ok().filter(|_| wanted <= room as u64) else {
            let volatile = static_response::write_too_large(wanted, room, head_only, context.now, response);
            return Ok(Answered { volatile, last: true });
        };
        let volatile = parts.write(form, context.now, response);
        Ok(Answered { volatile, last: persistence == Persistence::Close })
    }
}

/// A page of exactly `len` bytes in numbered lines, which reveal a lost, doubled or displaced piece.
fn numbered_page(len: usize) -> String {
    const START: &str = "<!doctype html>\n<title>A large page</title>\n<pre>\n";
    const END: &str = "</pre>\n";
    let mut page = String::from(START);
    let mut number = 1;
    while page.len() + END.len() < len {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "line {number:4} of a page that takes more than one segment to send");
        number += 1;
    }
    page.truncate(len - END.len() - 1);
    page.push('\n');
    page.push_str(END);
    page
}
