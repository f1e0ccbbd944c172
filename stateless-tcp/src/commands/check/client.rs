//! A TCP client that is not there: frames go in, frames come out. It is without timestamps, so nothing of it is left.

use super::question::Question;
use crate::observe::packet::Packet;
use crate::observe::tap::Direction;
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Flags, FourTuple};
use stateless_tcp_core::wire::{MAX_HEADERS, Reply};

/// What it takes at a time: all that a server sends for one request.
const WINDOW: u16 = u16::MAX;
const MSS: u16 = 1_220;

/// One connection, on which one thing is asked.
#[derive(Debug)]
pub(super) struct Client {
    tuple: FourTuple,
    way: Reply,
    isn: u32,
    /// Of the server, once that is heard of.
    iss: Option<u32>,
    question: Question,
    stream: Vec<u8>,
    ended: bool,
    reset: bool,
}

impl Client {
    /// Asks `question` over the connection `tuple`, at the interface with this hardware address.
    #[must_use]
    pub(super) fn new(tuple: FourTuple, address: [u8; 6], isn: u32, question: Question) -> Self {
        let way = Reply::towards(&tuple, address);
        Self { tuple, way, isn, iss: None, question, stream: Vec::new(), ended: false, reset: false }
    }

    /// The frame that opens the connection.
    #[must_use]
    pub(super) fn open(&self) -> Vec<u8> {
        self.frame(Flags::SYN, self.isn, 0, &[])
    }

    /// Takes a frame of the server's. Returns what there is to say to it.
    pub(super) fn take(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let packet = Packet::read(Direction::Sent, frame)?;
        let segment = packet.segment;
        if segment.tuple != self.tuple {
            return None;
        }
        self.reset |= segment.flags.contains(Flags::RST);
        let first = self.isn.wrapping_add(1);
        let Some(iss) = self.iss else {
            if !segment.flags.contains(Flags::SYN) || segment.ack != first {
                return None;
            }
            self.iss = Some(segment.seq);
            let request = self.question.request();
            return Some(self.frame(
                Flags(Flags::ACK.0 | Flags::PSH.0),
                first,
                segment.seq.wrapping_add(1),
                &request,
            ));
        };
        let offset = segment.seq.wrapping_sub(iss).wrapping_sub(1);
        // They come in order, as nothing is between us.
        if usize::try_from(offset).is_ok_and(|offset| offset == self.stream.len()) {
            self.stream.extend_from_slice(packet.payload);
            self.ended |= segment.flags.contains(Flags::FIN);
        }
        None
    }

    /// What came of it, once that can be told.
    #[must_use]
    pub(super) fn outcome(&self) -> Option<Result<String, String>> {
        if self.reset {
            return Some(Err("the connection was reset".to_owned()));
        }
        self.question.judge(&self.stream, self.ended)
    }

    /// Whether the server has said anything.
    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        self.iss.is_some()
    }

    fn frame(&self, flags: Flags, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        let mss = (flags == Flags::SYN).then_some(MSS);
        let length = u16::try_from(payload.len()).unwrap_or_default();
        let (timestamps, fast_open, window) = (None, None, WINDOW);
        let outgoing = TxSegment { seq, ack, flags, window, mss, timestamps, fast_open, offset: 0, length };
        let mut frame = vec![0; MAX_HEADERS + payload.len()];
        let length = self.way.emit(&mut frame, &outgoing, payload);
        frame.truncate(length);
        frame
    }
}
