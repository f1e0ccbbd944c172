//! Loads the program of an interface for the place where its handshakes are answered: the XDP program in the driver, or the
//! workers.

use crate::af_xdp::XdpError;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::CopyMode;
use crate::config::{Config, HandshakeMode};
use crate::system::driver::{DriverAnswers, driver_answers};
use crate::system::handshake::{HandshakeChoice, HandshakePlace, HandshakeReason, decide};

/// Loads the program for `interface`, and logs the choice of `--handshake auto`.
pub(super) fn load(
    config: &Config,
    interface: &Interface,
    mode: AttachMode,
    copy: CopyMode,
) -> Result<(Program, HandshakeChoice), XdpError> {
    let log = config.xdp_log.level();
    let load = |choice: &HandshakeChoice| Program::load(interface, log, choice.is_driver());
    let zero_copy = copy == CopyMode::ZeroCopy;
    let answers = driver_answers(&interface.name, zero_copy);
    if let (HandshakeMode::Driver, DriverAnswers::Unknown(reason)) = (config.handshake, &answers) {
        tracing::warn!(interface = interface.name, "{reason}");
    }
    let choice = decide(config.handshake, answers, mode != AttachMode::Generic, zero_copy)
        .map_err(|reason| XdpError::Handshake { interface: interface.name.clone(), reason })?;
    let (program, choice) = match load(&choice) {
        Err(error) if config.handshake == HandshakeMode::Auto && choice.is_driver() => {
            let reason = HandshakeReason::Impossible(error.to_string());
            let choice = HandshakeChoice { place: HandshakePlace::Ring, reason };
            (load(&choice)?, choice)
        }
        program => (program?, choice),
    };
    if choice.reason != HandshakeReason::Configured {
        let HandshakeChoice { place, reason } = &choice;
        tracing::info!(interface = interface.name, "the handshake is answered {place}: {reason}");
    }
    Ok((program, choice))
}
