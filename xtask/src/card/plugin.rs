//! QEMU's plugin that counts instructions: built from `xtask/card/count.c`, which describes the exchange with it.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::ops::AddAssign;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::run;
use crate::workspace;

/// QEMU loads the plugin before anything else.
const PATIENCE: Duration = Duration::from_mins(1);

/// The plugin, built.
pub(super) struct Plugin {
    path: PathBuf,
}

/// The plugin of a running QEMU.
pub(super) struct Counter {
    stream: BufReader<UnixStream>,
}

/// Blocks by the address of their first instruction, and the instructions executed in each since the request before. An address can
/// occur more than once.
pub(super) type Blocks = Vec<(u64, u64)>;

/// Instructions of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instructions {
    /// The kernel's and those of BPF programs.
    pub(crate) kernel: u64,
    pub(crate) user: u64,
}

impl Plugin {
    /// Builds it in `directory`.
    pub(super) fn build(directory: &Path) -> Result<Self> {
        let (source, path) = (workspace().join("xtask/card/count.c"), directory.join("count.so"));
        run(Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-o"])
            .arg(&path)
            .arg(source))
        .context("building the plugin that counts instructions")?;
        Ok(Self { path })
    }

    /// QEMU's option that loads it and has it connect to `socket`.
    pub(super) fn option(&self, socket: &Path) -> String {
        format!("file={},socket={}", self.path.display(), socket.display())
    }
}

impl Counter {
    /// Waits for the plugin of the QEMU that was started.
    pub(super) fn accept(listener: &UnixListener, qemu: &mut Child) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(Self { stream: BufReader::with_capacity(1 << 20, stream) });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("waiting for the plugin"),
            }
            if let Some(status) = qemu.try_wait()? {
                bail!("QEMU has ended before it loaded the plugin ({status})");
            }
            if Instant::now() > end {
                bail!("QEMU has not loaded the plugin after {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What was executed since the last call.
    pub(super) fn take(&mut self) -> Result<Blocks> {
        self.stream.get_mut().write_all(b"?").context("asking the plugin: has QEMU ended?")?;
        let mut read = || -> std::io::Result<u64> {
            let mut bytes = [0; 8];
            self.stream.read_exact(&mut bytes)?;
            Ok(u64::from_ne_bytes(bytes))
        };
        let mut blocks = || {
            let count = read()?;
            (0..count).map(|_| Ok((read()?, read()?))).collect::<std::io::Result<_>>()
        };
        blocks().context("reading from the plugin: has QEMU ended?")
    }
}

impl Instructions {
    pub(super) fn of(blocks: &Blocks) -> Self {
        let mut sum = Self::default();
        for &(address, count) in blocks {
            sum += if is_kernel(address) {
                Self { kernel: count, user: 0 }
            } else {
                Self { kernel: 0, user: count }
            };
        }
        sum
    }
}

impl AddAssign for Instructions {
    fn add_assign(&mut self, other: Self) {
        self.kernel += other.kernel;
        self.user += other.user;
    }
}

/// Whether an address is in the kernel's half of the address space.
pub(super) fn is_kernel(address: u64) -> bool {
    address >> 63 == 1
}

/// A socket for the plugin to connect to, in `directory`.
pub(super) fn listen(directory: &Path) -> Result<(UnixListener, PathBuf)> {
    let path = directory.join("plugin");
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("listening on {}", path.display()))?;
    Ok((listener, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_the_kernels_or_user_spaces_by_address() {
        let blocks = vec![(0xffff_ffff_8100_0000, 5), (0x5555_5555_4000, 7), (0xffff_ffff_8100_0000, 1)];
        assert_eq!(Instructions::of(&blocks), Instructions { kernel: 6, user: 7 });
    }
}
