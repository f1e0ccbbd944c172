//! The sources of `core` that the XDP program is built from: a copy at hand if its contents are the recorded ones, else
//! Debian's package, fetched by apt without touching the machine's own package lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::debian::{self, Suite};
use crate::process::{read, run};
use crate::toolchain::{RustSrc, cache_directory, hexadecimal, sha256_file};

/// What of `library/` is compiled for BPF: `core` and what it includes, and the memory functions of compiler-builtins.
const COMPILED: [&str; 5] = [
    "library/core/src",
    "library/compiler-builtins/compiler-builtins",
    "library/compiler-builtins/libm",
    "library/portable-simd/crates/core_simd/src",
    "library/stdarch/crates/core_arch/src",
];

/// Finds the directory that holds `library/`, and whether its contents are the recorded ones.
///
/// In order: `given`, the toolchain's `rust-src` component, the cache, Debian's package. Only where the package cannot
/// be had does the component serve although it differs: it may well give the same object, and proves it if it does.
pub(crate) fn obtain(recorded: &RustSrc, toolchain: &str, given: Option<&Path>) -> Result<(PathBuf, bool)> {
    if let Some(given) = given {
        let matches = digest(given)? == recorded.library_sha256;
        return Ok((given.to_owned(), matches));
    }
    let sysroot = read(Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]))?;
    let component = Path::new(&sysroot).join("lib/rustlib/src/rust");
    let cached = cache_directory()?.join(format!("rust-src-{}", recorded.version));
    for candidate in [&component, &cached] {
        if digest(candidate).is_ok_and(|found| found == recorded.library_sha256) {
            return Ok((candidate.clone(), true));
        }
    }
    match fetch(recorded, &cached) {
        Ok(()) => {}
        Err(error) if component.join("library/core").is_dir() => {
            eprintln!("warning: {error:#}; building from {} instead", component.display());
            return Ok((component, false));
        }
        Err(error) => {
            return Err(error.context(format!(
                "the sources of core that the XDP program is built from (rust-src {}) cannot be had here; unpack that \
                 Debian package elsewhere and say --rust-src DIRECTORY, the one that holds library/",
                recorded.version
            )));
        }
    }
    let found = digest(&cached)?;
    if found != recorded.library_sha256 {
        bail!("{} has digest {found}, not the recorded {}", cached.display(), recorded.library_sha256);
    }
    Ok((cached, true))
}

/// SHA-256 over the names and contents of all files that are compiled, in order of their names.
pub(crate) fn digest(sources: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    for directory in COMPILED {
        let mut files = Vec::new();
        collect(&sources.join(directory), &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(sources).unwrap_or(&file).to_string_lossy().into_owned();
            let contents = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            digest.update((name.len() as u64).to_be_bytes());
            digest.update(name);
            digest.update((contents.len() as u64).to_be_bytes());
            digest.update(contents);
        }
    }
    Ok(hexadecimal(digest.finalize().as_slice()))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Fetches the recorded package and unpacks it so that `destination` holds `library/`.
fn fetch(recorded: &RustSrc, destination: &Path) -> Result<()> {
    eprintln!("fetching rust-src {} (the sources of core for the XDP program)", recorded.version);
    let suite = Suite::open(&recorded.suite)?;
    let package = suite.download(&format!("rust-src={}", recorded.version))?;
    let found = sha256_file(&package)?;
    if found != recorded.package_sha256 {
        bail!(
            "the package rust-src {} has SHA-256 {found}, not {}",
            recorded.version,
            recorded.package_sha256
        );
    }
    let unpacked = tempfile::tempdir().context("creating a temporary directory")?;
    debian::unpack(&package, unpacked.path())?;
    let sources = fs::read_dir(unpacked.path().join("usr/src"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.join("library/core").is_dir())
        .context("the package holds no usr/src/*/library/core")?;
    // Of what an interrupted run left, nothing is worth keeping. The copy ends up under its final name as a whole.
    let partial = destination.with_extension(format!("partial-{}", std::process::id()));
    fs::create_dir_all(&partial)?;
    run(Command::new("cp").arg("--recursive").arg(sources.join("library")).arg(&partial))?;
    if destination.exists() {
        fs::remove_dir_all(destination).with_context(|| format!("removing {}", destination.display()))?;
    }
    fs::rename(&partial, destination).with_context(|| format!("renaming {}", partial.display()))
}
