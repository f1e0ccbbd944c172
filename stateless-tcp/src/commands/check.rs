//! The `check` command: whether a running instance answers, for whoever has to decide by that.
//!
//! A client that is not there opens a connection on every queue, asks, and looks at the answer ([`conduct`]). Each of its
//! frames goes through the attached XDP program, as a frame from the network does, and to the worker of the queue, whose
//! answers go out at the interface. What that does not prove is the card's reception: frames from the network do.

mod client;
pub mod conduct;
pub mod question;
#[cfg(test)]
mod tests;

use self::question::Question;
use crate::control;
use anyhow::{Result, bail};
use domain::base::Rtype;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Addresses that are nobody's, and to which nothing is forwarded: the dummy address of RFC 7600, and one of the prefix that
/// is for discarding (RFC 6666).
const CLIENTS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 0, 8), Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1));

/// The instance is given so much longer to say that there was no answer.
const GRACE: Duration = Duration::from_millis(100);

/// Between two tries, and the least that one of them has.
const PAUSE: Duration = Duration::from_millis(50);

/// What to ask of which instance.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct CheckOptions {
    /// Process id of the instance [default: the only one that runs]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Name to ask for, which must exist [default: the root, which need not exist]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Type to ask for
    #[arg(long = "type", value_name = "TYPE", default_value = "SOA", requires = "name")]
    pub rtype: Rtype,
    /// Path to ask for by HTTP instead
    #[arg(long, value_name = "PATH", conflicts_with = "name")]
    pub http: Option<String>,
    /// Served address to ask [default: the lowest]
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// Address to ask from, which should belong to nobody [default: 192.0.0.8 or 100::1]
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// Time for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// What an instance is told to find out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What to ask.
    pub question: Question,
    /// At which address.
    pub address: Option<IpAddr>,
    /// From which address.
    pub client: Option<IpAddr>,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl Wish {
    /// The address to ask `server` from.
    fn client_of(&self, server: IpAddr) -> IpAddr {
        self.client.unwrap_or(if server.is_ipv4() { CLIENTS.0.into() } else { CLIENTS.1.into() })
    }
}

/// Says what was answered.
///
/// # Errors
/// There is no such instance, it was not answered in time, or wrongly.
pub fn run(options: &CheckOptions) -> Result<String> {
    let CheckOptions { pid, address, client, .. } = *options;
    let timeout = Duration::from_millis(options.timeout);
    let wish = Wish { question: question(options)?, address, client, timeout };
    let (sender, receiver) = mpsc::channel();
    // A process that is stopped takes connections until there is no room for more: only who does not wait for it can tell.
    thread::spawn(move || sender.send(insist(pid, wish)));
    match receiver.recv_timeout(timeout + GRACE) {
        Ok(outcome) => outcome,
        Err(_) => bail!("the instance does not say anything: it stands still, or is stopped"),
    }
}

/// Asks until an instance has said something, and once more if that is not good: while a process takes another's place there
/// is a moment in which neither can be asked, and one in which it seems that the program was taken off.
fn insist(pid: Option<u32>, mut wish: Wish) -> Result<String> {
    let deadline = Instant::now() + wish.timeout;
    let mut refused = false;
    loop {
        let outcome = control::check(pid, &wish);
        let (said, outcome) = (outcome.is_ok(), outcome.flatten());
        if outcome.is_ok() || said && refused {
            return outcome;
        }
        thread::sleep(PAUSE);
        wish.timeout = deadline.saturating_duration_since(Instant::now());
        if wish.timeout < PAUSE {
            return outcome;
        }
        refused |= said;
    }
}

fn question(options: &CheckOptions) -> Result<Question> {
    match (&options.http, &options.name) {
        (Some(path), _) => Question::http(path),
        (None, Some(name)) => Question::dns(name, options.rtype, true),
        (None, None) => Question::dns(".", options.rtype, false),
    }
}
