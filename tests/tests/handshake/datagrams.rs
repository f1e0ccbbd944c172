//! Questions over UDP: the same through the kernel, the core and the responder, and what must hold of every answer.

use std::net::IpAddr;

use stateless_tcp::dataplane::responder::Responder;
use stateless_tcp::observe::counters::Counters;
use stateless_tcp_core::admission::{Limit, PacketKind};
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{ClientPolicy, Steering, steer};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_core::udp;
use stateless_tcp_ebpf::abi::Settings;
use stateless_tcp_tests::datagram::{Checksum, Datagram};
use stateless_tcp_tests::in_memory_harness::{DNS_PORT, PLENTY, agreement::HarnessSteering, pool::Pool};
use stateless_tcp_tests::seed::{Random, size};
use stateless_tcp_tests::topology::{CLIENT_V4, CLIENT_V6, SERVERS};

use super::{HandshakeProgram, LEAST, XdpVerdict, content, policy, vlan_tag};

/// What the harness serves, and questions over UDP.
struct WithDatagrams;

impl Steering for WithDatagrams {
    fn address(&self, address: &Address) -> bool {
        HarnessSteering.address(address)
    }

    fn port(&self, port: u16) -> bool {
        HarnessSteering.port(port)
    }

    fn datagrams(&self) -> Option<u16> {
        Some(DNS_PORT)
    }

    fn treatment(&self, client: &Address) -> ClientPolicy {
        HarnessSteering.treatment(client)
    }

    fn limits_segments(&self) -> bool {
        HarnessSteering.limits_segments()
    }

    fn affords(&self, client: &Address, kind: PacketKind) -> bool {
        HarnessSteering.affords(client, kind)
    }
}

fn core(frame: &[u8]) -> XdpVerdict {
    let Ok(layout) = steer(frame, &WithDatagrams) else { panic!("it is not steered: {frame:02x?}") };
    match udp::read(frame, &layout) {
        Ok(question) => {
            let mut answer = frame.to_vec();
            answer.truncate(question.frame_length(&layout));
            question.write(&mut answer[..], &layout).expect("room for it");
            XdpVerdict::Decided(Outcome::UdpTruncated, Some(answer))
        }
        Err(refusal) => XdpVerdict::Decided(refusal, None),
    }
}

#[test]
fn questions_over_udp_get_the_same_from_all() {
    let settings = Settings::new(Limit::NONE, Some(DNS_PORT), false);
    let mut kernel = HandshakeProgram::load();
    kernel.set(&settings);
    let mut responder =
        Responder::new(content(1).with_settings(settings), policy(AckPolicy::Reliable, false, None));
    let mut random = Random::new("datagrams");
    let counters = Counters::default();
    for _ in 0..size(20_000, 200_000) {
        let datagram = question(&mut random);
        let mut frame = datagram.octets();
        if random.one_in(4) {
            disturb(&mut frame, &datagram, &mut random);
        }
        if steer(&frame[..], &WithDatagrams).is_err() {
            continue;
        }
        let before: Vec<_> = Outcome::ALL.iter().map(|&outcome| counters.get(outcome)).collect();
        let fate = kernel.judge(&frame);
        assert_eq!(core(&frame), fate, "core and kernel, of {frame:02x?}");
        let mut pool = Pool::new(PLENTY);
        let received = pool.receive(&frame);
        responder.respond(std::time::UNIX_EPOCH, &mut pool, received, frame.len(), &counters);
        pool.assert_conserved();
        let XdpVerdict::Decided(event, answer) = fate else { panic!("left to the ring: {frame:02x?}") };
        assert_eq!(pool.sent, answer.iter().cloned().collect::<Vec<_>>(), "{event:?}, of {frame:02x?}");
        let grown = counters.get(event) - before[event as usize];
        assert_eq!(grown, 1, "{event:?}, of {frame:02x?}");
        if let Some(answer) = answer {
            assert_answer(&frame, &answer);
        }
    }
    for counter in [Outcome::UdpTruncated, Outcome::UdpNoQuestion, Outcome::Martian, Outcome::PartialChecksum]
    {
        assert!(counters.get(counter) >= LEAST, "{counter:?} occurred {} times", counters.get(counter));
    }
}

/// Invariants of an answer, read by code of its own.
fn assert_answer(frame: &[u8], answer: &[u8]) {
    assert!(answer.len() <= frame.len(), "longer than its question");
    let (asked, said) = (Datagram::parse(frame), Datagram::parse(answer));
    let (Some(asked), Some(said)) = (asked, said) else { panic!("{frame:02x?} gets {answer:02x?}") };
    assert_ne!(asked.checksum, Checksum::Wrong(0), "{frame:02x?}");
    assert_eq!(said.checksum, Checksum::Whole, "{frame:02x?} gets {answer:02x?}");
    assert_eq!((said.to, said.from, &said.tags), (asked.from, asked.to, &asked.tags));
    assert_eq!((said.source, said.destination), (asked.destination, asked.source));
    assert_eq!((said.source_port, said.destination_port), (asked.destination_port, asked.source_port));
    let (asked, said) = (&asked.payload, &said.payload);
    assert_eq!(asked[..2], said[..2], "another identification");
    assert_eq!([said[2], said[3]], [0x82 | asked[2] & 0x79, asked[3] & 0x10], "flags");
    assert_eq!(said[4..10], [0, 1, 0, 0, 0, 0]);
    let name = asked[12..].iter().scan(0_u8, |left, &byte| {
        let is_root = *left == 0 && byte == 0;
        *left = if *left == 0 { byte } else { *left - 1 };
        Some(is_root)
    });
    let end = 12 + name.take_while(|is_root| !is_root).count() + 1 + 4;
    assert_eq!(asked[12..end], said[12..end], "another question");
    let opt = asked
        .get(end..end + 11)
        .filter(|opt| opt[..3] == [0, 0, 41] && asked[6..10] == [0; 4] && asked[10..12] != [0; 2]);
    let expected = opt.map(|opt| vec![0, 0, 41, 4, 208, 0, 0, opt[7] & 0x80, 0, 0, 0]).unwrap_or_default();
    assert_eq!(said[end..], expected[..], "what stands behind the question");
    assert_eq!(said[10..12], [0, u8::from(opt.is_some())]);
}

/// A datagram that mostly is a question.
fn question(random: &mut Random) -> Datagram {
    let server = random.pick(&SERVERS);
    let client: IpAddr = match server {
        _ if random.one_in(20) => server,
        IpAddr::V4(_) => CLIENT_V4.into(),
        IpAddr::V6(_) => CLIENT_V6.into(),
    };
    let mut message = random.short().to_be_bytes().to_vec();
    let flags = if random.one_in(4) { random.short() } else { 0x0100 };
    message.extend(flags.to_be_bytes());
    let has_opt = !random.one_in(3);
    let others = if random.one_in(8) { random.byte() & 1 } else { 0 };
    message.extend([0, u8::from(!random.one_in(20)), 0, others, 0, 0, 0, u8::from(has_opt)]);
    for _ in 0..below(random, 6, 128) {
        let label = 1 + below(random, 12, 66);
        message.push(u8::try_from(label).expect("a short label"));
        message.extend((0..label).map(|_| random.byte()));
    }
    message.push(0);
    message.extend([0, random.byte(), 0, 1]);
    if has_opt {
        let options = below(random, 24, 300);
        message.extend([0, 0, 41, random.byte(), random.byte(), 0, 0, random.byte(), 0]);
        message.extend(u16::try_from(options).expect("few").to_be_bytes());
        message.extend((0..options).map(|_| random.byte()));
    }
    let tags = random.pick(&[0, 0, 0, 1, 2]);
    let checksum = match random.below(6) {
        0 => Checksum::Partial,
        1 => Checksum::None,
        2 => Checksum::Wrong(random.short()),
        _ => Checksum::Whole,
    };
    let port = if random.one_in(20) { 0 } else { random.short() };
    Datagram {
        tags: (0..tags).map(|_| (random.pick(&[0x8100, 0x88a8]), vlan_tag(random))).collect(),
        checksum,
        ..Datagram::new(client, port, server, DNS_PORT, message)
    }
}

/// Less than `usual`, or now and then less than `seldom`.
fn below(random: &mut Random, usual: usize, seldom: usize) -> usize {
    let bound = if random.one_in(10) { seldom } else { usual };
    random.below(bound)
}

fn disturb(frame: &mut Vec<u8>, datagram: &Datagram, random: &mut Random) {
    let headers = datagram.ip_offset();
    match random.below(4) {
        0 => frame.truncate(headers + random.below(frame.len() - headers + 1)),
        1 => frame.extend((0..random.below(40)).map(|_| random.byte())),
        _ => {
            // Its checksum, where there is none to be kept right, lets changes of the message through.
            let at = headers + random.below(frame.len() - headers);
            frame[at] ^= 1 << random.below(8);
        }
    }
}
