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
use nix::unistd::{Pid, gettid};

use crate::netns::{Netns, execute, text};

/// Keeps this thread, and whatever is started from it, on a core.
///
/// # Errors
/// There is no such core, or it is not ours.
pub fn stay_on(core: usize) -> anyhow::Result<()> {
    pin(Pid::from_raw(0), core)
}

/// Has a thread go before all others (`SCHED_FIFO`) but those of a higher number, of 1 to 99.
///
/// # Errors
/// We may not do that: it needs CAP_SYS_NICE, and a cgroup in which real-time threads may run.
pub fn put_first(thread: Pid, priority: u8) -> anyhow::Result<()> {
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", &priority.to_string(), &thread.to_string()]);
    let output = chrt.output().context("start chrt")?;
    ensure!(output.status.success(), "{chrt:?}: {}", text(&output.stderr));
    Ok(())
}

/// The id of the thread that calls.
#[must_use]
pub fn this_thread() -> Pid {
    gettid()
}

/// Keeps all threads of a process and of its descendants on a core, whatever they have chosen themselves.
///
/// # Errors
/// There is no such core.
pub fn keep_on(process: Pid, core: usize) -> anyhow::Result<()> {
    for process in family(process)? {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let id = thread?.file_name().to_str().context("a thread's id")?.parse()?;
            pin(Pid::from_raw(id), core)?;
        }
    }
    Ok(())
}

/// A process and its descendants.
///
/// # Errors
/// `/proc` cannot be read.
pub fn family(process: Pid) -> anyhow::Result<Vec<Pid>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile has no parent.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // Behind the name, which may hold anything: state, parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parents.extend(parent.and_then(|parent| parent.parse().ok()).map(|parent: i32| (id, parent)));
    }
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&member) = family.get(next) {
        let children = parents.iter().filter(|(_, parent)| *parent == member.as_raw());
        family.extend(children.map(|(id, _)| Pid::from_raw(*id)));
        next += 1;
    }
    Ok(family)
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

/// Time that all threads of a process and of its descendants have run, as the scheduler counts it (nanoseconds, not ticks);
/// softirqs that ran on their backs included.
///
/// # Errors
/// There is no such process.
pub fn time_of(process: Pid) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for process in family(process)? {
        let tasks = format!("/proc/{process}/task");
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let first = text.split_whitespace().next().context("an empty schedstat")?;
            sum += first.parse::<u64>().context("schedstat does not begin with nanoseconds")?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Time that a core has had nothing to do, to the hundredth of a second. While interrupts and softirqs run it has.
///
/// A thread of the lowest priority that counts what is left to it would be finer, but not harmless: since Linux 6.6 a thread
/// that wakes up waits for one of `SCHED_IDLE`, until the next tick, as long as it has had more than its share.
///
/// # Errors
/// There is no such core, or the kernel counts otherwise.
pub fn idle_time(core: usize) -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let label = format!("cpu{core} ");
    let line =
        text.lines().find_map(|line| line.strip_prefix(&label)).with_context(|| format!("no core {core}"))?;
    // Behind user, nice and system: idle, and idle with somebody waiting for a disk.
    let ticks: Vec<u64> = line.split(' ').skip(3).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(10) * u32::try_from(ticks.iter().sum::<u64>())?)
}

/// Kernel and processors, for those who read the figures later.
///
/// # Errors
/// The machine does not say.
pub fn machine() -> anyhow::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = cpus.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().copied().unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    Ok(format!("{} times {model}, Linux {}", models.len(), say("uname", &["-r"])?))
}

/// A program's version, or the first line of what it says.
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
