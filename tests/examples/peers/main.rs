//! This beside its peers: the same questions, the same core, interleaved rounds. `cargo xtask bench` runs it.
//!
//! Each server runs alone between namespaces of its own ([`testbed`]), under one load after the other ([`load`]); what both
//! cores do, and what a client waits, is measured meanwhile ([`measure`]). Then each has connections opened to it, to
//! see what they take ([`memory`]). All of it goes to a JSON file ([`results`]), which tables ([`tables`]) and chart
//! ([`chart`]) are made of. [`compare`] measures two builds of this instead.

mod chart;
mod compare;
mod contender;
mod load;
mod measure;
mod memory;
mod publish;
mod results;
mod tables;
mod testbed;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use stateless_tcp_tests::cores::{load_average, machine, say, stay_on};
use stateless_tcp_tests::responder::binary;

use contender::Contender;
use load::Generator;
use results::{Results, Round, Sample, ServerInfo};
use testbed::{Content, OTHERS_CORE, SERVERS_CORE, ServerSetup, Testbed};

/// More is not offered to a server that answers less than this part of the load.
const KEPT_UP: f64 = 0.5;
/// To see how busy the cores are with nothing to do.
const IDLE: Duration = Duration::from_secs(1);

/// Between the name of a server and for how long its interrupts are put off.
pub(crate) const COALESCED: &str = " (";

#[derive(Parser)]
struct Arguments {
    /// Times that everything is measured, in turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Servers
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contender>,
    /// The load generators
    #[arg(long, value_delimiter = ',', default_values_t = Generator::USUAL)]
    load: Vec<Generator>,
    /// Open connections to measure memory with; 0: it is not measured
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    connections: Vec<usize>,
    /// Have the server's card interrupt only so many microseconds after it did; 0: as it does
    #[arg(long, default_value_t = 0)]
    coalesce: u32,
    /// Go on with the results of an earlier run
    #[arg(long)]
    append: bool,
    /// The JSON file
    #[arg(long)]
    results: PathBuf,
    /// Put what the JSON file holds into this directory's benchmarks.md, and a chart beside it; nothing is measured
    #[arg(long)]
    publish: Option<PathBuf>,
    /// Measure this build, of the commit of that name, beside the one under test; nothing else is
    #[arg(long, value_names = ["COMMIT", "BINARY"], num_args = 2)]
    compare: Option<Vec<String>>,
}

/// A server under the name that it has in the results, and this in the build that it is to run.
pub(crate) struct Entrant {
    name: String,
    contender: Contender,
    binary: PathBuf,
    /// Microseconds for which the interrupts of the server's end are put off.
    coalesce: u32,
}

impl Entrant {
    fn new(contender: Contender, coalesce: u32) -> Self {
        let name = match coalesce {
            0 => contender.name(),
            _ => format!("{}{COALESCED}{coalesce} µs)", contender.name()),
        };
        Self { name, contender, binary: binary(), coalesce }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(docs) = &arguments.publish {
        return publish::publish(&Results::load(&arguments.results)?, docs);
    }
    stay_on(OTHERS_CORE)?;
    let files = memory::raise_limit()?;
    let content = Content::new()?;
    if let Some([commit, old]) = arguments.compare.as_deref() {
        return compare::compare(&arguments, &content, commit, Path::new(old));
    }
    let chosen = if arguments.only.is_empty() { &Contender::USUAL[..] } else { &arguments.only };
    let entrants: Vec<_> = chosen.iter().map(|&one| Entrant::new(one, arguments.coalesce)).collect();
    let mut results = describe(&entrants)?;
    if arguments.append {
        results.continue_from(Results::load(&arguments.results)?)?;
    }
    for number in 0..arguments.rounds {
        eprintln!("round {} of {}", number + 1, arguments.rounds);
        results.rounds.push(round(&entrants, &content, &arguments, results.rounds.len())?);
        results.store(&arguments.results)?;
    }
    let connections: Vec<_> = arguments.connections.iter().copied().filter(|&count| count > 0).collect();
    for entrant in entrants.iter().filter(|_| !connections.is_empty()) {
        eprintln!("memory: {}", entrant.name);
        let measured = memory::measure(entrant, &content, &connections, files)?;
        results.memory.retain(|one| one.server != entrant.name);
        results.memory.extend(measured);
        results.store(&arguments.results)?;
    }
    println!("{}", tables::all(&results));
    Ok(())
}

/// Machine, versions and configurations.
fn describe(entrants: &[Entrant]) -> anyhow::Result<Results> {
    let server = |Entrant { name, contender, binary, .. }: &Entrant| -> anyhow::Result<ServerInfo> {
        let (zone, device) = (Path::new("bench.example.zone"), "eth0");
        let place = ServerSetup { netns: "", device, zone, binary, core: SERVERS_CORE };
        let configuration = contender.configuration(&place);
        Ok(ServerInfo { name: name.clone(), version: contender.version(binary)?, configuration })
    };
    Ok(Results {
        machine: machine()?,
        commit: say("git", &["describe", "--always", "--dirty"])?,
        generators: vec![
            say("kxdpgun", &["--version"])?,
            say("dnsperf", &["-h"])?.replace("Version", "dnsperf"),
        ],
        servers: entrants.iter().map(server).collect::<anyhow::Result<_>>()?,
        ..Results::default()
    })
}

/// Measures everything once. Over the rounds each server is first, and behind each other, as often as the others.
fn round(
    entrants: &[Entrant],
    content: &Content,
    arguments: &Arguments,
    number: usize,
) -> anyhow::Result<Round> {
    let mut round = Round {
        date: say("date", &["+%Y-%m-%d %H:%M"])?,
        load_average: load_average()?,
        idle: measure::busy(IDLE)?,
        samples: Vec::new(),
    };
    for turn in 0..entrants.len() {
        let entrant @ Entrant { name, .. } = &entrants[(number + turn) % entrants.len()];
        let testbed = Testbed::new(content, entrant)?;
        for generator in &arguments.load {
            let mut most = 0.0;
            for load in generator.loads() {
                let sample = measure::measure((name, &testbed), content, load, arguments.seconds)?;
                say_so(&sample);
                let Sample { offered, answered, .. } = sample;
                round.samples.push(sample);
                if answered < f64::max(most, offered * KEPT_UP) {
                    break;
                }
                most = answered;
            }
        }
    }
    Ok(round)
}

/// To those who watch.
fn say_so(sample: &Sample) {
    let Sample { server, generator, offered, answered, cost, server_core, generator_core, .. } = sample;
    let [server_core, generator_core] = [server_core, generator_core].map(|busy| busy * 100.0);
    let [half, ..] = sample.latency.map(|wait| wait.unwrap_or(f64::INFINITY));
    eprintln!(
        "  {server}, {generator}: {answered:.0} of {offered:.0}/s, {cost:.2} µs each, cores {server_core:.0} % and \
         {generator_core:.0} %, half within {half:.0} µs"
    );
}
