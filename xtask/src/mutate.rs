//! `cargo xtask mutate`: breaks the rules one at a time, in a copy of the sources, and sees the simulator catch each, or,
//! where what goes wrong takes a client that no schedule has, the named cases.
//!
//! A mutation is a text replaced by another (tests/mutations.toml). A unit test tells whoever changes a rule so that the text
//! is not found any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::process::{read, run};
use crate::run::cargo;
use crate::workspace;

const FILE: &str = "tests/mutations.toml";

/// The same schedules each time: what notices a broken rule once is to notice it again.
const SEED: &str = "6840158632157708290";
/// Of each kind: a broken rule hardly ever needs more, and each has to be compiled too.
const SCHEDULES: &str = "100000";

/// The command's options.
#[derive(Args)]
pub(crate) struct MutateOptions {
    /// Only the mutations whose names contain this
    #[arg(value_name = "NAME")]
    only: Option<String>,
}

#[derive(Deserialize)]
struct Mutations {
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
struct Mutation {
    /// The broken rule.
    name: String,
    /// Relative to the workspace.
    file: PathBuf,
    /// Must occur exactly once.
    find: String,
    replace: String,
}

/// Tries every mutation; one that survives, or cannot be applied, is a failure.
pub(crate) fn mutate(options: &MutateOptions) -> Result<()> {
    let mut mutations = load()?;
    if let Some(only) = &options.only {
        mutations.retain(|mutation| mutation.name.contains(only));
    }
    ensure!(!mutations.is_empty(), "no mutation is called so: see {FILE}");
    let copy = copy_sources()?;
    // Before an hour is spent on those that can.
    for mutation in &mutations {
        mutation.apply(&copy)?;
    }
    println!("unbroken ...");
    ensure!(simulate(&copy)? && cases(&copy)?, "tests fail before anything is broken");
    let mut survivors = Vec::new();
    for mutation in &mutations {
        let by = mutation.try_in(&copy)?;
        println!(
            "{:<26} {}",
            by.map_or("SURVIVED".to_owned(), |by| format!("caught by the {by}")),
            mutation.name
        );
        if by.is_none() {
            survivors.push(mutation.name.as_str());
        }
    }
    println!("{} of {} caught", mutations.len() - survivors.len(), mutations.len());
    ensure!(survivors.is_empty(), "nothing notices: {}", survivors.join(", "));
    Ok(())
}

fn load() -> Result<Vec<Mutation>> {
    let path = workspace().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mutations =
        toml::from_str::<Mutations>(&text).with_context(|| format!("parsing {}", path.display()))?;
    Ok(mutations.mutation)
}

/// The tracked files as they are now, committed or not, in a place of their own: these may be broken.
fn copy_sources() -> Result<PathBuf> {
    let copy = workspace().join("target/mutations");
    match fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", copy.display()));
        }
        _ => {}
    }
    let files = read(Command::new("git").current_dir(workspace()).args(["ls-files", "--cached"]))?;
    for file in files.lines() {
        let (from, to) = (workspace().join(file), copy.join(file));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    Ok(copy)
}

/// True if the simulator accepts the sources in `copy`. They must compile.
fn simulate(copy: &Path) -> Result<bool> {
    let target = ["--package", "stateless-tcp-tests", "--test", "simulation"];
    passes(copy, &target, &["--skip", "everything"])
}

/// The same of the named cases of the core, and of what goes through it.
fn cases(copy: &Path) -> Result<bool> {
    Ok(passes(copy, &["--package", "stateless-tcp-core", "--lib"], &[])?
        && passes(copy, &["--package", "stateless-tcp", "--lib"], &["exchange"])?
        && passes(copy, &["--package", "stateless-tcp-tests", "--test", "responder"], &[])?)
}

/// True if the tests of a target pass; they must compile.
fn passes(copy: &Path, target: &[&str], which: &[&str]) -> Result<bool> {
    let test = |more: &[&str]| {
        let mut command = cargo();
        command
            .current_dir(copy)
            .args(["test", "--quiet", "--locked"])
            .args(target)
            .arg("--target-dir")
            // Not the workspace's own: what is built from broken sources would be taken for its own later.
            .arg(workspace().join("target/mutants"))
            .args(more)
            .env("STATELESS_TCP_SEED", SEED)
            .env("STATELESS_TCP_SCHEDULES", SCHEDULES);
        command
    };
    run(&mut test(&["--no-run"]))?;
    let status = test(&[&["--"], which].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("starting the tests")?;
    Ok(status.success())
}

impl Mutation {
    /// The file that it breaks, as it is and as it would be.
    fn apply(&self, copy: &Path) -> Result<(String, String)> {
        let path = copy.join(&self.file);
        let sound = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let places = sound.matches(&self.find).count();
        if places != 1 {
            bail!("mutation {:?}: its text occurs {places} times in {}", self.name, self.file.display());
        }
        let broken = sound.replacen(&self.find, &self.replace, 1);
        Ok((sound, broken))
    }

    /// The test that catches it.
    fn try_in(&self, copy: &Path) -> Result<Option<&'static str>> {
        let path = copy.join(&self.file);
        let (sound, broken) = self.apply(copy)?;
        fs::write(&path, broken).with_context(|| format!("writing {}", path.display()))?;
        let context = || format!("mutation {:?}", self.name);
        let by = if !simulate(copy).with_context(context)? {
            Some("simulator")
        } else if !cases(copy).with_context(context)? {
            Some("named cases")
        } else {
            None
        };
        fs::write(&path, sound).with_context(|| format!("writing {}", path.display()))?;
        Ok(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_breaks_a_text_that_is_there() {
        for mutation in load().expect("the list") {
            let (sound, broken) = mutation.apply(&workspace()).unwrap_or_else(|error| panic!("{error:#}"));
            assert_ne!(sound, broken, "{}", mutation.name);
        }
    }
}
