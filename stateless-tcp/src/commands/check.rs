//! The `check` command: asks a running instance for a health check, for monitoring.

use crate::control::check::{CheckQuery, CheckRequest};
use crate::control::client;
use anyhow::{Result, bail};
use domain::base::Rtype;
use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Extra time for the instance to report that there was no response.
const REPORT_TIME: Duration = Duration::from_millis(100);

/// Pause between two attempts, and the least time of one.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The options of `check`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct CheckOptions {
    /// The process ID of the instance [default: the only one that runs]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Ask for this name, which must exist [default: the root, which need not exist]
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
    /// The address to ask from, which no host should have [default: 192.0.0.8 or 100::1]
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// Time limit for the response, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// Runs a health check, and returns the response.
///
/// # Errors
/// There is no such instance, or no good response in time.
pub fn run(options: &CheckOptions) -> Result<String> {
    let CheckOptions { pid, address, client, .. } = *options;
    let timeout = Duration::from_millis(options.timeout);
    let request = CheckRequest { query: query(options)?, address, client, timeout };
    let (sender, receiver) = mpsc::channel();
    // The kernel accepts connections for a stopped process. So another thread waits for it.
    thread::spawn(move || sender.send(check_with_retries(pid, request)));
    match receiver.recv_timeout(timeout + REPORT_TIME) {
        Ok(outcome) => outcome,
        Err(_) => bail!("the instance does not answer at the control socket: it is stuck, or stopped"),
    }
}

/// Checks until an instance has reported, and once more after a bad report. During a takeover there is a moment without a
/// control socket, and one in which the XDP program seems to be detached.
fn check_with_retries(pid: Option<u32>, mut request: CheckRequest) -> Result<String> {
    let deadline = Instant::now() + request.timeout;
    let mut failed_before = false;
    loop {
        let outcome = client::check(pid, &request);
        let (reported, outcome) = (outcome.is_ok(), outcome.flatten());
        if outcome.is_ok() || reported && failed_before {
            return outcome;
        }
        thread::sleep(RETRY_INTERVAL);
        request.timeout = deadline.saturating_duration_since(Instant::now());
        if request.timeout < RETRY_INTERVAL {
            return outcome;
        }
        failed_before |= reported;
    }
}

fn query(options: &CheckOptions) -> Result<CheckQuery> {
    match (&options.http, &options.name) {
        (Some(path), _) => CheckQuery::http(path),
        (None, Some(name)) => CheckQuery::dns(name, options.rtype, true),
        (None, None) => CheckQuery::dns(".", options.rtype, false),
    }
}
