//! The content of a client's buffers.

use crate::sim::packet::{Micros, Position};

/// Bytes to be sent in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "what a kernel knows of a piece of its send buffer")]
pub(super) struct Chunk {
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) fin: bool,
    pub(super) sent: bool,
    pub(super) lost: bool,
    pub(super) sent_at: Micros,
    /// Writes that it was put together from.
    pub(super) pieces: usize,
    /// Takes no more of them.
    pub(super) full: bool,
}

impl Chunk {
    /// Nothing yet, at `at`.
    pub(super) fn empty(at: Position) -> Self {
        Self { from: at, to: at, fin: false, sent: false, lost: false, sent_at: 0, pieces: 0, full: false }
    }

    pub(super) fn length(&self) -> Position {
        self.to - self.from
    }

    /// Its number of segments.
    pub(super) fn segments(&self, mss: Position) -> usize {
        usize::try_from((self.length() + mss - 1) / mss).expect("not negative").max(1)
    }

    /// The place behind it, FIN's byte counted.
    pub(super) fn end(&self) -> Position {
        self.to + Position::from(self.fin)
    }
}

/// A segment that came too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: Position,
    pub(super) bytes: Vec<u8>,
    pub(super) fin: bool,
}

impl Piece {
    pub(super) fn end(&self) -> Position {
        self.at + Position::try_from(self.bytes.len()).expect("short") + Position::from(self.fin)
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.at <= other.at && other.end() <= self.end()
    }
}
