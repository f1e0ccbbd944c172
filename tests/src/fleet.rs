//! Client ⇄ router ⇄ servers that announce one address to the router by BGP, with the files of docs/deploy/anycast as they
//! are.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::{Netns, text};
use crate::responder::{Responder, binary, in_driver};
use crate::topology::INTERFACE;
use crate::veth_xdp_peer::VethXdpPeer;

/// The address of all servers. None of their kernels has it.
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);
/// Their DNS address and port.
pub const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(SERVICE), 53);

/// The configuration that all sites of the tests share.
const SITE: &str = "define SERVICE_V4 = 198.51.100.53/32;\ndefine SERVICE_V6 = 2001:db8:53::53/128;\n\
                    define OWN_AS = 65001;\ndefine ROUTER_AS = 65000;\n";
/// The files under test.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/anycast");
/// Time limit for anything that is to happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The router's way to spread packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// By addresses and ports.
    Flow,
    /// Each packet by itself.
    Packet,
}

/// Everything but what runs on the servers.
#[derive(Debug)]
pub struct Fleet {
    /// The namespace of the clients.
    pub client: Netns,
    /// The router that spreads them.
    pub router: Netns,
    servers: Vec<Netns>,
    directory: tempfile::TempDir,
    _bird: Process,
    _xdp_peers: Vec<VethXdpPeer>,
}

/// A server that runs, with BIRD and what tells BIRD whether it answers.
#[derive(Debug)]
pub struct FleetServer<'fleet> {
    fleet: &'fleet Fleet,
    number: usize,
    /// The program under test.
    pub responder: Responder,
    watch: Process,
    bird: Process,
}

/// A process that dies with its guard, at the latest.
#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

impl Fleet {
    /// The client, the router, and room for so many servers.
    pub fn new(servers: usize, spread: Spread) -> Self {
        let (client, router) = (Netns::new("near"), Netns::new("router"));
        let directory = tempfile::tempdir().expect("a temporary directory");
        router.run(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.fib_multipath_hash_policy=1",
        );
        let link = |end: &Netns, side: &str| {
            end.run(&format!("ip link add {INTERFACE} type veth peer name {side} netns {}", router.name()));
            // Real checksums, as over a wire.
            end.run(&format!("ethtool -K {INTERFACE} tx off"));
            for (namespace, interface) in [(end, INTERFACE), (&router, side)] {
                namespace.run(&format!("ip link set {interface} addrgenmode none up"));
            }
        };
        link(&client, "near");
        client.run(&format!("ip address add 192.0.2.2/24 dev {INTERFACE}"));
        client.run("ip route add default via 192.0.2.1");
        router.run("ip address add 192.0.2.1/24 dev near");
        // What is lost twice is to be so by the network, and not for a machine that is busy for a moment.
        client.run("sysctl -qw net.ipv4.tcp_rto_min_us=1000000 net.ipv4.tcp_early_retrans=0");
        let (mut ends, mut xdp_peers, mut sessions) = (Vec::new(), Vec::new(), String::new());
        for number in 0..servers {
            let (end, side) = (Netns::new("far"), format!("far{number}"));
            link(&end, &side);
            if in_driver() {
                xdp_peers.push(VethXdpPeer::attach(&router, &side));
            }
            end.run(&format!("ip address add {}/24 dev {INTERFACE}", own(number)));
            end.run(&format!("ip route add default via {}", gateway(number)));
            router.run(&format!("ip address add {}/24 dev {side}", gateway(number)));
            sessions += &session(&router, number, spread);
            ends.push(end);
        }
        let rules = rules(servers, spread);
        let nft = directory.path().join("rules.nft");
        fs::write(&nft, rules).expect("write the rules");
        router.run(&format!("nft -f {}", nft.display()));
        let place = directory.path().join("router");
        let site = format!("router id 192.0.2.1;\n{SITE}");
        configure(&place, "router.conf", &[("site.conf", &site), ("servers.conf", &sessions)]);
        let bird = bird(&router, &place, "router.conf");
        Self { client, router, servers: ends, directory, _bird: bird, _xdp_peers: xdp_peers }
    }

    /// A file of server `number`'s own.
    pub fn file(&self, number: usize, name: &str) -> PathBuf {
        self.place(number).join(name)
    }

    fn place(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("server{number}"))
    }

    /// Starts server `number`, and waits until the router has heard of it.
    pub fn start(&self, number: usize, zone: &Path) -> FleetServer<'_> {
        let (namespace, place) = (&self.servers[number], self.place(number));
        let session =
            format!("protocol bgp router1 from upstream4 {{ neighbor {} as ROUTER_AS; }}\n", gateway(number));
        let site = format!("router id {};\n{SITE}", own(number));
        configure(&place, "bird.conf", &[("site.conf", &site), ("routers.conf", &session)]);
        let bird = bird(namespace, &place, "bird.conf");
        let (key, zone) = (place.join("key"), zone.to_str().expect("a path in UTF-8"));
        let key = key.to_str().expect("a path in UTF-8");
        let address = SERVICE.to_string();
        let run = ["run", "-i", INTERFACE, "--address", &address, "--zone", zone, "--key-file", key];
        let responder = Responder::try_start(namespace, 1, &run).expect("it starts");
        let watch = watch(namespace, &place, responder.pid());
        let server = FleetServer { fleet: self, number, responder, watch, bird };
        server.expect(true);
        server
    }

    /// Whether the router sends anything to server `number`.
    fn leads_to(&self, number: usize) -> bool {
        self.router.run(&format!("ip route show {SERVICE}")).contains(&own(number))
    }

    /// Resets that the servers' side has sent.
    pub fn resets(&self) -> u64 {
        let listed = self.router.run("nft list counter ip spread resets");
        let mut words = listed.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).expect("a counter with packets")
    }
}

impl FleetServer<'_> {
    /// Waits until the router has heard that it is there, or that it is not. Returns how long that took.
    pub fn expect(&self, there: bool) -> Duration {
        let begun = Instant::now();
        while self.fleet.leads_to(self.number) != there {
            assert!(
                begun.elapsed() < PATIENCE,
                "server {}: announced: {}\n{}\n{}\n{}",
                self.number,
                !there,
                self.watch.said(),
                self.bird.said(),
                self.responder.log()
            );
            thread::sleep(PAUSE);
        }
        begun.elapsed()
    }

    /// What `anycast watch` has said.
    pub fn said(&self) -> String {
        self.watch.said()
    }

    /// Runs a command of the program under test about its instance.
    ///
    /// # Errors
    /// Its messages, if it failed.
    pub fn ask(&self, command: &str) -> Result<String, String> {
        let output = std::process::Command::new(binary())
            .args([command, "--pid", &self.responder.pid().to_string()])
            .output()
            .expect("run the binary");
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Withdraws as a planned stop does, and stops when clients have followed.
    pub fn drain(mut self) {
        self.watch.end();
        assert!(!self.fleet.leads_to(self.number), "{}", self.watch.said());
        self.responder.stop();
    }
}

impl Process {
    fn start(
        namespace: &Netns,
        program: &str,
        log: PathBuf,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let output = File::create(&log).expect("create a log");
        let child = namespace
            .command(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(output.try_clone().expect("the log once more"))
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("start {program}: {error}"));
        Self { child, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM, and whatever it does then.
    fn end(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        let status = self.child.wait().expect("wait for it");
        assert!(status.success(), "{status}: {}", self.said());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server's own address, and the router's on that link.
fn own(number: usize) -> String {
    format!("10.53.{number}.2")
}

fn gateway(number: usize) -> String {
    format!("10.53.{number}.1")
}

/// The router's session with a server. Where packets are spread one by one, the server's routes are kept in a table of its
/// own besides.
fn session(router: &Netns, number: usize, spread: Spread) -> String {
    let own = own(number);
    let session = format!("protocol bgp server{number} from server {{ neighbor {own} as OWN_AS; }}\n");
    if spread == Spread::Flow {
        return session;
    }
    let table = 100 + number;
    router.run(&format!("ip rule add fwmark {table} lookup {table}"));
    format!(
        "{session}ipv4 table only{number};\n\
         protocol pipe {{ table master4; peer table only{number}; import none; export where from = {own}; }}\n\
         protocol kernel {{ kernel table {table}; ipv4 {{ table only{number}; import none; export all; }}; }}\n"
    )
}

/// Counts resets; and where packets are spread one by one, says by which table each goes. One whose table is empty goes as
/// all others do.
fn rules(servers: usize, spread: Spread) -> String {
    let mark = match spread {
        Spread::Flow => String::new(),
        Spread::Packet => {
            format!("ip daddr {SERVICE} meta mark set numgen random mod {servers} offset 100\n")
        }
    };
    format!(
        "table ip spread {{\ncounter resets {{ }}\nchain arriving {{\ntype filter hook prerouting priority mangle\n{mark}}}\n\
         chain passing {{\ntype filter hook forward priority filter\n\
         ip saddr {SERVICE} tcp flags & rst == rst counter name resets\n}}\n}}\n"
    )
}

/// A directory with a file under test and what it includes.
fn configure(place: &Path, file: &str, others: &[(&str, &str)]) {
    fs::create_dir_all(place).expect("a directory");
    fs::copy(Path::new(FILES).join(file), place.join(file)).expect("copy a file under test");
    for (name, content) in others {
        fs::write(place.join(name), content).expect("write what it includes");
    }
}

fn socket(place: &Path) -> String {
    place.join("bird.ctl").to_str().expect("a path in UTF-8").to_owned()
}

fn bird(namespace: &Netns, place: &Path, file: &str) -> Process {
    let configuration = place.join(file);
    let configuration = configuration.to_str().expect("a path in UTF-8");
    Process::start(
        namespace,
        "bird",
        place.join("bird.log"),
        &["-f", "-c", configuration, "-s", &socket(place)],
        &[],
    )
}

fn watch(namespace: &Netns, place: &Path, pid: Pid) -> Process {
    let script = Path::new(FILES).join("anycast");
    let check =
        format!("{} check --timeout 3000 --pid {pid} --name s1.load.example --type TXT", binary().display());
    let birdc = format!("birdc -s {}", socket(place));
    let environment = [("CHECK", check.as_str()), ("BIRDC", &birdc), ("DRAIN", "3")];
    Process::start(
        namespace,
        script.to_str().expect("a path in UTF-8"),
        place.join("watch.log"),
        &["watch"],
        &environment,
    )
}
