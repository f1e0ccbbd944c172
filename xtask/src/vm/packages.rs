//! The parts of a virtual machine: QEMU with its libraries, and a kernel with the modules of its network cards, of
//! Debian's packages, unpacked into `target/vm` and kept there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Kernel;
use crate::debian::{self, Suite, keep};
use crate::process::run;

/// The release whose QEMU is used: that of Debian 12 has no igb yet. Its libraries come with it, down to the loader.
const QEMU_SUITE: &str = "trixie";
/// Directory of libraries in a package of that release.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The modules of the network cards; what they depend on comes with them.
const MODULES: [&str; 4] = ["igb", "e1000e", "virtio_net", "virtio_pci"];

/// The remedy where nothing can be fetched.
const REMEDY: &str = "QEMU and kernels come as Debian's packages: /etc/apt must name a mirror of Debian within reach, and \
                      target/ needs half a GB of disk";

/// QEMU for x86-64, unpacked.
pub(crate) struct Qemu {
    root: PathBuf,
}

/// A kernel, unpacked.
pub(crate) struct Unpacked {
    /// Its package, which names its version.
    pub(crate) package: String,
    /// The image that a boot loader starts.
    pub(crate) image: PathBuf,
    /// The modules of its network cards, each after what it depends on.
    pub(crate) modules: Vec<PathBuf>,
}

impl Qemu {
    pub(crate) fn obtain() -> Result<Self> {
        let root = super::directory()?.join(format!("qemu-{QEMU_SUITE}"));
        keep(&root, |partial| {
            eprintln!("fetching QEMU of Debian's {QEMU_SUITE}");
            let suite = Suite::open(QEMU_SUITE)?;
            suite
                .download_whole(&["qemu-system-x86"])?
                .iter()
                .try_for_each(|package| debian::unpack(package, partial))
        })
        .context(REMEDY)?;
        Ok(Self { root })
    }

    /// QEMU, run by the loader and with the libraries of its own release.
    pub(crate) fn command(&self) -> Command {
        let at = |path: &str| self.root.join(path);
        let libraries = at(LIBRARIES);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries).arg(at("usr/bin/qemu-system-x86_64"));
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(at(firmware));
        }
        command
    }
}

impl Unpacked {
    pub(crate) fn obtain(kernel: Kernel) -> Result<Self> {
        let suite = kernel.suite();
        let root = super::directory()?.join(format!("linux-{suite}"));
        keep(&root, |partial| {
            eprintln!("fetching the kernel of Debian's {suite}");
            let suite = Suite::open(suite)?;
            let package = one(suite.dependencies("linux-image-amd64", "linux-image-")?)?;
            let whole = tempfile::tempdir_in(super::directory()?)?;
            // Newer kernels are several packages: linux-binary-*, linux-modules-*.
            let parts = suite.dependencies(&package, "linux-")?;
            for part in parts.iter().filter(|part| !part.starts_with("linux-base")).chain([&package]) {
                debian::unpack(&suite.download(part)?, whole.path())?;
            }
            select(whole.path(), partial)?;
            fs::write(partial.join("package"), package).map_err(Into::into)
        })
        .context(REMEDY)?;
        let read =
            |name| fs::read_to_string(root.join(name)).with_context(|| format!("reading {}", root.display()));
        let modules = read("modules")?.lines().map(|name| root.join(name)).collect();
        Ok(Self { package: read("package")?, image: root.join("vmlinuz"), modules })
    }
}

fn one(names: Vec<String>) -> Result<String> {
    match <[String; 1]>::try_from(names) {
        Ok([name]) => Ok(name),
        Err(names) if names.is_empty() => bail!(
            "the mirror of this machine's apt carries no linux-image-amd64 of that release; have /etc/apt name a mirror \
             of Debian that does"
        ),
        Err(names) => bail!("linux-image-amd64 stands for one kernel, not for {names:?}"),
    }
}

/// Takes the image and the modules that are wanted out of an unpacked kernel.
fn select(package: &Path, destination: &Path) -> Result<()> {
    let mut there = HashMap::new();
    list(package, &mut there)?;
    let image = there.get("vmlinuz").context("the packages hold no vmlinuz")?;
    fs::copy(image, destination.join("vmlinuz"))?;
    let mut taken = Vec::new();
    for module in MODULES {
        take(module, &there, destination, &mut taken)?;
    }
    let names: String = taken.iter().flat_map(|name| [name, ".ko\n"]).collect();
    fs::write(destination.join("modules"), names).context("writing the list of modules")
}

/// All modules below `directory`, by name (a name's `-` and `_` are the same to the kernel), and its image as `vmlinuz`.
fn list(directory: &Path, there: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            list(&path, there)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some((module, _)) = name.split_once(".ko") {
            there.insert(module.replace('-', "_"), path);
        } else if name.starts_with("vmlinuz") {
            there.insert("vmlinuz".to_owned(), path);
        }
    }
    Ok(())
}

/// Copies a module, uncompressed, after those that it depends on. A module that is not there is built in.
fn take(
    name: &str,
    there: &HashMap<String, PathBuf>,
    destination: &Path,
    taken: &mut Vec<String>,
) -> Result<()> {
    if taken.iter().any(|one| one == name) {
        return Ok(());
    }
    let Some(source) = there.get(name) else { return Ok(()) };
    let plain = destination.join(format!("{name}.ko"));
    if source.extension().is_some_and(|extension| extension == "xz") {
        run(Command::new("xz").args(["--decompress", "--stdout"]).arg(source).stdout(File::create(&plain)?))?;
    } else {
        fs::copy(source, &plain)?;
    }
    for dependency in depends(&plain)? {
        take(&dependency, there, destination, taken)?;
    }
    taken.push(name.to_owned());
    Ok(())
}

/// The dependencies that a module names.
fn depends(module: &Path) -> Result<Vec<String>> {
    const FIELD: &[u8] = b"\0depends=";
    let bytes = fs::read(module)?;
    let start = bytes.windows(FIELD.len()).position(|window| window == FIELD);
    let start =
        start.with_context(|| format!("{} does not say what it depends on", module.display()))? + FIELD.len();
    let field = bytes[start..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(field);
    Ok(names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}
