//! The file system of a virtual machine when its kernel has started: one archive with the guest program as its first process,
//! the responder, the clients, the libraries of all of them, and the modules of the network cards.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cpio::newc::{self, ModeFileType};

use crate::process::read;
use crate::setup::find_program;

/// Programs that the guest program runs, and behind the shell what the handbook's commands for cards need.
const PROGRAMS: [&str; 12] =
    ["ip", "ethtool", "setpriv", "dig", "curl", "ping", "bash", "nproc", "ls", "sort", "grep", "cat"];

/// The time of each file, in seconds since 1970: the same in each archive.
const MODIFIED: u32 = 1_000_000_000;

/// An archive in the format that the kernel unpacks (`newc`).
pub(crate) struct Initramfs {
    out: BufWriter<File>,
    /// Names that are in it, without a slash before them.
    names: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// Writes the archive: `guest` is started, `responder` is what it tries, `modules` are loaded in their order.
    pub(super) fn write(path: &Path, guest: &Path, responder: &Path, modules: &[PathBuf]) -> Result<()> {
        let mut archive = Self::create(path, guest, modules)?;
        archive.program("bin/stateless-tcp", responder)?;
        for name in PROGRAMS {
            let program = find_program(name).with_context(|| format!("there is no program {name} here"))?;
            archive.program(&format!("bin/{name}"), &program)?;
        }
        archive.finish()
    }

    /// Begins an archive: `guest` is started, `modules` are there to be loaded in the order of their names.
    pub(crate) fn create(path: &Path, guest: &Path, modules: &[PathBuf]) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut archive = Self { out: BufWriter::new(file), names: BTreeSet::new() };
        for directory in ["dev", "proc", "sys", "run", "tmp", "etc"] {
            archive.directory(Path::new(directory))?;
        }
        archive.program("init", guest)?;
        for (place, module) in modules.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            archive.file(Path::new(&format!("modules/{place:02}-{name}")), module)?;
        }
        Ok(archive)
    }

    pub(crate) fn finish(self) -> Result<()> {
        newc::trailer(self.out)?.flush().context("writing the initramfs")
    }

    /// A program and the libraries that the loader would give it here.
    pub(crate) fn program(&mut self, name: &str, program: &Path) -> Result<()> {
        self.file(Path::new(name), program)?;
        let libraries = read(Command::new("ldd").arg(program))?;
        for library in libraries.lines().flat_map(str::split_whitespace).filter(|word| word.starts_with('/'))
        {
            self.file(Path::new(library.trim_start_matches('/')), Path::new(library))?;
        }
        Ok(())
    }

    pub(crate) fn file(&mut self, name: &Path, source: &Path) -> Result<()> {
        let bytes = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
        self.content(name, &bytes)
    }

    /// A file with `bytes` in it.
    pub(crate) fn content(&mut self, name: &Path, bytes: &[u8]) -> Result<()> {
        if let Some(parent) = name.parent() {
            self.directory(parent)?;
        }
        self.entry(name, ModeFileType::Regular, bytes)
    }

    pub(crate) fn directory(&mut self, name: &Path) -> Result<()> {
        if name.as_os_str().is_empty() {
            return Ok(());
        }
        if let Some(parent) = name.parent() {
            self.directory(parent)?;
        }
        self.entry(name, ModeFileType::Directory, &[])
    }

    fn entry(&mut self, name: &Path, kind: ModeFileType, bytes: &[u8]) -> Result<()> {
        if !self.names.insert(name.to_owned()) {
            return Ok(());
        }
        let name = name.to_str().context("a name that is not UTF-8")?;
        // The kernel takes files of one number for links of one file.
        let number = u32::try_from(self.names.len())?;
        // NSD takes a zone file of 1970 for one that is not there.
        let entry = newc::Builder::new(name).ino(number).mtime(MODIFIED).mode(0o755).set_mode_file_type(kind);
        let mut writer = entry.write(&mut self.out, u32::try_from(bytes.len())?);
        writer.write_all(bytes)?;
        writer.finish().map(drop).context("writing the initramfs")
    }
}
