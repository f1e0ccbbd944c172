//! The effect of a SYN flood on honest clients: of this responder, through the ring and in the driver, and of name servers on the
//! kernel's TCP with SYN cookies; in one run, by the load generator.
//!
//! `cargo xtask flood` is the generator; arguments here are another number of rounds, of seconds for each measurement, and
//! of honest clients a second. Core 0 is the server's: its process and the NAPI thread of its end of the link. The
//! generator and its end are on core 1. Clients send nothing again: what is lost is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use stateless_tcp_tests::cores::{self, put_first, receive_on, stay_on};
use stateless_tcp_tests::flooder::flood;
use stateless_tcp_tests::nameserver::{Knot, Nsd};
use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::peers;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::veth_xdp_peer::VethXdpPeer;
use tempfile::TempDir;

const SERVERS_CORE: usize = 0;
const OTHERS_CORE: usize = 1;

const ROUNDS: usize = 5;
const SECONDS: u64 = 2;
const RATE: u64 = 2_000;
/// Packets that an honest client sends: SYN, question, FIN, and the last ACK.
const PACKETS: u64 = 4;
/// Forged SYNs for each packet of an honest client.
const FLOODS: [u64; 3] = [0, 10, 25];

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 53);
const CLIENTS: &str = "198.51.100.0/24";
const FORGED: &str = "198.18.0.0/15";

/// In the order of the table.
const CONTENDERS: [(&str, FloodContender); 5] = [
    ("this, `--handshake driver`", FloodContender::This("driver")),
    ("this, `--handshake ring`", FloodContender::This("ring")),
    ("NSD, `tcp_syncookies=1`", FloodContender::Nsd(1)),
    ("NSD, `tcp_syncookies=2`", FloodContender::Nsd(2)),
    ("Knot, `tcp_syncookies=2`", FloodContender::Knot(2)),
];

#[derive(Clone, Copy)]
enum FloodContender {
    This(&'static str),
    /// The kernel's `tcp_syncookies`: when the queue is full, or always.
    Nsd(u8),
    Knot(u8),
}

enum Running {
    This(Responder),
    Kernel { _nsd: Option<Nsd>, _knot: Option<Knot> },
}

/// The latencies of honest clients: microseconds, and parts of all.
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
    /// Per cent.
    answered: f64,
    /// Forged SYNs a second.
    forged: f64,
    /// Frames that the link lost on the way to the server, forged ones included.
    lost: f64,
    /// KiB that this took more, where it is known.
    grown: Option<i64>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let rounds = usize::try_from(argument(ROUNDS as u64)?)?;
    let (seconds, rate) = (argument(SECONDS)?, argument(RATE)?);
    stay_on(OTHERS_CORE)?;
    let link = VethPair::new()?;
    println!(
        "{}\n{}; {}\n{} clients a second, {rounds} rounds of {seconds} s; load average at the beginning: {}\n",
        cores::machine()?,
        cores::say(&peers::program("nsd")?.display().to_string(), &["-v"])?,
        cores::say(&peers::program("knotd")?.display().to_string(), &["--version"])?,
        rate,
        cores::load_average()?
    );
    let mut all: BTreeMap<(usize, u64), Vec<Latency>> = BTreeMap::new();
    for round in 0..rounds {
        for turn in 0..CONTENDERS.len() {
            // Each is first, and behind each other, as often as the others.
            let which = (round + turn) % CONTENDERS.len();
            let (name, contender) = CONTENDERS[which];
            let running = link.start(contender)?;
            // The first touches every frame, and whatever else is touched only once.
            link.measure(&running, rate, 1, FLOODS[1])?;
            for times in FLOODS {
                let had = link.measure(&running, rate, seconds, times)?;
                let Latency { p99, answered, lost, .. } = had;
                eprintln!(
                    "round {round}, {name}, {times} times: p99 {p99:.0} µs, {answered:.3} %, {lost} lost"
                );
                all.entry((which, times)).or_default().push(had);
            }
        }
    }
    println!("load average at the end: {}\n", cores::load_average()?);
    table(&all);
    Ok(())
}

/// Client ⇄ server, by a veth pair.
struct VethPair {
    client: Netns,
    server: Netns,
    at_client: String,
    device: String,
    zone: PathBuf,
    _directory: TempDir,
}

impl VethPair {
    fn new() -> anyhow::Result<Self> {
        let [client, server] = ["client", "server"].map(Netns::new);
        // Names that nobody else has: the kernel's threads are known by them.
        let [at_client, device] = ["c", "s"].map(|end| format!("{end}{}", std::process::id()));
        client.run(&format!(
            "ip link add {at_client} numrxqueues 1 numtxqueues 1 type veth peer name {device} numrxqueues 1 \
             numtxqueues 1 netns {}",
            server.name()
        ));
        for (namespace, name, ip, core) in
            [(&client, &at_client, "192.0.2.2", OTHERS_CORE), (&server, &device, "192.0.2.1", SERVERS_CORE)]
        {
            namespace.run(&format!("ip link set {name} addrgenmode none"));
            namespace.run(&format!("ip address add {ip}/24 dev {name}"));
            namespace.run(&format!("ip link set {name} up"));
            // Before the core's other threads, as softirqs are: a veth holds no more than 256 frames meanwhile.
            put_first(receive_on(namespace, name, core)?, 1)?;
        }
        for prefix in [CLIENTS, FORGED] {
            server.run(&format!("ip route add {prefix} via 192.0.2.2"));
        }
        server.run("sysctl -q -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096");
        let directory = tempfile::tempdir()?;
        let zone = directory.path().join("flood.example.zone");
        fs::write(
            &zone,
            "$ORIGIN flood.example.\n$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n",
        )?;
        Ok(Self { client, server, at_client, device, zone, _directory: directory })
    }

    /// Starts a server on its core.
    fn start(&self, contender: FloodContender) -> anyhow::Result<Running> {
        let (zones, name) = ([self.zone.clone()], Some(self.server.name()));
        let cookies = |how| self.server.run(&format!("sysctl -q -w net.ipv4.tcp_syncookies={how}"));
        match contender {
            FloodContender::This(handshake) => {
                let zone = self.zone.display().to_string();
                let arguments = ["run", "-i", &self.device, "--zone", &zone, "--handshake", handshake];
                let core = SERVERS_CORE.to_string();
                // As long as the generator's own program is not there.
                let _xdp_peer = VethXdpPeer::attach(&self.client, &self.at_client);
                let started = Responder::spawn(&self.server, 1, &["taskset", "-c", &core], &arguments);
                started.map(Running::This).map_err(|ended| anyhow::anyhow!("it ended: {}", ended.log))
            }
            FloodContender::Nsd(how) => {
                cookies(how);
                stay_on(SERVERS_CORE)?;
                let nsd = Nsd::start(&zones, SERVER, name);
                stay_on(OTHERS_CORE)?;
                Ok(Running::Kernel { _nsd: Some(nsd?), _knot: None })
            }
            FloodContender::Knot(how) => {
                cookies(how);
                stay_on(SERVERS_CORE)?;
                let knot = Knot::start(&zones, SERVER, name);
                stay_on(OTHERS_CORE)?;
                Ok(Running::Kernel { _nsd: None, _knot: Some(knot?) })
            }
        }
    }

    fn measure(&self, running: &Running, rate: u64, seconds: u64, times: u64) -> anyhow::Result<Latency> {
        let syns = (times * PACKETS * rate).to_string();
        let resident = || match running {
            Running::This(responder) => i64::try_from(responder.resident()).ok(),
            Running::Kernel { .. } => None,
        };
        let lost = || -> anyhow::Result<u64> {
            let counter = format!("/sys/class/net/{}/statistics/tx_dropped", self.at_client);
            Ok(self.client.run(&format!("cat {counter}")).trim().parse()?)
        };
        let (before, lost_before) = (resident(), lost()?);
        let (rate, length) = (rate.to_string(), seconds.to_string());
        let server = SERVER.to_string();
        let mut arguments =
            vec!["--server", &server, "--clients", CLIENTS, "--rate", &rate, "--seconds", &length];
        arguments.extend(["--timeout", "2", "ns.flood.example"]);
        if times > 0 {
            arguments.extend(["--forge", FORGED, "--syn-rate", &syns]);
        }
        let report = flood(&self.client, &self.at_client, &arguments);
        let number = |path: &str| report.0.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        #[expect(clippy::cast_precision_loss, reason = "less than are sent")]
        let lost = (lost()? - lost_before) as f64;
        Ok(Latency {
            p50: number("/latency/p50"),
            p99: number("/latency/p99"),
            p999: number("/latency/p999"),
            answered: number("/answered") * 100.0 / number("/offered"),
            forged: number("/forged/sent") / number("/seconds"),
            lost,
            grown: resident().zip(before).map(|(after, before)| after - before),
        })
    }
}

fn table(all: &BTreeMap<(usize, u64), Vec<Latency>>) {
    println!(
        "| server | forged SYNs/s | answered | p50, µs | p99, µs | p99.9, µs | p99 beside no flood | lost by the link | memory, KiB |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (&(which, _), had) in all {
        let median = |field: fn(&Latency) -> f64| least_median_most(had, field)[1];
        let [least, answered, _] = least_median_most(had, |one| one.answered);
        let [fastest, p99, slowest] = least_median_most(had, |one| one.p99);
        let without = least_median_most(&all[&(which, 0)], |one| one.p99)[1];
        let grown = had.iter().filter_map(|one| one.grown).max();
        let grown = grown.map_or("–".to_owned(), |grown| format!("{grown:+}"));
        println!(
            "| {} | {:.0} | {answered:.3} % (least {least:.3}) | {:.0} | {p99:.0} ({fastest:.0} to {slowest:.0}) | {:.0} \
             | {:.2} | {:.0} | {grown} |",
            CONTENDERS[which].0,
            median(|one| one.forged),
            median(|one| one.p50),
            median(|one| one.p999),
            p99 / without,
            median(|one| one.lost)
        );
    }
}

fn least_median_most(had: &[Latency], field: fn(&Latency) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = had.iter().map(field).collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}
