//! A virtual machine with two network cards on one link, and what its guest program says on the console.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};

use super::NicModel;
use super::packages::Qemu;
use crate::process::run;

/// Receive queues of each card, and processors to serve them.
pub(super) const QUEUES: usize = 2;
/// Prefix of a line of the guest program.
const SAID: &str = "vm: ";
/// Time limit for a machine: ten times what one takes on two busy cores.
const PATIENCE: Duration = Duration::from_mins(20);
/// The cards' addresses, by which the guest program knows them: the server's, the client's.
const ADDRESSES: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// Arguments of the guest program.
pub(super) struct Boot<'a> {
    pub(super) qemu: &'a Qemu,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) nic: NicModel,
}

impl Boot<'_> {
    /// Runs the machine to its end. Its console goes into the file `log`; every case must have been said to be well.
    pub(super) fn run(&self, log: &Path) -> Result<usize> {
        // The link is in a network namespace of this thread's own, and gone with it and QEMU.
        thread::scope(|scope| {
            let machine = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
                link(self.nic.tap_queues())?;
                let mut machine = VirtualMachine(self.command().spawn().context("starting QEMU")?);
                let outcome = judge(&machine.console(), &mut File::create(log)?);
                drop(machine);
                outcome
            });
            machine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn command(&self) -> Command {
        let mut command = self.qemu.command();
        command.args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-m", "1024"]);
        command.args(["-smp", &QUEUES.to_string(), "-nodefaults", "-no-reboot", "-display", "none"]);
        command.args(["-serial", "stdio"]).arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        command.args(["-append", "console=ttyS0 quiet panic=-1"]);
        for (end, address) in ADDRESSES.iter().enumerate() {
            let queues = self.nic.tap_queues();
            command.arg("-netdev");
            command.arg(format!(
                "tap,id=end{end},ifname=tap{end},queues={queues},script=no,downscript=no,vhost=off"
            ));
            // Each on a bus of its own, where its virtual functions have room.
            command.args(["-device", &format!("pcie-root-port,id=port{end},chassis={end}")]);
            let device = self.nic.device();
            let card = format!("{device},bus=port{end},netdev=end{end},mac={address},romfile=");
            command.args(["-device", &card]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// Two ends of so many queues and a bridge between them, in this namespace.
fn link(queues: usize) -> Result<()> {
    let ip = |line: &str| run(Command::new("ip").args(line.split_whitespace()));
    ip("link add bridge type bridge")?;
    for end in ["tap0", "tap1"] {
        let several = if queues > 1 { "multi_queue" } else { "" };
        ip(&format!("tuntap add dev {end} mode tap {several}"))?;
    }
    for (name, master) in [("bridge", ""), ("tap0", "master bridge"), ("tap1", "master bridge")] {
        // Nothing is to be heard on the link but the cards: no addresses, no solicitations.
        ip(&format!("link set {name} {master} addrgenmode none up"))?;
    }
    Ok(())
}

/// A running QEMU; dropped, it is killed.
struct VirtualMachine(Child);

impl VirtualMachine {
    /// The console's lines, until it ends.
    fn console(&mut self) -> Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        if let Some(output) = self.0.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        receiver
    }
}

impl Drop for VirtualMachine {
    fn drop(&mut self) {
        // Fails where it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the console: `plan N`, then `ok NAME` or `not ok NAME: REASON` as often. Returns N if all are well.
fn judge(console: &Receiver<String>, log: &mut File) -> Result<usize> {
    let end = Instant::now() + PATIENCE;
    let (mut planned, mut passed, mut failed) = (None, 0, Vec::new());
    loop {
        let line = match console.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("it has not ended after {} minutes", PATIENCE.as_secs() / 60)
            }
        };
        writeln!(log, "{line}")?;
        let Some((_, said)) = line.split_once(SAID) else { continue };
        println!("   {said}");
        if let Some(count) = said.strip_prefix("plan ") {
            planned = Some(count.parse::<usize>().with_context(|| format!("its plan is no number: {said}"))?);
        } else if said.starts_with("ok ") {
            passed += 1;
        } else if let Some(case) = said.strip_prefix("not ok ") {
            failed.push(case.to_owned());
        }
    }
    let planned = planned.context("the guest program did not start")?;
    ensure!(failed.is_empty(), "{} of {planned} cases failed: {}", failed.len(), failed.join("; "));
    ensure!(passed == planned, "it ended after {passed} of {planned} cases");
    Ok(planned)
}
