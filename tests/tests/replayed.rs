//! A sender that once saw a SYN,ACK at an address that is not its own any more: what it can have sent there, and for how long.

use std::time::Duration;

use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_tests::client::query;
use stateless_tcp_tests::in_memory_harness::{DNS_PORT, Harness};
use stateless_tcp_tests::packet::{Packet, flags};
use stateless_tcp_tests::seed::{Random, size};
use stateless_tcp_tests::topology::{GHOST_V4, GHOST_V6, SERVERS};

const TXT: u16 = 16;
/// Proofs live for less, where clocks agree (`epoch::tests::proofs_live_as_long_as_stated`).
const SINGLE_REQUEST: Duration = Duration::from_secs(225);
/// The same with timestamps.
const PERSISTENT: Duration = Duration::from_hours(1);
/// Every proof is good for so long.
const AT_LEAST: Duration = Duration::from_secs(105);

/// Everything that a SYN,ACK tells.
struct Harvested {
    /// A segment that goes behind it.
    template: Packet,
    echo: Option<u32>,
    life: Duration,
}

impl Harvested {
    /// Opens a connection at the harness's present.
    fn harvest(harness: &mut Harness, random: &mut Random) -> Self {
        let v6 = random.one_in(2);
        let source = if v6 { GHOST_V6.into() } else { GHOST_V4.into() };
        let base = Packet::new(source, random.short().max(1), SERVERS[usize::from(v6)], DNS_PORT);
        let timestamps = random.one_in(2);
        let mss = [2, 4, 5, 180];
        let options = if timestamps {
            [&mss[..], &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]].concat()
        } else {
            mss.to_vec()
        };
        let seq = random.word();
        let syn = Packet { flags: flags::SYN, seq, options, ..base.clone() };
        let [syn_ack] = &harness.answers_to(&syn.octets())[..] else { panic!("no SYN,ACK to {syn}") };
        let template = Packet {
            flags: flags::PSH | flags::ACK,
            seq: seq.wrapping_add(1),
            ack: syn_ack.seq.wrapping_add(1),
            window: u16::MAX,
            payload: query(7, "huge.example.com", TXT),
            ..base
        };
        let echo = syn_ack.timestamps().map(|(value, _)| value);
        assert_eq!(echo.is_some(), timestamps, "{syn_ack}");
        Self { template, echo, life: if timestamps { PERSISTENT } else { SINGLE_REQUEST } }
    }

    /// A segment that proves what the SYN,ACK told, with so much added to SEG.ACK and the echo.
    fn segment(&self, ack: u32, echo: u32) -> Packet {
        let options = self.echo.map_or_else(Vec::new, |value| {
            [&[1, 1, 8, 10, 0, 0, 0, 2][..], &value.wrapping_add(echo).to_be_bytes()].concat()
        });
        Packet { ack: self.template.ack.wrapping_add(ack), options, ..self.template.clone() }
    }

    /// One of the changes that somebody might make who knows how cookies are made, and lacks the key.
    fn changed(&self, random: &mut Random) -> Packet {
        const SLOT: u32 = 1 << 31;
        let width = if self.echo.is_some() { 31_u32 << 19 } else { 31 << 17 };
        let mut below = |bound| u32::try_from(random.below(bound)).expect("small");
        let ack = match below(6) {
            0 => 0,
            1 => SLOT,
            2 => width.wrapping_mul(below(512)),
            3 => SLOT.wrapping_add(width.wrapping_mul(below(512))),
            4 => 1_220 * below(60),
            _ => random.word(),
        };
        let echo = if random.one_in(3) { random.word() } else { u32::from(random.byte() % 4) };
        self.segment(ack, echo)
    }
}

fn payload(sent: &[Packet]) -> usize {
    sent.iter().map(|packet| packet.payload.len()).sum()
}

/// However it changes what it knows.
#[test]
fn a_proof_brings_nothing_after_its_life() {
    const EACH: usize = 500;
    let mut random = Random::new("replayed");
    let mut harness = Harness::new(AckPolicy::Reliable, 1220);
    let start = harness.now;
    let (mut tries, mut ends) = (0, 0);
    while tries < size(1_000_000, 10_000_000) {
        harness.now = start + Duration::from_secs(random.below(100_000) as u64);
        let opened = harness.now;
        let proof = Harvested::harvest(&mut harness, &mut random);
        harness.now = opened + AT_LEAST;
        assert!(payload(&harness.answers_to(&proof.segment(0, 0).octets())) > 20_000, "{}", proof.template);
        for _ in 0..EACH {
            let late = random.pick(&[1, 60, 3_600, 1_000_000]);
            harness.now = opened + proof.life + Duration::from_millis(random.below(1_000 * late) as u64);
            let packet = proof.changed(&mut random);
            let sent = harness.answers_to(&packet.octets());
            assert_eq!(payload(&sent), 0, "{packet} brings {sent:?}");
            // FIN or RST of a connection that is over, and never more than one.
            assert!(sent.len() <= 1, "{packet} brings {sent:?}");
            ends += sent.len();
        }
        tries += EACH;
    }
    println!("{tries} tries, {ends} of them answered by FIN or RST");
}

/// docs/protocol.md, "A proof is replayed".
#[test]
fn a_replay_brings_no_more_than_stated() {
    let mut random = Random::new("replayed");
    let mut harness = Harness::new(AckPolicy::Reliable, 1220);
    let bytes = |packet: &Packet| packet.octets().len() - 14;
    let (mut most_segments, mut most_bytes, mut most_times) = (0, 0, 0);
    for _ in 0..1_000 {
        let proof = Harvested::harvest(&mut harness, &mut random);
        let packet = proof.segment(0, 0);
        let sent = harness.answers_to(&packet.octets());
        let received: usize = sent.iter().map(bytes).sum();
        most_segments = most_segments.max(sent.len());
        most_bytes = most_bytes.max(received);
        most_times = most_times.max(received / bytes(&packet));
    }
    // An answer of 30 kB; the longest one brings twice as much (`tcp::tests::a_replay_brings_no_more_than_stated`).
    assert_eq!((most_segments, most_bytes, most_times), (31, 32_628, 413));
}
