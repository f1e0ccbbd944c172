//! Client ⇄ router ⇄ server, where the router loses some of what it forwards.

use std::net::IpAddr;

use crate::netns::Netns;
use crate::topology::INTERFACE;

/// The server's address, beyond the router.
pub const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

/// Three namespaces in a row.
#[derive(Debug)]
pub struct Lossy {
    /// Where the questions come from.
    pub client: Netns,
    /// What loses.
    pub router: Netns,
    /// Where the responder runs, on [`INTERFACE`].
    pub server: Netns,
}

impl Lossy {
    /// The path, without loss.
    pub fn new() -> Self {
        let lossy =
            Self { client: Netns::new("near"), router: Netns::new("router"), server: Netns::new("far") };
        for (end, side, network) in [(&lossy.client, "near", "192.0.2"), (&lossy.server, "far", "198.51.100")]
        {
            end.run(&format!(
                "ip link add {INTERFACE} type veth peer name {side} netns {}",
                lossy.router.name()
            ));
            end.run(&format!("ip address add {network}.1/24 dev {INTERFACE}"));
            end.run(&format!("ip link set {INTERFACE} up"));
            lossy.router.run(&format!("ip address add {network}.254/24 dev {side}"));
            lossy.router.run(&format!("ip link set {side} up"));
            end.run(&format!("ip route add default via {network}.254"));
        }
        lossy.router.run("sysctl -qw net.ipv4.ip_forward=1");
        lossy
    }

    /// Loses `percent` of all TCP segments, each way, from now on.
    pub fn lose(&self, percent: u32) {
        self.router.run("nft add table inet path");
        self.router.run("nft add chain inet path forward { type filter hook forward priority 0 ; }");
        self.router.run(&format!(
            "nft add rule inet path forward meta l4proto tcp numgen random mod 100 < {percent} counter drop"
        ));
    }

    /// Segments lost so far.
    pub fn lost(&self) -> u64 {
        let rules = self.router.run("nft list chain inet path forward");
        let mut words = rules.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).expect("a counter in the rule")
    }
}

impl Default for Lossy {
    fn default() -> Self {
        Self::new()
    }
}
