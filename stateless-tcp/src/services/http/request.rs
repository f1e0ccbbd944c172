//! What a request asks for: its head parsed and checked once. Knows nothing of answers.

use std::mem::MaybeUninit;

use super::conditions::Conditions;
use super::faults::Fault;
use super::prepared::Connection;
use httparse::{Error, Header, Status};

/// Most octets of a request line; RFC 9112 3 recommends to support at least this many.
pub(super) const MAX_LINE: usize = 8_000;
/// Most octets of a request's head, request line included.
pub(super) const MAX_HEAD: usize = 8_192;
/// Most header fields of a request.
pub(super) const MAX_FIELDS: usize = 100;

/// A well-formed request for a file, whose end is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Octets of the head, the blank line included.
    pub(super) len: usize,
    /// What it asks for; or why there is no page to look for.
    pub(super) target: Result<Target<'a>, Fault>,
    /// When the client wants the file at all (RFC 9110 13).
    pub(super) conditions: Conditions<'a>,
    /// What the client expects of the connection.
    pub(super) connection: Connection,
}

/// What names a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Percent-encoded as it came.
    pub(super) path: &'a [u8],
    /// The query, from its "?" on; empty where there is none, or nothing in it.
    pub(super) query: &'a [u8],
}

/// Why there is no request to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The head is not complete.
    Incomplete,
    /// It is an error, whatever may follow, and where it ends is unknown or not to be believed.
    Fault(Fault),
}

impl Refusal {
    /// What is wrong with all that there is of the request.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Incomplete => Fault::Malformed,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads the request for a file at the front of `stream`.
pub(super) fn parse(stream: &[u8]) -> Result<Request<'_>, Refusal> {
    read(stream, |len, head| check(&stream[..len], head))
}

/// Reads the head at the front of `stream`; `check` is told how many octets it has.
#[inline]
pub(super) fn read<'a, T>(
    stream: &'a [u8],
    check: impl FnOnce(usize, &httparse::Request<'_, 'a>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    // `parse_with_uninit_headers`: clearing all fields would cost more than parsing the usual five.
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let outcome = head.parse_with_uninit_headers(stream, &mut fields);
    let line = line_len(stream);
    match outcome {
        Ok(_) if line > MAX_LINE => Err(Fault::Line.into()),
        Ok(Status::Partial) if stream.len() > MAX_HEAD => Err(Fault::Fields.into()),
        Ok(Status::Partial) => Err(Refusal::Incomplete),
        Ok(Status::Complete(len)) if len > MAX_HEAD => Err(Fault::Fields.into()),
        Ok(Status::Complete(len)) => check(len, &head),
        Err(Error::TooManyHeaders) => Err(Fault::Fields.into()),
        Err(Error::Version | Error::Token) => Err(bad_line(stream).into()),
        Err(_) => Err(Fault::Malformed.into()),
    }
}

/// Whether `stream` begins as a request of a known method does.
pub(super) fn begins(stream: &[u8]) -> bool {
    let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH "];
    let line = after_empty_lines(stream);
    methods.iter().any(|method| line.starts_with(method.as_bytes()))
}

/// Whether only a header section may answer `message`, even if all else about it is wrong (RFC 9110 9.3.2).
pub(super) fn is_head(message: &[u8]) -> bool {
    after_empty_lines(message).starts_with(b"HEAD ")
}

/// What the fields say, once the syntax is right.
fn check<'a>(octets: &'a [u8], head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Refusal> {
    let fields = Fields::read(head)?;
    let conditions = Conditions::read(octets, head);
    let target = match head.method {
        Some("GET" | "HEAD") => head.path.map(str::as_bytes).and_then(target_of).ok_or(Fault::Target),
        Some("POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => Err(Fault::Method),
        _ => return Err(Fault::UnknownMethod.into()),
    };
    // A body's octets are not looked for: the connection ends.
    match (fields.body, target) {
        (Body::None, _) => {}
        (_, Err(Fault::Method)) => return Err(Fault::Method.into()),
        (Body::Length(_) | Body::Coded, _) => return Err(Fault::Body.into()),
        (Body::Unclear, _) => return Err(Fault::BodyLength.into()),
    }
    let connection = fields.connection(head.version);
    Ok(Request { len: octets.len(), target, conditions, connection })
}

/// Path and query of a target in origin-form or absolute-form (RFC 9112 3.2.1, 3.2.2).
fn target_of(target: &[u8]) -> Option<Target<'_>> {
    let (_, path) = split_target(target)?;
    let (path, query) = path.split_at(path.iter().position(|octet| *octet == b'?').unwrap_or(path.len()));
    // RFC 9110 4.2.3: an empty path means "/".
    let path = if path.is_empty() { b"/" } else { path };
    Some(Target { path, query: if query == b"?" { b"" } else { query } })
}

/// The authority of a target in absolute-form, and the path and query of one in either form; the path may be empty.
pub(super) fn split_target(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    // RFC 3986: neither a fragment nor an octet beyond ASCII stands in a request target.
    if target.iter().any(|octet| *octet == b'#' || !octet.is_ascii()) {
        return None;
    }
    if target.first() == Some(&b'/') {
        return Some((None, target));
    }

    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|octet| matches!(octet, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    (!authority.is_empty() && is_host(authority)).then_some((Some(authority), path))
}

/// `uri-host [ ":" port ]` as far as its characters go (RFC 3986 3.2.2); it may be empty (RFC 9112 3.2).
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(octet))
}

/// The fault of a request line that httparse refuses.
fn bad_line(stream: &[u8]) -> Fault {
    let line = line_of(stream);
    let mut words = line.split(|octet| *octet == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version = words.next().unwrap_or_default();
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return Fault::Malformed;
    }
    match version {
        [b'H', b'T', b'T', b'P', b'/', digit, ..] if digit.is_ascii_digit() => Fault::Version,
        [] | b"\r" if target.first() == Some(&b'/') => Fault::NoVersion,
        _ => Fault::Malformed,
    }
}

/// The request line, without its end.
fn line_of(stream: &[u8]) -> &[u8] {
    let line = after_empty_lines(stream).split(|octet| *octet == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// RFC 9112 2.2 allows empty lines before the request line.
fn after_empty_lines(stream: &[u8]) -> &[u8] {
    let start = stream.iter().position(|octet| !matches!(octet, b'\r' | b'\n')).unwrap_or(stream.len());
    &stream[start..]
}

fn line_len(stream: &[u8]) -> usize {
    // Short streams, that is all but a few, need no search.
    if stream.len() > MAX_LINE { line_of(stream).len() } else { 0 }
}

/// The header fields that matter here.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "what fields say, each for itself")]
pub(super) struct Fields {
    hosts: usize,
    bad_host: bool,
    lengths: usize,
    pub(super) body: Body,
    close: bool,
    keep_alive: bool,
    pub(super) expects: bool,
}

/// What the fields say of a body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    #[default]
    None,
    /// It has so many octets, at least 1.
    Length(u64),
    /// Its coding tells where it ends.
    Coded,
    /// Nobody can tell where it ends.
    Unclear,
}

impl Fields {
    pub(super) fn read(head: &httparse::Request<'_, '_>) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for header in &*head.headers {
            fields.add(header);
        }
        // RFC 9112 3.2: exactly one Host in HTTP/1.1, and never several or one that is no host.
        if fields.hosts > 1 || (fields.hosts == 0 && head.version == Some(1)) || fields.bad_host {
            return Err(Fault::Host);
        }
        Ok(fields)
    }

    /// What the client expects of the connection (RFC 9112 9.3), which in HTTP/1.0 ends unless it says otherwise.
    pub(super) fn connection(&self, version: Option<u8>) -> Connection {
        match version {
            _ if self.close => Connection::Close,
            Some(1) => Connection::Persist,
            _ if self.keep_alive => Connection::KeepAlive,
            _ => Connection::Close,
        }
    }

    fn add(&mut self, header: &Header<'_>) {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            self.hosts += 1;
            self.bad_host |= !is_host(header.value);
        } else if is("content-length") {
            self.lengths += 1;
            // RFC 9112 6.3: several lengths, or one that is none, are an attempt to smuggle a request.
            self.body = match length(header.value) {
                _ if self.lengths > 1 => Body::Unclear,
                None => Body::Unclear,
                Some(0) => Body::None,
                Some(length) => Body::Length(length),
            };
        } else if is("transfer-encoding") {
            self.lengths += 1;
            // RFC 9112 6.1: with a Content-Length beside it, likewise.
            self.body = if self.lengths > 1 { Body::Unclear } else { Body::Coded };
        } else if is("connection") {
            // RFC 9110 7.6.1: a list of options, in any case; the field may stand several times.
            for option in header.value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("expect") {
            self.expects = true;
        }
    }
}

/// A number of octets; one too large to be counted is large all the same.
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(value).ok()?.parse().ok()).map(|number| number.unwrap_or(u64::MAX))
}
