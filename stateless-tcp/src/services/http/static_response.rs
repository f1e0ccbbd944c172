//! Static responses: whole messages in which only the date is filled in.
//!
//! Date is the first field after the status line and has a fixed width, so two answers to one request differ in their
//! first bytes only (`volatile` of [`Answered`](crate::services::Answered)). Knows nothing of requests and files.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

use crate::services::MAX_RESPONSE;

/// Bytes of an IMF-fixdate (RFC 9110 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_LEN: usize = 29;

/// A placeholder that no client takes for a date.
const UNFILLED: &[u8; DATE_LEN] = b"-----------------------------";

/// The last second of an IMF-fixdate: 9999-12-31 23:59:59.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// A response: status line, fields and body, without its date and its Connection field.
#[derive(Debug, Hash)]
pub(super) struct StaticResponse {
    head: Box<[u8]>,
    /// The end of the date's value.
    date_end: usize,
    body: Arc<[u8]>,
}

/// The last field of a response that closes the connection, and the end of the header section.
pub(super) const CLOSE: &[u8] = b"Connection: close\r\n\r\n";
/// The end of a line.
const LINE_END: &[u8] = b"\r\n";

/// The state of the connection behind a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It ends.
    #[default]
    Close,
    /// It stays open (RFC 9112 9.3).
    Persist,
    /// It stays open, and the response tells an HTTP/1.0 client so (RFC 9112 C.2.2).
    KeepAlive,
}

impl Persistence {
    /// The Connection field, if any, and the end of the header section.
    pub(super) const fn end(self) -> &'static [u8] {
        match self {
            Self::Close => CLOSE,
            Self::Persist => LINE_END,
            Self::KeepAlive => b"Connection: keep-alive\r\n\r\n",
        }
    }
}

/// The variant of a static response.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseForm {
    /// Without the body (RFC 9110 9.3.2).
    pub(super) head_only: bool,
    pub(super) persistence: Persistence,
}

impl StaticResponse {
    /// A response of `status` ("404 Not Found") with the header lines `fields` (each ended by CRLF) and `body`.
    ///
    /// Date comes first. The caller adds Content-Length, because a 304 has none (RFC 9110 8.6).
    pub(super) fn new(status: &str, fields: &str, body: impl Into<Arc<[u8]>>) -> Self {
        let mut head = Vec::with_capacity(status.len() + fields.len() + 64);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(status.as_bytes());
        head.extend_from_slice(b"\r\nDate: ");
        head.extend_from_slice(UNFILLED);
        let date_end = head.len();
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(fields.as_bytes());
        Self { head: head.into_boxed_slice(), date_end, body: body.into() }
    }

    /// A response whose body is a line of text.
    pub(super) fn text(status: &str, fields: &str, text: &str) -> Self {
        let described =
            format!("{fields}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", text.len());
        Self::new(status, &described, text.as_bytes())
    }

    /// The length of the whole response that closes the connection.
    pub(super) fn len(&self) -> usize {
        self.head.len() + CLOSE.len() + self.body.len()
    }

    /// Its memory in bytes, besides the body, which may be shared.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.head.len()
    }

    /// The unchanged response.
    pub(super) fn parts(&self) -> ResponseParts<'_> {
        ResponseParts { head: [&self.head, b"", b""], date_end: self.date_end, body: &self.body }
    }

    /// The response with `text` inserted behind the first `place` bytes of the fields.
    pub(super) fn with_text<'a>(&'a self, place: usize, text: &'a [u8]) -> ResponseParts<'a> {
        let (before, after) = self.head.split_at(self.fields_start() + place);
        ResponseParts { head: [before, text, after], date_end: self.date_end, body: &self.body }
    }

    /// The first `count` bytes of the fields.
    pub(super) fn fields(&self, count: usize) -> &[u8] {
        &self.head[self.fields_start()..][..count]
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn fields_start(&self) -> usize {
        self.date_end + LINE_END.len()
    }

    /// Appends the response in `form` with the date `now`; returns the length up to the date's end.
    pub(super) fn write(&self, form: ResponseForm, now: SystemTime, response: &mut Vec<u8>) -> usize {
        self.parts().write(form, now, response)
    }
}

/// A response in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseParts<'a> {
    /// Status line and fields; the date is in the first part.
    head: [&'a [u8]; 3],
    /// The end of the date's value.
    date_end: usize,
    body: &'a [u8],
}

impl<'a> ResponseParts<'a> {
    /// A partial response (RFC 9110 15.3.7) with these fields; `text` has Content-Range and Content-Length.
    pub(super) fn partial(fields: &'a [u8], text: &'a [u8], body: &'a [u8]) -> Self {
        const START: &[u8] = b"HTTP/1.1 206 Partial Content\r\nDate: -----------------------------\r\n";
        Self { head: [START, fields, text], date_end: START.len() - LINE_END.len(), body }
    }

    /// The length of the whole response in `form`, including the body even if it is not sent.
    pub(super) fn len(&self, form: ResponseForm) -> usize {
        self.head.iter().map(|partial| partial.len()).sum::<usize>()
            + form.persistence.end().len()
            + self.body.len()
    }

    /// Appends the response in `form` with the date `now`; returns the length up to the date's end.
    pub(super) fn write(&self, form: ResponseForm, now: SystemTime, response: &mut Vec<u8>) -> usize {
        let start = response.len();
        for partial in self.head {
            response.extend_from_slice(partial);
        }
        response.extend_from_slice(form.persistence.end());
        if !form.head_only {
            response.extend_from_slice(self.body);
        }
        let date = start + self.date_end - DATE_LEN;
        write_date(now, &mut response[date..date + DATE_LEN]);
        self.date_end
    }
}

/// Appends a 503 for a response of `wanted` bytes that exceeds `room`, or nothing if even the 503 does not fit. Returns
/// the length up to the date's end.
pub(super) fn write_too_large(
    wanted: u64,
    room: usize,
    head_only: bool,
    now: SystemTime,
    response: &mut Vec<u8>,
) -> usize {
    const HEAD: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nDate: ";

    let mut place = [0; 256];
    let text = if wanted > MAX_RESPONSE as u64 {
        write_text(
            &mut place,
            format_args!(
                "Too large: this answer has {wanted} bytes, and one answer can have at most {MAX_RESPONSE}.\n"
            ),
        )
    } else {
        write_text(
            &mut place,
            format_args!(
                "Too large for the window: this answer has {wanted} bytes, and your receive window has room for {room}.\n"
            ),
        )
    };
    let len = text.len();
    let mut place = [0; 160];
    let fields = write_text(
        &mut place,
        format_args!(
            "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
        ),
    );
    let body = if head_only { &[][..] } else { text };
    if HEAD.len() + DATE_LEN + fields.len() + body.len() > room {
        return 0;
    }
    response.extend_from_slice(HEAD);
    let date = response.len();
    response.extend_from_slice(UNFILLED);
    write_date(now, &mut response[date..]);
    response.extend_from_slice(fields);
    response.extend_from_slice(body);
    HEAD.len() + DATE_LEN
}

/// Writes `text` to `place`, which is large enough. It is on the stack, because a request allocates nothing.
pub(super) fn write_text<'a>(place: &'a mut [u8], text: fmt::Arguments<'_>) -> &'a [u8] {
    let mut rest = &mut *place;
    let capacity = rest.len();
    let written = rest.write_fmt(text);
    debug_assert!(written.is_ok(), "the text fits its place");
    let len = capacity - rest.len();
    &place[..len]
}

/// The date of `time` for a header field.
pub(super) fn http_date(time: SystemTime) -> HttpDate {
    // The conversion panics outside the years 1970 to 9999.
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    HttpDate::from(SystemTime::UNIX_EPOCH + since_epoch.min(LAST_SECOND))
}

fn write_date(now: SystemTime, mut place: &mut [u8]) {
    let written = write!(place, "{}", http_date(now));
    debug_assert!(written.is_ok() && place.is_empty(), "an IMF-fixdate has {DATE_LEN} bytes");
}
