//! The cases. Each takes the machine's two cards, one as the server's, one as the client's.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Expected;
use super::expect::kernel_version;
use crate::client::{Client, port};
use crate::handbook::text::is_as_shown;
use crate::handbook::{self, OPERATIONS, Runner};
use crate::netns::{Netns, execute, text};
use crate::responder::Responder;
use crate::topology::{INTERFACE, SERVERS, Topology};
use crate::verifier::assert_within_budget;

/// By name, in the order in which they run.
pub(super) const CASES: [(&str, fn()); 10] = [
    ("verifier", programs_are_within_the_verifier_budget),
    ("doctor", doctor_tells_what_happens),
    ("native-copied", native_copied),
    ("native-zero-copy", native_zero_copy),
    ("generic", generic),
    ("handshake-driver", handshake_in_the_driver),
    ("queues", every_queue_answers),
    ("stop", ports_are_given_back_at_the_end),
    ("crash", ports_are_given_back_after_a_crash),
    ("handbook", the_handbook_sizes_a_card),
];

/// Connections that are opened to hit every queue, by chance of their ports' hash.
const CONNECTIONS: u16 = 64;
/// Time limit for the kernel to release a process's resources.
const PATIENCE: Duration = Duration::from_mins(1);

/// Linux 6.1 refuses the programs of the fast path.
fn programs_are_within_the_verifier_budget() {
    assert_within_budget(kernel_version() >= (6, 12));
}

/// What `doctor` says, what a start without options does, and what the table has, are the same.
fn doctor_tells_what_happens() {
    let (topology, expected) = stage();
    let doctor = text(&topology.server.attempt("/bin/stateless-tcp doctor -i eth0").stdout);
    println!("{doctor}");
    // A verdict of six columns, what it is on, what was found.
    let says = |name: &str, words: &str| {
        let mut lines = doctor.lines().filter_map(|line| line.get(6..)?.strip_prefix(name));
        let found = lines.next().unwrap_or_else(|| panic!("nothing on {name}"));
        found.trim_start().starts_with(words)
    };
    let responder = Responder::start(&topology, &[]);
    println!("{}\n{}", responder.log(), responder.ready());
    let found = |words| responder.ready().contains(words);
    let native = [says("native XDP", "supported"), found("native mode"), expected.native];
    let zero_copy = [says("zero-copy", "supported"), found("zero-copy"), expected.zero_copy];
    let driver = [
        says("handshake", "answered in the driver"),
        found("handshake in the driver"),
        expected.auto_is_driver(),
    ];
    let queues = [
        says("queues", &format!("{} to receive", expected.queues)),
        found(&format!("{} queue(s)", expected.queues)),
    ];
    let all = [("native", &native[..]), ("zero-copy", &zero_copy), ("in the driver", &driver)];
    for (name, [doctor, found, expected]) in
        all.map(|(name, all)| (name, <[bool; 3]>::try_from(all).expect("three")))
    {
        assert!(
            doctor == found && found == expected,
            "{name}: doctor {doctor}, found {found}, expected {expected}"
        );
    }
    assert_eq!(queues, [true; 2], "queues");
    ask(&topology.client);
    responder.stop();
}

fn native_copied() {
    let (topology, expected) = stage();
    let options = ["--xdp-mode", "native", "--zero-copy", "never"];
    if expected.native {
        serve(&topology, &options, "native mode, copy mode");
    } else {
        refuse(&topology, &options, "the driver has no XDP of this mode: try --xdp-mode generic");
    }
}

fn native_zero_copy() {
    let (topology, expected) = stage();
    let options = ["--xdp-mode", "native", "--zero-copy", "always"];
    if expected.zero_copy {
        serve(&topology, &options, "native mode, zero-copy");
    } else {
        refuse(
            &topology,
            &options,
            "the driver has no zero-copy in this mode: use --zero-copy auto or never",
        );
    }
}

fn generic() {
    let (topology, _) = stage();
    serve(&topology, &["--xdp-mode", "generic"], "generic mode, copy mode");
}

/// Only questions get as far as the workers, whatever else there is of a connection.
fn handshake_in_the_driver() {
    let (topology, expected) = stage();
    let options = ["--handshake", "driver"];
    if !expected.driver_answers {
        return refuse(&topology, &options, "--handshake driver is not possible here");
    }
    let responder = Responder::start(&topology, &options);
    ask(&topology.client);
    let counters = responder.stop();
    let decided: u64 = counters.by_driver.values().sum();
    assert_eq!(counters.get("received") - decided, counters.get("answered"), "{counters:?}");
    assert!(counters.by_driver.contains_key("driver_answered"), "{counters:?}");
}

/// Whatever queue a connection's frames arrive on, it is answered, and every queue has had some.
fn every_queue_answers() {
    let (topology, expected) = stage();
    let responder = Responder::start(&topology, &["-vv", "--xdp-log", "trace"]);
    // The link may have gone down when the program was attached: a scripted client does not try again.
    ask(&topology.client);
    let before = responder.counters().get("syn_ack");
    let port = port(&topology);
    for server in SERVERS {
        for source in 0..CONNECTIONS {
            Client::new(&port, 20_000 + source, server, 53, u32::from(source) << 16).open();
        }
    }
    let queue = |line: &String| -> Option<usize> {
        let (queue, became) = line.split_once("queue ")?.1.split_once(": ")?;
        ["to the socket", "answered"].contains(&became).then(|| queue.parse().ok())?
    };
    let hit = |lines: &[String]| lines.iter().filter_map(queue).collect::<BTreeSet<_>>();
    let all: BTreeSet<usize> = (0..expected.queues).collect();
    assert_eq!(hit(&responder.log_until(|lines| hit(lines).is_superset(&all))), all);
    let counters = responder.stop();
    assert_eq!(counters.get("syn_ack") - before, 2 * u64::from(CONNECTIONS), "{counters:?}");
}

fn ports_are_given_back_at_the_end() {
    let (topology, _) = stage();
    let responder = Responder::start(&topology, &[]);
    ask(&topology.client);
    responder.stop();
    assert_given_back(&topology);
    serve(&topology, &[], "");
}

fn ports_are_given_back_after_a_crash() {
    let (topology, _) = stage();
    let mut responder = Responder::start(&topology, &[]);
    ask(&topology.client);
    responder.signal(Signal::SIGKILL);
    responder.wait();
    assert_given_back(&topology);
    serve(&topology, &[], "");
}

/// What docs/operations.md has to be typed for a card can be typed, does what it says, and leaves a card that serves. A card
/// of one queue has no others.
fn the_handbook_sizes_a_card() {
    let (topology, expected) = stage();
    if expected.queues == 1 {
        let refused = topology.server.attempt("ethtool -L eth0 combined 2");
        assert!(!refused.status.success(), "it has more queues than is known");
        return;
    }
    let plan = handbook::plan("docs/operations.md", OPERATIONS);
    let blocks: Vec<_> = plan.into_iter().filter(|(_, runner)| *runner == Runner::Card).collect();
    assert!(!blocks.is_empty(), "there is nothing for cards");
    for (block, _) in blocks {
        let mut bash = topology.server.command("bash");
        let output = text(&execute(bash.args(["-euo", "pipefail", "-c", &block.commands])).stdout);
        println!("{}\n{output}", block.commands);
        let shown = block.shown.is_none_or(|shown| is_as_shown(&output, &shown));
        assert!(shown, "docs/operations.md:{}: this is not what is shown there:\n{output}", block.line);
    }
    serve(&topology, &[], "");
}

/// The two cards, each in a namespace, and what is expected of them.
fn stage() -> (Topology, Expected) {
    let mut topology = Topology::of_cards();
    let expected = Expected::of(&topology.server);
    topology.queues = expected.queues;
    (topology, expected)
}

/// Starts with `options`, which must give `mode`, is asked, and stops.
fn serve(topology: &Topology, options: &[&str], mode: &str) {
    let responder = Responder::start(topology, options);
    println!("{}", responder.ready());
    assert!(responder.ready().contains(mode), "not {mode}: {}", responder.ready());
    let program = topology.server.run("ip -details link show eth0");
    let generic = responder.ready().contains("generic mode");
    assert!(program.contains("prog/xdp") && program.contains("xdpgeneric") == generic, "{program}");
    ask(&topology.client);
    let counters = responder.stop();
    assert_eq!(counters.get("xdp_no_socket"), 0, "{counters:?}");
}

/// `options` are refused, with `words` that say what to do.
fn refuse(topology: &Topology, options: &[&str], words: &str) {
    let arguments = [&["run", "-i", INTERFACE], options].concat();
    let ended = Responder::try_start(&topology.server, topology.queues, &arguments).expect_err("it answers");
    println!("{}", ended.log);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains(words), "{words:?} is not in: {}", ended.log);
}

/// Small answers and large ones, over both families; and what is not served is the kernel's.
fn ask(client: &Netns) {
    for server in SERVERS {
        let dig = format!("dig @{server} +tcp +norecurse +tries=1 +time=60 +short");
        assert_eq!(client.run(&format!("{dig} example.com A")), "192.0.2.1\n", "{server}");
        let large = client.run(&format!("{dig} large.example.com TXT"));
        assert!(large.len() > 4_000, "{} octets from {server}:\n{large}", large.len());
        let host = if server.is_ipv6() { format!("[{server}]") } else { server.to_string() };
        let curl = "curl --silent --show-error --max-time 60 --noproxy * --globoff";
        assert_eq!(client.run(&format!("{curl} http://{host}/20k.html")).len(), 20_000, "{server}");
        client.run(&format!("ping -c 1 -W 20 {server}"));
    }
}

/// The program is gone and the kernel resets what comes for the ports.
fn assert_given_back(topology: &Topology) {
    let end = Instant::now() + PATIENCE;
    while topology.server.run("ip -details link show eth0").contains("prog/xdp") {
        assert!(Instant::now() < end, "the program is still attached");
        thread::sleep(Duration::from_millis(50));
    }
    for server in SERVERS {
        let refusal = topology.client.enter(|| connect(server)).expect_err("nobody listens");
        assert_eq!(refusal.kind(), std::io::ErrorKind::ConnectionRefused, "{server}: {refusal}");
    }
}

fn connect(server: IpAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((server, 53)), PATIENCE)
}
