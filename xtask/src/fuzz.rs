//! A short run of every fuzz target: libFuzzer's coverage feedback needs no nightly, only its flags.
//!
//! No sanitizer: memory safety is the compiler's part here, and the targets assert invariants of their own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process::{describe, read, run};
use crate::run::cargo;
use crate::workspace;

/// The flags that cargo-fuzz passes for `--sanitizer none`.
const FLAGS: &str = "--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

#[derive(Deserialize)]
struct Manifest {
    bin: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Runs every target of tests/fuzz for `duration`, from the corpus that earlier runs left.
pub(crate) fn fuzz(duration: Duration, seed: u64) -> Result<()> {
    let directory = workspace().join("tests/fuzz");
    let manifest = directory.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    let targets =
        toml::from_str::<Manifest>(&text).with_context(|| format!("parsing {}", manifest.display()))?.bin;
    ensure!(!targets.is_empty(), "{} has no [[bin]]", manifest.display());
    let host = read(Command::new("rustc").args(["--print", "host-tuple"]))?;
    // With a target named, build scripts and procedural macros are built without these flags.
    run(cargo()
        .current_dir(&directory)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--bins",
            "--target",
            &host,
            "--target-dir",
            "target",
        ])
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    // What fuzzing begins with is made by the tests' builders. Built without the flags above, so by another run of cargo.
    run(cargo()
        .args(["run", "--quiet", "--locked", "--package", "stateless-tcp-tests", "--example", "seeds", "--"])
        .arg(directory.join("corpus")))?;
    let built = directory.join("target").join(host).join("release");
    for target in targets {
        run_target(&built.join(&target.name), &target.name, &directory, duration, seed)?;
    }
    Ok(())
}

fn run_target(binary: &Path, name: &str, directory: &Path, duration: Duration, seed: u64) -> Result<()> {
    let corpus = directory.join("corpus").join(name);
    let artifacts = directory.join("artifacts").join(name);
    for needed in [&corpus, &artifacts] {
        fs::create_dir_all(needed).with_context(|| format!("creating {}", needed.display()))?;
    }
    let mut command = Command::new(binary);
    command
        .arg(format!("-max_total_time={}", duration.as_secs()))
        // libFuzzer takes 32 bits, and 0 for a seed of its own choice.
        .arg(format!("-seed={}", (seed & 0xffff_ffff).max(1)))
        .args(["-print_final_stats=1", "-timeout=10"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let output = command.output().with_context(|| format!("starting {}", describe(&command)))?;
    // All that libFuzzer says, and the target's panic, goes to standard error.
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\nfuzz target {name} failed ({})", output.status);
    let executed = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("{name}: {} executions in {} s", executed.unwrap_or("?").trim(), duration.as_secs());
    Ok(())
}
