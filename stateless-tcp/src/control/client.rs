//! The client's end of the control socket: finds an instance and sends it a command.
//!
//! Each command goes to the instance with a given process ID, or to the only instance that runs.

use super::check::CheckRequest;
use super::stream::{TraceRequest, TracedQueues};
use super::{CHECK, DIRECTORY, DONE, FAILED, RELOAD, TOP, TRACE, socket_path};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Wait for the result of a reload before the user is told why it may take longer.
const NOTICE_DELAY: Duration = Duration::from_secs(3);

/// Starts a trace. Returns the traced queues, and the connection to read events from
/// ([`read_event`](super::stream::read_event)).
///
/// # Errors
/// As [`reload`].
pub fn trace(pid: Option<u32>, request: &TraceRequest) -> Result<(TracedQueues, UnixStream)> {
    let request = serde_json::to_string(request).context("cannot encode the filter")?;
    let (line, stream) = follow(pid, &format!("{TRACE}{request}"))?;
    Ok((serde_json::from_str(&line).context("the instance is of another version")?, stream))
}

/// Starts a stream of snapshots, and returns the connection to read them from.
///
/// # Errors
/// As [`reload`].
pub fn top(pid: Option<u32>) -> Result<UnixStream> {
    follow(pid, TOP).map(|(_, stream)| stream)
}

/// Runs a health check: the response, or what is wrong.
///
/// # Errors
/// There is no such instance, or several and `pid` names none; or the instance ended before it answered.
pub fn check(pid: Option<u32>, request: &CheckRequest) -> Result<Result<String>> {
    let request = serde_json::to_string(request).context("cannot encode the request")?;
    let (pid, mut stream) = send(Path::new(DIRECTORY), pid, &format!("{CHECK}{request}"))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| ended(pid))?;
    ensure!(!text.is_empty(), ended(pid));
    Ok(parse_reply(pid, &text))
}

/// Reloads the configuration. Waits for the result and returns its text.
///
/// # Errors
/// There is no such instance, or several and `pid` names none; or the reload failed.
pub fn reload(pid: Option<u32>) -> Result<String> {
    reload_in(Path::new(DIRECTORY), pid)
}

pub(super) fn reload_in(directory: &Path, pid: Option<u32>) -> Result<String> {
    let (pid, stream) = send(directory, pid, RELOAD)?;
    let text = reload_result(stream).with_context(|| ended(pid))?;
    parse_reply(pid, &text)
}

/// The reply to a reload, which may take long.
fn reload_result(mut stream: UnixStream) -> io::Result<String> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(NOTICE_DELAY))?;
    let mut reply = String::new();
    let mut first = [0; 1];
    match stream.read_exact(&mut first) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            eprintln!(
                "waiting: there is much to read, or the number of earlier contents that are kept for their connections is \
                 at its limit (the log says so)"
            );
            stream.set_read_timeout(None)?;
        }
        result => {
            result?;
            reply.push(char::from(first[0]));
            stream.set_read_timeout(None)?;
        }
    }
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Sends a command whose reply goes on: returns its first line, and the stream of the rest.
fn follow(pid: Option<u32>, command: &str) -> Result<(String, UnixStream)> {
    let (pid, mut stream) = send(Path::new(DIRECTORY), pid, command)?;
    let mut line = Vec::new();
    let mut byte = [0; 1];
    // Byte by byte: the rest belongs to the caller.
    while stream.read(&mut byte).with_context(|| ended(pid))? > 0 && byte != *b"\n" {
        line.extend(byte);
    }
    let line = String::from_utf8(line).with_context(|| ended(pid))?;
    parse_reply(pid, &line).map(|line| (line, stream))
}

/// Sends a command. Returns the instance's process ID, and the stream of its reply.
fn send(directory: &Path, pid: Option<u32>, command: &str) -> Result<(u32, UnixStream)> {
    let (pid, mut stream) = connect(directory, pid)?;
    stream.write_all(format!("{command}\n").as_bytes()).with_context(|| ended(pid))?;
    Ok((pid, stream))
}

fn ended(pid: u32) -> String {
    format!("process {pid} ended before it answered")
}

fn parse_reply(pid: u32, text: &str) -> Result<String> {
    if let Some(text) = text.strip_prefix(DONE) {
        return Ok(text.to_owned());
    }
    match text.strip_prefix(FAILED) {
        Some(reason) => bail!("process {pid}: {reason}"),
        None => bail!(ended(pid)),
    }
}

fn connect(directory: &Path, pid: Option<u32>) -> Result<(u32, UnixStream)> {
    let shown = directory.display();
    if let Some(pid) = pid {
        let stream = UnixStream::connect(socket_path(directory, pid)).with_context(|| {
            format!(
                "cannot reach process {pid} in {shown}: is it a running `stateless-tcp run` of this user?"
            )
        })?;
        return Ok((pid, stream));
    }
    let mut found = instances(directory)?;
    if found.len() > 1 {
        let mut pids: Vec<u32> = found.iter().map(|(pid, _)| *pid).collect();
        pids.sort_unstable();
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        bail!("several instances run: choose one by --pid {}", pids.join(" or --pid "));
    }
    found.pop().with_context(|| format!("no instance runs: there is no socket of one in {shown}"))
}

/// The process IDs that sockets are named after.
#[must_use]
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.path().file_stem()?.to_str()?.parse().ok()).collect()
}

/// All instances that listen in `directory`.
pub(super) fn instances(directory: &Path) -> Result<Vec<(u32, UnixStream)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries
            .with_context(|| format!("cannot read the directory {}: run as root", directory.display()))?,
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(pid) = stem.and_then(|stem| stem.parse().ok()) else { continue };
        match UnixStream::connect(&path) {
            Ok(stream) => found.push((pid, stream)),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // A killed process left its socket. Removal may fail without harm.
                let _ = fs::remove_file(&path);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot reach {}", path.display())),
        }
    }
    Ok(found)
}
