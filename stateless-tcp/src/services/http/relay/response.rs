//! A relayed response as the client gets it. Knows nothing of connections.

use super::rewrite::strip_hop_by_hop;
use crate::services::MAX_RESPONSE;
use crate::services::http::static_response::{CLOSE, Persistence, http_date};
use hyper::StatusCode;
use hyper::ext::ReasonPhrase;
use hyper::header;
use hyper::http::response::Parts;
use std::time::SystemTime;

/// Bytes of the longest Content-Length.
const LENGTH: usize = b"Content-Length: 65537\r\n".len();

/// Bytes of the longest Connection field.
const LONGEST_END: usize = Persistence::KeepAlive.end().len();

/// The head of a response whose body has not arrived.
#[derive(Debug)]
pub(super) struct ResponseHead {
    head: Vec<u8>,
    /// The response has no body.
    bodiless: bool,
}

/// A whole response without its Connection field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelayedResponse {
    /// Without the blank line.
    head: Vec<u8>,
    body: Vec<u8>,
}

impl ResponseHead {
    /// The head of an upstream's response, which arrived at `now`; `head_only` for a response to HEAD.
    pub(super) fn new(mut parts: Parts, head_only: bool, now: SystemTime) -> Self {
        strip_hop_by_hop(&mut parts.headers);
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        let reason = reason.or_else(|| parts.status.canonical_reason().map(str::as_bytes));
        let mut head = status_line(parts.status, reason.unwrap_or_default());
        // RFC 9110 6.6.1: a proxy adds a missing Date.
        if !parts.headers.contains_key(header::DATE) {
            put(&mut head, header::DATE.as_str(), http_date(now).to_string().as_bytes());
        }
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
            put(&mut head, name.as_str(), value.as_bytes());
        }
        // RFC 9110 8.6: 204 has no length, and the length in 304 is that of another response.
        let bodiless = head_only || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if let Some(length) = length.filter(|_| head_only) {
            put(&mut head, header::CONTENT_LENGTH.as_str(), length.as_bytes());
        }
        Self { head, bodiless }
    }

    /// Limit on the body in bytes.
    pub(super) fn room(&self) -> usize {
        MAX_RESPONSE.saturating_sub(self.head.len() + LENGTH + LONGEST_END)
    }

    /// The whole response.
    pub(super) fn end(mut self, body: Vec<u8>) -> RelayedResponse {
        if !self.bodiless {
            put(&mut self.head, header::CONTENT_LENGTH.as_str(), body.len().to_string().as_bytes());
        }
        RelayedResponse { head: self.head, body }
    }
}

impl RelayedResponse {
    /// A response that explains an error.
    pub(super) fn refusal(status: StatusCode, text: &str, head_only: bool, now: SystemTime) -> Self {
        let mut head = status_line(status, status.canonical_reason().unwrap_or_default().as_bytes());
        put(&mut head, "date", http_date(now).to_string().as_bytes());
        put(&mut head, "content-type", b"text/plain; charset=utf-8");
        put(&mut head, "content-length", (text.len() + 1).to_string().as_bytes());
        let body = if head_only { Vec::new() } else { format!("{text}\n").into_bytes() };
        Self { head, body }
    }

    /// The largest length of the whole response.
    pub(super) fn len(&self) -> usize {
        self.head.len() + LONGEST_END + self.body.len()
    }

    /// Appends the response with this Connection field.
    pub(super) fn write(&self, persistence: Persistence, response: &mut Vec<u8>) {
        response.extend_from_slice(&self.head);
        response.extend_from_slice(persistence.end());
        response.extend_from_slice(&self.body);
    }
}

/// Whether the head of `response` closes the connection.
pub(super) fn closes(response: &[u8]) -> bool {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |end| end + 4);
    response[..end].ends_with(CLOSE)
}

fn status_line(status: StatusCode, reason: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason, b"\r\n"].concat()
}

/// Appends a field with its name in title case: hyper has lowercase names only.
fn put(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut begins = true;
    for byte in name.bytes() {
        head.push(if begins { byte.to_ascii_uppercase() } else { byte });
        begins = byte == b'-';
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
