//! The command line. Their meaning is [`plan`](crate::plan)'s.

use clap::{ArgGroup, Parser};
use stateless_tcp::acl::Prefix;
use stateless_tcp::config::XdpMode;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Loads a DNS server over TCP with clients that are played from an AF_XDP ring, one question a connection, and with SYNs
/// from forged senders beside them.
///
/// The clients begin at a rate that does not depend on the answers. docs/load.md says what the network has to know of them.
#[derive(Clone, Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
#[command(name = "stateless-tcp-flood", version, max_term_width = 110)]
#[command(group(ArgGroup::new("what").required(true).multiple(false).args(["name", "questions"])))]
pub struct Options {
    /// The network interface by which the server is reached
    #[arg(short, long, value_name = "IFACE")]
    pub interface: String,
    /// The server, and its port if that is not 53
    #[arg(long, value_name = "IP[:PORT]")]
    pub server: Server,
    /// The clients' addresses, which the network must bring to this interface [default: this host's own]
    #[arg(long, value_name = "PREFIX")]
    pub clients: Option<Prefix>,
    /// Clients that begin in a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(..=10_000_000))]
    pub rate: u64,
    /// Duration of the run, during which clients begin
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Time that each waits for its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
    /// Retransmissions of each client: after 1 s, and then twice as long each time
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=5))]
    pub retries: u32,
    /// Offer timestamps (RFC 7323)
    #[arg(long)]
    pub timestamps: bool,
    /// Acknowledge the SYN,ACK in a packet of its own before the question, as clients of the kernel's TCP do
    #[arg(long)]
    pub bare_ack: bool,
    /// A file of questions, a name and a type a line, to be asked in turn
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,
    /// Ask for signatures, too (EDNS with DO)
    #[arg(long)]
    pub dnssec: bool,
    /// Codes that a right answer may have, by number: 0 NOERROR, 3 NXDOMAIN, ...
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0,3", value_parser = clap::value_parser!(u8).range(..16))]
    pub codes: Vec<u8>,
    /// Flood the server with SYNs from forged addresses in this prefix
    #[arg(long, value_name = "PREFIX", requires = "syn_rate")]
    pub forge: Option<Prefix>,
    /// Forged SYNs in a second
    #[arg(long, value_name = "N", requires = "forge", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub syn_rate: Option<u64>,
    /// Load a network that has a default route, or lies behind a router: it is yours to load
    #[arg(long)]
    pub yes_on_this_network: bool,
    /// Attach mode of the XDP program
    #[arg(long, value_name = "MODE", value_enum, default_value_t = XdpMode::Auto)]
    pub xdp_mode: XdpMode,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// The name to ask for
    pub name: Option<String>,
    /// The record type to ask for
    #[arg(value_name = "TYPE", default_value = "A", conflicts_with = "questions")]
    pub rtype: String,
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server(pub SocketAddr);

/// The port of DNS.
const DNS: u16 = 53;

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let alone = |_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS));
        let server = text.parse().or_else(alone);
        server.map(Self).map_err(|_| {
            "write an address, or one with a port, as in 192.0.2.1:53 or [2001:db8::1]:53".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("192.0.2.1", "192.0.2.1:53")]
    #[case("192.0.2.1:5353", "192.0.2.1:5353")]
    #[case("2001:db8::1", "[2001:db8::1]:53")]
    #[case("[2001:db8::1]:5353", "[2001:db8::1]:5353")]
    fn servers(#[case] text: &str, #[case] expected: SocketAddr) {
        assert_eq!(text.parse(), Ok(Server(expected)));
    }

    #[rstest]
    #[case::nothing_to_ask(&[], "<NAME|--questions <FILE>>")]
    #[case::two_things(&["--questions", "file", "example.com"], "cannot be used with")]
    #[case::forged_at_no_rate(&["--forge", "198.18.0.0/15", "example.com"], "--syn-rate")]
    #[case::a_rate_of_nobody(&["--syn-rate", "10", "example.com"], "--forge")]
    fn refused(#[case] arguments: &[&str], #[case] said: &str) {
        let all = [&["flood", "-i", "eth0", "--server", "192.0.2.1"], arguments].concat();
        let error = Options::try_parse_from(all).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
