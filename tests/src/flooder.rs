//! The load generator as a process.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::netns::{Netns, text};
use crate::responder::binary;

/// Its report.
#[derive(Debug)]
pub struct Report(pub Value);

impl Report {
    /// A number, by its path: `/forged/sent`.
    pub fn number(&self, path: &str) -> u64 {
        let found = self.0.pointer(path).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("no number {path} in {:#}", self.0))
    }

    /// Number of failures for a reason.
    pub fn failures(&self, reason: &str) -> u64 {
        self.0["failures"][reason].as_u64().unwrap_or(0)
    }

    /// Asserts that every client was answered, and that there were some; returns how many.
    pub fn assert_all_answered(&self) -> u64 {
        let [offered, answered, failed] = ["/offered", "/answered", "/failed"].map(|path| self.number(path));
        assert!(offered > 0 && answered == offered && failed == 0, "{:#}", self.0);
        offered
    }
}

/// The binary: beside the responder's.
pub fn flooder() -> PathBuf {
    let path = binary().with_file_name("stateless-tcp-flood");
    assert!(
        path.is_file(),
        "{}: build it (cargo build --release --package stateless-tcp-flood)",
        path.display()
    );
    path
}

/// It, with these arguments, to be run in a namespace.
pub fn command(namespace: &Netns, interface: &str, arguments: &[&str]) -> Command {
    let mut command = namespace.command(flooder().to_str().expect("a path in UTF-8"));
    command.args(["--interface", interface]).args(arguments);
    command
}

/// Runs it, however it ends.
pub fn attempt(namespace: &Netns, interface: &str, arguments: &[&str]) -> Output {
    let mut command = command(namespace, interface, arguments);
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs it, and returns its report.
pub fn flood(namespace: &Netns, interface: &str, arguments: &[&str]) -> Report {
    let output = attempt(namespace, interface, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}: {}", output.status, text(&output.stderr));
    Report(serde_json::from_slice(&output.stdout).expect("a report in JSON"))
}
