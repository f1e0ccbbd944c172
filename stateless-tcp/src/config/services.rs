//! The TCP services: the options that name each, and its port. All services are listed here, and created in
//! [`build`](crate::serving::build).
//!
//! A service runs if an option names its content. The ports of the others stay the kernel's.

use super::check::requires;
use super::{Bounded, ConfigError, RunOptions};
use crate::services::dns::ZoneOptions;
use crate::services::dns::relay::DnsRelayOptions;
use crate::services::http::{FileOptions, HttpRelayOptions};
use std::path::PathBuf;

/// A TCP port other than 0.
pub type Port = Bounded<1, 65_535>;

const DNS_PORT: u16 = 53;
const HTTP_PORT: u16 = 80;

/// The options that name the content of each service, for errors.
const NAMES_DNS: &str = "--zone, --zone-dir, --dns-relay or --demo";
const NAMES_HTTP: &str = "--http-root, --http-relay or --demo";

/// The services that run. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// DNS, if it runs.
    pub dns: Option<Served<DnsContent>>,
    /// HTTP, if it runs.
    pub http: Option<Served<HttpContent>>,
    /// Built-in content is served although nobody asked for it: no option names any.
    pub unnamed: bool,
}

/// A service that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served<C> {
    /// Its port.
    pub port: u16,
    /// The content that it serves.
    pub content: C,
}

/// The content of DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsContent {
    /// The built-in zone.
    Builtin,
    /// Zone files.
    Zones(ZoneOptions),
    /// Answers of name servers.
    Relay(DnsRelayOptions),
}

/// The content of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpContent {
    /// The built-in pages.
    Builtin,
    /// The files of a directory.
    Files(PathBuf, FileOptions),
    /// Responses of an HTTP server.
    Relay(HttpRelayOptions),
}

/// A service that runs, apart from its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The service's name.
    pub name: &'static str,
    /// The flag that sets the port.
    pub flag: &'static str,
    /// The port.
    pub port: u16,
}

impl Services {
    /// The services that run.
    #[must_use]
    pub fn ports(&self) -> Vec<ServicePort> {
        let port = |name, flag| move |port| ServicePort { name, flag, port };
        let dns = self.dns.as_ref().map(|dns| dns.port).map(port("DNS", "--dns-port"));
        let http = self.http.as_ref().map(|http| http.port).map(port("HTTP", "--http-port"));
        dns.into_iter().chain(http).collect()
    }

    /// The zone files, if DNS serves any.
    pub(crate) fn zones(&self) -> Option<&ZoneOptions> {
        match &self.dns.as_ref()?.content {
            DnsContent::Zones(zones) => Some(zones),
            DnsContent::Builtin | DnsContent::Relay(_) => None,
        }
    }

    /// The directory of the files, if HTTP serves any.
    pub(crate) fn http_root(&self) -> Option<&PathBuf> {
        match &self.http.as_ref()?.content {
            HttpContent::Files(root, _) => Some(root),
            HttpContent::Builtin | HttpContent::Relay(_) => None,
        }
    }
}

impl RunOptions {
    /// The services that these options name; with `--demo`, or if they name none, all others with built-in content.
    pub(super) fn services(&self) -> Result<Services, ConfigError> {
        let (dns, http) = (self.dns_content()?, self.http_content()?);
        let unnamed = dns.is_none() && http.is_none() && !self.demo;
        let builtin = unnamed || self.demo;
        let dns = dns.or(builtin.then_some(DnsContent::Builtin));
        let http = http.or(builtin.then_some(HttpContent::Builtin));
        if dns.is_none() {
            let given = [
                (self.dns_port.is_some(), "--dns-port"),
                (self.udp.is_some(), "--udp"),
                (self.minimal_any, "--minimal-any"),
                (self.dns_keepalive.is_some(), "--dns-keepalive"),
                (self.dns_cookie_secret_file.is_some(), "--dns-cookie-secret-file"),
                (self.identity.is_some(), "--identity"),
                (self.hide_version, "--hide-version"),
                (self.dnstap.is_some(), "--dnstap"),
            ];
            requires(NAMES_DNS, &given)?;
        }
        if http.is_none() {
            requires(NAMES_HTTP, &[(self.http_port.is_some(), "--http-port")])?;
        }
        let port = |given: Option<Port>, default| given.map_or(default, Port::get_u16);
        let services = Services {
            dns: dns.map(|content| Served { port: port(self.dns_port, DNS_PORT), content }),
            http: http.map(|content| Served { port: port(self.http_port, HTTP_PORT), content }),
            unnamed,
        };
        let ports = services.ports();
        for (index, service) in ports.iter().enumerate() {
            if let Some(other) = ports[..index].iter().find(|other| other.port == service.port) {
                return Err(ConfigError::invalid(format!(
                    "{} {}: {} is served on this port; choose another by {} or {0}",
                    service.flag, service.port, other.name, other.flag
                )));
            }
        }
        Ok(services)
    }

    /// The content that the options name for DNS.
    fn dns_content(&self) -> Result<Option<DnsContent>, ConfigError> {
        let zones = ZoneOptions {
            files: self.zone.clone(),
            directories: self.zone_dir.clone(),
            include: self.zone_include_dir.clone(),
        };
        if zones.is_empty() {
            requires("--zone or --zone-dir", &[(!zones.include.is_empty(), "--zone-include-dir")])?;
        }
        let relay = self.relay_dns()?.map(DnsContent::Relay);
        Ok(relay.or((!zones.is_empty()).then_some(DnsContent::Zones(zones))))
    }

    /// The content that the options name for HTTP.
    fn http_content(&self) -> Result<Option<HttpContent>, ConfigError> {
        let files = self.serve_files()?;
        let relay = self.relay_http()?.map(HttpContent::Relay);
        Ok(relay.or(self.http_root.clone().map(|root| HttpContent::Files(root, files))))
    }
}
