//! While it serves, everything else on the interface goes on as before, and the kernel's TCP stays out of its ports.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::{
    capture::Capture,
    client::{Client, port, query},
    nameserver::{Bind, Knot},
    netns::Netns,
    packet::{Packet, flags},
    responder::Responder,
    topology::{CLIENT_V4, CLIENT_V6, INTERFACE, SERVER_V4, SERVER_V6, SERVERS, Topology},
};

const PATIENCE: Duration = Duration::from_mins(1);
const KERNEL_PORT: u16 = 8080;
const A: u16 = 1;

fn dig(client: &Netns, server: IpAddr, transport: &str) {
    let answer =
        client.run(&format!("dig @{server} {transport} +norecurse +tries=1 +time=60 +short example.com A"));
    assert_eq!(answer, "192.0.2.1\n");
}

#[rstest]
#[case::native("native")]
#[case::generic("generic")]
fn the_kernel_goes_on(#[case] mode: &str) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--xdp-mode", mode]);
    let listeners: Vec<_> = topology.server.enter(|| {
        SERVERS.iter().map(|&server| TcpListener::bind((server, KERNEL_PORT)).expect("listen")).collect()
    });
    for listener in listeners {
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || echo(stream));
            }
        });
    }
    let capture = Capture::start(&topology.client, INTERFACE);
    // One kernel connection stays open throughout.
    let mut kept: Vec<_> = SERVERS.iter().map(|&server| connect(&topology.client, server)).collect();
    for _ in 0..5 {
        for (server, stream) in SERVERS.into_iter().zip(&mut kept) {
            // What is known of the other end is forgotten on both sides and found again by ARP and by RFC 4861.
            topology.client.run(&format!("ip neighbour flush dev {INTERFACE}"));
            topology
                .server
                .run(&format!("ip neighbour flush dev {INTERFACE} nud reachable nud stale nud delay"));
            dig(&topology.client, server, "+tcp");
            topology.client.run(&format!("ping -n -c 1 -W 5 {server}"));
            let neighbours = topology.client.run(&format!("ip neighbour show {server} dev {INTERFACE}"));
            assert!(neighbours.contains("02:00:00:00:00:01"), "{neighbours}");
            ask(stream, b"one octet more, and one octet less");
            ask(&mut connect(&topology.client, server), b"a new connection");
        }
    }
    let packets = capture.packets();
    let resets = resets_of_served_ports(&packets);
    assert!(resets.is_empty(), "{resets:?}");
    responder.stop();
}

/// Whatever comes for a served port, the kernel does not reset it; for another port it does, and the capture sees that.
#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn no_reset_leaves_for_a_served_port(#[case] server: IpAddr) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let port = port(&topology);
    let capture = Capture::start(&topology.client, INTERFACE);
    for served in [53, 80] {
        let mut client = Client::new(&port, 40_000, server, served, 99);
        for flags in 0..=u8::MAX {
            for payload in [&b""[..], b"some octets"] {
                client.send(&client.segment(flags, 1, 1, payload));
            }
        }
        // One right connection as well, left half-way.
        client.open();
        client.send(&client.segment(flags::PSH | flags::ACK, 1, 1, &query(1, "example.com", A)));
    }
    let closed = Client::new(&port, 40_000, server, 81, 99);
    closed.send(&closed.syn());
    let reset = closed.receive(PATIENCE).expect("the kernel resets what nobody serves");
    assert!(reset.is(flags::RST | flags::ACK), "{reset}");

    let packets = capture.packets();
    let resets = resets_of_served_ports(&packets);
    assert!(resets.is_empty(), "{resets:?}");
    assert_eq!(
        packets.iter().filter(|packet| packet.flags & flags::RST != 0 && packet.source == server).count(),
        1
    );
    responder.stop();
}

fn resets_of_served_ports(packets: &[Packet]) -> Vec<&Packet> {
    packets
        .iter()
        .filter(|packet| [53, 80].contains(&packet.source_port) && packet.flags & flags::RST != 0)
        .collect()
}

/// UDP on the served port number is the kernel's: a name server there, with another zone, is asked by the same client at
/// the same address. It listens on TCP as well, and hears nothing.
#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn udp_reaches_the_kernel(#[case] server: IpAddr) {
    let topology = Topology::new(1);
    let theirs = [Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rand.apnic.net.zone")];
    let _knot =
        Knot::start(&theirs, SocketAddr::new(server, 53), Some(topology.server.name())).expect("start Knot");
    let ask = |transport: &str, name: &str| {
        let words = format!("dig @{server} {transport} +norecurse +tries=1 +time=60 {name} SOA");
        topology.client.run(&words)
    };
    let before = ask("+tcp", "rand.apnic.net");
    assert!(before.contains("status: NOERROR"), "Knot answers over TCP while we do not: {before}");

    let responder = Responder::start(&topology, &[]);
    for _ in 0..5 {
        for (transport, name, status) in [
            ("+notcp", "rand.apnic.net", "NOERROR"),
            ("+notcp", "example.com", "REFUSED"),
            ("+tcp", "rand.apnic.net", "REFUSED"),
            ("+tcp", "example.com", "NOERROR"),
        ] {
            let answer = ask(transport, name);
            assert!(answer.contains(&format!("status: {status}")), "{name} {transport}: {answer}");
        }
    }
    let counters = responder.stop();
    assert_eq!(counters.get("answered"), 10, "{counters:?}");
    assert!(counters.get("xdp_not_tcp") >= 10, "{counters:?}");
    let after = ask("+tcp", "rand.apnic.net");
    assert!(after.contains("status: NOERROR"), "Knot answers over TCP again: {after}");
}

/// A secondary transfers a zone from the real server on the same address and port, while others are answered here; a reload
/// says who is one.
#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4), IpAddr::V4(CLIENT_V4), "192.0.2.77/24", "192.0.2.64/26")]
#[case::v6(IpAddr::V6(SERVER_V6), IpAddr::V6(CLIENT_V6), "2001:db8::77/64", "2001:db8::77")]
fn clients_can_be_left_to_the_kernel(
    #[case] server: IpAddr,
    #[case] client: IpAddr,
    #[case] secondary: &str,
    #[case] prefix: &str,
) {
    let topology = Topology::new(1);
    let theirs = [Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rand.apnic.net.zone")];
    let _bind =
        Bind::start(&theirs, SocketAddr::new(server, 53), Some(topology.server.name())).expect("start BIND");
    topology.client.run(&format!("ip address add {secondary} dev {INTERFACE} nodad"));
    let secondary: IpAddr =
        secondary.split('/').next().and_then(|text| text.parse().ok()).expect("an address");
    let ask = |from: IpAddr, question: &str| {
        topology.client.run(&format!("dig @{server} -b {from} +tcp +tries=1 +time=60 {question}"))
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("configuration");
    let leave = |prefix: &str| fs::write(&file, format!("kernel-from = [\"{prefix}\"]\n")).expect("write");
    leave(prefix);
    let responder = Responder::start(&topology, &["--config", file.to_str().expect("a name")]);
    let transfer = || ask(secondary, "rand.apnic.net AXFR");
    let transferred = transfer();
    assert!(transferred.contains("XFR size:"), "{transferred}");
    let mine = ask(client, "example.com A");
    assert!(mine.contains("status: NOERROR"), "{mine}");
    let refused = ask(client, "rand.apnic.net AXFR");
    assert!(refused.contains("Transfer failed"), "{refused}");

    leave("203.0.113.0/24");
    responder.signal(Signal::SIGHUP);
    responder.log_until(|lines| lines.iter().any(|line| line.contains("reloaded")));
    let refused = transfer();
    assert!(refused.contains("Transfer failed"), "{refused}");
    let counters = responder.stop();
    assert!(counters.get("xdp_left") > 3, "{counters:?}");
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

fn connect(client: &Netns, server: IpAddr) -> TcpStream {
    client.enter(|| {
        let stream =
            TcpStream::connect_timeout(&SocketAddr::new(server, KERNEL_PORT), PATIENCE).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream
    })
}

fn ask(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("send");
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).expect("receive");
    assert_eq!(answer, bytes);
}
