//! Real name servers to compare with: Knot DNS, NSD, BIND and Unbound, as new as [`crate::peers`] has them, and any other
//! that is started by a file and says in its log when it is ready; each in a directory of its own, ended when dropped.

use crate::peers;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time limit for a server to start, and to end when asked.
const PATIENCE: Duration = Duration::from_mins(1);
const FAREWELL: Duration = Duration::from_secs(3);

/// The name that each server tells clients who ask which one answers.
pub const IDENTITY: &str = "ns1.example.net";

/// A running knotd.
pub struct Knot {
    /// Its process.
    pub server: Server,
}

/// A running nsd.
pub struct Nsd {
    /// Its process.
    pub server: Server,
}

/// A running named.
pub struct Bind {
    /// Its process.
    pub server: Server,
}

/// A running unbound.
pub struct Unbound {
    /// Its process.
    pub server: Server,
}

impl Knot {
    /// Serves the master files, each named after its zone (`example.com.zone`), at `address`, in the network namespace
    /// `netns` if one is given.
    ///
    /// # Errors
    ///
    /// knotd is not here, or does not serve all zones in time; its log is in the message.
    pub fn start(zones: &[PathBuf], address: SocketAddr, netns: Option<&str>) -> anyhow::Result<Self> {
        Self::with_cookies(zones, address, netns, None)
    }

    /// As [`Knot::start`]. With a secret, 32 hexadecimal digits, no query over UDP is answered but with a DNS cookie made
    /// by it.
    ///
    /// # Errors
    ///
    /// As [`Knot::start`].
    pub fn with_cookies(
        zones: &[PathBuf],
        address: SocketAddr,
        netns: Option<&str>,
        secret: Option<&str>,
    ) -> anyhow::Result<Self> {
        Self::configure(&named(zones)?, address, netns, secret, false)
    }

    /// As [`Knot::start`], for zones by name and file, which whoever asks from the loopback address may transfer.
    ///
    /// # Errors
    ///
    /// As [`Knot::start`].
    pub fn transferable(zones: &[(String, PathBuf)], address: SocketAddr) -> anyhow::Result<Self> {
        Self::configure(zones, address, None, None, true)
    }

    fn configure(
        zones: &[(String, PathBuf)],
        address: SocketAddr,
        netns: Option<&str>,
        secret: Option<&str>,
        transfer: bool,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("knot-")?;
        let at = dir.path().display();
        let (module, global) = secret.map_or_else(Default::default, |secret| {
            let module =
                format!("mod-cookies:\n  - id: shared\n    secret: 0x{secret}\n    badcookie-slip: 1\n");
            (module, "    global-module: mod-cookies/shared\n")
        });
        let (acl, transfers) = if transfer {
            ("acl:\n  - id: local\n    address: 127.0.0.1\n    action: transfer\n", "    acl: local\n")
        } else {
            ("", "")
        };
        let mut conf = format!(
            "server:\n    listen: {}@{}\n    rundir: {at}\n    identity: {IDENTITY}\n    nsid: {IDENTITY}\n    tcp-workers: 1\n    udp-workers: 1\n    \
             background-workers: 1\ndatabase:\n    storage: {at}\n{module}{acl}template:\n  - id: default\n{global}{transfers}    \
             journal-content: none\n    zonefile-load: whole\n    zonefile-sync: -1\n    semantic-checks: off\n\
             log:\n  - target: stderr\n    any: info\nzone:\n",
            address.ip(),
            address.port()
        );
        for (name, file) in zones {
            writeln!(conf, "  - domain: {name}\n    file: {}", file.display())?;
        }
        let loaded = " loaded, serial";
        Server::start(&peer("knotd")?, &["-c"], &conf, dir, netns, loaded, zones.len())
            .map(|server| Self { server })
    }
}

impl Nsd {
    /// As [`Knot::start`].
    ///
    /// # Errors
    ///
    /// nsd is not here, or does not start in time; its log is in the message.
    pub fn start(zones: &[PathBuf], address: SocketAddr, netns: Option<&str>) -> anyhow::Result<Self> {
        Self::with_cookies(zones, address, netns, None)
    }

    /// As [`Nsd::start`]. With a secret, 32 hexadecimal digits, DNS cookies are answered with those made by it.
    ///
    /// # Errors
    ///
    /// As [`Nsd::start`].
    pub fn with_cookies(
        zones: &[PathBuf],
        address: SocketAddr,
        netns: Option<&str>,
        secret: Option<&str>,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("nsd-")?;
        let at = dir.path().display();
        let cookies = secret.map_or_else(
            || "  answer-cookie: no\n".to_owned(),
            |secret| format!("  answer-cookie: yes\n  cookie-secret: {secret}\n"),
        );
        let mut conf = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  pidfile: \"\"\n  database: \"\"\n  \
             zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: \"{at}\"\n  \
             server-count: 1\n  identity: {IDENTITY}\n  nsid: ascii_{IDENTITY}\n  verbosity: 1\n  refuse-any: no\n  rrl-ratelimit: 0\n{cookies}remote-control:\n  control-enable: no\n",
            address.ip(),
            address.port()
        );
        for (name, file) in named(zones)? {
            writeln!(conf, "zone:\n  name: {name}\n  zonefile: \"{}\"", file.display())?;
        }
        Server::start(&peer("nsd")?, &["-d", "-c"], &conf, dir, netns, "nsd started", 1)
            .map(|server| Self { server })
    }
}

impl Bind {
    /// As [`Knot::start`]. It answers ANY in full, and leaves out authority sections that nothing needs.
    ///
    /// # Errors
    ///
    /// named is not here, or does not load all zones in time; its log is in the message.
    pub fn start(zones: &[PathBuf], address: SocketAddr, netns: Option<&str>) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("named-")?;
        let (ip, port) = (address.ip(), address.port());
        let (listen, other) =
            if ip.is_ipv4() { ("listen-on", "listen-on-v6") } else { ("listen-on-v6", "listen-on") };
        let mut conf = format!(
            "options {{\n  directory \"{}\";\n  {listen} port {port} {{ {ip}; }};\n  {other} {{ none; }};\n  \
             recursion no;\n  server-id \"{IDENTITY}\";\n  hostname \"{IDENTITY}\";\n  minimal-responses no-auth;\n  minimal-any no;\n  zero-no-soa-ttl no;\n  dnssec-validation no;\n  \
             notify no;\n  pid-file none;\n  session-keyfile none;\n  check-integrity no;\n  check-names primary ignore;\n  allow-transfer {{ any; }};\n}};\ncontrols {{ }};\n",
            dir.path().display()
        );
        for (name, file) in named(zones)? {
            writeln!(conf, "zone \"{name}\" {{ type primary; file \"{}\"; }};", file.display())?;
        }
        let loaded = ": loaded serial";
        let server =
            Server::start(&peer("named")?, &["-g", "-n", "1", "-c"], &conf, dir, netns, loaded, zones.len())?;
        Ok(Self { server })
    }
}

impl Unbound {
    /// Resolves for whoever asks at `address`: everything below `zone` it asks, over TCP, of the authoritative server at
    /// `server`, and validates by the trust anchors, each a DS record as text.
    ///
    /// # Errors
    ///
    /// As [`Unbound::start`].
    pub fn validate(
        zone: &str,
        anchors: &[String],
        server: SocketAddr,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("unbound-")?;
        let mut conf = format!(
            "server:\n  interface: {}@{}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n  qname-minimisation: no\n  \
             module-config: \"validator iterator\"\n  num-threads: 1\n  tcp-upstream: yes\n",
            address.ip(),
            address.port(),
            dir.path().display()
        );
        for anchor in anchors {
            writeln!(conf, "  trust-anchor: \"{anchor}\"")?;
        }
        let (ip, port) = (server.ip(), server.port());
        write!(
            conf,
            "remote-control:\n  control-enable: no\nstub-zone:\n  name: \"{zone}\"\n  stub-addr: {ip}@{port}\n"
        )?;
        Server::start(&peer("unbound")?, &["-d", "-c"], &conf, dir, None, "start of service", 1)
            .map(|server| Self { server })
    }

    /// As [`Knot::start`]: it answers from the zones as if it had found them out.
    ///
    /// # Errors
    ///
    /// unbound is not here, or does not start in time; its log is in the message.
    pub fn start(zones: &[PathBuf], address: SocketAddr, netns: Option<&str>) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("unbound-")?;
        let mut conf = format!(
            "server:\n  interface: {}@{}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  do-daemonize: no\n  access-control: 0.0.0.0/0 allow\n  access-control: ::0/0 allow\n  \
             module-config: \"iterator\"\n  rrset-roundrobin: no\n  num-threads: 1\nremote-control:\n  \
             control-enable: no\nforward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@1\n",
            address.ip(),
            address.port(),
            dir.path().display()
        );
        for (name, file) in named(zones)? {
            writeln!(
                conf,
                "auth-zone:\n  name: {name}\n  zonefile: \"{}\"\n  for-downstream: yes\n  for-upstream: yes",
                file.display()
            )?;
        }
        Server::start(&peer("unbound")?, &["-d", "-c"], &conf, dir, netns, "start of service", 1)
            .map(|server| Self { server })
    }
}

/// A free port of the loopback address, for one of the servers.
///
/// # Errors
///
/// None is left.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Asks over TCP, on a connection of its own: both messages without their lengths.
///
/// # Errors
///
/// The server does not answer within a minute.
pub fn ask(address: SocketAddr, query: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.len())?.to_be_bytes();
    stream.write_all(&[&length, query].concat())?;
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A server process, leader of a group of its own.
pub struct Server {
    child: Child,
    _dir: TempDir,
}

impl Server {
    /// Runs `program` with `arguments` and the path of a file with `conf`, in the network namespace `netns` if one is given,
    /// until its log has `mark` so many times. `dir` is kept as long as it runs.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not come so far in time; its log is in the message.
    pub fn start(
        program: &str,
        arguments: &[&str],
        conf: &str,
        dir: TempDir,
        netns: Option<&str>,
        mark: &str,
        marks: usize,
    ) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let (conf_path, log_path) = (dir.path().join("conf"), dir.path().join("log"));
        fs::write(&conf_path, conf)?;
        let log = File::create(&log_path)?;
        let mut command = match netns {
            Some(netns) => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", netns, program]);
                ip
            }
            None => Command::new(program),
        };
        command.args(arguments).arg(&conf_path).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {program}: is it installed?"))?;
        let mut server = Self { child, _dir: dir };
        let started = Instant::now();
        loop {
            let log = fs::read_to_string(&log_path)?;
            if log.matches(mark).count() >= marks {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("{program} ended with {status}:\n{log}");
            }
            if started.elapsed() > PATIENCE {
                bail!("{program} is not ready after {PATIENCE:?}:\n{log}");
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Its process id: what goes before it, as `ip` and `taskset` do, becomes what it starts.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Ok(group) = i32::try_from(self.child.id()).map(Pid::from_raw) else { return };
        let _ = killpg(group, Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < FAREWELL {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        // Children that outlived the leader, or all of them.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The path of one of the servers to compare with.
fn peer(name: &str) -> anyhow::Result<String> {
    Ok(peers::program(name)?.display().to_string())
}

/// Each master file with the name of its zone.
fn named(zones: &[PathBuf]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let name = |file: &PathBuf| -> anyhow::Result<_> {
        let file = fs::canonicalize(file).with_context(|| format!("{}", file.display()))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).context("a master file without a name")?;
        Ok((stem.to_owned(), file.clone()))
    };
    zones.iter().map(name).collect()
}

/// The master files of `tests/fixtures` that [`crate::questions::list`] asks about.
#[must_use]
pub fn zones() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    [
        "plain.example",
        "child.plain.example",
        "nsec.example",
        "nsec3.example",
        "strict.example",
        "other.example",
    ]
    .map(|zone| fixtures.join(format!("{zone}.zone")))
    .to_vec()
}
