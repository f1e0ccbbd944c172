//! The virtual machine: one processor, one card of one queue, and the plugin that counts what it executes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::gettid;

use super::case::{Frames, Load, Nic, Setup, Transport};
use super::client;
use super::guest::COMMAND;
use super::image::{Image, command};
use super::network::{self, SERVER_MAC, TAP};
use super::plugin::{self, Blocks, Counter, Instructions, Plugin};
use crate::process::read;
use crate::vm::directory;
use crate::vm::packages::{Qemu, Unpacked};

/// How long the server may take to answer: thirty times what it takes on two idle cores.
const PATIENCE: Duration = Duration::from_mins(5);
/// Timers of a connection that has ended run out in this time, as far as they are short.
const SETTLE: Duration = Duration::from_millis(200);
/// Over this time the idle guest is watched.
const IDLE: Duration = Duration::from_secs(2);
/// Attempts to measure without a segment that was sent again.
const ATTEMPTS: u32 = 3;

/// What all machines are made of.
pub(super) struct Parts {
    pub(super) qemu: Qemu,
    pub(super) kernel: Unpacked,
    pub(super) plugin: Plugin,
    pub(super) image: Image,
}

/// A running machine whose server answers.
pub(super) struct Machine {
    qemu: Process,
    counter: Counter,
    console: Console,
    idle: Rate,
}

/// What a load took.
pub(super) struct Measured {
    /// Of the whole guest, less what it executes when idle.
    pub(super) instructions: Instructions,
    pub(super) blocks: Blocks,
    pub(super) questions: u64,
}

/// Instructions a second.
#[derive(Clone, Copy, Default)]
struct Rate {
    kernel: f64,
    user: f64,
}

impl Parts {
    /// Boots a machine in a network namespace of its own, has `measure` use it, and ends it.
    pub(super) fn with_machine<T: Send>(
        &self,
        setup: Setup,
        measure: impl FnOnce(&mut Machine) -> Result<T> + Send,
    ) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                network::enter()?;
                go_first();
                let mut machine = self.boot(setup)?;
                let outcome = machine.start().and_then(|()| measure(&mut machine));
                outcome.map_err(|error| machine.blame(&error))
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .with_context(|| setup.to_string())
    }

    fn boot(&self, setup: Setup) -> Result<Machine> {
        let scratch = tempfile::tempdir().context("creating a temporary directory")?;
        let (listener, socket) = plugin::listen(scratch.path())?;
        let mut command = self.qemu.command();
        command.args(["-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "1024", "-smp", "1"]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(self.image.path());
        command.args(["-append", &parameters(setup)]);
        command.args(["-plugin", &self.plugin.option(&socket)]);
        command.args(["-netdev", &format!("tap,id=link,ifname={TAP},script=no,downscript=no,vhost=off")]);
        command.args(["-device", "pcie-root-port,id=card-port,chassis=1"]);
        let device = device(setup);
        command.args(["-device", &format!("{device},bus=card-port,netdev=link,mac={SERVER_MAC},romfile=")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut qemu = Process(command.spawn().context("starting QEMU")?);
        let log = directory()?.join(format!("card-{}.log", setup.file_name()));
        let console = Console::read(&mut qemu.0, &log)?;
        let counter = Counter::accept(&listener, &mut qemu.0)?;
        Ok(Machine { qemu, counter, console, idle: Rate::default() })
    }
}

impl Machine {
    /// Waits for the server, warms it up, and looks what the idle guest executes.
    fn start(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !client::is_answered() {
            if self.qemu.0.try_wait()?.is_some() {
                bail!("the machine has ended before its server answered");
            }
            if Instant::now() > end {
                bail!("the server does not answer after {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        client::ask(Load { transport: Transport::Tcp, questions: 1, in_flight: 16 }, 2_000)?;
        thread::sleep(Duration::from_secs(1));
        self.counter.take()?;
        let begun = Instant::now();
        thread::sleep(IDLE);
        self.idle = Rate::of(Instructions::of(&self.counter.take()?), begun.elapsed());
        Ok(())
    }

    /// Measures what `load` takes.
    pub(super) fn measure(&mut self, load: Load) -> Result<Measured> {
        for attempt in 1.. {
            let before = network::retransmitted()?;
            self.counter.take()?;
            let begun = Instant::now();
            client::ask(load, load.connections())?;
            thread::sleep(SETTLE);
            let blocks = self.counter.take()?;
            let instructions = self.idle.subtract(Instructions::of(&blocks), begun.elapsed());
            let again = network::retransmitted()? - before;
            if again > 0 && attempt < ATTEMPTS {
                eprintln!("{load}: {again} segments were sent again; measuring once more");
                continue;
            }
            let questions = u64::from(load.connections()) * u64::from(load.questions);
            return Ok(Measured { instructions, blocks, questions });
        }
        bail!("no attempt was made")
    }

    /// Adds the end of the console to an error.
    fn blame(&mut self, error: &anyhow::Error) -> anyhow::Error {
        // What the guest said last may be on its way.
        thread::sleep(SETTLE);
        anyhow!("{error:#}; the guest's console ends with:\n{}", self.console.end())
    }
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn of(instructions: Instructions, time: Duration) -> Self {
        let rate = |count: u64| count as f64 / time.as_secs_f64();
        Self { kernel: rate(instructions.kernel), user: rate(instructions.user) }
    }

    /// `instructions` without those of so long a time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and far below 2^64"
    )]
    fn subtract(self, instructions: Instructions, time: Duration) -> Instructions {
        let idle = |rate: f64| (rate * time.as_secs_f64()) as u64;
        Instructions {
            kernel: instructions.kernel.saturating_sub(idle(self.kernel)),
            user: instructions.user.saturating_sub(idle(self.user)),
        }
    }
}

/// Has this thread and what it starts go before the rest of the machine. Otherwise other work delays clients and guest: segments
/// are sent again, and more frames find the guest asleep.
fn go_first() {
    let thread = gettid().to_string();
    let first = read(Command::new("chrt").args(["--rr", "--pid", "1", &thread]));
    if let Err(error) = first {
        eprintln!("note: other work on this machine will show in the figures: {error:#}");
    }
}

/// The kernel's parameters.
fn parameters(setup: Setup) -> String {
    // Addresses are the same in each run, for profiles and for hash tables.
    format!("console=ttyS0 quiet panic=-1 nokaslr norandmaps {COMMAND}=\"{}\"", command(setup))
}

/// The device, as QEMU names it, with its options.
fn device(setup: Setup) -> &'static str {
    match (setup.nic, setup.frames) {
        (Nic::Igb, _) => "igb",
        // Zero-copy takes a device that leaves addresses to the kernel's DMA mapping.
        (Nic::VirtioNet, Frames::ZeroCopy) => {
            "virtio-net-pci,disable-legacy=on,iommu_platform=on,rx_queue_size=1024"
        }
        (Nic::VirtioNet, _) => "virtio-net-pci,disable-legacy=on,rx_queue_size=1024",
    }
}

/// A running QEMU; dropped, it is killed.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the guest writes on its console, also into a file.
struct Console(Arc<Mutex<Vec<String>>>);

impl Console {
    /// Lines that an error shows.
    const LINES: usize = 30;

    fn read(qemu: &mut Child, log: &Path) -> Result<Self> {
        let mut file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let output = qemu.stdout.take().context("QEMU has no standard output")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                // The log is a convenience.
                let _ = writeln!(file, "{line}");
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Self(lines))
    }

    fn end(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines[lines.len().saturating_sub(Self::LINES)..].join("\n")
    }
}
