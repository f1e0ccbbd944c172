//! Zone files of one feature each, which every name server is to read alike: what each accepts, and what it then has.
//!
//! [`cases`] makes the files, [`judge`] has other name servers' checkers read them, [`wire`] and [`raw`] read records as
//! servers give them and as BIND writes them, [`ours`] asks the product. Which side is right where they differ on purpose
//! is said in [`exceptions`] alone.

pub mod cases;
mod directives;
pub mod exceptions;
pub mod judge;
mod lexical;
pub mod mutate;
pub mod ours;
pub mod raw;
mod rules;
pub mod served;
pub mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A zone file with one feature.
#[derive(Clone, Debug)]
pub struct Case {
    /// Says what the feature is; the first label of the zone's name, so no two are alike.
    pub name: String,
    /// The file. `{zone}` is the zone's name and `{dir}` the directory that the files lie in.
    pub text: Vec<u8>,
    /// Files beside it, by name.
    pub beside: Vec<(String, Vec<u8>)>,
}

impl Case {
    /// The zone's name, with a final dot, as it is given to whoever reads the file.
    #[must_use]
    pub fn zone(&self) -> String {
        format!("{}.example.", self.name)
    }

    /// The line of the file that shows the feature, mostly: its last one.
    #[must_use]
    pub fn feature(&self) -> String {
        let line = self.text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let text: String = String::from_utf8_lossy(line).chars().take(120).collect();
        format!(" {text}")
    }

    /// Writes the files into a directory of their own below `parent`. Returns the zone file's path.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn write(&self, parent: &Path) -> anyhow::Result<PathBuf> {
        let directory = parent.join(&self.name);
        fs::create_dir(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let filled = |text: &[u8]| {
            let dir = directory.display().to_string();
            let text = replace(text, b"{zone}", self.zone().as_bytes());
            replace(&text, b"{dir}", dir.as_bytes())
        };
        for (name, text) in &self.beside {
            fs::write(directory.join(name), filled(text)).with_context(|| format!("writing {name}"))?;
        }
        let file = directory.join("zone");
        fs::write(&file, filled(&self.text)).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}

/// The text with all `from` replaced.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
