//! Clients without timestamps, and boxes in the middle that take them away or change them: one request a connection
//! works, or the connection ends clearly, and no byte is ever wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use rstest::rstest;
use stateless_tcp_tests::client::{get, query};
use stateless_tcp_tests::lossy_network::{DNS, HTTP, LossyNetwork};
use stateless_tcp_tests::packet::Packet;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::INTERFACE;

const A: u16 = 1;
const TXT: u16 = 16;

/// After this long without a sign of the other end, the client's kernel ends the connection: its own way to end clearly,
/// of which the system's default is a quarter of an hour.
const GIVES_UP: Duration = Duration::from_secs(1);
/// Longer than that: a read that takes this long hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// The course of a connection with two questions, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionEnd {
    /// Both answered.
    Both,
    /// The first answered, then FIN.
    Closed,
    /// The first answered, then a reset.
    Reset,
    /// The first answered, and the client gave up on the second.
    GivenUp,
    /// Not even the first: FIN.
    ClosedAtOnce,
    /// Not even the first: a reset.
    ResetAtOnce,
    /// Not even the first: the client gave up.
    GivenUpAtOnce,
}

use ConnectionEnd::{Both, Closed, ClosedAtOnce, GivenUp, GivenUpAtOnce, Reset, ResetAtOnce};

/// No answer, and a clear end.
const AT_ONCE: &[ConnectionEnd] = &[ClosedAtOnce, ResetAtOnce, GivenUpAtOnce];
/// One answer at least, and then a clear end.
const AFTER_ONE: &[ConnectionEnd] = &[Both, Closed, Reset, GivenUp];

/// The right bytes of an answer, with id 0.
fn fetch(path: &LossyNetwork, name: &str, rtype: u16) -> Vec<u8> {
    path.client.enter(|| {
        let mut stream = TcpStream::connect(DNS).expect("connect over a good path");
        stream.write_all(&query(0, name, rtype)).expect("ask over a good path");
        let mut answer = vec![0; 2];
        stream.read_exact(&mut answer).expect("an answer over a good path");
        answer.resize(2 + usize::from(u16::from_be_bytes([answer[0], answer[1]])), 0);
        stream.read_exact(&mut answer[2..]).expect("a whole answer over a good path");
        answer
    })
}

/// Asks `question` twice on one connection and says how it ended.
///
/// # Panics
/// If one byte is not the answer's, or the connection neither goes on nor ends.
fn converse(path: &LossyNetwork, name: &str, rtype: u16, right: &[u8]) -> ConnectionEnd {
    path.client.enter(|| {
        let mut stream = TcpStream::connect_timeout(&DNS, PATIENCE).expect("the handshake gets through");
        let gives_up = u32::try_from(GIVES_UP.as_millis()).expect("short");
        setsockopt(&stream, TcpUserTimeout, &gives_up).expect("set the user timeout");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let ends = [[ClosedAtOnce, ResetAtOnce, GivenUpAtOnce], [Closed, Reset, GivenUp]];
        for (id, [closed, reset, given_up]) in (1_u16..).zip(ends) {
            let mut right = right.to_vec();
            right[2..4].copy_from_slice(&id.to_be_bytes());
            match exchange(&mut stream, &query(id, name, rtype), &right) {
                Ok(()) => {}
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof => return closed,
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return reset,
                    ErrorKind::TimedOut => return given_up,
                    _ => panic!("the connection hangs: {error}"),
                },
            }
        }
        Both
    })
}

/// Asks, and reads one answer as it comes; wrong bytes are a panic even if it never gets whole.
fn exchange(stream: &mut TcpStream, question: &[u8], right: &[u8]) -> std::io::Result<()> {
    stream.write_all(question)?;
    let (mut got, mut length) = (vec![0; right.len()], 0);
    while length < right.len() {
        match stream.read(&mut got[length..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
        assert!(got[..length] == right[..length], "wrong octets among the first {length}");
    }
    Ok(())
}

/// (name, type, the answer with id 0)
type ExpectedAnswer = (&'static str, u16, Vec<u8>);

/// A path, a responder with the built-in zone at its end, and both kinds of answer.
fn set_up() -> (LossyNetwork, Responder, [ExpectedAnswer; 2]) {
    let path = LossyNetwork::new(1);
    let responder = Responder::try_start(&path.servers[0], 1, &["run", "-i", INTERFACE]).expect("it starts");
    let answers = [("example.com", A), ("large.example.com", TXT)]
        .map(|(name, rtype)| (name, rtype, fetch(&path, name, rtype)));
    assert!(answers[0].2.len() < 1208 && answers[1].2.len() > 4 * 1208, "one segment, and five");
    (path, responder, answers)
}

/// Each box with how a connection may end, for an answer of one segment and of five.
#[rstest]
#[case::none("", &[Both], &[Both])]
// Then neither end has timestamps.
#[case::stripped_from_all("reset tcp option timestamp", &[Closed], &[Closed])]
#[case::stripped_from_syn("tcp flags & (syn | ack) == syn reset tcp option timestamp", &[Closed], &[Closed])]
// The client does not echo what it has not seen. Nothing can be proven by a segment without an echo, or with a false one:
// it is as good as forged.
#[case::stripped_from_syn_ack(
    "tcp flags & (syn | ack) == (syn | ack) reset tcp option timestamp",
    AT_ONCE,
    AT_ONCE
)]
#[case::stripped_from_what_follows(
    "iifname near tcp flags & syn == 0 reset tcp option timestamp",
    AT_ONCE,
    AT_ONCE
)]
#[case::false_echo(
    "iifname near tcp flags & syn == 0 tcp option timestamp tsecr set 305419896",
    AT_ONCE,
    AT_ONCE
)]
#[case::server_clock_stands("iifname far0 tcp option timestamp tsval set 1", AT_ONCE, AT_ONCE)]
// The echo stays the SYN,ACK's, which accounts for no request: the first is answered, the second lies beyond it, and only
// a hint can place it.
#[case::stripped_from_our_segments(
    "iifname far0 tcp flags & syn == 0 reset tcp option timestamp",
    AFTER_ONE,
    AFTER_ONE
)]
// What the client's clock says is nothing to the server, which only echoes it.
#[case::client_clock_stands(
    "iifname near tcp flags & syn == 0 tcp option timestamp tsval set 1",
    &[Both],
    &[Both]
)]
fn boxes_in_the_middle(
    #[case] rules: &str,
    #[case] small: &[ConnectionEnd],
    #[case] large: &[ConnectionEnd],
) {
    let (path, responder, answers) = set_up();
    path.filter(rules);
    for ((name, rtype, right), expected) in answers.iter().zip([small, large]) {
        let end = converse(&path, name, *rtype, right);
        println!("{name}: {end:?}");
        assert!(
            expected.is_empty() || expected.contains(&end),
            "{name}: {end:?}, expected one of {expected:?}"
        );
    }
    responder.stop();
}

/// Windows offers no timestamps: one request a connection.
#[test]
fn a_client_without_timestamps_asks_once() {
    let (path, responder, answers) = set_up();
    path.client.run("sysctl -qw net.ipv4.tcp_timestamps=0");
    for (name, rtype, right) in &answers {
        assert_eq!(converse(&path, name, *rtype, right), Closed, "{name}");
    }
    responder.stop();
}

/// A firewall that hides hosts' clocks adds a constant to each timestamp and takes it off each echo, and nobody notices.
#[test]
fn modulated_timestamps_are_as_good_as_any() {
    let (mut path, responder, answers) = set_up();
    path.interpose(|frame| {
        let Some(mut packet) = Packet::parse(frame) else { return };
        let from_client = packet.destination_port == DNS.port();
        let (own, other) = if from_client { (0xdead_beef, 0xfeed_f00d) } else { (0xfeed_f00d, 0xdead_beef) };
        if let Some(at) = packet.options.windows(2).position(|pair| pair == [8, 10]) {
            let mut shift = |at: usize, by: u32| {
                let field = packet.options[at..].first_chunk_mut::<4>().expect("the option is whole");
                *field = u32::from_be_bytes(*field).wrapping_add(by).to_be_bytes();
            };
            shift(at + 2, own);
            shift(at + 6, 0_u32.wrapping_sub(other));
        }
        *frame = packet.octets();
    });
    for (name, rtype, right) in &answers {
        assert_eq!(converse(&path, name, *rtype, right), Both, "{name}");
    }
    responder.stop();
}

/// A router that cuts packets up. The first fragment has the ports and is dropped for it, or the kernel would put the
/// packet together and reset the connection; the client hears nothing, and works again when the packets are whole.
#[test]
fn fragments_are_dropped_and_counted() {
    const REQUEST: usize = 1000;
    let path = LossyNetwork::new(1);
    let responder = Responder::try_start(&path.servers[0], 1, &["run", "-i", INTERFACE]).expect("it starts");
    let ask = || {
        path.client.enter(|| {
            let mut stream = TcpStream::connect(HTTP).expect("the handshake needs no long packets");
            let gives_up = u32::try_from(GIVES_UP.as_millis()).expect("short");
            setsockopt(&stream, TcpUserTimeout, &gives_up).expect("set the user timeout");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.write_all(&get("/", REQUEST)).expect("ask");
            stream.read(&mut [0; 1])
        })
    };
    assert_eq!(ask().expect("an answer while packets are whole"), 1);
    let before = responder.counters();

    // As if the client had not forbidden it.
    path.filter("iifname near ip frag-off set 0");
    path.router.run("ip link set far0 mtu 576");
    let error = ask().expect_err("no answer to fragments");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let counted = responder.counters().since(&before);
    assert!(counted["xdp_first_fragment"] >= 2, "{counted:?}");
    assert!(!counted.contains_key("answered"), "{counted:?}");

    path.router.run("ip link set far0 mtu 1500");
    assert_eq!(ask().expect("an answer when packets are whole again"), 1);
    responder.stop();
}
