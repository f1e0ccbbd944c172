//! `cargo xtask bench`: this beside its peers, and what else is measured (docs/benchmarks.md).

mod compare;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

use crate::card::{self, card};
use crate::peers;
use crate::process::run;
use crate::run::{build_flood, build_release, cargo};
use crate::setup::{self, Need};
use crate::workspace;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchOptions {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    peers: Peers,
}

/// Without a subcommand: this beside Knot DNS, NSD and dnsdist (root, two cores; half an hour).
#[derive(clap::Args)]
struct Peers {
    /// Times that everything is measured, in turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Seconds for each measurement
    #[arg(long, value_name = "N", default_value_t = 2)]
    seconds: u32,
    /// Servers to measure, with commas between them; a wrong name has all of them listed
    #[arg(long, value_name = "SERVERS")]
    only: Option<String>,
    /// The load generators, likewise
    #[arg(long, value_name = "LOADS")]
    load: Option<String>,
    /// Open connections to measure memory with, with commas between them; 0: memory is not measured
    #[arg(long, value_name = "NUMBERS", default_value = "100000,1000000")]
    connections: String,
    /// Have the server's card interrupt only so long after it did, as `run --coalesce`, for each server; 0: as it does
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    coalesce: u32,
    /// Go on with the results of the last run: more rounds, or other servers
    #[arg(long, conflicts_with = "compare")]
    append: bool,
    /// Instead of the peers, this beside its build from that commit, and the ratios
    #[arg(long, value_name = "COMMIT")]
    compare: Option<String>,
}

#[derive(clap::Subcommand)]
enum Other {
    /// Instructions that a question costs on an emulated network card, whatever the speed of this machine (root)
    Card(card::CardOptions),
    /// Put the results of the last run, and a chart of them, into docs/
    Publish,
    /// Nanoseconds of each step, by criterion, and instructions, by callgrind
    Steps {
        /// Only cases whose name contains this; instructions are left out
        filter: Option<String>,
    },
    /// Time of the XDP program for a packet (root)
    Program,
    /// Time and memory to load zones, beside BIND, Knot DNS and NSD
    Zones,
    /// Waiting time of honest clients beside forged SYNs, on this, NSD and Knot DNS (root; five minutes)
    Flood,
    /// Waiting time of clients over a lossy path, beside NSD on the kernel's TCP (root; half an hour)
    Lossy,
}

/// Measures; the figures go to standard output.
pub(crate) fn bench(options: &BenchOptions) -> Result<()> {
    if let Some(Other::Card(options)) = &options.other {
        // It needs little of what the others do.
        return card(options);
    }
    setup::ensure(Need::Bench)?;
    match &options.other {
        None => beside_peers(&options.peers),
        Some(Other::Card(options)) => card(options),
        Some(Other::Publish) => {
            let docs = workspace().join("docs");
            let arguments = [OsString::from("--publish"), docs.into(), "--results".into(), results().into()];
            run(example("peers").arg("--").args(arguments))
        }
        Some(Other::Steps { filter }) => steps(filter.as_deref()),
        Some(Other::Program) => run(example("program_cost").arg("--release")),
        Some(Other::Zones) => run(&mut beside_newest("zone_cost")?),
        Some(Other::Flood) => {
            build_flood()?;
            run(&mut beside_newest("under_flood")?)
        }
        Some(Other::Lossy) => run(&mut beside_newest("beside_nsd")?),
    }
}

fn beside_peers(options: &Peers) -> Result<()> {
    let mut peers = example("peers");
    peers.args(["--", "--rounds", &options.rounds.to_string(), "--seconds", &options.seconds.to_string()]);
    for (name, value) in [("--only", &options.only), ("--load", &options.load)] {
        peers.args(value.iter().flat_map(|value| [name, value]));
    }
    peers.args(["--coalesce", &options.coalesce.to_string()]);
    if options.append {
        peers.arg("--append");
    }
    if let Some(commit) = &options.compare {
        let results = workspace().join("target/bench/compare.json");
        peers.arg("--results").arg(results).args(["--compare", commit]).arg(compare::build(commit)?);
    } else {
        peers.arg("--results").arg(results()).args(["--connections", &options.connections]);
    }
    build_flood()?;
    run(peers.env("STATELESS_TCP_BIN", build_release()?))
}

/// The figures of the last run.
fn results() -> PathBuf {
    workspace().join("target/bench/peers.json")
}

fn steps(filter: Option<&str>) -> Result<()> {
    let benches = |name| {
        let mut command = cargo();
        command.args(["bench", "--quiet", "--locked", "--package", "stateless-tcp", "--bench", name]);
        command
    };
    if let Some(filter) = filter {
        return run(benches("time").args(["--", filter]));
    }
    run(&mut benches("instructions"))?;
    run(&mut benches("dns_instructions"))?;
    run(&mut benches("time"))
}

/// A program that measures the release build beside the newest name servers.
fn beside_newest(name: &str) -> Result<std::process::Command> {
    let mut command = example(name);
    command.env("STATELESS_TCP_BIN", build_release()?).env(peers::VARIABLE, peers::obtain()?);
    Ok(command)
}

/// One of the programs that measure: examples of the tests' crate.
fn example(name: &str) -> std::process::Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", "stateless-tcp-tests", "--example", name]);
    command
}
