//! `cargo xtask setup`: what a command needs of this machine, installed if it is missing and said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use nix::unistd::geteuid;

use crate::peers;
use crate::process::{read, run};
use crate::toolchain::{Record, Toolchain};
use crate::workspace;

/// The command's options.
#[derive(Args)]
pub(crate) struct SetupOptions {
    /// Install only what this needs
    #[arg(long = "for", value_enum, default_value_t = Need::Bench)]
    need: Need,
}

/// What a machine is prepared for; each includes what stands before it, but for the XDP program's toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Need {
    /// Building the binary
    Build,
    /// `cargo xtask run`
    Run,
    /// `cargo xtask demo`
    Demo,
    /// `cargo xtask bench card`
    Card,
    /// `cargo xtask test`, with `cargo xtask build-ebpf` included
    Test,
    /// `cargo xtask bench`
    Bench,
}

/// The sign that something is there, without asking the package manager: it may have come another way.
enum Sign {
    Program(&'static str),
    /// One of these files.
    File(&'static [&'static str]),
}

struct Requirement {
    need: Need,
    sign: Sign,
    package: &'static str,
}

const fn program(need: Need, program: &'static str, package: &'static str) -> Requirement {
    Requirement { need, sign: Sign::Program(program), package }
}

const fn file(need: Need, files: &'static [&'static str], package: &'static str) -> Requirement {
    Requirement { need, sign: Sign::File(files), package }
}

/// Packages by their names in Debian and Ubuntu.
const REQUIREMENTS: &[Requirement] = &[
    program(Need::Build, "cc", "gcc"),
    program(Need::Build, "make", "make"),
    program(Need::Build, "clang", "clang"),
    program(Need::Build, "m4", "m4"),
    program(Need::Build, "pkg-config", "pkg-config"),
    file(Need::Build, &["/usr/include/libelf.h", "/usr/local/include/libelf.h"], "libelf-dev"),
    file(Need::Build, &["/usr/include/zlib.h", "/usr/local/include/zlib.h"], "zlib1g-dev"),
    program(Need::Demo, "ip", "iproute2"),
    program(Need::Demo, "dig", "bind9-dnsutils"),
    program(Need::Demo, "curl", "curl"),
    program(Need::Demo, "tcpdump", "tcpdump"),
    program(Need::Demo, "ethtool", "ethtool"),
    program(Need::Demo, "unshare", "util-linux"),
    program(Need::Card, "chrt", "util-linux"),
    program(Need::Card, "xz", "xz-utils"),
    program(Need::Card, "ldd", "libc-bin"),
    program(Need::Card, "nm", "binutils"),
    program(Need::Test, "g++", "g++"),
    program(Need::Test, "drill", "ldnsutils"),
    program(Need::Test, "kdig", "knot-dnsutils"),
    program(Need::Test, "dnsperf", "dnsperf"),
    program(Need::Test, "tshark", "tshark"),
    program(Need::Test, "nft", "nftables"),
    program(Need::Test, "strace", "strace"),
    program(Need::Test, "ping", "iputils-ping"),
    program(Need::Test, "python3", "python3"),
    program(Need::Test, "unbound", "unbound"),
    program(Need::Test, "bird", "bird2"),
    program(Need::Test, "bpftool", "bpftool"),
    program(Need::Test, "systemd-analyze", "systemd"),
    program(Need::Test, "nginx", "nginx-light"),
    program(Need::Test, "chromium", "chromium"),
    program(Need::Test, "prometheus", "prometheus"),
    program(Need::Test, "tmux", "tmux"),
    program(Need::Test, "fstrm_capture", "fstrm-bin"),
    program(Need::Test, "dnstap-ldns", "dnstap-ldns"),
    program(Need::Test, "debootstrap", "debootstrap"),
    program(Need::Test, "systemd-nspawn", "systemd-container"),
    program(Need::Test, "lintian", "lintian"),
    program(Need::Test, "podman", "podman"),
    program(Need::Test, "runc", "runc"),
    program(Need::Test, "jq", "jq"),
    program(Need::Test, "timeout", "coreutils"),
    program(Need::Test, "sysctl", "procps"),
    program(Need::Test, "pidof", "sysvinit-utils"),
    program(Need::Test, "openssl", "openssl"),
    program(Need::Test, "nsenter", "util-linux"),
    program(Need::Bench, "valgrind", "valgrind"),
    program(Need::Bench, "nsd", "nsd"),
    program(Need::Bench, "knotd", "knot"),
    program(Need::Bench, "dnsdist", "dnsdist"),
];

/// Packages that bring a daemon which would start at the next boot, and mostly take port 53 or 80; and its service.
const DAEMONS: [(&str, &str); 7] = [
    ("nsd", "nsd"),
    ("knot", "knot"),
    ("unbound", "unbound"),
    ("nginx-light", "nginx"),
    ("dnsdist", "dnsdist"),
    ("prometheus", "prometheus"),
    ("bird2", "bird"),
];

/// Installs what is missing and says what.
pub(crate) fn setup(options: &SetupOptions) -> Result<()> {
    ensure(options.need)?;
    if options.need >= Need::Test {
        components()?;
        let record = Record::load(&workspace().join("stateless-tcp-ebpf/toolchain.toml"))?;
        if let Err(error) = Toolchain::obtain(&record, None) {
            // Only who changes the XDP program needs it, and `test` names the step that does.
            eprintln!("warning: the XDP program cannot be rebuilt here: {error:#}");
        }
        let programs = peers::obtain()?;
        println!("name servers to compare with: {}={}", peers::VARIABLE, programs.display());
    }
    println!(
        "everything that `{}` needs is here",
        options.need.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    );
    Ok(())
}

/// Installs the packages that `need` lacks.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let missing: Vec<&str> = REQUIREMENTS
        .iter()
        .filter(|one| one.need <= need && !one.sign.found())
        .map(|one| one.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find_program("apt-get").is_none() {
        bail!("missing on this machine, and there is no apt-get to install them: {}", missing.join(" "));
    }
    if !geteuid().is_root() {
        let first = "say: sudo apt-get update && sudo apt-get install --no-install-recommends";
        bail!("missing packages, and only root can install them; {first} {}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    let policy = NoServices::declare()?;
    // Package lists are fetched only where those at hand do not serve.
    if install(&missing).is_err() {
        run(Command::new("apt-get").args(["--quiet=2", "update"]))?;
        install(&missing)?;
    }
    drop(policy);
    for (_, service) in DAEMONS.iter().filter(|(package, _)| missing.contains(package)) {
        disable(service);
    }
    let still: Vec<&str> = REQUIREMENTS
        .iter()
        .filter(|one| one.need <= need && !one.sign.found())
        .map(|one| one.package)
        .collect();
    if !still.is_empty() {
        bail!("installed, but what they bring is not found: {}", still.join(" "));
    }
    Ok(())
}

/// The components of the toolchain in use that checks need, which a minimal installation lacks.
pub(crate) fn components() -> Result<()> {
    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if read(Command::new(program).arg("--version")).is_err() {
            eprintln!("installing {component}");
            run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--quiet=2", "--yes", "--no-install-recommends", "install"])
        .args(packages))
}

/// Keeps a daemon that was installed for its programs from starting at boot.
fn disable(service: &str) {
    let service = format!("{service}.service");
    // Where systemd is absent (a container), nothing starts it at all.
    if read(Command::new("systemctl").args(["disable", "--quiet", &service])).is_err() {
        eprintln!("note: {service} could not be disabled; make sure that nothing starts it at boot");
    }
}

/// Tells Debian's maintainer scripts not to start services, as long as it lives.
struct NoServices {
    written: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn declare() -> Result<Self> {
        if Path::new(POLICY).exists() {
            // Somebody else's policy stands.
            return Ok(Self { written: false });
        }
        // Were the file left behind, it would forbid nothing: it speaks only as long as this process is there.
        let text = format!("#!/bin/sh\nkill -0 {} 2>/dev/null && exit 101\nexit 0\n", std::process::id());
        fs::write(POLICY, text).with_context(|| format!("writing {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { written: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.written && fs::remove_file(POLICY).is_err() {
            eprintln!("note: {POLICY} could not be removed; it has no effect any more");
        }
    }
}

impl Sign {
    fn found(&self) -> bool {
        match self {
            Sign::Program(name) => find_program(name).is_some(),
            Sign::File(paths) => paths.iter().any(|path| Path::new(path).exists()),
        }
    }
}

/// A program on the path, or where administrators' programs lie, which a user's path may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories =
        std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}
