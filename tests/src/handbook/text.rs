//! Commands as they stand in a document.
//!
//! A block fenced by ` ```sh ` holds commands. A line of it that begins with `# on another machine` says whose those behind it
//! are. A block fenced by ` ```text ` right behind it shows what they print, line by line; `…` stands for
//! anything in a line, and in a line of its own for any lines.

use std::mem;

/// The mark that the rest of a block is not for the machine that serves.
const ELSEWHERE: &str = "# on another machine";
/// Stands for anything.
const ANYTHING: &str = "…";

/// A block of commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The heading above it.
    pub section: String,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The commands, a line each.
    pub commands: String,
    /// Their documented output.
    pub shown: Option<String>,
}

/// Commands that are run in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// They end by themselves.
    Script(String),
    /// It serves until it is ended.
    Service(String),
    /// It shows what passes until it is ended.
    Watch(String),
}

/// The machine of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepHost {
    /// The machine that serves.
    Here,
    /// One that asks.
    Elsewhere,
}

/// All blocks of a document, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut section) = (Vec::<Block>::new(), String::new());
    let mut lines = (1..).zip(document.lines()).peekable();
    // Whether what is shown now would be of the last block.
    let mut follows = false;
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix('#') {
            title.trim_start_matches('#').trim().clone_into(&mut section);
        }
        let Some(kind) = line.strip_prefix("```") else {
            follows &= line.is_empty();
            continue;
        };
        let held = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let held: String = held.flat_map(|line| [line, "\n"]).collect();
        match (kind, blocks.last_mut()) {
            ("sh", _) => {
                blocks.push(Block { section: section.clone(), line: number, commands: held, shown: None });
            }
            ("text", Some(last)) if follows => last.shown = Some(held),
            _ => {}
        }
        follows = kind == "sh";
    }
    blocks
}

/// Everything between single backticks outside of fences that begins with one of `programs` and says more than its name.
pub fn named_commands<'a>(document: &'a str, programs: &[&str]) -> Vec<&'a str> {
    let prose = document.split("```").step_by(2);
    let spans = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    let is_command =
        |span: &&str| span.split_once(' ').is_some_and(|(program, _)| programs.contains(&program));
    spans.filter(is_command).collect()
}

impl Block {
    /// The steps in order, each with its machine.
    pub fn steps(&self) -> Vec<(StepHost, Step)> {
        let (mut steps, mut place, mut script) = (Vec::new(), StepHost::Here, String::new());
        let flush = |steps: &mut Vec<_>, place, script: &mut String| {
            if script.lines().any(|line| !line.is_empty() && !line.starts_with('#')) {
                steps.push((place, Step::Script(mem::take(script))));
            }
        };
        for line in logical_lines(&self.commands) {
            if line.starts_with(ELSEWHERE) {
                flush(&mut steps, place, &mut script);
                place = StepHost::Elsewhere;
            }
            match lasting(&line) {
                Some(step) => {
                    flush(&mut steps, place, &mut script);
                    steps.push((place, step));
                }
                None => script += &line,
            }
        }
        flush(&mut steps, place, &mut script);
        steps
    }
}

/// Lines with those that a backslash joins to them.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match lines.last_mut() {
            Some(last) if last.ends_with("\\\n") => *last += line,
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The step of a line that does not end by itself.
fn lasting(line: &str) -> Option<Step> {
    let mut words = line.split_whitespace().skip_while(|word| *word == "sudo");
    let program = words.next()?.rsplit('/').next()?;
    match (program, words.next()?) {
        ("stateless-tcp", "run") => Some(Step::Service(line.to_owned())),
        ("stateless-tcp", "top" | "trace") => Some(Step::Watch(line.to_owned())),
        _ => None,
    }
}

/// Whether `output` is what is `shown`.
pub fn is_as_shown(output: &str, shown: &str) -> bool {
    let lines = |text: &'_ str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    lines_match(&lines(shown), &lines(output))
}

fn lines_match(shown: &[String], output: &[String]) -> bool {
    match shown {
        [] => output.is_empty(),
        [any, rest @ ..] if any == ANYTHING => {
            (0..=output.len()).any(|skip| lines_match(rest, &output[skip..]))
        }
        [line, rest @ ..] => output
            .split_first()
            .is_some_and(|(first, others)| line_matches(line, first) && lines_match(rest, others)),
    }
}

fn line_matches(shown: &str, line: &str) -> bool {
    match shown.split_once(ANYTHING) {
        None => shown == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            ends.into_iter().any(|at| line_matches(rest, &line[at..]))
        }),
    }
}
