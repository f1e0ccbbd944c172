//! Files: reading where the content was at the start, and removing the control socket at the end.
//!
//! A file may take another's place by renaming, and a rule is about what is there when it is made. So what is named is
//! readable with all else in its directory.

use crate::config::Config;
use crate::control;
use anyhow::Result;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Rights that are known here. Of these, the kernel enforces what it knows.
const KNOWN: ABI = ABI::V6;

/// Receive queues, and which CPUs there can be: read while it runs.
const SYSTEM: [&str; 2] = ["/sys/class/net", "/sys/devices"];

/// Restricts this thread, and those that it starts, to what serving by `config` needs. Says what that came to.
pub(super) fn restrict(config: &Config) -> Result<&'static str> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let socket = read | AccessFs::RemoveFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(content(config), read))?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules([control::DIRECTORY], socket))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "Landlock",
        RulesetStatus::PartiallyEnforced => "Landlock as far as this kernel has it",
        RulesetStatus::NotEnforced => "no Landlock, which this kernel lacks",
    })
}

/// Whether the kernel has Landlock.
#[must_use]
pub fn has_landlock() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// Where content is, and what says what it is.
fn content(config: &Config) -> Vec<PathBuf> {
    let Config { zones, key_file, dns_cookie_secret_file, config_file, http_root, .. } = config;
    let zone_files = || zones.files.iter().map(|zone| zone.file.clone());
    // A link can lead elsewhere: what it leads to is replaced there.
    let linked = zone_files().chain(zones.directories.iter().flat_map(|path| entries(path)));
    let targets = linked.filter_map(|path| path.canonicalize().ok());
    let secrets = key_file.iter().chain(dns_cookie_secret_file).chain(config_file).cloned();
    let files = zone_files().chain(targets).chain(secrets).map(|path| beside(&path));
    let directories = zones.directories.iter().chain(&zones.include).chain(http_root);
    let mut content: Vec<PathBuf> = files.chain(directories.cloned()).collect();
    content.sort_unstable();
    content.dedup();
    content
}

/// What is in a directory, as far as that can be told.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The directory of a file, unless that is the root of all.
fn beside(path: &Path) -> PathBuf {
    match path.parent() {
        Some(directory) if directory.as_os_str().is_empty() => PathBuf::from("."),
        Some(directory) if directory.parent().is_some() => directory.to_owned(),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/etc/zones/a.zone", "/etc/zones")]
    #[case("zones/a.zone", "zones")]
    #[case("a.zone", ".")]
    #[case("/a.zone", "/a.zone")]
    fn the_root_of_all_is_never_opened(#[case] path: &str, #[case] opened: &str) {
        assert_eq!(beside(Path::new(path)), Path::new(opened));
    }
}
