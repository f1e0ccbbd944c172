//! Socket options that have no name in the libraries: numbers, all of them.

use nix::errno::Errno;
use nix::libc;
use std::io;
use std::os::fd::AsRawFd;

/// Octets of an option.
const LENGTH: libc::socklen_t = 4;

/// Sets an option.
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
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, octets.as_ptr().cast(), LENGTH) };
    Ok(Errno::result(status).map(drop)?)
}

/// What an option is set to.
///
/// # Errors
/// The kernel's reason.
pub(super) fn get(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int) -> io::Result<i32> {
    let mut value = 0i32;
    let mut length = LENGTH;
    let out = (&raw mut value).cast();
    // SAFETY: `value` lives through the call, and `length` bounds what is written to it.
    let status = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, out, &raw mut length) };
    Errno::result(status)?;
    if length != LENGTH {
        return Err(io::Error::other(format!("an option of {length} octets instead of {LENGTH}")));
    }
    Ok(value)
}
