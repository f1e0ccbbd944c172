//! Plain English: few sentences of the documents and of the doc comments open with a question word.
//!
//! A clause such as "What is relayed is …" or "Who asks …" puts the reader's search term behind the grammar. The rule
//! is subject first. [`sentences`] defines a sentence, and [`Tally`] such an opening. With `PROSE_LIST` in the environment and
//! `--nocapture` the tests list all such sentences.

mod sentences;
mod types;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sentences::{Sentence, of_doc_comments, of_markdown};

/// The words that a sentence should not open with.
const OPENERS: [&str; 5] = ["what", "whether", "who", "where", "how"];

/// The largest share of such sentences in README.md and docs/, and in doc comments.
const LARGEST_SHARE: f64 = 0.04;

/// Directories that hold nothing of the project's own.
const FOREIGN: [&str; 2] = ["target", ".git"];

/// Sentences counted, and those of them that open with one of [`OPENERS`].
///
/// A sentence that opens with `Whether` is right for a function that returns `bool`, and is counted as a plain one there.
#[derive(Default)]
struct Tally {
    sentences: usize,
    openers: Vec<String>,
}

impl Tally {
    fn add(&mut self, file: &str, sentences: Vec<Sentence>) {
        self.sentences += sentences.len();
        let openers = sentences.into_iter().filter(|sentence| {
            let word = sentence.opening().to_lowercase();
            OPENERS.contains(&&*word) && !(word == "whether" && sentence.of_predicate)
        });
        self.openers.extend(openers.map(|sentence| format!("{file}:{}: {}", sentence.line, sentence.text)));
    }

    /// The share of openers.
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn rate(&self) -> f64 {
        self.openers.len() as f64 / self.sentences.max(1) as f64
    }

    /// Prints the rate and fails above `bound`.
    fn judge(&self, name: &str, bound: f64) {
        let mut report = format!(
            "{name}: {} of {} sentences ({:.1} %) open with {}; at most {:.1} % may",
            self.openers.len(),
            self.sentences,
            100.0 * self.rate(),
            OPENERS.join(", "),
            100.0 * bound
        );
        println!("{report}");
        if std::env::var_os("PROSE_LIST").is_some() || self.rate() > bound {
            for opener in &self.openers {
                let _ = write!(report, "\n{opener}");
            }
            println!("{report}");
        }
        assert!(self.rate() <= bound, "{report}");
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below `directory` whose names end in `.{extension}`, in order.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("read a directory").map(|entry| entry.expect("an entry"));
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(fs::DirEntry::path);
    let mut found = Vec::new();
    for entry in entries {
        let kind = entry.file_type().expect("the type of an entry");
        if kind.is_dir() && !FOREIGN.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&entry.path(), extension));
        } else if kind.is_file() && entry.path().extension().is_some_and(|this| this == extension) {
            found.push(entry.path());
        }
    }
    found
}

fn tally(files: &[PathBuf], read: impl Fn(&str) -> Vec<Sentence>) -> Tally {
    let root = workspace();
    let mut tally = Tally::default();
    for file in files {
        let text = fs::read_to_string(file).expect("read a file");
        tally.add(&file.strip_prefix(&root).unwrap_or(file).display().to_string(), read(&text));
    }
    tally
}

#[test]
fn documents_are_plain() {
    let mut documents = vec![workspace().join("README.md")];
    documents.extend(files(&workspace().join("docs"), "md"));
    for document in &documents {
        let one = tally(std::slice::from_ref(document), of_markdown);
        println!("{}: {} of {}", document.display(), one.openers.len(), one.sentences);
    }
    tally(&documents, of_markdown).judge("README.md and docs/", LARGEST_SHARE);
}

#[test]
fn doc_comments_are_plain() {
    let sources = files(&workspace(), "rs");
    assert!(
        sources.iter().any(|source| source.ends_with(file!())),
        "this source is one of them: {sources:?}"
    );
    tally(&sources, of_doc_comments).judge("doc comments", LARGEST_SHARE);
}
