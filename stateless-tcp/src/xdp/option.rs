//! Socket options that have no name in the libraries.

use nix::errno::Errno;
use nix::libc;
use std::io;
use std::os::fd::AsRawFd;

/// Sets an option that is a number.
///
/// # Errors
/// The kernel's reason; `ENOPROTOOPT`: it does not know the option.
pub(super) fn set(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: i32,
) -> io::Result<()> {
    let octets = value.to_ne_bytes();
    // SAFETY: `octets` lives through the call, and is as long as is stated.
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, octets.as_ptr().cast(), 4) };
    Ok(Errno::result(status).map(drop)?)
}
