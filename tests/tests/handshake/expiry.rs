//! Proofs that the XDP program gave: what they bring after their life, of the program and of the responder behind it.

use std::time::Duration;

use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_tests::packet::Packet;
use stateless_tcp_tests::seed::{Random, size};

use super::client::HandshakeClient;
use super::{Trio, XdpVerdict};

/// Every kind of proof is over then.
const LIFE: Duration = Duration::from_hours(1);

#[test]
fn a_proof_of_the_driver_brings_nothing_after_its_life() {
    const EACH: usize = 20;
    let mut random = Random::new("expiry");
    let mut trio = Trio::new();
    let (mut answered, mut ends) = (0, 0);
    for _ in 0..size(500, 5_000) {
        let opened = trio.now + Duration::from_secs(random.below(100_000) as u64);
        trio.set_clock(opened);
        let mut client = HandshakeClient::new(&mut random);
        let (fate, sent) = trio.exchange("SYN", &client.syn(&mut random).octets());
        if !matches!(fate, XdpVerdict::Decided(Outcome::SynAck, _)) {
            continue;
        }
        client.hear(&sent);
        for late in [false, true] {
            if late {
                trio.set_clock(opened + LIFE + Duration::from_secs(random.below(10_000) as u64));
            }
            for _ in 0..EACH {
                let packet = client.speak(&mut random);
                let (_, sent) = trio.exchange("proof", &packet.octets());
                let sent: Vec<_> = sent.iter().map(|frame| Packet::parse(frame).expect("TCP")).collect();
                let payload: usize = sent.iter().map(|packet| packet.payload.len()).sum();
                assert!(!late || payload == 0 && sent.len() <= 1, "{packet} brings {sent:?}");
                answered += usize::from(payload > 0);
                ends += usize::from(late && !sent.is_empty());
            }
        }
    }
    println!("{answered} segments answered within their life; {ends} got FIN, ACK or RST after it");
    assert!(answered > 0);
}
