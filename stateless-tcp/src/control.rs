//! How a running instance is found and spoken to: a UNIX socket named after its process id.
//!
//! Who connects sends one line, `reload`, and reads one line until the end: `done` or `failed`, then what there is to
//! say. The directory belongs to the user that runs the instance, and to no other.

use anyhow::{Context as _, Result, bail};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Where the sockets are.
pub const DIRECTORY: &str = "/run/stateless-tcp";

/// The one thing that can be asked for.
const RELOAD: &str = "reload";
const DONE: &str = "done ";
const FAILED: &str = "failed ";

/// A caller has so long to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long without an answer, the user is told why it may take.
const SILENCE: Duration = Duration::from_secs(3);

/// The outcome of a reload: what there is to say of it, or that there was none, and why.
pub type Outcome = Result<String, String>;

/// Somebody's wish for a reload; the outcome goes to it.
pub type Request = oneshot::Sender<Outcome>;

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

    /// Listens on a thread of its own, and hands on each wish for a reload.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn listen(&self, requests: mpsc::UnboundedSender<Request>) -> io::Result<()> {
        let socket = self.socket.try_clone()?;
        let listen = move || {
            for stream in socket.incoming().filter_map(Result::ok) {
                let requests = requests.clone();
                // A caller without a thread sees its connection closed. Only this user can make so many.
                let _ = thread("caller", move || {
                    if let Err(error) = serve(stream, &requests) {
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

fn serve(mut stream: UnixStream, requests: &mpsc::UnboundedSender<Request>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(64)).read_line(&mut line)?;
    let outcome = if line.trim_end() == RELOAD {
        let (sender, receiver) = oneshot::channel();
        let answer = requests.send(sender).ok().and_then(|()| receiver.blocking_recv().ok());
        answer.unwrap_or_else(|| Err("the process is ending".to_owned()))
    } else {
        Err(format!("{:?} cannot be asked for", line.trim_end()))
    };
    let (word, text) = match &outcome {
        Ok(text) => (DONE, text),
        Err(text) => (FAILED, text),
    };
    stream.write_all(format!("{word}{text}").as_bytes())
}

/// Has the instance `pid`, or the only one that runs, reload. Waits for the outcome, which is returned if good.
///
/// # Errors
/// If there is no such instance, or several and none named; and the reason why it goes on with what it had.
pub fn reload(pid: Option<u32>) -> Result<String> {
    reload_in(Path::new(DIRECTORY), pid)
}

fn reload_in(directory: &Path, pid: Option<u32>) -> Result<String> {
    let (pid, stream) = find(directory, pid)?;
    let answer = ask(stream).with_context(|| format!("process {pid} ended before it answered"))?;
    if let Some(text) = answer.strip_prefix(DONE) {
        return Ok(text.to_owned());
    }
    match answer.strip_prefix(FAILED) {
        Some(reason) => bail!("process {pid}: {reason}"),
        None => bail!("process {pid} ended before it answered"),
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

fn ask(mut stream: UnixStream) -> io::Result<String> {
    stream.write_all(format!("{RELOAD}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut answer = String::new();
    let mut first = [0; 1];
    match stream.read_exact(&mut first) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            eprintln!(
                "waiting: what was served before the last reload is kept for a minute, or there is much to read"
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
mod tests {
    use super::*;

    fn listen(directory: &Path, outcome: Outcome) -> Listener {
        let (sender, mut requests) = mpsc::unbounded_channel::<Request>();
        let listener = Listener::bind_in(directory).unwrap();
        listener.listen(sender).unwrap();
        std::thread::spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                request.send(outcome.clone()).unwrap();
            }
        });
        listener
    }

    #[test]
    fn the_outcome_reaches_the_caller() {
        for (outcome, expected) in [
            (Ok("served".to_owned()), "served".to_owned()),
            (
                Err("a.zone:6:5: no such type".to_owned()),
                format!("process {}: a.zone:6:5: no such type", std::process::id()),
            ),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let _listener = listen(directory.path(), outcome.clone());
            for pid in [None, Some(std::process::id())] {
                let result = reload_in(directory.path(), pid);
                assert_eq!(result.is_ok(), outcome.is_ok());
                assert_eq!(result.unwrap_or_else(|error| error.to_string()), expected);
            }
        }
    }

    #[test]
    fn an_instance_is_found_or_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let missing = path.join("missing");
        assert!(reload_in(&missing, None).unwrap_err().to_string().contains("no instance runs"));
        // Left by a process that was killed.
        drop(UnixListener::bind(path_of(path, 4_000_001)).unwrap());
        assert!(reload_in(path, None).unwrap_err().to_string().contains("no instance runs"));
        assert!(!path_of(path, 4_000_001).exists(), "it is cleared away");

        let listener = listen(path, Ok(String::new()));
        let other = UnixListener::bind(path_of(path, 1)).unwrap();
        let error = reload_in(path, None).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("several instances run: say which by --pid 1 or --pid {}", std::process::id())
        );
        let error = reload_in(path, Some(4_000_001)).unwrap_err().to_string();
        assert!(error.contains("process 4000001"), "{error}");
        drop(other);
        drop(listener);
        assert!(!path_of(path, std::process::id()).exists(), "it goes with its process");
    }

    #[test]
    fn other_words_ask_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, mut requests) = mpsc::unbounded_channel();
        let listener = Listener::bind_in(directory.path()).unwrap();
        listener.listen(sender).unwrap();
        let mut stream = UnixStream::connect(path_of(directory.path(), std::process::id())).unwrap();
        stream.write_all(b"stop\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "failed \"stop\" cannot be asked for");
        assert!(requests.try_recv().is_err());
    }
}
