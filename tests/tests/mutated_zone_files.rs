//! Whatever a zone file holds, reading it ends, with no panic, and takes little memory beside what it makes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use stateless_tcp_tests::peers::say;
use stateless_tcp_tests::seed::{Random, seed, size};
use stateless_tcp_tests::zone_files::mutate::mutate;
use stateless_tcp_tests::zone_files::ours::Ours;
use stateless_tcp_tests::zone_files::{Case, cases};
use tempfile::TempDir;

/// Bytes that reading may take for each byte of the files and of what they state, above what it makes.
const FACTOR: isize = 4;
/// Bytes that a line states, about: a record that says it all again. Those that are there already are made as well.
const RECORD: usize = 64;
/// The same of WKS, which has a bit for each port (RFC 1035 section 3.4.2).
const WKS: usize = 8_200;
/// Bytes that it may take however short they are.
const FLOOR: isize = 1 << 20;
/// The same for a file with $GENERATE, which stands for more than it is long.
const GENERATED: isize = 1 << 28;
/// Time limit of one file: a safety net.
const PATIENCE: Duration = Duration::from_mins(4);

/// The system's allocator, counting what is allocated.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came, which keeps the promises; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_file_panics_hangs_or_swells() -> anyhow::Result<()> {
    say(&format!("seed {}", seed()));
    let all = cases::all();
    let mut random = Random::new("mutated zone files");
    let count = size(2_000, 10_000);
    let directory = TempDir::with_prefix("mutated-")?;
    let (mut read, mut faults, mut most) = (0, Vec::new(), 0.0_f64);
    let watch = Watch::start();
    for number in 0..count {
        let mut case = mutate(&all[random.below(all.len())], &all, &mut random);
        case.name = format!("m{number}-{}", case.name).chars().take(60).collect();
        let file = case.write(directory.path())?;
        watch.begin(number);
        let tried = try_one(&case, &file);
        watch.end();
        match tried.outcome {
            ParseOutcome::Read => read += 1,
            ParseOutcome::Refused => {}
            ParseOutcome::Panicked => faults.push(format!("{}: panics", file.display())),
        }
        let Tried { extra, allowed, .. } = tried;
        if extra > allowed {
            faults.push(format!("{}: {extra} bytes more than what is made of it", file.display()));
        }
        #[expect(clippy::cast_precision_loss, reason = "for the reader")]
        let share = extra as f64 / allowed as f64;
        most = most.max(share);
        let clean = faults.last().is_none_or(|fault| !fault.contains(&format!("/{}/", case.name)));
        if clean {
            fs::remove_dir_all(file.parent().context("a directory")?)?;
        }
    }
    say(&format!(
        "{count} mutated zone files: {read} read, the others refused; at most {:.0} % of the memory allowed",
        most * 100.0
    ));
    if !faults.is_empty() {
        let kept = directory.keep();
        panic!("{} of {count}, kept in {}:\n{}", faults.len(), kept.display(), faults.join("\n"));
    }
    assert!(read > count / 20, "only {read} of {count} could be read: the faults are too coarse");
    Ok(())
}

enum ParseOutcome {
    Read,
    Refused,
    Panicked,
}

struct Tried {
    outcome: ParseOutcome,
    /// Bytes allocated at most, above those that remained.
    extra: isize,
    allowed: isize,
}

/// Reads one file.
fn try_one(case: &Case, file: &Path) -> Tried {
    let texts = || [&case.text].into_iter().chain(case.beside.iter().map(|(_, text)| text));
    let count = |word: &[u8]| {
        let within = |text: &Vec<u8>| {
            text.to_ascii_uppercase().windows(word.len()).filter(|part| *part == word).count()
        };
        texts().map(within).sum::<usize>()
    };
    let files = texts().map(Vec::len).sum::<usize>();
    let lines = texts().map(|text| text.split(|byte| *byte == b'\n').count()).sum::<usize>();
    let record = if count(b"WKS") > 0 { WKS } else { RECORD };
    // What is included again is stated again.
    let stated = lines * (1 + count(b"$INCLUDE")) * record;
    let floor = if count(b"$GENERATE") > 0 { GENERATED } else { FLOOR };
    let allowed = floor + FACTOR * (files + stated).cast_signed();
    let zone = case.zone();
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    let result = catch_unwind(|| Ours::load(&zone, file));
    let extra = PEAK.load(Ordering::Relaxed) - LIVE.load(Ordering::Relaxed);
    let outcome = match result {
        Ok(Ok(_)) => ParseOutcome::Read,
        Ok(Err(_)) => ParseOutcome::Refused,
        Err(_) => ParseOutcome::Panicked,
    };
    Tried { outcome, extra, allowed }
}

/// Ends the process where one file takes too long.
struct Watch;

static BUSY: AtomicBool = AtomicBool::new(false);
static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Watch {
    fn start() -> Self {
        thread::spawn(|| {
            let (mut number, mut since) = (usize::MAX, Instant::now());
            loop {
                thread::sleep(Duration::from_millis(500));
                let current = NUMBER.load(Ordering::Acquire);
                if current != number || !BUSY.load(Ordering::Acquire) {
                    (number, since) = (current, Instant::now());
                } else if since.elapsed() > PATIENCE {
                    say(&format!(
                        "mutated zone file {number} is not read after {PATIENCE:?}: seed {}",
                        seed()
                    ));
                    process::exit(1);
                }
            }
        });
        Self
    }

    #[expect(clippy::unused_self, reason = "only one that runs is told")]
    fn begin(&self, number: usize) {
        NUMBER.store(number, Ordering::Release);
        BUSY.store(true, Ordering::Release);
    }

    #[expect(clippy::unused_self, reason = "only one that runs is told")]
    fn end(&self) {
        BUSY.store(false, Ordering::Release);
    }
}
