//! The acceptance set on the drivers of real network cards, in virtual machines: Debian's kernels, QEMU's cards. The cases
//! and what is expected of each kernel and card are the guest program's (`tests/src/vm`).

pub(crate) mod initramfs;
mod machine;
pub(crate) mod packages;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::process::run;
use crate::run::{build_release, cargo, target_directory};
use initramfs::Initramfs;
use machine::Boot;
use packages::{Qemu, Unpacked};

/// Which machines.
#[derive(Args)]
pub(crate) struct Machines {
    /// Kernel of the virtual machines; may be repeated
    #[arg(long, value_name = "VERSION", value_enum, requires = "vm")]
    kernel: Vec<Kernel>,
    /// Network card of the virtual machines; may be repeated
    #[arg(long, value_name = "NIC", value_enum, requires = "vm")]
    nic: Vec<NicModel>,
}

/// A kernel, by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's
    #[value(name = "6.12")]
    V6_12,
    /// That of Debian's unstable release
    Newest,
}

/// A network card that QEMU plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NicModel {
    Igb,
    VirtioNet,
    E1000e,
}

impl Machines {
    /// The one that says most: its kernel is a stable release's.
    pub(crate) fn sample() -> Self {
        Self { kernel: vec![Kernel::V6_12], nic: vec![NicModel::VirtioNet] }
    }
}

impl Kernel {
    /// The release that has it.
    fn suite(self) -> &'static str {
        match self {
            Kernel::V6_1 => "bookworm",
            Kernel::V6_12 => "trixie",
            Kernel::Newest => "sid",
        }
    }
}

impl NicModel {
    /// The device, as QEMU names it, with its options.
    fn device(self) -> &'static str {
        match self {
            NicModel::Igb => "igb",
            // Zero-copy takes a device that leaves addresses to the kernel's DMA mapping, as that of a cloud does.
            // With rings that are as large as those of other cards can be.
            NicModel::VirtioNet => {
                "virtio-net-pci,mq=on,vectors=6,disable-legacy=on,iommu_platform=on,rx_queue_size=1024"
            }
            NicModel::E1000e => "e1000e",
        }
    }

    /// Queues of the link's end: a virtio card has as many, the others choose queues themselves.
    fn tap_queues(self) -> usize {
        if self == NicModel::VirtioNet { machine::QUEUES } else { 1 }
    }
}

/// Runs the acceptance set on each kernel with each card: those of `machines`, or all.
pub(crate) fn test(machines: &Machines) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the virtual machines are x86-64, and run this machine's programs");
    let responder = build_release()?;
    let guest = build_guest()?;
    let qemu = Qemu::obtain()?;
    let mut failed = Vec::new();
    for kernel in chosen(&machines.kernel) {
        let unpacked = Unpacked::obtain(kernel)?;
        // A file of its own: another run may be reading another.
        let initramfs = tempfile::NamedTempFile::new_in(directory()?).context("creating the initramfs")?;
        let initramfs = initramfs.path();
        Initramfs::write(initramfs, &guest, &responder, &unpacked.modules)?;
        for nic in chosen(&machines.nic) {
            let name = format!("{}-{}", word(&kernel), word(&nic));
            println!("-- {name} ({})", unpacked.package);
            let log = directory()?.join(format!("{name}.log"));
            let begun = Instant::now();
            let boot = Boot { qemu: &qemu, kernel: &unpacked.image, initramfs, nic };
            match boot.run(&log) {
                Ok(cases) => println!("-- {name}: {cases} cases in {} s", begun.elapsed().as_secs()),
                Err(error) => {
                    println!("{}", fs::read_to_string(&log).unwrap_or_default());
                    println!("-- {name}: FAILED: {error:#} (console above and in {})", log.display());
                    failed.push(name);
                }
            }
        }
    }
    if !failed.is_empty() {
        bail!("on {}", failed.join(", "));
    }
    Ok(())
}

/// The first process of the machines: a program of the tests' crate.
fn build_guest() -> Result<PathBuf> {
    run(cargo().args(["build", "--locked", "--package", "stateless-tcp-tests", "--bin", "vm-guest"]))?;
    Ok(target_directory().join("debug/vm-guest"))
}

/// The chosen ones, or all.
fn chosen<T: ValueEnum + Copy>(options: &[T]) -> Vec<T> {
    if options.is_empty() { T::value_variants().to_vec() } else { options.to_vec() }
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Directory of the machines' parts.
pub(crate) fn directory() -> Result<PathBuf> {
    let directory = target_directory().join("vm");
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
}
