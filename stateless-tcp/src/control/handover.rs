//! How one process hands its interfaces to another: what both say over the control socket.
//!
//! ```text
//! successor    handover {version, programs}      it wants the interfaces with these XDP programs
//! predecessor  done {what it serves}             with the BPF links, and the metrics' listener, as SCM_RIGHTS
//!              ... the successor prepares all that can fail, then puts its programs into the links ...
//! successor    release
//! predecessor  released                          its sockets are closed
//! successor    serving
//! predecessor  ends
//! ```
//!
//! Whoever ends the connection before that has failed. Until `release` the predecessor then goes on as if nothing had been;
//! after it nobody can, and both end, so that the kernel has its ports.

use super::{DIRECTORY, DONE, FAILED, HANDOVER, running, say};
use crate::af_xdp::link::Link;
use crate::serving::RetiredGeneration;
use crate::serving::fingerprint::Fingerprint;
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

/// Of this conversation. Both have to speak the same; what one adds that the other can do without does not change it.
pub const VERSION: u32 = 1;

/// How long one waits for the other where nothing but a fault can take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an instance may take to say whether it hands over: a reload that it is at comes first.
const CONSIDERATION: Duration = Duration::from_mins(2);

/// Most files that come with an answer (the kernel's `SCM_MAX_FD`).
const MOST_FILES: usize = 253;

const RELEASE: &str = "release";
const RELEASED: &str = "released";
const SERVING: &str = "serving";

/// What a successor asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// [`VERSION`], as it knows it.
    pub version: u32,
    /// The kernel's numbers of the XDP programs on the interfaces that it is to serve.
    pub programs: Vec<u32>,
}

/// What a predecessor serves, as far as that concerns its successor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handed {
    /// Interfaces, each with its BPF link, in this order.
    pub interfaces: Vec<HandedInterface>,
    /// Where metrics are asked for. The listener comes behind the links.
    pub metrics: Option<SocketAddr>,
    /// The current cookie key, and the previous.
    pub keys: ([u8; 16], Option<[u8; 16]>),
    /// Seconds since 1970 when the current key was written, or made.
    pub key_since: u64,
    /// The number of the content that new connections get.
    pub generation: u8,
    /// Seconds since 1970 when it was loaded.
    pub loaded: u64,
    /// [`Content::fingerprint`](crate::dataplane::engine::Content::fingerprint).
    pub fingerprint: Option<Fingerprint>,
    /// Generations before that one, and for how many seconds clients may still be of them. A predecessor that does not say
    /// is none the worse off than one that was just started.
    #[serde(default)]
    pub former: Vec<(RetiredGeneration, u64)>,
    /// `--rules reliable`.
    pub reliable: bool,
    /// Most octets of payload in a segment.
    pub segment_size: u16,
}

/// An interface that is handed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandedInterface {
    /// Its name.
    pub name: String,
    /// The kernel's number of its XDP program.
    pub program: u32,
    /// The program is in the network stack, not in the driver.
    pub generic: bool,
    /// Frames are not copied.
    pub zero_copy: bool,
}

/// What a predecessor's supervisor is asked to do.
#[derive(Debug)]
pub enum Step {
    /// To say what it serves, and to change nothing of that until [`Step::Release`] or [`Step::GoOn`].
    Begin(oneshot::Sender<Result<(Handed, Vec<OwnedFd>), String>>),
    /// To end its workers, and to say when their sockets are closed.
    Release(oneshot::Sender<()>),
    /// To end: the successor serves.
    End,
    /// To go on as before, if that is possible: there is no successor any more.
    GoOn,
}

/// What a predecessor's supervisor and its control socket share.
#[derive(Clone, Debug)]
pub struct Handovers {
    /// The kernel's numbers of its XDP programs.
    pub programs: Arc<[u32]>,
    /// Where the supervisor is asked.
    pub steps: mpsc::UnboundedSender<Step>,
}

/// The predecessor's part, for one successor. Whose programs are not meant says `null`.
pub(super) fn serve(stream: &UnixStream, wish: &Wish, handovers: &Handovers) -> io::Result<()> {
    let Handovers { programs, steps } = handovers;
    if !wish.programs.iter().any(|program| programs.contains(program)) {
        return say(stream, &Ok("null\n".to_owned()));
    }
    if wish.version != VERSION {
        let text = format!(
            "it hands over by version {VERSION}, and is asked by version {}: stop it, and start the other",
            wish.version
        );
        return say(stream, &Err(text));
    }
    let (sender, receiver) = oneshot::channel();
    let asked = steps.send(Step::Begin(sender)).ok().and_then(|()| receiver.blocking_recv().ok());
    let (handed, files) = match asked {
        Some(Ok(answer)) => answer,
        Some(Err(reason)) => return say(stream, &Err(reason)),
        None => return say(stream, &Err("the process is ending".to_owned())),
    };
    let outcome = hand(stream, &handed, &files).and_then(|()| let_go(stream, steps));
    // Nobody has to be told who has ended.
    let _ = steps.send(if outcome.is_ok() { Step::End } else { Step::GoOn });
    outcome
}

fn hand(mut stream: &UnixStream, handed: &Handed, files: &[OwnedFd]) -> io::Result<()> {
    let line = format!("{DONE}{}\n", serde_json::to_string(handed).map_err(io::Error::other)?);
    let files: Vec<BorrowedFd<'_>> = files.iter().map(OwnedFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(files.len()))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut rights, SendFlags::NOSIGNAL)?;
    stream.write_all(&line.as_bytes()[sent..])
}

/// Lets go when the successor says so, which may take long: it reads its zones.
fn let_go(mut stream: &UnixStream, steps: &mpsc::UnboundedSender<Step>) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    expect(stream, RELEASE)?;
    let (sender, receiver) = oneshot::channel();
    steps.send(Step::Release(sender)).map_err(io::Error::other)?;
    receiver.blocking_recv().map_err(io::Error::other)?;
    stream.write_all(format!("{RELEASED}\n").as_bytes())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    expect(stream, SERVING)
}

fn expect(stream: &UnixStream, word: &str) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.strip_suffix('\n') == Some(word) {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::UnexpectedEof, format!("no {word} from the other process")))
}

/// The successor's end of the conversation.
#[derive(Debug)]
pub struct Predecessor {
    /// Its process id.
    pub pid: u32,
    /// What it serves.
    pub handed: Handed,
    /// What holds its programs, in the order of the interfaces.
    pub links: Vec<Link>,
    /// Where its metrics are asked for.
    pub metrics: Option<TcpListener>,
    stream: UnixStream,
}

impl Predecessor {
    /// The instance whose XDP programs have these numbers, if there is one; it changes nothing of what it serves from then
    /// on, until this is dropped.
    ///
    /// # Errors
    /// It does not hand over, and why.
    pub fn find(programs: &[u32]) -> Result<Option<Self>> {
        let mut refusals = Vec::new();
        let wish = Wish { version: VERSION, programs: programs.to_vec() };
        for (pid, stream) in running(Path::new(DIRECTORY))? {
            match ask(&stream, &wish, CONSIDERATION) {
                Ok((None, _)) => {}
                Ok((Some(handed), files)) => return Self::of(pid, handed, files, stream).map(Some),
                Err(error) => refusals.push(format!("process {pid}: {error:#}")),
            }
        }
        if !refusals.is_empty() {
            bail!("no instance hands these interfaces over: {}", refusals.join("; "));
        }
        Ok(None)
    }

    fn of(pid: u32, handed: Handed, mut files: Vec<OwnedFd>, stream: UnixStream) -> Result<Self> {
        let links = handed.interfaces.len();
        if files.len() != links + usize::from(handed.metrics.is_some()) {
            bail!(
                "process {pid} does not hand over what it says that it does: stop it, and start this one then"
            );
        }
        let metrics = files.split_off(links).pop().map(TcpListener::from);
        Ok(Self { pid, handed, links: files.into_iter().map(Link::from).collect(), metrics, stream })
    }

    /// Has it close its sockets. Where it does not say that it has, it has ended, and they are closed too.
    ///
    /// # Errors
    /// It does not answer.
    pub fn release(mut self) -> Result<Released> {
        let Self { pid, stream, .. } = &mut self;
        let asked = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.write_all(format!("{RELEASE}\n").as_bytes()))
            .and_then(|()| expect(stream, RELEASED));
        match asked {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("process {pid} does not let go of its sockets: end it");
            }
            Err(error) => tracing::warn!("process {pid} ended before its time: {error}"),
            Ok(()) => {}
        }
        Ok(Released { stream: self.stream })
    }
}

/// A predecessor that serves no more. Dropped before [`Released::serving`], it leaves the ports to the kernel.
#[derive(Debug)]
pub struct Released {
    stream: UnixStream,
}

impl Released {
    /// Tells it to end: here is who serves now.
    pub fn serving(mut self) {
        // If it has ended already nothing is left to be told.
        let _ = self.stream.write_all(format!("{SERVING}\n").as_bytes());
    }
}

fn ask(mut stream: &UnixStream, wish: &Wish, patience: Duration) -> Result<(Option<Handed>, Vec<OwnedFd>)> {
    let wish = serde_json::to_string(wish)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("{HANDOVER}{wish}\n").as_bytes())?;
    let (line, files) = match receive(stream) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            bail!("it does not answer within {} s: end it", patience.as_secs())
        }
        received => received?,
    };
    if let Some(reason) = line.strip_prefix(FAILED) {
        bail!("{reason}");
    }
    let text = line.strip_prefix(DONE).context("it ended before it answered")?;
    Ok((serde_json::from_str(text).context("it is of another version")?, files))
}

/// A line, or what there is until the end, and the files that came with it.
fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let (mut line, mut files) = (Vec::new(), Vec::new());
    let mut octets = [0; 4096];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_FILES))];
    loop {
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut place = [IoSliceMut::new(&mut octets)];
        let length = recvmsg(stream, &mut place, &mut rights, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        line.extend_from_slice(&octets[..length]);
        if length == 0 || line.ends_with(b"\n") {
            return Ok((String::from_utf8_lossy(&line).trim_end().to_owned(), files));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_waited_for_without_end() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let wish = Wish { version: VERSION, programs: vec![7] };
        let error = ask(&ours, &wish, Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }

    #[test]
    fn who_has_ended_has_not_answered() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs.shutdown(std::net::Shutdown::Write));
        let wish = Wish { version: VERSION, programs: vec![7] };
        let error = ask(&ours, &wish, CONSIDERATION).unwrap_err();
        assert!(error.to_string().contains("ended before it answered"), "{error}");
    }
}
