//! Frames in plain memory, of which none can get lost unnoticed.

use std::collections::BTreeSet;

use stateless_tcp::dataplane::responder::Frames;
use stateless_tcp_core::wire::MAX_HEADERS;

/// Payload of the largest segment that any rule sends.
pub const LARGEST_PAYLOAD: usize = 1220;

/// The content of a frame before anything is written: a reply that leaves a hole shows it.
const STALE: u8 = 0xa5;

/// A frame. Only its pool makes one, and each has a number of its own.
#[derive(Debug)]
pub struct Frame {
    number: usize,
    bytes: Vec<u8>,
}

/// A pool from which so many frames can be taken.
#[derive(Debug)]
pub struct Pool {
    free: usize,
    made: usize,
    out: BTreeSet<usize>,
    /// The frames sent, in order.
    pub sent: Vec<Vec<u8>>,
}

impl Pool {
    /// A pool with `free` frames.
    pub fn new(free: usize) -> Self {
        Self { free, made: 0, out: BTreeSet::new(), sent: Vec::new() }
    }

    /// A frame that holds what was received. It has the least room that the responder may count on.
    pub fn receive(&mut self, received: &[u8]) -> Frame {
        let mut frame = self.make();
        frame.bytes.resize(received.len().max(MAX_HEADERS + LARGEST_PAYLOAD), STALE);
        frame.bytes[..received.len()].copy_from_slice(received);
        frame
    }

    /// Asserts that whoever took a frame, or was given one, has sent or released it.
    pub fn assert_conserved(&self) {
        assert!(
            self.out.is_empty(),
            "of {} frames, {:?} were neither sent nor released",
            self.made,
            self.out
        );
    }

    fn make(&mut self) -> Frame {
        let number = self.made;
        self.made += 1;
        self.out.insert(number);
        Frame { number, bytes: vec![STALE; MAX_HEADERS + LARGEST_PAYLOAD] }
    }

    fn put_back(&mut self, frame: &Frame) {
        assert!(self.out.remove(&frame.number), "frame {} is of another pool", frame.number);
    }
}

impl Frames for Pool {
    type Frame = Frame;

    fn octets<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        &mut frame.bytes
    }

    fn take(&mut self) -> Option<Frame> {
        self.free = self.free.checked_sub(1)?;
        Some(self.make())
    }

    fn send(&mut self, frame: Frame, length: usize) {
        self.put_back(&frame);
        self.sent.push(frame.bytes[..length].to_vec());
    }

    fn release(&mut self, frame: Frame) {
        self.put_back(&frame);
    }
}
