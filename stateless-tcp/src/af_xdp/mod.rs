//! Rings, UMEM and the XDP program: the only room with unsafe code, and the only one that knows a NIC.
//!
//! | module | what it holds |
//! |---|---|
//! | [`interface`] | queues and attached programs of a network interface |
//! | [`link`] | what holds a program on an interface |
//! | [`existing_program`] | whoever has a program on an interface before us |
//! | [`load`] | the programs of the object |
//! | [`program`] | the XDP program: load, fill its maps, attach, count |
//! | [`umem`] | the frames of one queue, each a value that cannot be copied |
//! | [`socket`] | the four rings of one queue, and the account of where every frame is |
//! | [`busy_poll`] | who looks for frames: the card by interrupts, or a worker |
//! | [`test_run`] | what the attached program does with a frame, tried |
//! | [`inject_queue`] | how a frame of a trial comes to a worker |
//! | [`poller`] | how a worker without frames waits |
#![allow(unsafe_code, reason = "system calls and memory shared with the kernel")]

pub mod busy_poll;
pub mod existing_program;
pub mod inject_queue;
pub mod interface;
pub mod irq_deferral;
pub mod link;
pub mod load;
pub mod netlink;
pub mod poller;
pub mod program;
pub mod socket;
mod sockopt;
pub mod test_run;
pub mod umem;

use std::io;

/// Why XDP could not be set up: what was tried, on what, the kernel's reason, and what usually helps.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// No such interface.
    #[error("there is no network interface {0:?} in this network namespace; `ip link` lists them")]
    NoInterface(String),
    /// The kernel does not list its interfaces and addresses.
    #[error("cannot list the interfaces and addresses of this network namespace: {0}")]
    Network(io::Error),
    /// Somebody's XDP program is attached.
    #[error("{interface} has an XDP program already: {name} (id {id}, {mode} mode){steers}; {remedy}")]
    Occupied {
        /// Interface.
        interface: String,
        /// Program's name.
        name: String,
        /// Program's id.
        id: u32,
        /// How it is attached.
        mode: &'static str,
        /// What it steers, if it is ours.
        steers: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The object was refused.
    #[error("cannot load the XDP program: {reason}{}", privilege_hint(reason))]
    Load {
        /// The kernel's or the loader's words.
        reason: String,
    },
    /// The verifier refused a program.
    #[error(
        "the verifier of this kernel does not accept the XDP program {program}: {reason}; use a newer kernel"
    )]
    Verifier {
        /// Name of the program.
        program: &'static str,
        /// The verifier's words, and the kernel's.
        reason: String,
    },
    /// A map refused a change.
    #[error("cannot write map {map} of the XDP program: {reason}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// The kernel's words.
        reason: String,
    },
    /// The program could not be attached.
    #[error("cannot attach the XDP program to {interface} in {mode} mode: {reason}{hint}")]
    Attach {
        /// Interface.
        interface: String,
        /// Mode tried.
        mode: &'static str,
        /// The kernel's words.
        reason: String,
        /// What usually helps.
        hint: &'static str,
    },
    /// The program could not take another's place.
    #[error("cannot put the XDP program in the place of the one on {interface}: {reason}")]
    Handover {
        /// Interface.
        interface: String,
        /// The kernel's words.
        reason: io::Error,
    },
    /// Something took the program off while it was served.
    #[error(
        "the XDP program is not attached to {interface} any more: clients get what the kernel says; restart"
    )]
    Detached {
        /// Interface.
        interface: String,
    },
    /// The kernel did not run the program.
    #[error("queue {queue} of {interface}: the XDP program cannot be tried: {reason}; see `ip link`")]
    Trial {
        /// Interface.
        interface: String,
        /// RX queue.
        queue: u32,
        /// The kernel's words.
        reason: String,
    },
    /// What the program would send would not arrive.
    #[error("{interface} cannot answer in the driver: {reason}")]
    Handshake {
        /// Interface.
        interface: String,
        /// Why, and what helps.
        reason: String,
    },
    /// Busy polling is not to be had.
    #[error(
        "cannot set {what} of {interface} for --busy-poll: {reason}; it takes root or CAP_NET_ADMIN, and Linux 5.11"
    )]
    BusyPoll {
        /// Interface.
        interface: String,
        /// What was to be set.
        what: &'static str,
        /// The kernel's words.
        reason: io::Error,
    },
    /// Interrupts cannot be put off.
    #[error(
        "cannot set {what} of {interface} for --coalesce or --busy-poll: {reason}; it takes root or CAP_NET_ADMIN, \
         Linux 5.8, and a sysfs of this network namespace that can be written"
    )]
    Deferral {
        /// Interface.
        interface: String,
        /// What was to be set.
        what: &'static str,
        /// The kernel's reason.
        reason: std::io::Error,
    },
    /// The memory for frames could not be had.
    #[error(
        "cannot register {octets} octets of packet memory for queue {queue} of {interface}: {reason}{}; \
         without CAP_IPC_LOCK it takes a higher `ulimit -l`",
        privilege_hint(.reason)
    )]
    Memory {
        /// Interface.
        interface: String,
        /// RX queue.
        queue: u32,
        /// Size asked for.
        octets: usize,
        /// The kernel's words.
        reason: String,
    },
    /// The socket could not be bound.
    #[error("cannot bind an AF_XDP socket to queue {queue} of {interface} ({mode}): {reason}{hint}")]
    Bind {
        /// Interface.
        interface: String,
        /// RX queue.
        queue: u32,
        /// Copy mode tried.
        mode: &'static str,
        /// The kernel's words.
        reason: io::Error,
        /// What usually helps.
        hint: &'static str,
    },
    /// A system call on a running socket failed.
    #[error("{call} on queue {queue} of {interface}: {reason}")]
    Running {
        /// System call.
        call: &'static str,
        /// Interface.
        interface: String,
        /// RX queue.
        queue: u32,
        /// The kernel's words.
        reason: io::Error,
    },
}

fn privilege_hint(reason: &str) -> &'static str {
    if reason.contains("not permitted") || reason.contains("ermission") {
        "; run as root, or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"
    } else {
        ""
    }
}
