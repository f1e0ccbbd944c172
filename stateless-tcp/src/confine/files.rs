//! Files: the directories of the content at the start are readable, and the control socket can be removed at the end.
//!
//! A Landlock rule applies to the file that exists when it is made, and a later file may replace it by renaming. So the rules
//! are for the directories of configured files.

use crate::config::Config;
use crate::control;
use anyhow::Result;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use std::fs;
use std::path::{Path, PathBuf};

/// The version of the handled rights. The kernel enforces those that it supports.
const HANDLED: ABI = ABI::V6;

/// Receive queues and CPUs, which are read at run time.
const SYSTEM: [&str; 2] = ["/sys/class/net", "/sys/devices"];

/// Restricts this thread, and those that it creates, to the files of `config`. Returns the result in words.
pub(super) fn restrict(config: &Config) -> Result<&'static str> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let socket = read | AccessFs::RemoveFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(HANDLED))?
        .scope(Scope::from_all(HANDLED))?
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

/// The directories of the content, the secrets, and the configuration file.
fn content(config: &Config) -> Vec<PathBuf> {
    let Config { services, key_file, dns_cookie_secret_file, config_file, .. } = config;
    let zone_files =
        || services.zones().into_iter().flat_map(|zones| &zones.files).map(|zone| zone.file.clone());
    let zone_directories = || services.zones().into_iter().flat_map(|zones| &zones.directories);
    let include = services.zones().into_iter().flat_map(|zones| &zones.include);
    // The target of a link is replaced in its own directory.
    let linked = zone_files().chain(zone_directories().flat_map(|path| entries(path)));
    let targets = linked.filter_map(|path| path.canonicalize().ok());
    let secrets = key_file.iter().chain(dns_cookie_secret_file).chain(config_file).cloned();
    let files = zone_files().chain(targets).chain(secrets).map(|path| directory_of(&path));
    let directories = zone_directories().chain(include).chain(services.http_root());
    let mut content: Vec<PathBuf> = files.chain(directories.cloned()).collect();
    content.sort_unstable();
    content.dedup();
    content
}

/// The entries of a directory, or none if it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The directory of a file, or the file itself if that is the root directory.
fn directory_of(path: &Path) -> PathBuf {
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
    fn the_root_directory_is_never_opened(#[case] path: &str, #[case] opened: &str) {
        assert_eq!(directory_of(Path::new(path)), Path::new(opened));
    }
}
