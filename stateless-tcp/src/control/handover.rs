//! The conversation in which one process hands its interfaces to another, over the control socket.
//!
//! ```text
//! successor    handover {version, programs}      asks for the interfaces with these XDP programs
//! predecessor  done {HandoverState}              passes the BPF links and the metrics listener, as SCM_RIGHTS
//!              ... the successor prepares all that can fail, then replaces the programs in the links ...
//! successor    release
//! predecessor  released                          after it has closed its sockets
//! successor    serving
//! predecessor  ends
//! ```
//!
//! A side that closes the connection earlier has failed. Before `release` the predecessor then continues as before. After
//! it neither can continue: both end, and the kernel has its ports back.

use super::client::instances;
use super::{DIRECTORY, DONE, FAILED, HANDOVER, reply};
use crate::af_xdp::link::Link;
use crate::fingerprint::Fingerprint;
use crate::serving::RetiredGeneration;
use anyhow::{Context as _, Result, bail};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, BufReader, ErrorKind, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Version of this conversation. Both sides must have the same. Optional additions do not change it.
pub const VERSION: u32 = 1;

/// Time limit for a step that takes longer only after a fault.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for an instance to answer a takeover request. It completes a reload first.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// Most file descriptors in a message (the kernel's `SCM_MAX_FD`).
const MAX_FILES: usize = 253;

const RELEASE: &str = "release";
const RELEASED: &str = "released";
const SERVING: &str = "serving";

/// A successor's request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakeoverRequest {
    /// Its [`VERSION`].
    pub version: u32,
    /// IDs of the XDP programs on the interfaces that it is to serve.
    pub programs: Vec<u32>,
}

/// The state of a predecessor that its successor takes over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandoverState {
    /// Its interfaces, in the order of the passed BPF links.
    pub interfaces: Vec<HandoverInterface>,
    /// Address of the metrics listener, which is passed after the links.
    pub metrics: Option<SocketAddr>,
    /// The current cookie key, and the previous one.
    pub keys: ([u8; 16], Option<[u8; 16]>),
    /// Time when the current key was written or made, in seconds since 1970.
    pub key_since: u64,
    /// Generation number of the content for new connections.
    pub generation: u8,
    /// Time when that content was loaded, in seconds since 1970.
    pub loaded: u64,
    /// Its fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// Earlier generations, and for how many seconds connections of clients may still belong to them. It may be absent, as
    /// if the predecessor had just been started.
    #[serde(default)]
    pub former: Vec<(RetiredGeneration, u64)>,
    /// `--rules reliable`.
    pub reliable: bool,
    /// Largest payload of a segment, in bytes.
    pub segment_size: u16,
    /// Most time that a connection lives, in seconds.
    pub connection_lifetime: u64,
}

/// An interface of a predecessor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandoverInterface {
    /// Its name.
    pub name: String,
    /// ID of its XDP program.
    pub program: u32,
    /// The program runs in generic mode, not in the driver.
    pub generic: bool,
    /// Zero-copy mode.
    pub zero_copy: bool,
}

/// A step of a handover, for the predecessor's supervisor.
#[derive(Debug)]
pub enum HandoverStep {
    /// Report the state, and change nothing of it until [`HandoverStep::Release`] or [`HandoverStep::Resume`].
    Begin(oneshot::Sender<Result<(HandoverState, Vec<OwnedFd>), String>>),
    /// Stop the workers, and report that their sockets are closed.
    Release(oneshot::Sender<()>),
    /// End the process: the successor serves.
    End,
    /// Continue as before if possible: the successor has failed.
    Resume,
}

/// The control socket's access to the supervisor, for handovers.
#[derive(Clone, Debug)]
pub struct HandoverService {
    /// IDs of this process's XDP programs.
    pub programs: Arc<[u32]>,
    /// Steps for the supervisor.
    pub steps: mpsc::UnboundedSender<HandoverStep>,
}

/// The predecessor's side, for one successor. The reply is `null` if none of the requested programs is of this process.
pub(super) fn serve(
    stream: &UnixStream,
    request: &TakeoverRequest,
    service: &HandoverService,
) -> io::Result<()> {
    let HandoverService { programs, steps } = service;
    if !request.programs.iter().any(|program| programs.contains(program)) {
        return reply(stream, &Ok("null\n".to_owned()));
    }
    if request.version != VERSION {
        let text = format!(
            "it hands over by protocol version {VERSION}, and the request has version {}: stop it, and start the other",
            request.version
        );
        return reply(stream, &Err(text));
    }
    let (sender, receiver) = oneshot::channel();
    let answer = steps.send(HandoverStep::Begin(sender)).ok().and_then(|()| receiver.blocking_recv().ok());
    let (state, files) = match answer {
        Some(Ok(answer)) => answer,
        Some(Err(reason)) => return reply(stream, &Err(reason)),
        None => return reply(stream, &Err("the process is ending".to_owned())),
    };
    let outcome = send_state(stream, &state, &files).and_then(|()| release(stream, steps));
    // The supervisor may have ended.
    let _ = steps.send(if outcome.is_ok() { HandoverStep::End } else { HandoverStep::Resume });
    outcome
}

fn send_state(mut stream: &UnixStream, state: &HandoverState, files: &[OwnedFd]) -> io::Result<()> {
    let line = format!("{DONE}{}\n", serde_json::to_string(state).map_err(io::Error::other)?);
    let files: Vec<BorrowedFd<'_>> = files.iter().map(OwnedFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(files.len()))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut rights, SendFlags::NOSIGNAL)?;
    stream.write_all(&line.as_bytes()[sent..])
}

/// Releases the sockets when the successor asks for it. That may take long, as it loads its zones first.
fn release(mut stream: &UnixStream, steps: &mpsc::UnboundedSender<HandoverStep>) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    expect_word(stream, RELEASE)?;
    let (sender, receiver) = oneshot::channel();
    steps.send(HandoverStep::Release(sender)).map_err(io::Error::other)?;
    receiver.blocking_recv().map_err(io::Error::other)?;
    stream.write_all(format!("{RELEASED}\n").as_bytes())?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    expect_word(stream, SERVING)
}

fn expect_word(stream: &UnixStream, word: &str) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.strip_suffix('\n') == Some(word) {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::UnexpectedEof, format!("the other process did not send {word:?}")))
}

/// The successor's side of the conversation.
#[derive(Debug)]
pub struct Predecessor {
    /// Its process id.
    pub pid: u32,
    /// Its state.
    pub state: HandoverState,
    /// The BPF links of its programs, in the order of the interfaces.
    pub links: Vec<Link>,
    /// Its metrics listener.
    pub metrics: Option<TcpListener>,
    stream: UnixStream,
}

impl Predecessor {
    /// Asks the instance with these XDP programs, if there is one, to hand over. Its state does not change from then on until
    /// this is dropped.
    ///
    /// # Errors
    /// It refuses, for this reason.
    pub fn find(programs: &[u32]) -> Result<Option<Self>> {
        let mut refusals = Vec::new();
        let request = TakeoverRequest { version: VERSION, programs: programs.to_vec() };
        for (pid, stream) in instances(Path::new(DIRECTORY))? {
            match send_request(&stream, &request, REQUEST_TIMEOUT) {
                Ok((None, _)) => {}
                Ok((Some(state), files)) => return Self::new(pid, state, files, stream).map(Some),
                Err(error) => refusals.push(format!("process {pid}: {error:#}")),
            }
        }
        if !refusals.is_empty() {
            bail!("no instance hands over these interfaces: {}", refusals.join("; "));
        }
        Ok(None)
    }

    fn new(pid: u32, state: HandoverState, mut files: Vec<OwnedFd>, stream: UnixStream) -> Result<Self> {
        let links = state.interfaces.len();
        if files.len() != links + usize::from(state.metrics.is_some()) {
            bail!("process {pid} did not pass all files that it announced: stop it, and then start this one");
        }
        let metrics = files.split_off(links).pop().map(TcpListener::from);
        Ok(Self { pid, state, links: files.into_iter().map(Link::from).collect(), metrics, stream })
    }

    /// Makes it close its sockets. If it ends without a confirmation, they are closed, too.
    ///
    /// # Errors
    /// It neither answers nor ends.
    pub fn release(mut self) -> Result<ReleasedPredecessor> {
        let Self { pid, stream, .. } = &mut self;
        let asked = stream
            .set_read_timeout(Some(STEP_TIMEOUT))
            .and_then(|()| stream.write_all(format!("{RELEASE}\n").as_bytes()))
            .and_then(|()| expect_word(stream, RELEASED));
        match asked {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("process {pid} does not release its sockets: end it");
            }
            Err(error) => tracing::warn!("process {pid} ended during the takeover: {error}"),
            Ok(()) => {}
        }
        Ok(ReleasedPredecessor { stream: self.stream })
    }
}

/// A predecessor that has closed its sockets. Dropping this before [`Self::serving`] ends it, and the kernel has the ports
/// back.
#[derive(Debug)]
pub struct ReleasedPredecessor {
    stream: UnixStream,
}

impl ReleasedPredecessor {
    /// Tells it to end, as this process serves now.
    pub fn serving(mut self) {
        // It may have ended already.
        let _ = self.stream.write_all(format!("{SERVING}\n").as_bytes());
    }
}

fn send_request(
    mut stream: &UnixStream,
    request: &TakeoverRequest,
    timeout: Duration,
) -> Result<(Option<HandoverState>, Vec<OwnedFd>)> {
    let request = serde_json::to_string(request)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("{HANDOVER}{request}\n").as_bytes())?;
    let (line, files) = match receive(stream) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            bail!("it does not answer within {} s: end it", timeout.as_secs())
        }
        received => received?,
    };
    if let Some(reason) = line.strip_prefix(FAILED) {
        bail!("{reason}");
    }
    let text = line.strip_prefix(DONE).context("it ended before it answered")?;
    Ok((serde_json::from_str(text).context("it is of another version")?, files))
}

/// Reads a line, or up to the end of the stream, and the passed files.
fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let (mut line, mut files) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FILES))];
    loop {
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let length = recvmsg(stream, &mut slices, &mut rights, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        line.extend_from_slice(&buffer[..length]);
        if length == 0 || line.ends_with(b"\n") {
            return Ok((String::from_utf8_lossy(&line).trim_end().to_owned(), files));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_that_does_not_answer_is_an_error() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let request = TakeoverRequest { version: VERSION, programs: vec![7] };
        let error = send_request(&ours, &request, Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }

    #[test]
    fn a_predecessor_that_has_ended_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs.shutdown(std::net::Shutdown::Write));
        let request = TakeoverRequest { version: VERSION, programs: vec![7] };
        let error = send_request(&ours, &request, REQUEST_TIMEOUT).unwrap_err();
        assert!(error.to_string().contains("ended before it answered"), "{error}");
    }
}
