//! The measured servers, each with the configuration that it is started with.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;
use stateless_tcp_tests::cores::say;
use stateless_tcp_tests::nameserver::Server;
use tempfile::TempDir;

use crate::testbed::{BACK_END, SERVER, ServerSetup};

/// More than are opened, and half an hour, in seconds: no server is to close what is left open.
const CONNECTIONS: usize = 2_500_000;
const IDLE: u32 = 1_800;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contender {
    /// This, every segment by the worker
    ThisRing,
    /// This, the handshake answered by the XDP program
    ThisDriver,
    /// Knot DNS, TCP over AF_XDP
    KnotXdp,
    /// Knot DNS on the kernel's TCP
    Knot,
    /// NSD on the kernel's TCP
    Nsd,
    /// This as a relay before Knot DNS, nothing cached
    Relay,
    /// dnsdist before Knot DNS, nothing cached
    Dnsdist,
    /// This as a relay, with its cache
    RelayCache,
    /// dnsdist with a packet cache
    DnsdistCache,
}

/// A server as a program, its arguments, and a file that follows them.
struct Recipe {
    program: String,
    arguments: Vec<&'static str>,
    configuration: String,
    /// In its log when it serves.
    ready: &'static str,
}

impl Contender {
    /// Those that are measured unless others are asked for.
    pub(crate) const USUAL: [Self; 7] =
        [Self::ThisRing, Self::ThisDriver, Self::KnotXdp, Self::Knot, Self::Nsd, Self::Relay, Self::Dnsdist];

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it asks a back end.
    pub(crate) fn relays(self) -> bool {
        matches!(self, Self::Relay | Self::Dnsdist | Self::RelayCache | Self::DnsdistCache)
    }

    /// Whether each connection is a file that it has open, of which it may have only so many.
    pub(crate) fn opens_files(self) -> bool {
        matches!(self, Self::Knot | Self::Nsd | Self::Dnsdist | Self::DnsdistCache)
    }

    /// Whether the build under test is what runs.
    pub(crate) fn is_this(self) -> bool {
        matches!(self, Self::ThisRing | Self::ThisDriver | Self::Relay | Self::RelayCache)
    }

    /// Its version, as it tells it; of this, `binary`'s.
    pub(crate) fn version(self, binary: &Path) -> anyhow::Result<String> {
        match self {
            Self::KnotXdp | Self::Knot => say("knotd", &["--version"]),
            Self::Nsd => Ok(say("nsd", &["-v"])?.replace("version", "").replace("  ", " ")),
            Self::Dnsdist | Self::DnsdistCache => {
                let line = say("dnsdist", &["--version"])?;
                Ok(line.split(" (").next().unwrap_or_default().to_owned())
            }
            _ => say(&binary.display().to_string(), &["--version"]),
        }
    }

    /// Its configuration as it is written for one place.
    pub(crate) fn configuration(self, place: &ServerSetup) -> String {
        self.recipe(place, Path::new("RUN")).configuration
    }

    /// Starts it there, on the place's core.
    pub(crate) fn start(self, place: &ServerSetup) -> anyhow::Result<Server> {
        let directory = TempDir::with_prefix("peer-")?;
        let recipe = self.recipe(place, directory.path());
        let core = place.core.to_string();
        let arguments = [&["-c", &core, &recipe.program], &recipe.arguments[..]].concat();
        let netns = Some(place.netns);
        Server::start("taskset", &arguments, &recipe.configuration, directory, netns, recipe.ready, 1)
    }

    fn recipe(self, place: &ServerSetup, directory: &Path) -> Recipe {
        match self {
            Self::ThisRing | Self::ThisDriver | Self::Relay | Self::RelayCache => self.this(place),
            Self::KnotXdp => {
                let limits = format!(
                    "    tcp: on\n    tcp-max-clients: {CONNECTIONS}\n    tcp-idle-close-timeout: {IDLE}\n    \
                     tcp-idle-reset-timeout: {IDLE}\n"
                );
                knot("", &format!("xdp:\n    listen: {}@53\n{limits}", place.device), place.zone, directory)
            }
            Self::Knot => {
                let listen = listen(SERVER) + &format!("    tcp-idle-timeout: {IDLE}\n");
                knot(&listen, "", place.zone, directory)
            }
            Self::Nsd => nsd(place.zone, directory),
            Self::Dnsdist => dnsdist(""),
            Self::DnsdistCache => dnsdist("getPool(''):setCache(newPacketCache(100000, {maxTTL=86400}))\n"),
        }
    }

    fn this(self, place: &ServerSetup) -> Recipe {
        let handshake = if self == Self::ThisRing { "ring" } else { "driver" };
        let mut configuration = format!("interface = [\"{}\"]\nhandshake = \"{handshake}\"\n", place.device);
        let cache = if self == Self::RelayCache { 64 } else { 0 };
        let _ = if self.relays() {
            writeln!(configuration, "dns-relay = [\"{BACK_END}\"]\ndns-cache = {cache}")
        } else {
            writeln!(configuration, "zone = [\"{}\"]", place.zone.display())
        };
        let program = place.binary.display().to_string();
        Recipe { program, arguments: vec!["run", "--config"], configuration, ready: "ready" }
    }
}

/// The server that relays ask, with one UDP and one TCP worker.
pub(crate) fn back_end(place: &ServerSetup) -> anyhow::Result<Server> {
    let directory = TempDir::with_prefix("peer-")?;
    let recipe = knot(&listen(BACK_END), "", place.zone, directory.path());
    let configuration = &recipe.configuration;
    Server::start("knotd", &recipe.arguments, configuration, directory, Some(place.netns), recipe.ready, 1)
}

fn listen(address: SocketAddr) -> String {
    format!("    listen: {}@{}\n", address.ip(), address.port())
}

fn knot(server: &str, sections: &str, zone: &Path, directory: &Path) -> Recipe {
    let at = directory.display();
    let configuration = format!(
        "server:\n{server}    rundir: {at}\n    tcp-workers: 1\n    udp-workers: 1\n    background-workers: 1\n\
         {sections}database:\n    storage: {at}\ntemplate:\n  - id: default\n    journal-content: none\n    \
         zonefile-load: whole\n    zonefile-sync: -1\n    semantic-checks: off\n\
         log:\n  - target: stderr\n    any: info\nzone:\n  - domain: {}\n    file: {}\n",
        crate::testbed::ZONE,
        zone.display()
    );
    let program = "knotd".to_owned();
    // It is written when sockets are bound and zones are loaded, whichever is later.
    Recipe { program, arguments: vec!["-c"], configuration, ready: "server started" }
}

fn nsd(zone: &Path, directory: &Path) -> Recipe {
    let at = directory.display();
    let configuration = format!(
        "server:\n  ip-address: {}@{}\n  username: \"\"\n  pidfile: \"\"\n  database: \"\"\n  \
         zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: \"{at}\"\n  \
         server-count: 1\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  tcp-count: {CONNECTIONS}\n  \
         tcp-timeout: {IDLE}\nremote-control:\n  control-enable: no\nzone:\n  name: {}\n  zonefile: \"{}\"\n",
        SERVER.ip(),
        SERVER.port(),
        crate::testbed::ZONE,
        zone.display()
    );
    Recipe { program: "nsd".to_owned(), arguments: vec!["-d", "-c"], configuration, ready: "nsd started" }
}

/// It asks over TCP what it was asked over TCP, whatever `newServer` says. Neither how many queries may be under way on a
/// connection, nor how many a connection may bring, is limited to less than clients ask for.
fn dnsdist(cache: &str) -> Recipe {
    let configuration = format!(
        "setACL({{'0.0.0.0/0', '::/0'}})\nsetSecurityPollSuffix('')\nsetMaxTCPClientThreads(1)\n\
         setMaxTCPQueriesPerConnection(0)\nsetMaxTCPConnectionDuration(0)\nsetTCPRecvTimeout({IDLE})\n\
         setLocal('{SERVER}', {{maxInFlight=1000}})\nnewServer({{address='{BACK_END}', maxInFlight=1000}})\n{cache}"
    );
    let arguments = vec!["--supervised", "--disable-syslog", "-C"];
    Recipe { program: "dnsdist".to_owned(), arguments, configuration, ready: "as 'up'" }
}
