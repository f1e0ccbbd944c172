//! Responses made ready beforehand: whole messages in which only the date is still to be filled in.
//!
//! Date is the first header after the status line and of fixed width, so that two answers to one request can differ in
//! their first octets only (`volatile` of [`Answered`](crate::service::Answered)). Knows nothing of requests and files.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

use crate::service::MAX_RESPONSE;

/// Octets of an IMF-fixdate (RFC 9110 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_LEN: usize = 29;

/// A date no client can take for one, should it ever go out unfilled.
const UNFILLED: &[u8; DATE_LEN] = b"-----------------------------";

/// The last second that an IMF-fixdate can name: 9999-12-31 23:59:59.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// A response: status line, headers and body, without its date and without what it says of the connection.
#[derive(Debug, Hash)]
pub(super) struct Prepared {
    head: Box<[u8]>,
    /// Where the date's value ends.
    date_end: usize,
    body: Arc<[u8]>,
}

/// The last field of an answer behind which the connection ends, and the end of the header section.
pub(super) const CLOSE: &[u8] = b"Connection: close\r\n\r\n";
/// The end of the header section of an answer behind which the connection stays open (RFC 9112 9.3).
const OPEN: &[u8] = b"\r\n";

/// How an answer differs from what is prepared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Without the body (RFC 9110 9.3.2).
    pub(super) head_only: bool,
    /// The connection stays open (RFC 9112 9.3).
    pub(super) persists: bool,
}

impl Form {
    /// The end of the header section.
    const fn end(self) -> &'static [u8] {
        if self.persists { OPEN } else { CLOSE }
    }
}

impl Prepared {
    /// A response of `status` ("404 Not Found") with the header lines `fields` (each ended by CRLF) and `body`.
    ///
    /// Date comes first; Content-Length is the caller's, as a 304 has none (RFC 9110 8.6).
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

    /// A response whose body is a line of text that says what happened.
    pub(super) fn text(status: &str, fields: &str, text: &str) -> Self {
        let described =
            format!("{fields}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", text.len());
        Self::new(status, &described, text.as_bytes())
    }

    /// Octets of the whole response behind which the connection ends, body included.
    pub(super) fn len(&self) -> usize {
        self.head.len() + CLOSE.len() + self.body.len()
    }

    /// Octets that it takes in memory besides its body, which it may share.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.head.len()
    }

    /// Appends the response in `form`, as sent at `now`; returns the octets up to the date's end.
    pub(super) fn write(&self, form: Form, now: SystemTime, response: &mut Vec<u8>) -> usize {
        let start = response.len();
        response.extend_from_slice(&self.head);
        response.extend_from_slice(form.end());
        if !form.head_only {
            response.extend_from_slice(&self.body);
        }
        let date = start + self.date_end - DATE_LEN;
        write_date(now, &mut response[date..date + DATE_LEN]);
        self.date_end
    }
}

/// Appends a 503 that explains why an answer of `wanted` octets cannot be sent into `room`; 0 octets when it has no room
/// itself. Returns the octets up to the date's end.
pub(super) fn write_too_large(
    wanted: u64,
    room: usize,
    head_only: bool,
    now: SystemTime,
    response: &mut Vec<u8>,
) -> usize {
    const HEAD: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nDate: ";

    // On the stack: a request allocates nothing.
    let mut text = [0; 256];
    let mut rest: &mut [u8] = &mut text;
    let capacity = rest.len();
    let written = if wanted > MAX_RESPONSE as u64 {
        writeln!(
            rest,
            "Too large: this answer has {wanted} octets, and one answer can have at most {MAX_RESPONSE}."
        )
    } else {
        writeln!(
            rest,
            "Too large for the window: this answer has {wanted} octets, and your receive window has room for {room}."
        )
    };
    let len = capacity - rest.len();
    debug_assert!(written.is_ok(), "the text fits its buffer");

    let mut fields = [0; 160];
    let mut rest: &mut [u8] = &mut fields;
    let capacity = rest.len();
    let written = write!(
        rest,
        "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    let fields_len = capacity - rest.len();
    debug_assert!(written.is_ok(), "the fields fit their buffer");

    let body = if head_only { &[][..] } else { &text[..len] };
    if HEAD.len() + DATE_LEN + fields_len + body.len() > room {
        return 0;
    }
    response.extend_from_slice(HEAD);
    let date = response.len();
    response.extend_from_slice(UNFILLED);
    write_date(now, &mut response[date..]);
    response.extend_from_slice(&fields[..fields_len]);
    response.extend_from_slice(body);
    HEAD.len() + DATE_LEN
}

/// The date of `time`, in whole seconds, as a header field's value.
pub(super) fn http_date(time: SystemTime) -> HttpDate {
    // Outside the years 1970 to 9999 the conversion would panic.
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    HttpDate::from(SystemTime::UNIX_EPOCH + since_epoch.min(LAST_SECOND))
}

fn write_date(now: SystemTime, mut place: &mut [u8]) {
    let written = write!(place, "{}", http_date(now));
    debug_assert!(written.is_ok() && place.is_empty(), "an IMF-fixdate has {DATE_LEN} octets");
}
