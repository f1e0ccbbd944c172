//! Connections that stay open, and messages in several segments: real clients over real XDP.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use rstest::rstest;
use stateless_tcp_tests::{
    client::query,
    netns::Netns,
    responder::Responder,
    topology::{INTERFACE, SERVERS, Topology},
};

const A: u16 = 1;
const PATIENCE: Duration = Duration::from_mins(1);
const CURL: &str = "curl --silent --show-error --max-time 60 --noproxy * --globoff";

fn host(server: IpAddr) -> String {
    if server.is_ipv6() { format!("[{server}]") } else { server.to_string() }
}

/// The client's system offers timestamps.
fn timestamps(client: &Netns, offered: bool) {
    client.run(&format!("sysctl -qw net.ipv4.tcp_timestamps={}", u8::from(offered)));
}

fn connect(server: IpAddr, port: u16) -> TcpStream {
    let stream = TcpStream::connect((server, port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What curl says of each of these paths: connections made, status and bytes.
fn fetch(client: &Netns, server: IpAddr, paths: &[&str]) -> String {
    let mut line = format!("{CURL} --write-out %{{num_connects}}_%{{http_code}}_%{{size_download}}\\n");
    for path in paths {
        let _ = write!(line, " --output /dev/null http://{}{path}", host(server));
    }
    client.run(&line)
}

#[rstest]
#[case::with_timestamps(true, "1_200_20000\n0_404_28\n0_200_20000\n")]
#[case::without(false, "1_200_20000\n1_404_28\n1_200_20000\n")]
fn curl_asks_on_one_connection(#[case] offered: bool, #[case] expected: &str) {
    let topology = Topology::new(1);
    timestamps(&topology.client, offered);
    let _responder = Responder::start(&topology, &[]);
    for server in SERVERS {
        assert_eq!(fetch(&topology.client, server, &["/20k.html", "/none", "/20k.html"]), expected);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let paths = ["/robots.txt", "/20k.html", "/none", "/"];
    for server in SERVERS {
        let answers = topology.client.enter(|| {
            let mut stream = connect(server, 80);
            let requests = paths.map(|path| {
                let close = if path == "/" { "Connection: close\r\n" } else { "" };
                format!("GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n")
            });
            stream.write_all(requests.concat().as_bytes()).expect("write");
            let mut answers = String::new();
            stream.read_to_string(&mut answers).expect("answers, and then the end");
            answers
        });
        let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200", "404", "200"], "{answers}");
        assert_eq!(answers.matches("Connection: close").count(), 1);
        assert!(answers.find("User-agent") < answers.find("A large page"), "{answers}");
    }
    responder.stop();
}

/// A segment with FIN holds more than one walk answers.
#[test]
fn requests_before_the_end_of_the_stream_are_all_answered() {
    const REQUESTS: usize = 12;
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let server = SERVERS[0];
    let answers = topology.client.enter(|| {
        let mut stream = connect(server, 80);
        let request = b"GET /20k.html HTTP/1.1\r\nHost: a\r\n\r\n";
        // Nagle holds the others back until FIN goes with them.
        stream.write_all(request).expect("write");
        stream.write_all(&request.repeat(REQUESTS - 1)).expect("write");
        stream.shutdown(Shutdown::Write).expect("close a half");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("answers, and then the end");
        answers
    });
    assert_eq!(answers.matches("HTTP/1.1 200").count(), REQUESTS);
    responder.stop();
}

#[rstest]
#[case::kept(true, "4096")]
#[case::kept_without_timestamps(false, "4096")]
#[case::not_kept(true, "0")]
#[case::not_kept_without_timestamps(false, "0")]
fn long_heads_are_answered_or_refused(#[case] offered: bool, #[case] hints: &str) {
    let topology = Topology::new(1);
    timestamps(&topology.client, offered);
    let responder = Responder::start(&topology, &["--hints", hints]);
    for server in SERVERS {
        for bytes in [1_000, 3_000, 5_000, 7_500, 9_000] {
            let cookie = "c".repeat(bytes);
            let line = format!(
                "{CURL} --write-out %{{http_code}} --output /dev/null --header Cookie:a={cookie} http://{}/20k.html",
                host(server)
            );
            let output = topology.client.attempt(&line);
            let status = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = match bytes {
                1_000 => (Some(0), "200"),
                // CURLE_GOT_NOTHING: the connection ended.
                _ if hints == "0" => (Some(52), "000"),
                9_000 => (Some(0), "431"),
                _ => (Some(0), "200"),
            };
            assert_eq!((output.status.code(), status.as_str()), expected, "{bytes} octets: {output:?}");
        }
    }
    responder.stop();
}

/// RFC 7766 section 8: the length in a segment of its own; with Nagle the rest waits for its acknowledgment.
#[rstest]
#[case::with_timestamps(true)]
#[case::without(false)]
fn length_may_be_written_by_itself(#[case] offered: bool, #[values("4096", "0")] hints: &str) {
    let topology = Topology::new(1);
    timestamps(&topology.client, offered);
    let responder = Responder::start(&topology, &["--hints", hints]);
    for server in SERVERS {
        for nagle in [true, false] {
            topology.client.enter(|| {
                let mut stream = connect(server, 53);
                stream.set_nodelay(!nagle).expect("an option");
                for id in 0..if offered { 3 } else { 1 } {
                    let question = query(id, "example.com", A);
                    stream.write_all(&question[..2]).expect("write");
                    stream.write_all(&question[2..]).expect("write");
                    let mut length = [0; 2];
                    stream.read_exact(&mut length).expect("a length");
                    let mut answer = vec![0; u16::from_be_bytes(length).into()];
                    stream.read_exact(&mut answer).expect("an answer");
                    assert_eq!(answer[..2], id.to_be_bytes());
                }
            });
        }
    }
    assert!(responder.stop().get("kept") >= 4);
}

#[rstest]
#[case::dig("dig +keepopen +tries=1 +time=60")]
#[case::dig_with_keepalive("dig +keepopen +keepalive +tries=1 +time=60")]
#[case::kdig("kdig +keepopen +retry=0 +timeout=60")]
fn several_questions_are_asked_on_one_connection(#[case] program: &str) {
    for server in SERVERS {
        let topology = Topology::new(1);
        let responder = Responder::start(&topology, &[]);
        let questions = "example.com A example.com AAAA example.com MX";
        let answers = topology.client.run(&format!("{program} +tcp @{server} {questions}"));
        for answer in ["192.0.2.1\n", "2001:db8::1\n", "10 mail.example.com.\n"] {
            assert!(answers.contains(answer), "{answers}");
        }
        // RFC 7828: told to those who ask.
        let told = answers.matches("; TCP KEEPALIVE: 120.0 secs").count();
        assert_eq!(told, if program.contains("+keepalive") { 3 } else { 0 }, "{answers}");
        // Fewer than questions; one, but a SYN may come twice.
        let connections = responder.stop().get("syn_ack");
        assert!(connections < 3, "{connections} connections:\n{answers}");
    }
}

#[test]
fn dnsperf_is_answered_on_few_connections() {
    const QUERIES: usize = 20_000;
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let directory = tempfile::tempdir().expect("a directory");
    let questions = directory.path().join("questions");
    let names = [
        "example.com A",
        "example.com AAAA",
        "www.example.com A",
        "none.example.com A",
        "large.example.com TXT",
    ];
    fs::write(&questions, names.join("\n") + "\n").expect("write the questions");
    let report = topology.client.run(&format!(
        "dnsperf -m tcp -s {} -d {} -n {} -c 4 -q 100 -t 60",
        SERVERS[0],
        questions.display(),
        QUERIES / names.len()
    ));
    let value = |name: &str| {
        let line = report.lines().find_map(|line| line.trim().strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(value("Queries sent:"), QUERIES.to_string(), "{report}");
    assert_eq!(
        (value("Queries completed:"), value("Queries lost:")),
        (QUERIES.to_string(), "0".into()),
        "{report}"
    );
    responder.stop();
}

/// Configuration of unbound: all it asks, it asks over TCP, of the responder.
fn forwarder(server: IpAddr, directory: &str) -> String {
    format!(
        "server:\n  directory: {directory}\n  pidfile: {directory}/pid\n  username: \"\"\n  chroot: \"\"\n  use-syslog: no\n  \
         interface: 127.0.0.1\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  tcp-upstream: yes\n  \
         module-config: iterator\n  num-threads: 1\nremote-control:\n  control-enable: no\n\
         forward-zone:\n  name: .\n  forward-addr: {server}\n"
    )
}

#[test]
fn unbound_forwards_over_tcp() {
    const QUESTIONS: usize = 100;
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path in UTF-8");
    let configuration = directory.path().join("unbound.conf");
    fs::write(&configuration, forwarder(SERVERS[0], path)).expect("write the configuration");
    let mut unbound = topology.client.command("unbound");
    let mut unbound = unbound
        .args(["-d", "-c"])
        .arg(&configuration)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("unbound");
    let ask = "dig @127.0.0.1 +tries=5 +time=12 +noall +comments";
    let deadline = Instant::now() + PATIENCE;
    while !topology.client.attempt(&format!("{ask} example.com A")).status.success() {
        assert!(Instant::now() < deadline, "unbound does not answer");
        sleep(Duration::from_millis(50));
    }
    // Each name is another, so that no answer comes from a cache.
    let mut batch = String::new();
    for number in 0..QUESTIONS {
        let _ = writeln!(batch, "n{number}.example.com A");
    }
    let questions = directory.path().join("questions");
    fs::write(&questions, batch).expect("write the questions");
    let answers = topology.client.attempt(&format!("{ask} -f {}", questions.display()));
    unbound.kill().and_then(|()| unbound.wait()).expect("end unbound");
    let answers = String::from_utf8_lossy(&answers.stdout).into_owned();
    assert_eq!(answers.matches("status: NXDOMAIN").count(), QUESTIONS, "{answers}");
    assert!(responder.stop().get("messages") >= QUESTIONS as u64);
}

/// FNV-1a, which is quickly written in two languages.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A page that fetches what is named, and says how many of them have the right bytes.
const PAGE: &str =
    "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><p id=result>waiting</p><script>
const files = FILES;
const hash = bytes => bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
const right = async ([name, expected]) => {
  const answer = await fetch(name, {cache: 'no-store'});
  return hash(new Uint8Array(await answer.arrayBuffer())) === expected;
};
Promise.all(files.map(right)).then(
  all => result.textContent = all.filter(Boolean).length + ' of ' + all.length + ' right',
  error => result.textContent = String(error));
</script>";

#[test]
fn chromium_loads_a_page_of_60_files() {
    const FILES: u32 = 60;
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a root");
    let mut files = String::from("[");
    for number in 0..FILES {
        let bytes: Vec<u8> = (0..number * 1_000 + 7)
            .map(|at| (at.wrapping_mul(2_654_435_761 + number) >> 13).to_le_bytes()[0])
            .collect();
        fs::write(root.join(format!("{number}.bin")), &bytes).expect("write a file");
        let _ = write!(files, "['/{number}.bin', {}],", hash(&bytes));
    }
    files.push(']');
    fs::write(root.join("index.html"), PAGE.replace("FILES", &files)).expect("write the page");
    let root = root.to_str().expect("a path in UTF-8");
    let arguments = ["run", "-i", INTERFACE, "--http-root", root];
    let responder = Responder::try_start(&topology.server, 1, &arguments).expect("it starts");
    let shown = topology.client.attempt(&format!(
        "timeout --kill-after 5 600 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server \
         --disable-background-networking --no-first-run --user-data-dir={}/profile --virtual-time-budget=30000 --dump-dom \
         http://{}/",
        directory.path().display(),
        SERVERS[0]
    ));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("{FILES} of {FILES} right")), "{shown}");
    let counters = responder.stop();
    assert!(counters.get("messages") > FILES.into(), "{counters:?}");
    // It opens six connections at a time, and keeps them.
    assert!(counters.get("syn_ack") < FILES.into(), "{counters:?}");
}
