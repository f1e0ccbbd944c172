//! What the process gives up once all is open that it needs: privileges, files, and system calls (`run`, unless
//! `--unconfined`).
//!
//! | what | how | what is left |
//! |---|---|---|
//! | `identity` | user and group, capabilities, `no_new_privs` | none; on Linux before 5.19 CAP_BPF, with `--coalesce` or `--busy-poll` CAP_NET_ADMIN |
//! | `files` | Landlock | reading where the content is, the control socket |
//! | `calls` | seccomp | what serving and reloading take; no new process |
//!
//! All of it is inherited by threads, and taken on by one thread: so it comes before there are others.

mod calls;
mod files;
mod identity;

use crate::af_xdp::irq_deferral::NapiTiming;
use crate::config::Config;
use anyhow::{Context as _, Result, bail};
use std::fs;

pub use files::has_landlock;

/// Whether the user is there to become which [`confine`] is told of.
///
/// # Errors
/// If there is no such user.
pub fn check(config: &Config) -> Result<()> {
    config.user.as_deref().map(identity::find).transpose().map(drop)
}

/// Gives up what serving by `config` does not need.
///
/// # Errors
/// If there is no such user, or the kernel refuses what it should not. What it does not know is logged.
pub fn confine(config: &Config) -> Result<()> {
    if config.unconfined {
        tracing::warn!("--unconfined: the process keeps its privileges");
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        bail!("{threads} threads run already, which cannot be confined: this is an error in the program");
    }
    let user = config.user.as_deref().map(identity::find).transpose()?;
    let kept = identity::kept(NapiTiming::of(config.busy_poll, config.coalesce).is_some());
    identity::renounce(user.as_ref(), &kept)?;
    let files = files::restrict(config).context("Landlock")?;
    calls::restrict().context("seccomp")?;
    tracing::info!("confined: {}, no_new_privs, seccomp, {files}", identity::describe(user.as_ref(), &kept));
    Ok(())
}
