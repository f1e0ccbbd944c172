//! What the doctor saw. No opinion here: see [`judge`](super::judge).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Something looked for; the error says why it could not be seen.
pub(super) type Seen<T> = Result<T, String>;

/// All that was seen.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) interface: String,
    /// The ports that would be served: DNS, HTTP.
    pub(super) ports: [u16; 2],
    /// What `--queues` asked for.
    pub(super) queues: Option<Vec<u32>>,
    /// Every interface of this namespace.
    pub(super) interfaces: Vec<String>,
    /// `None`: there is no such interface.
    pub(super) link: Option<Link>,
    pub(super) system: System,
    /// TCP sockets of this namespace.
    pub(super) sockets: Seen<Vec<Socket>>,
    pub(super) firewall: Firewall,
}

/// A network interface.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) loopback: bool,
    pub(super) mtu: u32,
    /// What makes it: a kind of virtual link, or a driver.
    pub(super) driver: Option<String>,
    /// `None`: a virtual one.
    pub(super) bus: Option<String>,
    /// The bridge, bond or team that takes its frames.
    pub(super) master: Option<String>,
    /// VLAN devices on top of it.
    pub(super) vlans: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    /// Receive queues, ascending.
    pub(super) rx_queues: Seen<Vec<u32>>,
    pub(super) tx_queues: Seen<usize>,
    /// Offloads that are on, by the names of `ethtool -k`.
    pub(super) offloads: Seen<BTreeSet<String>>,
    /// What the driver says of XDP.
    pub(super) xdp_features: Seen<u64>,
    pub(super) programs: Vec<Program>,
    pub(super) peer: Peer,
}

/// The other end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It is no veth.
    None,
    /// In a namespace that cannot be seen from here.
    Elsewhere,
    Here {
        name: String,
        /// It leaves TCP checksums to be filled in by hardware that it has not.
        leaves_checksums: bool,
        /// It takes what an XDP program on this end sends: it has a program itself.
        takes_frames: bool,
    },
}

/// An XDP program that is attached.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) id: u32,
    /// native, generic or hardware.
    pub(super) mode: &'static str,
    pub(super) name: Seen<String>,
    /// Who holds it by a BPF link, as far as that can be seen.
    pub(super) holder: Seen<Option<String>>,
}

/// The machine and this process.
#[derive(Clone, Debug)]
pub(super) struct System {
    pub(super) release: String,
    /// `None`: not understood.
    pub(super) version: Option<(u32, u32)>,
    pub(super) xdp_sockets: Seen<bool>,
    pub(super) jit: Seen<bool>,
    pub(super) btf: bool,
    /// The effective set, a bit each.
    pub(super) capabilities: Seen<u64>,
    /// The kernel can confine files (Landlock), system calls (seccomp).
    pub(super) landlock: bool,
    pub(super) seccomp: bool,
    /// Instances that run, and whether they hold capabilities or may gain some, and make any system call.
    pub(super) instances: Vec<Instance>,
    /// `None`: unlimited.
    pub(super) memlock: Seen<Option<u64>>,
    /// CPUs that this process may run on.
    pub(super) cpus: Seen<String>,
    pub(super) cpu_count: usize,
}

/// A process of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) pid: u32,
    pub(super) user: String,
    /// The permitted set, in hexadecimal digits.
    pub(super) capabilities: String,
    pub(super) no_new_privs: bool,
    pub(super) seccomp: bool,
}

/// A TCP socket of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    pub(super) listening: bool,
}

/// What filters packets that the kernel sees.
#[derive(Clone, Debug)]
pub(super) struct Firewall {
    /// nftables' tables that hold rules, and how many.
    pub(super) nftables: Seen<Vec<(String, usize)>>,
    /// Tables of the old iptables.
    pub(super) iptables: Seen<Vec<String>>,
    /// Connections tracked; `None`: no connection tracking.
    pub(super) conntrack: Option<u64>,
}
