//! What reaches who listens, and what does not.

use super::*;
use rstest::rstest;
use stateless_tcp_core::tcp::segment::Address;

const ALL: Filter = Filter { client: None, port: None, sample: 1, rate: 1_000_000 };

fn tuple(client: [u8; 4], client_port: u16) -> FourTuple {
    FourTuple {
        server: Address::from_ipv4([192, 0, 2, 1]),
        client: Address::from_ipv4(client),
        server_port: 53,
        client_port,
    }
}

fn listen(filter: Filter) -> (Taps, Listener) {
    let outlet = TapRegistry::default();
    assert!(outlet.take().is_none());
    let listener = Listener::to_frames([&outlet].into_iter(), filter);
    assert!(!outlet.is_empty());
    let mut taps = Taps::default();
    taps.add(outlet.take().unwrap());
    assert!(outlet.is_empty() && !taps.is_empty());
    (taps, listener)
}

fn heard(listener: &mut Listener) -> Vec<(Duration, Direction, Vec<u8>)> {
    let mut heard = Vec::new();
    let take = |number, record: Record<'_>| {
        assert_eq!(number, 0);
        heard.push((record.time, record.direction, record.octets.to_vec()));
        Ok::<_, ()>(())
    };
    listener.frames(take).unwrap();
    heard
}

#[test]
fn frames_are_heard_in_order_and_whole() {
    let (mut taps, mut listener) = listen(ALL);
    let at = |nanoseconds| Duration::from_nanos(nanoseconds);
    let tuple = tuple([192, 0, 2, 9], 1);
    taps.frame(UNIX_EPOCH + at(7), Some(&tuple), Direction::Received, b"a frame");
    taps.frame(UNIX_EPOCH + at(8), None, Direction::Sent, &[]);
    let expected = [(at(7), Direction::Received, b"a frame".to_vec()), (at(8), Direction::Sent, vec![])];
    assert_eq!(heard(&mut listener), expected);
    assert_eq!(listener.lost(), 0);
    drop(listener);
    taps.frame(UNIX_EPOCH, None, Direction::Sent, &[7]);
    assert!(taps.is_empty(), "nobody listens any more");
}

#[test]
fn who_has_gone_is_not_waited_for() {
    let outlet = TapRegistry::default();
    let attach = || Listener::to_frames([&outlet].into_iter(), ALL);
    drop(attach());
    drop(attach());
    let _listener = attach();
    assert_eq!(
        outlet.take().map(|taps| taps.len()),
        Some(1),
        "a worker that stands still takes none of them"
    );
}

#[test]
fn no_more_are_copied_than_was_asked_for() {
    let (mut taps, mut listener) = listen(Filter { rate: 50, ..ALL });
    for tenth in 0..10 {
        for _ in 0..20 {
            let now = UNIX_EPOCH + Duration::from_secs(9) + tenth * WINDOW;
            taps.frame(now, None, Direction::Sent, &[1]);
        }
    }
    assert_eq!((heard(&mut listener).len(), listener.lost()), (50, 150));
}

#[rstest]
#[case::client(Filter { client: Some("192.0.2.0/25".parse().unwrap()), ..ALL }, [true, false, false])]
#[case::port(Filter { port: Some(53), ..ALL }, [true, true, false])]
#[case::other_port(Filter { port: Some(80), ..ALL }, [false, false, false])]
#[case::all(ALL, [true, true, true])]
fn a_filter_is_kept_to(#[case] filter: Filter, #[case] expected: [bool; 3]) {
    let (mut taps, mut listener) = listen(filter);
    let tuples = [Some(tuple([192, 0, 2, 9], 1)), Some(tuple([192, 0, 2, 200], 1)), None];
    let mut hears = |tuple: Option<FourTuple>| {
        taps.frame(UNIX_EPOCH, tuple.as_ref(), Direction::Sent, &[1]);
        !heard(&mut listener).is_empty()
    };
    assert_eq!(tuples.map(&mut hears), expected);
    assert_eq!(listener.lost(), 0, "what is not wanted is not left out");
}

#[test]
fn connections_are_sampled_whole() {
    let (mut taps, mut listener) = listen(Filter { sample: 8, ..ALL });
    let mut counts = std::collections::HashMap::new();
    for port in 0..4_000_u16 {
        for _ in 0..3 {
            let octets = port.to_be_bytes();
            taps.frame(UNIX_EPOCH, Some(&tuple([192, 0, 2, 9], port)), Direction::Sent, &octets);
        }
        for (.., octets) in heard(&mut listener) {
            *counts.entry(octets).or_insert(0) += 1;
        }
    }
    assert!((350..650).contains(&counts.len()), "{} of 4000", counts.len());
    assert!(counts.values().all(|&count| count == 3));
}
