//! A simulated TCP client: frames in, frames out. It sends no timestamps, so the server keeps nothing of its connection.

use super::query::CheckQuery;
use crate::observe::packet::TracedPacket;
use crate::observe::tap::Direction;
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Flags, FourTuple};
use stateless_tcp_core::wire::{MAX_HEADERS, Reply};

/// Its receive window: larger than a response.
const WINDOW: u16 = u16::MAX;
const MSS: u16 = 1_220;

/// The client's end of one connection, on which it asks one query.
#[derive(Debug)]
pub(super) struct CheckClient {
    tuple: FourTuple,
    /// Emits frames from the client to the server.
    to_server: Reply,
    isn: u32,
    /// The server's initial sequence number, once its SYN,ACK has come.
    iss: Option<u32>,
    query: CheckQuery,
    stream: Vec<u8>,
    ended: bool,
    reset: bool,
}

impl CheckClient {
    /// A client that asks `query` over the connection `tuple`, at the interface with this hardware address.
    #[must_use]
    pub(super) fn new(tuple: FourTuple, address: [u8; 6], isn: u32, query: CheckQuery) -> Self {
        let to_server = Reply::towards(&tuple, address);
        Self { tuple, to_server, isn, iss: None, query, stream: Vec::new(), ended: false, reset: false }
    }

    /// The SYN.
    #[must_use]
    pub(super) fn open(&self) -> Vec<u8> {
        self.frame(Flags::SYN, self.isn, 0, &[])
    }

    /// Takes a frame of the server. Returns the client's reply, if there is one.
    pub(super) fn receive(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let packet = TracedPacket::read(Direction::Sent, frame)?;
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
            let request = self.query.request();
            return Some(self.frame(
                Flags(Flags::ACK.0 | Flags::PSH.0),
                first,
                segment.seq.wrapping_add(1),
                &request,
            ));
        };
        let offset = segment.seq.wrapping_sub(iss).wrapping_sub(1);
        // Segments come in order, as there is no network between.
        if usize::try_from(offset).is_ok_and(|offset| offset == self.stream.len()) {
            self.stream.extend_from_slice(packet.payload);
            self.ended |= segment.flags.contains(Flags::FIN);
        }
        None
    }

    /// The result, once it is known: the response, or the reason why it is not good.
    #[must_use]
    pub(super) fn outcome(&self) -> Option<Result<String, String>> {
        if self.reset {
            return Some(Err("the connection was reset".to_owned()));
        }
        self.query.judge(&self.stream, self.ended)
    }

    /// Whether the server has accepted the connection.
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
        let length = self.to_server.emit(&mut frame, &outgoing, payload);
        frame.truncate(length);
        frame
    }
}
