//! The metrics as Prometheus and its tools read them, and Grafana's queries of what Prometheus has of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use stateless_tcp_tests::client::{port, query};
use stateless_tcp_tests::datagram::Datagram;
use stateless_tcp_tests::netns::{Netns, text};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{GHOST_V4, GHOST_V6, SERVER_V4, SERVERS, Topology};
use stateless_tcp_tests::upstream::{DnsUpstream, answer};
use stateless_tcp_tests::web::{BACK_END, Nginx, ask};

/// Address of the responder's metrics.
const METRICS: &str = "127.0.0.1:9953";
/// Address of Prometheus.
const PROMETHEUS: &str = "127.0.0.1:9090";
/// The back end of the DNS relay.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5301);

const PAUSE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_mins(1);

const CURL: &str = "curl --silent --show-error --fail --max-time 60 --noproxy *";

fn scrape(namespace: &Netns) -> String {
    namespace.run(&format!("{CURL} http://{METRICS}/metrics"))
}

/// The value of the sample with this name and these labels, as they stand in the text.
fn sample<'a>(text: &'a str, sample: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {sample} in\n{text}"))
}

fn number(text: &str, name: &str) -> f64 {
    sample(text, name).parse().expect("a number")
}

/// The sum over all samples of this family.
fn sum(text: &str, family: &str) -> f64 {
    let values = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn promtool_finds_nothing_to_object_to() {
    let topology = Topology::new(2);
    let responder = Responder::start(&topology, &["--metrics", METRICS]);
    let before = scrape(&topology.server);
    for server in SERVERS {
        let dig = format!("dig @{server} +tcp +norecurse +tries=1 +time=60 +short example.com A");
        assert_eq!(topology.client.run(&dig), "192.0.2.1\n");
    }
    let text = scrape(&topology.server);
    assert_eq!(promtool(&text), "");

    // What the same counters say in the log.
    let counters = responder.counters();
    let answers = sum(&text, "stateless_tcp_messages_total") - sum(&before, "stateless_tcp_messages_total");
    assert!((answers - 2.0).abs() < 0.1, "{answers} messages:\n{text}");
    for (name, value) in [("received", "frames_received"), ("sent", "segments_sent")] {
        // What the driver did never came to a queue.
        let driver = |name| counters.by_driver.get(name).copied().unwrap_or_default();
        let driver =
            driver("driver_answered") + if name == "received" { driver("driver_dropped") } else { 0 };
        let scraped = sum(&text, &format!("stateless_tcp_{value}_total"));
        let logged = u32::try_from(counters.get(name) - driver).expect("few");
        assert!((scraped - f64::from(logged)).abs() < 0.1, "{name} {scraped}, {logged} in the log");
    }
    let info = text.lines().find(|line| line.starts_with("stateless_tcp_interface_info{")).expect("an info");
    for label in ["interface=\"eth0\"", "xdp_mode=\"native\"", "copy_mode=\"copy\"", "handshake=\""] {
        assert!(info.contains(label), "{label}: {info}");
    }
    let frames: f64 = ["free", "receiving", "sending"]
        .map(|place| {
            number(
                &text,
                &format!("stateless_tcp_frames{{interface=\"eth0\",queue=\"1\",place=\"{place}\"}}"),
            )
        })
        .iter()
        .sum();
    assert!((frames - 4_096.0).abs() < 0.1, "{frames} frames");
    // A batch is timed when its answers are on their way.
    let end = Instant::now() + PATIENCE;
    let all_timed = |text: &str| {
        let timed = sum(text, "stateless_tcp_answer_duration_seconds_count");
        (timed - sum(text, "stateless_tcp_frames_received_total")).abs() < 0.1
    };
    while !all_timed(&scrape(&topology.server)) {
        assert!(Instant::now() < end, "not every frame is timed:\n{}", scrape(&topology.server));
    }
    responder.stop();
}

/// What `promtool check metrics` has to say; it ends with 0 only if that is nothing.
fn promtool(text: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    promtool.stdin.take().expect("its standard input").write_all(text.as_bytes()).expect("write");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", self::text(&output.stdout), self::text(&output.stderr));
    assert!(output.status.success() || !said.is_empty(), "{}", output.status);
    said
}

#[test]
fn a_reload_shows() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    let (key, configuration) = (path("key"), path("configuration"));
    fs::write(&configuration, format!("key-file = {key:?}\n")).expect("write the configuration");
    let responder = Responder::start(&topology, &["--metrics", METRICS, "--config", &configuration]);
    let run = |arguments: &[&str]| {
        let output = Command::new(stateless_tcp_tests::responder::binary()).args(arguments).output();
        let output = output.expect("run it");
        assert!(output.status.success(), "{output:?}");
    };
    let pid = responder.pid().to_string();
    let first = scrape(&topology.server);
    run(&["rotate-key", &key]);
    run(&["reload", "--pid", &pid]);
    let second = scrape(&topology.server);
    fs::write(&configuration, format!("key-file = {key:?}\nminimal-any = true\n")).expect("write it");
    run(&["reload", "--pid", &pid]);
    let third = scrape(&topology.server);
    let grows = |name: &str, before: &str, after: &str| {
        let name = format!("stateless_tcp_{name}");
        number(after, &name) > number(before, &name)
    };
    assert!(grows("key_start_time_seconds", &first, &second), "{first}\n{second}");
    assert!(!grows("generation_start_time_seconds", &first, &second), "the content is the same");
    assert!(grows("generation_start_time_seconds", &second, &third), "{second}\n{third}");
    let same = |name: &str, before: &str, after: &str| sample(before, name) == sample(after, name);
    assert!(same("stateless_tcp_generation", &first, &second), "{first}\n{second}");
    assert!(!same("stateless_tcp_generation", &second, &third), "{second}\n{third}");
    let former = [&first, &second, &third].map(|text| number(text, "stateless_tcp_former_generations"));
    assert_eq!(former.map(|former| format!("{former}")), ["0", "0", "1"], "{third}");
    assert!(same("stateless_tcp_start_time_seconds", &first, &third), "{first}\n{third}");
    responder.stop();
}

/// A running Prometheus. Dropped, it is killed.
struct Prometheus(Child);

impl Prometheus {
    fn start(namespace: &Netns, directory: &Path) -> Self {
        let file = directory.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: stateless-tcp\n  static_configs:\n  - targets: \
             ['{METRICS}']\n"
        );
        fs::write(&file, text).expect("write its configuration");
        let child = namespace
            .command("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={PROMETHEUS}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start prometheus");
        Self(child)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The queries of the dashboard, by the title of their panel, as Grafana would ask them.
fn queries() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana/stateless-tcp.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(file).expect("the dashboard")).expect("JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query.replace("$__rate_interval", "10s").replace("$instance", ".*");
            queries.push((panel["title"].as_str().expect("a title").to_owned(), query));
        }
    }
    queries
}

/// The values that Prometheus has for a query: those that are numbers.
fn values(namespace: &Netns, query: &str) -> Result<Vec<f64>, String> {
    let output = namespace
        .command("curl")
        .args(CURL.split_whitespace().skip(1).filter(|word| *word != "--fail"))
        .args(["--get", "--data-urlencode", &format!("query={query}")])
        .arg(format!("http://{PROMETHEUS}/api/v1/query"))
        .output()
        .expect("run curl");
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    if answer["status"] != "success" {
        return Err(answer.to_string());
    }
    let result = answer["data"]["result"].as_array().ok_or("no result")?;
    let value = |sample: &Value| sample["value"][1].as_str()?.parse::<f64>().ok();
    Ok(result.iter().filter_map(value).filter(|value| value.is_finite()).collect())
}

/// One question and one request, of names and pages that the caches do not have.
fn load(client: &Netns, number: u32) {
    let name = format!("name{number}.example");
    let dig = format!("dig @{SERVER_V4} +tcp +tries=1 +time=60 +short {name} A");
    assert_eq!(client.run(&dig), "192.0.2.77\n");
    assert_eq!(ask(client, IpAddr::V4(SERVER_V4), "GET", "/index.html").status, 200);
}

#[test]
fn every_query_of_the_dashboard_has_data() {
    let topology = Topology::new(2);
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("index.html"), "<p>A page.</p>").expect("write");
    let _nginx = Nginx::start(&topology.server, directory.path(), "");
    let _dns = DnsUpstream::start(&topology.server, DNS, |socket, query, from| {
        let _ = socket.send_to(&answer(query, 0, 60, [192, 0, 2, 77]), from);
    });
    let nobody = directory.path().join("nobody");
    let dnstap = ["--dnstap", nobody.to_str().expect("a path")];
    let relays = ["--dns-relay", &DNS.to_string(), "--http-relay", BACK_END];
    let responder = Responder::start(&topology, &[&["--metrics", METRICS], &relays[..], &dnstap].concat());
    let _prometheus = Prometheus::start(&topology.server, directory.path());

    let mut missing: BTreeMap<String, String> =
        queries().into_iter().map(|(title, query)| (query, title)).collect();
    assert!(missing.len() > 20, "{} queries", missing.len());
    let end = Instant::now() + PATIENCE;
    let mut loads = 0;
    while !missing.is_empty() {
        assert!(Instant::now() < end, "no data for {missing:#?}");
        loads += 1;
        load(&topology.client, loads);
        sleep(PAUSE);
        missing
            .retain(|query, _| !matches!(values(&topology.server, query), Ok(values) if !values.is_empty()));
    }
    let up = values(&topology.server, "up").expect("it answers");
    assert_eq!(up, [1.0], "Prometheus says that it could read all");
    assert_eq!(promtool(&scrape(&topology.server)), "", "with relays, too");
    let text = scrape(&topology.server);
    let asked = number(
        &text,
        &format!("stateless_tcp_back_end_duration_seconds_count{{service=\"dns\",back_end=\"{DNS}\"}}"),
    );
    assert!(asked >= f64::from(loads), "{asked} questions of {loads} are timed");
    responder.stop();
}

#[test]
fn what_is_denied_limited_and_truncated_shows() {
    let topology = Topology::new(1);
    let limits = ["--udp", "truncate", "--rate-limit", "1", "--deny", "2001:db8::/32"];
    let responder = Responder::start(&topology, &[&["--metrics", METRICS], &limits[..]].concat());
    let xdp =
        |reason: &str| format!("stateless_tcp_xdp_frames_total{{interface=\"eth0\",reason=\"{reason}\"}}");
    let rules = ["answers", "driver_answers"].map(|family| format!("stateless_tcp_{family}_total{{"));
    let truncated = |text: &str| {
        let of =
            |line: &&str| rules.iter().any(|rule| line.starts_with(rule)) && line.contains("udp_truncated");
        text.lines().filter(of).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
    };
    let counts = |text: &str| [number(text, &xdp("denied")), number(text, &xdp("limited")), truncated(text)];
    assert!(counts(&scrape(&topology.server)).iter().sum::<f64>() < 0.1, "nothing yet");
    let port = port(&topology);
    let question = query(1, "example.com", 1).split_off(2);
    let end = Instant::now() + PATIENCE;
    loop {
        // Many at once, of which there is a token for one.
        for (client, server, times) in [(GHOST_V4.into(), SERVERS[0], 20), (GHOST_V6.into(), SERVERS[1], 1)] {
            let datagram = Datagram::new(client, 40_000, server, 53, question.clone()).octets();
            (0..times).for_each(|_| port.send(&datagram));
        }
        let text = scrape(&topology.server);
        if counts(&text).iter().all(|&count| count > 0.0) {
            assert_eq!(promtool(&text), "");
            break;
        }
        assert!(Instant::now() < end, "{text}");
    }
    responder.stop();
}

#[test]
fn what_cannot_be_listened_at_is_named() {
    let topology = Topology::new(1);
    let run = ["run", "-i", "eth0", "--metrics"];
    for (address, status, words) in [
        ("127.0.0.1:80", 2, "HTTP is served on port 80"),
        ("192.0.2.200:9953", 1, "--metrics: cannot listen at 192.0.2.200:9953: Cannot assign"),
    ] {
        let Err(ended) = Responder::try_start(&topology.server, 1, &[&run[..], &[address]].concat()) else {
            panic!("it runs")
        };
        assert_eq!(ended.status.code(), Some(status), "{}", ended.log);
        assert!(ended.log.contains(words), "{}", ended.log);
    }
}

#[test]
fn the_log_can_be_json() {
    let topology = Topology::new(1);
    let mut responder = Responder::start(&topology, &["--log-format", "json"]);
    responder.signal(Signal::SIGTERM);
    let log = responder.wait().log;
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "message"] {
            assert!(entry[key].is_string(), "no {key} in {line}");
        }
    }
    assert!(log.lines().any(|line| line.contains("frames eth0 0")), "{log}");

    // And RUST_LOG says what is in it.
    let wrapper = ["env", "RUST_LOG=error"];
    let quiet = Responder::spawn(&topology.server, 1, &wrapper, &["run", "-i", "eth0"]);
    let mut quiet = quiet.unwrap_or_else(|ended| panic!("{}", ended.log));
    quiet.signal(Signal::SIGTERM);
    assert_eq!(quiet.wait().log, "");
}
