//! What is served, made of the configuration.

use crate::config::Config;
use crate::service::Service;
use crate::service::dns::{Dns, DnsOptions};
use crate::service::http::Http;
use anyhow::Result;
use std::net::IpAddr;
use std::sync::Arc;

/// Reads zones and files, or takes the built-in ones where none are named.
///
/// # Errors
/// Whatever is wrong with a zone or the files.
pub fn load(config: &Config) -> Result<Vec<(u16, Arc<dyn Service>)>> {
    let options = DnsOptions { minimal_any: config.minimal_any };
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
