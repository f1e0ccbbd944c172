//! Snapshots of the running process.
//!
//! The parts of a snapshot are read one after another while the process works: sums over them may be slightly off.

use super::histogram::Distribution;
use serde::{Deserialize, Serialize};
use stateless_tcp_core::steering::SteeringReason;
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

/// A name of a counter, interface or table.
pub type Label = Cow<'static, str>;

/// Counts by name.
pub type NamedCounts = Vec<(Label, u64)>;

/// The state of a whole process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Time of the snapshot, in seconds since 1970 as all times here.
    pub time: f64,
    /// Time when the process began to serve.
    pub started: f64,
    /// Generation number of the content for new connections.
    pub generation: u8,
    /// Time when that content was activated.
    pub generation_since: f64,
    /// Number of earlier generations, which are served to connections that began with them.
    #[serde(default)]
    pub former_generations: u64,
    /// Time when the key file was last written, or the random key was made.
    pub key_since: f64,
    /// By interface.
    pub interfaces: Vec<InterfaceSnapshot>,
    /// By receive queue.
    pub queues: Vec<QueueSnapshot>,
    /// By relay.
    pub relays: Vec<RelaySnapshot>,
    /// The configured zones, if there are any.
    #[serde(default)]
    pub zones: Option<ZonesSnapshot>,
    /// The dnstap output, if it is configured.
    pub dnstap: Option<DnstapSnapshot>,
}

/// Results of the last loading of zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZonesSnapshot {
    /// Zones that are served as their files are.
    pub current: u64,
    /// Zones that are served as before, as their files cannot be loaded any more.
    pub older: u64,
    /// Zones that are answered with SERVFAIL, as their files cannot be loaded.
    pub broken: u64,
    /// Zones with unknown names, as their files cannot be loaded.
    pub unknown: u64,
    /// Number of names in all zones.
    pub names: u64,
    /// Memory of all zones, in bytes.
    pub memory: u64,
}

/// The dnstap output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnstapSnapshot {
    /// A reader is connected.
    pub connected: bool,
    /// Queries, with their responses, that were written.
    pub written: u64,
    /// Queries, with their responses, that were lost: the reader was too slow, or closed the connection.
    pub lost: u64,
}

/// The XDP program of an interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceSnapshot {
    /// The name of the interface.
    pub name: Label,
    /// `up`, `no carrier`, `down`, or `gone`: deleted, or moved to another network namespace.
    #[serde(default = "up")]
    pub condition: Label,
    /// `native` or `generic`.
    pub xdp_mode: Label,
    /// `zero-copy` or `copy`.
    pub copy: Label,
    /// The place where handshakes are answered: `driver` or `ring`.
    pub handshake: Label,
    /// The reason for that place, in a few words. Empty from an earlier version.
    #[serde(default)]
    pub handshake_reason: Label,
    /// Frames by the reason of their steering.
    pub steered: NamedCounts,
    /// Segments that the program answered, by rule.
    pub answered: NamedCounts,
    /// Segments that the program dropped, by reason.
    pub refused: NamedCounts,
    /// Segments of both with a partial checksum.
    pub partial_checksums: u64,
}

/// The worker of a queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// The name of the interface.
    pub interface: Label,
    /// The number of the queue.
    pub queue: u32,
    /// Frames, segments and messages.
    pub traffic: NamedCounts,
    /// Segments by the rule that answered them.
    pub answered: NamedCounts,
    /// Segments by the reason of their refusal.
    pub refused: NamedCounts,
    /// Time from taking a frame off the RX ring until its answer is in the TX ring, measured by batch, for each frame.
    pub duration: Distribution,
    /// Frames by place. Empty before the worker's first report.
    pub frames: NamedCounts,
    /// The kernel's counters of the socket.
    pub socket: NamedCounts,
    /// Occupancy of its tables.
    pub tables: Vec<Occupancy>,
}

/// A relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelaySnapshot {
    /// `dns` or `http`.
    pub service: Label,
    /// Counters of all queues together.
    pub counts: NamedCounts,
    /// Counters of each queue, in the order of [`Snapshot::queues`].
    pub by_queue: Vec<NamedCounts>,
    /// Occupancy of the tables that all queues share.
    pub tables: Vec<Occupancy>,
    /// Occupancy of the tables of each queue.
    pub tables_by_queue: Vec<Vec<Occupancy>>,
    /// Its upstreams.
    #[serde(rename = "back_ends")]
    pub upstreams: Vec<UpstreamSnapshot>,
}

/// An upstream of a relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamSnapshot {
    /// Its address and port.
    pub address: String,
    /// It is considered alive.
    pub up: bool,
    /// Time from a query to its response.
    pub duration: Distribution,
}

/// The occupancy of a table of fixed size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Occupancy {
    /// The name of the table.
    pub table: Label,
    /// The unit of the numbers.
    pub unit: Unit,
    /// Amount in use.
    pub used: u64,
    /// Capacity.
    pub limit: u64,
}

/// The unit of a table's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Entries.
    Entries,
    /// Bytes.
    #[serde(rename = "Octets")]
    Bytes,
}

impl Occupancy {
    /// A table with `used` entries of at most `limit`.
    #[must_use]
    pub fn entries(table: &'static str, used: usize, limit: usize) -> Self {
        Self { table: Label::Borrowed(table), unit: Unit::Entries, used: used as u64, limit: limit as u64 }
    }

    /// A store with `used` bytes of at most `limit`.
    #[must_use]
    pub fn bytes(table: &'static str, used: u64, limit: u64) -> Self {
        Self { table: Label::Borrowed(table), unit: Unit::Bytes, used, limit }
    }
}

/// The condition of an interface, where the process does not tell: it is older than that.
fn up() -> Label {
    Label::Borrowed("up")
}

/// The name of a reason in [`InterfaceSnapshot::steered`].
#[must_use]
pub fn steering_label(reason: SteeringReason) -> &'static str {
    reason.name().trim_start_matches("xdp_")
}

/// Seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
