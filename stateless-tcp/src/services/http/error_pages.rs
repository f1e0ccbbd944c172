//! Error responses. This module knows only their texts.

use super::static_response::StaticResponse;

/// The errors of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpError {
    /// Not HTTP.
    Malformed,
    /// The request line has no version: HTTP/0.9.
    NoVersion,
    /// A version other than 1.0 and 1.1.
    UnsupportedVersion,
    /// HTTP/1.1 without Host, or several, or an invalid one (RFC 9112 3.2).
    BadHost,
    /// The target is no path, or its encoding is invalid.
    BadTarget,
    /// No such page.
    NotFound,
    /// A method of RFC 9110 or RFC 5789 that files do not support.
    MethodNotAllowed,
    /// The page has another version than the client requires (RFC 9110 15.5.13).
    PreconditionFailed,
    /// The page has nothing in the requested range.
    RangeNotSatisfiable,
    /// A request with a body.
    BodyNotAllowed,
    /// An invalid Content-Length or Transfer-Encoding.
    BadBodyLength,
    /// The request line is too long.
    RequestLineTooLong,
    /// The header section is too long, or has too many fields.
    HeaderTooLarge,
    /// An unknown method.
    UnknownMethod,
    /// Relay: a method that may do harm when it runs twice.
    UnsafeMethod,
    /// Relay: a method that concerns the path to the server.
    TunnelMethod,
    /// Relay: a body that makes the request larger than the reassembly limit.
    BodyTooLarge,
    /// Relay: a body without Content-Length.
    LengthRequired,
    /// Relay: the Expect field.
    Expectation,
    /// Relay: the limit on requests in flight is reached.
    TooManyInFlight,
    /// Relay: the retransmission store has no space for the answer.
    RetransmitStoreFull,
}

impl HttpError {
    /// All of them, in their order: the index into [`ErrorPages`].
    pub(super) const ALL: [Self; 21] = [
        Self::Malformed,
        Self::NoVersion,
        Self::UnsupportedVersion,
        Self::BadHost,
        Self::BadTarget,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::PreconditionFailed,
        Self::RangeNotSatisfiable,
        Self::BodyNotAllowed,
        Self::BadBodyLength,
        Self::RequestLineTooLong,
        Self::HeaderTooLarge,
        Self::UnknownMethod,
        Self::UnsafeMethod,
        Self::TunnelMethod,
        Self::BodyTooLarge,
        Self::LengthRequired,
        Self::Expectation,
        Self::TooManyInFlight,
        Self::RetransmitStoreFull,
    ];

    fn prepare(self) -> StaticResponse {
        let (status, text) = match self {
            Self::Malformed => ("400 Bad Request", "This is not an HTTP/1.x request.\n"),
            Self::NoVersion => {
                ("400 Bad Request", "HTTP/0.9 is not spoken here: the request line has no version.\n")
            }
            Self::UnsupportedVersion => {
                ("505 HTTP Version Not Supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here.\n")
            }
            Self::BadHost => {
                ("400 Bad Request", "The request needs exactly one Host field, and a valid one.\n")
            }
            Self::BadTarget => ("400 Bad Request", "The request target is not a valid path.\n"),
            Self::NotFound => ("404 Not Found", "There is no such page here.\n"),
            Self::MethodNotAllowed => ("405 Method Not Allowed", "Only GET and HEAD are allowed here.\n"),
            Self::PreconditionFailed => {
                ("412 Precondition Failed", "The page here is another version than the request wants.\n")
            }
            Self::RangeNotSatisfiable => {
                ("416 Range Not Satisfiable", "The page has nothing of this range.\n")
            }
            Self::BodyNotAllowed => {
                ("413 Content Too Large", "A request with a body is not accepted here.\n")
            }
            Self::BadBodyLength => (
                "400 Bad Request",
                "The length of the body cannot be told, and a body would not be accepted here.\n",
            ),
            Self::RequestLineTooLong => ("414 URI Too Long", "The request line is longer than 8000 bytes.\n"),
            Self::HeaderTooLarge => (
                "431 Request Header Fields Too Large",
                "The request has more than 8192 bytes or more than 100 header fields.\n",
            ),
            Self::UnknownMethod => ("501 Not Implemented", "This method is not known here.\n"),
            Self::UnsafeMethod => (
                "405 Method Not Allowed",
                "Only GET, HEAD and OPTIONS are relayed here: a request that is resent can run twice.\n",
            ),
            Self::TunnelMethod => ("405 Method Not Allowed", "CONNECT and TRACE are not relayed.\n"),
            Self::BodyTooLarge => {
                ("413 Content Too Large", "A request, with its body, can have at most 8192 bytes here.\n")
            }
            Self::LengthRequired => ("411 Length Required", "A body must come with a Content-Length here.\n"),
            Self::Expectation => {
                ("417 Expectation Failed", "Nothing can be expected here: send all of the request at once.\n")
            }
            Self::TooManyInFlight => {
                ("503 Service Unavailable", "As many requests are in flight as may be: try again later.\n")
            }
            Self::RetransmitStoreFull => {
                ("503 Service Unavailable", "There is no room to keep this answer: try again later.\n")
            }
        };
        let fields = match self {
            // RFC 9110 15.5.6: a 405 must say what is allowed.
            Self::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            Self::UnsafeMethod => "Allow: GET, HEAD, OPTIONS\r\n",
            Self::TunnelMethod => "Allow: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE\r\n",
            Self::TooManyInFlight | Self::RetransmitStoreFull => "Retry-After: 1\r\n",
            _ => "",
        };
        StaticResponse::text(status, fields, text)
    }
}

/// The static responses by [`HttpError`].
pub(super) struct ErrorPages([StaticResponse; HttpError::ALL.len()]);

impl ErrorPages {
    pub(super) fn new() -> Self {
        Self(HttpError::ALL.map(HttpError::prepare))
    }

    pub(super) fn get(&self, error: HttpError) -> &StaticResponse {
        &self.0[error as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_stands_at_its_place() {
        for (index, error) in HttpError::ALL.into_iter().enumerate() {
            assert_eq!(error as usize, index, "{error:?}");
        }
    }
}
