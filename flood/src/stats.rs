//! Statistics of the clients.

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

/// Why a client has no right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No SYN,ACK in time.
    NoSynAck,
    /// RST in answer to the SYN.
    Refused,
    /// No answer, or not all of it, in time.
    NoAnswer,
    /// RST in answer to the question.
    Reset,
    /// FIN before the end of the answer.
    Closed,
    /// An answer to another question.
    WrongId,
    /// An answer with a code that was not expected.
    WrongCode,
    /// No answer by its header, or more bytes than one.
    Malformed,
}

impl Failure {
    /// Every failure, by its index.
    pub const ALL: [Self; 8] = [
        Self::NoSynAck,
        Self::Refused,
        Self::NoAnswer,
        Self::Reset,
        Self::Closed,
        Self::WrongId,
        Self::WrongCode,
        Self::Malformed,
    ];

    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSynAck => "no_syn_ack",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::WrongId => "wrong_id",
            Self::WrongCode => "wrong_code",
            Self::Malformed => "malformed",
        }
    }
}

/// Counts, and latencies.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Clients that began.
    pub offered: u64,
    /// Of these, those that got a right answer.
    pub answered: u64,
    /// Those that did not, by [`Failure`].
    pub failed: [u64; Failure::ALL.len()],
    /// Whole answers, right or wrong, by code.
    pub codes: [u64; 16],
    /// Nanoseconds from the first SYN to the last byte of a right answer.
    pub latency: Histogram<u64>,
    /// Segments sent again.
    pub resent: u64,
    /// Clients that got their answer, but no FIN in time.
    pub unclosed: u64,
    /// Segments that fit no client's connection.
    pub stray: u64,
    /// Frames that were no whole segment, or had a wrong checksum.
    pub damaged: u64,
}

impl Stats {
    /// Nothing yet. Latencies are kept by three significant digits, up to `longest` nanoseconds.
    ///
    /// # Errors
    /// If `longest` is nothing.
    pub fn new(longest: u64) -> Result<Self> {
        let latency = Histogram::new_with_max(longest.max(2), 3).context("a range of latencies")?;
        Ok(Self {
            offered: 0,
            answered: 0,
            failed: [0; Failure::ALL.len()],
            codes: [0; 16],
            latency,
            resent: 0,
            unclosed: 0,
            stray: 0,
            damaged: 0,
        })
    }

    /// A right answer after so many nanoseconds.
    #[inline]
    pub fn answer(&mut self, latency: u64) {
        self.answered += 1;
        self.latency.saturating_record(latency);
    }

    /// None.
    #[inline]
    pub const fn fail(&mut self, failure: Failure) {
        self.failed[failure as usize] += 1;
    }
}
