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
mod zone;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::run::build_release;
use crate::setup::{self, Need};
use crate::vm::packages::{Qemu, Unpacked};
use crate::vm::{Kernel, directory};
use case::{Frames, Load, Nic, Server, Setup, Transport, word};
use image::Image;
use machine::Parts;
use plugin::Plugin;

/// Which cases, and what becomes of the figures.
#[derive(Args)]
pub(crate) struct Options {
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
}

/// Measures; the figures go to standard output.
pub(crate) fn card(options: &Options) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the virtual machines are x86-64, and run this machine's programs");
    setup::ensure(Need::Card)?;
    let servers = chosen(&options.server);
    let (setups, _) = Setup::all(&servers, &chosen(&options.nic), &chosen(&options.frames));
    let loads = Load::all(&chosen(&options.transport), &options.questions, &options.in_flight);
    let kernel = Unpacked::obtain(Kernel::Newest)?;
    let parts = Parts {
        qemu: Qemu::obtain()?,
        plugin: Plugin::build(&directory()?)?,
        image: Image::write(build_release()?, &servers, &kernel)?,
        kernel,
    };
    for setup in setups {
        parts.with_machine(setup, |machine| {
            println!("{setup}: idle {:.0} a second", machine.idle());
            for &load in &loads {
                if setup.server.answers(load.transport) {
                    let m = machine.measure(load)?;
                    println!(
                        "{setup}: {load}: {} = kernel {} user {}",
                        m.instructions.total() / m.questions,
                        m.instructions.kernel / m.questions,
                        m.instructions.user / m.questions
                    );
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What was chosen, or everything there is.
fn chosen<T: ValueEnum + Copy>(options: &[T]) -> Vec<T> {
    if options.is_empty() { T::value_variants().to_vec() } else { options.to_vec() }
}
