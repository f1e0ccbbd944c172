//! What dnstap's tools hear is what was asked and answered; and whatever they do, the service goes on.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use rstest::rstest;
use stateless_tcp_tests::client::query;
use stateless_tcp_tests::dnstap::{Collector, DnstapEvent, agree, events, lines};
use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{SERVER_V4, SERVERS, Topology};
use stateless_tcp_tests::upstream::{DnsUpstream, answer};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

const A: u16 = 1;
const TXT: u16 = 16;

const AUTH: [u64; 2] = [1, 2];
const CLIENT: [u64; 2] = [5, 6];

const METRICS: &str = "127.0.0.1:9953";
/// The back end of the relay.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueryResponse {
    client: SocketAddr,
    server: SocketAddr,
    question: Vec<u8>,
    answer: Vec<u8>,
}

/// The paths of the files.
struct DnstapPaths {
    directory: TempDir,
}

impl DnstapPaths {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, topology: &Topology, arguments: &[&str]) -> Responder {
        let socket = self.socket();
        let dnstap = ["--dnstap", socket.to_str().expect("a path"), "--metrics", METRICS];
        Responder::start(topology, &[&dnstap[..], arguments].concat())
    }
}

/// The value of a metric.
fn metric(namespace: &Netns, name: &str) -> u64 {
    let text =
        namespace.run(&format!("curl --silent --fail --max-time 60 --noproxy * http://{METRICS}/metrics"));
    let prefix = format!("stateless_tcp_dnstap_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a whole number")
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(PAUSE);
    }
}

fn wait_for_reader(topology: &Topology) {
    wait_until("a reader is connected", || metric(&topology.server, "connected") == 1);
}

fn connect(topology: &Topology, server: IpAddr) -> TcpStream {
    let stream = topology.client.enter(|| TcpStream::connect((server, 53))).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Asks all `questions` at once, and takes the answers.
fn ask(stream: &mut TcpStream, questions: &[Vec<u8>]) -> Vec<QueryResponse> {
    stream.write_all(&questions.concat()).expect("ask");
    let (client, server) = (stream.local_addr().expect("bound"), stream.peer_addr().expect("connected"));
    let mut exchange = |question: &Vec<u8>| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer).expect("all of it");
        assert_eq!(answer[..2], question[2..4], "its id");
        QueryResponse { client, server, question: question[2..].to_vec(), answer }
    };
    questions.iter().map(&mut exchange).collect()
}

/// What the events tell, which are of these two types and come in pairs.
fn told(events: &[DnstapEvent], [asked, answered]: [u64; 2]) -> BTreeSet<QueryResponse> {
    let address = |event: &DnstapEvent, field, port| {
        let bytes = event.message.bytes(field).expect("an address");
        let family = event.message.number(2);
        let address: IpAddr = match family {
            1 => <[u8; 4]>::try_from(bytes).expect("IPv4").into(),
            2 => <[u8; 16]>::try_from(bytes).expect("IPv6").into(),
            other => panic!("family {other}"),
        };
        let port = u16::try_from(event.message.number(port)).expect("a port");
        SocketAddr::new(address, port)
    };
    let pairs = events.chunks(2).map(|pair| {
        let [question, answer] = pair else { panic!("events come in pairs") };
        assert_eq!([question, answer].map(|event| event.message.number(1)), [asked, answered]);
        for event in pair {
            assert_eq!((event.server.number(15), event.message.number(3)), (1, 2), "a message, TCP");
            let identity = event.server.bytes(1).expect("an identity");
            assert_eq!(identity, nix::unistd::gethostname().expect("a name").as_encoded_bytes());
            let version = event.server.bytes(2).expect("a version");
            assert!(version.starts_with(b"stateless-tcp "), "{version:?}");
            assert_eq!(event.message.time(8), question.message.time(8));
        }
        assert!(answer.message.time(12) >= answer.message.time(8));
        let [client, server] = [(4, 6), (5, 7)].map(|(field, port)| address(question, field, port));
        assert_eq!([client, server], [(4, 6), (5, 7)].map(|(field, port)| address(answer, field, port)));
        assert_eq!((question.message.bytes(14), answer.message.bytes(10)), (None, None));
        let [question, answer] = [(question, 10), (answer, 14)]
            .map(|(event, field)| event.message.bytes(field).expect("a DNS message").to_vec());
        QueryResponse { client, server, question, answer }
    });
    let told: BTreeSet<QueryResponse> = pairs.collect();
    assert_eq!(2 * told.len(), events.len(), "each is told once");
    told
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
}

#[rstest]
#[case::ring("ring")]
#[case::driver("driver")]
fn what_is_told_is_what_was_asked_and_answered(#[case] handshake: &str) {
    let mut topology = Topology::new(2);
    if handshake == "driver" && topology.xdp_peer.is_none() {
        use stateless_tcp_tests::{topology::INTERFACE, veth_xdp_peer::VethXdpPeer};
        topology.xdp_peer = Some(VethXdpPeer::attach(&topology.client, INTERFACE));
    }
    let place = DnstapPaths::new();
    let file = place.file("events");
    let collector = Collector::start(&place.socket(), &file);
    let responder = place.start(&topology, &["--handshake", handshake]);
    wait_for_reader(&topology);
    let before = now();
    let mut asked = BTreeSet::new();
    for server in SERVERS {
        // One connection after another, and several questions on each.
        for connection in 0..4_u16 {
            let mut stream = connect(&topology, server);
            let id = |number: u16| 100 * connection + number;
            asked.extend(ask(&mut stream, &[query(id(1), "example.com", A)]));
            let three = [(2, "www.example.com", A), (3, "nowhere.example.com", A), (4, "example.net", A)];
            asked.extend(ask(&mut stream, &three.map(|(number, name, kind)| query(id(number), name, kind))));
            let large = ask(&mut stream, &[query(id(5), "large.example.com", TXT)]);
            assert!(large[0].answer.len() > 1_220, "of several segments");
            asked.extend(large);
        }
        let host = if server.is_ipv6() { format!("[{server}]") } else { server.to_string() };
        topology.client.run(&format!("curl --silent --fail --noproxy * --globoff http://{host}/"));
    }
    let after = now();
    responder.stop();
    collector.end();
    let events = events(&file);
    assert_eq!(told(&events, AUTH), asked);
    for event in &events {
        // The worker's clock is read once a batch.
        let time = event.message.time(8);
        assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
    }
    let lines = lines(&file);
    assert_eq!(lines.len(), 2 * asked.len(), "{lines:#?}");
    for (words, count) in [([" AQ ", "TCP"], asked.len()), ([" AR ", "\"large.example.com.\" IN TXT"], 8)] {
        let found = lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).count();
        assert_eq!(found, count, "{words:?} in {lines:#?}");
    }
}

#[test]
fn a_relayed_answer_is_told_with_the_time_it_took() {
    const WAIT: Duration = Duration::from_millis(300);
    let topology = Topology::new(1);
    let back_end = DnsUpstream::start(&topology.server, DNS, |socket, query, from| {
        sleep(WAIT);
        let _ = socket.send_to(&answer(query, 0, 60, [192, 0, 2, 77]), from);
    });
    let place = DnstapPaths::new();
    let file = place.file("events");
    let collector = Collector::start(&place.socket(), &file);
    let responder = place.start(&topology, &["--dns-relay", &DNS.to_string()]);
    wait_for_reader(&topology);
    let mut stream = connect(&topology, IpAddr::V4(SERVER_V4));
    // The second is in the cache, but behind the first; the third is asked for meanwhile.
    let names = ["one.example", "one.example", "two.example"];
    let questions: Vec<_> = (1..).zip(names).map(|(id, name)| query(id, name, A)).collect();
    let mut asked: BTreeSet<_> = ask(&mut stream, &questions).into_iter().collect();
    let before = back_end.asked();
    asked.extend(ask(&mut stream, &[query(4, "two.example", A)]));
    assert_eq!(back_end.asked(), before, "the fourth is answered from the cache");
    responder.stop();
    collector.end();
    let events = events(&file);
    assert_eq!(told(&events, CLIENT), asked);
    let took = |event: &DnstapEvent| event.message.time(12).saturating_sub(event.message.time(8));
    let took: Vec<Duration> =
        events.iter().filter(|event| event.message.number(1) == CLIENT[1]).map(took).collect();
    assert!(took[..3].iter().all(|&took| took >= WAIT), "{took:?}");
    assert_eq!(lines(&file).iter().filter(|line| line.contains(" CR ")).count(), 4);
}

#[test]
fn a_reader_may_come_late_and_go_and_come_back() {
    let topology = Topology::new(1);
    let place = DnstapPaths::new();
    let responder = place.start(&topology, &[]);
    let mut stream = connect(&topology, IpAddr::V4(SERVER_V4));
    let mut ask = |id| ask(&mut stream, &[query(id, "example.com", A)]);
    // Nobody is there yet: the process is confined by now, and has no file open.
    ask(1);
    assert_eq!(metric(&topology.server, "connected"), 0);
    let collector = Collector::start(&place.socket(), &place.file("first"));
    wait_for_reader(&topology);
    ask(2);
    drop(collector);
    wait_until("the reader is gone", || metric(&topology.server, "connected") == 0);
    ask(3);
    let collector = Collector::start(&place.socket(), &place.file("second"));
    wait_for_reader(&topology);
    let asked: BTreeSet<_> = ask(4).into_iter().collect();
    let log = responder.log();
    responder.stop();
    collector.end();
    assert_eq!(told(&events(&place.file("second")), AUTH), asked);
    let said =
        |words: &str| log.lines().filter(|line| line.contains("dnstap: ") && line.contains(words)).count();
    assert_eq!(
        (said("No such file"), said("the reader closed the connection"), said(" listens")),
        (1, 1, 2),
        "{log}"
    );
}

#[test]
fn a_reader_that_does_not_read_keeps_nobody_waiting() {
    let topology = Topology::new(2);
    let place = DnstapPaths::new();
    let listener = UnixListener::bind(place.socket()).expect("listen");
    let responder = place.start(&topology, &[]);
    let _reader = agree(&listener);
    wait_for_reader(&topology);
    let mut asked = 0;
    wait_until("events are lost", || {
        let mut stream = connect(&topology, IpAddr::V4(SERVER_V4));
        for id in 0..200 {
            ask(&mut stream, &[query(id, "large.example.com", TXT)]);
        }
        asked += 200;
        metric(&topology.server, "transactions_total{outcome=\"lost\"}") > 0
    });
    let lost = metric(&topology.server, "transactions_total{outcome=\"lost\"}");
    let written = metric(&topology.server, "transactions_total{outcome=\"written\"}");
    assert!(lost + written <= asked, "{lost} lost, {written} written, of {asked}");
    // Nor does it keep the process from ending.
    let counters = responder.stop();
    assert_eq!(counters.get("messages"), asked);
    assert_eq!(counters.get("resumed") + counters.get("tx_ring_full"), 0, "every answer arrived");
}

#[test]
fn what_cannot_be_a_socket_is_refused() {
    let long = "x".repeat(108);
    let arguments = ["run", "-i", "eth0", "--dnstap", &long];
    let output = std::process::Command::new(binary()).args(arguments).output().expect("run it");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not the path of a UNIX socket"), "{said}");
}
