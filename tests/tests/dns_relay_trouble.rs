//! The relay's behaviour with upstreams that die, are slow, or lie; and of a network that loses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rstest::rstest;
use stateless_tcp_tests::client::query;
use stateless_tcp_tests::load;
use stateless_tcp_tests::lossy_network::{LossyNetwork, SERVER, Trouble};
use stateless_tcp_tests::nameserver::{Knot, Nsd, ask, zones};
use stateless_tcp_tests::netns::Netns;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{INTERFACE, SERVER_V4, Topology};
use stateless_tcp_tests::upstream::{DnsUpstream, address_in, answer};

const A: u16 = 1;
const TXT: u16 = 16;
const SERVFAIL: u8 = 2;
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(SERVER_V4), 53);
/// Time limit of any answer: far longer than the relay's own 4 seconds.
const PATIENCE: Duration = Duration::from_mins(1);
/// At most so often one that does not answer is probed.
const TRIED_EVERY: Duration = Duration::from_millis(500);
/// Clients at a time.
const AT_ONCE: usize = 16;

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Asks `count` questions, [`AT_ONCE`] at a time, each by `each`, which gets its number.
fn many<T: Send>(client: &Netns, count: usize, at_once: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    client.enter(|| {
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        let result = each(number);
                        results.lock().expect("no thread panicked").push(result);
                    }
                });
            }
        });
    });
    results.into_inner().expect("no thread panicked")
}

/// A query as [`ask`] takes it.
fn plain(id: u16, name: &str) -> Vec<u8> {
    query(id, name, A).split_off(2)
}

/// A query's ID that stands for a number.
fn id(number: usize) -> u16 {
    u16::try_from(number).expect("no more than there are IDs")
}

/// An address that stands for a number.
fn number_as_address(number: usize) -> [u8; 4] {
    let [high, low] = id(number).to_be_bytes();
    [10, 0, high, low]
}

/// The number in the first label of a query's name, as in `n17.example`; 0 for the root's.
fn number_in(query: &[u8]) -> usize {
    // The relay's own probes ask for the root.
    if query[12] == 0 {
        return 0;
    }
    let label = &query[14..13 + usize::from(query[12])];
    std::str::from_utf8(label).ok().and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
}

#[test]
fn a_back_end_that_is_killed_is_not_missed() {
    const QUERIES: usize = 5_000;
    let topology = Topology::new(1);
    let namespace = Some(topology.server.name());
    let nsd = Mutex::new(Some(Nsd::start(&zones(), local(5301), namespace).expect("start NSD")));
    let _knot = Knot::start(&zones(), local(5302), namespace).expect("start Knot");
    let (one, other) = (local(5301).to_string(), local(5302).to_string());
    let responder =
        Responder::start(&topology, &["--dns-relay", &one, "--dns-relay", &other, "--dns-cache", "0"]);
    let outcomes = many(&topology.client, QUERIES, AT_ONCE, |number| {
        if number == QUERIES / 2 {
            drop(nsd.lock().expect("no thread panicked").take());
        }
        // No two alike: each has to be asked.
        let name = format!("n{number}.wild.plain.example");
        let reply = ask(DNS, &plain(id(number), &name)).map_err(|error| format!("{error:#}"))?;
        let rcode = reply[3] & 0xf;
        let right = rcode == 0 && reply[7] == 1 && reply.windows(4).any(|four| four == [192, 0, 2, 99]);
        if right { Ok(()) } else { Err(format!("{reply:x?}")) }
    });
    let wrong: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    let counters = responder.stop();
    println!("{counters:?}");
    assert!(wrong.is_empty(), "{} of {QUERIES}: {:?}\n{counters:?}", wrong.len(), wrong[0]);
    assert!(counters.get("dns_relay_unreachable") + counters.get("dns_relay_timed_out") > 0, "{counters:?}");
}

/// A resolver that answers at once, but for the names of one domain whose servers are gone. Clients who ask for those do others no
/// harm: their answers are refreshed when their time is over, and nobody is called dead.
#[test]
fn a_domain_that_is_gone_is_no_upstream_that_is() {
    const NAMES: usize = 16;
    const TTL: u32 = 1;
    let topology = Topology::new(1);
    let upstream = local(5301);
    let resolver = DnsUpstream::start(&topology.server, upstream, |socket, query, from| {
        if !query.windows(5).any(|label| label == b"\x04gone") {
            let _ = socket.send_to(&answer(query, 0, TTL, number_as_address(number_in(query))), from);
        }
    });
    let responder = Responder::start(&topology, &["--dns-relay", &upstream.to_string()]);
    let others =
        || many(&topology.client, NAMES, 4, |number| ask_patiently(&plain(1, &format!("n{number}.example"))));
    assert_eq!(others(), [Some(0); NAMES]);
    std::thread::scope(|scope| {
        let gone = scope.spawn(|| {
            many(&topology.client, 24, 12, |number| ask_patiently(&plain(1, &format!("n{number}.gone"))))
        });
        while !gone.is_finished() {
            sleep(Duration::from_secs(u64::from(TTL)) + Duration::from_millis(100));
            assert_eq!(others(), [Some(0); NAMES]);
        }
        assert_eq!(gone.join().expect("no thread panicked"), [Some(SERVFAIL); 24]);
    });
    assert!(!responder.log().contains("does not answer"), "{}", responder.log());
    let asked = resolver.asked();
    let counters = responder.stop();
    assert_eq!(counters.get("dns_cache_stale"), 0, "{counters:?}");
    println!("{asked} queries, {counters:?}");
}

/// Silent ones, to whom packets go and from whom none comes; and ones that their host says nothing listens at.
#[rstest]
#[case::silent(true)]
#[case::refused(false)]
fn all_dead_is_servfail_and_back_again_is_service(#[case] silent: bool) {
    let topology = Topology::new(1);
    let addresses = [local(5301), local(5302)];
    let arguments = addresses.map(|address| address.to_string());
    let responder = Responder::start(
        &topology,
        &["--dns-relay", &arguments[0], "--dns-relay", &arguments[1], "--dns-cache", "0"],
    );
    let [dead, mute] =
        addresses.map(|address| silent.then(|| DnsUpstream::start(&topology.server, address, |_, _, _| {})));
    let codes =
        many(&topology.client, 200, 50, |number| ask_patiently(&plain(1, &format!("n{number}.example"))));
    assert!(codes.iter().all(|code| *code == Some(SERVFAIL)), "{codes:?}");
    drop(mute);
    let _alive = DnsUpstream::start(&topology.server, addresses[1], |socket, query, from| {
        let _ = socket.send_to(&answer(query, 0, 60, number_as_address(number_in(query))), from);
    });
    // By the questions of clients alone, the first of which may still be put to the dead one.
    let began = Instant::now();
    let mut served = 0;
    for number in 0.. {
        served += usize::from(
            topology.client.enter(|| ask_patiently(&plain(1, &format!("n{number}.example")))) == Some(0),
        );
        if served >= 20 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{served} of {number} were served");
    }
    let (began, before) = (Instant::now(), dead.as_ref().map(DnsUpstream::asked));
    topology.client.enter(|| {
        (0..20)
            .for_each(|number| assert_eq!(ask_patiently(&plain(1, &format!("n{number}.example"))), Some(0)));
    });
    if let (Some(dead), Some(before)) = (&dead, before) {
        // Were it still asked by turns, ten questions would go there besides, each of which takes a second.
        let asked = dead.asked() - before;
        let tried = began.elapsed().as_millis() / TRIED_EVERY.as_millis();
        assert!(asked as u128 <= 2 + tried, "20 questions, and the dead one is asked {asked}");
    }
    let log = responder.log();
    assert!(
        log.contains("127.0.0.1:5302 does not answer") && log.contains("127.0.0.1:5302 answers again"),
        "{log}"
    );
    responder.stop();
}

/// The response code, over a connection of its own, by a client that waits longer than the relay.
fn ask_patiently(query: &[u8]) -> Option<u8> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(DNS).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(&[&u16::try_from(query.len()).ok()?.to_be_bytes(), query].concat()).ok()?;
    let mut head = [0; 6];
    stream.read_exact(&mut head).ok()?;
    (head[2..4] == query[..2]).then_some(head[5] & 0xf)
}

/// It forges, babbles and repeats itself, and among all that answers.
#[test]
fn no_lie_reaches_a_client() {
    const QUERIES: usize = 400;
    const LIE: [u8; 4] = [6, 6, 6, 6];
    /// Bytes of an OPT record without options, which ends the query.
    const OPT: usize = 11;
    let topology = Topology::new(1);
    let mut turn = 0_u8;
    let stranger = topology.server.enter(|| std::net::UdpSocket::bind("127.0.0.1:0")).expect("a port");
    let _evil = DnsUpstream::start(&topology.server, local(5301), move |socket, query, from| {
        let lie = answer(query, 0, 3_600, LIE);
        let say = |bytes: &[u8]| drop(socket.send_to(bytes, from));
        // Of another address or port.
        drop(stranger.send_to(&lie, from));
        for id in 0..8_u8 {
            let mut other = lie.clone();
            other[0] ^= id & 3;
            other[1] ^= 1 + id;
            say(&other);
        }
        // Another name, another case, another type, no question, two, a query, an opcode, cut off, garbage.
        let change = |at: usize, xor: u8| {
            let mut other = lie.clone();
            other[at] ^= xor;
            say(&other);
        };
        change(14, 1);
        change(13, 0x20);
        change(query.len() - OPT - 3, 0x10);
        change(5, 1);
        change(5, 3);
        change(2, 0x80);
        change(2, 0x20);
        (0..lie.len()).for_each(|end| say(&lie[..end]));
        say(&[&query[..2], &[turn; 300]].concat());
        turn = turn.wrapping_add(1);
        let truth = answer(query, 0, 3_600, number_as_address(number_in(query)));
        (0..2).for_each(|_| say(&truth));
        say(&lie);
    });
    let responder =
        Responder::start(&topology, &["--dns-relay", &local(5301).to_string(), "--dns-cache", "1"]);
    for round in 0..2 {
        let outcomes = many(&topology.client, QUERIES, AT_ONCE, |number| {
            let query = plain(id(number), &format!("n{number}.example"));
            (number, query.clone(), ask(DNS, &query))
        });
        for (number, query, outcome) in outcomes {
            let reply = outcome.unwrap_or_else(|error| panic!("{number}, round {round}: {error:#}"));
            assert_eq!(reply[..2], query[..2], "{number}");
            assert_eq!(reply[12..query.len()], query[12..], "{number}");
            assert_eq!(address_in(&reply), Some(number_as_address(number)), "{number}: {reply:x?}");
        }
    }
    let counters = responder.stop();
    println!("{counters:?}");
    for counter in ["late", "forged", "malformed"] {
        assert!(counters.get(&format!("dns_relay_{counter}")) > 0, "{counter}: {counters:?}");
    }
}

#[rstest]
#[case::with_a_cache("1")]
#[case::without_a_cache("0")]
fn what_the_network_loses_is_asked_again(#[case] cache: &str) {
    const QUERIES: usize = 500;
    const LARGEST: usize = 5;
    let directory = tempfile::tempdir().expect("a directory");
    let zone = directory.path().join("load.example.zone");
    std::fs::write(&zone, load::zone(LARGEST)).expect("write the zone");
    let mut path = LossyNetwork::new(1);
    let _nsd = Nsd::start(&[zone], local(5301), Some(path.servers[0].name())).expect("start NSD");
    let back_end = local(5301).to_string();
    let run = ["run", "-i", INTERFACE, "--dns-relay", &back_end, "--dns-cache", cache];
    let responder = Responder::try_start(&path.servers[0], 1, &run).expect("it starts");
    let server = SocketAddr::new(SERVER, 53);
    // Some that are in the cache, and some that are asked for.
    let question = |number: usize| {
        let name = if number.is_multiple_of(2) { "S" } else { "s" };
        query(id(number), &format!("{name}{}.load.example", 1 + number % LARGEST), TXT).split_off(2)
    };
    let right: Vec<_> = (0..LARGEST)
        .map(|number| {
            path.client.enter(|| ask(server, &question(number))).expect("an answer over a good path")
        })
        .collect();
    assert!(right[LARGEST - 1].len() > (LARGEST - 1) * load::SEGMENT, "{}", right[LARGEST - 1].len());
    path.disturb(Trouble { lost: 10, ..Trouble::default() });
    let outcomes = many(&path.client, QUERIES, 125, |number| (number, ask_long(server, &question(number))));
    for (number, outcome) in outcomes {
        let reply = outcome.unwrap_or_else(|error| panic!("{number}: {error:#}"));
        assert_eq!(reply[..2], id(number).to_be_bytes(), "{number}");
        assert_eq!(reply[12..14], question(number)[12..14], "{number}");
        // All but the TTLs, which count down; nothing else could stand in their place in these texts.
        let texts = |bytes: &[u8]| -> Vec<u8> {
            bytes[14..].iter().copied().filter(u8::is_ascii_lowercase).collect()
        };
        assert_eq!(texts(&reply), texts(&right[number % LARGEST]), "{number}");
    }
    assert!(path.counted("lost") > QUERIES as u64 / 2, "{} were lost", path.counted("lost"));
    let counters = responder.stop();
    println!("{counters:?}");
    assert!(counters.get("resumed") > 0, "{counters:?}");
}

/// As [`ask`], with the patience that a lossy path takes.
fn ask_long(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.write_all(&[&id(query.len()).to_be_bytes(), query].concat())?;
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

#[test]
fn beyond_the_table_is_servfail_and_memory_stays() {
    const TABLE: usize = 40;
    const OFFERED: usize = 10 * TABLE;
    let topology = Topology::new(1);
    // Those beyond the table are refused while it is full: only then are the others answered.
    let refused = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&refused);
    let _slow = DnsUpstream::start(&topology.server, local(5301), move |socket, query, from| {
        let (socket, seen) = (socket.try_clone().expect("another handle"), Arc::clone(&seen));
        let reply = answer(query, 0, 0, number_as_address(number_in(query)));
        std::thread::spawn(move || {
            while seen.load(Ordering::Relaxed) < OFFERED - TABLE {
                sleep(Duration::from_millis(5));
            }
            let _ = socket.send_to(&reply, from);
        });
    });
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!(
        "dns-cache = 0\n[dns]\nin-flight = {TABLE}\ntimeout-ms = 60000\ntotal-timeout-ms = 60000\n[[dns.relay]]\naddress = \"127.0.0.1:5301\"\n"
    );
    std::fs::write(file.path(), text).expect("write the configuration");
    let responder =
        Responder::start(&topology, &["--config", file.path().to_str().expect("a path in UTF-8")]);
    let memory = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", responder.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory").trim();
        line.split(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    let round = |from: usize| {
        refused.store(0, Ordering::Relaxed);
        let outcomes = many(&topology.client, OFFERED, OFFERED, |number| {
            let number = from + number;
            let reply = ask_long(DNS, &plain(1, &format!("n{number}.example"))).expect("some answer");
            match reply[3] & 0xf {
                0 => {
                    assert_eq!(address_in(&reply), Some(number_as_address(number)));
                    true
                }
                code => {
                    assert_eq!(code, SERVFAIL);
                    refused.fetch_add(1, Ordering::Relaxed);
                    false
                }
            }
        });
        outcomes.into_iter().filter(|&served| served).count()
    };
    let rounds = |numbers: std::ops::Range<usize>| {
        numbers.for_each(|number| assert_eq!(round(number * 1_000), TABLE, "as many as there is room for"));
    };
    // As many packets as there are frames: all pages are touched then.
    rounds(0..3);
    let before = memory();
    rounds(3..7);
    let after = memory();
    assert!(after < before + 2_048, "{before} kB, then {after} kB");
    let counters = responder.stop();
    println!("{counters:?}, {before} kB, {after} kB");
    assert!(counters.get("dns_relay_table_full") > 0, "{counters:?}");
}
