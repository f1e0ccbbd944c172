//! A build of another commit, kept apart from the working tree and its builds.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{read, run};
use crate::run::cargo;
use crate::workspace;

/// Builds the release binary of `commit`, if that has not been done, and returns its path.
pub(super) fn build(commit: &str) -> Result<PathBuf> {
    let name = format!("{commit}^{{commit}}");
    let hash = read(git().args(["rev-parse", "--verify", "--quiet", &name]))
        .with_context(|| format!("{commit} is no commit of this repository"))?;
    let directory = workspace().join("target/bench");
    let (source, kept) = (directory.join("source"), directory.join(format!("stateless-tcp-{hash}")));
    if kept.is_file() {
        return Ok(kept);
    }
    eprintln!("building {commit} ({hash})");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("removing {}", source.display()))?;
    }
    fs::create_dir_all(&source).with_context(|| format!("creating {}", source.display()))?;
    // Not a worktree: git is not to know of it.
    let archive = directory.join("source.tar");
    run(git().args(["archive", "--output"]).arg(&archive).arg(&hash))?;
    run(Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&source))?;
    fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))?;
    let target = directory.join("target");
    run(cargo()
        .current_dir(&source)
        .args(["build", "--release", "--locked", "--package", "stateless-tcp", "--bin", "stateless-tcp"])
        .arg("--target-dir")
        .arg(&target))?;
    let built = target.join("release/stateless-tcp");
    if !built.is_file() {
        bail!("{commit} builds, but not {}", built.display());
    }
    fs::copy(&built, &kept).with_context(|| format!("keeping {}", kept.display()))?;
    Ok(kept)
}

fn git() -> Command {
    let mut command = Command::new("git");
    command.current_dir(workspace());
    command
}
