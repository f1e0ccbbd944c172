//! The loop that moves frames between the rings of one queue and the responder.

use crate::af_xdp::inject_queue::Inlet;
use crate::af_xdp::poller::Poller;
use crate::af_xdp::socket::{BATCH, FrameCounts, Socket};
use crate::dataplane::responder::{Frames as _, Responder};
use crate::observe::counters::Counters;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot::Occupancy;
use crate::observe::tap::TapRegistry;
use crate::serving::ActiveState;
use arc_swap::Cache;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;
use stateless_tcp_core::outcome::Outcome;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::UnboundedSender;
use xsk_rs::socket::XdpStatistics;

/// An idle worker wakes this often to see whether it was told to stop.
const IDLE: Duration = Duration::from_millis(100);

/// A worker with frames in the TX ring wakes the kernel again after this time.
const SENDING: Duration = Duration::from_millis(1);

/// Interval of the worker's status reports.
const REPORT: Duration = Duration::from_millis(100);

/// The status that a worker reports. Its counters, in contrast, can be read at any time.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// Its frames, by place.
    pub frames: FrameCounts,
    /// Frames that the kernel has sent.
    pub completed: u64,
    /// The kernel's statistics of its socket, if they can be read.
    pub statistics: Option<XdpStatistics>,
    /// Occupancy of its tables; `None` before the first report.
    pub tables: Option<[Occupancy; 2]>,
}

/// State that the main thread and a worker share.
#[derive(Debug)]
pub struct Shared {
    /// Tells the worker to stop.
    pub stop: Stop,
    /// Turns of the worker's loop. It grows several times a second unless the worker is stuck.
    pub turns: AtomicU64,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Time for which it polls after a frame before it sleeps.
    pub busy_poll: Duration,
    /// For tests: a file that it tries to read at the first frame.
    pub escape: Option<PathBuf>,
    /// Time from receiving a batch to handing over its answers, for each frame.
    pub duration: Histogram,
    /// Its last status report.
    pub status: Mutex<Option<WorkerStatus>>,
    /// New taps, which get copies of its frames.
    pub taps: Arc<TapRegistry>,
    /// Frames to answer as if they had come through the ring.
    pub inject_queue: Inlet,
    /// For tests: panic after this many frames.
    pub panic_after: Option<u64>,
    /// For tests: hang after this many frames.
    pub hang_after: Option<u64>,
}

/// Tells a worker to stop once its ring is empty. It wakes a worker that sleeps.
#[derive(Debug)]
pub struct Stop {
    asked: AtomicBool,
    wakeup: EventFd,
}

impl Stop {
    /// Creates the event descriptor.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { asked: AtomicBool::new(false), wakeup: EventFd::new()? })
    }

    /// Tells the worker to stop.
    pub fn request(&self) {
        self.asked.store(true, Relaxed);
        // Without the wakeup the worker sees the flag when it is idle next.
        let _ = self.wakeup.write(1);
    }

    /// Whether the worker was told to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.asked.load(Relaxed)
    }
}

/// The end of a worker.
#[derive(Debug)]
pub struct WorkerEnd {
    /// Its number.
    pub worker: usize,
    /// The reason, unless it was told to stop.
    pub result: io::Result<()>,
}

/// Starts worker number `worker` on a thread of its own, pinned to a CPU. It answers the frames of `socket` from
/// `active`, and sends its result to `ended` when it ends for any reason.
///
/// # Errors
/// The thread cannot be created.
pub fn spawn(
    name: String,
    worker: usize,
    socket: Socket,
    active: Arc<ActiveState>,
    shared: Arc<Shared>,
    ended: UnboundedSender<WorkerEnd>,
) -> io::Result<()> {
    // A snapshot before the first report shows the frames, too.
    let status = WorkerStatus { frames: socket.account(), completed: 0, statistics: None, tables: None };
    *shared.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    let work = move || {
        pin(worker % std::thread::available_parallelism().map_or(1, usize::from));
        // The supervisor may have given up already.
        let result = run(worker, socket, active, &shared);
        let _ = ended.send(WorkerEnd { worker, result });
    };
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}

/// The loop: each turn receives, responds, transmits and replenishes.
fn run(worker: usize, mut socket: Socket, active: Arc<ActiveState>, shared: &Shared) -> io::Result<()> {
    let mut active = Cache::new(active);
    let mut state = Arc::clone(active.load());
    let mut responder = Responder::of(worker, Arc::clone(&state));
    let mut poller = poller(&socket, &responder, shared);
    let mut batch = Vec::with_capacity(BATCH);
    let mut frames = 0;
    let mut reported = SystemTime::UNIX_EPOCH;
    loop {
        shared.turns.fetch_add(1, Relaxed);
        socket.receive(&mut batch);
        // An idle worker passes here every IDLE milliseconds, so that it releases a replaced state in time, too.
        if !Arc::ptr_eq(active.load(), &state) {
            state = Arc::clone(active.load());
            responder.switch(Arc::clone(&state));
            poller = self::poller(&socket, &responder, shared);
        }
        // Before the taps: the sender of a frame has added a tap to see its answer.
        let injected = shared.inject_queue.take();
        if let Some(taps) = shared.taps.take() {
            responder.tap(taps);
        }
        // The clock is read once a batch, as Date has a resolution of a second.
        let mut now = SystemTime::now();
        let received = batch.len() as u64;
        if batch.is_empty() && injected.is_empty() {
            if shared.stop.is_requested() {
                report(&socket, &responder, shared);
                return Ok(());
            }
            let idle = if socket.is_sending() { SENDING } else { IDLE };
            poller.wait(&socket, responder.due(now).map_or(idle, |due| due.min(idle)))?;
            now = SystemTime::now();
        } else {
            poller.frames_came();
            if let (0, Some(path)) = (frames, &shared.escape) {
                escape(path);
            }
            frames += received;
            for (frame, length) in batch.drain(..) {
                responder.respond(now, &mut socket, frame, length, &shared.counters);
            }
            assert!(
                shared.panic_after.is_none_or(|after| frames <= after),
                "asked for by --test-panic-after-frames"
            );
            while shared.hang_after.is_some_and(|after| frames > after) {
                std::thread::park();
            }
        }
        for bytes in injected {
            respond_to(&bytes, now, &mut responder, &mut socket, &shared.counters);
        }
        responder.turn(now, &mut socket, &shared.counters);
        socket.transmit()?;
        if received > 0 {
            // The second reading of the clock measures the batch.
            shared.duration.record(now.elapsed().unwrap_or_default(), received);
        }
        socket.replenish();
        // A clock that was set back triggers a report.
        if now.duration_since(reported).map_or(true, |since| since >= REPORT) {
            report(&socket, &responder, shared);
            reported = now;
        }
    }
}

/// The poller for frames, the responder's upstreams, and the order to stop.
fn poller(socket: &Socket, responder: &Responder, shared: &Shared) -> Poller {
    let mut files = responder.descriptors();
    files.push(shared.stop.wakeup.as_raw_fd());
    Poller::new(socket, &files, shared.busy_poll)
}

/// Answers a frame that did not come through the ring, in a frame of the pool.
fn respond_to(
    bytes: &[u8],
    now: SystemTime,
    responder: &mut Responder,
    socket: &mut Socket,
    counters: &Counters,
) {
    let Some(mut frame) = socket.take() else { return counters.add(Outcome::NoFrame, 1) };
    match socket.octets(&mut frame).get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            responder.respond(now, socket, frame, bytes.len(), counters);
        }
        None => socket.release(frame),
    }
}

/// For `--test-escape`: tries what an attacker who controls a worker would try.
fn escape(path: &Path) {
    let read = std::fs::read(path).map(|bytes| bytes.len());
    let started = Command::new("/bin/true").status();
    tracing::warn!("escape: {} {read:?}, a process {started:?}", path.display());
}

/// Reports the status between two turns, when each frame is in a ring or free. Skips it while a reader holds the lock.
fn report(socket: &Socket, responder: &Responder, shared: &Shared) {
    if let Ok(mut status) = shared.status.try_lock() {
        let (frames, statistics) = (socket.account(), socket.statistics().ok());
        let [sent, no_room] =
            [Outcome::Sent, Outcome::TxRingFull].map(|counter| shared.counters.get(counter));
        let completed = sent.saturating_sub(no_room + frames.sending as u64);
        *status = Some(WorkerStatus { frames, completed, statistics, tables: Some(responder.occupancies()) });
    }
}

/// Pins the thread to one CPU, to keep its caches warm. A container may not allow that CPU, so failure is no error.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        tracing::info!(cpu, %error, "worker is not pinned");
    }
}
