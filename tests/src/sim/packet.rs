//! A segment on its way, without the bytes of headers.

use stateless_tcp_core::tcp::segment::{Flags, Timestamps};

/// Microseconds of virtual time.
pub type Micros = u64;
/// A place in a stream, relative to its initial sequence number: SYN is at 0, the first byte at 1.
pub type Position = i64;

/// A segment of either side.
#[derive(Clone, Debug)]
pub struct SimSegment {
    /// Its direction.
    pub to_server: bool,
    /// The client's port, which tells its connections apart.
    pub port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND.
    pub window: u16,
    /// MSS option.
    pub mss: Option<u16>,
    /// Timestamps option.
    pub timestamps: Option<Timestamps>,
    /// The client's payload, which is a part of all that its application ever writes.
    pub from: usize,
    /// Bytes of payload.
    pub length: u16,
    /// The server's payload.
    pub bytes: Vec<u8>,
    /// The content that a SYN,ACK begins a connection with.
    pub generation: u8,
}

impl SimSegment {
    /// A SYN.
    pub fn syn(port: u16, seq: u32, mss: u16, timestamps: Option<Timestamps>) -> Self {
        Self {
            to_server: true,
            port,
            seq,
            ack: 0,
            flags: Flags::SYN,
            window: u16::MAX,
            mss: Some(mss),
            timestamps,
            from: 0,
            length: 0,
            bytes: Vec::new(),
            generation: 0,
        }
    }

    /// Whether all of `flags` are set.
    pub fn is(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }
}

/// The place of `number` in the stream that begins at `initial`.
pub fn position(number: u32, initial: u32) -> Position {
    Position::from(number.wrapping_sub(initial).cast_signed())
}

/// The sequence number of a place.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sequence numbers are places modulo 2^32"
)]
pub fn number(position: Position, initial: u32) -> u32 {
    initial.wrapping_add(position as u32)
}
