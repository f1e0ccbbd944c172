//! Signing zones with the tools of BIND.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::peers;

/// The way a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    None,
    /// With NSEC.
    Nsec,
    /// With NSEC3.
    Nsec3,
    /// With NSEC3, insecure delegations left out.
    OptOut,
}

impl Proof {
    /// All four.
    pub const ALL: [Self; 4] = [Self::None, Self::Nsec, Self::Nsec3, Self::OptOut];

    /// The name of a zone that is signed so.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Nsec => "nsec",
            Self::Nsec3 => "nsec3",
            Self::OptOut => "optout",
        }
    }
}

/// Makes a key that signs keys, and one that signs the rest, in `directory`. Returns the DS records' data.
///
/// # Errors
///
/// The tools are not here, or fail.
pub fn make_keys(zone: &str, directory: &Path) -> anyhow::Result<Vec<String>> {
    let generate = |options: &[&str]| {
        let mut command = peers::command("dnssec-keygen")?;
        command.args(["-q", "-a", "ECDSAP256SHA256", "-K"]).arg(directory).args(options).arg(zone);
        output(&mut command)
    };
    generate(&[])?;
    let key = generate(&["-f", "KSK"])?;
    let file = directory.join(format!("{}.key", key.trim()));
    let ds = output(peers::command("dnssec-dsfromkey")?.args(["-2"]).arg(file))?;
    let data = ds.lines().filter_map(|line| line.split_once(" DS ")).map(|(_, data)| data.to_owned());
    Ok(data.collect())
}

/// Signs `NAME.zone` with all keys of its zone that are beside it, in its place.
///
/// # Errors
///
/// The tool is not here, or fails.
pub fn sign(zone: &str, file: &Path, proof: Proof) -> anyhow::Result<()> {
    let options: &[&str] = match proof {
        Proof::None => return Ok(()),
        Proof::Nsec => &[],
        Proof::Nsec3 => &["-3", "AABB", "-H", "2"],
        Proof::OptOut => &["-3", "-", "-H", "0", "-A"],
    };
    let directory = file.parent().context("a zone file in no directory")?;
    let signed: PathBuf = file.with_extension("signed");
    let mut command = peers::command("dnssec-signzone")?;
    command.args(["-q", "-S", "-P", "-K"]).arg(directory).arg("-d").arg(directory).args(options);
    command.args(["-s", "now-86400", "-e", "now+2592000", "-o", zone, "-f"]).arg(&signed).arg(file);
    output(&mut command)?;
    fs::rename(&signed, file).with_context(|| format!("renaming {}", signed.display()))
}

/// Runs a tool and returns what it prints.
///
/// # Errors
///
/// It cannot be run, or fails.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
