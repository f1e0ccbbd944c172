//! Who is denied or limited is dropped where it arrives, and nobody else is the worse for it.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::{
    client::{port, query},
    packet::{MSS_1460, Packet, flags},
    raw::Port,
    responder::Responder,
    seed::size,
    taker::Taker,
    topology::{INTERFACE, SERVER_V4, SERVERS, Topology},
};

const A: u16 = 1;
/// Networks that attack, each with 256 addresses of which one speaks.
const NETWORKS: u32 = 100_000;
/// The first of them.
const FIRST: u32 = 0x1000_0000;
/// Frames that are sent at once: the link, which holds 256, has room for a client's beside them.
const BURST: usize = 64;
/// Between two of these: at most 320,000 frames a second.
const PAUSE: Duration = Duration::from_micros(200);
/// How long a client waits for one answer, its own timers included.
const PATIENCE: Duration = Duration::from_secs(10);

fn syn(client: IpAddr, source_port: u16, server: IpAddr) -> Vec<u8> {
    let packet = Packet::new(client, source_port, server, 53);
    Packet { flags: flags::SYN, options: MSS_1460.to_vec(), ..packet }.octets()
}

fn request(client: IpAddr, source_port: u16, server: IpAddr) -> Vec<u8> {
    let packet = Packet::new(client, source_port, server, 53);
    Packet { flags: flags::PSH | flags::ACK, payload: query(1, "example.com", A), ..packet }.octets()
}

/// SYNs and requests have buckets of their own; what has neither SYN nor payload takes nothing; who is allowed is not
/// limited. One token a second: what comes at once is over before many more come.
#[rstest]
#[case::ring("ring")]
#[case::driver("driver")]
fn each_kind_is_limited_by_network(#[case] handshake: &str) {
    const EACH: u16 = 100;
    let topology = Topology::new(1);
    let _taker = (handshake == "driver" && topology.taker.is_none())
        .then(|| Taker::attach(&topology.client, INTERFACE));
    let arguments = ["--rate-limit", "1", "--rate-prefix-ipv4", "30", "--rate-prefix-ipv6", "126"];
    let allowed = ["--allow", "192.0.2.98", "--allow", "2001:db8::98", "--handshake", handshake];
    let responder = Responder::start(&topology, &[&arguments[..], &allowed[..]].concat());
    let port = port(&topology);
    for (server, [limited, allowed]) in
        [(SERVERS[0], ["192.0.2.97", "192.0.2.98"]), (SERVERS[1], ["2001:db8::99", "2001:db8::98"])]
    {
        for client in [limited, allowed].map(|text| text.parse().expect("an address")) {
            for number in 0..EACH {
                port.send(&syn(client, 1_000 + number, server));
                port.send(&request(client, 2_000 + number, server));
                let ack = Packet { flags: flags::ACK, ..Packet::new(client, 3_000 + number, server, 53) };
                port.send(&ack.octets());
            }
        }
    }
    let answer = topology.client.run(&format!("dig +tcp +short @{SERVER_V4} example.com A"));
    assert_eq!(answer, "192.0.2.1\n", "another network");
    let counters = responder.stop();
    let (each, count) = (u64::from(EACH), |name| counters.get(name));
    // Of both families: those of the allowed, and of the limited one and what came of it each second; dig's.
    assert!((2 * each + 2..2 * each + 40).contains(&count("syn_ack")), "{counters:?}");
    // One forgery in 130 looks as if of content that is gone.
    let requests = count("bad_cookie") + count("generation_gone");
    assert!((2 * each + 2..2 * each + 40).contains(&requests), "{counters:?}");
    assert!(count("bare_ack") >= 4 * each, "{counters:?}");
    let limited = 2 * (2 * each + 2 * each) - (count("syn_ack") - 1) - requests;
    assert_eq!(count("xdp_limited"), limited, "{counters:?}");
}

/// A reload says anew who is denied, and how much the others get.
#[test]
fn a_reload_changes_who_is_denied() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("configuration");
    let write = |text: &str| fs::write(&file, text).expect("write");
    write("deny = [\"192.0.2.0/24\"]\n");
    let name = file.to_str().expect("a name");
    let responder = Responder::start(&topology, &["--test-keep-seconds", "0", "--config", name]);
    let dig = format!("dig +tcp +short +tries=1 +time=1 @{SERVER_V4} example.com A");
    let texts = [
        ("deny = [\"192.0.2.0/24\"]\nallow = [\"192.0.2.2\"]\n", true),
        ("deny = [\"192.0.2.2\"]\nallow = [\"192.0.2.0/24\"]\n", false),
        ("", true),
    ];
    for (before, (text, served)) in texts.into_iter().enumerate() {
        write(text);
        responder.signal(Signal::SIGHUP);
        let reloaded = |lines: &[String]| lines.iter().filter(|line| line.contains("reloaded")).count();
        responder.log_until(|lines| reloaded(lines) > before);
        assert_eq!(topology.client.attempt(&dig).status.success(), served, "{text}");
    }
    assert!(responder.stop().get("xdp_denied") > 0);
}

/// As many packets as the link does not lose by itself, of 100,000 networks that are denied, or that are limited: allowed clients get their
/// answers.
#[rstest]
#[case::denied(true)]
#[case::limited(false)]
fn allowed_clients_are_served_during_an_attack(#[case] denied: bool) {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("configuration");
    let mut text = "allow = [\"192.0.2.0/24\"]\nrate-limit = 1\ndeny = [".to_owned();
    for number in (0..NETWORKS).filter(|_| denied) {
        write!(text, "\"{}/24\",", Ipv4Addr::from(FIRST + (number << 8))).expect("into a string");
    }
    fs::write(&file, text + "]\n").expect("write the configuration");
    let responder = Responder::start(&topology, &["--config", file.to_str().expect("a name")]);
    let frames: Vec<Vec<u8>> = (0..NETWORKS)
        .map(|number| {
            let client = Ipv4Addr::from(FIRST + (number << 8) + 7).into();
            let build = if number % 2 == 0 { syn } else { request };
            build(client, 40_000, SERVERS[0])
        })
        .collect();
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let port = Port::open(&topology.client, INTERFACE);
    let asked = size(200, 20_000);
    let begin = Instant::now();
    let answered = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                for burst in frames.chunks(BURST) {
                    for frame in burst {
                        port.send(frame);
                    }
                    sent.fetch_add(burst.len() as u64, Relaxed);
                    thread::sleep(PAUSE);
                }
            }
        });
        let answered = topology.client.enter(|| (0..asked).filter(|_| ask().is_ok()).count());
        // Each network has had its say more than once.
        while sent.load(Relaxed) < 4 * u64::from(NETWORKS) {
            thread::yield_now();
        }
        over.store(true, Relaxed);
        answered
    });
    let (took, sent) = (begin.elapsed(), sent.into_inner());
    println!(
        "{answered} of {asked} answered; {} packets a second",
        u128::from(sent) * 1_000 / took.as_millis()
    );
    assert!(1_000 * answered >= 999 * asked, "{answered} of {asked}");
    let counters = responder.stop();
    let dropped = counters.get(if denied { "xdp_denied" } else { "xdp_limited" });
    assert!(dropped > 0 && counters.get("answered") >= answered as u64, "{counters:?}");
    if denied {
        assert_eq!(counters.get("bad_cookie"), 0, "{counters:?}");
    }
}

/// One question on a connection of its own.
fn ask() -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(SERVERS[0], 53), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&query(1, "example.com", A))?;
    stream.read_exact(&mut [0; 14])
}
