//! Client ⇄ router ⇄ servers, where the router loses, repeats and delays what it forwards, and may send each packet to
//! another server.
//!
//! nftables decides what becomes of a packet. A packet that is to be late, or late and twice, takes a way of its own: out at
//! `slow`, through a [`DelayLink`] that holds it for a while, and back in.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::delay_link::DelayLink;
use crate::netns::Netns;
use crate::responder::in_driver;
use crate::seed::Random;
use crate::topology::INTERFACE;
use crate::veth_xdp_peer::VethXdpPeer;

/// The servers' address, all of them the same.
pub const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
/// Their DNS address and port.
pub const DNS: SocketAddr = SocketAddr::new(SERVER, 53);
/// Their HTTP address and port.
pub const HTTP: SocketAddr = SocketAddr::new(SERVER, 80);

/// The longest that a packet is held back, in milliseconds: many times what the path takes otherwise.
const LONGEST_HOLD: usize = 20;

/// The path, and what stands at its ends.
#[derive(Debug)]
pub struct LossyNetwork {
    // First, as it is to end before the interface that it listens at.
    delay_link: Option<DelayLink>,
    /// The namespace of the clients.
    pub client: Netns,
    /// The router, which loses, repeats and delays.
    pub router: Netns,
    /// The servers' namespaces, each on its own [`INTERFACE`].
    pub servers: Vec<Netns>,
    beyond: Netns,
    /// Programs for a handshake that is answered in the driver.
    _xdp_peers: Vec<VethXdpPeer>,
}

/// The faults of a path, in a hundred TCP packets each way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Lost.
    pub lost: u32,
    /// Delivered, and once more later.
    pub repeated: u32,
    /// Overtaken by those behind them.
    pub delayed: u32,
}

impl Trouble {
    /// So much loss, and some of everything else.
    pub fn with_loss(lost: u32) -> Self {
        Self { lost, repeated: 3, delayed: 5 }
    }
}

impl LossyNetwork {
    /// The path to so many servers, without any trouble. With several, packets go to the first.
    pub fn new(servers: usize) -> Self {
        let (client, router, beyond) = (Netns::new("near"), Netns::new("router"), Netns::new("line"));
        router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
        let link = |end: &Netns, side: &str, mac: &str| {
            end.run(&format!(
                "ip link add {INTERFACE} address {mac} type veth peer name {side} netns {}",
                router.name()
            ));
            // Real checksums: what is sent on from a packet socket keeps those that it came with.
            end.run(&format!("ethtool -K {INTERFACE} tx off"));
            end.run(&format!("ip link set {INTERFACE} up"));
            router.run(&format!("ip link set {side} up"));
        };
        link(&client, "near", "02:00:00:00:00:02");
        client.run(&format!("ip address add 192.0.2.1/24 dev {INTERFACE}"));
        client.run("ip route add default via 192.0.2.254");
        router.run("ip address add 192.0.2.254/24 dev near");
        link(&beyond, "slow", "02:00:00:00:02:01");
        router.run("ip address add 203.0.113.1/24 dev slow");
        router.run("ip neighbour add 203.0.113.2 lladdr 02:00:00:00:02:01 dev slow nud permanent");
        router.run("ip rule add fwmark 99 lookup 99");
        router.run("ip route add default via 203.0.113.2 table 99");
        let (mut ends, mut xdp_peers) = (Vec::new(), Vec::new());
        for index in 0..servers {
            let (end, side) = (Netns::new("far"), format!("far{index}"));
            let mac = format!("02:00:00:00:01:{index:02x}");
            link(&end, &side, &mac);
            if in_driver() {
                xdp_peers.push(VethXdpPeer::attach(&router, &side));
            }
            end.run(&format!("ip address add {SERVER}/24 dev {INTERFACE}"));
            end.run("ip route add default via 198.51.100.254");
            router.run(&format!("ip address add 198.51.{}.254/24 dev {side}", 100 + index));
            router.run(&format!("ip neighbour add {SERVER} lladdr {mac} dev {side} nud permanent"));
            router.run(&format!("ip rule add fwmark {} lookup {}", 100 + index, 100 + index));
            router.run(&format!("ip route add {SERVER} dev {side} table {}", 100 + index));
            ends.push(end);
        }
        Self { client, router, servers: ends, delay_link: None, beyond, _xdp_peers: xdp_peers }
    }

    /// Makes the client's timers short, so that what it takes minutes to recover takes seconds. Nothing about the rules
    /// depends on how long they are; how long they are is a full run's business.
    pub fn hasten(&self) {
        self.client.run(
            "sysctl -qw net.ipv4.tcp_rto_min_us=20000 net.ipv4.tcp_rto_max_ms=1000 net.ipv4.tcp_retries2=120 \
             net.ipv4.tcp_syn_retries=20",
        );
    }

    /// Has the client go on for as long as it takes. Linux doubles its timer until a segment is acknowledged as a whole, so who
    /// asks for many long answers in one segment waits two minutes for each that loses something in the end, and gives
    /// up after a quarter of an hour. What is to be seen is whether it would get them.
    pub fn persevere(&self) {
        self.client.run(
            "sysctl -qw net.ipv4.tcp_rto_max_ms=8000 net.ipv4.tcp_retries2=100 net.ipv4.tcp_syn_retries=20",
        );
    }

    /// From now on, TCP packets meet with `trouble`; and if there are several servers, each packet goes to any of them.
    pub fn disturb(&mut self, trouble: Trouble) {
        let mut random = Random::new("holding packets back");
        self.delay_link.get_or_insert_with(|| {
            DelayLink::start(&self.beyond, INTERFACE, move |_| {
                Duration::from_millis(random.below(LONGEST_HOLD).try_into().expect("milliseconds"))
            })
        });
        let chance = |percent: u32| format!("iifname != slow numgen random mod 100 < {percent}");
        let mut rules = String::new();
        let Trouble { lost, repeated, delayed } = trouble;
        writeln!(rules, "{} counter name lost drop", chance(lost)).expect("into a string");
        writeln!(rules, "{} counter name repeated dup to 203.0.113.2 device slow", chance(repeated))
            .expect("into a string");
        writeln!(rules, "{} counter name delayed meta mark set 99 accept", chance(delayed))
            .expect("into a string");
        let servers = self.servers.len();
        if servers > 1 {
            writeln!(rules, "ip daddr {SERVER} meta mark set numgen random mod {servers} offset 100")
                .expect("into a string");
        }
        self.filter(&rules);
    }

    /// Sends every TCP packet through `box_in_the_middle` from now on, which may change it.
    pub fn interpose(&mut self, mut box_in_the_middle: impl FnMut(&mut Vec<u8>) + Send + 'static) {
        self.delay_link = Some(DelayLink::start(&self.beyond, INTERFACE, move |frame| {
            box_in_the_middle(frame);
            Duration::ZERO
        }));
        self.filter("iifname != slow meta mark set 99");
    }

    /// Replaces what the router does with each TCP packet when it arrives.
    pub fn filter(&self, rules: &str) {
        let mut text = "table ip path\ndelete table ip path\ntable ip path {\n".to_owned();
        for counter in ["lost", "repeated", "delayed"] {
            writeln!(text, "counter {counter} {{ }}").expect("into a string");
        }
        text.push_str("chain arriving {\ntype filter hook prerouting priority mangle\n");
        for rule in rules.lines().filter(|rule| !rule.trim().is_empty()) {
            writeln!(text, "meta l4proto tcp {}", rule.trim()).expect("into a string");
        }
        text.push_str("}\n}\n");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), &text).expect("write the rules");
        self.router.run(&format!("nft -f {}", file.path().display()));
    }

    /// How many packets were `lost`, `repeated` or `delayed` since the trouble began.
    pub fn counted(&self, what: &str) -> u64 {
        let listed = self.router.run(&format!("nft list counter ip path {what}"));
        let mut words = listed.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).expect("a counter with packets")
    }
}
