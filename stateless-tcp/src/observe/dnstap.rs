//! dnstap: what was asked and answered over DNS, written to the UNIX socket of a program that collects it.
//!
//! A thread of its own connects, and again whenever the other end went away; only while it is connected do workers copy
//! anything. What it cannot pass on in time finds no room in their rings ([`ring`](super::ring)) and is counted.

mod frame_streams;
mod schema;

use self::frame_streams::{Control, append};
use self::schema::Dnstap;
use super::snapshot;
use super::tap::{Listener, TapRegistry};
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

/// After so long the socket is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The other end has so long to answer a control frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the rings are looked at when they were empty, in milliseconds; and a writer that waits, at whether it shall end.
const PAUSE: u16 = 10;

/// What is written at the end may take so long.
const END: Duration = Duration::from_secs(2);

/// Octets that are written at a time.
const BUFFER: usize = 1 << 16;

/// The output of a process. Dropped, it goes on; [`Output::end`] ends it.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    connected: AtomicBool,
    written: AtomicU64,
    lost: Arc<AtomicU64>,
}

impl Output {
    /// Writes what passes at `outlets` to the socket at `path`, in the name of this host, whenever somebody listens there.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(path: PathBuf, outlets: Vec<Arc<TapRegistry>>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (end, ended) = mpsc::channel();
        let identity = nix::unistd::gethostname().ok().map(OsString::into_encoded_bytes);
        let mut writer = Writer { path, outlets, shared: Arc::clone(&shared), event: Dnstap::of(identity) };
        let work = move || {
            writer.run();
            // Whoever no longer waits has no use for it.
            let _ = end.send(());
        };
        thread::Builder::new().name("dnstap".to_owned()).spawn(work)?;
        Ok(Self { shared, ended })
    }

    /// What can be seen of it now.
    #[must_use]
    pub fn look(&self) -> snapshot::Dnstap {
        let Shared { connected, written, lost, .. } = &*self.shared;
        snapshot::Dnstap {
            connected: connected.load(Relaxed),
            written: written.load(Relaxed),
            lost: lost.load(Relaxed),
        }
    }

    /// Writes what there is left, and ends the stream; waits for that, but not for ever.
    pub fn end(self) {
        self.shared.stop.store(true, Relaxed);
        if self.ended.recv_timeout(END).is_err() {
            tracing::warn!("dnstap: the end of the stream could not be written in time");
        }
    }
}

struct Writer {
    path: PathBuf,
    outlets: Vec<Arc<TapRegistry>>,
    shared: Arc<Shared>,
    event: Dnstap,
}

impl Writer {
    fn run(&mut self) {
        let mut said = None;
        while !self.stops() {
            let outcome = connect(&self.path).and_then(|stream| {
                said = None;
                self.follow(stream)
            });
            if let Err(error) = outcome
                && said != Some(error.kind())
            {
                said = Some(error.kind());
                let path = self.path.display();
                tracing::warn!("dnstap: {path}: {error}; it is tried again every second");
            }
            if !self.stops() {
                thread::sleep(AGAIN);
            }
        }
    }

    fn stops(&self) -> bool {
        self.shared.stop.load(Relaxed)
    }

    /// Writes what passes until it shall end, or the other end does.
    fn follow(&mut self, mut stream: UnixStream) -> io::Result<()> {
        tracing::info!("dnstap: {} listens", self.path.display());
        let outlets = self.outlets.iter().map(|outlet| &**outlet);
        let mut listener = Listener::to_transactions(outlets, Arc::clone(&self.shared.lost));
        self.shared.connected.store(true, Relaxed);
        let outcome = self.pass_on(&mut listener, &mut stream);
        self.shared.connected.store(false, Relaxed);
        // What has not been read was lost as well.
        self.shared.lost.fetch_add(listener.discard(), Relaxed);
        outcome
    }

    fn pass_on(&mut self, listener: &mut Listener, stream: &mut UnixStream) -> io::Result<()> {
        let mut buffer = Buffer { shared: Arc::clone(&self.shared), octets: Vec::new(), transactions: 0 };
        loop {
            // Before the rings are emptied, so that nothing is left in them at the end.
            let stops = self.stops();
            let any = listener.transactions(|transaction| {
                self.event.events(transaction, |event| append(&mut buffer.octets, event));
                buffer.transactions += 1;
                if buffer.octets.len() < BUFFER { Ok(()) } else { buffer.write(stream) }
            })?;
            buffer.write(stream)?;
            if stops {
                stream.write_all(&Control::Stop.frame(None))?;
                return Control::Finish.expect(stream, None);
            }
            if !any {
                wait(stream)?;
            }
        }
    }
}

/// A connection to the program that listens at `path`, which has agreed to take dnstap.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(Duration::from_millis(PAUSE.into())))?;
    stream.write_all(&Control::Ready.frame(CONTENT_TYPE))?;
    Control::Accept.expect(&mut stream, CONTENT_TYPE)?;
    stream.write_all(&Control::Start.frame(CONTENT_TYPE))?;
    Ok(stream)
}

/// Waits a moment, or until the other end is gone: it has nothing to say.
fn wait(stream: &mut UnixStream) -> io::Result<()> {
    let mut descriptors = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    match poll(&mut descriptors, PollTimeout::from(PAUSE)) {
        Ok(0) | Err(Errno::EINTR) => return Ok(()),
        any => any?,
    };
    match stream.read(&mut [0]) {
        Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the other end closed")),
        Ok(_) => Err(io::Error::new(ErrorKind::InvalidData, "the other end ends the stream")),
        Err(error) => Err(error),
    }
}

/// Events that are to be written. Dropped, they are lost.
struct Buffer {
    shared: Arc<Shared>,
    octets: Vec<u8>,
    transactions: u64,
}

impl Buffer {
    /// Writes all, however long the other end takes, unless it shall end.
    fn write(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        let mut rest = self.octets.as_slice();
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.shared.stop.load(Relaxed) => {}
                Err(error) => return Err(error),
            }
        }
        self.octets.clear();
        self.shared.written.fetch_add(std::mem::take(&mut self.transactions), Relaxed);
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.shared.lost.fetch_add(self.transactions, Relaxed);
    }
}
