//! A clean Debian that systemd runs, in a namespace of a [`Topology`](crate::topology::Topology).

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::{Netns, text};

/// Time limit to start, and for anything in it to happen, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Capabilities that the service needs and systemd-nspawn does not give by itself.
const CAPABILITIES: &str = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF,CAP_PERFMON,CAP_IPC_LOCK";

/// systemd-nspawn leaves the interfaces of its own namespace in /sys: has those of the system's there.
const OWN_INTERFACES: &str = "mkdir /run/groups && mount --rbind /sys/fs/cgroup /run/groups && mount -t sysfs sysfs /sys && \
    mount --rbind /run/groups /sys/fs/cgroup";

/// A file that `cargo xtask test` names: a package, or the root of a Debian.
pub fn given(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{name} is not set: cargo xtask test --only package"))
}

/// A running system. Whatever it writes is in memory, and gone with it.
#[derive(Debug)]
pub struct Container {
    /// systemd-nspawn, outside.
    outer: Child,
    /// Its first process, as it is numbered here.
    first: Pid,
}

impl Container {
    /// Starts systemd on what is at `root`, in `namespace`, with the file `package` at `/package.deb`.
    pub fn boot(namespace: &Netns, root: &Path, package: &Path) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "systemd-nspawn", "--quiet", "--boot"]);
        // Nobody here need know of it.
        command.args(["--register=no", "--keep-unit", "--console=passive", "--link-journal=no"]);
        command.arg("--directory").arg(root).arg("--volatile=overlay");
        command.arg(format!("--machine={}", namespace.name()));
        command.arg(format!("--network-namespace-path=/run/netns/{}", namespace.name()));
        command
            .arg(format!("--capability={CAPABILITIES}"))
            .arg("--system-call-filter=bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self");
        command.arg(format!("--bind-ro={}:/package.deb", package.display()));
        let outer = command.stdin(Stdio::null()).process_group(0).spawn().expect("start systemd-nspawn");
        let mut container = Self { outer, first: Pid::from_raw(0) };
        container.first = container.within("its first process", |this| this.find_first());
        container.within("its target", |this| {
            let state = text(&this.attempt("systemctl is-system-running").stdout);
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        container.run(OWN_INTERFACES);
        container
    }

    /// Runs a line of the shell in it, which must succeed, and returns what it writes.
    pub fn run(&self, line: &str) -> String {
        let output = self.attempt(line);
        assert!(output.status.success(), "{line}: {}\n{}", output.status, said(&output));
        text(&output.stdout)
    }

    /// Runs a line of the shell in it, which must fail, and returns all it says.
    pub fn refuse(&self, line: &str) -> String {
        let output = self.attempt(line);
        assert!(!output.status.success(), "{line} succeeds\n{}", said(&output));
        said(&output)
    }

    /// Runs a line of the shell in it, however it ends.
    pub fn attempt(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.first.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--root",
            "--wd",
        ]);
        command.args(["--", "/usr/bin/env", "--ignore-environment", "DEBIAN_FRONTEND=noninteractive"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", line]).stdin(Stdio::null());
        command.output().expect("run nsenter")
    }

    /// What `look` finds, as soon as it finds something.
    pub fn within<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if let Some(status) = self.outer.try_wait().expect("wait for systemd-nspawn") {
                panic!("waiting for {what}: systemd-nspawn ended with {status}");
            }
            assert!(Instant::now() < end, "no {what} within {PATIENCE:?}");
            thread::sleep(PAUSE);
        }
    }

    /// The process that has number 1 in a namespace of its own, among the descendants of systemd-nspawn.
    fn find_first(&self) -> Option<Pid> {
        let mut below = vec![self.outer.id()];
        while let Some(pid) = below.pop() {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let status = fs::read_to_string(process.join("status")).ok()?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            if numbers.split_whitespace().skip(1).last() == Some("1") {
                return Some(Pid::from_raw(pid.try_into().ok()?));
            }
            let children =
                fs::read_to_string(process.join(format!("task/{pid}/children"))).unwrap_or_default();
            below.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        None
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its first process all others in it end.
        if self.first.as_raw() != 0 {
            let _ = kill(self.first, Signal::SIGKILL);
        }
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}
