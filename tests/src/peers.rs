//! The name servers to compare with: BIND, Knot DNS, NSD, Unbound, and the tools that come with them, all as new as Debian
//! has them.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

/// Names the directory of their programs; unset, it is the one that `cargo xtask setup` makes in the workspace.
const VARIABLE: &str = "STATELESS_TCP_PEERS";
const USUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/run");

/// The path of one of their programs.
///
/// # Errors
///
/// The programs are not here; the message names the command that fetches them.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = directory().join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo xtask setup`, which fetches the name servers to compare with, or name the directory \
         of their programs in {VARIABLE}",
        path.display()
    );
    Ok(path)
}

/// One of their programs, to be run.
///
/// # Errors
///
/// As [`program`].
pub fn command(name: &str) -> anyhow::Result<Command> {
    Ok(Command::new(program(name)?))
}

/// Says to whoever runs the tests what a test has counted; what it prints is shown only where it fails.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Their versions, one a line.
///
/// # Errors
///
/// As [`program`].
pub fn versions() -> anyhow::Result<String> {
    let file = directory().with_file_name("versions");
    fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
}

fn directory() -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| PathBuf::from(USUAL), PathBuf::from)
}
