//! Notifications to the service manager (sd_notify(3)): ready, reloading, stopping, and the watchdog. Without a service
//! manager they go nowhere.

use super::running::WorkerHandle;
use sd_notify::NotifyState::{self, ExtendTimeoutUsec, MonotonicUsec, Ready, Reloading, Status, Stopping};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The environment variable with the name of the service manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Time limit for a notification. It blocks the supervisor; the workers go on.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Checks of the workers within the watchdog's time limit. A worker may be late for one of them.
const CHECKS_PER_TIMEOUT: u32 = 4;

/// Time within which a start that takes long says so again, and what it asks for each time.
const LOADING_INTERVAL: Duration = Duration::from_secs(10);
const LOADING_TIMEOUT: Duration = Duration::from_mins(1);

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct SdNotify(Option<UnixDatagram>);

impl SdNotify {
    /// Connects to the socket that the environment names. The process must still have its privileges.
    pub(super) fn connect() -> Self {
        Self(std::env::var_os(SOCKET).and_then(|name| {
            connect(&name)
                .map_err(|error| {
                    tracing::warn!("cannot notify the service manager: {SOCKET}={}: {error}", name.display());
                })
                .ok()
        }))
    }

    /// Does `work`, which may take longer than the service manager waits for a start, and tells it so until it is done. The thread
    /// that tells it has ended then.
    pub(super) fn while_loading<T>(&self, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let (done, wait) = mpsc::channel::<()>();
            if self.0.is_some() {
                scope.spawn(move || {
                    let started = Instant::now();
                    loop {
                        let timeout = u32::try_from(LOADING_TIMEOUT.as_micros()).unwrap_or(u32::MAX);
                        let status = format!("loading zones and files for {} s", started.elapsed().as_secs());
                        self.send(&[ExtendTimeoutUsec(timeout), Status(&status)]);
                        if wait.recv_timeout(LOADING_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                            break;
                        }
                    }
                });
            }
            let result = work();
            drop(done);
            result
        })
    }

    /// The process serves, at the start or after a reload. `status` says what.
    pub(super) fn ready(&self, status: &str) {
        self.send(&[Ready, Status(&in_one_line(status))]);
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now().unwrap_or(MonotonicUsec(0));
        self.send(&[Reloading, now, Status("reloading")]);
    }

    /// The process is about to end.
    pub(super) fn stopping(&self) {
        self.send(&[Stopping, Status("ending")]);
    }

    fn send(&self, states: &[NotifyState]) {
        let Some(socket) = &self.0 else { return };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        if let Err(error) = socket.send(lines.join("\n").as_bytes()) {
            tracing::warn!("cannot send {} to the service manager: {error}", lines[0]);
        }
    }
}

/// Connects to the socket with this path, or with the abstract name after `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// Joins the lines of `text`, as each line of a notification is an assignment.
fn in_one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

/// Feeds the service manager's watchdog as long as every worker makes progress. An idle worker does, several times a second.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Times of the checks; `None` if the service manager has no watchdog.
    checks: Option<Interval>,
    /// Turns of each worker at the last check.
    turns: Vec<u64>,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        let checks = sd_notify::watchdog_enabled().map(|timeout| {
            let mut checks = interval(timeout / CHECKS_PER_TIMEOUT);
            checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            checks
        });
        Self { checks, turns: Vec::new() }
    }

    /// Returns when the next check is due. Cancel safe.
    pub(super) async fn due(&mut self) {
        let Some(checks) = &mut self.checks else { return std::future::pending().await };
        checks.tick().await;
    }

    /// Checks the workers, and feeds the watchdog if none is stuck.
    pub(super) fn check(&mut self, workers: &[WorkerHandle], service_manager: &SdNotify) {
        let turns: Vec<u64> = workers.iter().map(|worker| worker.shared.turns.load(Relaxed)).collect();
        let is_stuck =
            |worker: &WorkerHandle, before, now| before == now && !worker.shared.stop.is_requested();
        let stuck = workers
            .iter()
            .zip(self.turns.iter().zip(&turns))
            .filter(|(worker, (before, now))| is_stuck(worker, *before, *now));
        let stuck: Vec<String> =
            stuck.map(|(worker, _)| format!("{}/{}", worker.interface, worker.queue)).collect();
        self.turns = turns;
        if stuck.is_empty() {
            return service_manager.send(&[NotifyState::Watchdog]);
        }
        let text = format!("stuck: the worker of {}", stuck.join(" and of "));
        tracing::error!("{text}");
        service_manager.send(&[Status(&text)]);
    }
}
