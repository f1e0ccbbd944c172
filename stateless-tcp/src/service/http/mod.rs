//! The embedded HTTP/1.x service: files.
//!
//! All pages are read when they are loaded and kept as whole responses in a map from decoded path to response. A request
//! is a lookup and a copy: it opens no file, so whatever its path looks like, no path can leave the root.
//!
//! A connection that can stay open does (RFC 9112 9.3), until the client says `Connection: close` or sends what cannot be
//! read: behind that no message is known to begin.
//! Knows nothing of TCP; see [`Service`].

mod conditions;
mod faults;
mod file;
mod load;
mod prepared;
mod relay;
mod request;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use self::faults::{Fault, Faults};
use self::file::File;
use self::prepared::{Form, Prepared};
use self::request::{MAX_LINE, Refusal, Request};
use crate::fingerprint::Fingerprint;

use super::{Absent, Answered, Context, Framing, MAX_RESPONSE, Service};

pub use self::load::HttpRootError;
pub use self::relay::{Relay, RelayOptions};

/// Files served over HTTP.
pub struct Http {
    pages: HashMap<Box<[u8]>, Page, foldhash::fast::RandomState>,
    faults: Faults,
}

/// What a path leads to.
#[derive(Clone)]
enum Page {
    File(Arc<File>),
    /// A directory asked for without its final slash.
    Moved(Arc<Prepared>),
    /// A file whose response, of so many octets, is beyond [`MAX_RESPONSE`]: known, but not kept.
    TooLarge(u64),
}

impl Http {
    /// The built-in pages: `/`, `/robots.txt`, and `/20k.html` of exactly 20,000 octets.
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
            let file = File::new(Path::new(name), None, body.as_bytes().into());
            http.pages.insert(path.as_bytes().into(), Page::File(Arc::new(file)));
        }
        http
    }

    /// Reads every file under `root`.
    ///
    /// Symbolic links are followed where they lead to something under `root`. What cannot be served (links out of the
    /// root, special files, unreadable ones) is left out and named in the log.
    ///
    /// # Errors
    /// When `root` is not a directory that can be read, or holds more than fits the memory set aside for pages.
    pub fn load(root: &Path) -> Result<Self, HttpRootError> {
        let mut http = Self::empty();
        http.pages = load::pages(root, SystemTime::now(), load::MAX_MEMORY)?;
        Ok(http)
    }

    /// How many paths are answered with something else than 404.
    #[must_use]
    pub fn paths(&self) -> usize {
        self.pages.len()
    }

    fn empty() -> Self {
        Self { pages: HashMap::default(), faults: Faults::new() }
    }

    /// The answer to a request, unless it is not kept, and the octets it has.
    fn choose(&self, parsed: &Result<Request<'_>, Refusal>) -> (Option<&Prepared>, u64) {
        let found = match parsed {
            Ok(request) => request.path.and_then(|path| match self.find(path)? {
                Page::File(file) => file.answer_to(&request.conditions).map(Ok),
                Page::Moved(moved) => Ok(Ok(moved.as_ref())),
                Page::TooLarge(len) => Ok(Err(*len)),
            }),
            Err(refusal) => Err(refusal.fault()),
        };
        match found.unwrap_or_else(|fault| Ok(self.faults.of(fault))) {
            Ok(prepared) => (Some(prepared), prepared.len() as u64),
            Err(wanted) => (None, wanted),
        }
    }

    fn find(&self, path: &[u8]) -> Result<&Page, Fault> {
        let mut place;
        let decoded = if path.contains(&b'%') {
            place = [0; MAX_LINE];
            request::decode(path, &mut place).ok_or(Fault::Target)?
        } else {
            path
        };
        self.pages.get(decoded).ok_or(Fault::NotFound)
    }
}

impl Service for Http {
    fn frame(&self, stream: &[u8]) -> Framing {
        match request::parse(stream) {
            Ok(request) => Framing::Message(request.len),
            Err(Refusal::Incomplete) => Framing::Incomplete,
            // Where such a message would end nobody can tell; the connection ends with its answer.
            Err(Refusal::Fault(_)) => Framing::Message(stream.len()),
        }
    }

    fn begins(&self, stream: &[u8]) -> bool {
        request::begins(stream)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::of_all(self.pages.iter().map(|(path, page)| match page {
            Page::File(file) => Fingerprint::of(&(path, file)),
            Page::Moved(response) => Fingerprint::of(&(path, response)),
            Page::TooLarge(octets) => Fingerprint::of(&(path, octets)),
        })))
    }

    fn answer(&self, message: &[u8], context: &Context, response: &mut Vec<u8>) -> Result<Answered, Absent> {
        let room = context.room.min(MAX_RESPONSE);
        let head_only = request::is_head(message);
        let parsed = request::parse(message);
        let (found, wanted) = self.choose(&parsed);
        // RFC 9110 9.3.2: HEAD is answered as GET would be, so the body counts although it is not sent.
        let Some(prepared) = found.filter(|_| wanted <= room as u64) else {
            let volatile = prepared::write_too_large(wanted, room, head_only, context.now, response);
            return Ok(Answered { volatile, last: true });
        };
        let persists = context.persistent && parsed.is_ok_and(|request| request.persists);
        let volatile = prepared.write(Form { head_only, persists }, context.now, response);
        Ok(Answered { volatile, last: !persists })
    }
}

/// A page of exactly `len` octets in numbered lines, in which a lost, doubled or displaced piece shows.
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
