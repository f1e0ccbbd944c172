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

/// One question a connection, and many. Not with one in flight: the clients' speed decides how often a frame finds the guest
/// asleep, which differed by 14 % between a busy and a quiet machine.
pub(super) const LOADS: [Load; 2] = [
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
    pub(super) fn is_dearer(&self, here: &Environment, row: &Row) -> bool {
        self.find(row).is_some_and(|recorded| self.is_above(here, row, recorded))
    }

    /// Each row beside its record. Fails if one is dearer or has no record.
    pub(super) fn compare(&self, here: &Environment, rows: &[Row]) -> Result<String> {
        let (mut text, mut dearer, mut cheaper, mut missing) = (String::new(), Vec::new(), false, Vec::new());
        for row in rows {
            let Some(recorded) = self.find(row) else {
                missing.push(row.name());
                continue;
            };
            let difference = self.difference(here, row, recorded);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{difference}");
            cheaper |= self.is_above(here, recorded, row);
            if self.is_above(here, row, recorded) {
                dearer.push((row, difference));
            }
        }
        if !missing.is_empty() {
            bail!(
                "{FILE} has no figures of these cases: {}; write it anew with `{RECORD}`",
                missing.join("; ")
            );
        }
        if !dearer.is_empty() {
            bail!("{}{}", complaint(&dearer), self.note(here));
        }
        if cheaper {
            let _ = writeln!(text, "some cases have become cheaper: `{RECORD}` has it stay so");
        }
        Ok(text + &self.note(here))
    }

    /// Whether the first case takes more than the second and the tolerance.
    fn is_above(&self, here: &Environment, one: &Row, other: &Row) -> bool {
        self.figure(here, one) * 100 > self.figure(here, other) * (100 + TOLERANCE)
    }

    /// What is compared of a row: everything, but under another kernel only user space, which that leaves as it was.
    fn figure(&self, here: &Environment, row: &Row) -> u64 {
        if self.has_kernel(here) { row.instructions } else { row.parts.user }
    }

    fn has_kernel(&self, here: &Environment) -> bool {
        here.kernel == self.environment.kernel
    }

    fn difference(&self, here: &Environment, row: &Row, recorded: &Row) -> String {
        let [measured, before] = [row, recorded].map(|row| self.figure(here, row));
        format!(
            "{}: {} instructions a question{}, {} recorded, {}",
            row.name(),
            thousands(measured),
            if self.has_kernel(here) { "" } else { " in user space" },
            thousands(before),
            percent(measured, before)
        )
    }

    /// What is not as it was when the figures were recorded.
    fn note(&self, here: &Environment) -> String {
        let there = &self.environment;
        let mut text = String::new();
        for (name, here, there) in
            [("QEMU", &here.qemu, &there.qemu), ("compiler", &here.rustc, &there.rustc)]
        {
            if here != there {
                let _ = writeln!(text, "note: the {name} is {here}, recorded was {there}");
            }
        }
        if !self.has_kernel(here) {
            let _ = writeln!(
                text,
                "note: the guest's kernel is {}, recorded was {}, so only user space is compared; `{RECORD}` has all of \
                 it compared again",
                here.kernel, there.kernel
            );
        }
        text
    }

    fn find(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|recorded| recorded.setup == row.setup && recorded.load == row.load)
    }
}

fn path() -> PathBuf {
    workspace().join(FILE)
}

/// What a failure says: each case, how to look into it, and the remedy.
fn complaint(dearer: &[(&Row, String)]) -> String {
    let mut text = format!("a question costs more than recorded in {FILE}\n");
    for (row, difference) in dearer {
        let Row { setup: Setup { server, nic, frames }, load, .. } = row;
        let (server, nic, frames) = (word(server), word(nic), word(frames));
        let Load { questions, in_flight, .. } = load;
        let _ = writeln!(text, "  {difference}, at most +{TOLERANCE} % is allowed");
        let _ = writeln!(
            text,
            "    by function: cargo xtask bench card --profile --server {server} --nic {nic} --frames {frames} \
             --transport tcp --questions {questions} --in-flight {in_flight}"
        );
    }
    let _ = writeln!(text, "if the price is meant, record it: `{RECORD}`, and commit {FILE}");
    text
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
            (Server::Auto, 1, 51_500, false),
            (Server::Auto, 1, 51_501, true),
        ];
        for (server, in_flight, instructions, dearer) in cases {
            let row = row(server, in_flight, instructions);
            assert_eq!(recorded.is_dearer(&recorded.environment, &row), dearer, "{instructions}");
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
    fn under_another_kernel_user_space_is_compared() {
        let here = Environment { kernel: "linux-image-7.3".to_owned(), ..Environment::default() };
        let mut recorded = recorded();
        recorded.rows[0].parts.user = 1_000;
        let mut row = row(Server::Ring, 32, 20_000);
        row.parts.user = 1_030;
        let text = recorded.compare(&here, std::slice::from_ref(&row)).expect("user space costs no more");
        for words in [
            "1,030 instructions a question in user space, 1,000 recorded, +3.0 %",
            "recorded was linux-image-7.2",
        ] {
            assert!(text.contains(words), "{words:?} is not in: {text}");
        }
        row.parts.user = 1_031;
        assert!(recorded.is_dearer(&here, &row));
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
