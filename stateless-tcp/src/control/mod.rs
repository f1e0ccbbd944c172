//! How a running instance is found and spoken to: a UNIX socket named after its process id.
//!
//! Who connects sends one line, `reload`, and reads one line until the end: `done` or `failed`, then what there is to
//! say. After `trace FILTER` and `top`, what is done goes on for as long as the caller listens ([`stream`]), and after
//! `handover` the caller takes this process's place ([`handover`]). The directory belongs to the user that runs the instance, and to no other.

pub mod handover;
pub mod stream;

use self::handover::{Handovers, Wish as Succession};
use self::stream::{Source, Sources, Wish};
use crate::commands::check;
use crate::commands::check::conduct::{self, House};
use crate::observe::exporter::Look;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Where the sockets are.
pub const DIRECTORY: &str = "/run/stateless-tcp";

/// What can be asked for.
const RELOAD: &str = "reload";
const TRACE: &str = "trace ";
const TOP: &str = "top";
const HANDOVER: &str = "handover ";
const CHECK: &str = "check ";

/// Most octets of what is asked for.
const LONGEST: u64 = 4_096;

const DONE: &str = "done ";
const FAILED: &str = "failed ";

/// A caller has so long to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long without an answer, the user is told why it may take.
const SILENCE: Duration = Duration::from_secs(3);

/// After a caller that the system did not give, the next is waited for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// The outcome of a reload: what there is to say of it, or that there was none, and why.
pub type Outcome = Result<String, String>;

/// Somebody's wish for a reload; the outcome goes to it.
pub type Request = oneshot::Sender<Outcome>;

/// What callers are given.
#[derive(Clone, Debug)]
pub struct Services {
    /// To whom wishes for a reload go.
    pub reloads: mpsc::UnboundedSender<Request>,
    /// To whom wishes for a snapshot go.
    pub looks: mpsc::UnboundedSender<Look>,
    /// Where frames can be listened to.
    pub sources: Arc<[Source]>,
    /// To whom it goes who is to take this process's place.
    pub handovers: Handovers,
    /// What a check goes by.
    pub house: House,
}

/// The socket of this process. Dropped, it is removed.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    socket: UnixListener,
}

impl Listener {
    /// Makes the socket.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn bind() -> io::Result<Self> {
        Self::bind_in(Path::new(DIRECTORY))
    }

    fn bind_in(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = path_of(directory, std::process::id());
        // An earlier process of this number may have been killed.
        let _ = fs::remove_file(&path);
        let this = Self { socket: UnixListener::bind(&path)?, path };
        fs::set_permissions(&this.path, Permissions::from_mode(0o600))?;
        Ok(this)
    }

    /// Listens on a thread of its own, and serves each caller on another.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn listen(&self, services: Services) -> io::Result<()> {
        let socket = self.socket.try_clone()?;
        let listen = move || {
            for stream in socket.incoming() {
                let Ok(stream) = stream else {
                    // It lacks descriptors.
                    std::thread::sleep(PAUSE);
                    continue;
                };
                let services = services.clone();
                // A caller without a thread sees its connection closed. Only this user can make so many.
                let _ = thread("caller", move || {
                    if let Err(error) = serve(&stream, &services) {
                        tracing::debug!("control socket: {error}");
                    }
                });
            }
        };
        thread("control", listen)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn path_of(directory: &Path, pid: u32) -> PathBuf {
    directory.join(format!("{pid}.sock"))
}

fn serve(stream: &UnixStream, services: &Services) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    let line = line.trim_end();
    if line == RELOAD {
        let (sender, receiver) = oneshot::channel();
        let answer = services.reloads.send(sender).ok().and_then(|()| receiver.blocking_recv().ok());
        return say(stream, &answer.unwrap_or_else(|| Err("the process is ending".to_owned())));
    }
    if line == TOP {
        return stream::snapshots(stream, &services.looks);
    }
    if let Some(wish) = line.strip_prefix(HANDOVER) {
        return match serde_json::from_str::<Succession>(wish) {
            Ok(wish) => handover::serve(stream, &wish, &services.handovers),
            Err(error) => say(stream, &Err(format!("it asks in another way: {error}"))),
        };
    }
    if let Some(wish) = line.strip_prefix(CHECK) {
        let wish = serde_json::from_str(wish).map_err(|error| format!("no wish: {error}"));
        return say(stream, &wish.and_then(|wish| conduct::conduct(&wish, &services.house)));
    }
    match line.strip_prefix(TRACE).map(serde_json::from_str::<Wish>) {
        Some(Ok(wish)) => stream::frames(stream, wish, &services.sources),
        Some(Err(error)) => say(stream, &Err(format!("no filter: {error}"))),
        None => say(stream, &Err(format!("{line:?} cannot be asked for"))),
    }
}

fn say(mut stream: &UnixStream, outcome: &Outcome) -> io::Result<()> {
    let (word, text) = match outcome {
        Ok(text) => (DONE, text),
        Err(text) => (FAILED, text),
    };
    stream.write_all(format!("{word}{text}").as_bytes())
}

/// Listens to the instance `pid`, or the only one that runs: what is shown, and the connection from which
/// [`stream::read`] reads the rest.
///
/// # Errors
/// As [`reload`].
pub fn trace(pid: Option<u32>, wish: &Wish) -> Result<(Sources, UnixStream)> {
    let wish = serde_json::to_string(wish).context("a filter")?;
    let (line, stream) = follow(pid, &format!("{TRACE}{wish}"))?;
    Ok((serde_json::from_str(&line).context("the instance is of another version")?, stream))
}

/// The connection from which snapshots of the instance `pid`, or the only one that runs, can be read.
///
/// # Errors
/// As [`reload`].
pub fn top(pid: Option<u32>) -> Result<UnixStream> {
    follow(pid, TOP).map(|(_, stream)| stream)
}

/// Has the instance `pid`, or the only one that runs, find out whether it answers: what was answered, or what is wrong.
///
/// # Errors
/// If there is no such instance, or several and none named; or it ended before it said anything.
pub fn check(pid: Option<u32>, wish: &check::Wish) -> Result<Result<String>> {
    let wish = serde_json::to_string(wish).context("a wish")?;
    let (pid, mut stream) = ask(Path::new(DIRECTORY), pid, &format!("{CHECK}{wish}"))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| ended(pid))?;
    ensure!(!text.is_empty(), ended(pid));
    Ok(answer(pid, &text))
}

/// Asks for what goes on: the first line of the answer, and where the rest comes.
fn follow(pid: Option<u32>, what: &str) -> Result<(String, UnixStream)> {
    let (pid, mut stream) = ask(Path::new(DIRECTORY), pid, what)?;
    let mut line = Vec::new();
    let mut octet = [0; 1];
    // One at a time: what comes behind the line is the reader's.
    while stream.read(&mut octet).with_context(|| ended(pid))? > 0 && octet != *b"\n" {
        line.extend(octet);
    }
    let line = String::from_utf8(line).with_context(|| ended(pid))?;
    answer(pid, &line).map(|line| (line, stream))
}

/// Has the instance `pid`, or the only one that runs, reload. Waits for the outcome, which is returned if good.
///
/// # Errors
/// If there is no such instance, or several and none named; and the reason why it goes on with what it had.
pub fn reload(pid: Option<u32>) -> Result<String> {
    reload_in(Path::new(DIRECTORY), pid)
}

fn reload_in(directory: &Path, pid: Option<u32>) -> Result<String> {
    let (pid, stream) = ask(directory, pid, RELOAD)?;
    let text = outcome(stream).with_context(|| ended(pid))?;
    answer(pid, &text)
}

/// Asks the instance `pid`, or the only one that runs, for `what`: who it is, and where it answers.
fn ask(directory: &Path, pid: Option<u32>, what: &str) -> Result<(u32, UnixStream)> {
    let (pid, mut stream) = find(directory, pid)?;
    stream.write_all(format!("{what}\n").as_bytes()).with_context(|| ended(pid))?;
    Ok((pid, stream))
}

fn ended(pid: u32) -> String {
    format!("process {pid} ended before it answered")
}

/// What an answer says, if it is a good one.
fn answer(pid: u32, text: &str) -> Result<String> {
    if let Some(text) = text.strip_prefix(DONE) {
        return Ok(text.to_owned());
    }
    match text.strip_prefix(FAILED) {
        Some(reason) => bail!("process {pid}: {reason}"),
        None => bail!(ended(pid)),
    }
}

fn find(directory: &Path, pid: Option<u32>) -> Result<(u32, UnixStream)> {
    let shown = directory.display();
    if let Some(pid) = pid {
        let stream = UnixStream::connect(path_of(directory, pid)).with_context(|| {
            format!(
                "cannot reach process {pid} in {shown}: is it a running `stateless-tcp run` of this user?"
            )
        })?;
        return Ok((pid, stream));
    }
    let mut found = running(directory)?;
    if found.len() > 1 {
        let mut pids: Vec<u32> = found.iter().map(|(pid, _)| *pid).collect();
        pids.sort_unstable();
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        bail!("several instances run: say which by --pid {}", pids.join(" or --pid "));
    }
    found.pop().with_context(|| format!("no instance runs: {shown} has no socket of one"))
}

/// The process ids that sockets here are named after.
#[must_use]
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.path().file_stem()?.to_str()?.parse().ok()).collect()
}

/// All instances that listen in `directory`.
fn running(directory: &Path) -> Result<Vec<(u32, UnixStream)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => {
            entries.with_context(|| format!("cannot look into {}: run as root", directory.display()))?
        }
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(pid) = stem.and_then(|stem| stem.parse().ok()) else { continue };
        match UnixStream::connect(&path) {
            Ok(stream) => found.push((pid, stream)),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // Its process was killed. Whoever may not clear it away need not.
                let _ = fs::remove_file(&path);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot reach {}", path.display())),
        }
    }
    Ok(found)
}

/// What became of a reload, which may take long.
fn outcome(mut stream: UnixStream) -> io::Result<String> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut answer = String::new();
    let mut first = [0; 1];
    match stream.read_exact(&mut first) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            eprintln!(
                "waiting: there is much to read, or as many former contents are kept for their connections as may be \
                 (the log says so)"
            );
            stream.set_read_timeout(None)?;
        }
        result => {
            result?;
            answer.push(char::from(first[0]));
            stream.set_read_timeout(None)?;
        }
    }
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests;
