//! User, group and capabilities.

use crate::system::kernel_version;
use anyhow::{Context as _, Result};
use caps::{CapSet, Capability, CapsHashSet, securebits};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Uid, User, setgroups, setresgid, setresuid};

/// The first kernel on which the holder of a map can change it without CAP_BPF if unprivileged BPF is disabled.
const MAPS_NEED_NO_CAP_BPF: (u32, u32) = (5, 19);

/// The user with this name.
pub(super) fn find(name: &str) -> Result<User> {
    let found = User::from_name(name).with_context(|| format!("--user {name}: cannot look it up"))?;
    found
        .with_context(|| format!("--user {name}: there is no such user; `useradd --system {name}` makes one"))
}

/// Becomes `user`, if it is given, and drops all privileges except `kept`.
pub(super) fn drop_privileges(user: Option<&User>, kept: &CapsHashSet) -> Result<()> {
    let may_drop = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false);
    for capability in caps::all().difference(kept).filter(|_| may_drop) {
        // A capability that this kernel lacks cannot be dropped.
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
    if let Some(user) = user {
        securebits::set_keepcaps(true).context("cannot keep a capability across --user")?;
        let become_user = || {
            setgroups(&[user.gid])?;
            setresgid(user.gid, user.gid, user.gid)?;
            setresuid(user.uid, user.uid, user.uid)
        };
        become_user().with_context(|| {
            format!("--user {}: cannot become that user; start as root, or leave it out", user.name)
        })?;
        securebits::set_keepcaps(false).context("cannot give up keeping capabilities")?;
    }
    let context = "cannot drop capabilities";
    let kept = kept & &caps::read(None, CapSet::Permitted).context(context)?;
    caps::clear(None, CapSet::Ambient).context(context)?;
    caps::set(None, CapSet::Effective, &kept).context(context)?;
    caps::set(None, CapSet::Permitted, &kept).context(context)?;
    caps::clear(None, CapSet::Inheritable).context(context)?;
    set_no_new_privs().context("no_new_privs")
}

/// The capabilities that are still needed: for a reload, and at the end to restore interrupts if they are `deferred`
/// (`--coalesce`, `--busy-poll`).
pub(super) fn needed(deferred: bool) -> CapsHashSet {
    let needs_none = kernel_version().is_some_and(|version| version >= MAPS_NEED_NO_CAP_BPF);
    let reload = (!needs_none).then_some(Capability::CAP_BPF);
    reload.into_iter().chain(deferred.then_some(Capability::CAP_NET_ADMIN)).collect()
}

pub(super) fn describe(user: Option<&User>, kept: &CapsHashSet) -> String {
    let mut names: Vec<String> = kept.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    let capabilities = match names.join(" and ") {
        names if names.is_empty() => "no capabilities".to_owned(),
        names => format!("no capability but {names}"),
    };
    match user {
        Some(user) => format!("user {}, {capabilities}", user.name),
        None => format!("user id {}, {capabilities}", Uid::current()),
    }
}
