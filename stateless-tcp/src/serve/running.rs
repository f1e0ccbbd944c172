//! The running parts of the service, as its supervisor sees them.

use super::link_status::LinkStatus;
use crate::af_xdp::interface::AttachMode;
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::CopyMode;
use crate::dataplane::worker::Shared;
use crate::system::handshake::HandshakeChoice;
use std::sync::Arc;
use std::time::SystemTime;

/// An XDP program, and the modes in which its interface is served.
pub(super) struct AttachedProgram {
    pub(super) program: Program,
    pub(super) mode: AttachMode,
    pub(super) copy: CopyMode,
    /// The place where handshakes are answered.
    pub(super) handshake: HandshakeChoice,
    /// The interface as it was seen last.
    pub(super) link: LinkStatus,
}

/// A worker.
pub(super) struct WorkerHandle {
    /// The name of its interface.
    pub(super) interface: String,
    pub(super) queue: u32,
    pub(super) shared: Arc<Shared>,
}

/// The generations that are served, for a snapshot.
pub(super) struct ContentStatus {
    /// Number of the content for new connections.
    pub(super) generation: u8,
    pub(super) load_times: LoadTimes,
    /// Number of earlier generations that are retained.
    pub(super) retained: usize,
}

/// Load times of the active content and keys.
#[derive(Clone, Copy)]
pub(super) struct LoadTimes {
    /// The time when the content for new connections was loaded.
    pub(super) content: SystemTime,
    /// The time when the key file was written, or the random key was made.
    pub(super) key: SystemTime,
}
