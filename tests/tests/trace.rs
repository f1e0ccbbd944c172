//! What `trace` shows is what went over the wire, and tools of others can read it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcap_file::pcap::PcapReader;
use stateless_tcp_tests::capture::Capture;
use stateless_tcp_tests::netns::{execute, text};
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{CLIENT_V4, INTERFACE, SERVER_V4, SERVERS, Topology};

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A running `stateless-tcp trace`. Dropped, it is killed.
struct TraceProcess {
    process: Child,
    /// Its first line, and its further output.
    said: String,
    errors: BufReader<ChildStderr>,
}

impl TraceProcess {
    /// Listens to `responder`: whatever passes from now on is shown.
    fn start(responder: &Responder, arguments: &[&str]) -> Self {
        let mut process = Command::new(binary())
            .args(["trace", "--pid", &responder.pid().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start trace");
        let mut errors = BufReader::new(process.stderr.take().expect("its standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        assert!(line.starts_with("tracing eth0/0"), "{line}");
        Self { process, said: line, errors }
    }

    /// Ends it by SIGINT, unless it ends by itself, and returns its lines.
    fn end(mut self, interrupt: bool) -> (Vec<String>, String) {
        if interrupt {
            let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("a process id"));
            kill(pid, Signal::SIGINT).expect("it runs");
        }
        let mut lines = String::new();
        self.process.stdout.take().expect("its output").read_to_string(&mut lines).expect("text");
        self.errors.read_to_string(&mut self.said).expect("text");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", self.said);
        (lines.lines().map(ToOwned::to_owned).collect(), std::mem::take(&mut self.said))
    }
}

impl Drop for TraceProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn dig(topology: &Topology, server: &str, name: &str) {
    topology.client.run(&format!("dig @{server} +tcp +norecurse +tries=1 +time=60 +noedns +short {name} A"));
}

/// The frames of a capture, as far as it is written.
fn frames(file: &Path) -> Vec<Vec<u8>> {
    let Ok(mut reader) =
        std::fs::File::open(file).map_err(drop).and_then(|file| PcapReader::new(file).map_err(drop))
    else {
        return Vec::new();
    };
    let mut frames = Vec::new();
    while let Some(Ok(packet)) = reader.next_packet() {
        frames.push(packet.data.into_owned());
    }
    frames
}

/// Number of copies of each frame.
fn multiset(frames: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    let mut set = BTreeMap::new();
    frames.into_iter().for_each(|frame| *set.entry(frame).or_default() += 1);
    set
}

#[test]
fn a_capture_has_every_frame_and_none_is_malformed() {
    let topology = Topology::new(2);
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trace.pcap");
    let trace = TraceProcess::start(&responder, &["--pcap", file.to_str().expect("a path")]);
    let wire = Capture::start(&topology.client, INTERFACE);
    for server in SERVERS {
        dig(&topology, &server.to_string(), "example.com");
        let dig = format!("dig @{server} +tcp +norecurse +tries=1 +time=60 large.example.com TXT");
        assert!(topology.client.run(&dig).contains("NOERROR"));
        let host = if server.is_ipv6() { format!("[{server}]") } else { server.to_string() };
        topology.client.run(&format!("curl --silent --fail --noproxy * --globoff http://{host}/"));
    }
    // Of each connection the client's last acknowledgment may still be under way.
    let end = Instant::now() + PATIENCE;
    let quiet = |counters: &stateless_tcp_tests::responder::Counters| counters.get("received");
    let mut before = quiet(&responder.counters());
    loop {
        sleep(10 * PAUSE);
        let now = quiet(&responder.counters());
        if now == before {
            break;
        }
        before = now;
        assert!(Instant::now() < end, "it does not become quiet");
    }
    let served = |frame: &Vec<u8>| [53_u16, 80].iter().any(|port| ports(frame).contains(port));
    let sent = multiset(wire.stop().into_iter().filter(served));
    let total: usize = sent.values().sum();
    while frames(&file).len() < total {
        assert!(Instant::now() < end, "{} of {total} frames", frames(&file).len());
        sleep(PAUSE);
    }
    let (_, said) = trace.end(true);
    assert!(said.contains(&format!("{total} frames, 0 left out")), "{said}");
    assert_eq!(multiset(frames(&file)), sent);
    let tshark = |filter: &str| {
        let mut command = Command::new("tshark");
        let output = execute(command.args(["-n", "-r"]).arg(&file).args(["-Y", filter]));
        text(&output.stdout).lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tshark("_ws.malformed || ip.checksum.status == 0"), [""; 0]);
    assert_eq!(tshark("dns.flags.response == 1 && dns.flags.rcode == 0 && dns.qry.type == 1").len(), 2);
    assert_eq!(tshark("http.response.code == 200").len(), 2);
    responder.stop();
}

/// Source and destination port, if the frame holds TCP without IP options.
fn ports(frame: &[u8]) -> Vec<u16> {
    let at = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame[23] == 6 => 34,
        Some([0x86, 0xdd]) if frame[20] == 6 => 54,
        _ => return Vec::new(),
    };
    frame[at..at + 4].chunks(2).map(|port| u16::from_be_bytes([port[0], port[1]])).collect()
}

#[test]
fn lines_tell_a_conversation_by_numbers_from_its_beginning() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--handshake", "ring"]);
    let trace =
        TraceProcess::start(&responder, &["--count", "10", "--client", "192.0.2.0/24", "--port", "53"]);
    // Neither another family nor another port is shown.
    dig(&topology, &SERVERS[1].to_string(), "example.com");
    topology.client.run(&format!("curl --silent --fail --noproxy * http://{SERVER_V4}/"));
    dig(&topology, &SERVER_V4.to_string(), "example.com");
    dig(&topology, &SERVER_V4.to_string(), "example.com");
    let (lines, _) = trace.end(false);
    assert_eq!(lines.len(), 10, "{lines:#?}");
    let (client, server) = (format!("{CLIENT_V4}:"), format!(" > {SERVER_V4}:53: "));
    for line in &lines {
        assert!(line.contains(" eth0/0 "), "{line}");
    }
    let shown = |start: &str, end: &str| {
        lines.iter().any(|line| {
            let (_, rest) = line.split_once(" eth0/0 ").unwrap_or_default();
            rest.starts_with(&client) && rest.contains(&format!("{server}{start}")) && rest.ends_with(end)
                || rest.starts_with(&format!("{SERVER_V4}:53 > {client}"))
                    && rest.contains(&format!(": {start}"))
                    && rest.ends_with(end)
        })
    };
    for (start, end) in [
        ("[S] seq 0 win ", " mss 1220 length 0"),
        ("[S.] seq 0 ack 1 win ", " length 0"),
        ("[P.] seq 1:32 ack 1 win ", " A? example.com."),
        ("[.] seq 1:", " A example.com."),
    ] {
        assert!(shown(start, end), "{start} … {end} is not in {lines:#?}");
    }
    responder.stop();
}

#[test]
fn a_name_chooses_connections() {
    let topology = Topology::new(2);
    let responder = Responder::start(&topology, &[]);
    let trace = TraceProcess::start(&responder, &["--name", "www.EXAMPLE.com", "--count", "2"]);
    for name in ["example.com", "mail.example.com", "www.example.com"] {
        dig(&topology, &SERVER_V4.to_string(), name);
    }
    let (lines, _) = trace.end(false);
    assert!(lines[0].ends_with(" A? www.example.com."), "{lines:#?}");
    assert!(lines[1].ends_with("www.example.com."), "{lines:#?}");
    responder.stop();
}

#[test]
fn what_the_driver_answers_is_said_to_be_missing() {
    let mut topology = Topology::new(1);
    if topology.xdp_peer.is_none() {
        topology.xdp_peer =
            Some(stateless_tcp_tests::veth_xdp_peer::VethXdpPeer::attach(&topology.client, INTERFACE));
    }
    let responder = Responder::start(&topology, &["--handshake", "driver"]);
    let trace = TraceProcess::start(&responder, &["--count", "2"]);
    dig(&topology, &SERVER_V4.to_string(), "example.com");
    let (lines, said) = trace.end(false);
    assert!(said.contains("eth0 answers handshakes in the driver"), "{said}");
    assert!(lines[0].contains("[P.] seq 1:32 ack 1 "), "the SYN was not seen: {lines:#?}");
    assert!(lines[1].contains(" seq 1:"), "{lines:#?}");
    responder.stop();
}

#[test]
fn what_cannot_be_traced_is_named() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    let pid = responder.pid().to_string();
    for (arguments, words) in [
        (["--pid", &pid, "--queue", "7"], "no queue 7 is served"),
        (["--pid", "1", "--queue", "0"], "cannot reach process 1"),
    ] {
        let output = Command::new(binary()).arg("trace").args(arguments).output().expect("run it");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    responder.stop();
}
