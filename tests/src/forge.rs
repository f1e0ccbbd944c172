//! Segments as good as somebody can make them who sees nothing of what the server sends: every number that must be known
//! is guessed, all else is what gains most if a guess is right.

use std::net::IpAddr;

use crate::client::query;
use crate::packet::{Packet, flags};
use crate::seed::Random;
use crate::topology::{GHOST_V4, GHOST_V6, SERVER_V4, SERVER_V6};

/// The most payload beside timestamps.
const PAYLOAD: usize = 1208;
/// Before the numbers in the option: two NOPs, kind, length.
const OPTION: [u8; 4] = [1, 1, 8, 10];
/// Offsets in the TCP header: source port, SEG.SEQ, SEG.ACK, checksum; TSval behind [`OPTION`], and TSecr.
const SOURCE_PORT: usize = 0;
const SEQ: usize = 4;
const ACK: usize = 8;
const CHECKSUM: usize = 16;
const VALUE: usize = 20 + OPTION.len();
const ECHO: usize = VALUE + 4;

const A: u16 = 1;
const TXT: u16 = 16;

/// Makes forged frames, each on another connection and with other guesses.
#[derive(Debug)]
pub struct Forger {
    random: Random,
    templates: Vec<Template>,
    frame: Vec<u8>,
}

/// The values that a client must know of a connection to be answered, and their offsets.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    /// The client's port.
    pub port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// TSval, which nobody need guess.
    pub value: u32,
    /// TSecr.
    pub echo: u32,
}

/// A frame in which the guessed fields are 0.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    tcp: usize,
}

impl Forger {
    /// A forger with the draws that `seed` gives, whatever the run's: some successes are allowed, and chance is not to
    /// decide which run has too many.
    pub fn new(seed: u64) -> Self {
        let mut templates = Vec::new();
        for (source, server) in
            [(IpAddr::V4(GHOST_V4), IpAddr::V4(SERVER_V4)), (IpAddr::V6(GHOST_V6), IpAddr::V6(SERVER_V6))]
        {
            let mut add = |port, flags, payload| {
                let packet = Packet::new(source, 0, server, port);
                let options = [&OPTION[..], &[0; 8]].concat();
                let packet = Packet { flags, options, payload, ..packet };
                templates.push(Template { bytes: packet.unpadded(), tcp: packet.tcp_offset() });
            };
            for flags in [flags::PSH | flags::ACK, flags::PSH | flags::ACK | flags::FIN] {
                // As many bytes of answers as can be had; more boundaries and fewer bytes; the most boundaries.
                add(53, flags, packed(&query(1, "huge.example.com", TXT)));
                add(53, flags, packed(&query(1, "large.example.com", TXT)));
                add(53, flags, packed(&query(1, ".", A)));
                add(53, flags, query(1, "huge.example.com", TXT));
                add(80, flags, packed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
        }
        Self { random: Random::from_seed(seed), templates, frame: Vec::new() }
    }

    /// Number of kinds of frames.
    pub fn kinds(&self) -> usize {
        self.templates.len()
    }

    /// The next frame, with right checksums.
    pub fn forge(&mut self) -> &[u8] {
        let random = &mut self.random;
        let kind = random.below(self.templates.len());
        let guess = Guess {
            port: 1024 + random.short() % 60_000,
            seq: random.word(),
            ack: random.word(),
            value: random.word(),
            // Generation and state are not sealed, so a forger takes whichever it likes; of whole messages no promise
            // says that it is amid one.
            echo: random.word() & !3 | random.pick(&[0, 1, 3]),
        };
        self.fill(kind, &guess)
    }

    /// A frame of one kind, with these numbers in it.
    pub fn fill(&mut self, kind: usize, guess: &Guess) -> &[u8] {
        let Self { templates, frame, .. } = self;
        let Template { bytes, tcp } = &templates[kind];
        frame.clear();
        frame.extend_from_slice(bytes);
        let mut sum = u32::from(!u16::from_be_bytes([bytes[tcp + CHECKSUM], bytes[tcp + CHECKSUM + 1]]));
        let mut put = |at: usize, value: u16| {
            frame[tcp + at..tcp + at + 2].copy_from_slice(&value.to_be_bytes());
            sum += u32::from(value);
        };
        put(SOURCE_PORT, guess.port);
        for (at, number) in [(SEQ, guess.seq), (ACK, guess.ack), (VALUE, guess.value), (ECHO, guess.echo)] {
            let [a, b, c, d] = number.to_be_bytes();
            put(at, u16::from_be_bytes([a, b]));
            put(at + 2, u16::from_be_bytes([c, d]));
        }
        // RFC 1624: the fields were 0, so what they hold now is what the sum lacks.
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = !u16::try_from(sum).expect("folded");
        frame[tcp + CHECKSUM..tcp + CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}

/// So many of one message as a segment holds.
fn packed(message: &[u8]) -> Vec<u8> {
    message.repeat(PAYLOAD / message.len())
}
