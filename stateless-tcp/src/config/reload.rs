//! Reading the configuration again, and the options that need a restart.

use super::{Config, ConfigError, RunOptions};
use std::path::PathBuf;

/// The source of a configuration: flags, which stay the same, and a file, which may change.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    flags: RunOptions,
    file: Option<PathBuf>,
}

impl ConfigSource {
    pub(crate) fn new(flags: RunOptions, file: Option<PathBuf>) -> Self {
        Self { flags, file }
    }

    /// Reads the configuration of the `run` command.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        self.flags.clone().with_file(self.file.as_deref())?.for_run()
    }
}

impl Config {
    /// This configuration with the restart-only options of `running`, and the names of those that differ. Sockets, the
    /// attached program and the workers were created with them.
    #[must_use]
    pub fn retain_restart_only(mut self, running: &Self) -> (Self, Vec<&'static str>) {
        let mut retained = Vec::new();
        macro_rules! restart_only {
            ($($field:ident: $name:literal,)*) => {
                $(if self.$field != running.$field {
                    self.$field.clone_from(&running.$field);
                    retained.push($name);
                })*
            };
        }
        restart_only! {
            interfaces: "interface",
            rules: "rules",
            segment_size: "segment-size",
            hints: "hints",
            connection_lifetime: "connection-lifetime",
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
        (self, retained)
    }
}
