//! Conversations made of arbitrary bytes: mostly honest, so that they get far, and then not quite.

use arbitrary::{Arbitrary, Unstructured};
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::tcp::AckPolicy;

use super::{DNS_PORT, Exchange, HTTP_PORT, Harness, PLENTY, agreement::repair};
use crate::{
    fast_open,
    packet::{Packet, checksum, flags},
    topology::{GHOST_V4, GHOST_V6, SERVERS},
};

/// Segment sizes that can be configured: the least, classic's, the largest, and one that no answer is a multiple of.
const SEGMENT_SIZES: [u16; 4] = [64, 512, 1220, 333];
const LONGEST_REQUEST: usize = 1400;

/// One responder, and the conversations that it has.
#[derive(Arbitrary, Clone, Debug)]
pub struct Script {
    classic: bool,
    fast_open: bool,
    segment_size: u8,
    conversations: Vec<ScriptedConnection>,
}

/// A client that opens a connection, asks, asks again for what it did not get, and closes.
#[derive(Arbitrary, Clone, Debug)]
struct ScriptedConnection {
    v6: bool,
    tags: u8,
    ip_options: u8,
    port: u16,
    isn: u32,
    mss: Offer,
    request: Request,
    cut: Option<u8>,
    window: Window,
    had: ReceivedBytes,
    free: Option<u8>,
    closes: bool,
    partial: bool,
    off: Option<Off>,
    damage: Option<Damage>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Offer {
    Ethernet,
    Ours,
    Minimal,
    Nothing,
    Any(u16),
}

#[derive(Arbitrary, Clone, Debug)]
enum Request {
    Dns(Vec<ScriptedQuestion>),
    Http(u8),
    Octets(bool, Vec<u8>),
}

#[derive(Arbitrary, Clone, Debug)]
struct ScriptedQuestion {
    id: u16,
    name: u8,
    qtype: u8,
    edns: Option<bool>,
    flags: Option<u16>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Window {
    Whole,
    Any(u16),
    Small(u8),
}

/// Bytes of the response that the client says it has.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum ReceivedBytes {
    Nothing,
    Segments(u8),
    Any(u16),
}

/// A number that is not what it should be.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Off {
    Sequence(i8),
    Acknowledgment(i8),
    AcknowledgmentFar(u32),
    Flags(u8),
}

/// Bytes changed on the way, and the TCP checksum made right again or not.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Damage {
    at: u8,
    by: u8,
    cut: u8,
    repaired: bool,
}

impl Script {
    /// The script that `bytes` stand for: every sequence of bytes is one.
    pub fn read(bytes: &[u8]) -> Self {
        let empty = Self { classic: false, fast_open: false, segment_size: 0, conversations: Vec::new() };
        Self::arbitrary_take_rest(Unstructured::new(bytes)).unwrap_or(empty)
    }

    /// Plays it; every exchange is looked at.
    pub fn play(&self) {
        let rules = if self.classic { AckPolicy::Classic } else { AckPolicy::Reliable };
        let size = SEGMENT_SIZES[usize::from(self.segment_size) % SEGMENT_SIZES.len()];
        let mut harness =
            if self.fast_open { Harness::with_fast_open(rules, size) } else { Harness::new(rules, size) };
        for conversation in self.conversations.iter().take(8) {
            conversation.play(&mut harness);
        }
    }
}

impl ScriptedConnection {
    fn play(&self, harness: &mut Harness) {
        self.ask_early(harness);
        let syn = Packet { flags: flags::SYN, seq: self.isn, options: self.mss.octets(), ..self.packet() };
        let opened = harness.exchange(&self.send(&syn), 0);
        let iss = opened.sent.first().map_or(0, |syn_ack| syn_ack.seq);
        let request = Packet {
            seq: self.isn.wrapping_add(1),
            ack: iss.wrapping_add(1),
            flags: flags::PSH | flags::ACK | if self.closes { flags::FIN } else { 0 },
            window: self.window.octets(),
            payload: self.payload(),
            ..self.packet()
        };
        let answered = harness.exchange(&self.send(&request), self.free.map_or(PLENTY, usize::from));
        if opened.outcome == Outcome::SynAck && !request.payload.is_empty() {
            let expected = [Outcome::Answered, Outcome::WindowTooSmall, Outcome::Buffered];
            assert!(expected.contains(&answered.outcome), "{:?} for {request}", answered.outcome);
        }
        self.resume(harness, &request, &answered);
        self.disturb(harness, request.clone());
        let got =
            answered.sent.last().map_or(request.ack, |last| last.seq.wrapping_add(last.sequence_length()));
        let seq = request.seq.wrapping_add(request.sequence_length());
        let fin = Packet { seq, ack: got, flags: flags::FIN | flags::ACK, ..self.packet() };
        harness.exchange(&self.send(&fin), 0);
    }

    /// Asks again, from where the client says that it has everything.
    /// Asks for a Fast Open cookie, and with it on the next SYN.
    fn ask_early(&self, harness: &mut Harness) {
        let offer = |cookie: &[u8]| {
            let mut options = self.mss.octets();
            options.extend([1, 1, 34, u8::try_from(2 + cookie.len()).expect("a cookie")]);
            options.extend(cookie);
            options
        };
        let syn = Packet { flags: flags::SYN, seq: self.isn, window: self.window.octets(), ..self.packet() };
        let opened = harness.exchange(&self.send(&Packet { options: offer(&[]), ..syn.clone() }), 0);
        let Some(cookie) = opened.sent.first().and_then(|syn_ack| fast_open::cookie(&syn_ack.options)) else {
            return;
        };
        let early = Packet { options: offer(&cookie), payload: self.payload(), ..syn };
        harness.exchange(&self.send(&early), self.free.map_or(PLENTY, usize::from));
    }

    fn resume(&self, harness: &mut Harness, request: &Packet, answered: &Exchange) {
        let had = match self.had {
            ReceivedBytes::Nothing => 0,
            ReceivedBytes::Segments(count) => {
                answered.sent.iter().take(count.into()).map(Packet::sequence_length).sum()
            }
            ReceivedBytes::Any(bytes) => bytes.into(),
        };
        let window = u32::from(request.window).saturating_sub(had);
        let again = Packet {
            ack: request.ack.wrapping_add(had),
            window: window.try_into().expect("less than before"),
            ..request.clone()
        };
        harness.exchange(&self.send(&again), PLENTY);
    }

    /// Asks once more, but not as it should be.
    fn disturb(&self, harness: &mut Harness, mut request: Packet) {
        match self.off {
            Some(Off::Sequence(by)) => request.seq = request.seq.wrapping_add_signed(by.into()),
            Some(Off::Acknowledgment(by)) => request.ack = request.ack.wrapping_add_signed(by.into()),
            Some(Off::AcknowledgmentFar(by)) => request.ack = request.ack.wrapping_add(by),
            Some(Off::Flags(flags)) => request.flags = flags,
            None => {}
        }
        let mut frame = self.send(&request);
        if let Some(damage) = self.damage {
            let at = usize::from(damage.at) % frame.len();
            frame[at] ^= damage.by;
            frame.truncate(frame.len().saturating_sub(usize::from(damage.cut) % 64));
            if damage.repaired {
                repair(&mut frame);
            }
        }
        harness.exchange(&frame, PLENTY);
    }

    fn packet(&self) -> Packet {
        let server = SERVERS[usize::from(self.v6)];
        let client = if self.v6 { GHOST_V6.into() } else { GHOST_V4.into() };
        let port = if self.request.is_dns() { DNS_PORT } else { HTTP_PORT };
        let mut packet = Packet::new(client, self.port.max(1), server, port);
        let tags = usize::from(self.tags) % 3;
        packet.tags = [(0x88a8, 7), (0x8100, 4094)][..tags].to_vec();
        if !self.v6 {
            packet.ip_options = vec![1; 4 * (usize::from(self.ip_options) % 11)];
        }
        packet
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = self.request.octets();
        if let Some(cut) = self.cut {
            payload.truncate(payload.len().saturating_sub(cut.into()));
        }
        payload.truncate(LONGEST_REQUEST);
        payload
    }

    /// The frame, as a local sender leaves it if this client is one.
    fn send(&self, packet: &Packet) -> Vec<u8> {
        let mut frame = packet.octets();
        if self.partial {
            let length = 20 + packet.options.len() + packet.payload.len();
            let sum = !checksum(&[&packet.pseudo_header(length)]);
            frame[packet.tcp_offset() + 16..][..2].copy_from_slice(&sum.to_be_bytes());
        }
        frame
    }
}

impl Offer {
    fn octets(self) -> Vec<u8> {
        let mss = match self {
            Self::Nothing => return Vec::new(),
            Self::Ethernet => 1460,
            Self::Ours => 1220,
            Self::Minimal => 536,
            Self::Any(mss) => mss,
        };
        let [high, low] = mss.to_be_bytes();
        vec![2, 4, high, low]
    }
}

impl Window {
    fn octets(self) -> u16 {
        match self {
            Self::Whole => 65_535,
            Self::Any(bytes) => bytes,
            Self::Small(bytes) => bytes.into(),
        }
    }
}

impl Request {
    fn is_dns(&self) -> bool {
        matches!(self, Self::Dns(_) | Self::Octets(true, _))
    }

    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Dns(questions) => questions.iter().flat_map(ScriptedQuestion::octets).collect(),
            Self::Http(page) => {
                let pages: [&[u8]; 8] = [
                    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                    b"GET /20k.html HTTP/1.1\r\nHost: a\r\n\r\n",
                    b"HEAD /20k.html HTTP/1.1\r\nHost: a\r\n\r\n",
                    b"GET /none HTTP/1.0\r\n\r\n",
                    b"\r\nGET /robots.txt HTTP/1.0\r\n\r\n",
                    b"GET / HTTP/1.1\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
                    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                ];
                pages[usize::from(*page) % pages.len()].to_vec()
            }
            Self::Octets(_, bytes) => bytes.clone(),
        }
    }
}

impl ScriptedQuestion {
    /// The query, its length before it.
    fn octets(&self) -> Vec<u8> {
        const NAMES: [&str; 10] = [
            "example.com",
            "large.example.com",
            "huge.example.com",
            "www.example.com",
            "WwW.eXaMpLe.CoM",
            "no.such.name.example.com",
            "child.example.com",
            "a.child.example.com",
            "example.org",
            "",
        ];
        const TYPES: [u16; 10] = [1, 2, 5, 6, 16, 28, 43, 48, 252, 255];
        let name = NAMES[usize::from(self.name) % NAMES.len()];
        let qtype = TYPES.get(usize::from(self.qtype) % 12).copied().unwrap_or(self.qtype.into());
        query(self.id, self.flags.unwrap_or(0x0100), name, qtype, self.edns)
    }
}

/// A DNS query with its length before it (RFC 1035 4.1, 4.2.2); `edns` with DO or without (RFC 3225).
pub fn query(id: u16, flags: u16, name: &str, qtype: u16, edns: Option<bool>) -> Vec<u8> {
    let mut message = [id.to_be_bytes(), flags.to_be_bytes()].concat();
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len().try_into().expect("a label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    if let Some(signed) = edns {
        message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, if signed { 0x80 } else { 0 }, 0, 0, 0]);
    }
    let length = u16::try_from(message.len()).expect("a query is short");
    [&length.to_be_bytes(), &message[..]].concat()
}
