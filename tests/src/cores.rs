//! Which core does what, and how much of its time each part took.
//!
//! On a veth pair the sender's core runs the receiver's NAPI unless that has a thread of its own: then the work of each end
//! can be put on a core, and is counted with the thread that does it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::netns::{Netns, execute, text};

/// Keeps this thread, and whatever is started from it, on a core.
///
/// # Errors
/// There is no such core, or it is not ours.
pub fn stay_on(core: usize) -> anyhow::Result<()> {
    pin(Pid::from_raw(0), core)
}

/// Has the end of a veth pair receive by NAPI, in a kernel thread on that core, once this was called for both ends. `device`
/// is a name that no other namespace has. The thread is as nice as this process. Returns its process id.
///
/// # Errors
/// The kernel makes no such thread.
pub fn receive_on(namespace: &Netns, device: &str, core: usize) -> anyhow::Result<Pid> {
    // Without GRO, and without an XDP program, a veth has no NAPI; and what comes from one that has TSO goes around it.
    namespace.run(&format!("ethtool -K {device} gro on tso off"));
    let switch = format!("echo 1 > /sys/class/net/{device}/threaded");
    execute(namespace.command("sh").args(["-c", &switch]));
    let thread = kernel_thread(&format!("napi/{device}-"))?;
    pin(thread, core)?;
    let own = fs::read_to_string("/proc/self/stat")?;
    let nice =
        own.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).context("no niceness")?;
    execute(Command::new("renice").args(["-n", nice, "-p", &thread.to_string()]));
    Ok(thread)
}

/// The kernel's thread for softirqs that a core puts off.
///
/// # Errors
/// It is not to be found.
pub fn softirq_thread(core: usize) -> anyhow::Result<Pid> {
    kernel_thread(&format!("ksoftirqd/{core}"))
}

/// Time that all threads of a process have run, as the scheduler counts it (nanoseconds, not ticks); softirqs that ran on
/// their backs included.
///
/// # Errors
/// There is no such process.
pub fn time_of(process: Pid) -> anyhow::Result<Duration> {
    let tasks = format!("/proc/{process}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        sum += first.parse::<u64>().context("schedstat does not begin with nanoseconds")?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Date, kernel and processor, for those who read the figures later.
///
/// # Errors
/// The machine does not say.
pub fn machine() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = cpus.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().copied().unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    let (date, kernel) = (say("date", &["+%Y-%m-%d %H:%M"])?, say("uname", &["-r"])?);
    Ok(format!("{date}; Linux {kernel}; {} times {model}", models.len()))
}

/// What a program says of its version, or the first line of what it says.
///
/// # Errors
/// It is not installed.
pub fn say(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let said = text(&output.stdout) + &text(&output.stderr);
    let version = said.lines().find(|line| line.starts_with("Version"));
    Ok(version.or_else(|| said.lines().next()).unwrap_or_default().to_owned())
}

/// Processes that were ready to run, on average over 1, 5 and 15 minutes.
///
/// # Errors
/// The kernel does not say.
pub fn load_average() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The thread whose name begins so, of which there is one.
fn kernel_thread(prefix: &str) -> anyhow::Result<Pid> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is not the one.
        let name = fs::read_to_string(Path::new("/proc").join(process.file_name()).join("comm"));
        if name.is_ok_and(|name| name.starts_with(prefix)) {
            found.push(Pid::from_raw(id));
        }
    }
    ensure!(found.len() == 1, "{} threads of the kernel are called {prefix}…", found.len());
    Ok(found[0])
}

fn pin(thread: Pid, core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(thread, &set).with_context(|| format!("keep {thread} on core {core}"))
}
