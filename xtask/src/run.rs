//! `cargo xtask run -- ARGUMENTS` and `cargo xtask flood ARGUMENTS`: a release binary as root, in this process's place.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::unistd::geteuid;

use crate::process::{describe, run as run_command};
use crate::setup::{Need, ensure, find_program};
use crate::workspace;

/// The command's options.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// Arguments of `stateless-tcp run`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The load generator's options.
#[derive(Args)]
pub(crate) struct FloodOptions {
    /// Arguments of `stateless-tcp-flood`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

/// Builds the release binary and becomes it.
pub(crate) fn run(options: &RunOptions) -> Result<()> {
    ensure(Need::Run)?;
    become_root(&build_release()?, Some("run"), &options.arguments)
}

/// Builds the load generator and becomes it.
pub(crate) fn flood(options: &FloodOptions) -> Result<()> {
    ensure(Need::Run)?;
    become_root(&build_flood()?, None, &options.arguments)
}

/// Becomes `binary`: signals reach it and its exit status is this command's.
fn become_root(binary: &Path, subcommand: Option<&str>, arguments: &[String]) -> Result<()> {
    let mut command = if geteuid().is_root() {
        Command::new(binary)
    } else {
        if find_program("sudo").is_none() {
            bail!("only root may attach XDP programs, and there is no sudo: run this command as root");
        }
        let mut command = Command::new("sudo");
        command.arg("--").arg(binary);
        command
    };
    command.args(subcommand).args(arguments);
    let error = command.exec();
    Err(error).with_context(|| format!("starting {}", describe(&command)))
}

/// Builds the release binary and returns its path.
pub(crate) fn build_release() -> Result<PathBuf> {
    build("stateless-tcp")
}

/// Builds the load generator and returns its path.
pub(crate) fn build_flood() -> Result<PathBuf> {
    build("stateless-tcp-flood")
}

/// Builds a package's binary of the same name.
fn build(name: &str) -> Result<PathBuf> {
    run_command(cargo().args(["build", "--release", "--locked", "--package", name, "--bin", name]))?;
    let binary = target_directory().join("release").join(name);
    if !binary.is_file() {
        bail!("cargo built the binary somewhere else than {}", binary.display());
    }
    Ok(binary)
}

/// Cargo's output directory.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The cargo that runs this command, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}
