//! Invariants of the responder, whatever it receives; the fuzz targets assert the same for longer.

use proptest::{collection::vec, prelude::*};
use stateless_tcp_tests::{
    in_memory_harness::{agreement, script::Script},
    packet::Packet,
    topology::{GHOST_V4, GHOST_V6, SERVERS},
};

/// The seed of the whole run is printed (`PROPTEST_RNG_SEED`): that, and no file, makes a failure come again.
fn config(times: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, cases: default.cases * times, ..default }
}

proptest! {
    // Most of what can be said about a conversation shows only where several rare things meet.
    #![proptest_config(config(4))]

    #[test]
    fn conversations(script in vec(any::<u8>(), 0..400).prop_map(|bytes| Script::read(&bytes))) {
        script.play();
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn options_are_read_as_an_independent_reader_does(
        bytes in vec(prop_oneof![6 => 0..=10_u8, 1 => Just(34), 5 => any::<u8>()], 0..=40),
    ) {
        agreement::assert_options(&bytes);
    }

    #[test]
    fn frames_are_read_as_an_independent_reader_does(
        v6 in any::<bool>(),
        port in prop_oneof![Just(53), Just(80), any::<u16>()],
        tags in vec((prop_oneof![Just(0x8100), Just(0x88a8)], any::<u16>()), 0..4),
        ip_options in 0..=10_usize,
        fragment in prop_oneof![3 => Just(0x4000_u16), 1 => any::<u16>()],
        (seq, ack, flags, window) in any::<(u32, u32, u8, u16)>(),
        option in vec(prop_oneof![0..=10_u8, any::<u8>()], 4),
        payload in vec(any::<u8>(), 0..80),
        (at, by, cut) in (0..200_usize, prop_oneof![2 => Just(0), 1 => any::<u8>()], 0..8_usize),
    ) {
        let (source, server) = if v6 { (GHOST_V6.into(), SERVERS[1]) } else { (GHOST_V4.into(), SERVERS[0]) };
        let mut packet = Packet::new(source, 40_000, server, port);
        packet.tags = tags;
        if !v6 {
            packet.ip_options = vec![1; 4 * ip_options];
            packet.fragment = fragment;
        }
        let packet = Packet { seq, ack, flags, window, options: option, payload, ..packet };
        let mut frame = packet.octets();
        if at < frame.len() {
            frame[at] ^= by;
        }
        frame.truncate(frame.len() - cut);
        agreement::assert_segment(&frame);
    }
}
