//! docs/options.md: all options of the command line, from its definition.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// The lines before the first command.
const INTRODUCTION: &str = "\
# Options

This page lists the options of every command with their defaults. `cargo run --example manual -- --options docs/options.md`
writes it from the definition of the command line.

Every option of `run`, except `--config`, is also a key of the TOML file that `--config` names. The key has the option's name
without the dashes: `dns-port = 53`, `fast-open = true`. An option that may be repeated takes a list: `interface = [\"eth0\"]`. The
command line overrides the file. The file can also hold the tables `[dns]` and `[http]` ([operations.md](operations.md),
\"Relaying DNS\" and \"Relaying HTTP\"), and operations.md explains the options by subject.

| every command | meaning |
|---|---|
";

/// The heading of options that have none of their own.
const OTHERS: &str = "Other options";

/// The whole page.
pub(crate) fn page(definition: &Command) -> String {
    let mut page = INTRODUCTION.to_owned();
    for option in definition.get_arguments().filter(|option| option.is_global_set()) {
        let _ = writeln!(page, "| {} | {} |", name(option), meaning(option).0);
    }
    let run: Vec<&Arg> = shown(definition.find_subcommand("run"));
    for command in definition.get_subcommands() {
        let _ = writeln!(page, "\n## {}\n\n{}.", command.get_name(), text(command.get_about()));
        let mut options = shown(Some(command));
        let all = options.len();
        if command.get_name() != "run" {
            options.retain(|option| !run.iter().any(|of_run| is_same(of_run, option)));
        }
        if options.len() < all {
            let _ = writeln!(page, "It also takes the options of `run`.");
        }
        tables(&mut page, &options);
    }
    page
}

/// A table for each heading, in the order of the definition.
fn tables(page: &mut String, options: &[&Arg]) {
    let heading = |option: &Arg| option.get_help_heading().unwrap_or(OTHERS).to_owned();
    let mut headings: Vec<String> = Vec::new();
    for option in options.iter().map(|option| heading(option)) {
        if !headings.contains(&option) {
            headings.push(option);
        }
    }
    for one in &headings {
        if headings.len() > 1 {
            let _ = write!(page, "\n### {one}\n");
        }
        page.push_str("\n| option | default | meaning |\n|---|---|---|\n");
        for option in options.iter().filter(|option| heading(option) == *one) {
            let (meaning, default) = meaning(option);
            let _ = writeln!(page, "| {} | {default} | {meaning} |", name(option));
        }
    }
}

/// The options that are not only for tests.
fn shown(command: Option<&Command>) -> Vec<&Arg> {
    let options = command.into_iter().flat_map(Command::get_arguments);
    options.filter(|option| !option.is_hide_set()).collect()
}

fn is_same(one: &Arg, other: &Arg) -> bool {
    one.get_id() == other.get_id() && text(one.get_help()) == text(other.get_help())
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// The first cell: all names of the option, and its value.
fn name(option: &Arg) -> String {
    let value = value(option);
    let short = option.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    match option.get_long() {
        Some(long) => format!("{short}`--{long}{}`", prefixed(" ", &value)),
        None => format!("`{value}`"),
    }
}

/// The value as the command line names it, or its choices; empty for a switch.
fn value(option: &Arg) -> String {
    if !option.get_action().takes_values() {
        return String::new();
    }
    let choices: Vec<String> =
        option.get_possible_values().iter().map(|choice| choice.get_name().to_owned()).collect();
    if !choices.is_empty() {
        return choices.join("\\|");
    }
    let names = option.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

/// The meaning and the default, which the help text holds unless the definition does.
fn meaning(option: &Arg) -> (String, String) {
    let help = text(option.get_help());
    let (meaning, default) = match help.split_once(" [default: ") {
        Some((meaning, default)) => (meaning, default.trim_end_matches(']').to_owned()),
        None => (help.as_str(), default(option)),
    };
    let choices = option.get_possible_values();
    let choices = choices.iter().filter(|_| option.get_action().takes_values());
    let choices: Vec<String> = choices
        .filter_map(|choice| Some(format!("`{}`: {}", choice.get_name(), choice.get_help()?)))
        .collect();
    let meaning = format!("{meaning}{}", prefixed(". ", &choices.join(". ")));
    (meaning.replace('|', "\\|"), default)
}

/// The default by the definition.
fn default(option: &Arg) -> String {
    let values: Vec<_> =
        option.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    match option.get_action() {
        _ if option.is_required_set() => "required".to_owned(),
        ArgAction::SetTrue => "off".to_owned(),
        _ if values.is_empty() => "none".to_owned(),
        _ => values.join(", "),
    }
}
