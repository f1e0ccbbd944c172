//! Parses the requests that can be relayed.

use crate::services::http::error_pages::HttpError;
use crate::services::http::request::{self, BodyFraming, MAX_HEAD, RequestError, RequestFields};
use crate::services::http::static_response::Persistence;

/// A request that can be relayed: its lengths and its persistence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelayedRequest {
    /// Bytes of the head, including the blank line.
    pub(super) head: usize,
    /// Bytes of head and body.
    pub(super) len: usize,
    /// The client's wish for the connection.
    pub(super) persistence: Persistence,
}

/// Parses the request at the front of `stream`. Methods that are not safe (RFC 9110 9.2.1) and bodies need
/// `unsafe_methods`.
pub(super) fn read(stream: &[u8], unsafe_methods: bool) -> Result<RelayedRequest, RequestError> {
    request::read(stream, |head_len, head| {
        let fields = RequestFields::read(head)?;
        match head.method {
            Some("GET" | "HEAD" | "OPTIONS") => {}
            Some("CONNECT" | "TRACE") if unsafe_methods => return Err(HttpError::TunnelMethod.into()),
            Some("POST" | "PUT" | "DELETE" | "PATCH") if unsafe_methods => {}
            Some("POST" | "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE") => {
                return Err(HttpError::UnsafeMethod.into());
            }
            _ => return Err(HttpError::UnknownMethod.into()),
        }
        let target = head.path.unwrap_or_default().as_bytes();
        // RFC 9112 3.2.4: asterisk-form.
        let asterisk = target == b"*" && head.method == Some("OPTIONS");
        if !asterisk && request::split_target(target).is_none() {
            return Err(HttpError::BadTarget.into());
        }
        if fields.expects {
            return Err(HttpError::Expectation.into());
        }
        let body = match fields.body {
            BodyFraming::None => 0,
            BodyFraming::Unclear => return Err(HttpError::BadBodyLength.into()),
            BodyFraming::Length(_) | BodyFraming::Coded if !unsafe_methods => {
                return Err(HttpError::BodyNotAllowed.into());
            }
            BodyFraming::Coded => return Err(HttpError::LengthRequired.into()),
            BodyFraming::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
        };
        // Reassembly of several segments goes up to this length, head and body together.
        if body > MAX_HEAD.saturating_sub(head_len) {
            return Err(HttpError::BodyTooLarge.into());
        }
        let len = head_len + body;
        if stream.len() < len {
            return Err(RequestError::Incomplete);
        }
        Ok(RelayedRequest { head: head_len, len, persistence: fields.persistence(head.version) })
    })
}
