//! What a transaction costs through the DNS relay, and through dnsdist: the same back end, the same load, one core for the
//! server.
//!
//! `cargo xtask bench --relay` runs it; arguments are another number of rounds, and of seconds for each measurement. Core 0
//! is the server's: its threads, and the NAPI threads of the server's ends of both links. The generator, the back end and
//! their ends are on core 1. What is counted is what the server's process (all its threads), these two NAPI threads and
//! core 0's ksoftirqd ran. TSO is off at all ends: a veth that may get it leaves NAPI to the sender's core.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::unistd::Pid;
use stateless_tcp_tests::asker::{self, number, until};
use stateless_tcp_tests::cores::{self, receive_on, softirq_thread, stay_on, time_of};
use stateless_tcp_tests::nameserver::{Dnsdist, Knot};
use stateless_tcp_tests::netns::{Netns, execute};
use stateless_tcp_tests::responder::Responder;
use tempfile::TempDir;

const SERVERS_CORE: usize = 0;
const OTHERS_CORE: usize = 1;

const ROUNDS: usize = 5;
const SECONDS: u64 = 5;
/// Before a measurement: what can be in a cache is.
const WARM_UP: u64 = 1;

const SERVER: SocketAddr = address([192, 0, 2, 1]);
const BACK_END: SocketAddr = address([198, 51, 100, 2]);

const ZONE: &str = "relay.example";
/// Names that are asked for, in turn: a cache has all of them when it is warm.
const NAMES: usize = 1_000;

/// What answers, in the order of the table. The last is what a cached answer is compared with.
const CONTENDERS: [(&str, Contender); 5] = [
    ("this, no cache", Contender::Relay { cache: 0 }),
    ("dnsdist, no cache", Contender::Dnsdist { cached: None }),
    ("this, cache", Contender::Relay { cache: 64 }),
    ("dnsdist, cache", Contender::Dnsdist { cached: Some(100_000) }),
    ("this, zone in memory", Contender::Zone),
];
/// This, dnsdist, and how many times better this is to be.
const TARGETS: [(usize, usize, u32); 2] = [(0, 1, 4), (2, 3, 8)];

/// In the order of the table.
const LOADS: [(&str, Load); 3] = [
    ("1 question a connection, 32 at a time", Load::OneEach { clients: 32 }),
    ("1 question a connection, 60,000/s offered", Load::Offered { rate: 60_000 }),
    ("many questions a connection, 10 connections", Load::Many),
];

#[derive(Clone, Copy)]
enum Load {
    /// Clients of the kernel's TCP, each of which asks again when it is answered.
    OneEach { clients: usize },
    /// kxdpgun, which goes by the clock: more than any of them can take.
    Offered { rate: u32 },
    /// dnsperf as it comes: 100 questions in flight, over 10 connections that stay.
    Many,
}

/// What came of a load.
struct Asked {
    answered: f64,
    unanswered: f64,
    /// Answers a second.
    rate: f64,
    /// Mean, microseconds, where it is known.
    latency: f64,
}

#[derive(Clone, Copy)]
enum Contender {
    /// This, with a cache of so many MiB.
    Relay {
        cache: u32,
    },
    Dnsdist {
        cached: Option<u32>,
    },
    Zone,
}

/// A running contender.
enum Running {
    Responder(Responder),
    Dnsdist(Dnsdist),
}

/// What one measurement found.
struct Measured {
    asked: Asked,
    /// Microseconds of the server's core for each answer.
    cost: f64,
    /// Of these, those of the process.
    own: f64,
    /// Part of the time that the server's core was busy with it, per cent.
    busy: f64,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(Ok(ROUNDS), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(SECONDS), |text| text.parse())?;
    stay_on(OTHERS_CORE)?;
    let lab = Lab::new()?;
    println!("{}\n", circumstances(rounds, seconds)?);
    let mut all: BTreeMap<(usize, usize), Vec<Measured>> = BTreeMap::new();
    for round in 0..rounds {
        for (load, &(_, asking)) in LOADS.iter().enumerate() {
            for turn in 0..CONTENDERS.len() {
                // Each is first, and behind each other, as often as the others.
                let which = (round + turn) % CONTENDERS.len();
                let (name, contender) = CONTENDERS[which];
                let running = lab.start(contender)?;
                lab.load(asking, WARM_UP)?;
                let measured = lab.measure(running.pid(), asking, seconds)?;
                let (rate, cost) = (measured.asked.rate, measured.cost);
                eprintln!("round {round}, load {load}: {name}: {rate:.0}/s, {cost:.2} µs each");
                all.entry((load, which)).or_default().push(measured);
            }
        }
    }
    println!("load average at the end: {}\n", cores::load_average()?);
    print!("{}", table(&all));
    Ok(())
}

/// Client ⇄ server ⇄ back end, by two veth pairs.
struct Lab {
    client: Netns,
    server: Netns,
    at_client: String,
    device: String,
    /// The kernel's threads that work for the server.
    kernel: Vec<Pid>,
    directory: TempDir,
    _back_end: Knot,
    _behind: Netns,
}

impl Lab {
    fn new() -> anyhow::Result<Self> {
        let [client, server, behind] = ["client", "server", "behind"].map(Netns::new);
        // Names that nobody else has: the kernel's threads are known by them.
        let [at_client, device, inner, at_back_end] =
            ["c", "s", "i", "b"].map(|end| format!("{end}{}", std::process::id()));
        let mut kernel = vec![softirq_thread(SERVERS_CORE)?];
        for (near, far, own) in [
            ((&client, &at_client, "192.0.2.2"), (&server, &device, "192.0.2.1"), &device),
            ((&server, &inner, "198.51.100.1"), (&behind, &at_back_end, "198.51.100.2"), &inner),
        ] {
            near.0.run(&format!(
                "ip link add {} numrxqueues 1 numtxqueues 1 type veth peer name {} numrxqueues 1 numtxqueues 1 netns {}",
                near.1,
                far.1,
                far.0.name()
            ));
            for (namespace, name, ip) in [near, far] {
                namespace.run(&format!("ip link set {name} addrgenmode none"));
                namespace.run(&format!("ip address add {ip}/24 dev {name}"));
                namespace.run(&format!("ip link set {name} up"));
                if name == own {
                    kernel.push(receive_on(namespace, name, SERVERS_CORE)?);
                } else {
                    receive_on(namespace, name, OTHERS_CORE)?;
                }
            }
        }
        // A connection that dnsperf has closed keeps its port for a minute; there is not one for each question.
        let ports = "net.ipv4.ip_local_port_range=1024 65535";
        execute(client.command("sysctl").args(["-q", "-w", ports, "net.ipv4.tcp_tw_reuse=1"]));
        server.run("sysctl -q -w net.core.somaxconn=4096");
        let directory = tempfile::tempdir()?;
        let lab_zone = directory.path().join(format!("{ZONE}.zone"));
        std::fs::write(&lab_zone, zone())?;
        let mut questions = String::new();
        names().for_each(|name| _ = writeln!(questions, "{name} A"));
        std::fs::write(directory.path().join("questions"), questions)?;
        let back_end = Knot::start(&[lab_zone], BACK_END, Some(behind.name()))?;
        Ok(Self {
            client,
            server,
            at_client,
            device,
            kernel,
            directory,
            _back_end: back_end,
            _behind: behind,
        })
    }

    fn start(&self, contender: Contender) -> anyhow::Result<Running> {
        let mut arguments = ["run", "-i", &self.device].map(str::to_owned).to_vec();
        match contender {
            Contender::Dnsdist { cached } => {
                let name = self.server.name();
                return Dnsdist::start(SERVER, BACK_END, Some(name), SERVERS_CORE, cached)
                    .map(Running::Dnsdist);
            }
            Contender::Relay { cache } => {
                arguments.extend(["--dns-relay".to_owned(), BACK_END.to_string()]);
                arguments.extend(["--dns-cache".to_owned(), cache.to_string()]);
            }
            Contender::Zone => {
                arguments
                    .extend(["--zone".to_owned(), self.file(&format!("{ZONE}.zone")).display().to_string()]);
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let core = SERVERS_CORE.to_string();
        let started = Responder::spawn(&self.server, 1, &["taskset", "-c", &core], &arguments);
        started.map(Running::Responder).map_err(|ended| anyhow::anyhow!("the responder ended: {}", ended.log))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Has questions asked for so many seconds.
    fn load(&self, load: Load, seconds: u64) -> anyhow::Result<Asked> {
        match load {
            Load::OneEach { clients } => self.one_each(clients, Duration::from_secs(seconds)),
            Load::Offered { rate } => self.offered(rate, seconds),
            Load::Many => self.many(seconds),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
    fn one_each(&self, clients: usize, time: Duration) -> anyhow::Result<Asked> {
        let queries: Vec<_> = names().map(|name| asker::query(&name)).collect();
        let asked = asker::run(&self.client, SERVER, &queries, clients, time)?;
        let answered = asked.answered as f64;
        Ok(Asked {
            answered,
            unanswered: asked.failed as f64,
            rate: answered / time.as_secs_f64(),
            latency: asked.waited.as_secs_f64() * 1e6 / answered,
        })
    }

    fn offered(&self, rate: u32, seconds: u64) -> anyhow::Result<Asked> {
        let mut kxdpgun = self.client.command("kxdpgun");
        kxdpgun.args([
            "-T",
            "-t",
            &seconds.to_string(),
            "-Q",
            &rate.to_string(),
            "-F",
            &OTHERS_CORE.to_string(),
        ]);
        kxdpgun.args(["-p", "53", "-I", &self.at_client, "-i"]).arg(self.file("questions"));
        let output = until(kxdpgun.arg(SERVER.ip().to_string()), "total SYNs:")?;
        let answered = number(&output, "total replies:")?;
        ensure!(
            (number(&output, "NOERROR:")? - answered).abs() < 1.0,
            "not all answers are right:\n{output}"
        );
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let seconds = seconds as f64;
        let unanswered = number(&output, "total SYNs:")? - answered;
        Ok(Asked { answered, unanswered, rate: answered / seconds, latency: f64::NAN })
    }

    fn many(&self, seconds: u64) -> anyhow::Result<Asked> {
        let mut dnsperf = self.client.command("dnsperf");
        dnsperf.args(["-m", "tcp", "-s", &SERVER.ip().to_string(), "-q", "100", "-c", "10", "-T", "1"]);
        dnsperf.args(["-l", &seconds.to_string(), "-d"]).arg(self.file("questions"));
        let output = until(&mut dnsperf, "Queries completed:")?;
        let answered = number(&output, "Queries completed:")?;
        ensure!((number(&output, "NOERROR")? - answered).abs() < 1.0, "not all answers are right:\n{output}");
        Ok(Asked {
            answered,
            unanswered: number(&output, "Queries lost:")?,
            rate: number(&output, "Queries per second:")?,
            latency: number(&output, "Average Latency (s):")? * 1e6,
        })
    }

    fn measure(&self, server: Pid, load: Load, seconds: u64) -> anyhow::Result<Measured> {
        let kernel = || self.kernel.iter().map(|&thread| time_of(thread)).sum::<anyhow::Result<Duration>>();
        let (began, own_before, kernel_before) = (Instant::now(), time_of(server)?, kernel()?);
        let asked = self.load(load, seconds)?;
        let took = began.elapsed();
        let own = time_of(server)?.saturating_sub(own_before);
        let kernel = kernel()?.saturating_sub(kernel_before);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / asked.answered;
        let busy = (own + kernel).as_secs_f64() / took.as_secs_f64() * 100.0;
        Ok(Measured { cost: each(own + kernel), own: each(own), busy, asked })
    }
}

impl Running {
    fn pid(&self) -> Pid {
        match self {
            Self::Responder(responder) => responder.pid(),
            Self::Dnsdist(dnsdist) => dnsdist.pid(),
        }
    }
}

const fn address([a, b, c, d]: [u8; 4]) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 53)
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
fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|number| format!("n{}.{ZONE}", number * 619 % NAMES))
}

/// When, where, by what and how often it was measured.
fn circumstances(rounds: usize, seconds: u64) -> anyhow::Result<String> {
    let this = stateless_tcp_tests::responder::binary().display().to_string();
    Ok(format!(
        "{}\n{}; {}; {}; back end: {}\nload average at the beginning: {}; {rounds} rounds of {seconds} s",
        cores::machine()?,
        cores::say(&this, &["--version"])?,
        cores::say("dnsdist", &["--version"])?,
        cores::say("dnsperf", &["-h"])?.replace("Version", "dnsperf"),
        cores::say("knotd", &["--version"])?,
        cores::load_average()?,
    ))
}

fn table(all: &BTreeMap<(usize, usize), Vec<Measured>>) -> String {
    let mut out = String::from(
        "| load | server | transactions/s | server CPU each, µs | of it the process | server core busy | \
         mean latency, µs | unanswered |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (&(load, which), measured) in all {
        let spread = |field: fn(&Measured) -> f64, digits: usize| {
            let [least, middle, most] = least_median_most(measured, field);
            format!("{middle:.digits$} ({least:.digits$} to {most:.digits$})")
        };
        let [_, unanswered, _] = least_median_most(measured, |one| {
            one.asked.unanswered * 100.0 / (one.asked.answered + one.asked.unanswered)
        });
        let [_, latency, _] = least_median_most(measured, |one| one.asked.latency);
        let latency = if latency.is_nan() { "–".to_owned() } else { format!("{latency:.0}") };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.1} | {:.0} % | {latency} | {unanswered:.0} % |",
            LOADS[load].0,
            CONTENDERS[which].0,
            spread(|one| one.asked.rate, 0),
            spread(|one| one.cost, 1),
            least_median_most(measured, |one| one.own)[1],
            least_median_most(measured, |one| one.busy)[1],
        );
    }
    let _ = writeln!(
        out,
        "\n| load | beside dnsdist | times the rate | times less CPU | target |\n|---|---|---|---|---|"
    );
    for (load, (name, _)) in LOADS.iter().enumerate() {
        for (this, peer, target) in TARGETS {
            let median =
                |which, field: fn(&Measured) -> f64| least_median_most(&all[&(load, which)], field)[1];
            let rate = median(this, |one| one.asked.rate) / median(peer, |one| one.asked.rate);
            let cost = median(peer, |one| one.cost) / median(this, |one| one.cost);
            let _ = writeln!(out, "| {name} | {} | {rate:.1} | {cost:.1} | {target} |", CONTENDERS[this].0);
        }
    }
    out
}

fn least_median_most(measured: &[Measured], field: fn(&Measured) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = measured.iter().map(field).collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}
