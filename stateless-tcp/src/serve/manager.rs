//! What the service manager that started the process is told of it (sd_notify(3)): that it answers, reloads, ends, and
//! that it still works. Without one, nobody is told.

use super::watch::Worker;
use sd_notify::NotifyState::{self, MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Where it wants to be told.
const SOCKET: &str = "NOTIFY_SOCKET";

/// How long it may take to make room for a message. Meanwhile nobody looks after the workers, which go on.
const PATIENCE: Duration = Duration::from_secs(1);

/// So often within the time that it grants the workers are looked at: one that is late once is no reason to end.
const LOOKS: u32 = 4;

/// The service manager, if one wants to be told.
#[derive(Debug)]
pub(super) struct Manager(Option<UnixDatagram>);

impl Manager {
    /// Connects to it. Who has given up files and privileges could not any more.
    pub(super) fn find() -> Self {
        Self(std::env::var_os(SOCKET).and_then(|name| {
            connect(&name)
                .map_err(|error| {
                    tracing::warn!(
                        "the service manager is told nothing: {SOCKET}={}: {error}",
                        name.display()
                    );
                })
                .ok()
        }))
    }

    /// It answers, or does so again after a reload; `text` says what.
    pub(super) fn ready(&self, text: &str) {
        self.tell(&[Ready, Status(&in_one_line(text))]);
    }

    /// It reads everything anew.
    pub(super) fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now().unwrap_or(MonotonicUsec(0));
        self.tell(&[Reloading, now, Status("reloading")]);
    }

    /// It is about to end.
    pub(super) fn stopping(&self) {
        self.tell(&[Stopping, Status("ending")]);
    }

    fn tell(&self, states: &[NotifyState]) {
        let Some(socket) = &self.0 else { return };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        if let Err(error) = socket.send(lines.join("\n").as_bytes()) {
            tracing::warn!("the service manager cannot be told {}: {error}", lines[0]);
        }
    }
}

/// The name of a socket is a path, or `@` and a name that is none.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A message to the service manager has a line for each thing that is said.
fn in_one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

/// Tells the service manager that it works, as often as that wants to hear it, for as long as every worker moves: one that
/// waits does so as well, several times a second.
#[derive(Debug)]
pub(super) struct Pulse {
    /// When to look again; never where nobody wants to hear.
    looks: Option<Interval>,
    /// How far each worker was at the last look.
    turns: Vec<u64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let looks = sd_notify::watchdog_enabled().map(|granted| {
            let mut looks = interval(granted / LOOKS);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        Self { looks, turns: Vec::new() }
    }

    /// Returns when it is time to look. May be given up and called again at any time.
    pub(super) async fn due(&mut self) {
        let Some(looks) = &mut self.looks else { return std::future::pending().await };
        looks.tick().await;
    }

    /// Looks.
    pub(super) fn look(&mut self, workers: &[Worker], manager: &Manager) {
        let turns: Vec<u64> = workers.iter().map(|worker| worker.shared.turns.load(Relaxed)).collect();
        let stuck =
            workers.iter().zip(self.turns.iter().zip(&turns)).filter(|(_, (before, now))| before == now);
        let stuck: Vec<String> =
            stuck.map(|(worker, _)| format!("{}/{}", worker.interface, worker.queue)).collect();
        self.turns = turns;
        if stuck.is_empty() {
            return manager.tell(&[Watchdog]);
        }
        let text = format!("stuck: the worker of {}", stuck.join(" and of "));
        tracing::error!("{text}");
        manager.tell(&[Status(&text)]);
    }
}
