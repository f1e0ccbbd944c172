//! Every benchmark: nanoseconds by criterion, instructions by callgrind (docs/benchmarks.md).

use anyhow::Result;

use crate::process::run;
use crate::run::cargo;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only cases whose name contains this; instructions are left out
    filter: Option<String>,
}

/// Measures; the figures go to standard output.
pub(crate) fn bench(options: &Options) -> Result<()> {
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
