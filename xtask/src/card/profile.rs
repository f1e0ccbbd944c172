//! Instructions by function: the kernel's, those of XDP programs, and those of user space.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use super::plugin::{Blocks, is_kernel};
use super::report::thousands;
use crate::process::read;

/// Functions that a table shows.
const SHOWN: usize = 45;

/// What the guest says about its addresses.
pub(super) struct Symbols<'a> {
    kernel: Functions,
    maps: Vec<Mapping>,
    /// The functions of a file that the guest has mapped, by its path there.
    files: RefCell<HashMap<String, Functions>>,
    /// The host's file of a path.
    source: Box<dyn Fn(&str) -> PathBuf + 'a>,
}

/// Functions by ascending address.
#[derive(Default)]
struct Functions(Vec<Symbol>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Symbol {
    start: u64,
    /// None where it is not known: the function ends at the next one.
    size: Option<u64>,
    name: String,
}

/// A part of the server's address space.
#[derive(Debug, PartialEq)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    path: String,
}

/// Where a function is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    Kernel,
    Bpf,
    User,
}

/// Instructions for each question by function, the most expensive first.
#[derive(Serialize)]
pub(super) struct Profile {
    case: String,
    functions: Vec<Function>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Function {
    place: Place,
    name: String,
    instructions: f64,
}

impl<'a> Symbols<'a> {
    /// Takes what the guest sends: the server's memory map, an empty line, functions of the kernel.
    pub(super) fn parse(text: &str, source: impl Fn(&str) -> PathBuf + 'a) -> Result<Self> {
        let (maps, kernel) = text.split_once("\n\n").context("the guest has sent no symbols")?;
        Ok(Self {
            kernel: Functions::parse(kernel),
            maps: maps.lines().filter_map(Mapping::parse).collect(),
            files: RefCell::default(),
            source: Box::new(source),
        })
    }

    fn find(&self, address: u64) -> (Place, String) {
        if is_kernel(address) {
            let name = self.kernel.find(address).unwrap_or("unknown");
            return match bpf_name(name) {
                Some(name) => (Place::Bpf, name.to_owned()),
                None => (Place::Kernel, name.to_owned()),
            };
        }
        let Some(mapping) = self.maps.iter().find(|map| (map.start..map.end).contains(&address)) else {
            return (Place::User, "elsewhere".to_owned());
        };
        let path = &mapping.path;
        // Where the file begins in memory: its symbols count from there.
        let base =
            self.maps.iter().find(|map| map.path == *path && map.offset == 0).map_or(0, |map| map.start);
        let mut files = self.files.borrow_mut();
        let functions = files.entry(path.clone()).or_insert_with(|| Functions::of_file(&(self.source)(path)));
        let file = Path::new(path).file_name().map_or(path.as_str().into(), |name| name.to_string_lossy());
        let name = functions.find(address - base).unwrap_or("unknown");
        (Place::User, format!("{name} ({file})"))
    }
}

impl Functions {
    /// Lines of an address, perhaps a size, a letter, a name and what else belongs to the name: as of nm and
    /// /proc/kallsyms.
    fn parse(text: &str) -> Self {
        let function = |line: &str| {
            let (start, rest) = line.split_once(' ')?;
            let (mut kind, mut name) = rest.split_once(' ')?;
            let mut size = None;
            if kind.len() > 1 {
                size = Some(hexadecimal(kind)?).filter(|size| *size > 0);
                (kind, name) = name.split_once(' ')?;
            }
            let is_code = matches!(kind, "t" | "T" | "w" | "W" | "i");
            is_code.then_some(Symbol { start: hexadecimal(start)?, size, name: name.replace('\t', " ") })
        };
        let mut functions: Vec<_> = text.lines().filter_map(function).collect();
        functions.sort();
        Self(functions)
    }

    /// Those of an executable or library; none if it has none to show.
    fn of_file(path: &Path) -> Self {
        // A stripped file has only those that others call.
        let symbols = |option| {
            let mut nm = Command::new("nm");
            read(nm.args(["--demangle", "--defined-only", "--print-size", option]).arg(path))
                .unwrap_or_default()
        };
        Self::parse(&format!("{}\n{}", symbols("--numeric-sort"), symbols("--dynamic")))
    }

    /// The function that an address belongs to: the last that begins no later, if it is long enough.
    fn find(&self, address: u64) -> Option<&str> {
        let after = self.0.partition_point(|symbol| symbol.start <= address);
        let symbol = self.0.get(after.checked_sub(1)?)?;
        let is_inside = symbol.size.is_none_or(|size| address - symbol.start < size);
        is_inside.then_some(symbol.name.as_str())
    }
}

impl Mapping {
    /// A line of /proc/PID/maps that names what is mapped.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let offset = fields.nth(1)?;
        let path = fields.nth(2)?.to_owned();
        Some(Self { start: hexadecimal(start)?, end: hexadecimal(end)?, offset: hexadecimal(offset)?, path })
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// The name of a BPF program's function without the tag before it.
fn bpf_name(symbol: &str) -> Option<&str> {
    let (_tag, name) = symbol.strip_prefix("bpf_prog_")?.split_once('_')?;
    Some(name.trim_end_matches(" [bpf]"))
}

impl Profile {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn new(case: String, blocks: &Blocks, questions: u64, symbols: &Symbols<'_>) -> Self {
        let mut sums: HashMap<(Place, String), u64> = HashMap::new();
        for &(address, count) in blocks {
            *sums.entry(symbols.find(address)).or_default() += count;
        }
        let mut functions: Vec<_> = sums
            .into_iter()
            .map(|((place, name), count)| Function {
                place,
                name,
                instructions: count as f64 / questions as f64,
            })
            .collect();
        functions.sort_by(|one, other| other.instructions.total_cmp(&one.instructions));
        // Fewer are the idle guest's, or of the start and the end.
        functions.retain(|function| function.instructions >= 1.0);
        Self { case, functions }
    }

    fn sum(&self, place: Place) -> f64 {
        let of_place = self.functions.iter().filter(|function| function.place == place);
        of_place.map(|function| function.instructions).sum()
    }
}

/// A list in Markdown: the sums, then the functions.
impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n{}; the idle guest's instructions included:\n", self.case)?;
        writeln!(formatter, "| instructions a question | in | function |\n|---|---|---|")?;
        for place in [Place::Kernel, Place::Bpf, Place::User] {
            writeln!(formatter, "| {} | {place} | all |", rounded(self.sum(place)))?;
        }
        for Function { place, name, instructions } in self.functions.iter().take(SHOWN) {
            writeln!(formatter, "| {} | {place} | {name} |", rounded(*instructions))?;
        }
        let rest: f64 = self.functions.iter().skip(SHOWN).map(|function| function.instructions).sum();
        writeln!(formatter, "| {} | | all others |", rounded(rest))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Place::Kernel => "kernel",
            Place::Bpf => "BPF",
            Place::User => "user space",
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^64")]
fn rounded(instructions: f64) -> String {
    thousands(instructions.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "555555554000-555555600000 r--p 00000000 00:02 17   /bin/server\n\
        555555600000-555555900000 r-xp 000ab000 00:02 17   /bin/server\n\
        7ffff7ff0000-7ffff7ff1000 rw-p 00000000 00:00 0\n\
        \n\
        ffffffff81000000 T first\n\
        ffffffff81000100 t second\n\
        ffffffffc0000000 t igb_poll\t[igb]\n\
        ffffffffc0100000 t bpf_prog_0123456789abcdef_steer\t[bpf]\n";

    fn symbols() -> Symbols<'static> {
        Symbols::parse(TEXT, |_| PathBuf::from("/nonexistent")).expect("symbols")
    }

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        let symbols = symbols();
        let cases = [
            (0xffff_ffff_8000_0000, Place::Kernel, "unknown"),
            (0xffff_ffff_8100_0000, Place::Kernel, "first"),
            (0xffff_ffff_8100_00ff, Place::Kernel, "first"),
            (0xffff_ffff_8100_0100, Place::Kernel, "second"),
            (0xffff_ffff_c000_0001, Place::Kernel, "igb_poll [igb]"),
            (0xffff_ffff_c010_0001, Place::Bpf, "steer"),
            (0x1000, Place::User, "elsewhere"),
            (0x5555_5560_0000, Place::User, "unknown (server)"),
        ];
        for (address, place, name) in cases {
            assert_eq!(symbols.find(address), (place, name.to_owned()), "{address:x}");
        }
    }

    #[test]
    fn a_files_functions_count_from_where_it_begins() {
        let symbols = symbols();
        let functions =
            Functions::parse("000ac000 T parse\n000ac800 00000020 t emit\n000acc00 D table\nzz U memcpy");
        symbols.files.borrow_mut().insert("/bin/server".to_owned(), functions);
        assert_eq!(symbols.find(0x5555_5560_0010), (Place::User, "parse (server)".to_owned()));
        assert_eq!(symbols.find(0x5555_5560_0810), (Place::User, "emit (server)".to_owned()));
        assert_eq!(
            symbols.find(0x5555_5560_0820),
            (Place::User, "unknown (server)".to_owned()),
            "after its end"
        );
    }

    #[test]
    fn blocks_are_added_up_by_function() {
        let blocks =
            vec![(0xffff_ffff_8100_0000, 60), (0xffff_ffff_8100_0010, 40), (0xffff_ffff_c010_0001, 300)];
        let profile = Profile::new("case".to_owned(), &blocks, 10, &symbols());
        let of = |place, name: &str, instructions| Function { place, name: name.to_owned(), instructions };
        assert_eq!(profile.functions, [of(Place::Bpf, "steer", 30.0), of(Place::Kernel, "first", 10.0)]);
        assert!(profile.to_string().contains("| 30 | BPF | all |"), "{profile}");
    }
}
