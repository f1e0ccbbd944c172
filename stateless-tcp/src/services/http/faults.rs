//! What a client is told when its request cannot be served. Knows only the words.

use super::prepared::Prepared;

/// The errors that a request can be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not HTTP.
    Malformed,
    /// The request line has no version: HTTP/0.9.
    NoVersion,
    /// A version other than 1.0 and 1.1.
    Version,
    /// HTTP/1.1 without Host, or several, or an invalid one (RFC 9112 3.2).
    Host,
    /// The target is not a path, or is wrongly encoded.
    Target,
    /// No such page.
    NotFound,
    /// A method of RFC 9110 or RFC 5789 that files do not take.
    Method,
    /// The client wants another version of the page than there is (RFC 9110 15.5.13).
    Precondition,
    /// The page has nothing of the range that is asked for.
    Range,
    /// A request with a body.
    Body,
    /// A Content-Length or Transfer-Encoding that cannot be understood.
    BodyLength,
    /// The request line is too long.
    Line,
    /// The header section is too long, or has too many fields.
    Fields,
    /// A method that nobody knows.
    UnknownMethod,
    /// Relayed: a method that may do harm when it runs twice.
    Unsafe,
    /// Relayed: a method that is about the way to the server.
    Tunnel,
    /// Relayed: a body that would take the request beyond what can be put together.
    LargeBody,
    /// Relayed: a body whose length is not told beforehand.
    Coded,
    /// Relayed: Expect.
    Expectation,
    /// Relayed: as many requests are in flight as may be.
    Busy,
    /// Relayed: there is no room to keep the answer for as long as the client may lack a part of it.
    NoRoom,
}

impl Fault {
    /// All of them, in their order: the index into [`Faults`].
    pub(super) const ALL: [Self; 21] = [
        Self::Malformed,
        Self::NoVersion,
        Self::Version,
        Self::Host,
        Self::Target,
        Self::NotFound,
        Self::Method,
        Self::Precondition,
        Self::Range,
        Self::Body,
        Self::BodyLength,
        Self::Line,
        Self::Fields,
        Self::UnknownMethod,
        Self::Unsafe,
        Self::Tunnel,
        Self::LargeBody,
        Self::Coded,
        Self::Expectation,
        Self::Busy,
        Self::NoRoom,
    ];

    fn prepare(self) -> Prepared {
        let (status, text) = match self {
            Self::Malformed => ("400 Bad Request", "This is not an HTTP/1.x request.\n"),
            Self::NoVersion => {
                ("400 Bad Request", "HTTP/0.9 is not spoken here: the request line has no version.\n")
            }
            Self::Version => {
                ("505 HTTP Version Not Supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here.\n")
            }
            Self::Host => ("400 Bad Request", "The request needs exactly one Host field, and a valid one.\n"),
            Self::Target => ("400 Bad Request", "The request target is not a valid path.\n"),
            Self::NotFound => ("404 Not Found", "There is no such page here.\n"),
            Self::Method => ("405 Method Not Allowed", "Only GET and HEAD are allowed here.\n"),
            Self::Precondition => {
                ("412 Precondition Failed", "The page here is another version than the request wants.\n")
            }
            Self::Range => ("416 Range Not Satisfiable", "The page has nothing of this range.\n"),
            Self::Body => ("413 Content Too Large", "A request with a body is not accepted here.\n"),
            Self::BodyLength => (
                "400 Bad Request",
                "The length of the body cannot be told, and a body would not be accepted here.\n",
            ),
            Self::Line => ("414 URI Too Long", "The request line is longer than 8000 bytes.\n"),
            Self::Fields => (
                "431 Request Header Fields Too Large",
                "The request has more than 8192 bytes or more than 100 header fields.\n",
            ),
            Self::UnknownMethod => ("501 Not Implemented", "This method is not known here.\n"),
            Self::Unsafe => (
                "405 Method Not Allowed",
                "Only GET, HEAD and OPTIONS are relayed here: a request that is resent can run twice.\n",
            ),
            Self::Tunnel => ("405 Method Not Allowed", "CONNECT and TRACE are not relayed.\n"),
            Self::LargeBody => {
                ("413 Content Too Large", "A request, with its body, can have at most 8192 bytes here.\n")
            }
            Self::Coded => ("411 Length Required", "A body must come with a Content-Length here.\n"),
            Self::Expectation => {
                ("417 Expectation Failed", "Nothing can be expected here: send all of the request at once.\n")
            }
            Self::Busy => {
                ("503 Service Unavailable", "As many requests are in flight as may be: try again later.\n")
            }
            Self::NoRoom => {
                ("503 Service Unavailable", "There is no room to keep this answer: try again later.\n")
            }
        };
        let fields = match self {
            // RFC 9110 15.5.6: a 405 must say what is allowed.
            Self::Method => "Allow: GET, HEAD\r\n",
            Self::Unsafe => "Allow: GET, HEAD, OPTIONS\r\n",
            Self::Tunnel => "Allow: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE\r\n",
            Self::Busy | Self::NoRoom => "Retry-After: 1\r\n",
            _ => "",
        };
        Prepared::text(status, fields, text)
    }
}

/// The prepared answers, by [`Fault`].
pub(super) struct Faults([Prepared; Fault::ALL.len()]);

impl Faults {
    pub(super) fn new() -> Self {
        Self(Fault::ALL.map(Fault::prepare))
    }

    pub(super) fn of(&self, fault: Fault) -> &Prepared {
        &self.0[fault as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_stands_at_its_place() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index, "{fault:?}");
        }
    }
}
