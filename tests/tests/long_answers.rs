//! The longest answers that DNS has, larger than the window of any client, which window scaling would have to widen: they
//! arrive whole, whoever asks, and however small the window is.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt::RcvBuf,
};
use rstest::rstest;
use stateless_tcp_tests::{
    client::query,
    responder::Responder,
    topology::{INTERFACE, SERVERS, Topology},
    veth_xdp_peer::VethXdpPeer,
};

const NAME: &str = "long.example.org";
const TXT: u16 = 16;
/// Bytes of the longest DNS message.
const LONGEST: usize = 65_535;
const HEADER: usize = 12;
/// Bytes of the question: name, type, class.
const QUESTION: usize = NAME.len() + 2 + 4;
/// Bytes of a record before its data: a compressed name, type, class, time to live, length.
const RECORD: usize = 12;
const RECORDS: usize = 16;
/// Bytes of a string, and the longest there are, with their length.
const STRING: usize = 256;
const SERVFAIL: u8 = 2;

/// The data of records that fill a message to the last byte. No two bytes close to each other are the same.
fn records() -> Vec<Vec<u8>> {
    let all = LONGEST - HEADER - QUESTION - RECORDS * RECORD;
    let each = 16 * STRING;
    (0..RECORDS)
        .map(|record| {
            let length = if record + 1 < RECORDS { each } else { all - (RECORDS - 1) * each };
            let mut data = Vec::with_capacity(length);
            while data.len() < length {
                let string = (length - data.len()).min(STRING);
                data.push(u8::try_from(string - 1).expect("a short string"));
                let at = record * 7 + data.len();
                data.extend(
                    (1..string).map(|byte| b'a' + u8::try_from((at + byte * 11) % 26).expect("a letter")),
                );
            }
            data
        })
        .collect()
}

fn zone() -> String {
    let mut text =
        "$ORIGIN example.org.\n$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    for record in records() {
        let strings = record.chunks(STRING).map(|string| String::from_utf8_lossy(&string[1..]));
        let strings: Vec<String> = strings.map(|string| format!("\"{string}\"")).collect();
        text += &["long TXT ", &strings.join(" "), "\n"].concat();
    }
    text
}

/// The data of the records in an answer.
fn data(message: &[u8]) -> Vec<Vec<u8>> {
    let (mut at, mut found) = (HEADER + QUESTION, Vec::new());
    while at < message.len() {
        let length = usize::from(u16::from_be_bytes([message[at + RECORD - 2], message[at + RECORD - 1]]));
        found.push(message[at + RECORD..at + RECORD + length].to_vec());
        at += RECORD + length;
    }
    found
}

/// What the client's kernel gets to hear that gives the socket so little memory.
fn ask(server: IpAddr, memory: usize) -> Vec<u8> {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    setsockopt(&socket, RcvBuf, &memory).expect("set SO_RCVBUF");
    let address = SockaddrStorage::from(SocketAddr::new(server, 53));
    connect(socket.as_raw_fd(), &address).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.write_all(&query(7, NAME, TXT)).expect("ask");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).expect("an answer");
    message
}

#[rstest]
#[case::ring_with_timestamps("ring", true)]
#[case::ring_without("ring", false)]
#[case::driver_with_timestamps("driver", true)]
#[case::driver_without("driver", false)]
fn the_longest_answer_arrives(#[case] handshake: &str, #[case] timestamps: bool) {
    let mut topology = Topology::new(1);
    if handshake == "driver" && topology.xdp_peer.is_none() {
        topology.xdp_peer = Some(VethXdpPeer::attach(&topology.client, INTERFACE));
    }
    topology.client.run(&format!("sysctl -qw net.ipv4.tcp_timestamps={}", u8::from(timestamps)));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("zone");
    fs::write(&path, zone()).expect("write the zone");
    let path = path.to_str().expect("a path");
    let responder = Responder::start(&topology, &["--zone", path, "--handshake", handshake]);
    let mut expected = records();
    expected.sort();
    for server in SERVERS {
        let dig = format!("dig @{server} +tcp +noedns +norecurse +tries=1 +time=20 {NAME} TXT");
        let said = topology.client.run(&dig);
        assert!(said.contains("status: NOERROR"), "{}", &said[..said.len().min(500)]);
        assert!(said.contains("ANSWER: 16,") && said.contains("MSG SIZE  rcvd: 65535"), "{said}");
        for memory in [65_535, 40_000] {
            let answer = topology.client.enter(|| ask(server, memory));
            assert_eq!(answer.len(), LONGEST, "{server}, {memory}");
            let mut found = data(&answer);
            found.sort();
            assert!(found == expected, "{server}, {memory}: other octets");
        }
        if !timestamps {
            // Who would have to ask too often, by a timer that doubles.
            let refusal = topology.client.enter(|| ask(server, 4_000));
            assert_eq!((refusal[3] & 15, refusal.len()), (SERVFAIL, HEADER + QUESTION), "{server}");
        }
    }
    let counters = responder.stop();
    // Three questions over each protocol, each asked again at least once.
    assert!(counters.get("answered") + counters.get("resumed") >= 12, "{counters:?}");
    assert_eq!(counters.get("reset_sent"), 0, "{counters:?}");
}
