//! The health check inside a running instance: a simulated client asks a query on every queue and judges the response.
//!
//! Each frame of the client goes through the attached XDP program, as a frame from the network does, and to the worker of
//! the queue, whose answers are sent at the interface. The check does not cover reception by the card.

mod client;
mod query;
mod run;
#[cfg(test)]
mod tests;

pub use query::CheckQuery;
pub use run::{CheckTargets, QueueTarget, TestFrame, run_check};

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Client addresses that no host has and no router forwards to: the dummy address of RFC 7600, and one of the discard
/// prefix (RFC 6666).
const CLIENTS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 0, 8), Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1));

/// A request for a health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// The query to ask.
    #[serde(rename = "question")]
    pub query: CheckQuery,
    /// The served address to ask at; `None`: the lowest.
    pub address: Option<IpAddr>,
    /// The address to ask from; `None`: one that no host has.
    pub client: Option<IpAddr>,
    /// Time limit for the response.
    pub timeout: Duration,
}

impl CheckRequest {
    /// The client address for queries to `server`.
    fn client_for(&self, server: IpAddr) -> IpAddr {
        self.client.unwrap_or(if server.is_ipv4() { CLIENTS.0.into() } else { CLIENTS.1.into() })
    }
}
