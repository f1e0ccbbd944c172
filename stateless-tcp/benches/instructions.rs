//! Instructions of each step and of whole frames, which no other load on the machine changes:
//! `cargo bench -p stateless-tcp --bench instructions` (needs valgrind).
//!
//! Each case runs in a process of its own under callgrind, twice: what the longer run has more is the case's. Run
//! without `--bench`, as `cargo test` does, each case is done once and nothing is counted.

mod cases;

use std::env;
use std::io::{Error, Result};
use std::process::Command;

/// Repetitions in the shorter and the longer run. The first ones differ (caches of the allocator and of the loader).
const SHORT: u64 = 100;
const LONG: u64 = 1_100;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [name, count] if !name.starts_with('-') => {
            let count: u64 = count.parse().map_err(Error::other)?;
            run(|case| case.name == name, count);
        }
        arguments if arguments.iter().any(|argument| argument == "--bench") => {
            println!("{:<28}{:>14}", "case", "instructions");
            for case in cases::all() {
                let instructions = (count(case.name, LONG)? - count(case.name, SHORT)?) / (LONG - SHORT);
                println!("{:<28}{instructions:>14}", case.name);
            }
        }
        _ => run(|_| true, 1),
    }
    Ok(())
}

fn run(wanted: impl Fn(&cases::Case) -> bool, count: u64) {
    for mut case in cases::all().into_iter().filter(wanted) {
        for _ in 0..count {
            (case.work)();
        }
    }
}

/// Instructions of a whole process that does the case `count` times.
fn count(name: &str, count: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([name, &count.to_string()])
        .output()
        .map_err(|error| Error::other(format!("running valgrind (is it installed?): {error}")))?;
    let log = String::from_utf8_lossy(&output.stderr);
    log.lines()
        .find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())
        .ok_or_else(|| Error::other(format!("valgrind counted nothing for {name}:\n{log}")))
}
