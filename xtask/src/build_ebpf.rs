//! `cargo xtask build-ebpf`: the XDP programs, built so that the same source gives the same bytes anywhere.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process::{read, run};
use crate::rust_src;
use crate::toolchain::{Record, Toolchain, inspect_rustc, sha256_file};
use crate::workspace;

const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";

/// Each program: its package, its binary, and where the object that is committed of it lies in the workspace.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("stateless-tcp-ebpf", "stateless-tcp-xdp", "stateless-tcp-ebpf/stateless-tcp.bpf.o"),
    ("stateless-tcp-flood-filter", "stateless-tcp-flood-xdp", "flood/filter/flood.bpf.o"),
];

/// The command's options.
#[derive(Args)]
pub(crate) struct BuildEbpfOptions {
    /// Rebuild in a temporary directory and fail if a committed object differs
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// Accept the installed toolchain of this name (as `nightly`) and record it
    #[arg(long, value_name = "TOOLCHAIN")]
    record: Option<String>,
    /// Use these sources of core: the directory that holds library/
    #[arg(long, value_name = "DIRECTORY")]
    rust_src: Option<PathBuf>,
}

/// Proves the committed objects.
pub(crate) fn check_committed() -> Result<()> {
    build_ebpf(&BuildEbpfOptions { check: true, record: None, rust_src: None })
}

/// Builds the objects, or proves the committed ones.
pub(crate) fn build_ebpf(options: &BuildEbpfOptions) -> Result<()> {
    let root = workspace();
    let recorded_at = root.join("stateless-tcp-ebpf/toolchain.toml");
    let mut record = Record::load(&recorded_at)?;
    if let Some(name) = &options.record {
        record.rustc = inspect_rustc(name)?;
        if let Some(sources) = &options.rust_src {
            record.rust_src.library_sha256 = rust_src::digest(sources)?;
        }
    }
    let toolchain = Toolchain::obtain(&record, options.rust_src.as_deref())?;
    if options.check {
        return check(&toolchain, &record, &root);
    }
    if !toolchain.sources_match {
        bail!(
            "{} are not the recorded sources of core (rust-src {}); `--record TOOLCHAIN` accepts them",
            toolchain.sources.display(),
            record.rust_src.version
        );
    }
    build(&toolchain, &root.join("stateless-tcp-ebpf/target"), &root)?;
    record.objects.clear();
    for (.., object) in PROGRAMS {
        let sha256 = sha256_file(&root.join(object))?;
        println!("{sha256} {object}");
        record.objects.insert(object.to_owned(), sha256);
    }
    record.store(&recorded_at)
}

/// Rebuilds elsewhere and compares with what is in the workspace at `root`.
fn check(toolchain: &Toolchain, record: &Record, root: &Path) -> Result<()> {
    for (.., object) in PROGRAMS {
        let found = sha256_file(&root.join(object))?;
        let recorded = record.objects.get(object).map_or("nothing", String::as_str);
        if found != recorded {
            bail!(
                "{object} has SHA-256 {found}, but toolchain.toml records {recorded}: one was committed without the \
                 other; run `cargo xtask build-ebpf` and commit both"
            );
        }
    }
    let scratch = tempfile::tempdir().context("creating a temporary directory")?;
    build(toolchain, &scratch.path().join("target"), scratch.path())?;
    for (.., object) in PROGRAMS {
        compare(toolchain, record, &root.join(object), &scratch.path().join(object))?;
    }
    Ok(())
}

fn compare(toolchain: &Toolchain, record: &Record, committed: &Path, rebuilt: &Path) -> Result<()> {
    let (found, built) = (sha256_file(committed)?, sha256_file(rebuilt)?);
    let committed = committed.display();
    if built == found {
        println!("{committed} is what its source gives");
        return Ok(());
    }
    if toolchain.sources_match {
        bail!(
            "the source gives {built}, {committed} is {found}, and the toolchain is the recorded one: the source has \
             changed since; run `cargo xtask build-ebpf` and commit the objects and toolchain.toml"
        );
    }
    bail!(
        "the source gives {built}, {committed} is {found}; but it was built from {}, which are not the recorded \
         sources of core, so either may be the reason: get rust-src {} and say --rust-src DIRECTORY",
        toolchain.sources.display(),
        record.rust_src.version
    );
}

/// Builds with all paths remapped, and puts the objects, without DWARF, into `destination`.
fn build(toolchain: &Toolchain, target: &Path, destination: &Path) -> Result<()> {
    let root = workspace();
    // So that the registry's directory exists when its name is remapped.
    run(toolchain.command("cargo").current_dir(&root).args(["fetch", "--quiet", "--locked"]))?;
    let sysroot = toolchain.sysroot()?;
    let mut command = toolchain.command("cargo");
    command
        .current_dir(&root)
        .args(["build", "--quiet", "--locked"])
        .args(PROGRAMS.iter().flat_map(|(package, binary, _)| ["--package", package, "--bin", binary]))
        .args(["--profile", PROFILE, "--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(target)
        // How cargo's own tests point build-std at other sources than the toolchain's: there is no stable way.
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", toolchain.sources.join("library"))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain, &root)?)
        // What the caller's environment would change.
        .env_remove("CARGO_BUILD_BUILD_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_INCREMENTAL")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    run(&mut command)?;
    let built = target.join(TARGET).join(PROFILE);
    // The kernel reads BTF, not DWARF; and DWARF holds hashes of where core's sources lie.
    let host = read(toolchain.command("rustc").args(["--print", "host-tuple"]))?;
    let objcopy = sysroot.join("lib/rustlib").join(host).join("bin/rust-objcopy");
    for (_, binary, object) in PROGRAMS {
        let object = destination.join(object);
        if let Some(directory) = object.parent() {
            fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        let mut strip = toolchain.command(&objcopy);
        run(strip.arg("--strip-debug").arg(built.join(binary)).arg(object))?;
    }
    Ok(())
}

/// The flags that cargo's profile cannot express, separated as `CARGO_ENCODED_RUSTFLAGS` wants them.
fn rustflags(toolchain: &Toolchain, root: &Path) -> Result<OsString> {
    let mut linker = OsString::from("-Clinker=");
    linker.push(&toolchain.linker);
    let mut flags = vec![
        linker,
        // Types for the maps and line numbers for the verifier's complaints.
        "-Clink-arg=--btf".into(),
        // Verifiers before Linux 6.7 take no loop whose head follows its last block without a jump, and block placement
        // makes such.
        "-Clink-arg=--llvm-args=-disable-block-placement".into(),
        // 32-bit ALU and jumps, in every kernel since 5.1; BPF links for XDP came with 5.9 anyway.
        "-Ctarget-cpu=v3".into(),
    ];
    for (from, to) in remapped(toolchain, root)? {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    Ok(flags.join(OsStr::new("\u{1f}")))
}

/// Directories of this machine, and what the object calls them. Of several that match, rustc takes the last.
fn remapped(toolchain: &Toolchain, root: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let cargo_home = match std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir().context("neither CARGO_HOME nor a home directory")?.join(".cargo"),
    };
    let mut remapped = vec![
        (root.to_owned(), "/workspace"),
        (cargo_home.clone(), "/cargo"),
        (toolchain.sources.clone(), "/rust-src"),
    ];
    // The registry's directory is named after the registry, which may be a mirror.
    let registries = fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten();
    remapped.extend(registries.filter_map(|entry| entry.ok().map(|entry| (entry.path(), "/registry"))));
    Ok(remapped)
}
