//! A sender that sees nothing of what the server sends gets nothing out of it.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_tests::client::{Client, port};
use stateless_tcp_tests::forge::{Forger, Guess};
use stateless_tcp_tests::in_memory_harness::Harness;
use stateless_tcp_tests::packet::{Packet, flags};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::seed::size;
use stateless_tcp_tests::topology::{SERVER_V4, Topology};

#[test]
fn forged_segments_are_well_formed() {
    let mut forger = Forger::new(1);
    for _ in 0..1_000 {
        let packet = Packet::parse(forger.forge()).expect("TCP");
        assert!(packet.intact && !packet.payload.is_empty(), "{packet}");
        assert_eq!(packet.options.len(), 12, "{packet}");
    }
}

/// A forged frame lacks nothing but the numbers: with those that SYN,ACK tells, every kind is answered.
#[test]
fn who_sees_the_syn_ack_is_answered() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let port = port(&topology);
    let mut forger = Forger::new(2);
    for (kind, source_port) in (0..forger.kinds()).zip(40_000..) {
        let mut guess = Guess { port: source_port, seq: 8, ack: 0, value: 2, echo: 0 };
        let template = Packet::parse(forger.fill(kind, &guess)).expect("TCP");
        let (server, server_port) = (template.destination, template.destination_port);
        let client = Client::new(&port, source_port, server, server_port, 7);
        let syn = client.syn();
        let options = [&syn.options[..], &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
        client.send(&Packet { options, ..syn });
        let answer = client.expect();
        assert!(answer.is(flags::SYN | flags::ACK), "not a SYN,ACK: {answer}");
        let (echo, _) = answer.timestamps().unwrap_or_else(|| panic!("timestamps declined: {answer}"));
        guess = Guess { ack: answer.seq.wrapping_add(1), echo, ..guess };
        port.send(forger.fill(kind, &guess));
        let answer = client.expect();
        assert!(!answer.payload.is_empty(), "kind {kind}: {answer}");
    }
    responder.stop();
}

/// docs/protocol.md bounds what is to be expected; with key and draws the same in every run, this is one case of it.
#[test]
fn a_blind_sender_is_as_good_as_never_answered() {
    const ALL: usize = 10_000_000;
    let count = size(500_000, ALL);
    let mut forger = Forger::new(3);
    let mut harness = Harness::new(AckPolicy::Reliable, 1220);
    let (mut answered, mut segments) = (Vec::new(), 0);
    for _ in 0..count {
        let frame = forger.forge();
        let sent = harness.segments_for(frame);
        if sent > 0 {
            segments += sent;
            answered.push(Packet::parse(frame).expect("TCP").to_string());
        }
    }
    println!(
        "{count} forged: {} answered, with {segments} segments; {:?}",
        answered.len(),
        harness.counted()
    );
    let first = &answered[..answered.len().min(10)];
    assert!(answered.len() < if count == ALL { 10 } else { 4 }, "{} answered, as {first:#?}", answered.len());
}

/// The same over the wire.
#[test]
fn a_blind_sender_is_not_answered_over_xdp() {
    const COUNT: usize = 200_000;
    const BETWEEN_BARRIERS: usize = 500;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let key = directory.path().join("key");
    fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").expect("write the key");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("keep the key to ourselves");
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--key-file", key.to_str().expect("a path in UTF-8")]);
    let port = port(&topology);
    let mut forger = Forger::new(4);
    let before = responder.counters();
    for sent in 0..COUNT {
        port.send(forger.forge());
        if sent % BETWEEN_BARRIERS == BETWEEN_BARRIERS - 1 {
            // One queue, one worker: when this is answered, all before it is dealt with.
            let source = 1024 + u16::try_from(sent / BETWEEN_BARRIERS).expect("few barriers");
            Client::new(&port, source, IpAddr::V4(SERVER_V4), 53, 7).open();
        }
    }
    let counted = responder.counters().since(&before);
    println!("{counted:?}");
    let barriers = (COUNT / BETWEEN_BARRIERS) as u64;
    assert_eq!(counted["received"], COUNT as u64 + barriers, "{counted:?}");
    // Nothing but barriers, give or take the one in a million that the bound allows: of a few segments, in one run of ten.
    assert!(counted["sent"] <= barriers + 8, "{counted:?}");
    responder.stop();
}
