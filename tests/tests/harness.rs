//! The harness itself: what the other tests believe without looking.

use std::{
    net::{IpAddr, TcpListener},
    path::Path,
    process::Command,
};

use rstest::rstest;
use stateless_tcp_tests::{
    capture::Capture,
    client::{Client, port},
    netns::{Netns, text},
    packet::{Packet, flags},
    topology::{INTERFACE, SERVER_V4, SERVER_V6, SERVERS, Topology},
};

#[test]
fn a_namespace_ends_with_its_guard_and_takes_its_processes_along() {
    let namespace = Netns::new("guard");
    let name = Path::new("/run/netns").join(namespace.name());
    let mut sleeper = namespace.command("sleep").arg("1000").spawn().expect("start sleep");
    assert!(name.exists());
    // Until it has entered the namespace it is not in it, and dies only with the thread that started it.
    let inside = |output: std::process::Output| text(&output.stdout).contains(&sleeper.id().to_string());
    while !inside(Command::new("ip").args(["netns", "pids", namespace.name()]).output().expect("run ip")) {
        std::thread::yield_now();
    }
    drop(namespace);
    assert!(!name.exists());
    assert!(!sleeper.wait().expect("wait for sleep").success());
}

#[test]
fn a_dead_process_s_namespaces_are_swept() {
    let mut dead = Command::new("true").spawn().expect("start true");
    dead.wait().expect("wait for true");
    let name = format!("sttcp-{}-0-stale", dead.id());
    assert!(Command::new("ip").args(["netns", "add", &name]).status().expect("run ip").success());
    // The sweep runs once a process: in this one it may be over, so another is started.
    let this = std::env::current_exe().expect("this program");
    let test = "a_namespace_ends_with_its_guard_and_takes_its_processes_along";
    assert!(Command::new(this).args(["--exact", test]).status().expect("run one test").success());
    assert!(!Path::new("/run/netns").join(name).exists());
}

#[rstest]
#[case::one_queue(1)]
#[case::four_queues(4)]
fn kernels_reach_each_other(#[case] queues: usize) {
    let topology = Topology::new(queues);
    for server in SERVERS {
        topology.client.run(&format!("ping -n -c 1 -W 5 {server}"));
    }
    let rx = format!("/sys/class/net/{INTERFACE}/queues");
    let listed = topology.server.run(&format!("ls {rx}"));
    assert_eq!(listed.lines().filter(|name| name.starts_with("rx-")).count(), queues);
}

/// The kernel's TCP answers a scripted client: what the harness builds is believed by an implementation not its own.
#[rstest]
#[case::v4(IpAddr::V4(SERVER_V4))]
#[case::v6(IpAddr::V6(SERVER_V6))]
fn the_kernel_believes_our_frames(#[case] server: IpAddr) {
    let topology = Topology::new(1);
    // Over a veth, a kernel leaves the checksums of TCP to a device that never comes.
    topology.server.run(&format!("ethtool -K {INTERFACE} tx off"));
    let _listener = topology.server.enter(|| TcpListener::bind((server, 8080)).expect("listen"));
    let capture = Capture::start(&topology.client, INTERFACE);
    let port = port(&topology);
    let mut client = Client::new(&port, 40_000, server, 8080, 0xffff_fff0);
    assert_eq!(client.open().ack, 0xffff_fff1);
    client.send(&client.segment(flags::ACK, 1, 1, b""));
    client.send(&client.segment(flags::ACK | flags::PSH, 1, 1, b"twenty octets of data"));
    let answer = client.expect();
    assert_eq!(client.relative(&answer), (flags::ACK, 1, 22, 0));

    let mut broken = client.segment(flags::ACK | flags::PSH, 22, 1, b"never acknowledged").octets();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    port.send(&broken);
    // What comes again is acknowledged again, at once: that far, and no further.
    client.send(&client.segment(flags::ACK | flags::PSH, 1, 1, b"twenty octets of data"));
    assert_eq!(client.relative(&client.expect()), (flags::ACK, 1, 22, 0), "a wrong checksum was accepted");

    let seen = capture.packets();
    let ours: Vec<_> = seen.iter().map(|packet| client.relative(packet)).collect();
    assert_eq!(ours.len(), 8, "{seen:?}");
    assert_eq!([ours[4], ours[7]], [(flags::ACK, 1, 22, 0); 2]);
    assert!(!seen[5].intact);
    for packet in seen[..5].iter().chain(&seen[6..]) {
        assert_eq!(Packet::parse(&packet.octets()).as_ref(), Some(packet));
    }
}
