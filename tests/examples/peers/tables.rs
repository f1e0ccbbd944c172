//! Results as tables in Markdown.

use std::fmt::Write as _;

use crate::COALESCED;
use crate::load::LADDER;
use crate::results::{Memory, Results, Round, Sample, ServerInfo};

/// A row of the tables: one generator at one rate, or where it was answered most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row<'results> {
    Steady { generator: &'results str, rate: Option<u32> },
    Saturated { generator: &'results str },
}

/// Least, median, most.
pub(crate) type MinMedianMax = [f64; 3];

/// The targets: this beside a peer, how much less CPU, and how many times the rate.
const TARGETS: [(&str, &str, f64, f64); 4] = [
    ("this-driver", "knot-xdp", 4.0, 4.0),
    ("this-driver", "nsd", 5.0, 6.0),
    ("relay", "dnsdist", 4.0, 4.0),
    ("relay-cache", "dnsdist-cache", 8.0, 8.0),
];

/// All tables, with what they were measured by.
pub(crate) fn all(results: &Results) -> String {
    let parts = [circumstances(results), rates(results), ratios(results), memory(&results.memory)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

impl<'results> Row<'results> {
    /// Those that were measured, in the order in which that was done.
    pub(crate) fn of(results: &'results Results) -> Vec<Self> {
        let mut rows = Vec::new();
        for sample in results.rounds.iter().flat_map(|round| &round.samples) {
            let generator = sample.generator.as_str();
            let here = match sample.rate {
                None => vec![Self::Steady { generator, rate: None }],
                Some(_) => {
                    vec![Self::Steady { generator, rate: Some(LADDER[0]) }, Self::Saturated { generator }]
                }
            };
            if !rows.contains(&here[0]) {
                rows.extend(here);
            }
        }
        rows
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Steady { generator, rate: Some(rate) } => format!("{generator}, {rate}/s"),
            Self::Steady { generator, rate: None } => generator.to_owned(),
            Self::Saturated { generator } => format!("{generator}, saturation"),
        }
    }

    /// A server's sample of each round.
    pub(crate) fn samples(self, results: &Results, server: &str) -> Vec<Sample> {
        let chosen = |samples: &[Sample]| {
            let ours = |sample: &&Sample| {
                let rated = |rate| sample.rate == rate;
                let (generator, right) = match self {
                    Self::Steady { generator, rate } => (generator, rated(rate)),
                    Self::Saturated { generator } => (generator, true),
                };
                sample.server == server && sample.generator == generator && right
            };
            let most = |one: &&Sample, other: &&Sample| one.answered.total_cmp(&other.answered);
            samples.iter().filter(ours).max_by(most).cloned()
        };
        results.rounds.iter().filter_map(|round| chosen(&round.samples)).collect()
    }
}

/// Least, median and most of what `field` has of the samples, of which there are some.
pub(crate) fn spread(samples: &[Sample], field: impl Fn(&Sample) -> f64) -> MinMedianMax {
    least_median_most(samples.iter().map(field).collect())
}

pub(crate) fn least_median_most(mut values: Vec<f64>) -> MinMedianMax {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// A figure with its spread, in so many digits.
pub(crate) fn figure([least, median, most]: MinMedianMax, digits: usize) -> String {
    let [least, median, most] = [least, median, most].map(|value| number(value, digits));
    format!("{median} ({least} to {most})")
}

/// A dash stands for what was not to be had.
fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

fn circumstances(results: &Results) -> String {
    let (machine, commit, generators) = (&results.machine, &results.commit, results.generators.join(", "));
    let mut out = format!("{machine}. This at {commit}; {generators}. Servers:\n\n");
    for ServerInfo { name, version, .. } in &results.servers {
        let with = |round: &&Round| round.samples.iter().any(|sample| sample.server == *name);
        let rounds = results.rounds.iter().filter(with).count();
        let _ = writeln!(out, "- `{name}`: {version}, {rounds} rounds");
    }
    if let ([first, ..], [.., last]) = (&results.rounds[..], &results.rounds[..]) {
        let idle =
            |core: usize| results.rounds.iter().map(|round| round.idle[core] * 100.0).fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "\n{} to {}; load average {} at the first, {} at the last; with nothing to do the cores were busy for at most \
             {:.1} % and {:.1} %.",
            first.date,
            last.date,
            first.load_average,
            last.load_average,
            idle(0),
            idle(1),
        );
    }
    out
}

fn rates(results: &Results) -> String {
    let rows = Row::of(results);
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "| load | server | offered/s | answered/s | server's core each, µs | of it the process | and NAPI | p50, µs | p99 | p99.9 | \
         probes failed | server's core | generator's core |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        for server in &results.servers {
            let samples = row.samples(results, &server.name);
            if samples.is_empty() {
                continue;
            }
            let median = |field: fn(&Sample) -> f64| spread(&samples, field)[1];
            let wait = |rank: usize| {
                number(spread(&samples, |one| one.latency[rank].unwrap_or(f64::INFINITY))[1], 0)
            };
            let probes: usize = samples.iter().map(|one| one.probes).sum();
            let failed: usize = samples.iter().map(|one| one.probes_failed).sum();
            let _ = writeln!(
                out,
                "| {} | {} | {:.0} | {} | {} | {:.1} | {:.1} | {} | {} | {} | {} | {:.0} % | {:.0} % |",
                row.name(),
                server.name,
                median(|one| one.offered),
                figure(spread(&samples, |one| one.answered), 0),
                figure(spread(&samples, |one| one.cost), 1),
                median(|one| one.process_cost),
                median(|one| one.napi_cost),
                wait(0),
                wait(1),
                wait(2),
                per_cent(failed, probes),
                median(|one| one.server_core * 100.0),
                median(|one| one.generator_core * 100.0),
            );
        }
    }
    out
}

fn ratios(results: &Results) -> String {
    let mut out = String::new();
    for row in Row::of(results) {
        for (ours, peer, cost, rate) in pairs(results) {
            let [our_samples, theirs] = [&ours, &peer].map(|name| row.samples(results, name));
            if our_samples.is_empty() || theirs.is_empty() {
                continue;
            }
            let median = |samples: &[Sample], field: fn(&Sample) -> f64| spread(samples, field)[1];
            let cheaper = median(&theirs, |one| one.cost) / median(&our_samples, |one| one.cost);
            let faster = median(&our_samples, |one| one.answered) / median(&theirs, |one| one.answered);
            let name = row.name();
            let _ = writeln!(
                out,
                "| {name} | {ours} | {peer} | {cheaper:.1} | {cost:.0} | {faster:.1} | {rate:.0} |"
            );
        }
    }
    if out.is_empty() {
        return out;
    }
    "| load | server | beside | times less CPU | target | times the rate | target |\n|---|---|---|---|---|---|---|\n"
        .to_owned()
        + &out
}

/// Those that are compared, with what is aimed at: each with who has its interrupts put off for as long.
fn pairs(results: &Results) -> Vec<(String, String, f64, f64)> {
    let with_target = |server: &ServerInfo| {
        let target = |(ours, peer, cost, rate): (&str, &str, f64, f64)| {
            let coalesced = server.name.strip_prefix(ours)?;
            let same = coalesced.is_empty() || coalesced.starts_with(COALESCED);
            same.then(|| (server.name.clone(), format!("{peer}{coalesced}"), cost, rate))
        };
        TARGETS.into_iter().filter_map(target).collect::<Vec<_>>()
    };
    results.servers.iter().flat_map(with_target).collect()
}

fn memory(measured: &[Memory]) -> String {
    if measured.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "| server | connections wanted | open | of them answered on | process, MB | kernel, MB | bytes each |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for one in measured {
        let Memory { server, wanted, connections, alive, process, kernel } = one;
        #[expect(clippy::cast_precision_loss, reason = "less than the octets of any machine")]
        let [process, kernel] = [*process as f64, *kernel as f64];
        let none = measured.iter().find(|other| other.server == *server && other.connections == 0);
        #[expect(clippy::cast_precision_loss, reason = "less than the octets of any machine")]
        let each = none
            .filter(|_| *connections > 0)
            .map(|none| (process + kernel - none.process as f64 - none.kernel as f64) / *connections as f64);
        let each = number(each.unwrap_or(f64::NAN), 0);
        let alive = if *connections > 0 { per_cent(*alive, 1_000) } else { "–".to_owned() };
        let [process, kernel] = [process, kernel].map(|bytes| bytes / 1e6);
        let _ = writeln!(
            out,
            "| {server} | {wanted} | {connections} | {alive} | {process:.1} | {kernel:.1} | {each} |"
        );
    }
    out
}

fn per_cent(part: usize, whole: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    format!("{share:.1} %")
}
