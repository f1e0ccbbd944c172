//! Messages to a service manager, which only listens: from within confinement, at a socket with a path and at one
//! without.

use std::{
    os::linux::net::SocketAddrExt as _,
    os::unix::net::{SocketAddr, UnixDatagram},
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::{
    client::{Barrier, port},
    netns::text,
    responder::Responder,
    topology::{INTERFACE, Topology},
};

/// Time limit for any message that is due at once, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Time that the service may be silent, in microseconds.
const WATCHDOG: u32 = 4_000_000;

/// A start that may take longer than the service manager would wait.
const LOADING: [&str; 2] = ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=loading"];

/// A sign of life.
const ALIVE: &str = "WATCHDOG=1";

/// A service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// It listens in the server's namespace, as names without a path are a namespace's.
    fn listen(topology: &Topology, address: &SocketAddr) -> Self {
        let socket = topology.server.enter(|| UnixDatagram::bind_addr(address).expect("bind"));
        socket.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        Self(socket)
    }

    /// The next message.
    fn hear(&self) -> String {
        let mut bytes = [0; 4_096];
        let length = self.0.recv(&mut bytes).expect("nothing is said any more");
        text(&bytes[..length])
    }

    /// The next message that is no sign of life.
    fn news(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.hear();
            if message != ALIVE {
                return message;
            }
            assert!(Instant::now() < end, "only signs of life within {PATIENCE:?}");
        }
    }
}

/// Starts the responder with a service manager at `name`.
fn start(topology: &Topology, name: &str, options: &[&str]) -> Responder {
    let [socket, watchdog] = [format!("NOTIFY_SOCKET={name}"), format!("WATCHDOG_USEC={WATCHDOG}")];
    let wrapper = ["env", &socket, &watchdog];
    let run = [&["run", "-i", INTERFACE], options].concat();
    match Responder::spawn(&topology.server, topology.queues, &wrapper, &run) {
        Ok(responder) => responder,
        Err(ended) => panic!("it ended with {}:\n{}", ended.status, ended.log),
    }
}

/// The lines of a message, those with a time or with many words cut after the first few.
fn cut(message: &str) -> Vec<&str> {
    let first = |line: &'_ str| line.find([' ', ';', ':']).unwrap_or(line.len());
    message
        .lines()
        .map(
            |line| if line.starts_with("MONOTONIC_USEC=") { "MONOTONIC_USEC=" } else { &line[..first(line)] },
        )
        .collect()
}

#[rstest]
fn every_state_is_told(#[values("path", "abstract")] kind: &str) {
    let topology = Topology::new(2);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let (name, address) = if kind == "path" {
        (path.display().to_string(), SocketAddr::from_pathname(&path))
    } else {
        let name = topology.server.name();
        (format!("@{name}"), SocketAddr::from_abstract_name(name))
    };
    let manager = Manager::listen(&topology, &address.expect("an address"));
    let zone = directory.path().join("zone");
    write_zone(&zone, "192.0.2.7");
    let zone_option = ["--test-keep-seconds", "0", "--zone", zone.to_str().expect("a name")];
    let responder = start(&topology, &name, &zone_option);

    assert_eq!(cut(&manager.hear()), LOADING);
    let ready = manager.hear();
    let (first, status) = ready.split_once("\nSTATUS=").expect("two lines");
    assert_eq!((first, format!("ready: {status}")), ("READY=1", responder.ready().to_owned()));
    for _ in 0..3 {
        assert_eq!(manager.hear(), ALIVE);
    }

    let reloading = ["RELOADING=1", "MONOTONIC_USEC=", "STATUS=reloading"];
    std::fs::write(&zone, "nonsense").expect("write the zone");
    responder.signal(Signal::SIGHUP);
    assert_eq!(cut(&manager.news()), reloading);
    let refused = manager.news();
    assert!(
        refused.starts_with("READY=1\nSTATUS=not all zones could be loaded:") && refused.lines().count() == 2,
        "{refused}"
    );

    write_zone(&zone, "192.0.2.8");
    responder.signal(Signal::SIGHUP);
    assert_eq!(cut(&manager.news()), reloading);
    assert_eq!(cut(&manager.news()), ["READY=1", "STATUS=reloaded"]);
    assert_eq!(manager.hear(), ALIVE, "a reload does not end them");

    responder.stop();
    assert_eq!(manager.news(), "STOPPING=1\nSTATUS=ending");
}

/// A worker that does not move any more keeps the signs of life from the service manager, which then ends it; one of two
/// is enough.
#[test]
fn a_stuck_worker_is_noticed() {
    let topology = Topology::new(2);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let manager = Manager::listen(&topology, &SocketAddr::from_pathname(&path).expect("an address"));
    let name = path.display().to_string();
    let mut responder = start(&topology, &name, &["--test-hang-after-frames", "0"]);
    assert_eq!(cut(&manager.hear()), LOADING);
    assert_eq!(cut(&manager.hear())[0], "READY=1");
    assert_eq!(manager.hear(), ALIVE, "nobody is stuck yet");
    // To one worker of the two.
    Barrier::default().send(&port(&topology));
    let stuck = manager.news();
    assert!(stuck.starts_with("STATUS=stuck: the worker of eth0/"), "{stuck}");
    for _ in 0..3 {
        assert_eq!(manager.hear(), stuck, "and so it stays");
    }
    responder.signal(Signal::SIGTERM);
    assert_eq!(manager.news().lines().next(), Some("STOPPING=1"));
    let ended = responder.wait();
    assert!(ended.log.contains("workers did not end in time"), "{}", ended.log);
}

fn write_zone(path: &Path, address: &str) {
    let text = format!(
        "example.com. 60 IN SOA a. b. 1 2 3 4 5\nexample.com. 60 IN NS a.example.com.\na.example.com. 60 IN A {address}\n"
    );
    std::fs::write(path, text).expect("write the zone");
}
