//! Sentences of a Markdown text, and of the doc comments of a Rust source.
//!
//! - Code does not count: fenced blocks are left out, a code span is one word.
//! - Headings and HTML comments do not count.
//! - A paragraph and a list item each begin a sentence. A sentence ends with `.`, `!` or `?`, where a space and anything
//!   but a small letter follow, or with its paragraph or item. So the last one counts without a full stop too, as in
//!   "Three reasons:" or in the summary of a doc comment.
//! - A cell of a table counts only as far as it holds whole sentences, which end with `.`, `!` or `?`. A cell such as
//!   "where it listens" is a phrase.

/// A sentence and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    /// The line of the paragraph, item or row, from 1.
    pub(crate) line: usize,
    /// Its words, without marks of Markdown.
    pub(crate) text: String,
    /// It is part of the doc comment of a function that returns `bool`.
    pub(crate) of_predicate: bool,
}

impl Sentence {
    /// The first word.
    pub(crate) fn opening(&self) -> &str {
        let start = self.text.trim_start_matches(|one: char| !one.is_alphanumeric());
        start.split(|one: char| !one.is_alphanumeric()).next().unwrap_or_default()
    }
}

/// The sentences of a Markdown text.
pub(crate) fn of_markdown(text: &str) -> Vec<Sentence> {
    let lines: Vec<&str> = text.lines().collect();
    of_lines(&lines, 1, false)
}

/// The sentences of all doc comments of a Rust source.
pub(crate) fn of_doc_comments(source: &str) -> Vec<Sentence> {
    let lines: Vec<&str> = source.lines().collect();
    let mut sentences = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let comment: Vec<&str> = lines[index..].iter().map_while(|line| doc_comment(line)).collect();
        if comment.is_empty() {
            index += 1;
            continue;
        }
        let after = index + comment.len();
        let is_outer = lines[index].trim_start().starts_with("///");
        sentences.extend(of_lines(&comment, index + 1, is_outer && is_predicate(&lines[after..])));
        index = after;
    }
    sentences
}

/// The text of a line of a doc comment.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).filter(|text| !text.starts_with('/'))
}

/// Whether the item that begins with these lines is a function that returns `bool`.
fn is_predicate(lines: &[&str]) -> bool {
    let mut item = String::new();
    for line in lines.iter().map(|line| line.trim()).skip_while(|line| line.starts_with("#[")) {
        item += line;
        item.push(' ');
        let is_closed = item.matches('(').count() == item.matches(')').count();
        if is_closed && line.ends_with(['{', ';', '}', ',']) {
            break;
        }
    }
    item.contains("fn ") && item.contains("-> bool")
}

/// The sentences of these lines of Markdown, of which the first has the number `first`.
fn of_lines(lines: &[&str], first: usize, of_predicate: bool) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut unit = (first, String::new());
    let mut fence = false;
    let mut flush = |unit: &mut (usize, String), is_cell: bool| {
        let (line, text) = std::mem::take(unit);
        let found = split(&plain(&text), is_cell).into_iter();
        sentences.extend(found.map(|text| Sentence { line, text, of_predicate }));
    };
    for (number, line) in (first..).zip(lines) {
        let line = line.trim();
        if line.starts_with("```") {
            fence = !fence;
            flush(&mut unit, false);
        } else if fence {
        } else if line.is_empty() || line.starts_with('#') || line.starts_with("<!--") {
            flush(&mut unit, false);
        } else if line.starts_with('|') {
            flush(&mut unit, false);
            for cell in cells(line) {
                flush(&mut (number, cell), true);
            }
        } else {
            let item = item(line);
            if item.is_some() {
                flush(&mut unit, false);
            }
            if unit.1.is_empty() {
                unit.0 = number;
            }
            unit.1 += item.unwrap_or(line);
            unit.1.push(' ');
        }
    }
    flush(&mut unit, false);
    sentences
}

/// The text of the first line of a list's item.
fn item(line: &str) -> Option<&str> {
    let number = line.trim_start_matches(|one: char| one.is_ascii_digit());
    let numbered = number.strip_prefix(". ").filter(|_| number.len() < line.len());
    numbered.or_else(|| line.strip_prefix("- ")).or_else(|| line.strip_prefix("* "))
}

/// The cells of a row.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{1}");
    row.trim_matches('|').split('|').map(|cell| cell.replace('\u{1}', "|")).collect()
}

/// The text without marks: a code span becomes a word, a link its text.
fn plain(text: &str) -> String {
    let spans = text.split('`').enumerate();
    let text: String = spans.map(|(index, span)| if index % 2 == 0 { span } else { "Code" }).collect();
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once("](") {
        plain += before;
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    (plain + rest).replace(['*', '['], "").trim().to_owned()
}

/// The sentences of a paragraph, item or cell.
fn split(text: &str, is_cell: bool) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let ends = text.match_indices(['.', '!', '?']).map(|(at, _)| at + 1);
    for end in ends {
        let after = text[end..].trim_start_matches(['"', ')', ']', '”']);
        let next = after.trim_start();
        let ended = next.is_empty() || (next.len() < after.len() && !next.starts_with(char::is_lowercase));
        if ended {
            let end = text.len() - after.len();
            sentences.push(text[start..end].trim().to_owned());
            start = end;
        }
    }
    if !is_cell {
        sentences.push(text[start..].trim().to_owned());
    }
    sentences.retain(|sentence| sentence.contains(char::is_alphabetic));
    sentences
}

#[test]
fn sentences_of_markdown() {
    let text = "# What a heading is\n\nOne is here. Two is\nhere (really.) Three, e.g. this:\n\n```sh\nwhat is this. No\n```\n- **What** `a. B` is. Who?\n- [how](x.md) 1.5 goes\n\n| where | Who knows. And |\n";
    let sentences = of_markdown(text);
    let texts: Vec<&str> = sentences.iter().map(|sentence| &*sentence.text).collect();
    assert_eq!(
        texts,
        [
            "One is here.",
            "Two is here (really.)",
            "Three, e.g. this:",
            "What Code is.",
            "Who?",
            "how 1.5 goes",
            "Who knows."
        ]
    );
    let openings: Vec<&str> = sentences.iter().map(Sentence::opening).collect();
    assert_eq!(openings, ["One", "Two", "Three", "What", "Who", "how", "Who"]);
}

#[test]
fn sentences_of_doc_comments() {
    let source = "//! A module.\n\n/// Whether it is\n/// one.\n#[must_use]\npub fn is_one(\n    self,\n) -> bool {\n    // What is no doc comment.\n}\n\n    /// Whether so\n    field: bool,\n";
    let sentences: Vec<_> =
        of_doc_comments(source).into_iter().map(|one| (one.line, one.text, one.of_predicate)).collect();
    let expected = [(1, "A module.", false), (3, "Whether it is one.", true), (12, "Whether so", false)];
    assert_eq!(sentences, expected.map(|(line, text, of)| (line, text.to_owned(), of)));
}
