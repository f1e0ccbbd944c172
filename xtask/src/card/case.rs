//! The cases: which server on which card under which load.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A server, and for this program also the part of it that answers the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Server {
    /// This program, handshake by the workers
    Ring,
    /// This program, handshake in the XDP program
    Driver,
    /// This program as it comes
    Auto,
    /// Knot DNS in XDP mode
    Knot,
    /// NSD on the kernel's TCP
    Nsd,
}

/// A network card that QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Nic {
    Igb,
    VirtioNet,
}

/// The way of a frame from the card to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Frames {
    /// The card writes into the server's memory
    ZeroCopy,
    /// The kernel copies each frame into the server's memory
    Copied,
    /// Through the kernel's own network stack
    Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// One virtual machine: it serves all loads in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) server: Server,
    pub(crate) nic: Nic,
    pub(crate) frames: Frames,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) transport: Transport,
    /// Questions a connection, one after the other; 1 over UDP.
    pub(crate) questions: u32,
    /// Connections, over UDP questions, that are under way at a time.
    pub(crate) in_flight: u32,
}

impl Server {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Server::Ring | Server::Driver | Server::Auto)
    }

    /// Whether it answers over UDP. This program leaves UDP to the kernel.
    pub(crate) fn answers(self, transport: Transport) -> bool {
        transport == Transport::Tcp || !self.is_ours()
    }
}

impl Setup {
    /// Every setup of `servers`, `nics` and `frames` that there is, and those that cannot be, with the reason.
    pub(crate) fn all(
        servers: &[Server],
        nics: &[Nic],
        frames: &[Frames],
    ) -> (Vec<Self>, Vec<(Self, &'static str)>) {
        let (mut possible, mut impossible) = (Vec::new(), Vec::new());
        for &nic in nics {
            for &server in servers {
                for &frames in frames {
                    let setup = Self { server, nic, frames };
                    match setup.obstacle() {
                        None if (server == Server::Nsd) == (frames == Frames::Kernel) => possible.push(setup),
                        None => {}
                        Some(reason) => impossible.push((setup, reason)),
                    }
                }
            }
        }
        (possible, impossible)
    }

    fn obstacle(self) -> Option<&'static str> {
        match (self.server, self.nic, self.frames) {
            (Server::Knot, Nic::Igb, Frames::Copied) => {
                Some("Knot DNS takes frames without a copy wherever the driver can, and has no option")
            }
            (Server::Driver, Nic::VirtioNet, Frames::ZeroCopy) => {
                Some("with zero-copy, virtio_net drops what an XDP program sends")
            }
            _ => None,
        }
    }
}

impl Setup {
    /// Its words as part of a file's name.
    pub(super) fn file_name(self) -> String {
        self.to_string().replace(", ", "-")
    }
}

impl Load {
    /// The loads of these dimensions.
    pub(crate) fn all(transports: &[Transport], questions: &[u32], in_flight: &[u32]) -> Vec<Self> {
        let of = |transport, questions: &[u32]| -> Vec<Self> {
            let one = |questions: &u32| {
                let questions = *questions;
                in_flight.iter().map(move |&in_flight| Self { transport, questions, in_flight })
            };
            questions.iter().flat_map(one).collect()
        };
        transports
            .iter()
            .flat_map(|&transport| match transport {
                Transport::Tcp => of(transport, questions),
                Transport::Udp => of(transport, &[1]),
            })
            .collect()
    }

    /// Connections to make: so many that the first and the last ones, which have fewer beside them, do not count.
    pub(crate) fn connections(self) -> u32 {
        let questions = if self.in_flight == 1 { 1_500 } else { 6_000 + 16 * self.in_flight };
        // Later questions of a connection are cheaper, and take more of them.
        if self.questions == 1 { questions } else { (2 * questions / self.questions).max(4 * self.in_flight) }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, nic, frames } = self;
        write!(formatter, "{}, {}, {}", word(server), word(nic), word(frames))
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, questions, in_flight } = self;
        match transport {
            Transport::Tcp if *questions == 1 => write!(formatter, "TCP, 1 question, ")?,
            Transport::Tcp => write!(formatter, "TCP, {questions} questions, ")?,
            Transport::Udp => write!(formatter, "UDP, ")?,
        }
        write!(formatter, "{in_flight} in flight")
    }
}

/// The value's name on the command line.
pub(crate) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
