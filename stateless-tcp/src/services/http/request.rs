//! What a request asks for: its head parsed and checked once. Knows nothing of answers.

use std::mem::MaybeUninit;

use super::conditions::Conditions;
use super::error_pages::HttpError;
use super::static_response::Persistence;
use httparse::{Error, Header, Status};

/// Most octets of a request line; RFC 9112 3 recommends to support at least this many.
pub(super) const MAX_LINE: usize = 8_000;
/// Most octets of a request's head, request line included.
pub(super) const MAX_HEAD: usize = 8_192;
/// Most header fields of a request.
pub(super) const MAX_FIELDS: usize = 100;

/// A well-formed request for a file, whose end is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileRequest<'a> {
    /// Octets of the head, the blank line included.
    pub(super) len: usize,
    /// What it asks for; or why there is no page to look for.
    pub(super) target: Result<RequestTarget<'a>, HttpError>,
    /// When the client wants the file at all (RFC 9110 13).
    pub(super) conditions: Conditions<'a>,
    /// What the client expects of the connection.
    pub(super) persistence: Persistence,
}

/// What names a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestTarget<'a> {
    /// Percent-encoded as it came.
    pub(super) path: &'a [u8],
    /// The query, from its "?" on; empty where there is none, or nothing in it.
    pub(super) query: &'a [u8],
}

/// Why there is no request to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// The head is not complete.
    Incomplete,
    /// It is an error, whatever may follow, and where it ends is unknown or not to be believed.
    Invalid(HttpError),
}

impl RequestError {
    /// What is wrong with all that there is of the request.
    pub(super) fn error(self) -> HttpError {
        match self {
            Self::Invalid(error) => error,
            Self::Incomplete => HttpError::Malformed,
        }
    }
}

impl From<HttpError> for RequestError {
    fn from(error: HttpError) -> Self {
        Self::Invalid(error)
    }
}

/// Reads the request for a file at the front of `stream`.
pub(super) fn parse(stream: &[u8]) -> Result<FileRequest<'_>, RequestError> {
    read(stream, |len, head| check(&stream[..len], head))
}

/// Reads the head at the front of `stream`; `check` is told how many octets it has.
#[inline]
pub(super) fn read<'a, T>(
    stream: &'a [u8],
    check: impl FnOnce(usize, &httparse::Request<'_, 'a>) -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    // `parse_with_uninit_headers`: clearing all fields would cost more than parsing the usual five.
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let outcome = head.parse_with_uninit_headers(stream, &mut fields);
    let line = line_len(stream);
    match outcome {
        Ok(_) if line > MAX_LINE => Err(HttpError::RequestLineTooLong.into()),
        Ok(Status::Partial) if stream.len() > MAX_HEAD => Err(HttpError::HeaderTooLarge.into()),
        Ok(Status::Partial) => Err(RequestError::Incomplete),
        Ok(Status::Complete(len)) if len > MAX_HEAD => Err(HttpError::HeaderTooLarge.into()),
        Ok(Status::Complete(len)) => check(len, &head),
        Err(Error::TooManyHeaders) => Err(HttpError::HeaderTooLarge.into()),
        Err(Error::Version | Error::Token) => Err(bad_line(stream).into()),
        Err(_) => Err(HttpError::Malformed.into()),
    }
}

/// Whether `stream` begins as a request of a known method does.
pub(super) fn starts_message(stream: &[u8]) -> bool {
    let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH "];
    let line = after_empty_lines(stream);
    methods.iter().any(|method| line.starts_with(method.as_bytes()))
}

/// Whether only a header section may answer `message`, even if all else about it is wrong (RFC 9110 9.3.2).
pub(super) fn is_head(message: &[u8]) -> bool {
    after_empty_lines(message).starts_with(b"HEAD ")
}

/// What the fields say, once the syntax is right.
fn check<'a>(bytes: &'a [u8], head: &httparse::Request<'_, 'a>) -> Result<FileRequest<'a>, RequestError> {
    let fields = RequestFields::read(head)?;
    let conditions = Conditions::read(bytes, head);
    let target = match head.method {
        Some("GET" | "HEAD") => {
            head.path.map(str::as_bytes).and_then(parse_target).ok_or(HttpError::BadTarget)
        }
        Some("POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH") => {
            Err(HttpError::MethodNotAllowed)
        }
        _ => return Err(HttpError::UnknownMethod.into()),
    };
    // A body's octets are not looked for: the connection ends.
    match (fields.body, target) {
        (BodyFraming::None, _) => {}
        (_, Err(HttpError::MethodNotAllowed)) => return Err(HttpError::MethodNotAllowed.into()),
        (BodyFraming::Length(_) | BodyFraming::Coded, _) => return Err(HttpError::BodyNotAllowed.into()),
        (BodyFraming::Unclear, _) => return Err(HttpError::BadBodyLength.into()),
    }
    let persistence = fields.persistence(head.version);
    Ok(FileRequest { len: bytes.len(), target, conditions, persistence })
}

/// Path and query of a target in origin-form or absolute-form (RFC 9112 3.2.1, 3.2.2).
fn parse_target(target: &[u8]) -> Option<RequestTarget<'_>> {
    let (_, path) = split_target(target)?;
    let (path, query) = path.split_at(path.iter().position(|byte| *byte == b'?').unwrap_or(path.len()));
    // RFC 9110 4.2.3: an empty path means "/".
    let path = if path.is_empty() { b"/" } else { path };
    Some(RequestTarget { path, query: if query == b"?" { b"" } else { query } })
}

/// The authority of a target in absolute-form, and the path and query of one in either form; the path may be empty.
pub(super) fn split_target(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    // RFC 3986: neither a fragment nor an octet beyond ASCII stands in a request target.
    if target.iter().any(|byte| *byte == b'#' || !byte.is_ascii()) {
        return None;
    }
    if target.first() == Some(&b'/') {
        return Some((None, target));
    }

    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    (!authority.is_empty() && is_host(authority)).then_some((Some(authority), path))
}

/// `uri-host [ ":" port ]` as far as its characters go (RFC 3986 3.2.2); it may be empty (RFC 9112 3.2).
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(byte))
}

/// The fault of a request line that httparse refuses.
fn bad_line(stream: &[u8]) -> HttpError {
    let line = request_line(stream);
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version = words.next().unwrap_or_default();
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return HttpError::Malformed;
    }
    match version {
        [b'H', b'T', b'T', b'P', b'/', digit, ..] if digit.is_ascii_digit() => HttpError::UnsupportedVersion,
        [] | b"\r" if target.first() == Some(&b'/') => HttpError::NoVersion,
        _ => HttpError::Malformed,
    }
}

/// The request line, without its end.
fn request_line(stream: &[u8]) -> &[u8] {
    let line = after_empty_lines(stream).split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// RFC 9112 2.2 allows empty lines before the request line.
fn after_empty_lines(stream: &[u8]) -> &[u8] {
    let start = stream.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(stream.len());
    &stream[start..]
}

fn line_len(stream: &[u8]) -> usize {
    // Short streams, that is all but a few, need no search.
    if stream.len() > MAX_LINE { request_line(stream).len() } else { 0 }
}

/// The header fields that matter here.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "what fields say, each for itself")]
pub(super) struct RequestFields {
    hosts: usize,
    bad_host: bool,
    lengths: usize,
    pub(super) body: BodyFraming,
    close: bool,
    keep_alive: bool,
    pub(super) expects: bool,
}

/// What the fields say of a body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BodyFraming {
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

impl RequestFields {
    pub(super) fn read(head: &httparse::Request<'_, '_>) -> Result<Self, HttpError> {
        let mut fields = Self::default();
        for header in &*head.headers {
            fields.add(header);
        }
        // RFC 9112 3.2: exactly one Host in HTTP/1.1, and never several or one that is no host.
        if fields.hosts > 1 || (fields.hosts == 0 && head.version == Some(1)) || fields.bad_host {
            return Err(HttpError::BadHost);
        }
        Ok(fields)
    }

    /// What the client expects of the connection (RFC 9112 9.3), which in HTTP/1.0 ends unless it says otherwise.
    pub(super) fn persistence(&self, version: Option<u8>) -> Persistence {
        match version {
            _ if self.close => Persistence::Close,
            Some(1) => Persistence::Persist,
            _ if self.keep_alive => Persistence::KeepAlive,
            _ => Persistence::Close,
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
                _ if self.lengths > 1 => BodyFraming::Unclear,
                None => BodyFraming::Unclear,
                Some(0) => BodyFraming::None,
                Some(length) => BodyFraming::Length(length),
            };
        } else if is("transfer-encoding") {
            self.lengths += 1;
            // RFC 9112 6.1: with a Content-Length beside it, likewise.
            self.body = if self.lengths > 1 { BodyFraming::Unclear } else { BodyFraming::Coded };
        } else if is("connection") {
            // RFC 9110 7.6.1: a list of options, in any case; the field may stand several times.
            for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
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
