//! The newest BIND, Knot DNS, NSD and Unbound that Debian has, which the tests compare with: unpacked into
//! `target/peers` and kept there. Nothing of them is installed; each runs by the loader and libraries of its own release.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debian::{self, Suite, keep};
use crate::process::read;
use crate::run::target_directory;

/// The release whose servers are used.
const SUITE: &str = "sid";

/// The packages that hold the programs.
const PACKAGES: [&str; 9] = [
    "bind9",
    "bind9-dnsutils",
    "bind9-utils",
    "knot",
    "knot-dnssecutils",
    "knot-dnsutils",
    "ldnsutils",
    "nsd",
    "unbound",
];

/// Programs that say their version, and how they are asked.
const VERSIONS: [(&str, &str); 5] =
    [("named", "-v"), ("knotd", "--version"), ("nsd", "-v"), ("unbound", "-V"), ("ldns-signzone", "-v")];

/// The programs that are run.
const PROGRAMS: [&str; 17] = [
    "bin/dig",
    "bin/dnssec-dsfromkey",
    "bin/dnssec-keygen",
    "bin/dnssec-signzone",
    "bin/kdig",
    "bin/kzonecheck",
    "bin/kzonesign",
    "bin/ldns-keygen",
    "bin/ldns-signzone",
    "bin/named-checkzone",
    "bin/named-compilezone",
    "sbin/knotd",
    "sbin/named",
    "sbin/nsd",
    "sbin/nsd-checkzone",
    "sbin/unbound",
    "sbin/unbound-checkconf",
];

/// Directories of the loader and the libraries.
pub(crate) const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The variable that names the programs' directory to the tests.
pub(crate) const VARIABLE: &str = "STATELESS_TCP_PEERS";

/// Fetches the servers unless they are there, and returns the directory of their programs. Newer ones are fetched once
/// `target/peers` is removed.
pub(crate) fn obtain() -> Result<PathBuf> {
    // The tests run elsewhere.
    let programs = root()?.join("run");
    fs::canonicalize(&programs).with_context(|| {
        format!("{0}/run is not whole; remove {0} and try again", target_directory().join("peers").display())
    })
}

/// Fetches the servers unless they are there, and returns the directory that their packages are unpacked into.
pub(crate) fn root() -> Result<PathBuf> {
    ensure!(cfg!(target_arch = "x86_64"), "the servers to compare with are fetched for x86-64, and run here");
    let root = target_directory().join("peers");
    keep(&root, |partial| {
        eprintln!("fetching the name servers of Debian's {SUITE}");
        let suite = Suite::open(SUITE)?;
        let packages = suite.download_whole(&PACKAGES)?;
        packages.iter().try_for_each(|package| debian::unpack(package, partial))?;
        wrap_all(partial)?;
        let versions = versions(&partial.join("run"))?;
        fs::write(partial.join("versions"), versions).context("writing the servers' versions")
    })?;
    Ok(root)
}

/// Makes `run/NAME` for each program: a script that starts it by its loader. It finds the loader from where it lies.
fn wrap_all(root: &Path) -> Result<()> {
    let scripts = root.join("run");
    fs::create_dir(&scripts).with_context(|| format!("creating {}", scripts.display()))?;
    for program in PROGRAMS {
        ensure!(root.join("usr").join(program).is_file(), "the packages of {SUITE} hold no usr/{program}");
        let text = format!(
            "#!/bin/sh\nroot=\"${{0%/*}}/..\"\nexec \"$root/{LIBRARIES}/ld-linux-x86-64.so.2\" --library-path \
             \"$root/{LIBRARIES}\" \"$root/usr/{program}\" \"$@\"\n"
        );
        let (_, name) = program.split_once('/').context("a program without a directory")?;
        let script = scripts.join(name);
        fs::write(&script, text).with_context(|| format!("writing {}", script.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// One line for each server. Fails if one does not run.
fn versions(programs: &Path) -> Result<String> {
    let version = |(program, option): &(&str, &str)| {
        // nsd says its version on standard error.
        let script = "\"$0\" \"$1\" 2>&1";
        let text = read(Command::new("sh").args(["-c", script]).arg(programs.join(program)).arg(option))?;
        Ok(format!("{program}: {}\n", text.lines().next().unwrap_or_default()))
    };
    VERSIONS.iter().map(version).collect()
}
