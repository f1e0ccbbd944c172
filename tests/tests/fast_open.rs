//! TCP Fast Open: requests on the SYN, of real clients and of scripted ones.

use std::{fs, net::IpAddr, process::Command};

use rstest::rstest;
use stateless_tcp_tests::{
    capture::Capture,
    client::{Barrier, Client, port, query},
    fast_open::{ask, cookie, offer},
    lossy_network::{LossyNetwork, SERVER},
    netns::text,
    packet::{Packet, flags},
    raw::Port,
    responder::{Responder, binary},
    topology::{INTERFACE, SERVER_V4, SERVERS, Topology},
};

const A: u16 = 1;
const DNSKEY: u16 = 48;
const TXT: u16 = 16;
const ISN: u32 = u32::MAX - 20;

fn question() -> Vec<u8> {
    query(0x1234, "example.com", A)
}

/// Nothing of the client's but its SYN goes before the whole answer, on the segment that acknowledges the request.
#[rstest]
fn a_kernel_has_its_answer_with_the_syn_ack(#[values(SERVERS[0], SERVERS[1])] server: IpAddr) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--fast-open"]);
    let (right, packets) = topology.client.enter(|| {
        let right = ask(server, &question()).expect("an answer to who has no cookie");
        let capture = Capture::start(&topology.client, INTERFACE);
        assert_eq!(ask(server, &question()).expect("an answer"), right);
        (right, capture.packets())
    });
    // The connection before may still be closing.
    let begin = packets.iter().position(|packet| packet.is(flags::SYN)).expect("a SYN");
    let ports = [packets[begin].source_port, packets[begin].destination_port];
    let is_of_it =
        |packet: &Packet| ports.contains(&packet.source_port) && ports.contains(&packet.destination_port);
    let packets: Vec<_> = packets.into_iter().filter(is_of_it).collect();
    let [syn, syn_ack, ..] = &packets[..] else { panic!("{packets:?}") };
    assert!(syn.is(flags::SYN) && syn.payload == question(), "{syn}");
    assert!(syn_ack.is(flags::SYN | flags::ACK) && syn_ack.payload == right, "{syn_ack}");
    assert_eq!(syn_ack.ack, syn.seq.wrapping_add(syn.sequence_length()), "{syn_ack}");
    assert_eq!(cookie(&syn_ack.options), None, "it has the right one");
    let again = packets.iter().filter(|packet| !packet.payload.is_empty()).count();
    assert_eq!(again, 2, "request and answer, once each: {packets:?}");

    let counters = responder.stop();
    assert_eq!((counters.get("fast_open"), counters.get("fast_open_cookie")), (1, 1), "{counters:?}");
    assert_eq!(kernel(&topology, "TCPFastOpenActive"), 1);
}

/// A counter of the client's kernel.
fn kernel(topology: &Topology, name: &str) -> u64 {
    let counters = topology.client.run("cat /proc/net/netstat");
    let mut lines = counters.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(of, _)| *of == name).expect("the counter");
    value.parse().expect("a number")
}

/// Programs as they are, which ask twice: the second time on the SYN.
#[rstest]
#[case::kdig("kdig @192.0.2.1 +fastopen +tcp +retry=0 +timeout=60 +short example.com A", "192.0.2.1", 1)]
#[case::dig("dig @192.0.2.1 +tcp +tries=1 +time=60 +short example.com A", "192.0.2.1", 0)]
#[case::curl("curl --silent --tcp-fastopen http://192.0.2.1/robots.txt", "User-agent", 1)]
fn programs(#[case] line: &str, #[case] expected: &str, #[case] on_the_syn: u64) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--fast-open"]);
    for _ in 0..2 {
        let said = topology.client.run(line);
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(responder.stop().get("fast_open"), on_the_syn);
}

/// A scripted client, who sends nothing that it is not told to.
struct Scripted<'port> {
    port: &'port Port,
    barrier: Barrier,
    client: Client<'port>,
    cookie: Vec<u8>,
}

impl<'port> Scripted<'port> {
    /// Gets a cookie.
    fn new(port: &'port Port, server: IpAddr) -> Self {
        let client = Client::new(port, 40_000, server, 53, ISN);
        client.send(&Packet { options: offer(None), ..client.syn() });
        let cookie = cookie(&client.expect().options).expect("a cookie");
        assert_eq!(cookie.len(), 8);
        Self { port, barrier: Barrier::default(), client, cookie }
    }

    /// The SYN with a request.
    fn syn(&self, request: &[u8]) -> Packet {
        let options = offer(Some(&self.cookie));
        Packet { options, payload: request.to_vec(), ..self.client.syn() }
    }

    /// The reply to such a SYN, from the SYN,ACK on.
    fn open(&mut self, syn: &Packet) -> Vec<Packet> {
        self.client.template = Packet { source_port: self.client.template.source_port + 1, ..syn.clone() };
        self.client.send(&self.client.template);
        let packets = self.barrier.packets_for(self.port, &self.client);
        assert!(packets.iter().all(|packet| packet.intact), "wrong checksums: {packets:?}");
        assert!(packets.first().is_some_and(|first| first.is(flags::SYN | flags::ACK)), "{packets:?}");
        packets
    }

    /// The answer to the request on such a SYN, and the cookie that comes with the SYN,ACK.
    fn outcome(&mut self, request: &[u8]) -> (bool, Option<Vec<u8>>) {
        let packets = self.open(&self.syn(request));
        (packets.len() > 1, cookie(&packets[0].options))
    }
}

/// Without timestamps the answer ends in FIN: it follows the SYN,ACK unasked, and acknowledges the request.
#[rstest]
fn a_last_answer_follows_the_syn_ack(#[values(SERVERS[0], SERVERS[1])] server: IpAddr) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--fast-open"]);
    let port = port(&topology);
    let mut scripted = Scripted::new(&port, server);
    let packets = scripted.open(&scripted.syn(&question()));
    let [syn_ack, answer] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((syn_ack.ack, syn_ack.payload.len()), (ISN.wrapping_add(1), 0), "{syn_ack}");
    assert!(answer.is(flags::FIN | flags::ACK), "{answer}");
    assert_eq!(answer.seq, syn_ack.seq.wrapping_add(1), "{answer}");
    assert_eq!(answer.ack, ISN.wrapping_add(1 + u32::try_from(question().len()).expect("short")), "{answer}");
    assert_eq!(&answer.payload[2..4], &question()[2..4]);
    responder.stop();
}

/// More than a SYN should bring about, a message cut short, FIN: none of it is answered on the SYN.
#[test]
fn what_is_not_answered_on_the_syn() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--fast-open"]);
    let port = port(&topology);
    let mut scripted = Scripted::new(&port, SERVERS[0]);
    let keys = query(7, "example.com", DNSKEY);
    assert!(
        (2..=4).contains(&scripted.open(&scripted.syn(&[&keys[..], &keys].concat())).len()),
        "two segments"
    );
    for request in [query(7, "large.example.com", TXT), question()[..9].to_vec()] {
        let packets = scripted.open(&scripted.syn(&request));
        assert_eq!(packets.len(), 1, "{packets:?}");
        assert_eq!((packets[0].ack, packets[0].payload.len()), (ISN.wrapping_add(1), 0));
    }
    let syn = scripted.syn(&question());
    scripted.client.send(&Packet { flags: flags::SYN | flags::FIN, source_port: 999, ..syn });
    let counters = responder.stop();
    assert_eq!((counters.get("fast_open"), counters.get("fast_open_later")), (1, 2), "{counters:?}");
    assert_eq!(counters.get("unusual_flags"), 1, "{counters:?}");
}

#[test]
fn a_cookie_is_one_clients_own() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--fast-open"]);
    let port = port(&topology);
    let mut scripted = Scripted::new(&port, SERVERS[0]);
    assert_eq!(scripted.outcome(&question()), (true, None));
    scripted.client.template.source = "192.0.2.98".parse().expect("an address");
    let stolen = Packet { source: scripted.client.template.source, ..scripted.syn(&question()) };
    let packets = scripted.open(&stolen);
    assert_eq!(packets.len(), 1, "{packets:?}");
    assert_eq!(packets[0].ack, ISN.wrapping_add(1));
    let own = cookie(&packets[0].options).expect("its own");
    assert_ne!(own, scripted.cookie);
    let guessed = std::mem::replace(&mut scripted.cookie, own);
    let own = Packet { source: stolen.source, ..scripted.syn(&question()) };
    assert_eq!(scripted.open(&own).len(), 2, "instead of {guessed:?}");
    assert_eq!(responder.stop().get("fast_open_bad_cookie"), 1);
}

#[test]
fn it_is_off_unless_asked_for() {
    let topology = Topology::new(1);
    let _responder = Responder::start(&topology, &[]);
    let port = port(&topology);
    let client = Client::new(&port, 40_000, SERVERS[0], 53, ISN);
    client.send(&Packet { options: offer(None), payload: question(), ..client.syn() });
    let syn_ack = client.expect();
    assert_eq!((cookie(&syn_ack.options), syn_ack.ack), (None, ISN.wrapping_add(1)));
    assert_eq!(Barrier::default().packets_for(&port, &client), []);
}

fn stateless_tcp(arguments: &[&str]) {
    let output = Command::new(binary()).args(arguments).output().expect("run the binary");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Cookies outlive one change of keys; a reload switches it on and off.
#[test]
fn cookies_and_keys() {
    let topology = Topology::new(1);
    let files = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| files.path().join(name).to_str().expect("a path").to_owned();
    let configuration = |fast_open: bool| {
        fs::write(path("s.toml"), format!("key-file = {:?}\nfast-open = {fast_open}\n", path("key")))
            .expect("write the configuration");
    };
    configuration(true);
    let arguments = ["--config", &path("s.toml"), "--test-keep-seconds", "0"];
    let responder = Responder::start(&topology, &arguments);
    let reload = || stateless_tcp(&["reload", "--pid", &responder.pid().to_string()]);
    let rotate = || stateless_tcp(&["rotate-key", &path("key")]);
    let port = port(&topology);
    let mut scripted = Scripted::new(&port, SERVER_V4.into());
    assert_eq!(scripted.outcome(&question()), (true, None));

    rotate();
    reload();
    let (answered, renewed) = scripted.outcome(&question());
    let renewed = renewed.expect("the current key's cookie, for the previous one's");
    assert!(answered && renewed != scripted.cookie, "the previous key's is accepted");
    let former = std::mem::replace(&mut scripted.cookie, renewed.clone());
    assert_eq!(scripted.outcome(&question()), (true, None));

    rotate();
    reload();
    scripted.cookie = former;
    let (answered, current) = scripted.outcome(&question());
    assert!(!answered && current.is_some(), "two keys ago");
    scripted.cookie = renewed;
    assert_eq!(scripted.outcome(&question()), (true, current));

    configuration(false);
    reload();
    assert_eq!(scripted.outcome(&question()), (false, None), "switched off");
}

/// Whatever is lost around a request on the SYN, the client has its answer in the end.
#[rstest]
fn losses_are_recovered(
    #[values(true, false)] timestamps: bool,
    // Which of the segments from then on, counted from 0.
    #[values("ip daddr 198.51.100.1", "ip saddr 198.51.100.1")] direction: &str,
    #[values("0", "1", "2", "{ 0, 1 }", "{ 1, 2 }", "{ 0, 2 }")] lost: &str,
) {
    let path = LossyNetwork::new(1);
    path.client.run(&format!("sysctl -qw net.ipv4.tcp_timestamps={}", u8::from(timestamps)));
    let responder = Responder::try_start(&path.servers[0], 1, &["run", "-i", INTERFACE, "--fast-open"])
        .expect("it starts");
    let right = path.client.enter(|| ask(SERVER, &question())).expect("an answer over a good path");
    path.filter(&format!("{direction} numgen inc mod 1000000 {lost} counter name lost drop"));
    let answer = path.client.enter(|| ask(SERVER, &question())).expect("an answer");
    assert_eq!(answer, right);
    if lost == "0" {
        assert_eq!(path.counted("lost"), 1);
    }
    let counters = responder.stop();
    let answered = counters.get("fast_open");
    let syn_lost = direction.contains("daddr") && lost.contains('0');
    assert_eq!(answered, u64::from(!syn_lost), "{counters:?}");
}
