//! Busy polling: a worker that waits has the kernel look for frames itself, and the card need not interrupt
//! (`Documentation/networking/napi.rst` of the kernel's source).

use super::interface::Interface;
use super::socket::Socket;
use super::{XdpError, sockopt};
use nix::libc;
use std::time::Duration;

// asm-generic/socket.h
const SO_BUSY_POLL: libc::c_int = 46;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Frames that the kernel takes from the card at a time, as it does unasked.
const BUDGET: i32 = 64;

/// Lets `socket` poll busily for as long as `busy`.
///
/// # Errors
/// The kernel's reason.
pub fn allow(socket: &Socket, interface: &Interface, busy: Duration) -> Result<(), XdpError> {
    let microseconds = busy.as_micros().try_into().unwrap_or(i32::MAX);
    let options = [
        ("SO_PREFER_BUSY_POLL", SO_PREFER_BUSY_POLL, 1),
        ("SO_BUSY_POLL", SO_BUSY_POLL, microseconds),
        ("SO_BUSY_POLL_BUDGET", SO_BUSY_POLL_BUDGET, BUDGET),
    ];
    for (what, name, value) in options {
        sockopt::set(socket, libc::SOL_SOCKET, name, value).map_err(|reason| XdpError::BusyPoll {
            interface: interface.name.clone(),
            what,
            reason,
        })?;
    }
    Ok(())
}
