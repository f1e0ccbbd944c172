//! The link between the clients and the guest: a tap in a network namespace that ends with the thread that made it.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use crate::process::run;

pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const PREFIX: u8 = 24;
pub(super) const SERVER_MAC: &str = "02:00:00:00:00:01";
pub(super) const CLIENT_MAC: &str = "02:00:00:00:00:02";
/// The guest's name of its card.
pub(super) const INTERFACE: &str = "eth0";
/// The host's end.
pub(super) const TAP: &str = "tap0";
/// The server's address and port.
pub(super) const DNS: SocketAddrV4 = SocketAddrV4::new(SERVER, 53);
/// Where the guest gives the addresses of functions.
pub(super) const SYMBOLS: SocketAddrV4 = SocketAddrV4::new(SERVER, 1_000);

/// Fails if this machine can make no link.
pub(super) fn check() -> Result<()> {
    ensure!(
        Path::new("/dev/net/tun").exists(),
        "there is no /dev/net/tun, so QEMU gets no link to the clients: `modprobe tun`; in a container, also pass the \
         device in (podman and docker: --device /dev/net/tun --cap-add NET_ADMIN,SYS_ADMIN)"
    );
    Ok(())
}

/// Moves this thread into a new network namespace and makes the link's end there.
pub(super) fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (only root may)")?;
    for arguments in [
        "link set lo up".to_owned(),
        format!("tuntap add dev {TAP} mode tap"),
        format!("link set {TAP} address {CLIENT_MAC} addrgenmode none"),
        format!("address add {CLIENT}/{PREFIX} dev {TAP}"),
        format!("link set {TAP} up"),
        format!("neighbour replace {SERVER} lladdr {SERVER_MAC} dev {TAP} nud permanent"),
    ] {
        run(Command::new("ip").args(arguments.split_whitespace()))?;
    }
    // Some ten thousand connections within a minute, all of one client and one server.
    for (name, value) in [("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")] {
        let path = format!("/proc/sys/net/ipv4/{name}");
        fs::write(&path, value).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// What the guest says about its addresses: the server's memory map, an empty line, functions of the kernel.
pub(super) fn read_symbols() -> Result<String> {
    let mut text = String::new();
    TcpStream::connect(SYMBOLS)
        .and_then(|mut stream| stream.read_to_string(&mut text))
        .context("reading the guest's symbols")?;
    Ok(text)
}

/// Segments that this namespace's TCP has sent again so far.
pub(super) fn retransmitted() -> Result<u64> {
    // /proc/net is that of the process's first thread.
    let path = "/proc/thread-self/net/snmp";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    retransmitted_of(&text).with_context(|| format!("{path} has no RetransSegs"))
}

/// The figure in the text of /proc/net/snmp: a line of names, then a line of figures.
fn retransmitted_of(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (mut names, mut figures) = (lines.next()?, lines.next()?);
    let place = names.position(|name| name == "RetransSegs")?;
    figures.nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_are_found_by_their_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn ActiveOpens RetransSegs InErrs\nTcp: -1 6000 17 0\n";
        assert_eq!(retransmitted_of(text), Some(17));
        assert_eq!(retransmitted_of("Tcp: MaxConn\nTcp: -1\n"), None);
    }
}
