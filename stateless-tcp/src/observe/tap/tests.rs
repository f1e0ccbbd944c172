//! Frames that reach a listener, and frames that are left out.

use super::*;
use rstest::rstest;
use stateless_tcp_core::tcp::segment::Address;

const ALL: TapFilter = TapFilter { client: None, port: None, sample: 1, rate: 1_000_000 };

fn tuple(client: [u8; 4], client_port: u16) -> FourTuple {
    FourTuple {
        server: Address::from_ipv4([192, 0, 2, 1]),
        client: Address::from_ipv4(client),
        server_port: 53,
        client_port,
    }
}

fn listen(filter: TapFilter) -> (Taps, TapListener) {
    let registry = TapRegistry::default();
    assert!(registry.take().is_none());
    let listener = TapListener::to_frames([&registry].into_iter(), filter);
    assert!(!registry.is_empty());
    let mut taps = Taps::default();
    taps.add(registry.take().unwrap());
    assert!(registry.is_empty() && !taps.is_empty());
    (taps, listener)
}

fn received(listener: &mut TapListener) -> Vec<(Duration, Direction, Vec<u8>)> {
    let mut received = Vec::new();
    let take = |number, record: FrameRecord<'_>| {
        assert_eq!(number, 0);
        received.push((record.time, record.direction, record.bytes.to_vec()));
        Ok::<_, ()>(())
    };
    listener.frames(take).unwrap();
    received
}

#[test]
fn frames_are_copied_in_order_and_whole() {
    let (mut taps, mut listener) = listen(ALL);
    let at = |nanoseconds| Duration::from_nanos(nanoseconds);
    let tuple = tuple([192, 0, 2, 9], 1);
    taps.frame(UNIX_EPOCH + at(7), Some(&tuple), Direction::Received, b"a frame");
    taps.frame(UNIX_EPOCH + at(8), None, Direction::Sent, &[]);
    let expected = [(at(7), Direction::Received, b"a frame".to_vec()), (at(8), Direction::Sent, vec![])];
    assert_eq!(received(&mut listener), expected);
    assert_eq!(listener.lost(), 0);
    drop(listener);
    taps.frame(UNIX_EPOCH, None, Direction::Sent, &[7]);
    assert!(taps.is_empty(), "the listener is gone");
}

#[test]
fn taps_of_listeners_that_are_gone_are_removed() {
    let registry = TapRegistry::default();
    let attach = || TapListener::to_frames([&registry].into_iter(), ALL);
    drop(attach());
    drop(attach());
    let _listener = attach();
    assert_eq!(registry.take().map(|taps| taps.len()), Some(1), "a stuck worker takes none of them");
}

#[test]
fn no_more_frames_are_copied_than_requested() {
    let (mut taps, mut listener) = listen(TapFilter { rate: 50, ..ALL });
    for tenth in 0..10 {
        for _ in 0..20 {
            let now = UNIX_EPOCH + Duration::from_secs(9) + tenth * WINDOW;
            taps.frame(now, None, Direction::Sent, &[1]);
        }
    }
    assert_eq!((received(&mut listener).len(), listener.lost()), (50, 150));
}

#[rstest]
#[case::client(TapFilter { client: Some("192.0.2.0/25".parse().unwrap()), ..ALL }, [true, false, false])]
#[case::port(TapFilter { port: Some(53), ..ALL }, [true, true, false])]
#[case::other_port(TapFilter { port: Some(80), ..ALL }, [false, false, false])]
#[case::all(ALL, [true, true, true])]
fn a_filter_selects_frames(#[case] filter: TapFilter, #[case] expected: [bool; 3]) {
    let (mut taps, mut listener) = listen(filter);
    let tuples = [Some(tuple([192, 0, 2, 9], 1)), Some(tuple([192, 0, 2, 200], 1)), None];
    let mut passes = |tuple: Option<FourTuple>| {
        taps.frame(UNIX_EPOCH, tuple.as_ref(), Direction::Sent, &[1]);
        !received(&mut listener).is_empty()
    };
    assert_eq!(tuples.map(&mut passes), expected);
    assert_eq!(listener.lost(), 0, "frames that do not pass the filter do not count");
}

#[test]
fn connections_are_sampled_whole() {
    let (mut taps, mut listener) = listen(TapFilter { sample: 8, ..ALL });
    let mut counts = std::collections::HashMap::new();
    for port in 0..4_000_u16 {
        for _ in 0..3 {
            let bytes = port.to_be_bytes();
            taps.frame(UNIX_EPOCH, Some(&tuple([192, 0, 2, 9], port)), Direction::Sent, &bytes);
        }
        for (.., bytes) in received(&mut listener) {
            *counts.entry(bytes).or_insert(0) += 1;
        }
    }
    assert!((350..650).contains(&counts.len()), "{} of 4000", counts.len());
    assert!(counts.values().all(|&count| count == 3));
}
