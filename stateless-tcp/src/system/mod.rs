//! Facts of the kernel and the network interfaces. Nothing here changes anything or fails: a fact that cannot be observed
//! is an [`Observed`] error with the reason.
//!
//! | module | task |
//! |---|---|
//! | [`link`] | the facts of an interface |
//! | [`network`] | the interfaces and addresses of the network namespace |
//! | [`driver`] | the XDP abilities of its driver |
//! | [`proc`] | parsers of files in /proc |

pub(crate) mod driver;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod proc;

use std::net::IpAddr;

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

/// The IP addresses of these interfaces.
pub(crate) fn addresses(interfaces: &[&str]) -> nix::Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs()?;
    let selected = all.filter(|entry| interfaces.contains(&entry.interface_name.as_str()));
    Ok(selected
        .filter_map(|entry| entry.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect())
}
