//! The testbed: client ⇄ server, and for a relay ⇄ back end, by veth pairs. New for each server, so that nothing
//! of one is left to the next.
//!
//! One core is the server's: its threads, and the NAPI threads of its ends of the links. The generator, the back end and
//! their ends are on the other. TSO is off at all ends: a veth that may get it leaves NAPI to the sender's core.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::Pid;
use stateless_tcp_tests::connection_opener::CLIENTS;
use stateless_tcp_tests::cores::{keep_on, put_first, receive_on, time_of};
use stateless_tcp_tests::interrupts::put_off;
use stateless_tcp_tests::nameserver::Server;
use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::topology::{CLIENT_MAC, SERVER_MAC};
use tempfile::TempDir;

use crate::Entrant;
use crate::contender::back_end;

pub(crate) const SERVERS_CORE: usize = 0;
pub(crate) const OTHERS_CORE: usize = 1;

pub(crate) const SERVER: SocketAddr = address([192, 0, 2, 1]);
pub(crate) const BACK_END: SocketAddr = address([198, 51, 100, 2]);
/// The client's kernel.
const CLIENT: &str = "192.0.2.2";

pub(crate) const ZONE: &str = "bench.example";
/// Names that are asked for, in turn: a cache has all of them when it is warm.
const NAMES: usize = 1_000;

/// Reception at the generator's end goes before the generator, as softirqs do.
const BEFORE_GENERATOR: u8 = 1;

/// The zone, and questions for what is in it.
pub(crate) struct Content {
    directory: TempDir,
}

/// The place of a server, and its content.
pub(crate) struct ServerSetup<'testbed> {
    pub(crate) netns: &'testbed str,
    pub(crate) device: &'testbed str,
    pub(crate) zone: &'testbed Path,
    /// This.
    pub(crate) binary: &'testbed Path,
    pub(crate) core: usize,
}

/// A running server and its client's namespace.
pub(crate) struct Testbed {
    // In the order in which they are to end.
    server: Server,
    _back_end: Option<Server>,
    /// The kernel's threads that receive for the server.
    napi: Vec<Pid>,
    pub(crate) client: Netns,
    pub(crate) at_client: String,
    _others: [Netns; 2],
}

/// One end of a link: namespace, device, address, core.
type LinkEnd<'testbed> = (&'testbed Netns, &'testbed str, &'testbed str, usize);

impl Content {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let content = Self { directory: TempDir::with_prefix("peers-")? };
        std::fs::write(content.zone(), zone())?;
        let mut questions = String::new();
        names().for_each(|name| _ = writeln!(questions, "{name} A"));
        std::fs::write(content.questions(), questions)?;
        Ok(content)
    }

    pub(crate) fn zone(&self) -> PathBuf {
        self.directory.path().join(format!("{ZONE}.zone"))
    }

    /// In the form that kxdpgun and dnsperf read.
    pub(crate) fn questions(&self) -> PathBuf {
        self.directory.path().join("questions")
    }
}

impl Testbed {
    /// Starts a contender between namespaces of its own.
    pub(crate) fn new(content: &Content, entrant: &Entrant) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let &Entrant { contender, ref binary, coalesce, .. } = entrant;
        let [client, server, behind] = ["client", "server", "behind"].map(Netns::new);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Names that nobody else has: the kernel's threads are known by them.
        let [at_client, device, inner, at_back_end] =
            ["c", "s", "i", "b"].map(|end| format!("{end}{}n{number}", std::process::id()));
        let (receiver, napi) = connect(
            (&client, &at_client, CLIENT, OTHERS_CORE),
            (&server, &device, &SERVER.ip().to_string(), SERVERS_CORE),
        )?;
        put_first(receiver, BEFORE_GENERATOR)?;
        let mut napi = vec![napi];
        server.run(&format!("ip route add {CLIENTS} via {CLIENT}"));
        // Closed connections keep their ports for a minute: there is not one for each question.
        client.run("sysctl -q -w net.ipv4.ip_forward=0 net.ipv4.tcp_tw_reuse=1");
        client.run("sysctl -q -w net.ipv4.ip_local_reserved_ports=1024-1999");
        server.run("sysctl -q -w net.core.somaxconn=65535 net.ipv4.tcp_max_syn_backlog=65535");
        if coalesce > 0 {
            // As `run --coalesce` does, for all of them.
            put_off(&server, &device, ["1", &format!("{coalesce}000")]);
        }
        let zone = content.zone();
        let place =
            ServerSetup { netns: server.name(), device: &device, zone: &zone, binary, core: SERVERS_CORE };
        let mut back = None;
        if contender.relays() {
            let (receiver, inner) = connect(
                (&behind, &at_back_end, &BACK_END.ip().to_string(), OTHERS_CORE),
                (&server, &inner, "198.51.100.1", SERVERS_CORE),
            )?;
            put_first(receiver, BEFORE_GENERATOR)?;
            napi.push(inner);
            let behind =
                ServerSetup { netns: behind.name(), device: &at_back_end, core: OTHERS_CORE, ..place };
            let started = back_end(&behind)?;
            keep_on(started.pid(), OTHERS_CORE)?;
            back = Some(started);
        }
        let started = contender.start(&place)?;
        // Some choose cores for their threads.
        keep_on(started.pid(), SERVERS_CORE)?;
        Ok(Self { server: started, _back_end: back, napi, client, at_client, _others: [server, behind] })
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> Pid {
        self.server.pid()
    }

    /// Time that the kernel's threads ran that receive for the server.
    pub(crate) fn napi_time(&self) -> anyhow::Result<Duration> {
        self.napi.iter().map(|&thread| time_of(thread)).sum()
    }
}

/// Joins two namespaces. Returns the threads of the kernel that receive for them.
fn connect(first: LinkEnd, second: LinkEnd) -> anyhow::Result<(Pid, Pid)> {
    let queues = "numrxqueues 1 numtxqueues 1";
    let [mac, peer_mac] =
        [CLIENT_MAC, SERVER_MAC].map(|bytes| bytes.map(|byte| format!("{byte:02x}")).join(":"));
    first.0.run(&format!(
        "ip link add {} address {mac} {queues} type veth peer name {} address {peer_mac} {queues} netns {}",
        first.1,
        second.1,
        second.0.name()
    ));
    for (namespace, device, ip, _) in [first, second] {
        namespace.run(&format!("ip link set {device} addrgenmode none"));
        namespace.run(&format!("ip address add {ip}/24 dev {device}"));
        namespace.run(&format!("ip link set {device} up"));
    }
    Ok((receive_on(first.0, first.1, first.3)?, receive_on(second.0, second.1, second.3)?))
}

const fn address([a, b, c, d]: [u8; 4]) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 53)
}

fn zone() -> String {
    let mut zone =
        format!("$ORIGIN {ZONE}.\n$TTL 3600\n@ SOA ns hostmaster 1 3600 900 86400 3600\n@ NS ns\n");
    let address = |number: usize| format!("203.0.{}.{}", number / 256, number % 256);
    let _ = writeln!(zone, "ns A {}", address(0));
    (0..NAMES).for_each(|number| _ = writeln!(zone, "n{number} A {}", address(number)));
    zone
}

/// All names, in an order that jumps: by a step that has no divisor in common with their number.
pub(crate) fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|number| format!("n{}.{ZONE}", number * 619 % NAMES))
}
