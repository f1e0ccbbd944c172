//! Instructions that one DNS question costs, by kind of zone and kind of name, counted by callgrind: the same on every
//! run and beside any load, which a clock's figures are not.
//!
//! `cargo bench -p stateless-tcp --bench dns_instructions` prints the table, and fails where a name costs more than so many
//! times the known one with its small answer: twice, and with DO what the records that prove a denial add. valgrind knows
//! no SHA instructions: NSEC3 is counted with SHA-1 in software, 1,400 instructions a block.
//!
//! Behind it stands what the same answers cost when they come from the relay's cache.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use stateless_tcp::services::dns::relay::{
    ClientSubnet, DnsForwarders, DnsRelay, DnsRelayOptions, DnsUpstream,
};
use stateless_tcp::services::dns::{Dns, DnsOptions};
use stateless_tcp::services::{Context, MAX_RESPONSE, Service};

/// Most that any name may cost without DO, by the cost of the known one: twice, and what the hash tables, keyed at random,
/// add in some runs.
const LIMIT: f64 = 2.1;
/// Questions asked at each measurement, and once before it.
const REPEATS: u32 = 100;
/// Stands in the arguments of the process that callgrind runs.
const MEASURE: &str = "--measure";

/// Zone, what it is, and most that any name may cost with DO, by the cost of the known one. Iterations are what RFC 9276
/// section 3.1 advises against: each hashes every name of a flood once more.
const ZONES: [(&str, &str, f64); 4] = [
    ("plain.example", "unsigned", LIMIT),
    ("nsec.example", "NSEC", 2.9),
    ("strict.example", "NSEC3, 0 iterations", 3.8),
    ("nsec3.example", "NSEC3, 5 iterations", 7.4),
];

/// Kind of name, a prefix and how often it stands before the zone's name, and the response code. The first is what the
/// others are compared with.
const NAMES: [(&str, &str, usize, u8); 6] = [
    ("known", "www.", 1, 0),
    ("wildcard", "q7x3kd.wild.", 1, 0),
    ("below the apex", "q7x3kd.", 1, 3),
    ("below an empty non-terminal", "q7x3kd.ent.", 1, 3),
    ("below a leaf", "q7x3kd.www.", 1, 3),
    ("of 115 labels", "q.", 113, 3),
];

/// One line of the table.
struct Case {
    zone: &'static str,
    kind: &'static str,
    limit: f64,
    signed: bool,
    name: &'static str,
    query: Vec<u8>,
    rcode: u8,
}

impl Case {
    /// Whether it is also asked of the relay: known names, where a zone has another answer for them.
    fn is_relayed(&self) -> bool {
        self.name == NAMES[0].0 && ZONES[..2].iter().any(|(zone, ..)| *zone == self.zone)
    }
}

fn main() -> ExitCode {
    let asked = |argument| env::args().any(|given| given == argument);
    if asked(MEASURE) {
        let cases = cases();
        // The first one twice: its first count is not of it alone.
        cases[..1].iter().chain(&cases).for_each(measure_all(&service()));
        let relay = relay(&service());
        let relayed: Vec<&Case> = cases.iter().filter(|case| case.is_relayed()).collect();
        relayed[..1].iter().chain(&relayed).copied().for_each(measure_all(&relay));
        return ExitCode::SUCCESS;
    }
    check(&service(), |_| true);
    check(&relay(&service()), Case::is_relayed);
    if !asked("--bench") {
        // `cargo test` builds without optimisation: only the table is checked.
        return ExitCode::SUCCESS;
    }
    match count() {
        Ok(counts) => report(&counts),
        Err(error) => {
            eprintln!("instructions cannot be counted: {error}; is valgrind installed?");
            ExitCode::FAILURE
        }
    }
}

fn service() -> Dns {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let files = ZONES.map(|(zone, ..)| fixtures.join(format!("{zone}.zone")).into());
    Dns::load(&files, &DnsOptions::default()).expect("the fixtures are zones")
}

/// A relay that has the answers to all [relayed cases](Case::is_relayed) in its cache; `zones` was its back end.
fn relay(zones: &Dns) -> DnsRelay {
    let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = upstream.local_addr().expect("its address");
    let options = DnsRelayOptions {
        upstreams: vec![DnsUpstream { address, weight: 1, payload: 4_096 }],
        timeout: Duration::from_mins(1),
        total_timeout: Duration::from_mins(1),
        in_flight: 64,
        cache: 1 << 20,
        retransmit_store: 1 << 20,
        client_subnet: ClientSubnet::PassThrough,
        proxy_protocol: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
    let forwarders = DnsForwarders::open(&options, 1, runtime.handle()).expect("sockets");
    let relay = DnsRelay::new(DnsOptions::default(), Arc::new(forwarders));
    let forwarder = relay.upstream().expect("it asks others");
    let (mut response, mut ready) = (Vec::new(), Vec::new());
    for case in cases().iter().filter(|case| case.is_relayed()) {
        let _ = relay.answer(&case.query, &context(), &mut response);
        forwarder.poll(0, context().now, &mut ready);
        let mut query = [0; 2 + 512];
        let (length, from) = upstream.recv_from(&mut query[2..]).expect("a query");
        query[1] = u8::try_from(length).expect("a short query");
        response.clear();
        let _ = zones.answer(&query[..2 + length], &context(), &mut response);
        upstream.send_to(&response[2..], from).expect("an answer to the query");
        ready.clear();
        while ready.is_empty() {
            forwarder.poll(0, context().now, &mut ready);
        }
    }
    // What was waited for is at hand until the next turn: then it is in the cache alone.
    forwarder.poll(0, context().now, &mut ready);
    relay
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (zone, kind, with_do) in ZONES {
        for signed in [false, true] {
            let limit = if signed { with_do } else { LIMIT };
            for (name, prefix, repeated, rcode) in NAMES {
                let query = query(&format!("{}{zone}", prefix.repeat(repeated)), signed);
                cases.push(Case { zone, kind, limit, signed, name, query, rcode });
            }
        }
    }
    cases
}

/// A question for A with its length before it, and an OPT with DO for `signed`.
fn query(name: &str, signed: bool) -> Vec<u8> {
    let mut query = vec![0, 0, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(signed)];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    if signed {
        query.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    }
    let length = u16::try_from(query.len() - 2).expect("a short query");
    query[..2].copy_from_slice(&length.to_be_bytes());
    query
}

/// A request whose answer goes out in one segment, on a connection that stays.
fn context() -> Context {
    Context { whole: 1_220, persistent: true, ..Context::default() }
}

/// Callgrind writes its count whenever this returns.
#[inline(never)]
fn measured(service: &dyn Service, query: &[u8], context: &Context, response: &mut Vec<u8>) {
    let mut context = *context;
    for _ in 0..REPEATS {
        response.clear();
        // Each from another request: none is a resend.
        context.origin.seq += 1;
        let _ = service.answer(query, &context, response);
    }
}

fn measure_all(service: &dyn Service) -> impl FnMut(&Case) {
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    let mut context = context();
    move |case| {
        measured(service, &case.query, &context, &mut response);
        context.origin.seq += REPEATS;
    }
}

/// The questions are answered as the table's names say.
fn check(service: &dyn Service, which: impl Fn(&Case) -> bool) {
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    for case in cases().into_iter().filter(which) {
        response.clear();
        let _ = service.answer(&case.query, &context(), &mut response);
        assert_eq!(response[5] & 0xf, case.rcode, "{} {}", case.zone, case.name);
    }
}

/// Instructions of each case, each of [`REPEATS`] questions.
fn count() -> io::Result<Vec<u64>> {
    let directory = env::temp_dir().join(format!("dns-instructions-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let counts = count_in(&directory);
    fs::remove_dir_all(&directory)?;
    counts
}

fn count_in(directory: &Path) -> io::Result<Vec<u64>> {
    let output = directory.join("counts");
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--dump-after=*measured*"])
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(env::current_exe()?)
        .arg(MEASURE)
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("valgrind: {status}")));
    }
    let relayed = cases().iter().filter(|case| case.is_relayed()).count();
    // Each dump holds what went on since the one before, the first of each service also all that precedes it.
    let zones = 2..2 + cases().len();
    let relays = zones.end + 1..zones.end + 1 + relayed;
    zones.chain(relays).map(|number| total(&output.with_extension(number.to_string()))).collect()
}

fn total(file: &PathBuf) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
    total
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("no total in {}", file.display())))
}

fn report(counts: &[u64]) -> ExitCode {
    let mut beyond = 0;
    let mut known = 0;
    let cases = cases();
    for (case, total) in cases.iter().zip(counts) {
        let each = total / u64::from(REPEATS);
        if case.name == NAMES[0].0 {
            println!("\n{}{}", case.kind, if case.signed { ", DO" } else { "" });
            known = each;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand instructions")]
        let ratio = each as f64 / known as f64;
        let exceeds = ratio > case.limit;
        beyond += u32::from(exceeds);
        println!("  {:<30}{each:>8}{ratio:>8.2}{}", case.name, if exceeds { "  too much" } else { "" });
    }
    println!("\nfrom the zone, and from the relay's cache");
    let relayed = cases.iter().zip(counts).filter(|(case, _)| case.is_relayed());
    for ((case, zone), relay) in relayed.zip(&counts[cases.len()..]) {
        let [zone, relay] = [zone, relay].map(|total| total / u64::from(REPEATS));
        let name = format!("{}{}", case.kind, if case.signed { ", DO" } else { "" });
        #[expect(clippy::cast_precision_loss, reason = "a few thousand instructions")]
        let ratio = relay as f64 / zone as f64;
        println!("  {name:<30}{zone:>8}{relay:>8}{ratio:>8.2}");
    }
    if beyond > 0 {
        eprintln!("\n{beyond} kinds of name cost more than they may");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
