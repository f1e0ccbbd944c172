//! What `cargo xtask bench` measures with: connections that it opens are open, its prober knows an answer from none, and
//! time is counted for whom it is spent.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use stateless_tcp_tests::{
    asker,
    client::query,
    connection_opener::{CLIENTS, ConnectionOpener},
    cores::{family, idle_time, keep_on, stay_on, time_of},
    prober,
    raw::Port,
    responder::Responder,
    topology::{CLIENT_V4, INTERFACE, SERVER_V4, Topology},
    veth_xdp_peer::VethXdpPeer,
};

const A: u16 = 1;
const PATIENCE: Duration = Duration::from_mins(1);
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER_V4), 53);

fn topology() -> Topology {
    let mut topology = Topology::new(1);
    topology.xdp_peer.get_or_insert_with(|| VethXdpPeer::attach(&topology.client, INTERFACE));
    topology.server.run(&format!("ip route add {CLIENTS} via {CLIENT_V4}"));
    topology.client.run("sysctl -q -w net.ipv4.ip_forward=0");
    topology
}

/// A server of the kernel's counts its connections itself.
#[test]
fn connections_to_a_kernel_are_open() {
    let topology = topology();
    let listener = topology.server.enter(|| TcpListener::bind(SERVER).expect("listen"));
    let port = Port::open(&topology.client, INTERFACE);
    let mut opener = ConnectionOpener::new(&port, SERVER);
    for count in [40, 100] {
        assert_eq!(opener.open(count), count);
        let established = topology.server.run("ss -H -t -n state established");
        assert_eq!(established.lines().count(), count, "{established}");
    }
    // What is asked arrives on each.
    assert_eq!(opener.ask(&query(1, "example.com", A), 3), 0, "nobody has answered");
    let mut asked = Vec::new();
    for _ in 0..100 {
        let (mut stream, client) = listener.accept().expect("an open connection");
        stream.set_nonblocking(true).expect("a socket");
        asked.extend(stream.read(&mut [0; 100]).is_ok().then_some(client));
    }
    assert_eq!(asked.len(), 4, "every thirty-third of a hundred: {asked:?}");
}

#[test]
fn connections_to_the_responder_are_answered_on() {
    let topology = topology();
    let _responder = Responder::start(&topology, &[]);
    let port = Port::open(&topology.client, INTERFACE);
    let mut opener = ConnectionOpener::new(&port, SERVER);
    assert_eq!(opener.open(1_000), 1_000);
    assert_eq!(opener.ask(&query(1, "www.example.com", A), 100), 100);
}

#[test]
fn the_prober_knows_an_answer_from_none() {
    let topology = topology();
    let probe = |name: &str| {
        let time = Duration::from_millis(500);
        prober::run(&topology.client, SERVER, &asker::query(name), 200, time, 0).expect("probes")
    };
    let refused = probe("www.example.com");
    assert_eq!((refused.answered(), refused.permille(500)), (0, None));
    assert!(refused.failed > 0);
    let _responder = Responder::start(&topology, &[]);
    let answered = probe("www.example.com");
    assert!(answered.answered() > 0 && answered.permille(0) <= answered.permille(500), "{answered:?}");
    // Its patience is short: on a busy machine one may come too late.
    assert!(answered.failed < answered.answered(), "{answered:?}");
    // Refused by the name server, not by its host.
    assert_eq!(probe("elsewhere.example.net").answered(), 0);
}

/// A spinning process is counted with it, with its parent, and not as the core's idle time.
#[test]
fn time_is_counted_for_whom_it_is_spent() {
    const SPIN: Duration = Duration::from_millis(300);
    stay_on(0).expect("core 0");
    // A child and its own: each dies with its parent, so that none is left however this ends.
    let words =
        ["--pdeathsig", "KILL", "sh", "-c", "setpriv --pdeathsig KILL sh -c 'while :; do :; done'; :"];
    let mut shell = std::process::Command::new("setpriv").args(words).spawn().expect("a shell");
    let pid = nix::unistd::Pid::from_raw(shell.id().cast_signed());
    wait_until(|| family(pid).expect("its family").len() == 2);
    keep_on(pid, 1).expect("core 1");
    let (spent, idle) = (time_of(pid).expect("its time"), idle_time(1).expect("core 1's"));
    wait_until(|| time_of(pid).expect("its time") > spent + SPIN);
    let rested = idle_time(1).expect("core 1's").saturating_sub(idle);
    shell.kill().expect("it is ours");
    shell.wait().expect("it has ended");
    // Hundredths of a second are what it is counted in.
    assert!(rested <= Duration::from_millis(20), "{rested:?}");
}

fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
