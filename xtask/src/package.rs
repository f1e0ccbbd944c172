//! `cargo xtask package`: the Debian package of the release binary, and a clean Debian 12 to try it on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::debian;
use crate::process::{read, run};
use crate::run::{build_release, cargo, target_directory};
use crate::setup::{Need, ensure as ensure_installed};
use crate::toolchain::cache_directory;

/// The command's options.
#[derive(Args)]
pub(crate) struct PackageOptions {}

/// The tool that makes packages of cargo's output, by stateless-tcp/Cargo.toml.
const CARGO_DEB: &str = "3.8.0";
/// The release that the package is tried on.
const SUITE: &str = "bookworm";
/// Packages besides those of every Debian: systemd, and the libraries that the package depends on, as nothing can be
/// fetched where it is installed.
const INCLUDED: &str = "systemd-sysv,libelf1,zlib1g";

/// Builds the package and says where it is.
pub(crate) fn package(_: &PackageOptions) -> Result<()> {
    ensure_installed(Need::Build)?;
    println!("{}", build()?.display());
    Ok(())
}

/// Tries the package on a clean Debian.
pub(crate) fn test() -> Result<()> {
    let package = build()?;
    run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning"])
        // It is not for Debian's archive, whose bug reports it could close.
        .args(["--suppress-tags", "initial-upload-closes-no-bugs"])
        .arg(&package))?;
    run(cargo()
        .args([
            "test",
            "--locked",
            "--package",
            "stateless-tcp-tests",
            "--test",
            "package",
            "--test",
            "image",
        ])
        .args(["--", "--ignored", "--test-threads=1"])
        .env("STATELESS_TCP_PACKAGE", &package)
        .env("STATELESS_TCP_ROOT", root()?))
}

/// Builds the package and returns its path.
fn build() -> Result<PathBuf> {
    build_release()?;
    // Where cargo-deb looks for what is "target/release/manual" in its metadata.
    let manual = target_directory().join("release/manual");
    let made = fs::remove_dir_all(&manual);
    ensure!(made.is_ok() || !manual.exists(), "{} cannot be made anew", manual.display());
    run(cargo()
        .args(["run", "--quiet", "--locked", "--package", "stateless-tcp", "--example", "manual", "--"])
        .arg(&manual))?;
    // Not done by cargo-deb for what lies there.
    let pages = fs::read_dir(&manual)?.filter_map(|entry| Some(entry.ok()?.path()));
    let pages = pages.filter(|path| path.extension().is_some_and(|section| section == "1" || section == "5"));
    run(Command::new("gzip").args(["--best", "--no-name"]).args(pages))?;
    let package = target_directory().join("debian/stateless-tcp.deb");
    run(cargo()
        .env("PATH", search_path(&cargo_deb()?)?)
        .args([
            "deb",
            "--quiet",
            "--locked",
            "--package",
            "stateless-tcp",
            "--no-build",
            "--strip",
            "--output",
        ])
        .arg(&package))?;
    Ok(package)
}

/// The directory of cargo-deb of that version, which is installed into the cache.
fn cargo_deb() -> Result<PathBuf> {
    let root = cache_directory()?.join(format!("cargo-deb-{CARGO_DEB}"));
    let programs = root.join("bin");
    if !programs.join("cargo-deb").is_file() {
        eprintln!("installing cargo-deb {CARGO_DEB} into {}", root.display());
        run(cargo().args(["install", "cargo-deb", "--locked", "--version", CARGO_DEB, "--root"]).arg(&root))?;
    }
    Ok(programs)
}

/// The path on which programs are looked for, with `directory` before all.
fn search_path(directory: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(directory.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(directories).context("a path with a colon")
}

/// A clean Debian, made by debootstrap and kept in the cache. Nobody writes to it.
fn root() -> Result<PathBuf> {
    let root = cache_directory()?.join(format!("root-{SUITE}"));
    if !root.is_dir() {
        eprintln!("installing Debian's {SUITE} into {}", root.display());
        let partial = tempfile::tempdir_in(cache_directory()?).context("creating a temporary directory")?;
        read(
            Command::new("debootstrap")
                .args(["--variant=minbase", &format!("--include={INCLUDED}"), SUITE])
                .arg(partial.path())
                .arg(debian::mirror()?),
        )?;
        fs::set_permissions(partial.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::rename(partial.keep(), &root).with_context(|| format!("renaming to {}", root.display()))?;
    }
    Ok(root)
}
