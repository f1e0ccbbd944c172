//! The configuration read again, and what of it can change while the program runs.

use std::path::PathBuf;

use super::{Config, ConfigError, Options};

/// Where a configuration came from: flags, and the file they name. The flags stay; the file may change.
#[derive(Clone, Debug)]
pub struct Source {
    flags: Options,
    file: Option<PathBuf>,
}

impl Source {
    pub(crate) fn new(flags: Options, file: Option<PathBuf>) -> Self {
        Self { flags, file }
    }

    /// The configuration of the `run` command as it reads now.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        self.flags.clone().over_file(self.file.as_deref())?.for_run()
    }
}

impl Config {
    /// This configuration as far as it can come into force in a process that runs by `running`, and the options that
    /// differ but need a restart: what sockets, the attached program and the workers were made for.
    #[must_use]
    pub fn within(mut self, running: &Self) -> (Self, Vec<&'static str>) {
        let mut kept = Vec::new();
        macro_rules! keep {
            ($($field:ident: $name:literal,)*) => {
                $(if self.$field != running.$field {
                    self.$field.clone_from(&running.$field);
                    kept.push($name);
                })*
            };
        }
        keep! {
            interfaces: "interface",
            rules: "rules",
            segment_size: "segment-size",
            hints: "hints",
            xdp_mode: "xdp-mode",
            handshake: "handshake",
            zero_copy: "zero-copy",
            busy_poll: "busy-poll",
            coalesce: "coalesce",
            queues: "queues",
            uncovered_queues: "uncovered-queues",
            replace: "replace",
            xdp_log: "xdp-log",
            user: "user",
            unconfined: "unconfined",
            test_escape: "test-escape",
            metrics: "metrics",
            dnstap: "dnstap",
            log_format: "log-format",
            test_panic_after_frames: "test-panic-after-frames",
            test_hang_after_frames: "test-hang-after-frames",
            test_keep_seconds: "test-keep-seconds",
        }
        (self, kept)
    }
}
