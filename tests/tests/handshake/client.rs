//! A client's segments, and the damage to them on the way.

use super::vlan_tag;
use stateless_tcp_tests::{
    client::query,
    in_memory_harness::{DNS_PORT, HTTP_PORT, agreement::repair},
    packet::{MSS_1460, Packet, checksum, flags},
    seed::Random,
    topology::{GHOST_V4, GHOST_V6, SERVERS},
};

const A: u16 = 1;
const TXT: u16 = 16;

/// An honest client that says what its kernel would, one thing after another, in any order.
pub(crate) struct HandshakeClient {
    base: Packet,
    timestamps: bool,
    /// SEG.SEQ and SEG.ACK of what it says next, and what it echoes.
    next: u32,
    received: u32,
    echo: u32,
    clock: u32,
}

impl HandshakeClient {
    /// A client that has said nothing yet.
    pub(crate) fn new(random: &mut Random) -> Self {
        let v6 = random.one_in(2);
        let source = if v6 { GHOST_V6.into() } else { GHOST_V4.into() };
        let port = random.pick(&[DNS_PORT, DNS_PORT, HTTP_PORT]);
        let mut base = Packet::new(source, random.short().max(1), SERVERS[usize::from(v6)], port);
        let tags = random.pick(&[0, 0, 0, 1, 2]);
        base.tags = (0..tags).map(|_| (random.pick(&[0x8100, 0x88a8]), vlan_tag(random))).collect();
        base.window = if random.one_in(8) { 0 } else { 64_240 };
        Self {
            base,
            timestamps: !random.one_in(4),
            next: random.word(),
            received: 0,
            echo: 0,
            clock: random.word(),
        }
    }

    /// Its SYN, with the options that one of several systems sends.
    pub(crate) fn syn(&self, random: &mut Random) -> Packet {
        let clock = self.clock.to_be_bytes();
        let timestamps = [&[8, 10][..], &clock, &[0; 4]].concat();
        let options = match (self.timestamps, random.below(4)) {
            // Linux; FreeBSD; macOS; the least.
            (true, 0) => [&[2, 4, 5, 180, 4, 2][..], &timestamps, &[1, 3, 3, 7]].concat(),
            (true, 1) => [&[2, 4, 5, 180, 1, 3, 3, 6, 4, 2][..], &timestamps].concat(),
            (true, 2) => [&[2, 4, 5, 180, 1, 3, 3, 6, 1, 1][..], &timestamps, &[4, 2, 0, 0]].concat(),
            (true, _) => [&[1, 1][..], &timestamps].concat(),
            // Windows; what offers little; nothing.
            (false, 0) => vec![2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2],
            (false, 1) => vec![2, 4, random.pick(&[0, 2, 2, 4]), random.byte()],
            (false, 2) => MSS_1460.to_vec(),
            (false, _) => vec![],
        };
        Packet { flags: flags::SYN, seq: self.next, options, ..self.base.clone() }
    }

    /// Takes what the server says.
    pub(crate) fn hear(&mut self, frames: &[Vec<u8>]) {
        for packet in frames.iter().filter_map(|frame| Packet::parse(frame)) {
            if packet.flags & flags::RST != 0 {
                continue;
            }
            if packet.flags & flags::SYN != 0 {
                (self.next, self.received) = (packet.ack, packet.seq.wrapping_add(1));
            } else if packet.seq == self.received {
                self.received = self.received.wrapping_add(packet.sequence_length());
            }
            if let Some((value, _)) = packet.timestamps() {
                self.echo = value;
            }
        }
    }

    fn say(&self, flags: u8, seq: u32, ack: u32, payload: Vec<u8>) -> Packet {
        let (clock, echo) = (self.clock.to_be_bytes(), self.echo.to_be_bytes());
        let options = if self.timestamps { [&[1, 1, 8, 10][..], &clock, &echo].concat() } else { vec![] };
        Packet { flags, seq, ack, payload, options, ..self.base.clone() }
    }

    /// Its next segment.
    pub(crate) fn speak(&mut self, random: &mut Random) -> Packet {
        self.clock = self.clock.wrapping_add(1);
        let (next, received) = (self.next, self.received);
        let asks = flags::PSH | flags::ACK;
        match random.below(12) {
            0..4 => {
                let question = match (self.base.destination_port, random.below(3)) {
                    (HTTP_PORT, _) => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
                    (_, 0) => query(1, "huge.example.com", TXT),
                    (_, 1) => query(2, "example.com", A)[..9].to_vec(),
                    _ => query(3, "example.com", A),
                };
                self.next = next.wrapping_add(u32::try_from(question.len()).expect("a short one"));
                self.say(asks, next, received, question)
            }
            4..7 => self.say(flags::ACK, next, received, vec![]),
            // Of less than it has; a probe; from before what it said last.
            7 => self.say(flags::ACK, next, received.wrapping_sub(random.word() % 3_000), vec![]),
            8 => self.say(flags::ACK, next.wrapping_sub(1), received, vec![]),
            9 => self.say(flags::ACK, next.wrapping_sub(random.word() % 50), received, vec![]),
            10 => self.say(flags::FIN | flags::ACK, next, received, vec![]),
            _ => self.say(flags::FIN | flags::ACK, next.wrapping_sub(random.word() % 2), received, vec![]),
        }
    }
}

/// Something done to a frame: most of what can be wrong, and what only looks so.
pub(crate) fn disturb(frame: &mut Vec<u8>, packet: &Packet, random: &mut Random) {
    let headers = packet.tcp_offset() + 20 + packet.options.len();
    match random.below(8) {
        0 => frame.truncate(14 + random.below(frame.len() - 13)),
        // As a local kernel leaves it.
        1 | 2 => {
            let sum =
                !checksum(&[&packet.pseudo_header(headers - packet.tcp_offset() + packet.payload.len())]);
            frame[packet.tcp_offset() + 16..][..2].copy_from_slice(&sum.to_be_bytes());
        }
        kind => {
            for _ in 0..=random.below(3) {
                // Not the link header: it says which host the frame is for.
                let link = packet.ip_offset();
                let at = link + random.below(headers.min(frame.len()) - link);
                frame[at] = if random.one_in(2) { random.byte() } else { frame[at] ^ 1 << random.below(8) };
            }
            if kind > 3 {
                repair(frame);
            }
        }
    }
}
