//! The operator's policy for clients holds for every form of frame, and frames that are not for this host get nothing.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::{
    client::{Barrier, Client, port},
    packet::{Packet, flags},
    raw::Port,
    responder::Responder,
    topology::{CLIENT_MAC, GHOST_V6, INTERFACE, SERVER_V4, SERVER_V6, SERVERS, Topology},
};

/// Time limit for what must come on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// IPv6 extension headers that Linux looks behind: hop-by-hop options, destination options, and both.
const CHAINS: [&[u8]; 3] = [&[0], &[60], &[0, 60]];

/// A listener of the server's kernel at the DNS port, as `--deny` is meant to protect it.
fn kernel_listener(topology: &Topology) -> TcpListener {
    topology.server.enter(|| TcpListener::bind((SERVER_V6, 53)).expect("listen"))
}

fn behind(chain: &[u8], packet: Packet) -> Packet {
    // PadN over the four bytes behind it.
    let header = |&kind: &u8| (kind, vec![0, 1, 4, 0, 0, 0, 0]);
    Packet { extensions: chain.iter().map(header).collect(), ..packet }
}

fn dig(topology: &Topology, server: IpAddr) -> String {
    topology.client.run(&format!("dig @{server} +tcp +norecurse +tries=1 +time=60 +short example.com A"))
}

#[test]
fn denying_all_of_ipv6_denies_nothing_of_ipv4() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--deny", "::/0"]);
    assert_eq!(dig(&topology, SERVER_V4.into()), "192.0.2.1\n");
    let (port, mut barrier) = (port(&topology), Barrier::default());
    let client = Client::new(&port, 40_000, SERVER_V6.into(), 53, 7);
    client.send(&client.syn());
    assert_eq!(barrier.packets_for(&port, &client), []);
    assert_eq!(responder.stop().get("xdp_denied"), 1);
}

#[test]
fn leaving_all_of_ipv6_to_the_kernel_leaves_nothing_of_ipv4() {
    let topology = Topology::new(1);
    let _listener = kernel_listener(&topology);
    let responder = Responder::start(&topology, &["--kernel-from", "::/0"]);
    assert_eq!(dig(&topology, SERVER_V4.into()), "192.0.2.1\n");
    topology.client.enter(|| {
        TcpStream::connect_timeout(&SocketAddr::from((SERVER_V6, 53)), PATIENCE)
            .expect("the kernel's listener");
    });
    let counters = responder.stop();
    assert_eq!((counters.get("answered"), counters.get("syn_ack")), (1, 1), "{counters:?}");
}

#[test]
fn allowing_all_of_ipv6_lifts_no_limit_of_ipv4() {
    const SYNS: u16 = 50;
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--rate-limit", "1", "--allow", "::/0"]);
    let (port, mut barrier) = (port(&topology), Barrier::at([198, 51, 100, 7].into()));
    for server in SERVERS {
        for number in 0..SYNS {
            let client = Client::new(&port, 1_000 + number, server, 53, 7);
            client.send(&client.syn());
        }
    }
    barrier.pass(&port);
    let counters = responder.stop();
    // A token is left for the barrier, which is of another network; more come with the seconds.
    assert!(counters.get("xdp_limited") > 0, "{counters:?}");
    assert!(counters.get("syn_ack") > u64::from(SYNS), "{counters:?}");
}

/// Without the responder the kernel's listener accepts these SYNs; a denied client's do not reach it.
#[test]
fn no_extension_header_gets_a_denied_client_to_the_kernel() {
    let topology = Topology::new(1);
    let _listener = kernel_listener(&topology);
    let port = port(&topology);
    let client = |number: u16| Client::new(&port, 40_000 + number, SERVER_V6.into(), 53, 7);
    for (number, chain) in (0..).zip(CHAINS) {
        let client = client(number);
        client.send(&behind(chain, client.syn()));
        let answer = client.receive(PATIENCE).expect("the kernel's answer");
        assert!(answer.is(flags::SYN | flags::ACK), "{answer}");
    }
    let ghost = GHOST_V6.to_string();
    let responder = Responder::start(&topology, &["--deny", &ghost, "--extension-headers", "kernel"]);
    let mut barrier = Barrier::default();
    for (number, chain) in (10..).zip(CHAINS) {
        let client = client(number);
        client.send(&behind(chain, client.syn()));
        assert_eq!(barrier.packets_for(&port, &client), [], "{chain:?}");
    }
    assert_eq!(responder.stop().get("xdp_denied"), 3);
}

#[rstest]
#[case::by_default(&[], false)]
#[case::to_the_kernel(&["--extension-headers", "kernel"], true)]
fn the_operator_chooses_for_extension_headers(#[case] options: &[&str], #[case] kernel: bool) {
    let topology = Topology::new(1);
    let _listener = kernel_listener(&topology);
    let responder = Responder::start(&topology, options);
    let port = port(&topology);
    for (number, chain) in (0..).zip(CHAINS) {
        let client = Client::new(&port, 40_000 + number, SERVER_V6.into(), 53, 7);
        client.send(&behind(chain, client.syn()));
        if kernel {
            assert!(client.receive(PATIENCE).expect("the kernel's answer").is(flags::SYN | flags::ACK));
        } else {
            assert_eq!(Barrier::default().packets_for(&port, &client), [], "{chain:?}");
        }
    }
    let counter = if kernel { "xdp_left" } else { "xdp_extension_header" };
    assert!(responder.stop().get(counter) >= 3);
}

/// Ports that no other test packet of the same link uses.
fn syn(port: &Port, source_port: u16, server: IpAddr, change: impl FnOnce(&mut Packet)) -> Client<'_> {
    let mut client = Client::new(port, source_port, server, 53, 7);
    change(&mut client.template);
    client.send(&client.syn());
    client
}

#[rstest]
#[case::native("native")]
#[case::generic("generic")]
fn frames_for_others_and_from_nobody_get_nothing(#[case] mode: &str) {
    let topology = Topology::new(1);
    let server = &topology.server;
    server.run(&format!("ip address add 198.51.100.1/25 dev {INTERFACE}"));
    server.run(&format!("ip address add 2001:db8:1::1/64 dev {INTERFACE} nodad"));
    server.run(&format!("ip link add link {INTERFACE} name upper address 02:00:00:00:00:09 type macvlan"));
    let responder = Responder::start(&topology, &["--xdp-mode", mode]);
    let (port, mut barrier) = (port(&topology), Barrier::default());
    let mut number = 40_000;
    let mut silent = |name: &str, server: IpAddr, change: &dyn Fn(&mut Packet)| {
        number += 1;
        let client = syn(&port, number, server, change);
        assert_eq!(barrier.packets_for(&port, &client), [], "{name}");
    };
    for server in SERVERS {
        silent("another host", server, &|packet| packet.to = [2, 0, 0, 0, 0, 7]);
        silent("a VLAN that the host does not have", server, &|packet| packet.tags = vec![(0x8100, 9)]);
        silent("a group", server, &|packet| packet.from[0] |= 1);
    }
    for source in ["192.0.2.255", "198.51.100.127", "198.51.100.1", "255.255.255.255"] {
        let source: IpAddr = source.parse().expect("an address");
        silent("broadcast, or another address of the server", SERVER_V4.into(), &|packet| {
            packet.source = source;
        });
    }
    let own: IpAddr = "2001:db8:1::1".parse().expect("an address");
    silent("another address of the server", SERVER_V6.into(), &|packet| packet.source = own);

    // The kernel takes these for its own as well.
    for server in SERVERS {
        let client = syn(&port, 50, server, |packet| packet.to = [2, 0, 0, 0, 0, 9]);
        let answer = client.expect();
        assert_eq!((answer.from, answer.to), ([2, 0, 0, 0, 0, 9], CLIENT_MAC));
        syn(&port, 51, server, |packet| packet.tags = vec![(0x8100, 0x6000)]).expect();
    }
    let counters = responder.stop();
    assert_eq!(counters.get("xdp_other_host"), 4, "{counters:?}");
    // The one that is left is a martian in any network.
    assert_eq!(counters.get("xdp_impossible_source") + counters.get("martian"), 7, "{counters:?}");
    assert_eq!(counters.get("martian"), 1, "{counters:?}");
}
