//! A scripted TCP client over raw frames: nothing is sent that the script does not say.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    time::Duration,
};

use crate::{
    packet::{MSS_1460, Packet, flags},
    raw::Port,
    topology::{GHOST_V4, GHOST_V6, INTERFACE, SERVER_V4, Topology},
};

/// Time limit for an answer that must come on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Link-layer address of ff02::16, where multicast listener reports go.
const MLD_ROUTERS: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x16];

/// One connection's client end.
#[derive(Debug)]
pub struct Client<'port> {
    port: &'port Port,
    /// A packet from here to the server; what it says of the segment is filled in each time.
    pub template: Packet,
    /// Its initial sequence number.
    pub isn: u32,
    /// The server's initial sequence number, once known.
    pub iss: u32,
}

/// Opens the client's interface.
pub fn port(topology: &Topology) -> Port {
    Port::open(&topology.client, INTERFACE)
}

/// The ghost's address of the server's family.
pub fn ghost(server: IpAddr) -> IpAddr {
    match server {
        IpAddr::V4(_) => IpAddr::V4(GHOST_V4),
        IpAddr::V6(_) => IpAddr::V6(GHOST_V6),
    }
}

impl<'port> Client<'port> {
    /// A client at the ghost's address that has sent nothing yet.
    pub fn new(port: &'port Port, source_port: u16, server: IpAddr, server_port: u16, isn: u32) -> Self {
        let template = Packet::new(ghost(server), source_port, server, server_port);
        Self { port, template, isn, iss: 0 }
    }

    /// Its SYN, as the transcripts have it.
    pub fn syn(&self) -> Packet {
        Packet { seq: self.isn, flags: flags::SYN, options: MSS_1460.to_vec(), ..self.template.clone() }
    }

    /// A later segment: numbers relative to each side's ISN.
    pub fn segment(&self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Packet {
        Packet {
            flags,
            seq: self.isn.wrapping_add(seq),
            ack: self.iss.wrapping_add(ack),
            payload: payload.to_vec(),
            ..self.template.clone()
        }
    }

    /// Sends a packet.
    pub fn send(&self, packet: &Packet) {
        self.port.send(&packet.octets());
    }

    /// Sends the SYN and takes the SYN,ACK.
    pub fn open(&mut self) -> Packet {
        self.send(&self.syn());
        let answer = self.expect();
        assert!(answer.is(flags::SYN | flags::ACK), "not a SYN,ACK: {answer}");
        self.iss = answer.seq;
        answer
    }

    /// The server's next packet on this connection, if one comes within `patience`.
    pub fn receive(&self, patience: Duration) -> Option<Packet> {
        self.port.receive_tcp(patience, |packet| self.is_answer(packet))
    }

    /// The server's next packet on this connection, which must come, with right checksums.
    pub fn expect(&self) -> Packet {
        let packet = self.receive(PATIENCE).unwrap_or_else(|| panic!("no answer to {}", self.template));
        assert!(packet.intact, "wrong checksums: {packet}");
        packet
    }

    /// Whether `packet` goes from this connection's server to its client.
    pub fn is_answer(&self, packet: &Packet) -> bool {
        let ends = |packet: &Packet| {
            (packet.source, packet.source_port, packet.destination, packet.destination_port)
        };
        let (client, client_port, server, server_port) = ends(&self.template);
        ends(packet) == (server, server_port, client, client_port)
    }

    /// A packet's (flags, seq, ack, payload length), relative to each side's ISN: a line of a transcript.
    pub fn relative(&self, packet: &Packet) -> (u8, u32, u32, usize) {
        let (own, other) = if self.is_answer(packet) { (self.iss, self.isn) } else { (self.isn, self.iss) };
        (packet.flags, packet.seq.wrapping_sub(own), packet.ack.wrapping_sub(other), packet.payload.len())
    }
}

/// Tells what is not answered from what is answered late. It sends a SYN of a port of its own after what is under test, and
/// takes all frames up to its answer. One queue, one worker: what is answered at all is answered before that. The SYN has
/// payload, so that no driver answers it.
#[derive(Debug)]
pub struct Barrier {
    source: Ipv4Addr,
    source_port: u16,
}

impl Default for Barrier {
    /// At the ghost's address.
    fn default() -> Self {
        Self::at(GHOST_V4)
    }
}

impl Barrier {
    /// The ports that it uses in turn.
    const PORTS: Range<u16> = 50_000..65_000;

    /// At an address that is neither denied nor limited.
    pub fn at(source: Ipv4Addr) -> Self {
        Self { source, source_port: Self::PORTS.start }
    }

    /// Sends the SYN: for a worker that will not answer it.
    pub fn send<'port>(&mut self, port: &'port Port) -> Client<'port> {
        let mut client = Client::new(port, self.source_port, IpAddr::V4(SERVER_V4), 53, 7);
        client.template.source = IpAddr::V4(self.source);
        self.source_port += 1;
        if !Self::PORTS.contains(&self.source_port) {
            self.source_port = Self::PORTS.start;
        }
        client.send(&Packet { payload: vec![0], ..client.syn() });
        client
    }

    /// The frames that came before the barrier's answer.
    pub fn pass(&mut self, port: &Port) -> Vec<Vec<u8>> {
        let client = self.send(port);
        let mut before = Vec::new();
        loop {
            let frame = port.receive(PATIENCE).expect("an answer to the barrier's SYN");
            match Packet::parse(&frame) {
                Some(packet) if client.is_answer(&packet) => return before,
                // The server's kernel tells which groups it is in, whatever anybody sends it (RFC 9777).
                _ if frame.starts_with(&MLD_ROUTERS) => {}
                _ => before.push(frame),
            }
        }
    }

    /// What `client` was sent before the barrier's answer.
    pub fn packets_for(&mut self, port: &Port, client: &Client<'_>) -> Vec<Packet> {
        let packets = self.pass(port);
        packets
            .iter()
            .filter_map(|frame| Packet::parse(frame))
            .filter(|packet| client.is_answer(packet))
            .collect()
    }
}

/// A DNS query as it goes over TCP, with its length before it: RD set, no EDNS.
pub fn query(id: u16, name: &str, rtype: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    let length = u16::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes()[..], &message].concat()
}

/// An HTTP request of exactly `length` bytes for `path`: a header nobody reads fills it up.
pub fn get(path: &str, length: usize) -> Vec<u8> {
    let (front, back) = (format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\nX-Fill: "), "\r\n\r\n");
    let fill = length.checked_sub(front.len() + back.len()).expect("a longer request");
    format!("{front}{}{back}", "x".repeat(fill)).into_bytes()
}
