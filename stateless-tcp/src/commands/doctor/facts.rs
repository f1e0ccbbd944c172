//! The facts that the doctor judges.

use crate::config::{HandshakeMode, ServicePort, XdpMode, ZeroCopy};
use crate::system::Observed;
use crate::system::link::LinkFacts;
use crate::system::proc::SocketFacts;

/// All facts.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) interface: String,
    /// The arguments of the command line, which are also those of `run`.
    pub(super) arguments: Vec<String>,
    /// The ports that would be served.
    pub(super) ports: Vec<ServicePort>,
    /// The value of `--xdp-mode`.
    pub(super) xdp_mode: XdpMode,
    /// The value of `--zero-copy`.
    pub(super) zero_copy: ZeroCopy,
    /// The value of `--handshake`.
    pub(super) handshake: HandshakeMode,
    /// The value of `--queues`.
    pub(super) queues: Option<Vec<u32>>,
    /// The names of all interfaces of this network namespace.
    pub(super) interfaces: Vec<String>,
    /// The interface; `None` if it does not exist.
    pub(super) link: Option<LinkFacts>,
    pub(super) system: SystemFacts,
    /// TCP sockets of this network namespace.
    pub(super) sockets: Observed<Vec<SocketFacts>>,
    pub(super) firewall: Firewall,
}

/// Facts of the machine and this process.
#[derive(Clone, Debug)]
pub(super) struct SystemFacts {
    pub(super) release: String,
    /// Kernel version; `None` if the release has none.
    pub(super) version: Option<(u32, u32)>,
    pub(super) xdp_sockets: Observed<bool>,
    pub(super) jit: Observed<bool>,
    pub(super) btf: bool,
    /// The effective capabilities, a bit each.
    pub(super) capabilities: Observed<u64>,
    /// The kernel has Landlock, which confines file access.
    pub(super) landlock: bool,
    /// The kernel has seccomp, which confines system calls.
    pub(super) seccomp: bool,
    /// Running instances.
    pub(super) instances: Vec<InstanceFacts>,
    /// The limit of locked memory; `None` if there is none.
    pub(super) memlock: Observed<Option<u64>>,
    /// CPUs of this process.
    pub(super) cpus: Observed<String>,
    pub(super) cpu_count: usize,
}

/// The privileges of a running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstanceFacts {
    pub(super) pid: u32,
    pub(super) user: String,
    /// The permitted capabilities, in hexadecimal digits.
    pub(super) capabilities: String,
    pub(super) no_new_privs: bool,
    pub(super) seccomp: bool,
}

/// Packet filters of the kernel.
#[derive(Clone, Debug)]
pub(super) struct Firewall {
    /// Tables of nftables, and the number of rules in each.
    pub(super) nftables: Observed<Vec<(String, usize)>>,
    /// Tables of iptables.
    pub(super) iptables: Observed<Vec<String>>,
    /// Number of tracked connections; `None` without connection tracking.
    pub(super) conntrack: Option<u64>,
}
