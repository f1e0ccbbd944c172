//! The one toolchain that the XDP program is built with, as `stateless-tcp-ebpf/toolchain.toml` records it, and how to
//! get it: nightly rustc, bpf-linker, and the sources of `core`, which has no prebuilt library for BPF.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::process::{read, run};
use crate::rust_src;

/// The record of a build of the object: its inputs besides the source, and the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Record {
    /// The compiler.
    pub(crate) rustc: Rustc,
    /// The linker, which holds no LLVM of its own but loads the compiler's.
    pub(crate) bpf_linker: BpfLinker,
    /// The sources of `core`.
    pub(crate) rust_src: RustSrc,
    /// The results: each object's SHA-256, by its file's name.
    pub(crate) objects: BTreeMap<String, String>,
}

/// The compiler, as `rustc -vV` describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rustc {
    /// The rustup channel that holds this very compiler.
    pub(crate) channel: String,
    pub(crate) release: String,
    pub(crate) commit_hash: String,
    pub(crate) llvm: String,
}

/// The linker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct BpfLinker {
    pub(crate) version: String,
}

/// The sources of `core`: a Debian package, and a digest of its contents to compare any other copy with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RustSrc {
    /// The Debian suite that carries the package.
    pub(crate) suite: String,
    pub(crate) version: String,
    pub(crate) package_sha256: String,
    /// [`rust_src::digest`] of the unpacked sources.
    pub(crate) library_sha256: String,
}

/// A toolchain found on this machine.
pub(crate) struct Toolchain {
    /// Its name for `rustup run`.
    pub(crate) name: String,
    /// bpf-linker's path.
    pub(crate) linker: PathBuf,
    /// The directory that holds `library/`.
    pub(crate) sources: PathBuf,
    /// Whether the sources are the recorded ones, byte for byte.
    pub(crate) sources_match: bool,
}

const HEADER: &str = "\
# What the XDP programs' objects are built with. Written by `cargo xtask build-ebpf`; proved by `cargo xtask build-ebpf --check`.
";

impl Record {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("parsing {}", path.display()))
    }

    pub(crate) fn store(&self, path: &Path) -> Result<()> {
        let text = format!("{HEADER}\n{}", toml::to_string(self)?);
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

impl Toolchain {
    /// Finds the recorded toolchain, installing what of it is missing.
    pub(crate) fn obtain(record: &Record, sources: Option<&Path>) -> Result<Self> {
        let name = find_rustc(&record.rustc)?;
        let linker = find_linker(&record.bpf_linker.version)?;
        let (sources, sources_match) = rust_src::obtain(&record.rust_src, &name, sources)?;
        Ok(Self { name, linker, sources, sources_match })
    }

    /// A command run with this toolchain's programs and libraries.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("rustup");
        command.args(["run", &self.name]).arg(program);
        command
    }

    /// Its directory below rustup's.
    pub(crate) fn sysroot(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(read(self.command("rustc").args(["--print", "sysroot"]))?))
    }
}

/// What `rustup run NAME rustc -vV` says.
pub(crate) fn inspect_rustc(name: &str) -> Result<Rustc> {
    let text = read(Command::new("rustup").args(["run", name, "rustc", "-vV"]))?;
    let field = |key: &str| {
        let prefix = format!("{key}: ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
        value.map(str::to_owned).with_context(|| format!("rustc -vV of toolchain `{name}` has no {key}"))
    };
    let committed = field("commit-date")?;
    Ok(Rustc {
        channel: format!("nightly-{}", next_day(&committed)?),
        release: field("release")?,
        commit_hash: field("commit-hash")?,
        llvm: field("LLVM version")?,
    })
}

/// A nightly is published on the day after its last commit. `date` is of GNU coreutils, which knows the calendar.
fn next_day(date: &str) -> Result<String> {
    read(Command::new("date").args(["--utc", "+%F", "--date", &format!("{date} + 1 day")]))
}

/// The name of an installed toolchain whose compiler is the recorded one, whatever it is called here.
fn find_rustc(recorded: &Rustc) -> Result<String> {
    let listed = read(Command::new("rustup").args(["toolchain", "list", "--quiet"]))
        .context("rustup is needed to build the XDP program: see https://rustup.rs")?;
    let mut seen = Vec::new();
    for name in listed.lines().filter(|name| name.starts_with("nightly")) {
        // A broken toolchain is no reason to fail while another one serves.
        let Ok(found) = inspect_rustc(name) else { continue };
        if found.commit_hash == recorded.commit_hash {
            return Ok(name.to_owned());
        }
        seen.push(format!("{name} is {} of commit {}", found.release, found.commit_hash));
    }
    eprintln!("installing {} (the compiler that the XDP program is built with)", recorded.channel);
    let install = run(Command::new("rustup")
        .args(["toolchain", "install", "--profile", "minimal", "--no-self-update"])
        .arg(&recorded.channel));
    if let Err(error) = install {
        let seen = if seen.is_empty() { "no nightly is installed".to_owned() } else { seen.join("; ") };
        bail!(
            "the XDP program is built with {} (commit {}), which cannot be had here: {seen}; {error:#}",
            recorded.channel,
            recorded.commit_hash,
        );
    }
    let found = inspect_rustc(&recorded.channel)?;
    if found != *recorded {
        bail!("{} is commit {}, not {}", recorded.channel, found.commit_hash, recorded.commit_hash);
    }
    Ok(recorded.channel.clone())
}

/// bpf-linker of exactly that version: on the path, or installed into the cache, where it displaces no other.
fn find_linker(version: &str) -> Result<PathBuf> {
    let root = cache_directory()?.join(format!("bpf-linker-{version}"));
    let private = root.join("bin/bpf-linker");
    let wanted = format!("bpf-linker {version}");
    for candidate in [PathBuf::from("bpf-linker"), private.clone()] {
        if read(Command::new(&candidate).arg("--version")).is_ok_and(|found| found == wanted) {
            return Ok(candidate);
        }
    }
    eprintln!("installing bpf-linker {version} into {}", root.display());
    run(Command::new("cargo")
        .args(["install", "bpf-linker", "--locked", "--version", version, "--root"])
        .arg(&root))?;
    Ok(private)
}

/// Directory of files that are costly to fetch or build: it outlives `cargo clean`.
pub(crate) fn cache_directory() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = match base {
        Some(base) => base,
        None => std::env::home_dir().context("there is no home directory to keep a cache in")?.join(".cache"),
    };
    let directory = base.join("stateless-tcp");
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
}

/// SHA-256 of a file in hexadecimal.
pub(crate) fn sha256_file(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(hexadecimal(Sha256::digest(bytes).as_slice()))
}

/// Lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for digit in bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
        text.extend(char::from_digit(u32::from(digit), 16));
    }
    text
}
