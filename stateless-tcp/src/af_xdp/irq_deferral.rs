//! How soon the card interrupts again, where the kernel lets that be put off: frames that came meanwhile are taken from it in
//! one go (`Documentation/networking/napi.rst` of the kernel's source, "Software IRQ coalescing").

use super::XdpError;
use super::interface::Interface;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When the kernel looks at a queue that nobody polls meanwhile, though a worker was to.
const UNPOLLED: Duration = Duration::from_micros(200);

/// For how long interrupts are put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NapiTiming {
    /// How often a queue may be found empty before it interrupts again.
    empty: u32,
    /// Between two looks at it.
    pause: Duration,
}

impl NapiTiming {
    /// What serves workers that poll for as long as `busy`, and frames that may wait for others for as long as `coalesce`;
    /// `None`: interrupts come as they come.
    #[must_use]
    pub fn of(busy: Duration, coalesce: Duration) -> Option<Self> {
        match (busy.is_zero(), coalesce.is_zero()) {
            (true, true) => None,
            (true, false) => Some(Self { empty: 1, pause: coalesce }),
            (false, true) => Some(Self { empty: 2, pause: UNPOLLED }),
            (false, false) => Some(Self { empty: 2, pause: coalesce }),
        }
    }
}

/// The interrupts of an interface, which can be put off. They come as they did before when this is dropped; a process that
/// is killed leaves them as they are.
#[derive(Debug)]
pub struct Deferral {
    interface: String,
    /// Files that stay open, since who has given up privileges could not open them again.
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct Setting {
    name: &'static str,
    value: String,
    path: PathBuf,
    /// `None`: it cannot be written, but says already that interrupts are put off.
    file: Option<File>,
    /// What it was before, if it is another now.
    before: Option<String>,
}

impl Deferral {
    /// Opens what says how the interrupts of `interface` come, `/sys/class/net/IFACE`; nothing is changed yet.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn of(interface: &Interface, timing: NapiTiming) -> Result<Self, XdpError> {
        let open = |(name, value)| {
            let path = Path::new("/sys/class/net").join(&interface.name).join(name);
            let file = match File::options().write(true).open(&path) {
                Ok(file) => Some(file),
                Err(_) if is_put_off(&path) => None,
                Err(reason) => return Err(failure(&interface.name, name, reason)),
            };
            Ok(Setting { name, value, path, file, before: None })
        };
        let values = [
            ("napi_defer_hard_irqs", timing.empty.to_string()),
            ("gro_flush_timeout", timing.pause.as_nanos().to_string()),
        ];
        let settings = values.into_iter().map(open).collect::<Result<_, XdpError>>()?;
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
        let (now, wanted) = (before.trim(), &self.value);
        if now == "0" {
            let file = self.file.as_mut().ok_or(io::ErrorKind::PermissionDenied)?;
            file.write_all(wanted.as_bytes())?;
            self.before = Some(before);
        } else if now != wanted {
            tracing::info!("{} is {now} already and does not become {wanted}", self.path.display());
        }
        Ok(())
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        for Setting { path, file, before, .. } in &mut self.settings {
            if let (Some(before), Some(file)) = (before, file)
                && let Err(error) = file.write_all(before.as_bytes())
            {
                tracing::warn!("{} stays as --coalesce or --busy-poll set it: {error}", path.display());
            }
        }
    }
}

/// Whether the operator has seen to it.
fn is_put_off(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
}

fn failure(interface: &str, what: &'static str, reason: io::Error) -> XdpError {
    XdpError::Deferral { interface: interface.to_owned(), what, reason }
}
