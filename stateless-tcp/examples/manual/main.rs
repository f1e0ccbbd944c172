//! Writes the manuals from the definition of the command line.
//!
//! - `cargo run --example manual -- DIRECTORY` writes man pages, with one of the configuration file, and completions for
//!   shells (`cargo xtask package` does it).
//! - `cargo run --example manual -- --options docs/options.md` writes the page of all options.

mod options;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Command};
use clap_complete::{Generator as _, Shell};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use stateless_tcp::commands::cli;

/// The names of values that are numbers; all others are strings.
const NUMBERS: [&str; 7] = ["BITS", "BYTES", "MIB", "MICROSECONDS", "N", "PORT", "SECONDS"];

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().context("usage: manual DIRECTORY, or manual --options FILE")?;
    if first == "--options" {
        let file = PathBuf::from(arguments.next().context("usage: manual --options FILE")?);
        let page = options::page(&cli::definition());
        return fs::write(&file, page).with_context(|| format!("writing {}", file.display()));
    }
    let directory = PathBuf::from(first);
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let mut command = cli::definition();
    clap_mangen::generate_to(command.clone(), &directory)?;
    command.build();
    configuration(&command, &directory)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        fs::write(directory.join(shell.file_name("stateless-tcp")), completion(shell, &command)?)?;
    }
    Ok(())
}

/// The completions of a shell, without hidden flags.
fn completion(shell: Shell, command: &Command) -> Result<String> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command.clone(), "stateless-tcp", &mut text);
    let mut text = String::from_utf8(text)?;
    let flags = command.get_subcommands().flat_map(Command::get_arguments).filter(|flag| flag.is_hide_set());
    for flag in flags.filter_map(Arg::get_long) {
        // A word in the lists of bash; a line of the other shells.
        text = text.replace(&format!(" --{flag} "), " ");
        let line = [format!("'--{flag}="), format!(" -l {flag} ")];
        text = text.split_inclusive('\n').filter(|one| !line.iter().any(|flag| one.contains(flag))).collect();
    }
    Ok(text)
}

/// The page of the configuration file, whose keys are the flags of `run`.
fn configuration(command: &Command, directory: &Path) -> Result<()> {
    let run = command.find_subcommand("run").context("the command `run`")?;
    let mut page = Roff::new();
    page.control("TH", ["stateless-tcp.toml", "5", "", "stateless-tcp", "stateless-tcp"]);
    page.control("SH", ["NAME"]);
    page.text([roman("stateless-tcp.toml - configuration of stateless-tcp")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("A TOML file, read by "),
        bold("stateless-tcp run --config"),
        roman(" at the start and at a reload. Each key is a flag of "),
        bold("stateless-tcp-run"),
        roman("(1), which overrides the file."),
    ]);
    page.control("SH", ["KEYS"]);
    for flag in run.get_arguments().filter(|flag| is_key(flag)) {
        page.control("TP", []);
        page.text(key(flag));
        page.text([roman(flag.get_help().map(ToString::to_string).unwrap_or_default())]);
    }
    page.control("SH", ["TABLES"]);
    page.text([bold("[dns]"), roman(" and "), bold("[http]"), roman(" configure the relays:")]);
    page.text([italic("/usr/share/doc/stateless-tcp/operations.md"), roman(" lists their keys.")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("stateless-tcp-run"), roman("(1), "), bold("stateless-tcp-reload"), roman("(1)")]);
    page.to_writer(&mut File::create(directory.join("stateless-tcp.toml.5"))?)?;
    Ok(())
}

/// Leaves out flags about the command line itself, and those only for tests.
fn is_key(flag: &Arg) -> bool {
    !flag.is_hide_set() && !["config", "help", "verbose", "version"].contains(&flag.get_id().as_str())
}

/// The line that sets it.
fn key(flag: &Arg) -> Vec<Inline> {
    let name = bold(flag.get_long().unwrap_or_default());
    if !flag.get_action().takes_values() {
        return vec![name, roman(" = true")];
    }
    let value =
        flag.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let quote = if NUMBERS.contains(&value.as_str()) { "" } else { "\"" };
    let (open, close) =
        if matches!(flag.get_action(), ArgAction::Append) { ("[", ", …]") } else { ("", "") };
    vec![name, roman(format!(" = {open}{quote}")), italic(value), roman(format!("{quote}{close}"))]
}
