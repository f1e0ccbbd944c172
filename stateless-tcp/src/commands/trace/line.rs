//! Formats a frame as a line, with sequence numbers relative to the start of its connection.

use crate::observe::packet::TracedPacket;
use crate::observe::tap::Direction;
use foldhash::fast::RandomState;
use stateless_tcp_core::tcp::segment::{Address, Flags, FourTuple};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most connections whose start is remembered. One more clears all.
const MAX_CONNECTIONS: usize = 1 << 16;

const SECONDS_PER_DAY: u64 = 86_400;

/// The observed starts of connections.
#[derive(Debug, Default)]
pub(super) struct Connections(HashMap<FourTuple, InitialNumbers, RandomState>);

/// The sequence numbers that are shown as 0.
#[derive(Clone, Copy, Debug, Default)]
struct InitialNumbers {
    client: u32,
    server: u32,
}

impl Connections {
    /// The line of a frame of `queue`.
    pub(super) fn line(&mut self, time: Duration, queue: &str, packet: &TracedPacket<'_>) -> String {
        let TracedPacket { direction, segment, payload } = packet;
        let tuple = &segment.tuple;
        let initial = self.initial_numbers(packet);
        let (from, to, own, other) = match direction {
            Direction::Received => (client(tuple), server(tuple), initial.client, initial.server),
            Direction::Sent => (server(tuple), client(tuple), initial.server, initial.client),
        };
        let mut line = format!("{} {queue} {from} > {to}: [{}] seq ", clock(time), flags(segment.flags));
        let seq = segment.seq.wrapping_sub(own);
        let _ = match payload.len() {
            0 => write!(line, "{seq}"),
            length => write!(line, "{seq}:{}", u64::from(seq) + length as u64),
        };
        if segment.flags.contains(Flags::ACK) {
            let _ = write!(line, " ack {}", segment.ack.wrapping_sub(other));
        }
        let _ = write!(line, " win {}", segment.window);
        if let Some(mss) = segment.options.mss {
            let _ = write!(line, " mss {mss}");
        }
        let text = packet.describe();
        if text.is_empty() {
            let _ = write!(line, " length {}", payload.len());
        } else {
            let _ = write!(line, " length {}: {text}", payload.len());
        }
        line
    }

    /// The initial numbers of the packet's connection: those of its SYN, or else those of the first observed segment.
    fn initial_numbers(&mut self, packet: &TracedPacket<'_>) -> InitialNumbers {
        let segment = &packet.segment;
        if self.0.len() >= MAX_CONNECTIONS && !self.0.contains_key(&segment.tuple) {
            self.0.clear();
        }
        let first = |number: u32| number.wrapping_sub(1);
        let is_syn = segment.flags.contains(Flags::SYN);
        let own = if is_syn { segment.seq } else { first(segment.seq) };
        let observed = match packet.direction {
            Direction::Received => InitialNumbers { client: own, server: first(segment.ack) },
            Direction::Sent => InitialNumbers { client: first(segment.ack), server: own },
        };
        let known = self.0.entry(segment.tuple).or_insert(observed);
        if is_syn {
            *known = observed;
        }
        *known
    }
}

/// Breaks the line at spaces for a terminal of `width` columns, and indents the continuation.
pub(super) fn fold(line: &str, width: usize) -> String {
    const INDENT: &str = "    ";
    let mut folded = String::new();
    let mut column = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if column > INDENT.len() && column + 1 + length > width {
            folded.push('\n');
            folded.push_str(INDENT);
            column = INDENT.len();
        } else if column > 0 {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += length;
    }
    folded
}

/// The time of day, UTC.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs() % SECONDS_PER_DAY;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:06}", time.subsec_micros())
}

fn client(tuple: &FourTuple) -> SocketAddr {
    socket(tuple.client, tuple.client_port)
}

fn server(tuple: &FourTuple) -> SocketAddr {
    socket(tuple.server, tuple.server_port)
}

fn socket(address: Address, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(address), port)
}

/// The flags as tcpdump writes them.
fn flags(flags: Flags) -> String {
    let letters = [
        (Flags::SYN, 'S'),
        (Flags::FIN, 'F'),
        (Flags::RST, 'R'),
        (Flags::PSH, 'P'),
        (Flags(0x20), 'U'),
        (Flags(0x40), 'E'),
        (Flags(0x80), 'W'),
        (Flags::ACK, '.'),
    ];
    letters.into_iter().filter(|&(flag, _)| flags.contains(flag)).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};
    use stateless_tcp_core::tcp::segment::{Options, Segment};

    const SYN_ACK: Flags = Flags(0x12);
    const PSH_ACK: Flags = Flags(0x18);

    fn packet(direction: Direction, seq: u32, ack: u32, flags: Flags, payload: &[u8]) -> TracedPacket<'_> {
        let tuple = FourTuple {
            server: Address::from_ipv4([192, 0, 2, 1]),
            client: Address::from_ipv4([192, 0, 2, 9]),
            server_port: 80,
            client_port: 4_000,
        };
        let options = Options { mss: flags.contains(Flags::SYN).then_some(1_220), ..Options::default() };
        let segment = Segment { tuple, seq, ack, flags, window: 4_095, length: 0, options };
        TracedPacket { direction, segment, payload }
    }

    #[test]
    fn numbers_are_relative_to_the_start_of_the_connection() {
        let mut connections = Connections::default();
        let mut line = |direction, seq, ack, flags, payload| {
            let time = Duration::new(3 * SECONDS_PER_DAY + 3_661, 5_000);
            connections.line(time, "eth0/1", &packet(direction, seq, ack, flags, payload))
        };
        for (got, expected) in [
            (
                line(Received, u32::MAX, 0, Flags::SYN, b""),
                "192.0.2.9:4000 > 192.0.2.1:80: [S] seq 0 win 4095 mss 1220 length 0",
            ),
            (
                line(Sent, 500, 0, SYN_ACK, b""),
                "192.0.2.1:80 > 192.0.2.9:4000: [S.] seq 0 ack 1 win 4095 mss 1220 length 0",
            ),
            (
                line(Received, 0, 501, PSH_ACK, b"GET / x\r\n"),
                "192.0.2.9:4000 > 192.0.2.1:80: [P.] seq 1:10 ack 1 win 4095 length 9: GET / x",
            ),
            (
                line(Sent, 501, 9, PSH_ACK, &[0; 3]),
                "192.0.2.1:80 > 192.0.2.9:4000: [P.] seq 1:4 ack 10 win 4095 length 3",
            ),
        ] {
            assert_eq!(got, format!("01:01:01.000005 eth0/1 {expected}"));
        }
    }

    #[test]
    fn a_line_is_broken_at_spaces() {
        assert_eq!(fold("one two three four", 80), "one two three four");
        assert_eq!(fold("one two three four", 10), "one two\n    three\n    four");
        assert_eq!(fold("a-word-that-is-longer than that", 10), "a-word-that-is-longer\n    than\n    that");
    }

    #[test]
    fn a_connection_under_way_starts_with_its_first_observed_segment() {
        let mut connections = Connections::default();
        let mut numbers = |direction, seq, ack| {
            let line = connections.line(Duration::ZERO, "", &packet(direction, seq, ack, PSH_ACK, b"\0"));
            let (_, numbers) = line.split_once("seq ").unwrap();
            numbers.split_once(" win").unwrap().0.to_owned()
        };
        assert_eq!(numbers(Received, 7_000, 9_000), "1:2 ack 1");
        assert_eq!(numbers(Sent, 9_000, 7_001), "1:2 ack 2");
    }
}
