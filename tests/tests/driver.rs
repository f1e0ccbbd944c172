//! The place where the handshake is answered: in the driver if that is asked for, and through the ring where it cannot be.

use std::net::IpAddr;

use stateless_tcp_tests::{
    client::{Client, port, query},
    netns::Netns,
    packet::flags,
    responder::Responder,
    topology::{INTERFACE, SERVER_V4, SERVERS, Topology},
    veth_xdp_peer::VethXdpPeer,
};

const A: u16 = 1;

/// A real client's whole transaction: only the question gets as far as a worker.
#[test]
fn only_questions_reach_the_workers() {
    let topology = Topology::new(1);
    let _xdp_peer = topology.xdp_peer.is_none().then(|| VethXdpPeer::attach(&topology.client, INTERFACE));
    let responder = Responder::start(&topology, &["--handshake", "driver"]);
    for server in SERVERS {
        let dig = format!("dig @{server} +tcp +short +tries=1 +time=60 www.example.com A");
        assert!(!topology.client.run(&dig).is_empty(), "{server}");
    }
    let counters = responder.stop();
    let [answered, dropped] =
        ["driver_answered", "driver_dropped"].map(|name| counters.by_driver.get(name).copied().unwrap_or(0));
    let received = counters.get("received");
    assert_eq!(counters.get("syn_ack"), 2, "{counters:?}");
    assert_eq!(received - answered - dropped, counters.get("answered"), "{counters:?}");
    assert_eq!((answered, counters.get("answered")), (counters.get("sent") - 2, 2), "{counters:?}");
    assert_eq!(counters.get("xdp_served"), received, "{counters:?}");
}

/// A client that cannot be told from others by its timestamps, and whose frames bear IP options: all are the workers'.
#[test]
fn what_is_out_of_the_ordinary_reaches_the_workers() {
    let topology = Topology::new(1);
    let _xdp_peer = topology.xdp_peer.is_none().then(|| VethXdpPeer::attach(&topology.client, INTERFACE));
    let responder = Responder::start(&topology, &["--handshake", "driver"]);
    let port = port(&topology);
    let mut client = Client::new(&port, 40_000, IpAddr::V4(SERVER_V4), 53, 1);
    client.template.ip_options = vec![1; 4];
    client.open();
    client.send(&client.segment(flags::ACK, 1, 1, b""));
    client.send(&client.segment(flags::PSH | flags::ACK, 1, 1, &query(7, "example.com", A)));
    assert!(!client.expect().payload.is_empty());
    let counters = responder.stop();
    assert!(counters.by_driver.is_empty(), "{counters:?}");
    assert_eq!([counters.get("syn_ack"), counters.get("answered")], [1, 1]);
}

#[test]
fn auto_takes_the_ring_where_the_driver_may_not_do() {
    let topology = Topology::new(1);
    for (mode, why) in [("auto", "is in another network namespace"), ("generic", "in generic mode")] {
        let responder = Responder::start(&topology, &["--xdp-mode", mode, "--handshake", "auto"]);
        let log = responder.log();
        let said: Vec<_> = log.lines().filter(|line| line.contains("through the ring")).collect();
        assert!(matches!(said[..], [line] if line.contains(why)), "{log}");
        let port = port(&topology);
        Client::new(&port, 40_000, IpAddr::V4(SERVER_V4), 53, 1).open();
        assert!(responder.stop().by_driver.is_empty());
    }
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    assert!(!responder.log().contains("through the ring"), "{}", responder.log());
    responder.stop();
}

#[test]
fn the_driver_is_refused_where_it_cannot_answer() {
    let namespace = Netns::new("refused");
    namespace.run("ip link add here type veth peer name there");
    for interface in ["here", "there"] {
        namespace.run(&format!("ip link set {interface} up"));
    }
    namespace.run("ip link add upper type bridge");
    let run = |interface, handshake| {
        let address = ["--address", "192.0.2.7", "--handshake", handshake];
        Responder::try_start(&namespace, 1, &[&["run", "-i", interface], &address[..]].concat())
    };
    for (interface, cause) in [
        ("here", "there, the other end of this veth, does not receive"),
        ("upper", "the driver cannot send for XDP programs"),
    ] {
        let ended = run(interface, "driver").expect_err("it cannot answer there");
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        for words in
            ["--handshake driver is not possible here (--handshake auto falls back to the ring)", cause]
        {
            assert!(ended.log.contains(words), "{words:?} is not in: {}", ended.log);
        }
        run(interface, "auto").expect("it answers through the ring").stop();
    }
    // With a program on the other end, even auto finds that it can.
    let _xdp_peer = VethXdpPeer::attach(&namespace, "there");
    let responder = run("here", "auto").expect("it answers in the driver");
    let log = responder.log();
    assert!(log.contains("answered in the driver: that costs less where frames are copied"), "{log}");
    responder.stop();
}
