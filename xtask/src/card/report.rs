//! What was measured: as a table for readers, as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::case::{Load, Server, Setup, Transport, word};
use super::machine::Parts;
use super::plugin::Instructions;
use super::profile::Profile;
use crate::peers;
use crate::process::read;
use crate::workspace;

/// Instructions of one case, for each question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) setup: Setup,
    #[serde(flatten)]
    pub(crate) load: Load,
    /// Of the whole guest.
    pub(crate) instructions: u64,
    #[serde(flatten)]
    pub(crate) parts: Instructions,
}

/// What else the figures depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// The guest's kernel, by its package.
    pub(crate) kernel: String,
    pub(crate) qemu: String,
    /// The compiler of this program.
    pub(crate) rustc: String,
}

/// All of a run.
#[derive(Serialize)]
pub(super) struct Report {
    /// The version of this program that was measured, by git.
    commit: String,
    environment: Environment,
    /// Versions of the other servers.
    servers: BTreeMap<String, String>,
    rows: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profiles: Vec<Profile>,
}

impl Row {
    /// The name of its case.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.setup, self.load)
    }
}

impl Environment {
    pub(super) fn of(parts: &Parts) -> Result<Self> {
        let version = read(parts.qemu.command().arg("--version"))?;
        Ok(Self {
            kernel: parts.kernel.package.clone(),
            qemu: version.lines().next().unwrap_or_default().to_owned(),
            rustc: read(Command::new("rustc").arg("--version"))?,
        })
    }
}

impl Report {
    pub(super) fn new(parts: &Parts, rows: Vec<Row>, profiles: Vec<Profile>) -> Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(workspace()).args(["describe", "--always", "--dirty"]);
        let mut servers = BTreeMap::new();
        if rows.iter().any(|row| !row.setup.server.is_ours()) {
            let path = peers::root()?.join("versions");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let versions = text.lines().filter_map(|line| line.split_once(": "));
            let is_measured = |program: &str| match program {
                "knotd" => rows.iter().any(|row| row.setup.server == Server::Knot),
                "nsd" => rows.iter().any(|row| row.setup.server == Server::Nsd),
                _ => false,
            };
            let measured = versions.filter(|(program, _)| is_measured(program));
            servers.extend(measured.map(|(program, version)| (program.to_owned(), version.to_owned())));
        }
        let commit = read(&mut git).unwrap_or_else(|_| "unknown".to_owned());
        Ok(Self { commit, environment: Environment::of(parts)?, servers, rows, profiles })
    }

    pub(super) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }
}

/// Markdown: a line for each machine, a column for each load; what it was measured with; the profiles.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commit, environment: Environment { kernel, qemu, rustc }, servers, rows, profiles } = self;
        formatter.write_str(&table(rows))?;
        write!(formatter, "\nthis at {commit}, {rustc}; {kernel}; {qemu}")?;
        for version in servers.values() {
            write!(formatter, "; {version}")?;
        }
        writeln!(formatter)?;
        profiles.iter().try_for_each(|profile| profile.fmt(formatter))
    }
}

/// The rows as a table in Markdown, its columns as wide as their widest cell.
fn table(rows: &[Row]) -> String {
    let mut setups: Vec<Setup> = Vec::new();
    let mut loads: Vec<Load> = Vec::new();
    for row in rows {
        if !setups.contains(&row.setup) {
            setups.push(row.setup);
        }
        if !loads.contains(&row.load) {
            loads.push(row.load);
        }
    }
    let mut lines = vec![["server", "card", "frames"].map(str::to_owned).to_vec()];
    lines[0].extend(loads.iter().map(|load| head(*load)));
    for setup in setups {
        let mut line = vec![word(&setup.server), word(&setup.nic), word(&setup.frames)];
        for &load in &loads {
            let row = rows.iter().find(|row| row.setup == setup && row.load == load);
            line.push(row.map_or_else(String::new, |row| thousands(row.instructions)));
        }
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if place == 0 {
            text.extend(widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}

/// A load as the head of a column: questions a connection × connections in flight.
fn head(load: Load) -> String {
    match load.transport {
        Transport::Tcp => format!("TCP, {} × {}", load.questions, load.in_flight),
        Transport::Udp => format!("UDP, {}", load.in_flight),
    }
}

/// `number` with a comma after each thousand.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::case::{Frames, Nic};
    use super::*;

    /// A row of TCP with one question a connection on igb.
    pub(in crate::card) fn row(server: Server, in_flight: u32, instructions: u64) -> Row {
        let setup = Setup { server, nic: Nic::Igb, frames: Frames::ZeroCopy };
        let load = Load { transport: Transport::Tcp, questions: 1, in_flight };
        Row { setup, load, instructions, parts: Instructions { kernel: instructions, user: 0 } }
    }

    #[test]
    fn the_table_has_a_line_for_each_machine_and_a_column_for_each_load() {
        let rows =
            [row(Server::Ring, 1, 70_525), row(Server::Ring, 32, 27_052), row(Server::Knot, 32, 25_920)];
        let lines = [
            "| server | card | frames    | TCP, 1 × 1 | TCP, 1 × 32 |",
            "|--------|------|-----------|------------|-------------|",
            "| ring   | igb  | zero-copy | 70,525     | 27,052      |",
            "| knot   | igb  | zero-copy |            | 25,920      |",
        ];
        assert_eq!(table(&rows).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn thousands_are_separated() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (27_052, "27,052"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_row_is_one_flat_object() {
        let text = serde_json::to_string(&row(Server::Ring, 32, 27_052)).expect("JSON");
        let whole = r#"{"server":"ring","nic":"igb","frames":"zero-copy","transport":"tcp","questions":1,"in_flight":32,"instructions":27052,"kernel":27052,"user":0}"#;
        assert_eq!(text, whole);
        assert_eq!(serde_json::from_str::<Row>(whole).expect("a row"), row(Server::Ring, 32, 27_052));
    }
}
