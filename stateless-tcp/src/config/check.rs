//! Whether values that are valid by themselves can be had, and had together.

use std::net::IpAddr;
use std::path::Path;

use stateless_tcp_ebpf::abi::MAX_ADDRESSES;

use super::{Address, ConfigError, ListenAddress, Port};

/// The addresses, each once, where any are given.
pub(super) fn addresses(
    given: &[Address],
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
            "address {address} is a loopback address, which no client but this machine can reach, and \
             that is never answered: give an address of the interface"
        )));
    }
    if addresses.len() > MAX_ADDRESSES as usize {
        return Err(ConfigError::invalid(format!(
            "{} addresses are too many: {MAX_ADDRESSES} can be served",
            addresses.len()
        )));
    }
    Ok(Some(addresses))
}

pub(crate) fn check_ports(dns: Port, http: Port) -> Result<(), ConfigError> {
    if dns == http {
        return Err(ConfigError::invalid(format!(
            "--http-port {}: port {0} is already steered to DNS; give --dns-port or --http-port another",
            dns.get()
        )));
    }
    Ok(())
}

pub(crate) fn check_interface(name: &str) -> Result<(), ConfigError> {
    // The kernel's `dev_valid_name`.
    let valid = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|octet| octet == b'/' || octet == b':' || octet.is_ascii_whitespace());
    if valid {
        return Ok(());
    }
    Err(ConfigError::invalid(format!(
        "{name:?} cannot be an interface's name (1 to 15 octets, no slash, colon or space): \
         `ip link` lists the names"
    )))
}

/// Refuses a key where the name of a file with keys is expected, without saying it: errors and logs are read by others.
pub(crate) fn key_file(option: &str, path: Option<&Path>) -> Result<(), ConfigError> {
    let is_key = |path: &Path| {
        let name = path.as_os_str().as_encoded_bytes();
        name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
    };
    if path.is_some_and(is_key) {
        return Err(ConfigError::invalid(format!(
            "{option}: 32 hexadecimal digits are a key, not the name of a file: write them to a file of mode 0600, and \
             name that; before a name that looks so write ./"
        )));
    }
    Ok(())
}

/// What comes to a served port from outside never reaches the kernel, and so not the metrics.
pub(super) fn metrics(metrics: Option<ListenAddress>, served: [Port; 2]) -> Result<(), ConfigError> {
    let port = metrics.map(|address| address.get().port());
    if served.iter().any(|served| Some(served.get()) == port) {
        return Err(ConfigError::invalid(format!(
            "--metrics: port {} is served to clients; give metrics another",
            port.unwrap_or_default()
        )));
    }
    Ok(())
}
