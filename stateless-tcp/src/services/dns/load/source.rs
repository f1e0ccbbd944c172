//! Configured zones: their form on the command line and in the configuration file.

use super::super::name::DomainName;
use super::super::presentation;
use super::super::zonefile::ZoneError;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// The configured zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneOptions {
    /// Zone files.
    pub files: Vec<ZoneSource>,
    /// Directories of zone files, each `NAME.zone`.
    pub directories: Vec<PathBuf>,
    /// Directories that zone files may include files from, besides their own.
    pub include: Vec<PathBuf>,
}

/// Suffix of zone files in a directory; the rest of the file name is the zone's name.
const SUFFIX: &[u8] = b".zone";

impl ZoneOptions {
    /// No zones are configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }

    /// All zones, those of directories last and sorted by name; and a warning for each file there whose name is no
    /// domain name.
    pub(super) fn sources(&self) -> Result<(Vec<ZoneSource>, Vec<String>), Arc<ZoneError>> {
        let (mut sources, mut ignored) = (self.files.clone(), Vec::new());
        for directory in &self.directories {
            let failed = |cause| Arc::new(ZoneError::Unreadable { file: directory.clone(), cause });
            let mut found = Vec::new();
            for entry in fs::read_dir(directory).map_err(failed)? {
                let file = entry.map_err(failed)?.path();
                let Some(name) = file.file_name().map(OsStr::as_bytes) else { continue };
                let Some(stem) = name.strip_suffix(SUFFIX).filter(|_| !name.starts_with(b".")) else {
                    continue;
                };
                match String::from_utf8_lossy(stem).parse() {
                    Ok(name) => found.push(ZoneSource { name: Some(name), file }),
                    Err(what) => ignored.push(format!("{}: ignored: {what}", file.display())),
                }
            }
            found.sort_unstable_by(|one, other| one.file.cmp(&other.file));
            sources.extend(found);
        }
        Ok((sources, ignored))
    }
}

/// A configured zone: its file, and optionally its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ZoneSource {
    /// The name; by default the owner of the SOA record.
    pub name: Option<ZoneName>,
    /// The zone file.
    pub file: PathBuf,
}

/// `NAME=FILE`, or `FILE` alone. A text with a slash before its first equals sign is a file alone.
impl FromStr for ZoneSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains('/'));
        let (name, file) = match named {
            Some((name, file)) => (Some(name.parse()?), file),
            None => (None, text),
        };
        if file.is_empty() {
            return Err(format!("\"{text}\" names no file: expected FILE, or NAME=FILE"));
        }
        Ok(Self { name, file: file.into() })
    }
}

impl From<PathBuf> for ZoneSource {
    fn from(file: PathBuf) -> Self {
        Self { name: None, file }
    }
}

/// As text, or as a table with `name` and `file`.
impl<'de> Deserialize<'de> for ZoneSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a file, \"NAME=FILE\", or a table with `file` and perhaps `name`"
        )]
        enum ZoneValue {
            Text(String),
            Table(ZoneTable),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct ZoneTable {
            name: Option<String>,
            file: PathBuf,
        }
        match ZoneValue::deserialize(deserializer)? {
            ZoneValue::Text(text) => text.parse().map_err(D::Error::custom),
            ZoneValue::Table(ZoneTable { name, file }) => {
                let name = name.map(|name| name.parse()).transpose().map_err(D::Error::custom)?;
                Ok(Self { name, file })
            }
        }
    }
}

/// The name of a zone, in lowercase wire form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ZoneName(Box<[u8]>);

impl ZoneName {
    pub(super) fn new(name: &DomainName) -> Self {
        Self(name.wire().into())
    }

    pub(super) fn name(&self) -> DomainName {
        DomainName::read(&self.0).map_or_else(DomainName::root, |(name, _)| name)
    }
}

impl FromStr for ZoneName {
    type Err = String;

    /// Reads presentation form, with or without the last dot.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut wire = Vec::new();
        let read = presentation::name(text.as_bytes(), Some(&[0]), &mut wire);
        read.map_err(|what| format!("\"{text}\" is no domain name: {what}"))?;
        DomainName::read(&wire)
            .map(|(name, _)| Self::new(&name))
            .ok_or_else(|| format!("\"{text}\" is no domain name"))
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(formatter)
    }
}

impl fmt::Debug for ZoneName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
