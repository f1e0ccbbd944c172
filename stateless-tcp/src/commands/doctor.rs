//! `stateless-tcp doctor`: whether an interface will serve, what attaching will change for its operator, and the exact
//! command to use.
//!
//! Looking and judging are apart: `collect` asks the kernel and notes what it could not see, `judge`
//! is a pure function of the `Facts`. It changes nothing, and works without privileges as far as it can.

mod collect;
mod facts;
mod judge;
mod proc;
mod report;

use std::io::Write as _;
use std::process::ExitCode;

use crate::commands::cli::DoctorOptions;

/// Whether an XDP program can send back where it came from, and reaches somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transmits {
    /// It does.
    Yes,
    /// That cannot be seen, for this reason.
    Unknown(String),
    /// It does not, for this reason.
    No(String),
}

/// Whether an XDP program in the driver of `interface` can answer the handshake, with zero-copy or without.
pub(crate) fn answers(interface: &str, zero_copy: bool) -> Transmits {
    let kernel = collect::kernel();
    collect::link(interface).map_or_else(Transmits::Unknown, |link| judge::answers(&link, kernel, zero_copy))
}

/// The version in a kernel's release.
pub(crate) fn kernel_version(release: &str) -> Option<(u32, u32)> {
    proc::version(release)
}

/// Examines an interface and prints the findings; success if it will serve.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(options: &DoctorOptions) -> anyhow::Result<ExitCode> {
    let facts = collect::collect(options);
    let diagnosis = judge::judge(&facts);
    std::io::stdout().lock().write_all(report::render(&diagnosis).as_bytes())?;
    Ok(if diagnosis.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
