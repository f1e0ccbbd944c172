//! The TCP services and their ports. All services are listed here, and created in [`build`](crate::serving::build).

use super::{Bounded, ConfigError};

/// A TCP port other than 0.
pub type Port = Bounded<1, 65_535>;

/// The port options of a command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct PortOptions {
    /// The port to serve DNS on [default: 53]
    #[arg(long, value_name = "PORT", help_heading = "DNS")]
    pub dns_port: Option<Port>,
    /// The port to serve HTTP on [default: 80]
    #[arg(long, value_name = "PORT", help_heading = "HTTP")]
    pub http_port: Option<Port>,
}

/// The port of each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePorts {
    /// DNS.
    pub dns: u16,
    /// HTTP.
    pub http: u16,
}

/// A service and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The service's name.
    pub name: &'static str,
    /// The flag that sets the port.
    pub flag: &'static str,
    /// The default port.
    pub default: u16,
    /// The port.
    pub port: u16,
}

impl Default for ServicePorts {
    fn default() -> Self {
        Self { dns: 53, http: 80 }
    }
}

impl ServicePorts {
    /// All services.
    #[must_use]
    pub fn all(&self) -> [ServicePort; 2] {
        let Self { dns, http } = *self;
        let default = Self::default();
        [
            ServicePort { name: "DNS", flag: "--dns-port", default: default.dns, port: dns },
            ServicePort { name: "HTTP", flag: "--http-port", default: default.http, port: http },
        ]
    }
}

impl PortOptions {
    /// The ports, with defaults.
    ///
    /// # Errors
    /// Two services have the same port.
    pub(crate) fn validate(self) -> Result<ServicePorts, ConfigError> {
        let default = ServicePorts::default();
        let ports = ServicePorts {
            dns: self.dns_port.map_or(default.dns, Port::get_u16),
            http: self.http_port.map_or(default.http, Port::get_u16),
        };
        let services = ports.all();
        for (index, service) in services.iter().enumerate() {
            if let Some(other) = services[..index].iter().find(|other| other.port == service.port) {
                return Err(ConfigError::invalid(format!(
                    "{} {}: {} is served on this port; choose another by {} or {0}",
                    service.flag, service.port, other.name, other.flag
                )));
            }
        }
        Ok(ports)
    }
}
