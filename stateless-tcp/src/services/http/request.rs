//! Parses and checks the head of a request. Knows nothing of responses.

use std::mem::MaybeUninit;

use super::conditions::Conditions;
use super::error_pages::HttpError;
use super::static_response::Persistence;
use httparse::{Error, Header, Status};

/// Longest request line in bytes, the minimum that RFC 9112 3 recommends.
pub(super) const MAX_LINE: usize = 8_000;
/// Longest request head in bytes, including the request line.
pub(super) const MAX_HEAD: usize = 8_192;
/// Limit on the header fields of a request.
pub(super) const MAX_FIELDS: usize = 100;

/// A well-formed request for a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileRequest<'a> {
    /// Bytes of the head, including the blank line.
    pub(super) len: usize,
    /// The target, or the error of a request without one.
    pub(super) target: Result<RequestTarget<'a>, HttpError>,
    /// The preconditions, range and codings (RFC 9110 13).
    pub(super) conditions: Conditions<'a>,
    /// The client's wish for the connection.
    pub(super) persistence: Persistence,
}

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestTarget<'a> {
    /// The raw path, percent-encoded.
    pub(super) path: &'a [u8],
    /// The query with its "?", or empty.
    pub(super) query: &'a [u8],
}

/// The reason why a message is no valid request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// The head is not complete.
    Incomplete,
    /// The request is invalid, and its end is unknown or unreliable.
    Invalid(HttpError),
}

impl RequestError {
    /// The error to answer with.
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

/// Parses the head at the front of `stream`; `check` gets its length and content.
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

/// Whether `stream` begins with a known method.
pub(super) fn starts_message(stream: &[u8]) -> bool {
    let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH "];
    let line = after_empty_lines(stream);
    methods.iter().any(|method| line.starts_with(method.as_bytes()))
}

/// Whether `message` is a HEAD request, so that its answer has no body even if it is an error (RFC 9110 9.3.2).
pub(super) fn is_head(message: &[u8]) -> bool {
    after_empty_lines(message).starts_with(b"HEAD ")
}

/// Checks a request whose syntax is right.
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
    // The bytes of a body are ignored: the connection ends.
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

/// Splits a target into its authority, in absolute-form, and its path and query; the path may be empty.
pub(super) fn split_target(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    // RFC 3986: neither a fragment nor a byte beyond ASCII stands in a request target.
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

/// The error of a request line that httparse rejects.
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
    // Only a long stream needs the search.
    if stream.len() > MAX_LINE { request_line(stream).len() } else { 0 }
}

/// The header fields that decide framing and persistence.
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

/// The framing of a body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// There is none.
    #[default]
    None,
    /// It has this many bytes, at least 1.
    Length(u64),
    /// Its transfer coding determines its end.
    Coded,
    /// Its end is undefined.
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

    /// The client's wish for the connection (RFC 9112 9.3): HTTP/1.0 closes it by default.
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
            // RFC 9112 6.3: several lengths, or an invalid one, are an attempt to smuggle a request.
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

/// Parses a number of bytes; an overflow counts as the largest number.
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(value).ok()?.parse().ok()).map(|number| number.unwrap_or(u64::MAX))
}
