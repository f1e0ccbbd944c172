//! The loop that moves frames between the rings of one queue and the responder.

use crate::af_xdp::inject_queue::Inlet;
use crate::af_xdp::poller::Poller;
use crate::af_xdp::socket::{BATCH, FrameCounts, Socket};
use crate::dataplane::responder::{Frames as _, Responder};
use crate::observe::counters::Counters;
use crate::observe::histogram::Histogram;
use crate::observe::snapshot::Occupancy;
use crate::observe::tap::TapRegistry;
use crate::serving::{Follower, Switch};
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

/// After so long an idle worker looks whether it shall end.
const IDLE: Duration = Duration::from_millis(100);

/// After so long a worker with frames in the TX ring gives the kernel another push.
const SENDING: Duration = Duration::from_millis(1);

/// So often a worker reports how it is, busy or not.
const REPORT: Duration = Duration::from_millis(100);

/// How a worker is. What it counts can be read at any time; this it has to say.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// Where its frames are.
    pub account: FrameCounts,
    /// Frames that the kernel has sent.
    pub completed: u64,
    /// What the kernel has counted at its socket, if it tells.
    pub statistics: Option<XdpStatistics>,
    /// How full its tables are, once it has some.
    pub tables: Option<[Occupancy; 2]>,
}

/// What main and a worker share.
#[derive(Debug)]
pub struct Shared {
    /// How the worker is told to end.
    pub stop: Stop,
    /// How often it has looked for frames: it grows, several times a second, unless the worker is stuck.
    pub turns: AtomicU64,
    /// What became of its frames.
    pub counters: Arc<Counters>,
    /// For how long after a frame it polls for the next before it sleeps.
    pub busy_poll: Duration,
    /// For tests: what to try to read at the first frame.
    pub escape: Option<PathBuf>,
    /// From receiving a batch to handing over its answers, for each frame.
    pub duration: Histogram,
    /// How it was when it last reported.
    pub vitals: Mutex<Option<WorkerStatus>>,
    /// Where those are left who want a copy of its frames.
    pub outlet: Arc<TapRegistry>,
    /// Where frames are left that are to be answered as if they had come through the ring.
    pub inlet: Inlet,
    /// For tests: panic upon so many frames.
    pub panic_after: Option<u64>,
    /// For tests: get stuck upon so many frames.
    pub hang_after: Option<u64>,
}

/// Tells a worker to end: when its ring is empty, at once if it sleeps.
#[derive(Debug)]
pub struct Stop {
    asked: AtomicBool,
    bell: EventFd,
}

impl Stop {
    /// One that does not tell it yet.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { asked: AtomicBool::new(false), bell: EventFd::new()? })
    }

    /// Tells it.
    pub fn ask(&self) {
        self.asked.store(true, Relaxed);
        // Where the bell does not ring, the worker looks when it is idle.
        let _ = self.bell.write(1);
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }
}

/// Starts a worker, the one with this number, which answers what comes to `socket` from what is in `switch`, on a thread of
/// its own, pinned to a CPU. When it ends, for whatever reason, `ended` hears of it.
///
/// # Errors
/// If the thread cannot be made.
pub fn spawn(
    name: String,
    worker: usize,
    socket: Socket,
    switch: Arc<Switch>,
    shared: Arc<Shared>,
    ended: UnboundedSender<io::Result<()>>,
) -> io::Result<()> {
    // Whoever asks before it has said anything is told where the frames are, too.
    let vitals = WorkerStatus { account: socket.account(), completed: 0, statistics: None, tables: None };
    *shared.vitals.lock().unwrap_or_else(PoisonError::into_inner) = Some(vitals);
    let work = move || {
        pin(worker % std::thread::available_parallelism().map_or(1, usize::from));
        // Whoever no longer listens has no use for the news.
        let _ = ended.send(run(worker, socket, switch, &shared));
    };
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}

/// One straight path a turn: receive, respond, transmit, replenish.
fn run(worker: usize, mut socket: Socket, switch: Arc<Switch>, shared: &Shared) -> io::Result<()> {
    let (mut follower, offer) = Follower::new(switch);
    let mut responder = Responder::of(worker, offer);
    let mut waiter = waiter_of(&socket, &responder, shared);
    let mut batch = Vec::with_capacity(BATCH);
    let mut frames = 0;
    let mut reported = SystemTime::UNIX_EPOCH;
    loop {
        shared.turns.fetch_add(1, Relaxed);
        socket.receive(&mut batch);
        // An idle worker comes here every IDLE milliseconds: it lets go of what is no longer served, too.
        if let Some(offer) = follower.news() {
            responder.switch(offer);
            waiter = waiter_of(&socket, &responder, shared);
        }
        // Before the taps: who leaves a frame wants to see what becomes of it.
        let left = shared.inlet.take();
        if let Some(taps) = shared.outlet.take() {
            responder.tap(taps);
        }
        // One reading of the clock serves a batch: Date has seconds.
        let mut now = SystemTime::now();
        let received = batch.len() as u64;
        if batch.is_empty() && left.is_empty() {
            if shared.stop.is_asked() {
                report(&socket, &responder, shared);
                return Ok(());
            }
            let idle = if socket.is_sending() { SENDING } else { IDLE };
            waiter.wait(&socket, responder.due(now).map_or(idle, |due| due.min(idle)))?;
            now = SystemTime::now();
        } else {
            waiter.frames_came();
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
        for octets in left {
            respond_to(&octets, now, &mut responder, &mut socket, &shared.counters);
        }
        responder.turn(now, &mut socket, &shared.counters);
        socket.transmit()?;
        if received > 0 {
            // And another one says how long it took, which nothing in it is to know.
            shared.duration.record(now.elapsed().unwrap_or_default(), received);
        }
        socket.replenish();
        // A clock that was set back forgets the last report.
        if now.duration_since(reported).map_or(true, |since| since >= REPORT) {
            report(&socket, &responder, shared);
            reported = now;
        }
    }
}

/// Waits for frames, for what the responder waits for, and to be told to end.
fn waiter_of(socket: &Socket, responder: &Responder, shared: &Shared) -> Poller {
    let mut files = responder.descriptors();
    files.push(shared.stop.bell.as_raw_fd());
    Poller::new(socket, &files, shared.busy_poll)
}

/// Answers a frame that did not come through the ring, in one of the pool's.
fn respond_to(
    octets: &[u8],
    now: SystemTime,
    responder: &mut Responder,
    socket: &mut Socket,
    counters: &Counters,
) {
    let Some(mut frame) = socket.take() else { return counters.add(Outcome::NoFrame, 1) };
    match socket.octets(&mut frame).get_mut(..octets.len()) {
        Some(place) => {
            place.copy_from_slice(octets);
            responder.respond(now, socket, frame, octets.len(), counters);
        }
        None => socket.release(frame),
    }
}

/// Asked for by `--test-escape`: what somebody would try who has taken over a worker.
fn escape(path: &Path) {
    let read = std::fs::read(path).map(|octets| octets.len());
    let started = Command::new("/bin/true").status();
    tracing::warn!("escape: {} {read:?}, a process {started:?}", path.display());
}

/// Says how it is between two turns, when all frames are in some ring or free; unless somebody is just looking.
fn report(socket: &Socket, responder: &Responder, shared: &Shared) {
    if let Ok(mut vitals) = shared.vitals.try_lock() {
        let (account, statistics) = (socket.account(), socket.statistics().ok());
        let [sent, no_room] =
            [Outcome::Sent, Outcome::TxRingFull].map(|counter| shared.counters.get(counter));
        let completed = sent.saturating_sub(no_room + account.sending as u64);
        *vitals =
            Some(WorkerStatus { account, completed, statistics, tables: Some(responder.occupancies()) });
    }
}

/// Keeps the thread on one CPU, so that the caches stay warm. A wish, not a condition: in a container the CPU may not
/// be ours.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        tracing::info!(cpu, %error, "worker is not pinned");
    }
}
