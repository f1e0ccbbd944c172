//! Busy polling: a worker that waits has the kernel look for frames itself, and the card need not interrupt
//! (`Documentation/networking/napi.rst` of the kernel's source).

use super::interface::Interface;
use super::socket::Socket;
use super::{XdpError, option};
use nix::libc;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

// asm-generic/socket.h
const SO_BUSY_POLL: libc::c_int = 46;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Frames that the kernel takes from the card at a time, as it does unasked.
const BUDGET: i32 = 64;

/// Under `/sys/class/net/IFACE`: how often a queue may be found empty before it interrupts again, and after how many
/// nanoseconds the kernel looks at one that nobody polls meanwhile.
const DEFERRAL: [(&str, &str); 2] = [("napi_defer_hard_irqs", "2"), ("gro_flush_timeout", "200000")];

/// Lets `socket` poll busily for as long as `busy`.
///
/// # Errors
/// The kernel's reason.
pub fn allow(socket: &Socket, interface: &Interface, busy: Duration) -> Result<(), XdpError> {
    let microseconds = busy.as_micros().try_into().unwrap_or(i32::MAX);
    let options = [
        ("SO_PREFER_BUSY_POLL", SO_PREFER_BUSY_POLL, 1),
        ("SO_BUSY_POLL", SO_BUSY_POLL, microseconds),
        ("SO_BUSY_POLL_BUDGET", SO_BUSY_POLL_BUDGET, BUDGET),
    ];
    for (what, name, value) in options {
        option::set(socket, libc::SOL_SOCKET, name, value).map_err(|reason| XdpError::BusyPoll {
            interface: interface.name.clone(),
            what,
            reason,
        })?;
    }
    Ok(())
}

/// The interrupts of an interface, which can be put off while somebody polls it. They come as they did before when this
/// is dropped; a process that is killed leaves it as it is, which delays interrupts by less than a millisecond.
#[derive(Debug)]
pub struct Deferral {
    interface: String,
    /// Files that stay open, since who has given up privileges could not open them again.
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    name: &'static str,
    value: &'static str,
    path: PathBuf,
    file: File,
    /// What it was before, if it is another now.
    before: Option<String>,
}

impl Deferral {
    /// Opens what says how the interrupts of `interface` come; nothing is changed yet.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn of(interface: &Interface) -> Result<Self, XdpError> {
        let open = |(name, value)| {
            let path = Path::new("/sys/class/net").join(&interface.name).join(name);
            let file = File::options().write(true).open(&path);
            let file = file.map_err(|reason| failure(&interface.name, name, reason))?;
            Ok(Setting { name, value, path, file, before: None })
        };
        let settings = DEFERRAL.into_iter().map(open).collect::<Result<_, XdpError>>()?;
        Ok(Self { interface: interface.name.clone(), settings })
    }

    /// Puts the interrupts off, unless the operator has set it so already.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn begin(&mut self) -> Result<(), XdpError> {
        let Self { interface, settings } = self;
        settings.iter_mut().try_for_each(|setting| {
            setting.change().map_err(|reason| failure(interface, setting.name, reason))
        })
    }
}

impl Setting {
    fn change(&mut self) -> io::Result<()> {
        let before = fs::read_to_string(&self.path)?;
        if before.trim() == "0" {
            self.file.write_all(self.value.as_bytes())?;
            self.before = Some(before);
        }
        Ok(())
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        for Setting { path, file, before, .. } in &mut self.settings {
            if let Some(before) = before
                && let Err(error) = file.write_all(before.as_bytes())
            {
                tracing::warn!("{} stays as --busy-poll set it: {error}", path.display());
            }
        }
    }
}

fn failure(interface: &str, what: &'static str, reason: io::Error) -> XdpError {
    XdpError::BusyPoll { interface: interface.to_owned(), what, reason }
}
