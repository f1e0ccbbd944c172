//! The verdicts of other name servers' checkers on a zone file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::peers;

/// Seconds that a checker may take: a safety net.
const PATIENCE: &str = "100";

/// One checker's word: what it complains of, where it refuses the file.
pub type Verdict = Result<(), String>;

/// The three verdicts.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// `named-checkzone`.
    pub bind: Verdict,
    /// `kzonecheck`.
    pub knot: Verdict,
    /// `nsd-checkzone`.
    pub nsd: Verdict,
    /// The zone as BIND has read it, if it has.
    pub raw: Option<PathBuf>,
}

impl Verdicts {
    /// Has all three read `file` as the zone `zone`.
    ///
    /// # Errors
    ///
    /// One of them is not here.
    pub fn ask(zone: &str, file: &Path) -> anyhow::Result<Self> {
        let raw = file.with_file_name("raw");
        // Addresses of names in other zones would be looked up.
        let local = ["-i", "local", "-D", "-F", "raw", "-o"];
        let bind = ask("named-checkzone", file, |command| {
            command.args(local).arg(&raw).arg(zone).arg(file);
        })?;
        let knot = ask("kzonecheck", file, |command| {
            command.args(["-j", "1", "-o", zone]).arg(file);
        })?;
        let nsd = ask("nsd-checkzone", file, |command| {
            command.arg(zone).arg(file);
        })?;
        let raw = (bind.is_ok() && raw.is_file()).then_some(raw);
        Ok(Self { bind, knot, nsd, raw })
    }

    /// Whether at least two accept the file.
    #[must_use]
    pub fn accepted(&self) -> bool {
        [&self.bind, &self.knot, &self.nsd].into_iter().filter(|verdict| verdict.is_ok()).count() >= 2
    }
}

/// Runs a checker in the file's directory.
fn ask(name: &str, file: &Path, arguments: impl FnOnce(&mut Command)) -> anyhow::Result<Verdict> {
    let directory = file.parent().context("a file in no directory")?;
    let log = directory.join(format!("{name}.log"));
    let output = fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(peers::program(name)?).current_dir(directory);
    arguments(&mut command);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let status = command.status().with_context(|| format!("starting {name}"))?;
    if status.success() {
        return Ok(Ok(()));
    }
    let complaint = String::from_utf8_lossy(&fs::read(&log)?).replace(&directory.display().to_string(), "");
    Ok(Err(format!("{status}: {}", complaint.replace("/zone:", "line ").trim())))
}
