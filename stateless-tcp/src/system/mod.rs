//! Facts of the kernel and the network interfaces. Nothing here changes anything or fails: a fact that cannot be observed
//! is an [`Observed`] error with the reason.
//!
//! | module | task |
//! |---|---|
//! | [`link`] | the facts of an interface |
//! | [`network`] | the interfaces and addresses of the network namespace |
//! | [`reception`] | the judgement about an interface |
//! | [`driver`] | the XDP abilities of its driver |
//! | [`handshake`] | the place where its handshakes are answered |
//! | [`proc`] | parsers of files in /proc |

pub(crate) mod driver;
pub(crate) mod handshake;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod proc;
pub(crate) mod reception;

/// A fact, or the reason why it cannot be observed.
pub(crate) type Observed<T> = Result<T, String>;

/// The kernel's release. A unit may be denied /proc/sys, but not this system call.
pub(crate) fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into_owned())
}

/// Major and minor version of the kernel, if its release has them.
pub(crate) fn kernel_version() -> Option<(u32, u32)> {
    proc::version(&kernel_release())
}
