//! Handing over to a successor (`--take-over`): the supervisor's part of [`control::handover`](crate::control::handover).

use super::reload::Reloader;
use super::running::{AttachedProgram, LoadTimes};
use crate::af_xdp::XdpError;
use crate::af_xdp::interface::AttachMode;
use crate::af_xdp::socket::CopyMode;
use crate::control::handover::{HandoverInterface, HandoverState, HandoverStep};
use crate::serving::AnswerPolicy;
use anyhow::{Result, bail};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::Key;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Time limit for the successor to serve after the sockets are closed.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_mins(1);

/// The reply to a successor's request.
type HandoverReply = oneshot::Sender<Result<(HandoverState, Vec<OwnedFd>), String>>;

/// The progress of a handover. The content does not change during one.
#[derive(Default)]
pub(super) struct HandoverProgress {
    begun: bool,
    /// The successor that waits until no earlier content is retained, which would end with this process.
    waiting: Option<HandoverReply>,
}

impl HandoverProgress {
    pub(super) fn is_under_way(&self) -> bool {
        self.begun
    }

    /// Replies to a waiting successor if no earlier content is retained.
    pub(super) fn proceed(
        &mut self,
        programs: &[AttachedProgram],
        metrics: Option<&TcpListener>,
        reloader: &Reloader,
    ) {
        if reloader.is_at_rest()
            && let Some(reply) = self.waiting.take()
        {
            self.begun = send_state(programs, metrics, reloader, reply);
        }
    }

    /// Takes the successor's next step. For [`HandoverStep::Release`] it returns the sender that reports closed sockets.
    pub(super) fn step(
        &mut self,
        step: HandoverStep,
        programs: &[AttachedProgram],
    ) -> Result<Option<oneshot::Sender<()>>, XdpError> {
        match step {
            HandoverStep::Begin(reply) if self.begun => {
                let _ = reply.send(Err("another process is taking over already".to_owned()));
            }
            HandoverStep::Begin(reply) => (self.begun, self.waiting) = (true, Some(reply)),
            HandoverStep::Release(done) => return Ok(Some(done)),
            HandoverStep::Resume | HandoverStep::End => {
                self.begun = false;
                resume(programs)?;
            }
        }
        Ok(None)
    }
}

/// Sends the state and the files to a successor. Returns false if the files cannot be passed: the handover does not begin.
fn send_state(
    programs: &[AttachedProgram],
    metrics: Option<&TcpListener>,
    reloader: &Reloader,
    reply: HandoverReply,
) -> bool {
    let files = match files(programs, metrics) {
        Ok(files) => files,
        Err(error) => {
            // The successor may have ended.
            let _ = reply.send(Err(format!("it cannot pass its files: {error}")));
            return false;
        }
    };
    let LoadTimes { content: loaded, key } = reloader.load_times();
    let state = reloader.state();
    let AnswerPolicy { keys, rules, segment_size, connection_lifetime, .. } = &state.policy;
    let Key(current) = keys.current;
    let handover = HandoverState {
        interfaces: programs
            .iter()
            .filter(|attached| attached.program.link().is_some())
            .map(interface)
            .collect(),
        metrics: metrics.and_then(|listener| listener.local_addr().ok()),
        keys: (current, keys.previous.map(|Key(previous)| previous)),
        key_since: seconds(key),
        generation: state.current.generation,
        loaded: seconds(loaded),
        fingerprint: state.current.content.fingerprint(),
        former: reloader.reserved().map(|(retired, rest)| (retired, rest.as_secs())).collect(),
        reliable: *rules == AckPolicy::Reliable,
        segment_size: *segment_size,
        connection_lifetime: connection_lifetime.as_secs(),
    };
    let _ = reply.send(Ok((handover, files)));
    true
}

fn interface(attached: &AttachedProgram) -> HandoverInterface {
    let AttachedProgram { program, mode, copy, .. } = attached;
    HandoverInterface {
        name: program.interface().name.clone(),
        program: program.id(),
        generic: *mode == AttachMode::Generic,
        zero_copy: *copy == CopyMode::ZeroCopy,
    }
}

/// The links in the order of the interfaces, and the metrics listener.
fn files(programs: &[AttachedProgram], metrics: Option<&TcpListener>) -> io::Result<Vec<OwnedFd>> {
    let links = programs.iter().filter_map(|attached| attached.program.link());
    links
        .map(|link| link.as_fd())
        .chain(metrics.map(TcpListener::as_fd))
        .map(|file| file.try_clone_to_owned())
        .collect()
}

/// Continues after the successor has failed. The log line comes once the programs are attached again.
fn resume(programs: &[AttachedProgram]) -> Result<(), XdpError> {
    programs.iter().try_for_each(|attached| attached.program.return_to_link())?;
    tracing::warn!("the process that was taking over has failed: this process continues to serve");
    Ok(())
}

/// Waits until the successor serves. It has been told that the sockets are closed.
pub(super) async fn conclude(steps: &mut mpsc::UnboundedReceiver<HandoverStep>) -> Result<()> {
    match tokio::time::timeout(SUCCESSOR_TIMEOUT, steps.recv()).await {
        Ok(Some(HandoverStep::End)) => {
            tracing::info!("another process has taken over");
            Ok(())
        }
        _ => bail!("the process that was taking over has failed: the kernel has the ports back"),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
