//! Development commands of stateless-tcp: one file each, and what they share.
//!
//! Everything here runs on a machine that has only rustup and a C compiler: nothing of the workspace is linked in, so
//! that `cargo xtask setup` can install what the workspace needs.

mod bench;
mod build_ebpf;
mod card;
mod debian;
mod demo;
mod fuzz;
mod mutate;
mod package;
mod peers;
mod process;
mod run;
mod rust_src;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of stateless-tcp")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the other commands need (Debian, Ubuntu), and say what
    Setup(setup::SetupOptions),
    /// Build the XDP program into the object that the user-space crate embeds (needs nightly)
    BuildEbpf(build_ebpf::BuildEbpfOptions),
    /// See it answer dig and curl in network namespaces, packet by packet
    Demo(demo::DemoOptions),
    /// Measure it beside other servers, or beside an earlier build; or its parts
    Bench(bench::BenchOptions),
    /// Run every check
    Test(test::TestOptions),
    /// Break the rules one at a time and see the simulator catch each
    Mutate(mutate::MutateOptions),
    /// Build the Debian package
    Package(package::PackageOptions),
    /// Build the release binary and run it as root with these arguments
    Run(run::RunOptions),
    /// Build the load generator and run it as root with these arguments (docs/load.md)
    #[command(disable_help_flag = true)]
    Flood(run::FloodOptions),
}

fn main() -> ExitCode {
    if card::guest::is_first_process() {
        card::guest::main();
        return ExitCode::FAILURE;
    }
    run_command(Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run_command(command: Command) -> Result<ExitCode> {
    match command {
        // Its summary, printed last, says what failed.
        Command::Test(options) => return test::test(&options),
        Command::Setup(options) => setup::setup(&options),
        Command::Demo(options) => demo::demo(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Mutate(options) => mutate::mutate(&options),
        Command::Package(options) => package::package(&options),
        Command::Run(options) => run::run(&options),
        Command::Flood(options) => run::flood(&options),
        Command::BuildEbpf(options) => build_ebpf::build_ebpf(&options),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// The workspace's root.
fn workspace() -> PathBuf {
    // The crate's directory at build time: right wherever `cargo xtask` builds and runs it in one go.
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}
