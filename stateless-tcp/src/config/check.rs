//! Cross-field validation.

use super::{ConfigError, ListenAddress, ServedAddress, Services};
use stateless_tcp_ebpf::abi::MAX_ADDRESSES;
use std::net::IpAddr;
use std::path::Path;

/// The given addresses, sorted and without duplicates; `None` if none is given.
pub(super) fn addresses(
    given: &[ServedAddress],
    interfaces: &[String],
) -> Result<Option<Vec<IpAddr>>, ConfigError> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut addresses: Vec<_> = given.iter().map(|address| address.get()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let is_live = !interfaces.is_empty();
    if let Some(address) = addresses.iter().find(|address| address.is_loopback() && is_live) {
        return Err(ConfigError::invalid(format!(
            "address {address} is a loopback address, which only this machine can reach, and which is never \
             answered: give an address of the interface"
        )));
    }
    if addresses.len() > MAX_ADDRESSES as usize {
        return Err(ConfigError::invalid(format!(
            "{} addresses are too many: at most {MAX_ADDRESSES} can be served",
            addresses.len()
        )));
    }
    Ok(Some(addresses))
}

/// Refuses interface names that the kernel does not accept (`dev_valid_name`).
pub(crate) fn check_interface(name: &str) -> Result<(), ConfigError> {
    let valid = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace());
    if valid {
        return Ok(());
    }
    Err(ConfigError::invalid(format!(
        "{name:?} is not the name of an interface (1 to 15 bytes, no slash, colon or space): `ip link` lists the names"
    )))
}

/// Refuses a key in place of the name of a key file. The error does not repeat it, as others read errors and logs.
pub(crate) fn check_key_file(option: &str, path: Option<&Path>) -> Result<(), ConfigError> {
    let is_key = |path: &Path| {
        let name = path.as_os_str().as_encoded_bytes();
        name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
    };
    if path.is_some_and(is_key) {
        return Err(ConfigError::invalid(format!(
            "{option}: 32 hexadecimal digits are a key, not the name of a file: write them to a file of mode 0600, and \
             give its name; if this is the name of a file, put ./ before it"
        )));
    }
    Ok(())
}

/// Refuses a metrics listener on a served port: its clients' segments would never reach the kernel.
pub(super) fn metrics(metrics: Option<ListenAddress>, services: &Services) -> Result<(), ConfigError> {
    let Some(port) = metrics.map(|address| address.get().port()) else { return Ok(()) };
    match services.ports().iter().find(|service| service.port == port) {
        Some(service) => Err(ConfigError::invalid(format!(
            "--metrics: {} is served on port {port}; choose another port for metrics",
            service.name
        ))),
        None => Ok(()),
    }
}

/// Refuses options that have no effect without `option`. Each is a name, and true if it was given.
pub(super) fn requires(option: &str, given: &[(bool, &str)]) -> Result<(), ConfigError> {
    match given.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(ConfigError::invalid(format!(
            "{name} has no effect without {option}: give that, too, or leave out {name}"
        ))),
        None => Ok(()),
    }
}

/// Refuses two options that exclude each other for this reason, if both were given.
pub(super) fn excludes(both: bool, one: &str, other: &str, reason: &str) -> Result<(), ConfigError> {
    if !both {
        return Ok(());
    }
    Err(ConfigError::invalid(format!(
        "{one} and {other} exclude each other: {reason}; leave out one of them"
    )))
}
