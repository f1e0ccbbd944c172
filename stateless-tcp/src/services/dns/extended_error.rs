//! Extended DNS errors: the reason for a response code, in a code of its own (RFC 8914).

/// A reason that this server gives, by its code (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtendedError {
    /// The answer has expired, and no upstream gives a newer one.
    StaleAnswer = 3,
    /// There is no room for another query in flight.
    NotReady = 14,
    /// The client may not ask this.
    Prohibited = 18,
    /// As `StaleAnswer`, for a name that does not exist.
    StaleNxDomain = 19,
    /// No zone holds the name.
    NotAuthoritative = 20,
    /// The question is of a kind that this server does not answer.
    NotSupported = 21,
    /// No upstream has answered in time.
    NoReachableAuthority = 22,
    /// An upstream cannot be reached, or breaks off its answers.
    NetworkError = 23,
    /// The zone that holds the name cannot be loaded.
    InvalidData = 24,
}

impl ExtendedError {
    /// The data of the option: the code, without further text.
    pub(super) const fn data(self) -> [u8; 2] {
        (self as u16).to_be_bytes()
    }
}
