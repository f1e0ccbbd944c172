//! Every benchmark: nanoseconds by criterion, instructions by callgrind (docs/benchmarks.md).

use anyhow::Result;

use crate::process::run;
use crate::run::{build_release, cargo};
use crate::setup::{self, Need};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only cases whose name contains this; instructions are left out
    filter: Option<String>,
    /// Instead, what clients wait over a path that loses, beside NSD on the kernel's TCP (root; half an hour)
    #[arg(long, conflicts_with = "filter")]
    lossy: bool,
    /// Instead, what the XDP program takes for a packet (root)
    #[arg(long, conflicts_with_all = ["filter", "lossy"])]
    program: bool,
    /// Instead, what a transaction costs through the DNS relay, beside dnsdist (root, two cores; ten minutes)
    #[arg(long, conflicts_with_all = ["filter", "lossy"])]
    relay: bool,
}

/// Measures; the figures go to standard output.
pub(crate) fn bench(options: &Options) -> Result<()> {
    if options.lossy {
        return beside("beside_nsd");
    }
    if options.program {
        return run(cargo()
            .args(["run", "--quiet", "--locked", "--release", "--package", "stateless-tcp-tests"])
            .args(["--example", "program_cost"]));
    }
    if options.relay {
        return beside("beside_dnsdist");
    }
    setup::ensure(Need::Bench)?;
    let benches = |name| {
        let mut command = cargo();
        command.args(["bench", "--quiet", "--locked", "--package", "stateless-tcp", "--bench", name]);
        command
    };
    if let Some(filter) = &options.filter {
        return run(benches("time").args(["--", filter]));
    }
    run(&mut benches("instructions"))?;
    run(&mut benches("dns_instructions"))?;
    run(&mut benches("time"))
}

/// Runs one of the examples that measure this beside another server.
fn beside(example: &str) -> Result<()> {
    setup::ensure(Need::Bench)?;
    let arguments = ["run", "--quiet", "--locked", "--package", "stateless-tcp-tests", "--example", example];
    run(cargo().args(arguments).env("STATELESS_TCP_BIN", build_release()?))
}
