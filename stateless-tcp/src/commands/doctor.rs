//! The `doctor` command: predicts if an interface will serve, names the effects of attaching, and prints the command to use.
//!
//! `collect` observes the facts, and `judge` is a pure function of them. The command changes nothing, and works without
//! privileges as far as possible.

mod collect;
mod facts;
mod judge;
mod report;

use crate::config::Config;
use std::io::Write as _;
use std::process::ExitCode;

/// Examines the interface of `config`, which `arguments` give, and prints the findings. Returns success if it will serve.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(config: &Config, arguments: Vec<String>) -> anyhow::Result<ExitCode> {
    let facts = collect::collect(config, arguments);
    let diagnosis = judge::judge(&facts);
    std::io::stdout().lock().write_all(report::render(&diagnosis).as_bytes())?;
    Ok(if diagnosis.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
