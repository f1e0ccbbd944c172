//! What is served, made of the configuration.

use crate::config::Config;
use crate::keys;
use crate::service::Service;
use crate::service::dns::{Cookies, Dns, DnsOptions};
use crate::service::http::Http;
use anyhow::{Context as _, Result};
use stateless_tcp_ebpf::cookie::Keys;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Reads zones and files, or takes the built-in ones where none are named. DNS cookies that must not depend on the time
/// when they are asked for say `now`; without a secret of their own they are made by one that `keys` give.
///
/// # Errors
/// Whatever is wrong with a zone or the files.
pub fn load(config: &Config, keys: &Keys, now: SystemTime) -> Result<Vec<(u16, Arc<dyn Service>)>> {
    let cookies = match &config.dns_cookie_secret_file {
        Some(path) => Cookies::new(keys::load(path).context("--dns-cookie-secret-file")?.current, now),
        None => Cookies::derived(&keys.current, now),
    };
    let options = DnsOptions {
        minimal_any: config.minimal_any,
        // Configuration has whole seconds, the wire units of 100 ms (RFC 7828 section 3.1).
        keepalive: config.dns_keepalive.saturating_mul(10),
        cookies: Some(cookies),
    };
    let dns =
        if config.zones.is_empty() { Dns::builtin(options) } else { Dns::load(&config.zones, &options)? };
    let http = match &config.http_root {
        Some(root) => Http::load(root)?,
        None => Http::builtin(),
    };
    Ok(vec![(config.dns_port, Arc::new(dns)), (config.http_port, Arc::new(http))])
}

/// One line that says what is served where.
#[must_use]
pub fn describe(config: &Config, addresses: &[IpAddr]) -> String {
    let zones = match config.zones.len() {
        0 => "built-in zone".to_owned(),
        1 => "1 zone".to_owned(),
        count => format!("{count} zones"),
    };
    let files = if config.http_root.is_some() { "files" } else { "built-in page" };
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let (dns, http) = (config.dns_port, config.http_port);
    format!("{zones} at port {dns} and {files} at port {http} of {}", addresses.join(", "))
}
