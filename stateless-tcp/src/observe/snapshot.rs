//! Everything that can be read off at one moment.
//!
//! What it is made of is read one after another while everything goes on: sums over it may be off by what happened meanwhile.

use super::histogram::Distribution;
use serde::{Deserialize, Serialize};
use stateless_tcp_core::steering::SteeringReason;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

/// A name, written here or read from elsewhere.
pub type Name = Cow<'static, str>;

/// What is counted, by name.
pub type Counts = Vec<(Name, u64)>;

/// The state of a whole process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// When this was so, in seconds since 1970, as all times here.
    pub time: f64,
    /// When the process began to serve.
    pub started: f64,
    /// The generation of content that new connections get.
    pub generation: u8,
    /// When that came into force.
    pub generation_since: f64,
    /// Generations before it that are still served to connections that began with them.
    #[serde(default)]
    pub former_generations: u64,
    /// When the key file was last written that the key comes from; of a random key, when it was made.
    pub key_since: f64,
    /// By interface.
    pub interfaces: Vec<Interface>,
    /// By receive queue.
    pub queues: Vec<Queue>,
    /// By relay.
    pub relays: Vec<Relay>,
    /// The zones that are configured, if any are.
    #[serde(default)]
    pub zones: Option<Zones>,
    /// What became of what was told by dnstap, if it is to be.
    pub dnstap: Option<Dnstap>,
}

/// What became of zones when they were loaded last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zones {
    /// Served as their files have them.
    pub current: u64,
    /// Served as they were before, as their files cannot be loaded any more.
    pub older: u64,
    /// Answered with SERVFAIL, as their files cannot be loaded.
    pub broken: u64,
    /// Not known by name, as their files cannot be loaded.
    pub unknown: u64,
    /// Names in all of them.
    pub names: u64,
    /// Bytes of memory that they take.
    pub memory: u64,
}

/// What became of questions and answers that a dnstap reader was to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dnstap {
    /// Somebody reads.
    pub connected: bool,
    /// Questions, with their answers, that were written.
    pub written: u64,
    /// The same that the reader was too slow for, or that were under way when it went.
    pub lost: u64,
}

/// What the XDP program of an interface did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: Name,
    /// `native` or `generic`.
    pub xdp_mode: Name,
    /// `zero-copy` or `copy`.
    pub copy: Name,
    /// Where the handshake is answered: `driver` or `ring`.
    pub handshake: Name,
    /// Frames by where they went.
    pub steered: Counts,
    /// What it answered by itself, by rule.
    pub answered: Counts,
    /// What it dropped by itself, by reason.
    pub refused: Counts,
    /// Of both, frames with a partial checksum.
    pub partial_checksums: u64,
}

/// What the worker of a queue did, and how it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Its interface.
    pub interface: Name,
    /// Its number there.
    pub queue: u32,
    /// What passed.
    pub traffic: Counts,
    /// Segments by the rule that answered them.
    pub answered: Counts,
    /// Segments by the reason for which they were not.
    pub refused: Counts,
    /// From when a frame was taken from the RX ring until what answers it was in the TX ring, by batch, for each frame.
    pub duration: Distribution,
    /// Frames by where they are. Empty before the worker has first reported.
    pub frames: Counts,
    /// What happened to the socket in the kernel.
    pub socket: Counts,
    /// How full its tables are.
    pub tables: Vec<Occupancy>,
}

/// What a relay did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relay {
    /// `dns` or `http`.
    pub service: Name,
    /// What is counted for all queues together.
    pub counts: Counts,
    /// What is counted for each queue, in the order of [`Snapshot::queues`].
    pub by_queue: Vec<Counts>,
    /// How full what all queues share is.
    pub tables: Vec<Occupancy>,
    /// The same of what each queue has.
    pub tables_by_queue: Vec<Vec<Occupancy>>,
    /// Who is asked.
    pub back_ends: Vec<BackEnd>,
}

/// A server that is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackEnd {
    /// Where it listens.
    pub address: String,
    /// It is not taken for dead.
    pub up: bool,
    /// From a question to its answer.
    pub duration: Distribution,
}

/// How full a table of fixed size is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Occupancy {
    /// Its name.
    pub table: Name,
    /// What is measured.
    pub unit: Unit,
    /// In use.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

/// What the size of a table is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Entries.
    Entries,
    /// Octets.
    Octets,
}

impl Occupancy {
    /// A table with so many entries of at most `limit`.
    #[must_use]
    pub fn entries(table: &'static str, used: usize, limit: usize) -> Self {
        Self { table: Name::Borrowed(table), unit: Unit::Entries, used: used as u64, limit: limit as u64 }
    }

    /// A store with so many octets of at most `limit`.
    #[must_use]
    pub fn octets(table: &'static str, used: u64, limit: u64) -> Self {
        Self { table: Name::Borrowed(table), unit: Unit::Octets, used, limit }
    }
}

/// What [`Interface::steered`] calls a reason.
#[must_use]
pub fn name_of(reason: SteeringReason) -> &'static str {
    reason.name().trim_start_matches("xdp_")
}

/// Seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
