//! Type names: no crate defines the same name twice.
//!
//! A reader who searches for a type finds one definition. Unit tests of the product crates may define helpers as they
//! like, so their files and inner `mod tests` do not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A crate, its directories, and its kind.
struct Crate {
    name: &'static str,
    directories: &'static [&'static str],
    /// Its files of unit tests are left out.
    has_unit_tests: bool,
}

/// All crates of the workspace. The tests of a product crate are left out.
const CRATES: [Crate; 7] = [
    Crate { name: "stateless-tcp-core", directories: &["stateless-tcp-core/src"], has_unit_tests: true },
    Crate { name: "stateless-tcp-ebpf", directories: &["stateless-tcp-ebpf/src"], has_unit_tests: true },
    Crate { name: "stateless-tcp", directories: &["stateless-tcp/src"], has_unit_tests: true },
    Crate { name: "stateless-tcp-flood-filter", directories: &["flood/filter/src"], has_unit_tests: false },
    Crate { name: "stateless-tcp-flood", directories: &["flood/src"], has_unit_tests: false },
    Crate {
        name: "stateless-tcp-tests",
        directories: &["tests/src", "tests/tests", "tests/examples"],
        has_unit_tests: false,
    },
    Crate { name: "xtask", directories: &["xtask/src", "xtask/tests"], has_unit_tests: false },
];

/// The keywords that define a type.
const KEYWORDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

/// The types that a source defines outside its inner `mod tests`, with their lines from 1.
///
/// An associated type (`type Error = …;` inside a trait or an implementation) defines no name of its own.
pub(crate) fn definitions(source: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut is_raw_string = false;
    for (index, line) in source.lines().enumerate() {
        if line.starts_with("mod tests {") {
            break;
        }
        let was_raw_string = is_raw_string;
        let opens = line.matches("r#\"").count();
        let closes = line.matches("\"#").count();
        is_raw_string = (is_raw_string || opens > 0) && closes == 0;
        if was_raw_string {
            continue;
        }
        let is_nested = line.starts_with([' ', '\t']);
        let mut words =
            line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "unsafe");
        let Some(keyword) = words.next().filter(|word| KEYWORDS.contains(word)) else { continue };
        if keyword == "type" && is_nested {
            continue;
        }
        let name: String = words
            .next()
            .unwrap_or_default()
            .chars()
            .take_while(|one| one.is_alphanumeric() || *one == '_')
            .collect();
        if name.starts_with(char::is_uppercase) {
            found.push((name, index + 1));
        }
    }
    found
}

/// Whether a file below `src` holds unit tests only.
fn is_unit_test(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs") || file.iter().any(|part| part == "tests")
}

/// The names that the crate defines more than once, each with its places.
fn offenders(root: &Path, one: &Crate) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for directory in one.directories {
        for file in super::files(&root.join(directory), "rs") {
            let relative = file.strip_prefix(root).unwrap_or(&file);
            if one.has_unit_tests && is_unit_test(relative) {
                continue;
            }
            let source = fs::read_to_string(&file).expect("read a source");
            for (name, line) in definitions(&source) {
                places.entry(name).or_default().push(format!("{}:{line}", relative.display()));
            }
        }
    }
    let repeated = places.into_iter().filter(|(_, places)| places.len() > 1);
    repeated.map(|(name, places)| format!("{}: {name}: {}", one.name, places.join(", "))).collect()
}

#[test]
#[ignore = "stateless-tcp-core still has two of `Header` and of `Reply`"]
fn a_crate_defines_no_type_name_twice() {
    let root = super::workspace();
    let offenders: Vec<String> = CRATES.iter().flat_map(|one| offenders(&root, one)).collect();
    assert!(
        offenders.is_empty(),
        "{} type names are defined twice in a crate:\n{}",
        offenders.len(),
        offenders.join("\n")
    );
}

#[test]
fn the_tools_and_tests_define_no_type_name_twice() {
    let root = super::workspace();
    let clean = [
        "stateless-tcp-ebpf",
        "stateless-tcp-flood-filter",
        "stateless-tcp-flood",
        "stateless-tcp-tests",
        "xtask",
    ];
    let checked = CRATES.iter().filter(|one| clean.contains(&one.name));
    let offenders: Vec<String> = checked.flat_map(|one| offenders(&root, one)).collect();
    assert!(offenders.is_empty(), "defined twice in a crate:\n{}", offenders.join("\n"));
}

#[test]
fn definitions_are_found() {
    let source = "pub struct One;\npub(crate) enum Two<'a> {\n}\nimpl Three {\n    type Error = One;\n}\n    union Four {\n\
                  // type Five is prose\nmod tests {\n    struct Six;\n}\n";
    let names: Vec<_> = definitions(source);
    let expected = [("One", 1), ("Two", 2), ("Four", 7)];
    assert_eq!(names, expected.map(|(name, line)| (name.to_owned(), line)));
}
