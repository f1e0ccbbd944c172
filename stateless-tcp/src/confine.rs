//! Confinement: once everything is open, the process gives up privileges, files and system calls (`run`, unless
//! `--unconfined`).
//!
//! | module | mechanism | remaining rights |
//! |---|---|---|
//! | `identity` | user and group, capabilities, `no_new_privs` | none; on Linux before 5.19 CAP_BPF, with `--coalesce` or `--busy-poll` CAP_NET_ADMIN |
//! | `files` | Landlock | reading the content, the control socket |
//! | `calls` | seccomp | the system calls of serving and reloading; no new process |
//!
//! It applies to the calling thread and those that it creates. So it comes before there are other threads.

mod calls;
mod files;
mod identity;

use crate::af_xdp::irq_deferral::NapiTiming;
use crate::config::Config;
use anyhow::{Context as _, Result, bail};
use std::fs;

pub use files::has_landlock;

/// Checks that the user exists which [`confine`] will become.
///
/// # Errors
/// There is no such user.
pub fn check(config: &Config) -> Result<()> {
    config.user.as_deref().map(identity::find).transpose().map(drop)
}

/// Gives up all rights that serving by `config` does not need.
///
/// # Errors
/// There is no such user, or the kernel refuses a restriction that it supports. A missing mechanism is logged.
pub fn confine(config: &Config) -> Result<()> {
    if config.unconfined {
        tracing::warn!("--unconfined: the process keeps its privileges");
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        bail!("{threads} threads run already, and cannot be confined: this is a bug in the program");
    }
    let user = config.user.as_deref().map(identity::find).transpose()?;
    let kept = identity::needed(NapiTiming::of(config.busy_poll, config.coalesce).is_some());
    identity::drop_privileges(user.as_ref(), &kept)?;
    let files = files::restrict(config).context("Landlock")?;
    calls::restrict().context("seccomp")?;
    tracing::info!("confined: {}, no_new_privs, seccomp, {files}", identity::describe(user.as_ref(), &kept));
    Ok(())
}
