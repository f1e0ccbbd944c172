//! The content is replaced while it is served: nobody is disturbed, and no answer is put together from two.

mod files;
mod generations;
mod services;

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::sleep,
    time::Duration,
};

use nix::sys::signal::Signal;
use stateless_tcp_tests::{
    client::{Barrier, Client, port, query},
    lossy_network::{LossyNetwork, SERVER, Trouble},
    netns::text,
    packet::flags,
    responder::Responder,
    topology::{INTERFACE, SERVERS, Topology},
};

use files::{Files, letter, stateless_tcp};

const A: u16 = 1;
const TXT: u16 = 16;

/// Asks for a reload and waits for its outcome.
fn reload(responder: &Responder) -> Result<String, String> {
    let output = stateless_tcp(&["reload", "--pid", &responder.pid().to_string()]);
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        Some(1) => Err(text(&output.stderr)),
        other => panic!("exit status {other:?}: {}", text(&output.stderr)),
    }
}

/// The address of `small.example.org` as dig hears it at `port` of the server.
fn small(topology: &Topology, port: u16) -> String {
    let [server, _] = SERVERS;
    topology.client.run(&format!("dig @{server} -p {port} +tcp +short +tries=1 +time=60 small.example.org A"))
}

#[test]
fn a_reload_changes_what_is_served() {
    let topology = Topology::new(1);
    let files = Files::new();
    fs::create_dir(files.path("www")).expect("a directory");
    files.write("www/page", "one\n");
    let configuration = |more: &str| {
        let (zone, www, key) = (files.path("zone"), files.path("www"), files.path("key"));
        format!("zone = [{zone:?}]\nhttp-root = {www:?}\nkey-file = {key:?}\n{more}")
    };
    files.write("s.toml", &configuration(""));
    let arguments = ["--config", &files.path("s.toml"), "--test-keep-seconds", "0"];
    let responder = Responder::start(&topology, &arguments);
    let mode = fs::metadata(files.path("key")).expect("the key file is made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(responder.log().contains("made the key file"), "{}", responder.log());
    assert_eq!(small(&topology, 53), "192.0.2.100\n");

    files.write_zone(1);
    files.write("www/page", "two\n");
    files.rotate();
    assert_eq!(small(&topology, 53), "192.0.2.100\n", "not before it is asked to");
    let said = reload(&responder).expect("nothing is wrong");
    assert!(said.starts_with("reloaded: 1 zone at port 53"), "{said}");
    assert!(!said.contains("lost"), "{said}");
    assert_eq!(small(&topology, 53), "192.0.2.101\n");
    let [server, _] = SERVERS;
    assert_eq!(topology.client.run(&format!("curl -s -m 60 http://{server}/page")), "two\n");

    // Other ports and addresses, by signal. What cannot change is named, and does not keep the rest from it.
    files.write_zone(2);
    let changes = "dns-port = 5353\naddress = [\"192.0.2.1\"]\nrules = \"classic\"\nxdp-mode = \"native\"\n";
    files.write("s.toml", &configuration(changes));
    responder.signal(Signal::SIGHUP);
    let log = responder.log_until(|lines| lines.iter().any(|line| line.contains("until a restart")));
    let named = log.iter().find(|line| line.contains("until a restart")).expect("just found");
    assert!(named.ends_with("unchanged until a restart: rules, xdp-mode"), "{named}");
    assert_eq!(small(&topology, 5353), "192.0.2.102\n");
    topology.client.enter(|| {
        let [v4, v6] = SERVERS;
        for closed in [(v4, 53), (v6, 5353)] {
            let error = TcpStream::connect(closed).expect_err("the kernel has it back");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{closed:?}: {error}");
        }
    });
    responder.stop();
}

#[test]
fn an_error_changes_nothing() {
    let topology = Topology::new(1);
    let files = Files::new();
    let good = format!("zone = [{:?}]\nkey-file = {:?}\n", files.path("zone"), files.path("key"));
    files.write("s.toml", &good);
    let responder = Responder::start(&topology, &["--config", &files.path("s.toml")]);
    let before = fs::read_to_string(files.path("zone")).expect("the zone");
    let refused_with = |reason: &str, words: &[&str]| {
        let said = reload(&responder).expect_err("something is wrong");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in:\n{said}");
            responder.log_until(|lines| lines.iter().any(|line| line.contains(word)));
        }
        let reason = format!("process {}: {reason}", responder.pid());
        assert!(said.contains(&reason), "{said}");
        assert_eq!(small(&topology, 53), "192.0.2.100\n");
    };
    let zone_refused = |words: &[&str]| refused_with("not all zones could be loaded:\n", words);
    let refused = |words: &[&str]| refused_with("reload failed; still serving the previous content: ", words);

    let zone = files.path("zone");
    files.write("zone", &format!("{}www NOSUCHTYPE 192.0.2.2\n", before.replace(".100", ".199")));
    zone_refused(&[&format!("{zone}:8:5: "), "NOSUCHTYPE"]);
    fs::remove_file(&zone).expect("remove the zone");
    zone_refused(&[&zone, "No such file"]);
    files.write_zone(1);

    files.write("s.toml", &format!("{good}dns-port = 0\n"));
    refused(&[&format!("{}:3:12: ", files.path("s.toml")), "dns-port"]);
    files.write("s.toml", &format!("{good}http-port = 53\n"));
    refused(&["53", "--http-port"]);
    files.write("s.toml", &format!("{good}http-root = \"/nowhere/pages\"\n"));
    refused(&["/nowhere/pages", "No such file"]);
    files.write("s.toml", &good);

    fs::set_permissions(files.path("key"), fs::Permissions::from_mode(0o644)).expect("chmod");
    refused(&["chmod 600"]);
    // A key file that has gone is not made again: its connections would be lost.
    fs::rename(files.path("key"), files.path("away")).expect("rename");
    refused(&[&files.path("key"), "No such file"]);
    fs::rename(files.path("away"), files.path("key")).expect("rename");
    fs::set_permissions(files.path("key"), fs::Permissions::from_mode(0o600)).expect("chmod");

    // With all that mended, and only then, what was written meanwhile is served.
    reload(&responder).expect("nothing is wrong any more");
    assert_eq!(small(&topology, 53), "192.0.2.101\n");
    responder.stop();
}

/// The version of the zone that an answer, or a part of one, comes from.
fn version(payload: &[u8]) -> u8 {
    let found = (0..=9).filter(|&number| {
        let letters = [letter(number) as u8; 200];
        payload.windows(letters.len()).any(|window| window == letters)
    });
    let found: Vec<u8> = found.collect();
    assert_eq!(found.len(), 1, "from {found:?}");
    found[0]
}

/// Sends the question for the large answer, of which `received` bytes are there already.
fn ask_large(client: &Client<'_>, received: u32) {
    let question = query(7, "large.example.org", TXT);
    client.send(&client.segment(flags::PSH | flags::ACK, 1, 1 + received, &question));
}

/// All bytes up to FIN.
fn receive_all(client: &Client<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let packet = client.expect();
        bytes.extend(&packet.payload);
        if packet.flags & flags::FIN != 0 {
            return bytes;
        }
    }
}

#[test]
fn a_connection_stays_with_what_it_began_with() {
    let topology = Topology::new(1);
    let files = Files::new();
    let responder =
        Responder::start(&topology, &["--zone", &files.path("zone"), "--key-file", &files.path("key")]);
    let port = port(&topology);
    let [_, server] = SERVERS;
    let mut early = Client::new(&port, 40_000, server, 53, 1);
    early.open();
    let mut half = Client::new(&port, 40_001, server, 53, 1);
    half.open();
    ask_large(&half, 0);
    let before = receive_all(&half);
    assert_eq!(version(&before), 0);

    files.write_zone(1);
    files.rotate();
    reload(&responder).expect("nothing is wrong");
    // One that had not asked yet, one that resumes, and one that begins.
    ask_large(&early, 0);
    assert!(receive_all(&early) == before, "other octets than before");
    ask_large(&half, 1220);
    assert!(receive_all(&half) == before[1220..], "the answer goes on with other octets");
    let mut late = Client::new(&port, 40_002, server, 53, 1);
    late.open();
    ask_large(&late, 0);
    assert_eq!(version(&receive_all(&late)), 1);

    // Nor does a further reload change that.
    files.write_zone(2);
    reload(&responder).expect("nothing is wrong");
    ask_large(&half, 2440);
    assert!(receive_all(&half) == before[2440..], "the answer goes on with other octets");
    responder.stop();
}

/// When its content is gone, a connection gets nothing: neither from the next generation nor from the one after.
#[test]
fn a_connection_whose_content_is_gone_is_never_answered() {
    let topology = Topology::new(1);
    let files = Files::new();
    let (zone, key) = (files.path("zone"), files.path("key"));
    let responder =
        Responder::start(&topology, &["-v", "--zone", &zone, "--key-file", &key, "--test-keep-seconds", "1"]);
    let port = port(&topology);
    let mut client = Client::new(&port, 40_000, SERVERS[0], 53, 1);
    client.open();
    ask_large(&client, 0);
    receive_all(&client);
    let mut barrier = Barrier::default();
    for number in 1..=2 {
        files.write_zone(number);
        reload(&responder).expect("nothing is wrong");
        let gone = |lines: &[String]| lines.iter().filter(|line| line.ends_with(" has expired")).count();
        responder.log_until(|lines| gone(lines) == usize::from(number));
        ask_large(&client, 1220);
        assert_eq!(barrier.packets_for(&port, &client), [], "answered after reload {number}");
        assert_eq!(responder.counters().get("generation_gone"), u64::from(number));
    }
    responder.stop();
}

/// An answer of version 0 as another version gives it.
fn as_version(number: u8, answer: &[u8]) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    let letters = [letter(0) as u8; 250];
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(&[192, 0, 2, 100]) {
            bytes[at + 3] += number;
        } else if bytes[at..].starts_with(&letters) {
            bytes[at..at + letters.len()].fill(letter(number) as u8);
        }
    }
    bytes
}

/// Keys and zone are changed several times under load, on a path that loses: every client gets one version, whole.
#[test]
fn changes_under_load_lose_nothing() {
    const CLIENTS: u64 = 32;
    const CHANGES: u8 = 5;
    /// Connections between two of them.
    const EACH: usize = 90;
    /// A client gives up after this.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// Opens, waits, then asks: many changes come in between.
    fn ask(name: &str, rtype: u16, pause: Duration) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect::<(IpAddr, u16)>((SERVER, 53))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        sleep(pause);
        stream.write_all(&query(7, name, rtype))?;
        // The connection stays open: the answer says how long it is.
        let mut answer = vec![0; 2];
        stream.read_exact(&mut answer)?;
        answer.resize(2 + usize::from(u16::from_be_bytes([answer[0], answer[1]])), 0);
        stream.read_exact(&mut answer[2..])?;
        Ok(answer)
    }

    let mut path = LossyNetwork::new(1);
    let files = Files::new();
    let (zone, key) = (files.path("zone"), files.path("key"));
    // Longer than a client takes that is out of luck several times.
    let run = ["run", "-i", INTERFACE, "--zone", &zone, "--key-file", &key, "--test-keep-seconds", "20"];
    let responder = Responder::try_start(&path.servers[0], 1, &run).expect("it starts");
    let questions = [("small.example.org", A), ("large.example.org", TXT)];
    let right = questions.map(|(name, rtype)| {
        let answer =
            path.client.enter(|| ask(name, rtype, Duration::ZERO)).expect("an answer over a good path");
        [0, 1, 2, 3, 4, 5].map(|number| as_version(number, &answer))
    });
    let segments = right.each_ref().map(|versions| versions[0].len().div_ceil(1220));
    assert_eq!(segments, [1, 6]);
    assert!(right.iter().all(|[first, second, ..]| first != second), "the versions do not differ");

    path.disturb(Trouble { lost: 2, ..Trouble::default() });
    let changed = AtomicBool::new(false);
    let seen: [AtomicUsize; 6] = [const { AtomicUsize::new(0) }; 6];
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (path, right, changed, seen, failures) = (&path, &right, &changed, &seen, &failures);
        for client in 0..CLIENTS {
            scope.spawn(move || {
                path.client.enter(|| {
                    for turn in 0.. {
                        if changed.load(SeqCst) {
                            break;
                        }
                        let which = usize::from((client + turn) % 2 == 0);
                        let (name, rtype) = questions[which];
                        let what = match ask(name, rtype, Duration::from_millis(1_000 + 30 * client)) {
                            Ok(answer) => match right[which].iter().position(|right| *right == answer) {
                                Some(version) => {
                                    seen[version].fetch_add(1, SeqCst);
                                    continue;
                                }
                                None => format!("{name}: {} octets of no version", answer.len()),
                            },
                            Err(error) => format!("{name}: {error}"),
                        };
                        failures.lock().expect("no thread panicked").push(what);
                    }
                });
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Until so many have an answer, or one has none.
            let answered = |count: usize| {
                while seen.iter().map(|seen| seen.load(SeqCst)).sum::<usize>() < count
                    && failures.lock().expect("no thread panicked").is_empty()
                {
                    sleep(Duration::from_millis(50));
                }
            };
            for number in 1..=CHANGES {
                answered(EACH * usize::from(number));
                files.write_zone(number);
                files.rotate();
                let said = reload(&responder).expect("nothing is wrong");
                assert!(!said.contains("lost"), "{said}");
            }
            answered(EACH * usize::from(CHANGES + 1));
        }));
        changed.store(true, SeqCst);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let seen = seen.map(AtomicUsize::into_inner);
    let failures = failures.into_inner().expect("no thread panicked");
    let connections = seen.iter().sum::<usize>() + failures.len();
    assert!(failures.is_empty(), "{} of {connections} failed: {failures:?}", failures.len());
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    let counters = responder.stop();
    assert_eq!(counters.get("generation_gone"), 0);
    assert!(counters.get("resumed") > 0, "no answer was resumed");
    println!("{connections} connections, by version {seen:?}");
}
