//! The choice of who answers handshakes on an interface: the XDP program in the driver, if its frames arrive, or the
//! workers.

use crate::af_xdp::XdpError;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::CopyMode;
use crate::config::{Config, HandshakeMode};
use crate::system::driver::{DriverAnswers, driver_answers};

/// Loads the program for `interface`. The second value is true if it answers handshakes.
pub(super) fn load(
    config: &Config,
    interface: &Interface,
    mode: AttachMode,
    copy: CopyMode,
) -> Result<(Program, bool), XdpError> {
    let log = config.xdp_log.level();
    let refusal = |reason| XdpError::Handshake { interface: interface.name.clone(), reason };
    let fall_back = |reason: &dyn std::fmt::Display| {
        tracing::info!(interface = interface.name, "the handshake is answered through the ring: {reason}");
        Ok((Program::load(interface, log, false)?, false))
    };
    if config.handshake == HandshakeMode::Ring {
        return Ok((Program::load(interface, log, false)?, false));
    }
    if mode == AttachMode::Generic {
        return fall_back(&"the driver runs no program in generic mode");
    }
    match (driver_answers(&interface.name, copy == CopyMode::ZeroCopy), config.handshake) {
        (DriverAnswers::Yes, _) => {}
        (DriverAnswers::Unknown(reason), HandshakeMode::Driver) => {
            tracing::warn!(interface = interface.name, "{reason}");
        }
        (DriverAnswers::No(reason), HandshakeMode::Driver) => return Err(refusal(reason)),
        (DriverAnswers::Unknown(reason) | DriverAnswers::No(reason), _) => return fall_back(&reason),
    }
    match Program::load(interface, log, true) {
        Ok(program) => Ok((program, true)),
        Err(error) if config.handshake == HandshakeMode::Auto => fall_back(&error),
        Err(error) => Err(error),
    }
}
