//! The control socket of a running instance: a UNIX socket named after its process ID.
//!
//! A client connects, sends one line, and reads one line until the end of the stream: `done` or `failed`, and a text. After
//! `trace FILTER` and `top` the server goes on to send ([`stream`]) until the client closes. After `handover` the client
//! takes over the interfaces of this process ([`handover`]). The directory is accessible to the user that runs the instance
//! alone.
//!
//! | module | task |
//! |---|---|
//! | [`client`] | finds an instance and sends it a command |
//! | [`server`] | the socket, and the dispatch of commands |
//! | [`stream`] | frames and snapshots that are sent until the client closes |
//! | [`handover`] | the conversation between two processes during a takeover |
//! | [`check`] | the health check |

pub mod check;
pub mod client;
pub mod handover;
pub mod server;
pub mod stream;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The directory of the sockets.
pub const DIRECTORY: &str = "/run/stateless-tcp";

/// Commands. Those with a space are followed by a JSON value.
const RELOAD: &str = "reload";
const TRACE: &str = "trace ";
const TOP: &str = "top";
const HANDOVER: &str = "handover ";
const CHECK: &str = "check ";

/// First words of a reply.
const DONE: &str = "done ";
const FAILED: &str = "failed ";

/// The result of a command: text for its user either way.
pub type CommandResult = Result<String, String>;

fn socket_path(directory: &Path, pid: u32) -> PathBuf {
    directory.join(format!("{pid}.sock"))
}

fn reply(mut stream: &UnixStream, result: &CommandResult) -> io::Result<()> {
    let (word, text) = match result {
        Ok(text) => (DONE, text),
        Err(text) => (FAILED, text),
    };
    stream.write_all(format!("{word}{text}").as_bytes())
}
