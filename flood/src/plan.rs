//! The plan of a run: the options applied to this machine and checked as a whole.

use crate::answer::Codes;
use crate::cli::{Options, Server};
use crate::clients::{ClientOptions, Clients};
use crate::population::Population;
use crate::questions::Questions;
use crate::route::{Route, check_safety};
use crate::syn_flood::SynFlood;
use anyhow::{Context as _, Result, bail, ensure};
use stateless_tcp::acl::Prefix;
use stateless_tcp::af_xdp::interface::Interface;
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_flood_filter::Range;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// A run that can begin.
#[derive(Debug)]
pub struct Plan {
    /// By which interface.
    pub interface: Interface,
    /// The server.
    pub server: SocketAddr,
    /// Whose frames are whose.
    pub filter: stateless_tcp_flood_filter::Plan,
    /// The route of the frames.
    pub route: Route,
    /// The clients, none of which has begun.
    pub clients: Clients,
    /// The source of forged SYNs, and its rate in a second.
    pub syn_flood: Option<(SynFlood, u64)>,
}

impl Plan {
    /// Checks the options, and asks the kernel for the rest.
    ///
    /// # Errors
    /// If the plan is impossible or unsafe; the message names the remedy.
    pub fn make(options: &Options) -> Result<Self> {
        let Server(server) = options.server;
        let interface = Interface::find(&options.interface)?;
        let own = own_address(server)?;
        let clients = match options.clients {
            Some(clients) => clients,
            None => own.to_string().parse()?,
        };
        for prefix in [Some(clients), options.forge].into_iter().flatten() {
            check(&prefix, server.ip())?;
        }
        if let Some(forged) = options.forge {
            apart(&forged, &clients, own)?;
        }
        let route = Route::find(&interface, server.ip())?;
        if !options.yes_on_this_network {
            check_safety(&interface, &route, options.forge.is_some())?;
        }
        let at = (Address::from(server.ip()), server.port());
        let mut secret = [0; 8];
        getrandom::fill(&mut secret).context("no random numbers")?;
        let secret = u64::from_ne_bytes(secret);
        let syn_flood = options.forge.zip(options.syn_rate);
        let syn_flood = syn_flood.map(|(prefix, rate)| (SynFlood::new(&prefix, at, route.mss, secret), rate));
        let range = |prefix: &Prefix| {
            let (address, bits) = prefix.bits();
            Range::new(address, bits)
        };
        let filter = stateless_tcp_flood_filter::Plan {
            server: at.0,
            port: at.1,
            clients: range(&clients),
            forged: options.forge.as_ref().map_or(Range::NONE, range),
        };
        let clients = Clients::new(
            client_options(options, at, route.mss),
            Population::new(&clients, secret),
            questions(options)?,
        )?;
        Ok(Self { interface, server, filter, route, clients, syn_flood })
    }
}

fn client_options(options: &Options, server: (Address, u16), mss: u16) -> ClientOptions {
    ClientOptions {
        server,
        rate: options.rate,
        timeout: Duration::from_secs(options.timeout),
        retries: options.retries,
        timestamps: options.timestamps,
        bare_ack: options.bare_ack,
        mss,
        codes: Codes::new(&options.codes),
    }
}

fn questions(options: &Options) -> Result<Questions> {
    match (&options.name, &options.questions) {
        (Some(name), _) => Questions::one(name, &options.rtype, options.dnssec),
        (None, Some(file)) => Questions::read(file, options.dnssec),
        (None, None) => bail!("nothing to ask: say a name, or --questions FILE"),
    }
}

/// The address that this host speaks to the server from.
fn own_address(server: SocketAddr) -> Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).context("cannot open a UDP socket")?;
    // No datagram is sent: the kernel chooses the route, and the address with it.
    socket.connect(server).with_context(|| format!("the kernel knows no way to {server}"))?;
    Ok(socket.local_addr()?.ip())
}

fn check(prefix: &Prefix, server: IpAddr) -> Result<()> {
    let first = IpAddr::from(prefix.bits().0);
    ensure!(
        first.is_ipv4() == server.is_ipv4(),
        "{prefix} and the server {server} are of two families: one of each is needed for either"
    );
    ensure!(!prefix.contains(&server.into()), "the server {server} is itself in {prefix}");
    Ok(())
}

/// Forged senders must be nobody of whom it is known that he exists.
fn apart(forged: &Prefix, clients: &Prefix, own: IpAddr) -> Result<()> {
    let overlap = forged.contains(&clients.bits().0) || clients.contains(&forged.bits().0);
    ensure!(!overlap, "the forged senders {forged} and the clients {clients} overlap");
    ensure!(!forged.contains(&own.into()), "{own} of this host is one of the forged senders {forged}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::two_families("2001:db8::/32", "two families")]
    #[case::the_server_within("192.0.2.0/24", "the server 192.0.2.1 is itself in 192.0.2.0/24")]
    fn prefixes_that_cannot_be(#[case] prefix: &str, #[case] said: &str) {
        let error = check(&prefix.parse().unwrap(), [192, 0, 2, 1].into()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    #[rstest]
    #[case::within("198.51.100.0/24", "198.51.100.8/29", "overlap")]
    #[case::around("198.51.100.8/29", "198.51.100.0/24", "overlap")]
    #[case::this_host("192.0.2.0/24", "198.51.100.0/24", "192.0.2.9 of this host")]
    fn forged_senders_that_exist(#[case] forged: &str, #[case] clients: &str, #[case] said: &str) {
        let (forged, clients) = (forged.parse().unwrap(), clients.parse().unwrap());
        let error = apart(&forged, &clients, [192, 0, 2, 9].into()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
