//! The figures that the repository records, and the comparison with them: a change that makes a question dearer is found by
//! the checks of that change.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::case::{Frames, Load, Nic, Server, Setup, Transport, word};
use super::report::{Environment, Row, thousands};
use crate::workspace;

/// The file, from the workspace's root.
const FILE: &str = "xtask/card/recorded.json";
/// So much dearer a question may be, in percent. Figures of many questions in flight differ by half a percent.
const TOLERANCE: u64 = 3;
/// The same with one in flight: the clients' speed decides which frames find the guest asleep.
const TOLERANCE_ALONE: u64 = 10;
/// The command that writes the file.
const RECORD: &str = "cargo xtask bench card --record";

/// The cases that are recorded: this program's, since the others do not change with its commits.
pub(super) const SETUPS: [Setup; 5] = [
    Setup { server: Server::Auto, nic: Nic::Igb, frames: Frames::ZeroCopy },
    Setup { server: Server::Ring, nic: Nic::Igb, frames: Frames::ZeroCopy },
    Setup { server: Server::Driver, nic: Nic::Igb, frames: Frames::ZeroCopy },
    Setup { server: Server::Ring, nic: Nic::VirtioNet, frames: Frames::Copied },
    Setup { server: Server::Driver, nic: Nic::VirtioNet, frames: Frames::Copied },
];

/// With one question in flight, many questions at a time, and many a connection.
pub(super) const LOADS: [Load; 3] = [
    Load { transport: Transport::Tcp, questions: 1, in_flight: 1 },
    Load { transport: Transport::Tcp, questions: 1, in_flight: 32 },
    Load { transport: Transport::Tcp, questions: 20, in_flight: 32 },
];

/// The file's content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Recorded {
    environment: Environment,
    rows: Vec<Row>,
}

impl Recorded {
    pub(super) fn new(environment: Environment, rows: Vec<Row>) -> Self {
        Self { environment, rows }
    }

    pub(super) fn read() -> Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("reading {}; write it with `{RECORD}`", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} cannot be read; write it anew with `{RECORD}`", path.display()))
    }

    pub(super) fn write(&self) -> Result<PathBuf> {
        let path = path();
        fs::write(&path, self.text()?).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// JSON with a line for each row, so that differences can be read.
    fn text(&self) -> Result<String> {
        let line = |row| serde_json::to_string(row).context("writing JSON");
        let rows = self.rows.iter().map(line).collect::<Result<Vec<_>>>()?;
        let environment = serde_json::to_string(&self.environment).context("writing JSON")?;
        Ok(format!(
            "{{\n  \"environment\": {environment},\n  \"rows\": [\n    {}\n  ]\n}}\n",
            rows.join(",\n    ")
        ))
    }

    /// Whether a case takes more than is recorded, and more than figures differ from run to run.
    pub(super) fn is_dearer(&self, row: &Row) -> bool {
        self.find(row).is_some_and(|recorded| is_above(row, recorded.instructions))
    }

    /// Each row beside its record. Fails if one is dearer or has no record.
    pub(super) fn compare(&self, environment: &Environment, rows: &[Row]) -> Result<String> {
        let (mut text, mut dearer, mut missing) = (String::new(), Vec::new(), Vec::new());
        for row in rows {
            let Some(recorded) = self.find(row) else {
                missing.push(row.name());
                continue;
            };
            let difference = format!(
                "{}: {} instructions a question, {} recorded, {}",
                row.name(),
                thousands(row.instructions),
                thousands(recorded.instructions),
                percent(row.instructions, recorded.instructions)
            );
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{difference}");
            if is_above(row, recorded.instructions) {
                dearer.push((row, difference));
            }
        }
        if !missing.is_empty() {
            bail!(
                "{FILE} has no figures of these cases: {}; write it anew with `{RECORD}`",
                missing.join("; ")
            );
        }
        if dearer.is_empty() {
            if rows
                .iter()
                .any(|row| self.find(row).is_some_and(|recorded| is_above(recorded, row.instructions)))
            {
                let _ = writeln!(text, "some cases have become cheaper: `{RECORD}` has it stay so");
            }
            return Ok(text);
        }
        let mut complaint = format!("a question costs more than recorded in {FILE}\n");
        for (row, difference) in dearer {
            let Row { setup: Setup { server, nic, frames }, load, .. } = row;
            let _ = writeln!(complaint, "  {difference}, at most +{} % is allowed", tolerance(*load));
            let _ = writeln!(
                complaint,
                "    by function: cargo xtask bench card --profile --server {} --nic {} --frames {} --transport tcp \
                 --questions {} --in-flight {}",
                word(server),
                word(nic),
                word(frames),
                load.questions,
                load.in_flight
            );
        }
        let _ = write!(complaint, "if the price is meant, record it: `{RECORD}`, and commit {FILE}");
        for (name, here, there) in [
            ("guest's kernel", &environment.kernel, &self.environment.kernel),
            ("QEMU", &environment.qemu, &self.environment.qemu),
            ("compiler", &environment.rustc, &self.environment.rustc),
        ] {
            if here != there {
                let _ = write!(
                    complaint,
                    "\nnote: the {name} is {here}, recorded was {there}; to see whether that is the reason, record at the \
                     commit before, and compare this one with that"
                );
            }
        }
        bail!(complaint)
    }

    fn find(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|recorded| recorded.setup == row.setup && recorded.load == row.load)
    }
}

fn path() -> PathBuf {
    workspace().join(FILE)
}

/// Whether a case takes more than `instructions` and the tolerance.
fn is_above(row: &Row, instructions: u64) -> bool {
    row.instructions * 100 > instructions * (100 + tolerance(row.load))
}

fn tolerance(load: Load) -> u64 {
    if load.in_flight == 1 { TOLERANCE_ALONE } else { TOLERANCE }
}

/// The difference between them, with its sign.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn percent(measured: u64, recorded: u64) -> String {
    format!("{:+.1} %", (measured as f64 / recorded.max(1) as f64 - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::row;
    use super::*;

    fn recorded() -> Recorded {
        let environment = Environment { kernel: "linux-image-7.2".to_owned(), ..Environment::default() };
        Recorded::new(environment, vec![row(Server::Ring, 32, 10_000), row(Server::Auto, 1, 50_000)])
    }

    #[test]
    fn so_much_more_is_allowed_and_no_more() {
        let recorded = recorded();
        let cases = [
            (Server::Ring, 32, 9_000, false),
            (Server::Ring, 32, 10_000, false),
            (Server::Ring, 32, 10_300, false),
            (Server::Ring, 32, 10_301, true),
            (Server::Auto, 1, 55_000, false),
            (Server::Auto, 1, 55_001, true),
        ];
        for (server, in_flight, instructions, dearer) in cases {
            let row = row(server, in_flight, instructions);
            assert_eq!(recorded.is_dearer(&row), dearer, "{instructions}");
            assert_eq!(recorded.compare(&recorded.environment, &[row]).is_err(), dearer, "{instructions}");
        }
    }

    #[test]
    fn a_failure_names_the_row_both_figures_and_the_remedy() {
        let recorded = recorded();
        let rows = [row(Server::Ring, 32, 10_512), row(Server::Auto, 1, 49_000)];
        let error = recorded.compare(&recorded.environment, &rows).expect_err("one is dearer").to_string();
        for words in [
            "ring, igb, zero-copy, TCP, 1 question, 32 in flight: 10,512 instructions a question, 10,000 recorded, +5.1 %, \
             at most +3 % is allowed",
            "--profile --server ring --nic igb --frames zero-copy --transport tcp --questions 1 --in-flight 32",
            "`cargo xtask bench card --record`",
        ] {
            assert!(error.contains(words), "{words:?} is not in: {error}");
        }
        assert!(!error.contains("auto"), "{error}");
        assert!(!error.contains("note:"), "{error}");
    }

    #[test]
    fn a_failure_says_that_the_kernel_is_another() {
        let here = Environment { kernel: "linux-image-7.3".to_owned(), ..Environment::default() };
        let error = recorded().compare(&here, &[row(Server::Ring, 32, 20_000)]).expect_err("it is dearer");
        let words = "the guest's kernel is linux-image-7.3, recorded was linux-image-7.2";
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn a_case_without_figures_is_a_failure() {
        let recorded = recorded();
        let rows = [row(Server::Driver, 32, 1)];
        let error = recorded.compare(&recorded.environment, &rows).expect_err("nothing is recorded");
        assert!(error.to_string().contains("no figures of these cases: driver, igb"), "{error}");
    }

    #[test]
    fn cheaper_cases_are_to_be_recorded() {
        let recorded = recorded();
        let of =
            |instructions| recorded.compare(&recorded.environment, &[row(Server::Ring, 32, instructions)]);
        assert!(of(9_000).expect("it is cheaper").contains("have become cheaper"));
        assert!(!of(9_990).expect("it is the same").contains("have become cheaper"));
    }

    #[test]
    fn the_file_has_a_line_for_each_row_and_can_be_read() {
        let recorded = recorded();
        let text = recorded.text().expect("JSON");
        assert_eq!(text.lines().filter(|line| line.contains("\"server\"")).count(), 2);
        assert_eq!(serde_json::from_str::<Recorded>(&text).expect("what was written"), recorded);
    }

    #[test]
    fn the_repositorys_file_has_every_case() {
        let recorded = Recorded::read().expect("the file");
        for setup in SETUPS {
            for load in LOADS {
                let there = recorded.rows.iter().any(|row| row.setup == setup && row.load == load);
                assert!(there, "{setup}, {load} is not recorded; `{RECORD}`");
            }
        }
    }
}
