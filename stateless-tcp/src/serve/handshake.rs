//! Where the handshake is answered on an interface: in the driver, where what is sent from there arrives, or through the
//! ring.

use crate::af_xdp::XdpError;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::program::Program;
use crate::af_xdp::socket::CopyMode;
use crate::commands::doctor::{Transmits, answers};
use crate::config::{Config, Handshake};

/// The program for `interface`, and whether it answers by itself.
pub(super) fn load(
    config: &Config,
    interface: &Interface,
    attach: AttachMode,
    copy: CopyMode,
) -> Result<(Program, bool), XdpError> {
    let log = config.xdp_log.level();
    let refusal = |reason| XdpError::Handshake { interface: interface.name.clone(), reason };
    let fall_back = |reason: &dyn std::fmt::Display| {
        tracing::info!(interface = interface.name, "the handshake is answered through the ring: {reason}");
        Ok((Program::load(interface, log, false)?, false))
    };
    if config.handshake == Handshake::Ring {
        return Ok((Program::load(interface, log, false)?, false));
    }
    if attach == AttachMode::Generic {
        return fall_back(&"in generic mode no driver is asked");
    }
    match (answers(&interface.name, copy == CopyMode::ZeroCopy), config.handshake) {
        (Transmits::Yes, _) => {}
        (Transmits::Unknown(reason), Handshake::Driver) => {
            tracing::warn!(interface = interface.name, "{reason}");
        }
        (Transmits::No(reason), Handshake::Driver) => return Err(refusal(reason)),
        (Transmits::Unknown(reason) | Transmits::No(reason), _) => return fall_back(&reason),
    }
    match Program::load(interface, log, true) {
        Ok(program) => Ok((program, true)),
        Err(error) if config.handshake == Handshake::Auto => fall_back(&error),
        Err(error) => Err(error),
    }
}
