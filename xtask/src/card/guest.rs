//! The guest's side: this program is the first process of the virtual machine. It loads the card's driver, configures the
//! interface, starts the server, and sends the addresses of its functions to the host if that connects to `SYMBOLS`.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use super::network::{CLIENT, CLIENT_MAC, INTERFACE, PREFIX, SERVER, SYMBOLS};
use crate::process::run;

/// The kernel's parameter with the server's command line; the kernel hands it on as a variable.
pub(super) const COMMAND: &str = "CARD_SERVER";
/// The beginning of lines that the host looks for on the console.
pub(super) const SAID: &str = "card: ";
/// How long the card may take to appear.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether this process is the one that a guest's kernel has started.
pub(crate) fn is_first_process() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}

/// Serves until the host ends the machine; switches it off if the server ends before.
pub(crate) fn main() {
    let Err(error) = serve();
    println!("{SAID}{error:#}");
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    println!("{SAID}switching off: {error}");
}

fn serve() -> Result<Infallible> {
    for (kind, place) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {place}"))?;
    }
    // Profiles name the functions of XDP programs, too.
    fs::write("/proc/sys/net/core/bpf_jit_kallsyms", "1").context("naming BPF programs in kallsyms")?;
    load_modules()?;
    configure_interface()?;
    let mut server = start_server()?;
    let id = server.id();
    let listener = TcpListener::bind(SYMBOLS).with_context(|| format!("listening on {SYMBOLS}"))?;
    thread::spawn(move || send_symbols(&listener, id));
    let status = server.wait().context("waiting for the server")?;
    bail!("the server has ended: {status}");
}

/// Loads the modules in the order of their names.
fn load_modules() -> Result<()> {
    let entries = fs::read_dir("/modules").context("reading /modules")?;
    let mut modules = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    modules.sort();
    for module in modules {
        finit_module(File::open(&module)?, c"", ModuleInitFlags::empty())
            .with_context(|| format!("loading {}", module.display()))?;
    }
    Ok(())
}

fn configure_interface() -> Result<()> {
    let address = format!("/sys/class/net/{INTERFACE}");
    let end = Instant::now() + PATIENCE;
    while !fs::exists(&address)? {
        if Instant::now() > end {
            bail!("the card's driver has made no interface {INTERFACE}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    for arguments in [
        "link set lo up".to_owned(),
        format!("address add {SERVER}/{PREFIX} dev {INTERFACE}"),
        // Nothing is to be heard on the link but the clients and the server.
        format!("link set {INTERFACE} addrgenmode none up"),
        format!("neighbour replace {CLIENT} lladdr {CLIENT_MAC} dev {INTERFACE} nud permanent"),
    ] {
        run(Command::new("/bin/ip").args(arguments.split_whitespace()))?;
    }
    Ok(())
}

fn start_server() -> Result<Child> {
    let line = std::env::var(COMMAND).with_context(|| format!("the kernel was given no {COMMAND}"))?;
    let mut words = line.split_whitespace();
    let program = words.next().context("the server's command line is empty")?;
    Command::new(program)
        .args(words)
        .env_clear()
        .env("PATH", "/bin")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {line}"))
}

/// Sends the memory map of the process, an empty line, and the kernel's functions, to each who connects.
fn send_symbols(listener: &TcpListener, process: u32) {
    for stream in listener.incoming().map_while(Result::ok) {
        let send = || -> std::io::Result<()> {
            let mut out = BufWriter::new(&stream);
            out.write_all(&fs::read(format!("/proc/{process}/maps"))?)?;
            out.write_all(b"\n")?;
            let is_function =
                |line: &String| matches!(line.as_bytes().get(17), Some(b't' | b'T' | b'w' | b'W'));
            for line in BufReader::new(File::open("/proc/kallsyms")?).lines() {
                let line = line?;
                if is_function(&line) {
                    writeln!(out, "{line}")?;
                }
            }
            out.flush()
        };
        if let Err(error) = send() {
            println!("{SAID}sending symbols: {error}");
        }
    }
}
