//! `cargo xtask bench card`: instructions that a question costs the server's machine, kernel, XDP programs and user space
//! alike, on an emulated network card.
//!
//! QEMU emulates the machine, and a plugin counts every instruction that it executes. The clients are outside of it, so all
//! of them are the server's. The figures do not depend on the speed or the load of the machine that measures.

mod case;
mod client;
pub(crate) mod guest;
mod image;
mod machine;
mod network;
mod plugin;
mod profile;
mod recorded;
mod report;
mod zone;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use nix::unistd::geteuid;

use crate::run::build_release;
use crate::setup::{self, Need};
use crate::vm::packages::{Qemu, Unpacked};
use crate::vm::{Kernel, directory};
use case::{Frames, Load, Nic, Server, Setup, Transport};
use image::Image;
use machine::{Machine, Measured, Parts};
use plugin::{Instructions, Plugin};
use profile::Profile;
use recorded::{LOADS, Recorded, SETUPS};
use report::{Environment, Report, Row};

/// Which cases, and what becomes of the figures.
#[derive(Args)]
pub(crate) struct CardOptions {
    /// Servers, with commas between them [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    server: Vec<Server>,
    /// Network cards, likewise
    #[arg(long, value_enum, value_delimiter = ',')]
    nic: Vec<Nic>,
    /// Ways of the frames, likewise
    #[arg(long, value_enum, value_delimiter = ',')]
    frames: Vec<Frames>,
    /// Transports, likewise
    #[arg(long, value_enum, value_delimiter = ',')]
    transport: Vec<Transport>,
    /// Questions a connection
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,20")]
    questions: Vec<u32>,
    /// Connections, over UDP questions, under way at a time
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,32,256")]
    in_flight: Vec<u32>,
    /// Also show the instructions of each function
    #[arg(long)]
    profile: bool,
    /// Also write the figures into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Instead compare a sample with the figures that the repository records, and fail if a question has become dearer
    #[arg(long, conflicts_with_all = SELECTION)]
    check: bool,
    /// Instead record that sample's figures in the repository
    #[arg(long, conflicts_with_all = SELECTION, conflicts_with = "check")]
    record: bool,
}

/// Options that mean nothing where the cases are given.
const SELECTION: [&str; 8] =
    ["server", "nic", "frames", "transport", "questions", "in_flight", "profile", "json"];
/// A case that seems dearer than recorded is measured so often: work that disturbs the machine never makes it cheaper.
const ATTEMPTS: u32 = 3;

/// Measures; the figures go to standard output.
pub(crate) fn card(options: &CardOptions) -> Result<()> {
    if options.check {
        return check();
    }
    if options.record {
        return record();
    }
    let counts = options.questions.iter().chain(&options.in_flight);
    ensure!(counts.clone().all(|count| *count > 0), "--questions and --in-flight are at least 1");
    let servers = chosen(&options.server);
    let (setups, impossible) = Setup::all(&servers, &chosen(&options.nic), &chosen(&options.frames));
    let loads = Load::all(&chosen(&options.transport), &options.questions, &options.in_flight);
    let parts = prepare(&servers)?;
    let (mut rows, mut profiles) = (Vec::new(), Vec::new());
    for setup in setups {
        let loads: Vec<Load> =
            loads.iter().copied().filter(|load| setup.server.answers(load.transport)).collect();
        if loads.is_empty() {
            continue;
        }
        parts.with_machine(setup, |machine| {
            let symbols =
                if options.profile { Some(parts.image.symbols(&network::read_symbols()?)?) } else { None };
            for load in loads {
                let measured = machine.measure(load)?;
                let row = row(setup, load, &measured);
                eprintln!("{}: {}", row.name(), row.instructions);
                if let Some(symbols) = &symbols {
                    profiles.push(Profile::new(row.name(), &measured.blocks, measured.questions, symbols));
                }
                rows.push(row);
            }
            Ok(())
        })?;
    }
    let report = Report::new(&parts, rows, profiles)?;
    println!("{report}");
    for (setup, reason) in impossible {
        println!("no {setup}: {reason}");
    }
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(())
}

/// Compares the sample with what is recorded.
pub(crate) fn check() -> Result<()> {
    let recorded = Recorded::read()?;
    let parts = prepare(&[])?;
    let here = Environment::of(&parts)?;
    let rows = sample(&parts, |machine, load, setup| {
        let mut least = row(setup, load, &machine.measure(load)?);
        for _ in 1..ATTEMPTS {
            if recorded.is_dearer(&here, &least) {
                let again = row(setup, load, &machine.measure(load)?);
                least = if again.instructions < least.instructions { again } else { least };
            }
        }
        Ok(least)
    })?;
    print!("{}", recorded.compare(&here, &rows)?);
    Ok(())
}

/// Records the sample's figures.
fn record() -> Result<()> {
    let parts = prepare(&[])?;
    let rows = sample(&parts, |machine, load, setup| {
        let figures = (0..ATTEMPTS).map(|_| Ok(row(setup, load, &machine.measure(load)?)));
        let mut figures = figures.collect::<Result<Vec<_>>>()?;
        figures.sort_by_key(|row| row.instructions);
        Ok(figures.swap_remove(figures.len() / 2))
    })?;
    let path = Recorded::new(Environment::of(&parts)?, rows).write()?;
    println!("recorded in {}", path.display());
    Ok(())
}

/// Measures all cases that are recorded, each by `measure`.
fn sample(
    parts: &Parts,
    measure: impl Fn(&mut Machine, Load, Setup) -> Result<Row> + Sync,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for setup in SETUPS {
        let of_setup = parts.with_machine(setup, |machine| {
            LOADS.iter().map(|load| measure(machine, *load, setup)).collect::<Result<Vec<_>>>()
        })?;
        for row in &of_setup {
            eprintln!("{}: {}", row.name(), row.instructions);
        }
        rows.extend(of_setup);
    }
    Ok(rows)
}

/// Builds and fetches all that the machines are made of. This program is always part of it, of the others only `servers`.
fn prepare(servers: &[Server]) -> Result<Parts> {
    ensure!(cfg!(target_arch = "x86_64"), "the virtual machines are x86-64, and run this machine's programs");
    ensure!(geteuid().is_root(), "only root can make the network namespace of the clients: run this as root");
    network::check()?;
    setup::ensure(Need::Card)?;
    let kernel = Unpacked::obtain(Kernel::Newest)?;
    Ok(Parts {
        qemu: Qemu::obtain()?,
        plugin: Plugin::build(&directory()?)?,
        image: Image::write(build_release()?, servers, &kernel)?,
        kernel,
    })
}

fn row(setup: Setup, load: Load, measured: &Measured) -> Row {
    let Instructions { kernel, user } = measured.instructions;
    let each = |instructions| instructions / measured.questions;
    let parts = Instructions { kernel: each(kernel), user: each(user) };
    Row { setup, load, instructions: each(kernel + user), parts }
}

/// What was chosen, or everything there is.
fn chosen<T: ValueEnum + Copy>(options: &[T]) -> Vec<T> {
    if options.is_empty() { T::value_variants().to_vec() } else { options.to_vec() }
}
