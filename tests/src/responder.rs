//! The program under test as a process.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    netns::Netns,
    topology::{INTERFACE, Topology},
};

/// Time limit for anything that is to happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running responder. Dropped, it is killed.
#[derive(Debug)]
pub struct Responder {
    process: Child,
    log: Arc<Log>,
    ready: String,
    queues: usize,
}

/// The end of a responder.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All it wrote on standard error.
    pub log: String,
}

/// Its counters: one a reason, and the places of its frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Those that are not zero, by name.
    pub counters: BTreeMap<String, u64>,
    /// Of these, those that say who decided: they differ by where the handshake is answered.
    pub by_driver: BTreeMap<String, u64>,
    /// One for each queue.
    pub frames: Vec<Frames>,
}

/// The places of the frames of a queue's pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Frames by place: `free`, in our hands; `receiving`, fill and RX ring; `sending`, TX and completion ring.
    pub places: BTreeMap<String, u64>,
    /// The pool's size.
    pub total: u64,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

/// The binary: `STATELESS_TCP_BIN`, or the workspace's release build.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("STATELESS_TCP_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/stateless-tcp"),
        PathBuf::from,
    );
    path.canonicalize().unwrap_or_else(|error| {
        panic!(
            "{}: {error}: build it (cargo build --release) or name it in STATELESS_TCP_BIN",
            path.display()
        )
    })
}

/// Whether the handshake is to be answered in the driver where that can be: `STATELESS_TCP_HANDSHAKE=driver`.
pub fn in_driver() -> bool {
    match std::env::var("STATELESS_TCP_HANDSHAKE").as_deref() {
        Ok("driver") => true,
        Ok("ring") | Err(_) => false,
        Ok(other) => panic!("STATELESS_TCP_HANDSHAKE is driver or ring, not {other:?}"),
    }
}

/// What is added to `arguments` for that. Generic mode has no driver, and what a test says itself counts.
fn handshake(arguments: &[&str]) -> &'static [&'static str] {
    let decided = ["generic", "--handshake"].iter().any(|word| arguments.contains(word));
    let runs = arguments.first() == Some(&"run");
    if in_driver() && runs && !decided { &["--handshake", "driver"] } else { &[] }
}

impl Responder {
    /// Starts `run -i` on the server's interface and waits until it says that it answers. DNS and HTTP run both, with built-in
    /// content where `arguments` name none.
    pub fn start(topology: &Topology, arguments: &[&str]) -> Self {
        let run = [&["run", "-i", INTERFACE, "--demo"], arguments].concat();
        match Self::try_start(&topology.server, topology.queues, &run) {
            Ok(responder) => responder,
            Err(ended) => panic!("the responder ended with {}:\n{}", ended.status, ended.log),
        }
    }

    /// Runs the binary with exactly these arguments.
    ///
    /// # Errors
    /// Its end, if it never answered.
    pub fn try_start(namespace: &Netns, queues: usize, arguments: &[&str]) -> Result<Self, Ended> {
        Self::spawn(namespace, queues, &[], arguments)
    }

    /// Like [`Responder::try_start`], but through `wrapper`, a program that executes its last arguments.
    ///
    /// # Errors
    /// Its end, if it never answered.
    pub fn spawn(
        namespace: &Netns,
        queues: usize,
        wrapper: &[&str],
        arguments: &[&str],
    ) -> Result<Self, Ended> {
        let binary = binary();
        let mut command = match wrapper {
            [] => namespace.command(binary.to_str().expect("a path in UTF-8")),
            [program, rest @ ..] => {
                let mut command = namespace.command(program);
                command.args(rest).arg(&binary);
                command
            }
        };
        let mut process = command
            .args(arguments)
            .args(handshake(arguments))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let log = Log::collect(process.stderr.take().expect("its standard error"));
        let ready = first_line(process.stdout.take().expect("its standard output"));
        let mut responder = Self { process, log, ready: String::new(), queues };
        let Ok(line) = ready.recv_timeout(PATIENCE) else {
            panic!("neither ready nor ended after {PATIENCE:?}:\n{}", responder.log());
        };
        if line.is_empty() {
            return Err(responder.wait());
        }
        assert!(line.starts_with("ready"), "the first line is not about being ready: {line:?}");
        responder.ready = line;
        Ok(responder)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).expect("a process id"))
    }

    /// The line by which it said that it answers.
    pub fn ready(&self) -> &str {
        self.ready.trim_end()
    }

    /// Its memory, in KiB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
    }

    /// Its standard error so far.
    pub fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Its log, as soon as `enough` holds of the lines.
    pub fn log_until(&self, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.log.wait_for(0, enough)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{signal} for the responder: {error}"));
    }

    /// Asks for its counters (SIGUSR1) and reads them from its log.
    pub fn counters(&self) -> Counters {
        let before = self.log.lines().len();
        self.signal(Signal::SIGUSR1);
        let lines = self.log.wait_for(before, |lines| {
            lines.iter().filter(|line| Frames::find(line).is_some()).count() >= self.queues
        });
        Counters::parse(&lines)
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("wait for the responder") {
                break status;
            }
            assert!(Instant::now() < end, "the responder still runs after {PATIENCE:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        self.log.wait_for_end();
        Ended { status, log: self.log() }
    }

    /// Ends it by SIGTERM: it must exit with status 0 and account for every frame. Returns its last counters.
    pub fn stop(mut self) -> Counters {
        self.signal(Signal::SIGTERM);
        let ended = self.wait();
        assert_eq!(ended.status.code(), Some(0), "after SIGTERM: {}:\n{}", ended.status, ended.log);
        let counters = Counters::parse(&self.log.lines());
        assert_eq!(counters.frames.len(), self.queues, "one account of frames a queue:\n{}", ended.log);
        counters.assert_conserved();
        counters
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Counters {
    /// Reads the last report in these lines: `counter NAME VALUE` …, then a line of frames for each queue.
    fn parse(lines: &[String]) -> Self {
        let mut report = Self::default();
        for line in lines {
            if let Some((_, text)) = line.split_once("counter ") {
                // A counter after the frames begins the next report.
                if !report.frames.is_empty() {
                    report = Self::default();
                }
                let mut words = text.split_whitespace();
                if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
                    let by_driver = name.starts_with("driver_");
                    let counters = if by_driver { &mut report.by_driver } else { &mut report.counters };
                    counters.insert(name.to_owned(), value);
                }
            } else if let Some(text) = Frames::find(line) {
                report.frames.push(Frames::parse(text));
            }
        }
        report
    }

    /// A counter's value.
    pub fn get(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// What was counted since `before`: only what changed.
    pub fn since(&self, before: &Self) -> BTreeMap<String, u64> {
        let grown = |(name, value): (&String, &u64)| (name.clone(), value - before.get(name));
        self.counters.iter().map(grown).filter(|(_, value)| *value > 0).collect()
    }

    /// free + fill + RX + TX + completion = the pool, on every queue.
    pub fn assert_conserved(&self) {
        for (queue, frames) in self.frames.iter().enumerate() {
            assert!(frames.total > 0, "queue {queue} has no pool: {frames:?}");
            assert_eq!(
                frames.places.values().sum::<u64>(),
                frames.total,
                "queue {queue} lost frames: {frames:?}"
            );
        }
    }
}

impl Frames {
    /// Where an account of frames begins in a line, if there is one: `frames INTERFACE QUEUE free=… … total=…`.
    fn find(line: &str) -> Option<&str> {
        let (_, text) = line.split_once("frames ")?;
        text.contains(" free=").then_some(text)
    }

    fn parse(text: &str) -> Self {
        let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
        let mut places: BTreeMap<_, _> =
            pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect();
        let total = places.remove("total").unwrap_or(0);
        Self { places, total }
    }
}

impl Log {
    fn collect(stream: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let filled = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                filled.state.lock().expect("the log").0.push(String::from_utf8_lossy(&line).into_owned());
                filled.changed.notify_all();
            }
            filled.state.lock().expect("the log").1 = true;
            filled.changed.notify_all();
        });
        log
    }

    fn lines(&self) -> Vec<String> {
        self.state.lock().expect("the log").0.clone()
    }

    /// The lines from the `from`th on, as soon as `enough` of them are there.
    fn wait_for(&self, from: usize, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let state = self.state.lock().expect("the log");
        let (state, waited) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |(lines, ended)| !*ended && !enough(&lines[from..]))
            .expect("the log");
        assert!(
            !waited.timed_out() && enough(&state.0[from..]),
            "what was waited for is not in the log:\n{}",
            state.0.join("\n")
        );
        state.0[from..].to_vec()
    }

    fn wait_for_end(&self) {
        let state = self.state.lock().expect("the log");
        drop(self.changed.wait_timeout_while(state, PATIENCE, |(_, ended)| !*ended).expect("the log"));
    }
}

/// Sends the first line of `stream`, empty if there is none, and reads on so that the writer never blocks.
fn first_line(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let _ = stream.read_line(&mut line);
        let _ = sender.send(line);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    receiver
}
