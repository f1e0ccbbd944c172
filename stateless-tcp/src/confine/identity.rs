//! User, group and capabilities.

use anyhow::{Context as _, Result};
use caps::{CapSet, Capability, CapsHashSet, securebits};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Uid, User, setgroups, setresgid, setresuid};

/// The first kernel that lets whoever holds a map change it without CAP_BPF, where unprivileged BPF is disabled.
const NEEDS_NO_CAP_BPF: (u32, u32) = (5, 19);

/// The user of this name.
pub(super) fn find(name: &str) -> Result<User> {
    let found = User::from_name(name).with_context(|| format!("--user {name}: cannot look it up"))?;
    found
        .with_context(|| format!("--user {name}: there is no such user; `useradd --system {name}` makes one"))
}

/// Becomes `user`, if there is one, and drops what privileges there are but `kept`.
pub(super) fn renounce(user: Option<&User>, kept: &CapsHashSet) -> Result<()> {
    let may_drop = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false);
    for capability in caps::all().difference(kept).filter(|_| may_drop) {
        // What this kernel does not know it cannot give.
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
    if let Some(user) = user {
        securebits::set_keepcaps(true).context("cannot keep a capability over --user")?;
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

/// What is needed still: by a reload, and at the end to give back `interrupts` that were put off (`--coalesce`, `--busy-poll`).
pub(super) fn kept(interrupts: bool) -> CapsHashSet {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let version = release.ok().and_then(|release| crate::commands::doctor::kernel_version(&release));
    let needs_none = version.is_some_and(|version| version >= NEEDS_NO_CAP_BPF);
    let reload = (!needs_none).then_some(Capability::CAP_BPF);
    reload.into_iter().chain(interrupts.then_some(Capability::CAP_NET_ADMIN)).collect()
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
