//! `cargo xtask test`: every check there is, in the order in which failures are cheapest to find.

mod summary;

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use nix::unistd::geteuid;

use crate::build_ebpf;
use crate::process::run;
use crate::run::{build_flood, build_release, cargo};
use crate::setup::{self, Need};
use crate::vm::{self, Machines};
use crate::{card, fuzz, package, peers};
use summary::{Outcome, Summary};

/// The command's options.
#[derive(Args)]
pub(crate) struct TestOptions {
    /// Everything at full size instead of a sample
    #[arg(long)]
    full: bool,
    /// Leave a step out; may be repeated
    #[arg(long, value_name = "STEP", value_enum)]
    skip: Vec<Step>,
    /// Run only this step; may be repeated
    #[arg(long, value_name = "STEP", value_enum, conflicts_with = "skip")]
    only: Vec<Step>,
    /// Repeat a run by the seed that it printed
    #[arg(long)]
    seed: Option<u64>,
    /// Run only the acceptance set on real drivers: every kernel with every network card, or those named (root)
    #[arg(long, conflicts_with_all = ["only", "skip", "full"])]
    vm: bool,
    #[command(flatten)]
    machines: Machines,
}

/// One step, by the name that selects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The code is formatted
    Format,
    /// No warning of the compiler or clippy
    Clippy,
    /// The committed XDP program is what its source gives
    BuildEbpf,
    /// Unit and property tests
    Unit,
    /// Examples in the documentation
    DocTests,
    /// The documentation, without a warning
    Doc,
    /// The release binaries
    Binary,
    /// Real clients and servers in network namespaces (root)
    Namespaces,
    /// Those that say most about it once more, with the handshake answered in the driver (root)
    Driver,
    /// The driver of a real network card, in a virtual machine; --vm has more of them (root)
    Vm,
    /// No question costs more instructions on an emulated card than is recorded (root)
    Card,
    /// The Debian package on a clean Debian 12 that systemd runs, and as an image (root)
    Package,
    /// Every benchmark once
    Benches,
    /// Every fuzz target for a while
    Fuzz,
}

/// The size of a run, and the seed that repeats it.
struct Scale {
    full: bool,
    seed: u64,
}

/// Runs the steps chosen, all of them: a step that fails stops only those that need it.
pub(crate) fn test(options: &TestOptions) -> Result<ExitCode> {
    if options.vm {
        refuse_without_root(&[Step::Vm])?;
        setup::ensure(Need::Test)?;
        return vm::test(&options.machines).map(|()| ExitCode::SUCCESS);
    }
    let chosen = |step: &Step| {
        if options.only.is_empty() { !options.skip.contains(step) } else { options.only.contains(step) }
    };
    let (steps, left_out): (Vec<Step>, Vec<Step>) =
        Step::value_variants().iter().partition(|step| chosen(step));
    let scale = Scale { full: options.full, seed: options.seed.map_or_else(fresh_seed, Ok)? };
    println!("seed {} (repeat this run with --seed {}{})", scale.seed, scale.seed, scale.flag());
    refuse_without_root(&steps)?;
    setup::ensure(if steps.iter().any(|step| step.needs_root()) { Need::Test } else { Need::Build })?;
    setup::components()?;

    let begun = Instant::now();
    let mut summary = Summary { scale: &scale, outcomes: Vec::new(), left_out };
    for step in steps {
        println!("\n== {step}");
        let outcome = match summary.missing(step) {
            Some(needed) => {
                println!("== {step}: not run, as {needed} failed");
                Outcome::Skipped(needed)
            }
            None => step.outcome(&scale),
        };
        summary.outcomes.push((step, outcome));
    }
    println!("\nall in {}, seed {}", seconds(begun.elapsed()), scale.seed);
    println!("{summary}");
    Ok(if summary.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Step {
    fn needs_root(self) -> bool {
        matches!(self, Step::Namespaces | Step::Driver | Step::Vm | Step::Card | Step::Package)
    }

    /// The step without which this one makes no sense.
    fn needs(self) -> Option<Self> {
        matches!(self, Step::Namespaces | Step::Driver | Step::Vm | Step::Card | Step::Package)
            .then_some(Step::Binary)
    }

    fn outcome(self, scale: &Scale) -> Outcome {
        let begun = Instant::now();
        let result = self.run(scale);
        let elapsed = seconds(begun.elapsed());
        match result {
            Ok(()) => {
                println!("== {self}: passed in {elapsed}");
                Outcome::Passed
            }
            Err(error) => {
                println!("== {self}: FAILED after {elapsed}: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        }
    }

    fn run(self, scale: &Scale) -> Result<()> {
        match self {
            Step::Format => run(cargo().args(["fmt", "--all", "--check"])),
            Step::Clippy => run(cargo()
                .args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--"])
                .args(["--deny", "warnings"])),
            Step::BuildEbpf => build_ebpf::check_committed(),
            Step::Unit => run(scaled(
                cargo().args(["test", "--quiet", "--locked", "--no-fail-fast", "--workspace"]).args([
                    "--exclude",
                    "stateless-tcp-tests",
                    "--lib",
                    "--bins",
                    "--tests",
                ]),
                scale,
            )),
            Step::DocTests => {
                run(cargo().args(["test", "--quiet", "--locked", "--no-fail-fast", "--workspace", "--doc"]))
            }
            Step::Doc => run(cargo()
                .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "--deny warnings")),
            Step::Binary => build_all().map(|binary| println!("{}", binary.display())),
            // One at a time: each has the machine's two cores, and the kernel's AF_XDP, to itself.
            Step::Namespaces => run(scaled(
                cargo()
                    .args(["test", "--locked", "--no-fail-fast", "--package", "stateless-tcp-tests"])
                    .args(["--", "--test-threads=1"]),
                scale,
            )
            .env("STATELESS_TCP_BIN", build_all()?)
            .env(peers::VARIABLE, peers::obtain()?)),
            Step::Driver => run(scaled(
                cargo()
                    .args(["test", "--locked", "--no-fail-fast", "--package", "stateless-tcp-tests"])
                    .args(["--test", "clients", "--test", "transcripts", "--test", "hostile"])
                    .args(["--test", "persistent", "--test", "recovery", "--test", "reload"])
                    .args(["--test", "check"])
                    .args(["--", "--test-threads=1"]),
                scale,
            )
            .env("STATELESS_TCP_HANDSHAKE", "driver")
            .env("STATELESS_TCP_BIN", build_release()?)),
            Step::Vm => vm::test(&Machines::sample()),
            Step::Card => card::check(),
            Step::Package => package::test(),
            Step::Benches => run(cargo().args(["test", "--quiet", "--locked", "--workspace", "--benches"])),
            Step::Fuzz => fuzz::fuzz(Duration::from_secs(if scale.full { 300 } else { 10 }), scale.seed),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Scale {
    fn flag(&self) -> &'static str {
        if self.full { " --full" } else { "" }
    }
}

/// Builds the release binaries and returns the server's path; the tests find the load generator beside it.
fn build_all() -> Result<PathBuf> {
    build_flood()?;
    build_release()
}

/// Gives tests their seed and size; proptest reads variables of its own.
fn scaled<'a>(command: &'a mut Command, scale: &Scale) -> &'a mut Command {
    command
        .env("STATELESS_TCP_SEED", scale.seed.to_string())
        .env("PROPTEST_RNG_SEED", scale.seed.to_string());
    if scale.full {
        command.env("STATELESS_TCP_FULL", "1").env("PROPTEST_CASES", "20000");
    }
    command
}

/// A skipped test is a failure unless the skip was asked for by name.
fn refuse_without_root(steps: &[Step]) -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let need: Vec<String> = steps.iter().filter(|step| step.needs_root()).map(ToString::to_string).collect();
    ensure!(
        need.is_empty(),
        "only root can create network namespaces, which these steps need: {}; run as root, or leave them out by name \
         (--skip {})",
        need.join(" "),
        need.join(" --skip ")
    );
    Ok(())
}

fn fresh_seed() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    // Short enough to be typed.
    Ok(u64::from(since.subsec_nanos()) ^ (since.as_secs() & 0xffff_ffff))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
