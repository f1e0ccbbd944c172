//! Two builds of this, in turns: what became dearer or slower, and what cheaper or faster.

use std::fmt::Write as _;
use std::path::Path;

use crate::contender::Contender;
use crate::results::{Results, Sample};
use crate::tables::{Row, figure, least_median_most};
use crate::testbed::Content;
use crate::{Arguments, Entrant, describe, round};

/// A name, and what of a sample bears it.
type Figure = (&'static str, fn(&Sample) -> f64);

/// The compared figures. Less is better but for the first.
const FIGURES: [Figure; 6] = [
    ("answered", |one| one.answered),
    ("server's core each", |one| one.cost),
    // Whatever else the core does.
    ("process and NAPI", |one| one.process_cost + one.napi_cost),
    ("p50", |one| one.latency[0].unwrap_or(f64::INFINITY)),
    ("p99", |one| one.latency[1].unwrap_or(f64::INFINITY)),
    ("p99.9", |one| one.latency[2].unwrap_or(f64::INFINITY)),
];

/// Measures `old`, built from `commit`, and the build under test, and prints the ratios of new to old.
pub(crate) fn compare(
    arguments: &Arguments,
    content: &Content,
    commit: &str,
    old: &Path,
) -> anyhow::Result<()> {
    let usual = [Contender::ThisRing, Contender::ThisDriver];
    let chosen = if arguments.only.is_empty() { &usual[..] } else { &arguments.only };
    let mut entrants = Vec::new();
    for &contender in chosen {
        anyhow::ensure!(contender.is_this(), "{} has only one build", contender.name());
        let now = Entrant::new(contender, arguments.coalesce);
        let coalesce = now.coalesce;
        let before =
            Entrant { name: old_name(contender, commit), contender, binary: old.to_owned(), coalesce };
        entrants.extend([before, now]);
    }
    let mut results = describe(&entrants)?;
    for number in 0..arguments.rounds {
        eprintln!("round {} of {}", number + 1, arguments.rounds);
        results.rounds.push(round(&entrants, content, arguments, number)?);
        results.store(&arguments.results)?;
    }
    println!("{}\n{}", results.machine, table(&results, chosen, commit));
    Ok(())
}

fn old_name(contender: Contender, commit: &str) -> String {
    format!("{}@{commit}", contender.name())
}

/// New through old, round by round: the median of the ratios, the least and the most.
fn table(results: &Results, chosen: &[Contender], commit: &str) -> String {
    let names = FIGURES.map(|(name, _)| name).join(" | ");
    let mut out =
        format!("now / {commit}\n\n| load | server | {names} |\n|---|---|---|---|---|---|---|---|\n");
    for row in Row::of(results) {
        for &contender in chosen {
            let [new, old] =
                [contender.name(), old_name(contender, commit)].map(|name| row.samples(results, &name));
            if new.is_empty() || new.len() != old.len() {
                continue;
            }
            let ratio = |field: fn(&Sample) -> f64| {
                let ratios = new.iter().zip(&old).map(|(new, old)| field(new) / field(old));
                figure(least_median_most(ratios.collect()), 2)
            };
            let ratios = FIGURES.map(|(_, field)| ratio(field)).join(" | ");
            let _ = writeln!(out, "| {} | {} | {ratios} |", row.name(), contender.name());
        }
    }
    out
}
