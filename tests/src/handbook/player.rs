//! Does what a document says, in the order in which it says so, as its reader would.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::machine::Machine;
use super::text::{Block, Step, StepHost, is_as_shown};
use crate::netns::text;
use crate::pty::Pty;
use crate::responder::binary;
use crate::topology::Topology;
use crate::upstream::{self, DnsUpstream};

/// Time limit for anything that ends or appears soon, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at what is to be soon.
const PAUSE: Duration = Duration::from_millis(20);

/// The reader's machines: the one that serves, and another one on the same link.
#[derive(Debug)]
pub struct Player {
    here: Machine,
    elsewhere: Machine,
    service: Option<Lasting>,
    /// The servers that relays ask in the documents.
    _name_server: DnsUpstream,
    _topology: Topology,
}

/// A program that goes on until it is ended.
#[derive(Debug)]
struct Lasting {
    line: String,
    process: Child,
    /// Its number on its machine.
    pid: String,
    lines: Receiver<String>,
    /// All that it has written.
    said: String,
}

impl Player {
    /// Machines whose `eth0` has so many receive queues.
    pub fn new(queues: usize) -> Self {
        let topology = Topology::new(queues);
        let address: SocketAddr = "127.0.0.1:5300".parse().expect("an address");
        let name_server = DnsUpstream::start(&topology.server, address, |socket, query, from| {
            // Who asks no more has ended.
            let _ = socket.send_to(&upstream::answer(query, 0, 60, [192, 0, 2, 80]), from);
        });
        Self {
            here: Machine::start(&topology.server, &binary()),
            elsewhere: Machine::start(&topology.client, &binary()),
            service: None,
            _name_server: name_server,
            _topology: topology,
        }
    }

    /// Runs what is no document's on the machine that serves.
    pub fn prepare(&self, script: &str) {
        run(&self.here, script);
    }

    /// Does what the block says; what it is said to print, it must.
    pub fn play(&mut self, document: &str, block: &Block) {
        println!("-- {document}:{} ({})\n{}", block.line, block.section, block.commands);
        let mut output = String::new();
        for (place, step) in block.steps() {
            let machine = if place == StepHost::Here { &self.here } else { &self.elsewhere };
            match step {
                Step::Script(script) => output += &run(machine, &script),
                Step::Service(line) => output += &self.serve(&line),
                Step::Watch(line) => output += &self.watch(&line, block.shown.as_deref()),
            }
        }
        println!("{output}");
        if let Some(shown) = &block.shown {
            assert!(
                is_as_shown(&output, shown),
                "{document}:{}: this is not what is shown there:\n{output}",
                block.line
            );
        }
    }

    /// Starts a service in place of one that runs, waits until it answers, and asks it.
    pub fn serve(&mut self, line: &str) -> String {
        self.stop();
        let mut service = Lasting::start(&self.here, line);
        service.until("ready", |line| line.starts_with("ready: "));
        let said = service.said.clone();
        self.service = Some(service);
        self.ask(&said);
        said
    }

    /// Whether a service runs. One that was ended by a document's commands is waited for.
    fn serves(&mut self) -> bool {
        let runs = self.service.is_some() && !run(&self.here, "pidof stateless-tcp || true").is_empty();
        if let Some(service) = self.service.take_if(|_| !runs) {
            service.wait();
        }
        runs
    }

    /// Whether what runs is the service that this line starts.
    pub fn serves_by(&mut self, line: &str) -> bool {
        self.serves() && self.service.as_ref().is_some_and(|service| service.line == line)
    }

    /// Ends the service, if one runs.
    pub fn stop(&mut self) {
        if self.serves() {
            let service = self.service.take().expect("it runs");
            service.end(&self.here, "TERM");
        }
    }

    /// Asks the service whose words these are a question: its first address and its port are in them.
    fn ask(&self, said: &str) {
        let ready = said.lines().find(|line| line.starts_with("ready")).expect("its first line");
        let (_, at) = ready.split_once(" at port ").expect("a port");
        let port: u16 = at.split_whitespace().next().and_then(|port| port.parse().ok()).expect("its number");
        let (_, at) = ready.split_once(" of ").expect("addresses");
        let address = at.split([',', ' ']).next().expect("an address");
        let dig = format!("dig +tcp +tries=1 +time=60 -p {port} @{address} www.example.org A");
        let answer = run(&self.elsewhere, &dig);
        assert!(answer.contains("status: "), "{answer}");
    }

    /// Runs what shows what passes, asks a question, and ends it once what is `shown` is to be seen.
    fn watch(&self, line: &str, shown: Option<&str>) -> String {
        let said = self.service.as_ref().map(|service| service.said.as_str()).expect("something to look at");
        if line.contains(" top") {
            let pty = Pty::open(110, 30, &self.here.shell(line));
            pty.until(&["Queues", "www.example.org"], || self.ask(said));
            pty.press("q");
            return String::new();
        }
        let mut watch = Lasting::start(&self.here, line);
        watch.until("what it looks at", |line| line.contains("tracing "));
        self.ask(said);
        if let Some(shown) = shown {
            let end = Instant::now() + PATIENCE;
            while !is_as_shown(&watch.said, shown) {
                assert!(Instant::now() < end, "this is not what is shown:\n{}", watch.said);
                watch.hear(PAUSE);
            }
        }
        watch.end(&self.here, "INT")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Some(service) = &self.service {
            println!("{}", service.said);
        }
    }
}

impl Lasting {
    fn start(machine: &Machine, line: &str) -> Self {
        // The shell becomes the program, so that its number is the program's.
        let mut process = machine
            .shell(&format!("exec 2>&1; echo $$; exec {line}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a shell");
        let output = process.stdout.take().expect("its output");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(text(&line)).is_err() {
                    break;
                }
            }
        });
        let pid = lines.recv_timeout(PATIENCE).expect("a number");
        Self { line: line.trim().to_owned(), process, pid, lines, said: String::new() }
    }

    /// Listens for so long at most. `None`: it has nothing more to say.
    fn hear(&mut self, time: Duration) -> Option<&str> {
        match self.lines.recv_timeout(time) {
            Ok(line) => {
                let start = self.said.len();
                self.said += &line;
                self.said.push('\n');
                Some(self.said[start..].trim_end())
            }
            Err(RecvTimeoutError::Timeout) => Some(""),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Listens until it says something that `is_it`.
    fn until(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.hear(PAUSE) {
                Some(line) if is_it(line) => return,
                Some(_) => assert!(Instant::now() < end, "it does not say {what}:\n{}", self.said),
                None => panic!("it ended:\n{}", self.said),
            }
        }
    }

    /// Ends it by a signal, which must end it well, and returns all that it said.
    fn end(self, machine: &Machine, signal: &str) -> String {
        // It may have ended by itself.
        let kill = format!("kill -{signal} {} || true", self.pid);
        run(machine, &kill);
        self.wait()
    }

    /// Waits until it has ended well, unless a document killed it.
    fn wait(mut self) -> String {
        while self.hear(PAUSE).is_some() {}
        let status = self.process.wait().expect("wait for it");
        let killed = status.code().is_none_or(|code| code == 128 + Signal::SIGKILL as i32);
        assert!(status.success() || killed, "it ended with {status}:\n{}", self.said);
        self.said
    }
}

/// Runs a script that must succeed, and returns what it prints.
fn run(machine: &Machine, script: &str) -> String {
    let mut shell = machine.shell(&format!("exec 2>&1\n{script}"));
    let mut shell = shell.stdout(Stdio::piped()).spawn().expect("start a shell");
    let mut output = shell.stdout.take().expect("its output");
    let (sender, printed) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read is missing in what was printed.
        let _ = output.read_to_end(&mut bytes);
        sender.send(text(&bytes))
    });
    let printed = printed.recv_timeout(PATIENCE);
    let _ = printed.is_err().then(|| shell.kill());
    let status = shell.wait().expect("wait for the shell");
    let printed = printed.unwrap_or_else(|_| format!("(nothing: not done after {PATIENCE:?})"));
    assert!(status.success(), "{status} after\n{script}\nwhich printed\n{printed}");
    printed
}
