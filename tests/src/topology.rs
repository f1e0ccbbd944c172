//! Client namespace ⇄ server namespace, by a veth pair.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::netns::{Netns, execute};
use crate::responder::in_driver;
use crate::veth_xdp_peer::VethXdpPeer;

/// The interface's name, the same in both namespaces.
pub const INTERFACE: &str = "eth0";

/// The server's addresses.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// See [`SERVER_V4`].
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The client kernel's addresses.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// See [`CLIENT_V4`].
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// The scripted client's: nobody's, as far as the client's kernel knows, so that it leaves those connections alone. The
/// server's kernel has them in its neighbour tables, so that anything it has to say to them would be seen.
pub const GHOST_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
/// See [`GHOST_V4`].
pub const GHOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);

/// The client's hardware address.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The server's hardware address.
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The server's addresses, one of each family.
pub const SERVERS: [IpAddr; 2] = [IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)];

/// Time limit for a card to come up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Two namespaces and the link between them.
#[derive(Debug)]
pub struct Topology {
    /// Programs for a handshake that is answered in the driver.
    pub xdp_peer: Option<VethXdpPeer>,
    /// The namespace of the clients.
    pub client: Netns,
    /// The responder's namespace.
    pub server: Netns,
    /// Receive queues of each end.
    pub queues: usize,
}

impl Topology {
    /// A link with so many queues at each end, addresses of both families on both.
    pub fn new(queues: usize) -> Self {
        let (client, server) = (Netns::new("client"), Netns::new("server"));
        let ends = format!("numrxqueues {queues} numtxqueues {queues}");
        client.run(&format!(
            "ip link add {INTERFACE} address 02:00:00:00:00:02 {ends} type veth \
             peer name {INTERFACE} address 02:00:00:00:00:01 {ends} netns {}",
            server.name()
        ));
        equip(&client, &server);
        let xdp_peer = in_driver().then(|| VethXdpPeer::attach(&client, INTERFACE));
        Self { xdp_peer, client, server, queues }
    }

    /// The two cards of a virtual machine, by their hardware addresses, in place of a veth pair. Who knows of more than
    /// one receive queue says so in `queues`.
    pub fn of_cards() -> Self {
        let (client, server) = (Netns::new("client"), Netns::new("server"));
        for (namespace, address) in [(&client, CLIENT_MAC), (&server, SERVER_MAC)] {
            let card = card(address);
            execute(Command::new("ip").args([
                "link",
                "set",
                &card,
                "netns",
                namespace.name(),
                "name",
                INTERFACE,
            ]));
        }
        equip(&client, &server);
        for namespace in [&client, &server] {
            within("carrier", || {
                namespace.run(&format!("ip link show {INTERFACE}")).contains("LOWER_UP").then_some(())
            });
        }
        Self { xdp_peer: None, client, server, queues: 1 }
    }
}

/// Gives both ends their addresses, sets them up, and has the server know the ghost.
fn equip(client: &Netns, server: &Netns) {
    for (namespace, v4, v6) in [(client, CLIENT_V4, CLIENT_V6), (server, SERVER_V4, SERVER_V6)] {
        // No link-local addresses: their router solicitations and reports would be noise in every capture.
        namespace.run(&format!("ip link set {INTERFACE} addrgenmode none"));
        namespace.run(&format!("ip address add {v4}/24 dev {INTERFACE}"));
        namespace.run(&format!("ip address add {v6}/64 dev {INTERFACE} nodad"));
        namespace.run(&format!("ip link set {INTERFACE} up"));
    }
    for ghost in [IpAddr::V4(GHOST_V4), IpAddr::V6(GHOST_V6)] {
        server
            .run(&format!("ip neighbour add {ghost} lladdr 02:00:00:00:00:02 dev {INTERFACE} nud permanent"));
    }
}

/// The name of the card with this address. It comes back from a namespace that was deleted some time after that.
fn card(address: [u8; 6]) -> String {
    let address = address.map(|byte| format!("{byte:02x}")).join(":");
    within(&format!("card {address}"), || {
        let names = fs::read_dir("/sys/class/net").expect("the interfaces").filter_map(Result::ok);
        let mut paths = names.map(|name| name.path());
        let path = paths.find(|path| {
            fs::read_to_string(path.join("address")).is_ok_and(|found| found.trim() == address)
        })?;
        Some(path.file_name().expect("a name").to_string_lossy().into_owned())
    })
}

/// What `look` finds, as soon as it finds something.
fn within<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
