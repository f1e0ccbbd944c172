//! The embedded HTTP/1.x service: files.
//!
//! All pages are read when they are loaded and kept as whole responses in a map from decoded path to response. A request
//! is a lookup and a copy: it opens no file, so whatever its path looks like, no path can leave the root.
//!
//! A connection that can stay open does (RFC 9112 9.3), until the client says `Connection: close` or sends what cannot be
//! read: behind that no message is known to begin.
//! Knows nothing of TCP; see [`Service`].

mod coding;
mod conditions;
mod faults;
mod file;
mod load;
mod path;
mod prepared;
mod range;
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
use self::file::{Content, File, TEXT};
use self::prepared::{Answer, Connection, Form, Prepared};
use self::request::{MAX_LINE, Refusal, Request, Target};
use crate::fingerprint::Fingerprint;

use super::{Answered, Context, Framing, MAX_RESPONSE, Service, Unavailable};

pub use self::load::{FileOptions, HttpRootError};
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
    Moved(Arc<Moved>),
}

/// What sends the client elsewhere.
#[derive(Debug, Hash)]
struct Moved {
    answer: Prepared,
    /// Where in the fields the new place ends, which a query follows.
    place_end: usize,
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
            let content = Content { body: body.as_bytes().into(), len: body.len() as u64, modified: None };
            let file = File::new(Path::new(name), content, Vec::new(), &FileOptions::default());
            http.pages.insert(path.as_bytes().into(), Page::File(Arc::new(file)));
        }
        http
    }

    /// Reads every file under `root`.
    ///
    /// Symbolic links are followed where they lead to something under `root`. What cannot be served (links out of the
    /// root, special files, unreadable ones, files that are too large) is left out and named in the log.
    ///
    /// # Errors
    /// When `root` is not a directory that can be read, or holds more than fits the memory set aside for pages.
    pub fn load(root: &Path, options: &FileOptions) -> Result<Self, HttpRootError> {
        let mut http = Self::empty();
        let (pages, report) = load::pages(root, options, SystemTime::now(), load::MAX_MEMORY)?;
        report.log();
        http.pages = pages;
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

    /// The answer to a request, parts of which are written to `text`; or how many octets it would have, if it is not kept.
    fn choose<'a>(
        &'a self,
        parsed: &'a Result<Request<'_>, Refusal>,
        head_only: bool,
        text: &'a mut [u8; TEXT],
    ) -> Result<Answer<'a>, u64> {
        let found = match parsed {
            Ok(Request { target, conditions, .. }) => {
                target.and_then(|target| self.find(target.path).map(|page| (page, target, conditions)))
            }
            Err(refusal) => Err(refusal.fault()),
        };
        match found {
            Ok((Page::File(file), _, conditions)) => file.answer(conditions, head_only, &self.faults, text),
            Ok((Page::Moved(moved), Target { query, .. }, _)) => {
                Ok(moved.answer.with_text(moved.place_end, query))
            }
            Err(fault) => Ok(self.faults.of(fault).answer()),
        }
    }

    fn find(&self, path: &[u8]) -> Result<&Page, Fault> {
        let page = if path::is_plain(path) {
            self.pages.get(path)
        } else {
            let mut place = [0; MAX_LINE];
            self.pages.get(path::normalise(path, &mut place)?)
        };
        page.ok_or(Fault::NotFound)
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
        Some(Fingerprint::of_set(self.pages.iter().map(|(path, page)| match page {
            Page::File(file) => Fingerprint::new(&(path, file)),
            Page::Moved(moved) => Fingerprint::new(&(path, moved)),
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
        let connection = match &parsed {
            Ok(request) if context.persistent => request.connection,
            _ => Connection::Close,
        };
        let form = Form { head_only, connection };
        let mut text = [0; TEXT];
        let chosen = self.choose(&parsed, head_only, &mut text);
        // RFC 9110 9.3.2: HEAD is answered as GET would be, so the body counts although it is not sent.
        let wanted = chosen.as_ref().map_or_else(|wanted| *wanted, |answer| answer.len(form) as u64);
        let Some(answer) = chosen.ok().filter(|_| wanted <= room as u64) else {
            let volatile = prepared::write_too_large(wanted, room, head_only, context.now, response);
            return Ok(Answered { volatile, last: true });
        };
        let volatile = answer.write(form, context.now, response);
        Ok(Answered { volatile, last: connection == Connection::Close })
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
