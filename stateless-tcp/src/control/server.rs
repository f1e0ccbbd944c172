//! The server's end of the control socket.

use super::check::{CheckTargets, run_check};
use super::handover::{self, HandoverService};
use super::stream::{self, TapSource};
use super::{CHECK, CommandResult, DIRECTORY, HANDOVER, RELOAD, TOP, TRACE, reply, socket_path};
use crate::observe::exporter::SnapshotRequest;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Largest command, in bytes.
const MAX_COMMAND: u64 = 4_096;

/// Time limit for a client to send its command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// The sender for the result of a reload.
pub type ReloadRequest = oneshot::Sender<CommandResult>;

/// The parts of the running instance that commands work on.
#[derive(Clone, Debug)]
pub struct ControlHandles {
    /// Requests for a reload.
    pub reloads: mpsc::UnboundedSender<ReloadRequest>,
    /// Requests for a snapshot.
    pub snapshots: mpsc::UnboundedSender<SnapshotRequest>,
    /// The taps of all workers.
    pub sources: Arc<[TapSource]>,
    /// Takeovers by another process.
    pub handover: HandoverService,
    /// Targets of health checks.
    pub targets: CheckTargets,
}

/// The control socket of this process. Dropping it removes the socket.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    socket: UnixListener,
}

impl ControlSocket {
    /// Creates the socket.
    ///
    /// # Errors
    /// The directory or the socket cannot be created.
    pub fn bind() -> io::Result<Self> {
        Self::bind_in(Path::new(DIRECTORY))
    }

    pub(super) fn bind_in(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = socket_path(directory, std::process::id());
        // A killed process with the same ID may have left its socket.
        let _ = fs::remove_file(&path);
        let this = Self { socket: UnixListener::bind(&path)?, path };
        fs::set_permissions(&this.path, Permissions::from_mode(0o600))?;
        Ok(this)
    }

    /// Accepts clients on a thread of its own, and serves each on another.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn listen(&self, handles: ControlHandles) -> io::Result<()> {
        let socket = self.socket.try_clone()?;
        let listen = move || {
            for stream in socket.incoming() {
                let Ok(stream) = stream else {
                    // The process is out of file descriptors.
                    std::thread::sleep(ACCEPT_RETRY);
                    continue;
                };
                let handles = handles.clone();
                // Without a thread the connection closes. Only the user of this process can open so many.
                let _ = thread("caller", move || {
                    if let Err(error) = serve(&stream, &handles) {
                        tracing::debug!("control socket: {error}");
                    }
                });
            }
        };
        thread("control", listen)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn serve(stream: &UnixStream, handles: &ControlHandles) -> io::Result<()> {
    stream.set_read_timeout(Some(COMMAND_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_COMMAND)).read_line(&mut line)?;
    let line = line.trim_end();
    if line == RELOAD {
        let (sender, receiver) = oneshot::channel();
        let result = handles.reloads.send(sender).ok().and_then(|()| receiver.blocking_recv().ok());
        return reply(stream, &result.unwrap_or_else(|| Err("the process is ending".to_owned())));
    }
    if line == TOP {
        return stream::send_snapshots(stream, &handles.snapshots);
    }
    if let Some(request) = line.strip_prefix(HANDOVER) {
        return match serde_json::from_str(request) {
            Ok(request) => handover::serve(stream, &request, &handles.handover),
            Err(error) => reply(stream, &Err(format!("invalid takeover request: {error}"))),
        };
    }
    if let Some(request) = line.strip_prefix(CHECK) {
        let request =
            serde_json::from_str(request).map_err(|error| format!("invalid check request: {error}"));
        return reply(stream, &request.and_then(|request| run_check(&request, &handles.targets)));
    }
    match line.strip_prefix(TRACE).map(serde_json::from_str) {
        Some(Ok(request)) => stream::send_frames(stream, request, &handles.sources),
        Some(Err(error)) => reply(stream, &Err(format!("invalid trace request: {error}"))),
        None => reply(stream, &Err(format!("{line:?} is not a command"))),
    }
}
