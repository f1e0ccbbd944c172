//! The dnstap output: DNS queries and responses, written to the UNIX socket of a reader.
//!
//! A thread connects, and again after the reader has closed the connection. Workers copy transactions only while it is
//! connected. Transactions that it cannot write in time find no room in the rings ([`ring`](super::ring)), and count as lost.

mod frame_streams;
mod schema;

use self::frame_streams::{ControlFrame, append};
use self::schema::DnstapEvent;
use super::snapshot;
use super::tap::{TapListener, TapRegistry};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const CONTENT_TYPE: Option<&[u8]> = Some(b"protobuf:dnstap.Dnstap");

/// Pause before the next attempt to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Time limit for the reader to answer a control frame.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval in milliseconds at which empty rings are read again, and a blocked write checks for the stop flag.
const POLL_INTERVAL: u16 = 10;

/// Time limit for the last writes.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that are collected before a write.
const BUFFER: usize = 1 << 16;

/// The output of a process. Dropping it does not end it; [`DnstapOutput::end`] does.
#[derive(Debug)]
pub struct DnstapOutput {
    status: Arc<OutputStatus>,
    ended: mpsc::Receiver<()>,
}

#[derive(Debug, Default)]
struct OutputStatus {
    stop: AtomicBool,
    connected: AtomicBool,
    written: AtomicU64,
    lost: Arc<AtomicU64>,
}

impl DnstapOutput {
    /// Writes the transactions of these workers to the socket at `path` while a reader listens there. The events have the name
    /// of this host.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(path: PathBuf, registries: Vec<Arc<TapRegistry>>) -> io::Result<Self> {
        let status = Arc::new(OutputStatus::default());
        let (end, ended) = mpsc::channel();
        let identity = nix::unistd::gethostname().ok().map(OsString::into_encoded_bytes);
        let event = DnstapEvent::new(identity);
        let mut writer = DnstapWriter { path, registries, status: Arc::clone(&status), event };
        let work = move || {
            writer.run();
            // Nobody may wait for the end.
            let _ = end.send(());
        };
        thread::Builder::new().name("dnstap".to_owned()).spawn(work)?;
        Ok(Self { status, ended })
    }

    /// Its part of a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> snapshot::DnstapSnapshot {
        let OutputStatus { connected, written, lost, .. } = &*self.status;
        snapshot::DnstapSnapshot {
            connected: connected.load(Relaxed),
            written: written.load(Relaxed),
            lost: lost.load(Relaxed),
        }
    }

    /// Writes the remaining transactions and ends the stream, within a time limit.
    pub fn end(self) {
        self.status.stop.store(true, Relaxed);
        if self.ended.recv_timeout(END_TIMEOUT).is_err() {
            tracing::warn!("dnstap: the end of the stream could not be written in time");
        }
    }
}

struct DnstapWriter {
    path: PathBuf,
    registries: Vec<Arc<TapRegistry>>,
    status: Arc<OutputStatus>,
    event: DnstapEvent,
}

impl DnstapWriter {
    fn run(&mut self) {
        let mut logged = None;
        while !self.stops() {
            let outcome = connect(&self.path).and_then(|stream| {
                logged = None;
                self.follow(stream)
            });
            if let Err(error) = outcome
                && logged != Some(error.kind())
            {
                logged = Some(error.kind());
                let path = self.path.display();
                tracing::warn!("dnstap: {path}: {error}; it is tried again every second");
            }
            if !self.stops() {
                thread::sleep(RECONNECT_INTERVAL);
            }
        }
    }

    fn stops(&self) -> bool {
        self.status.stop.load(Relaxed)
    }

    /// Writes transactions until the output ends, or the reader closes the connection.
    fn follow(&mut self, mut stream: UnixStream) -> io::Result<()> {
        tracing::info!("dnstap: {} listens", self.path.display());
        let registries = self.registries.iter().map(|registry| &**registry);
        let mut listener = TapListener::to_transactions(registries, Arc::clone(&self.status.lost));
        self.status.connected.store(true, Relaxed);
        let outcome = self.write_all(&mut listener, &mut stream);
        self.status.connected.store(false, Relaxed);
        // Unread transactions are lost, too.
        self.status.lost.fetch_add(listener.discard(), Relaxed);
        outcome.map_err(|error| match error.kind() {
            // A write has seen it.
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => closed(),
            _ => error,
        })
    }

    fn write_all(&mut self, listener: &mut TapListener, stream: &mut UnixStream) -> io::Result<()> {
        let mut buffer = Buffer { status: Arc::clone(&self.status), bytes: Vec::new(), transactions: 0 };
        loop {
            // Read before the rings, so that nothing is left in them at the end.
            let stops = self.stops();
            let any = listener.transactions(|transaction| {
                self.event.events(transaction, |event| append(&mut buffer.bytes, event));
                buffer.transactions += 1;
                if buffer.bytes.len() < BUFFER { Ok(()) } else { buffer.write(stream) }
            })?;
            buffer.write(stream)?;
            if stops {
                stream.write_all(&ControlFrame::Stop.encode(None))?;
                return ControlFrame::Finish.expect(stream, None);
            }
            if !any {
                wait(stream)?;
            }
        }
    }
}

/// Connects to the reader at `path`, and negotiates the content type.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(Duration::from_millis(POLL_INTERVAL.into())))?;
    stream.write_all(&ControlFrame::Ready.encode(CONTENT_TYPE))?;
    ControlFrame::Accept.expect(&mut stream, CONTENT_TYPE)?;
    stream.write_all(&ControlFrame::Start.encode(CONTENT_TYPE))?;
    Ok(stream)
}

/// Waits for [`POLL_INTERVAL`]. The reader sends nothing meanwhile unless it ends the stream.
fn wait(stream: &mut UnixStream) -> io::Result<()> {
    let mut descriptors = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    match poll(&mut descriptors, PollTimeout::from(POLL_INTERVAL)) {
        Ok(0) | Err(Errno::EINTR) => return Ok(()),
        any => any?,
    };
    match stream.read(&mut [0]) {
        Ok(0) => Err(closed()),
        Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "the reader ended the stream")),
        Err(error) => Err(error),
    }
}

/// The error for a reader that is gone.
fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the reader closed the connection")
}

/// Events to write. Dropping it counts them as lost.
struct Buffer {
    status: Arc<OutputStatus>,
    bytes: Vec<u8>,
    transactions: u64,
}

impl Buffer {
    /// Writes all events, however long the reader takes, until the output ends.
    fn write(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.status.stop.load(Relaxed) => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.status.written.fetch_add(std::mem::take(&mut self.transactions), Relaxed);
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.status.lost.fetch_add(self.transactions, Relaxed);
    }
}
