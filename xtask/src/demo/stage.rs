//! The demo's network: the client is this process's own namespace, the server is a second one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::demo::capture::{self, Packet};
use crate::process::{read, run};

/// The server's addresses, from the prefixes for documentation (RFC 5737, RFC 3849).
pub(crate) const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
/// See [`SERVER_V4`].
pub(crate) const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53));

const CLIENT_DEVICE: &str = "client0";
const SERVER_DEVICE: &str = "server0";
const PATIENCE: Duration = Duration::from_secs(30);

/// Both namespaces, joined.
pub(crate) struct Stage {
    /// In memory, and visible to this process and its children only.
    scratch: PathBuf,
}

impl Stage {
    /// Builds it; this process must be alone in its network and mount namespaces.
    pub(crate) fn build() -> Result<Self> {
        // Names of namespaces are files in /run/netns: with a /run of our own they are ours alone, and gone with us.
        run(Command::new("mount").args(["-t", "tmpfs", "demo", "/run"]))?;
        let ip = |line: &str| run(Command::new("ip").args(line.split(' ')));
        ip("netns add server")?;
        ip(&format!("link add {CLIENT_DEVICE} type veth peer name {SERVER_DEVICE} netns server"))?;
        ip("link set lo up")?;
        ip("-netns server link set lo up")?;
        ip(&format!("address add 192.0.2.1/24 dev {CLIENT_DEVICE}"))?;
        ip(&format!("address add 2001:db8::1/64 dev {CLIENT_DEVICE} nodad"))?;
        ip(&format!("-netns server address add {SERVER_V4}/24 dev {SERVER_DEVICE}"))?;
        ip(&format!("-netns server address add {SERVER_V6}/64 dev {SERVER_DEVICE} nodad"))?;
        ip(&format!("link set {CLIENT_DEVICE} up"))?;
        ip(&format!("-netns server link set {SERVER_DEVICE} up"))?;
        Ok(Self { scratch: PathBuf::from("/run") })
    }

    /// A command inside the server's namespace.
    fn in_server(program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "server"]).arg(program);
        command
    }

    /// Number of TCP segments that the server's kernel has received.
    pub(crate) fn kernel_segments() -> Result<u64> {
        let text = read(Self::in_server(Path::new("cat")).arg("/proc/net/snmp"))?;
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (Some(names), Some(values)) = (rows.next(), rows.next()) else {
            bail!("/proc/net/snmp has no Tcp rows");
        };
        let pair = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "InSegs");
        pair.context("/proc/net/snmp has no Tcp InSegs")?.1.parse().context("reading Tcp InSegs")
    }

    /// Captures TCP at the client's end of the cable.
    pub(crate) fn start_capture(&self) -> Result<Capture> {
        let file = self.scratch.join("demo.pcap");
        let child = Command::new("tcpdump")
            // -Z root: as another user it could not write here. -U: what was captured is in the file at once.
            .args(["-i", CLIENT_DEVICE, "-Z", "root", "-U", "--immediate-mode", "-w"])
            .arg(&file)
            .arg("tcp or (ip6 proto 44) or (ip[6:2] & 0x3fff != 0)")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting tcpdump")?;
        let mut process = StageProcess { name: "tcpdump", child };
        let stderr = process.child.stderr.take().context("tcpdump has no standard error")?;
        wait_for_line(stderr, "tcpdump", |line| line.contains("listening on"))?;
        Ok(Capture { process, file })
    }

    /// Starts the responder in the server's namespace with its built-in content.
    pub(crate) fn start_responder(&self, binary: &Path) -> Result<Responder> {
        let log = self.scratch.join("responder.log");
        let child = Self::in_server(binary)
            .args(["run", "-i", SERVER_DEVICE, "--demo"])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).with_context(|| format!("creating {}", log.display()))?)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut process = StageProcess { name: "stateless-tcp", child };
        let stdout = process.child.stdout.take().context("stateless-tcp has no standard output")?;
        let ready = wait_for_line(stdout, "stateless-tcp", |line| line.starts_with("ready"));
        if ready.is_err() {
            // Its own words say more.
            eprint!("{}", fs::read_to_string(&log).unwrap_or_default());
        }
        let ready = ready?;
        Ok(Responder { process, log, ready })
    }
}

/// tcpdump at work.
pub(crate) struct Capture {
    process: StageProcess,
    file: PathBuf,
}

impl Capture {
    /// Ends it and reads what it wrote.
    pub(crate) fn stop(self) -> Result<Vec<Packet>> {
        // The last segment may be on its way from the device to tcpdump.
        thread::sleep(Duration::from_millis(200));
        self.process.terminate()?;
        capture::read(&self.file)
    }
}

/// The responder at work.
pub(crate) struct Responder {
    process: StageProcess,
    log: PathBuf,
    /// The line by which it said that it answers.
    pub(crate) ready: String,
}

impl Responder {
    /// Ends it and returns its log.
    pub(crate) fn stop(self) -> Result<String> {
        // The client's last FIN may still be on its way.
        thread::sleep(Duration::from_millis(200));
        let status = self.process.terminate()?;
        let log = fs::read_to_string(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        ensure!(status.success(), "stateless-tcp ended with {status}:\n{log}");
        Ok(log)
    }
}

struct StageProcess {
    name: &'static str,
    child: Child,
}

impl StageProcess {
    /// SIGTERM, then a bounded wait.
    fn terminate(mut self) -> Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGTERM).with_context(|| format!("ending {}", self.name))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{} does not end on SIGTERM", self.name);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits for a line that `wanted` accepts, and keeps draining the stream after it.
fn wait_for_line(
    stream: impl Read + Send + 'static,
    name: &str,
    wanted: impl Fn(&str) -> bool + Send + 'static,
) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if wanted(&line) {
                // Nobody listens any more after the first.
                let _ = sender.send(line);
            }
        }
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(line) => Ok(line),
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("{name} is not ready after {} s", PATIENCE.as_secs()),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("{name} ended before it was ready"),
    }
}
