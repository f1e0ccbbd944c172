//! An open connection costs the server nothing: its client alone remembers it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use stateless_tcp_tests::client::query;
use stateless_tcp_tests::packet::{Packet, flags};
use stateless_tcp_tests::raw::Port;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::seed::{Random, size};
use stateless_tcp_tests::topology::{INTERFACE, SERVER_V4, Topology};

/// Connections from one address.
const FROM_ONE: usize = 50_000;
const FIRST_PORT: u16 = 10_000;
/// SYNs under way at a time: fewer than the server has frames.
const FLIGHT: usize = 1_000;
/// Limit of the server's additional memory, in KiB.
const TOLERANCE: u64 = 1024;
/// Time limit of an answer before the question is sent again.
const PATIENCE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 200;

const A: u16 = 1;

/// A client's knowledge of a connection that it has opened; the rest follows from its number.
#[derive(Clone, Copy, Debug)]
struct Opened {
    iss: u32,
    /// The last timestamp that the server sent.
    echo: u32,
}

/// A host with many addresses. Its kernel knows none of them, and so leaves their connections alone.
struct Crowd {
    port: Port,
    clock: u32,
    opened: Vec<Option<Opened>>,
}

impl Crowd {
    fn new(topology: &Topology, connections: usize) -> Self {
        Self { port: Port::open(&topology.client, INTERFACE), clock: 1, opened: vec![None; connections] }
    }

    /// A packet of connection `number`, with a timestamp in it.
    fn packet(&self, number: usize, echo: u32) -> Packet {
        let host = u32::try_from(number / FROM_ONE).expect("few hosts");
        let address = IpAddr::V4(Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + host));
        let port = FIRST_PORT + u16::try_from(number % FROM_ONE).expect("a port");
        let mut packet = Packet::new(address, port, IpAddr::V4(SERVER_V4), 53);
        packet.options = [&[1, 1, 8, 10][..], &self.clock.to_be_bytes(), &echo.to_be_bytes()].concat();
        packet
    }

    /// The number of the connection that `packet` is for.
    fn number(packet: &Packet) -> Option<usize> {
        let IpAddr::V4(address) = packet.destination else { return None };
        let host = address.to_bits().checked_sub(u32::from(Ipv4Addr::new(10, 0, 0, 1)))?;
        let port = packet.destination_port.checked_sub(FIRST_PORT)?;
        Some(usize::try_from(host).ok()? * FROM_ONE + usize::from(port))
    }

    /// The client's initial sequence number of a connection.
    fn isn(number: usize) -> u32 {
        u32::try_from(number).expect("a number").wrapping_mul(0x9e37_79b9)
    }

    /// Opens these connections: SYN, SYN,ACK, ACK. Lost segments are sent again.
    fn open(&mut self, numbers: std::ops::Range<usize>) {
        for from in numbers.clone().step_by(FLIGHT) {
            let mut pending: Vec<usize> = (from..numbers.end.min(from + FLIGHT)).collect();
            for round in 0.. {
                assert!(round < ROUNDS, "connections {pending:?} cannot be opened");
                for &number in &pending {
                    let syn = self.packet(number, 0);
                    let options = [&[2, 4, 5, 0xb4][..], &syn.options].concat();
                    let syn = Packet { seq: Self::isn(number), flags: flags::SYN, options, ..syn };
                    self.port.send(&syn.octets());
                }
                let mut left = pending.len();
                while left > 0 {
                    let Some((number, packet)) = self.receive() else { break };
                    assert!(packet.is(flags::SYN | flags::ACK), "not a SYN,ACK: {packet}");
                    assert_eq!(packet.ack, Self::isn(number).wrapping_add(1), "{packet}");
                    let (echo, _) =
                        packet.timestamps().unwrap_or_else(|| panic!("timestamps declined: {packet}"));
                    left -= usize::from(self.opened[number].is_none());
                    self.opened[number] = Some(Opened { iss: packet.seq, echo });
                }
                pending.retain(|&number| self.opened[number].is_none());
                if pending.is_empty() {
                    break;
                }
            }
            for number in from..numbers.end.min(from + FLIGHT) {
                let ack = self.segment(number, flags::ACK, &[]);
                self.port.send(&ack.octets());
            }
        }
        self.clock += 1;
    }

    /// A segment at the beginning of both streams.
    fn segment(&self, number: usize, flags: u8, payload: &[u8]) -> Packet {
        let Opened { iss, echo } = self.opened[number].expect("it is open");
        Packet {
            seq: Self::isn(number).wrapping_add(1),
            ack: iss.wrapping_add(1),
            flags,
            payload: payload.to_vec(),
            ..self.packet(number, echo)
        }
    }

    /// Asks one question on each connection of `questions` until all are answered.
    fn ask(&mut self, questions: &BTreeMap<usize, Vec<u8>>) -> BTreeMap<usize, Vec<u8>> {
        let mut answers = BTreeMap::new();
        for _ in 0..ROUNDS {
            for (&number, question) in questions.iter().filter(|(number, _)| !answers.contains_key(*number)) {
                self.port.send(&self.segment(number, flags::PSH | flags::ACK, question).octets());
            }
            while answers.len() < questions.len() {
                let Some((number, packet)) = self.receive() else { break };
                let Opened { iss, .. } = self.opened[number].expect("it is open");
                let ends = flags::SYN | flags::FIN | flags::RST;
                assert!(packet.flags & ends == 0, "not an answer that leaves it open: {packet}");
                assert_eq!(packet.seq, iss.wrapping_add(1), "{packet}");
                answers.insert(number, packet.payload);
            }
            self.clock += 1;
        }
        answers
    }

    fn receive(&self) -> Option<(usize, Packet)> {
        let mine = |packet: &Packet| Self::number(packet).is_some_and(|number| number < self.opened.len());
        let packet = self.port.receive_tcp(PATIENCE, mine)?;
        assert!(packet.intact, "wrong checksums: {packet}");
        Some((Self::number(&packet).expect("just looked at"), packet))
    }
}

#[test]
fn open_connections_take_no_memory() {
    const WARM: usize = 20_000;
    const ASKED: usize = 1_000;
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let connections = size(100_000, 1_000_000);
    let mut crowd = Crowd::new(&topology, WARM + connections);
    // The first connections touch every frame, and whatever else is touched only once.
    crowd.open(0..WARM);
    let warm: BTreeMap<_, _> =
        (0..WARM).step_by(20).map(|number| (number, query(1, "example.com", A))).collect();
    assert_eq!(crowd.ask(&warm).len(), warm.len(), "questions of the first connections answered");
    let before = responder.resident();

    crowd.open(WARM..WARM + connections);
    let after = responder.resident();
    println!("{connections} connections opened; resident before {before} KiB, after {after} KiB");
    assert!(after.abs_diff(before) <= TOLERANCE, "{before} KiB before, {after} KiB after");

    let mut random = Random::new("idle connections");
    let mut questions = BTreeMap::new();
    while questions.len() < ASKED {
        questions.insert(WARM + random.below(connections), query(random.short(), "example.com", A));
    }
    let right = crowd.ask(&BTreeMap::from([(0, query(0, "example.com", A))]))[&0].clone();
    let answers = crowd.ask(&questions);
    assert_eq!(answers.len(), questions.len(), "questions answered");
    for (number, answer) in answers {
        let question = &questions[&number];
        assert_eq!(answer[2..4], question[2..4], "the id of connection {number}");
        assert!(
            answer.len() == right.len() && answer[4..] == right[4..],
            "connection {number} got {answer:02x?}"
        );
    }
    assert!(responder.resident().abs_diff(before) <= TOLERANCE, "memory after the questions");
    responder.stop();
}
