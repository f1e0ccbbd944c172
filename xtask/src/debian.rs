//! Packages of any Debian release, fetched by apt and unpacked to be looked into: the machine's own package lists and
//! what is installed on it stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::{read, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A release's packages, with package lists of their own.
pub(crate) struct Suite {
    name: String,
    scratch: TempDir,
}

impl Suite {
    /// Fetches the package lists of a release, such as `trixie`.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let scratch = tempfile::tempdir().context("creating a temporary directory")?;
        let at = |path: &str| scratch.path().join(path);
        for directory in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(at(directory))?;
        }
        let signed =
            if Path::new(KEYRING).exists() { format!(" [signed-by={KEYRING}]") } else { String::new() };
        fs::write(at("sources.list"), format!("deb{signed} {} {name} main\n", mirror()?))?;
        // Nothing is installed, as far as this apt knows: what is asked for comes with all that it depends on.
        fs::write(at("status"), "")?;
        let suite = Self { name: name.to_owned(), scratch };
        run(suite.apt("apt-get").args(["--quiet=2", "update"]))?;
        Ok(suite)
    }

    /// Downloads `package`, which may be `NAME=VERSION`, by itself. The file is there as long as `self`.
    pub(crate) fn download(&self, package: &str) -> Result<PathBuf> {
        run(self.apt("apt-get").args(["--quiet=2", "download", package])).with_context(|| {
            format!("Debian's {} carries another version by now, or its mirror is out of reach", self.name)
        })?;
        let name = package.split('=').next().unwrap_or(package);
        let of_package = |path: &PathBuf| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}_")))
        };
        packages(self.scratch.path())?
            .into_iter()
            .find(of_package)
            .with_context(|| format!("apt-get download left no package {name}"))
    }

    /// Downloads `wanted` and all that they depend on. The files are there as long as `self`.
    pub(crate) fn download_whole(&self, wanted: &[&str]) -> Result<Vec<PathBuf>> {
        run(self
            .apt("apt-get")
            .args(["--quiet=2", "--yes", "--no-install-recommends", "--download-only"])
            .arg("install")
            .args(wanted))
        .with_context(|| format!("fetching {} of Debian's {}", wanted.join(" "), self.name))?;
        packages(&self.scratch.path().join("cache/archives"))
    }

    /// The packages that `package` depends on whose names begin with `prefix`.
    pub(crate) fn dependencies(&self, package: &str, prefix: &str) -> Result<Vec<String>> {
        let depends = read(self.apt("apt-cache").args(["depends", "--important", package]))?;
        let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }

    fn apt(&self, program: &str) -> Command {
        let at = |path: &str| self.scratch.path().join(path);
        let mut command = Command::new(program);
        let settings = [
            ("Dir::Etc::SourceList", at("sources.list")),
            ("Dir::Etc::SourceParts", at("parts")),
            ("Dir::State::Lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
        ];
        for (setting, path) in settings {
            command.arg(format!("--option={setting}={}", path.display()));
        }
        // apt's own user cannot enter a private directory; nothing is installed that would have to be locked.
        command.args(["--option=APT::Sandbox::User=", "--option=Debug::NoLocking=1"]);
        // The lists of sid expire after a week, and a mirror's copy may be older. They are signed all the same.
        command.arg("--option=Acquire::Check-Valid-Until=false");
        command.current_dir(self.scratch.path());
        command
    }
}

/// Unpacks `package` into `destination`, nothing of it is run.
pub(crate) fn unpack(package: &Path, destination: &Path) -> Result<()> {
    run(Command::new("dpkg").arg("--extract").arg(package).arg(destination))
}

/// Has `fill` make the directory `root`, unless it is there. It ends up under its name as a whole.
pub(crate) fn keep(root: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    let parent = root.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let partial = tempfile::tempdir_in(parent).context("creating a temporary directory")?;
    fill(partial.path())?;
    fs::rename(partial.keep(), root).with_context(|| format!("renaming to {}", root.display()))
}

fn packages(directory: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(directory)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// The Debian mirror that this machine's own apt uses.
pub(crate) fn mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    files.extend(parts.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
        .context("this machine's apt knows no Debian mirror")
}
