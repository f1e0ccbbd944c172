//! What can never be answered is ended at once, beside what NSD and Knot do with it (docs/protocol.md, "Endings").

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::client::query;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{SERVERS, Topology};

const A: u16 = 1;
/// A hundred times what it takes: no resend may be needed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything that arrives until the server ends the connection, by FIN or RST.
fn ask(server: IpAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(server, 53), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(received),
    }
}

#[rstest]
fn what_can_never_be_answered_is_ended(#[values("0", "1")] timestamps: &str) {
    let topology = Topology::new(1);
    topology.client.run(&format!("sysctl -qw net.ipv4.tcp_timestamps={timestamps}"));
    let responder = Responder::start(&topology, &[]);
    let question = query(7, "example.com", A);
    let with_flags = |high| [&question[..4], &[high, 0], &question[6..]].concat();
    let beginnings: [(&str, Vec<u8>); 11] = [
        ("empty message", vec![0, 0]),
        ("no room for a header", [&[0, 11][..], &[7; 11]].concat()),
        ("response", with_flags(0x80)),
        ("beginning of a response", b"\0\x80id\x80\0".to_vec()),
        ("beginning of more records than fit", b"\0\x80id\0\0\0\x01\xff\xff\0\0\0\0".to_vec()),
        ("length above what is kept", [&[0xff, 0xff], &question[2..]].concat()),
        ("length above what is kept, alone", vec![0xff, 0xff]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec()),
        ("TLS", [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[0xaa; 500]].concat()),
        ("SSH", b"SSH-2.0-OpenSSH_10.0\r\n".to_vec()),
        ("PROXY protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec()),
    ];
    let before = responder.counters();
    for server in SERVERS {
        for (name, bytes) in &beginnings {
            let received = topology.client.enter(|| ask(server, bytes));
            let received = received.unwrap_or_else(|error| panic!("{name} at {server}: {error}"));
            assert!(received.is_empty(), "{name} at {server}: {received:02x?}");
            // A question before it is answered.
            let both = [&question[..], bytes].concat();
            let received = topology.client.enter(|| ask(server, &both));
            let received = received.unwrap_or_else(|error| panic!("{name} behind a question: {error}"));
            assert_eq!(received.get(2..4), Some(&question[2..4]), "{name} behind a question at {server}");
        }
    }
    let counted = responder.counters().since(&before);
    // At once: nothing was kept, and nobody asked in vain.
    let never = ["stuck", "kept", "reset_sent"];
    assert_eq!(never.map(|name| counted.get(name).copied().unwrap_or(0)), [0; 3], "{counted:?}");
    responder.stop();
}
