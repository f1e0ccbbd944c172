//! Formats the diagnosis.

use std::fmt::Write as _;

use super::judge::Diagnosis;

/// Columns of the table.
const WIDTH: usize = 110;
const SEVERITY: usize = 6;

/// The table of checks, the summary and the command.
pub(super) fn render(diagnosis: &Diagnosis) -> String {
    let name = diagnosis.checks.iter().map(|check| check.name.len()).max().unwrap_or(0) + 2;
    let indent = SEVERITY + name;
    let mut text = String::new();
    // Writing to a string never fails.
    for check in &diagnosis.checks {
        let mut lines = wrap(&check.finding, WIDTH - indent).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{:SEVERITY$}{:name$}{first}", check.severity.word(), check.name);
        let remedy = wrap(&check.remedy, WIDTH - indent - 3);
        let remedy = remedy
            .into_iter()
            .enumerate()
            .map(|(index, line)| if index == 0 { format!("-> {line}") } else { format!("   {line}") });
        for line in lines.chain(remedy) {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    let _ = writeln!(text, "\nVerdict: {}", diagnosis.summary);
    if let Some(command) = &diagnosis.command {
        let _ = writeln!(text, "\n    {command}");
    }
    text
}

/// The lines of `text`, broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::judge::{Check, Severity};
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_lines_broken() {
        let check = |name, finding: &str, remedy: &str| Check {
            name,
            finding: finding.to_owned(),
            severity: Severity::Warn,
            remedy: remedy.to_owned(),
        };
        let diagnosis = Diagnosis {
            checks: vec![check("a", "short", ""), check("longer", &"word ".repeat(30), "do this")],
            summary: "it will work".to_owned(),
            command: Some("run it".to_owned()),
        };
        let text = render(&diagnosis);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "warn  a       short");
        assert!(lines[1].starts_with("warn  longer  word word"));
        assert!(lines[2].starts_with("              word"));
        assert_eq!(lines[3], "              -> do this");
        assert_eq!(lines[4..], ["", "Verdict: it will work", "", "    run it"]);
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
    }
}
