//! Arguments, a run, a report. Exit status 0 whatever the server did, 1 if it could not be asked, 2 for bad usage.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use nix::libc::{SIGINT, SIGTERM};
use stateless_tcp_flood::cli::Options;
use stateless_tcp_flood::plan::Plan;
use stateless_tcp_flood::run::run;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    match flood(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn flood(options: &Options) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot listen to signals")?;
    }
    let plan = Plan::make(options)?;
    let report = run(plan, options.xdp_mode, options.seconds, options.rate, &stop)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
