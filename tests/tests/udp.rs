//! DNS over UDP answered by "ask over TCP" (`--udp truncate`): real clients do, and nobody gets more than was sent.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::{
    capture::Capture,
    client::port,
    datagram::Datagram,
    nameserver::Server,
    questions::{Edns, Question},
    responder::Responder,
    topology::{CLIENT_V4, INTERFACE, SERVER_V4, SERVERS, Topology},
    veth_xdp_peer::VethXdpPeer,
};

const PATIENCE: Duration = Duration::from_mins(1);
const A: u16 = 1;

/// Address for questions over UDP.
#[rstest]
#[case::ring("native", "ring")]
#[case::driver("native", "driver")]
#[case::generic("generic", "auto")]
fn clients_come_over_tcp(#[case] mode: &str, #[case] handshake: &str) {
    let topology = Topology::new(1);
    let _xdp_peer = (handshake == "driver" && topology.xdp_peer.is_none())
        .then(|| VethXdpPeer::attach(&topology.client, INTERFACE));
    let arguments = ["--udp", "truncate", "--xdp-mode", mode, "--handshake", handshake];
    let responder = Responder::start(&topology, &arguments);
    let capture = Capture::start(&topology.client, INTERFACE);
    let mut asked = 0;
    for server in SERVERS {
        for (line, expected) in [
            ("dig +short +tries=1 +time=60 example.com A", "192.0.2.1\n"),
            ("dig +short +tries=1 +time=60 +noedns example.com AAAA", "2001:db8::1\n"),
            ("dig +short +tries=1 +time=60 +dnssec +nsid example.com A", "192.0.2.1"),
            ("kdig +short +retry=0 +timeout=60 example.com MX", "10 mail.example.com.\n"),
        ] {
            let (program, rest) = line.split_once(' ').expect("a program and what it is told");
            let answer = topology.client.run(&format!("{program} @{server} {rest}"));
            assert!(answer.trim_start().starts_with(expected), "{line} at {server}: {answer}");
            asked += 1;
        }
    }
    let counters = responder.stop();
    assert_eq!((counters.get("udp_truncated"), counters.get("answered")), (asked, asked), "{counters:?}");
    let by_driver = counters.by_driver.contains_key("driver_answered");
    assert_eq!(by_driver, handshake == "driver", "{counters:?}");
    let frames: Vec<Datagram> = capture.stop().iter().filter_map(|frame| Datagram::parse(frame)).collect();
    let (sent, received): (Vec<_>, Vec<_>) = frames
        .iter()
        .filter(|datagram| [datagram.source_port, datagram.destination_port].contains(&53))
        .partition(|datagram| datagram.destination_port == 53);
    assert_eq!([sent.len() as u64, received.len() as u64], [asked, asked]);
    for answer in received {
        let question = sent.iter().find(|question| question.payload[..2] == answer.payload[..2]);
        assert!(
            question.is_some_and(|question| question.payload.len() >= answer.payload.len()),
            "{answer:?}"
        );
    }
}

/// Unbound as a resolver asks over UDP by itself, and turns to TCP.
#[rstest]
#[case::v4(SERVERS[0])]
#[case::v6(SERVERS[1])]
fn unbound_turns_to_tcp(#[case] server: IpAddr) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--udp", "truncate"]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display();
    // Everything below example.com is asked of the responder, as of the authoritative server that it is.
    let text = format!(
        "server:\n  directory: {path}\n  pidfile: {path}/pid\n  username: \"\"\n  chroot: \"\"\n  use-syslog: no\n  \
         interface: 127.0.0.1\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  module-config: iterator\n  \
         num-threads: 1\nremote-control:\n  control-enable: no\nstub-zone:\n  name: example.com\n  stub-addr: {server}\n"
    );
    let netns = Some(topology.client.name());
    let unbound = Server::start("unbound", &["-d", "-c"], &text, directory, netns, "start of service", 1)
        .expect("start unbound");
    let ask = |name: &str| {
        topology.client.attempt(&format!("dig @127.0.0.1 +tries=1 +time=60 +noall +comments +answer {name}"))
    };
    for name in ["example.com A", "www.example.com A", "mail.example.com A", "large.example.com TXT"] {
        let said = String::from_utf8_lossy(&ask(name).stdout).into_owned();
        assert!(said.contains("status: NOERROR") && said.contains("ANSWER SECTION"), "{name}: {said}");
    }
    drop(unbound);
    let counters = responder.stop();
    assert!(counters.get("udp_truncated") >= 4 && counters.get("messages") >= 4, "{counters:?}");
}

/// Of what one network sends, so much is answered, whoever in it asks; another network is none the worse for it; and so is
/// who comes over TCP. The rate is one a second: in T seconds at most 1 + T questions of a network are answered.
#[test]
fn answers_are_limited_by_network() {
    const QUESTIONS: u64 = 100;
    let topology = Topology::new(1);
    let limit =
        ["--udp", "truncate", "--rate-limit", "1", "--rate-prefix-ipv4", "31", "--rate-prefix-ipv6", "127"];
    let responder = Responder::start(&topology, &limit);
    let port = port(&topology);
    let question = Question { name: "example.com".to_owned(), rtype: A, edns: Edns::Plain };
    let begin = Instant::now();
    for (server, [first, second, other]) in [
        (SERVERS[0], ["192.0.2.98", "192.0.2.99", "192.0.2.100"]),
        (SERVERS[1], ["2001:db8::98", "2001:db8::99", "2001:db8::9a"]),
    ] {
        let ask = |client: &str, id: u64| {
            let client = client.parse().expect("an address");
            let id = u16::try_from(id).expect("few questions");
            port.send(&Datagram::new(client, 40_000, server, 53, question.wire(id)).octets());
        };
        (0..QUESTIONS).for_each(|id| ask(if id % 2 == 0 { first } else { second }, id));
        ask(other, QUESTIONS);
    }
    let answer =
        topology.client.run(&format!("dig +tcp +short +tries=1 +time=60 @{SERVER_V4} example.com A"));
    assert_eq!(answer, "192.0.2.1\n");
    // One queue: what was sent before has been dropped or answered by now.
    let most = 1 + begin.elapsed().as_secs();
    let counters = responder.stop();
    let (answered, limited) = (counters.get("udp_truncated"), counters.get("xdp_limited"));
    assert_eq!(answered + limited, 2 * (QUESTIONS + 1), "{counters:?}");
    // Two networks that ask much, and two that ask once.
    assert!((4..=2 * most + 2).contains(&answered), "in {most} seconds: {counters:?}");
}

/// A reload turns it on and off; off, the kernel has the questions.
#[test]
fn a_reload_turns_it_on_and_off() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("configuration");
    let write = |what: &str| fs::write(&file, format!("udp = \"{what}\"\n")).expect("write");
    write("kernel");
    let responder = Responder::start(
        &topology,
        &["--test-keep-seconds", "0", "--config", file.to_str().expect("a name")],
    );
    let kernel = topology.server.enter(|| UdpSocket::bind((SERVER_V4, 53)).expect("a server"));
    kernel.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    let client = topology.client.enter(|| UdpSocket::bind((CLIENT_V4, 0)).expect("a client"));
    client.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    let question = Question { name: "example.com".to_owned(), rtype: A, edns: Edns::None }.wire(7);
    let (mut heard, mut reloads) = ([0; 512], 0);
    for what in ["kernel", "truncate", "kernel"] {
        write(what);
        responder.signal(Signal::SIGHUP);
        reloads += 1;
        let reloaded = |lines: &[String]| lines.iter().filter(|line| line.contains("reloaded")).count();
        responder.log_until(|lines| reloaded(lines) >= reloads);
        client.send_to(&question, (SERVER_V4, 53)).expect("ask");
        if what == "kernel" {
            let length = kernel.recv(&mut heard).expect("the kernel's server hears it");
            assert_eq!(heard[..length], question[..]);
        } else {
            let length = client.recv(&mut heard).expect("an answer");
            assert_eq!((length, heard[2]), (question.len(), 0x83), "TC, and no longer");
        }
    }
    assert_eq!(responder.stop().get("udp_truncated"), 1);
}
