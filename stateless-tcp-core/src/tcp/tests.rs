//! Who can have the server send how much to whom: the figures of docs/protocol.md, "Whom an answer can reach".

use super::application::MAX_RESPONSE;
use super::isn::{CookieFields, Generations, Key, Keys, MssClass, iss, iss_with_timestamps};
use super::segment::{Address, Flags, FourTuple, Options, Segment, Timestamps};
use super::testing::{answer, epochs};
use super::ts_cookie::{TsCookie, TsState};
use super::{AckPolicy, TcpConfig};

const KEY: Key = Key([7; 16]);
const ISN: u32 = 1_000;
/// Bytes of a query for a short name.
const QUERY: u16 = 19;

fn config() -> TcpConfig {
    TcpConfig {
        ack_policy: AckPolicy::Reliable,
        keys: Keys { current: KEY, previous: None },
        generations: Generations::only(7),
        segment_size: 1220,
        fast_open: false,
    }
}

fn tuple(client_port: u16) -> FourTuple {
    let [server, client] = [1, 2].map(|last| Address::from_ipv4([192, 0, 2, last]));
    FourTuple { server, client, server_port: 53, client_port }
}

/// The first segment of a connection of `class` that has `received` bytes.
fn first(class: MssClass, received: u32, timestamps: bool) -> Segment {
    first_from(40_000, class, received, timestamps)
}

fn first_from(client_port: u16, class: MssClass, received: u32, timestamps: bool) -> Segment {
    let (tuple, fields) = (tuple(client_port), CookieFields { class, generation: 7 });
    let (iss, timestamps) = if timestamps {
        let (iss, mask) = iss_with_timestamps(&KEY, &tuple, ISN, epochs().persistent.current, fields);
        let cookie = TsCookie::new(ISN + 1, iss.wrapping_add(1), TsState::Acked);
        (iss, Some(Timestamps { value: 5, echo: cookie.encode(mask) }))
    } else {
        (iss(&KEY, &tuple, ISN, epochs().single_request.current, fields), None)
    };
    let options = Options { timestamps, ..Options::default() };
    let ack = iss.wrapping_add(1).wrapping_add(received);
    Segment { tuple, seq: ISN + 1, ack, flags: Flags::ACK, window: u16::MAX, options, length: QUERY }
}

/// Segments and bytes of IP that answer a segment with a response of `length` bytes.
fn brought(segment: &Segment, length: u32) -> (u32, u32) {
    let headers = if segment.options.timestamps.is_some() { 52 } else { 40 };
    let sent = answer(&config(), segment, length as usize).unwrap_or_default();
    let payload = sent.iter().map(|segment| u32::from(segment.length)).sum::<u32>();
    let segments = u32::try_from(sent.len()).expect("few");
    if payload == 0 { (0, 0) } else { (segments, payload + headers * segments) }
}

/// Somebody who once saw the SYN,ACK, as long as it is good: for each segment the longest answer, to that address.
#[test]
fn a_replay_brings_no_more_than_stated() {
    for (class, timestamps, expected) in [
        (MssClass::Standard, false, (54, 67_694)),
        (MssClass::Minimal, false, (123, 70_454)),
        (MssClass::Standard, true, (65, 68_380)),
        (MssClass::Minimal, true, (128, 71_656)),
    ] {
        // Each connection has a secret of its own that says where its segments end.
        let segments = (1..=64).map(|port| first_from(port, class, 0, timestamps));
        let most =
            segments.flat_map(|segment| (65_000..=MAX_RESPONSE).map(move |length| brought(&segment, length)));
        let most = most.max();
        assert_eq!(most, Some(expected), "{class:?}, timestamps {timestamps}");
    }
}

/// Somebody who sees nothing, and so guesses SEG.ACK.
#[test]
fn a_guess_without_timestamps_brings_no_more_than_stated() {
    for (length, expected) in [(100, (2, 2, 280)), (MAX_RESPONSE, (177, 9_109, 6_195_959))] {
        let (mut fitting, mut segments, mut bytes) = (0, 0_u64, 0_u64);
        for class in [MssClass::Standard, MssClass::Minimal] {
            for received in 0..=length + 1 {
                let (count, octets) = brought(&first(class, received, false), length);
                fitting += u32::from(count > 0);
                segments += u64::from(count);
                bytes += u64::from(octets);
            }
        }
        assert_eq!((fitting, segments, bytes), expected, "an answer of {length} bytes");
    }
}
