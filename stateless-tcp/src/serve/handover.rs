//! Giving the place to a successor (`--take-over`): what the supervisor does of
//! [`control::handover`](crate::control::handover).

use super::reload::Reloader;
use super::watch::Served;
use crate::af_xdp::XdpError;
use crate::af_xdp::interface::AttachMode;
use crate::af_xdp::socket::CopyMode;
use crate::control::handover::{Handed, HandedInterface, Step};
use crate::dataplane::engine::Policy;
use anyhow::{Result, bail};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::Key;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// A successor whose sockets are not open after so long opens none any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where a successor gets its answer.
pub(super) type Answer = oneshot::Sender<Result<(Handed, Vec<OwnedFd>), String>>;

/// How far this process has handed over. What is served does not change meanwhile.
#[derive(Default)]
pub(super) struct Handing {
    begun: bool,
    /// Who waits until no former content is kept any more, which ends with this process.
    waiting: Option<Answer>,
}

impl Handing {
    pub(super) fn is_under_way(&self) -> bool {
        self.begun
    }

    /// Answers who waits, if nothing has to be waited for.
    pub(super) fn proceed(&mut self, served: &[Served], metrics: Option<&TcpListener>, reloader: &Reloader) {
        if reloader.is_at_rest()
            && let Some(answer) = self.waiting.take()
        {
            self.begun = hand(served, metrics, reloader, answer);
        }
    }

    /// Takes a successor's next step. Where it wants the sockets closed, it is to hear that they are.
    pub(super) fn take(
        &mut self,
        step: Step,
        served: &[Served],
    ) -> Result<Option<oneshot::Sender<()>>, XdpError> {
        match step {
            Step::Begin(answer) if self.begun => {
                let _ = answer.send(Err("another process is taking over already".to_owned()));
            }
            Step::Begin(answer) => (self.begun, self.waiting) = (true, Some(answer)),
            Step::Release(done) => return Ok(Some(done)),
            Step::GoOn | Step::End => {
                self.begun = false;
                go_on(served)?;
            }
        }
        Ok(None)
    }
}

/// Tells a successor what is served, and gives it the files. False if these cannot be given: then nothing has begun.
fn hand(served: &[Served], metrics: Option<&TcpListener>, reloader: &Reloader, answer: Answer) -> bool {
    let files = match files(served, metrics) {
        Ok(files) => files,
        Err(error) => {
            // Whoever no longer waits has no use for it.
            let _ = answer.send(Err(format!("it cannot share its files: {error}")));
            return false;
        }
    };
    let (since, offer) = (reloader.since, reloader.offer());
    let former = reloader.former().map(|(former, rest)| (former, rest.as_secs())).collect();
    let Policy { keys, rules, segment_size, .. } = &offer.policy;
    let Key(current) = keys.current;
    let handed = Handed {
        interfaces: served.iter().map(interface).collect(),
        metrics: metrics.and_then(|listener| listener.local_addr().ok()),
        keys: (current, keys.previous.map(|Key(previous)| previous)),
        key_since: seconds(since.key),
        generation: offer.current.generation,
        loaded: seconds(since.generation),
        fingerprint: offer.current.content.fingerprint(),
        former,
        reliable: *rules == AckPolicy::Reliable,
        segment_size: *segment_size,
    };
    let _ = answer.send(Ok((handed, files)));
    true
}

fn interface(served: &Served) -> HandedInterface {
    let Served { program, attach, copy, .. } = served;
    HandedInterface {
        name: program.interface().name.clone(),
        program: program.id(),
        generic: *attach == AttachMode::Generic,
        zero_copy: *copy == CopyMode::ZeroCopy,
    }
}

/// The links, in the order of the interfaces, and the listener.
fn files(served: &[Served], metrics: Option<&TcpListener>) -> io::Result<Vec<OwnedFd>> {
    let links = served.iter().filter_map(|served| served.program.link());
    links
        .map(|link| link.as_fd())
        .chain(metrics.map(TcpListener::as_fd))
        .map(|file| file.try_clone_to_owned())
        .collect()
}

/// Goes on, as the successor has failed. It says so once that is true.
fn go_on(served: &[Served]) -> Result<(), XdpError> {
    served.iter().try_for_each(|served| served.program.return_to_link())?;
    tracing::warn!("the process that was to take over has failed: this one goes on");
    Ok(())
}

/// Waits until the successor, which has been told that the sockets are closed, serves.
pub(super) async fn conclude(steps: &mut mpsc::UnboundedReceiver<Step>) -> Result<()> {
    match tokio::time::timeout(PATIENCE, steps.recv()).await {
        Ok(Some(Step::End)) => {
            tracing::info!("another process has taken over");
            Ok(())
        }
        _ => bail!("the process that was to take over has failed: the kernel has the ports back"),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
