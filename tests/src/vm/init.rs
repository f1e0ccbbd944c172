//! The machine's first process.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// Time limit of a case: an emulated processor, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs all `cases`, says how each went, and switches off.
pub(super) fn run(cases: impl ExactSizeIterator<Item = &'static str>) {
    assert_eq!(
        std::process::id(),
        1,
        "without a case it is the first process of a virtual machine, and no other"
    );
    for (kind, place) in
        [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("tmpfs", "/tmp")]
    {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
            .unwrap_or_else(|error| panic!("mount {place}: {error}"));
    }
    load_modules();
    println!("vm: plan {}", cases.len());
    for name in cases {
        match case(name) {
            Ok(()) => println!("vm: ok {name}"),
            Err(reason) => println!("vm: not ok {name}: {reason}"),
        }
    }
    let error = reboot(RebootMode::RB_POWER_OFF);
    panic!("the machine cannot be switched off: {error:?}");
}

/// Each depends only on those before it, by their names.
fn load_modules() {
    let names = fs::read_dir("/modules").expect("modules").map(|entry| entry.expect("a module").path());
    let mut modules: Vec<_> = names.collect();
    modules.sort();
    for module in modules {
        let file = File::open(&module).expect("a module");
        finit_module(&file, c"", ModuleInitFlags::empty())
            .unwrap_or_else(|error| panic!("load {}: {error}", module.display()));
    }
}

fn case(name: &str) -> Result<(), String> {
    let mut process = Command::new("/init")
        .arg(name)
        .env_clear()
        .envs([("PATH", "/bin"), ("STATELESS_TCP_BIN", "/bin/stateless-tcp")])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let end = Instant::now() + PATIENCE;
    loop {
        match process.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ = process.kill();
                return Err(format!("not done after {} s", PATIENCE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
