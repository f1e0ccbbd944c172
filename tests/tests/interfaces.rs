//! What becomes of the served interfaces and their addresses is followed, told, and survived.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};

use rstest::rstest;
use stateless_tcp_tests::{
    client::{Client, port},
    netns::{Netns, text},
    packet::{Packet, flags},
    responder::{Responder, binary},
    topology::{INTERFACE, SERVER_V4, SERVER_V6, Topology},
};

/// Time limit for what must come on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// The second interface, its client's address and its own.
const SECOND: (&str, &str, &str) = ("eth1", "203.0.113.2", "203.0.113.1");

fn dig(client: &Netns, server: &str) -> String {
    client.run(&format!("dig @{server} +tcp +norecurse +tries=1 +time=60 +short example.com A"))
}

/// Joins the namespaces by a second link.
fn second_link(topology: &Topology) {
    let (name, client, server) = SECOND;
    topology
        .client
        .run(&format!("ip link add {name} type veth peer name {name} netns {}", topology.server.name()));
    for (namespace, address) in [(&topology.client, client), (&topology.server, server)] {
        namespace.run(&format!("ip link set {name} addrgenmode none"));
        namespace.run(&format!("ip address add {address}/24 dev {name}"));
        namespace.run(&format!("ip link set {name} up"));
    }
}

fn said(responder: &Responder, what: &str) {
    responder.log_until(|lines| lines.iter().any(|line| line.contains(what)));
}

/// Sends SYNs with `change`, each from another port, until `is_done` after one.
fn syns_until(
    topology: &Topology,
    responder: &Responder,
    change: impl Fn(&mut Packet),
    is_done: impl Fn(&Client<'_>) -> bool,
) {
    let port = port(topology);
    let end = Instant::now() + PATIENCE;
    for number in 1_000.. {
        assert!(Instant::now() < end, "{}", responder.log());
        let mut client = Client::new(&port, number, SERVER_V4.into(), 53, 7);
        change(&mut client.template);
        client.send(&client.syn());
        if is_done(&client) {
            return;
        }
    }
}

fn command(topology: &Topology, line: &str) -> Output {
    topology.server.attempt(&format!("{} {line}", binary().display()))
}

/// Runs a command about this instance.
fn ask(topology: &Topology, responder: &Responder, line: &str) -> Output {
    command(topology, &format!("{line} --pid {}", responder.pid()))
}

fn metrics(topology: &Topology) -> String {
    topology.server.enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9953").expect("connect");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    })
}

/// Nothing comes in, so no worker notices.
#[rstest]
#[case::deleted(false)]
#[case::moved(true)]
fn the_process_ends_with_its_last_interface(#[case] moved: bool) {
    let (topology, elsewhere) = (Topology::new(1), Netns::new("elsewhere"));
    let mut responder = Responder::start(&topology, &[]);
    if moved {
        topology.server.run(&format!("ip link set {INTERFACE} netns {}", elsewhere.name()));
    } else {
        topology.server.run(&format!("ip link delete {INTERFACE}"));
    }
    let ended = responder.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let gone = "eth0 is gone: it was deleted, or moved to another network namespace";
    assert!(ended.log.contains(gone) && ended.log.contains("no served interface is left"), "{}", ended.log);
}

/// Clients send without end while one of two interfaces is deleted.
#[test]
fn the_other_interfaces_go_on() {
    let topology = Topology::new(1);
    second_link(&topology);
    let responder = Responder::try_start(
        &topology.server,
        2,
        &["run", "-i", INTERFACE, "-i", SECOND.0, "--metrics", "127.0.0.1:9953"],
    )
    .expect("it serves");
    let check = || ask(&topology, &responder, "check --timeout 20000");
    assert_eq!(check().status.code(), Some(0), "{}", text(&check().stderr));
    // The link goes down and up, and away, with frames in the rings.
    let link = port(&topology);
    for number in 1_000..3_000 {
        let client = Client::new(&link, number, SERVER_V4.into(), 53, 7);
        client.send(&client.syn());
        if number == 2_000 {
            topology.server.run(&format!("ip link set {INTERFACE} down"));
            topology.server.run(&format!("ip link set {INTERFACE} up"));
        }
    }
    topology.server.run(&format!("ip link delete {INTERFACE}"));
    said(&responder, "eth0 is gone");
    said(&responder, "192.0.2.1 is no address of a served interface any more: it is not served");
    assert_eq!(dig(&topology.client, SECOND.2), "192.0.2.1\n");
    let text_of = metrics(&topology);
    for line in [
        "stateless_tcp_interface_up{interface=\"eth0\"} 0",
        "stateless_tcp_interface_up{interface=\"eth1\"} 1",
    ] {
        assert!(text_of.contains(line), "{line}:\n{text_of}");
    }
    let checked = check();
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stderr).contains("eth0 cannot serve: gone"), "{}", text(&checked.stderr));
    assert_eq!(dig(&topology.client, SECOND.2), "192.0.2.1\n");
    let counters = responder.stop();
    // Two by the first check, and two queries.
    assert_eq!(counters.get("answered"), 4, "{counters:?}");
}

#[test]
fn an_interface_that_comes_up_again_serves_again() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--address", &SERVER_V4.to_string()]);
    for _ in 0..2 {
        topology.server.run(&format!("ip link set {INTERFACE} down"));
        said(&responder, "eth0 is down: nothing arrives there");
        let checked = ask(&topology, &responder, "check");
        assert!(text(&checked.stderr).contains("eth0 cannot serve: down"), "{}", text(&checked.stderr));
        topology.server.run(&format!("ip link set {INTERFACE} up"));
        said(&responder, "eth0 is up again");
        assert_eq!(dig(&topology.client, &SERVER_V4.to_string()), "192.0.2.1\n");
    }
    topology.client.run(&format!("ip link set {INTERFACE} down"));
    said(&responder, "eth0 has no carrier: nothing arrives there");
    topology.client.run(&format!("ip link set {INTERFACE} up"));
    responder.stop();
}

#[test]
fn a_renamed_interface_is_served_and_reloaded() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    topology.server.run(&format!("ip link set {INTERFACE} down"));
    topology.server.run(&format!("ip link set {INTERFACE} name lan0"));
    topology.server.run("ip link set lan0 up");
    said(&responder, "eth0 is called lan0 now: it is served as before, but the next start looks for eth0");
    let reloaded = ask(&topology, &responder, "reload");
    assert_eq!(reloaded.status.code(), Some(0), "{}", text(&reloaded.stderr));
    assert_eq!(dig(&topology.client, &SERVER_V4.to_string()), "192.0.2.1\n");
    responder.stop();
}

/// Without --address the interface's addresses are served, as they are at the moment.
#[test]
fn addresses_are_followed() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    topology.server.run(&format!("ip address add 192.0.2.77/24 dev {INTERFACE}"));
    said(&responder, "192.0.2.77 is an address of a served interface now: it is served");
    assert_eq!(dig(&topology.client, "192.0.2.77"), "192.0.2.1\n");
    topology.server.run(&format!("ip address del 192.0.2.77/24 dev {INTERFACE}"));
    said(&responder, "192.0.2.77 is no address of a served interface any more: it is not served");
    // The kernel has the address, and nobody listens.
    topology.server.run(&format!("ip address add 192.0.2.78/24 dev {INTERFACE}"));
    said(&responder, "192.0.2.78 is an address");
    topology.server.run(&format!("ip address del {SERVER_V6}/64 dev {INTERFACE}"));
    said(&responder, "2001:db8::1 is no address");
    assert_eq!(dig(&topology.client, "192.0.2.78"), "192.0.2.1\n");
    responder.stop();
}

/// With --address only the operator changes them.
#[test]
fn configured_addresses_stay() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--address", &SERVER_V4.to_string()]);
    topology.server.run(&format!("ip address add 192.0.2.77/24 dev {INTERFACE}"));
    topology.server.run(&format!("ip address del {SERVER_V6}/64 dev {INTERFACE}"));
    // Another address of the host than the served one, as a source: once that is refused, the change was seen.
    let change = |syn: &mut Packet| syn.source = IpAddr::from([192, 0, 2, 77]);
    syns_until(&topology, &responder, change, |_| responder.counters().get("xdp_impossible_source") > 0);
    assert!(!responder.log().contains("of a served interface"), "{}", responder.log());
    responder.stop();
}

#[test]
fn a_new_hardware_address_is_followed() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    topology.server.run(&format!("ip link set {INTERFACE} address 02:00:00:00:00:77"));
    let change = |syn: &mut Packet| syn.to = [2, 0, 0, 0, 0, 0x77];
    syns_until(&topology, &responder, change, |client| {
        client.receive(Duration::from_millis(100)).is_some_and(|answer| answer.is(flags::SYN | flags::ACK))
    });
    let checked = ask(&topology, &responder, "check");
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    responder.stop();
}

/// The kernel refuses to attach natively to a veth that receives on fewer queues than its peer sends on, and it refuses to take
/// away queues that have sockets.
#[test]
fn a_change_of_queues_is_told() {
    let topology = Topology::new(2);
    topology.server.run(&format!("ethtool -L {INTERFACE} rx 1 tx 1"));
    let native = ["run", "-i", INTERFACE, "--xdp-mode", "native"];
    let ended = Responder::try_start(&topology.server, 1, &native).expect_err("the peer has more queues");
    assert!(ended.log.contains("has more queues to send than this end has to receive"), "{}", ended.log);
    topology.client.run(&format!("ethtool -L {INTERFACE} rx 1 tx 1"));
    let responder = Responder::try_start(&topology.server, 1, &native).expect("it serves");
    topology.server.run(&format!("ethtool -L {INTERFACE} rx 2 tx 2"));
    said(&responder, "eth0 had 1 receive queue(s) and has 2 now");
    responder.stop();
}

/// Refused at the start, or warned of, by the doctor's judgement.
#[test]
fn an_interface_that_cannot_serve_is_told() {
    let namespace = Netns::new("odd");
    namespace.run("ip tuntap add tun0 mode tun");
    namespace.run("ip address add 192.0.2.1/24 dev tun0");
    namespace.run("ip link set tun0 up");
    for (name, finding) in [
        ("tun0", "tun0 (tun) carries packets without an Ethernet header"),
        ("lo", "lo carries only traffic of this machine to itself"),
    ] {
        let ended = Responder::try_start(&namespace, 1, &["run", "-i", name]).expect_err("it cannot serve");
        assert!(ended.log.contains(finding), "{}", ended.log);
        let doctor = namespace.attempt(&format!("{} doctor -i {name}", binary().display()));
        let said = text(&doctor.stdout);
        assert!(
            said.contains(finding) && said.contains("cannot serve.") && !said.contains("run -i"),
            "{said}"
        );
    }
    let topology = Topology::new(1);
    topology.server.run(&format!("ip link set {INTERFACE} down"));
    let responder = Responder::start(&topology, &["--address", &SERVER_V4.to_string()]);
    said(&responder, "eth0 is down: ip link set eth0 up");
    responder.stop();
}

/// Each command that the doctor prints works once its remedies are applied.
#[rstest]
#[case::as_it_is(&[], &[])]
#[case::down(&["ip link set eth0 down"], &["ip link set eth0 up"])]
#[case::without_an_address(
    &["ip address flush dev eth0"],
    &["ip address add 192.0.2.53/24 dev eth0"],
)]
#[case::large(&["ip link set eth0 mtu 9000"], &[])]
#[case::small(&["ip link set eth0 mtu 1280", "ip -6 address flush dev eth0", "ip link set eth0 mtu 600"], &[])]
fn the_doctors_command_works(#[case] ailment: &[&str], #[case] remedies: &[&str]) {
    let topology = Topology::new(1);
    for line in ailment {
        topology.server.run(line);
    }
    let doctor = || text(&command(&topology, &format!("doctor -i {INTERFACE}")).stdout);
    let before = doctor();
    for remedy in remedies {
        assert!(before.contains(remedy), "{remedy}: {before}");
        topology.server.run(remedy);
    }
    let line =
        before.lines().find_map(|line| line.trim().strip_prefix("stateless-tcp run ")).expect("a command");
    let words: Vec<&str> = std::iter::once("run").chain(line.split_whitespace()).collect();
    let responder =
        Responder::try_start(&topology.server, 1, &words).unwrap_or_else(|ended| panic!("{}", ended.log));
    let address =
        if remedies.len() == 1 && before.contains("no address") { "192.0.2.53" } else { "192.0.2.1" };
    assert_eq!(dig(&topology.client, address), "192.0.2.1\n");
    responder.stop();
}
