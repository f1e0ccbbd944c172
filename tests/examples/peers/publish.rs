//! Results into the documentation: tables between two marks, a chart and the JSON file beside them.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::chart;
use crate::results::Results;
use crate::tables;

const PAGE: &str = "benchmarks.md";
const BEGIN: &str = "<!-- peers: what follows is written by `cargo xtask bench publish` -->\n";
const END: &str = "<!-- peers: end -->\n";

/// Puts them into the directory of the documentation.
pub(crate) fn publish(results: &Results, docs: &Path) -> anyhow::Result<()> {
    let page = docs.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let marks = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        marks.with_context(|| format!("{} lacks the lines {BEGIN} and {END}", page.display()))?;
    chart::draw(results, &docs.join("peers.svg"))?;
    results.store(&docs.join("peers.json"))?;
    let ours = "![Transactions a second answered and offered; CPU for each](peers.svg)\n";
    fs::write(&page, format!("{before}{BEGIN}\n{ours}\n{}\n{END}{after}", tables::all(results)))?;
    Ok(())
}
