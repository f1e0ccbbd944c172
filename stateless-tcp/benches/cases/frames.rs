//! Frames in memory, set aside beforehand, and what a client puts into them.

use std::net::IpAddr;

use stateless_tcp::dataplane::responder::Frames;
use stateless_tcp_core::tcp::segment::FourTuple;
use stateless_tcp_core::wire::checksum;

/// Octets of a frame, as in a UMEM.
pub(crate) const CHUNK: usize = 4096;

/// A pool that takes back what it sends.
pub(crate) struct Pool(Vec<Box<[u8; CHUNK]>>);

impl Pool {
    pub(crate) fn new() -> Self {
        Self((0..256).map(|_| Box::new([0; CHUNK])).collect())
    }

    pub(crate) fn receive(&mut self, octets: &[u8]) -> Box<[u8; CHUNK]> {
        let mut frame = self.take().expect("all frames come back");
        frame[..octets.len()].copy_from_slice(octets);
        frame
    }
}

impl Frames for Pool {
    type Frame = Box<[u8; CHUNK]>;

    fn octets<'a>(&'a mut self, frame: &'a mut Self::Frame) -> &'a mut [u8] {
        &mut frame[..]
    }

    fn take(&mut self) -> Option<Self::Frame> {
        self.0.pop()
    }

    fn send(&mut self, frame: Self::Frame, _length: usize) {
        self.0.push(frame);
    }

    fn release(&mut self, frame: Self::Frame) {
        self.0.push(frame);
    }
}

/// What differs between the segments of one client.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// The Ethernet frame of a segment between documentation addresses, checksums right.
pub(crate) fn frame(client: IpAddr, server: IpAddr, segment: Segment<'_>) -> Vec<u8> {
    let mut tcp = [40_000_u16.to_be_bytes(), segment.port.to_be_bytes()].concat();
    tcp.extend(segment.seq.to_be_bytes());
    tcp.extend(segment.ack.to_be_bytes());
    let words = u8::try_from(5 + segment.options.len() / 4).expect("at most 60 octets");
    tcp.extend([words << 4, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend(segment.options);
    tcp.extend(segment.payload);
    let length = u16::try_from(tcp.len()).expect("one segment");

    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match (client, server) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            let mut header = vec![0x45, 0];
            header.extend((20 + length).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            header.extend([client.octets(), server.octets()].concat());
            let sum = checksum::Sum::default().over(&header).complement();
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(header);
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([6, 64]);
            frame.extend([client.octets(), server.octets()].concat());
        }
        mixed => panic!("addresses of two families: {mixed:?}"),
    }
    let tuple = FourTuple { server: server.into(), client: client.into(), server_port: 0, client_port: 0 };
    let sum = checksum::pseudo_header(&tuple, tcp.len()).over(&tcp).complement();
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    frame.extend(tcp);
    frame
}

/// A DNS query for an A or other record, its length before it; `signed` adds OPT with DO.
pub(crate) fn query(name: &str, qtype: u16, signed: bool) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(signed)];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    if signed {
        message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    }
    [&u16::try_from(message.len()).expect("a query is short").to_be_bytes(), &message[..]].concat()
}
