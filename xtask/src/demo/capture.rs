//! A capture of tcpdump, as values.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use etherparse::{NetSlice, SlicedPacket, TcpOptionElement, TcpSlice, TransportSlice};
use pcap_file::pcap::PcapReader;

use crate::demo::stage::{SERVER_V4, SERVER_V6};

/// The sender of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// The flags that the demo shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the header has as many bits, and each means what it is named"
)]
pub(crate) struct Flags {
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) psh: bool,
    pub(crate) ack: bool,
}

/// One TCP segment, or one IP fragment with nothing of TCP to read.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Since the capture's first packet.
    pub(crate) time: Duration,
    pub(crate) side: Side,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) flags: Flags,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    /// As tcpdump writes them.
    pub(crate) options: Vec<String>,
    pub(crate) len: usize,
    pub(crate) fragment: bool,
}

/// Reads a capture file of an Ethernet device; packets other than TCP or fragments are left out.
pub(crate) fn read(path: &Path) -> Result<Vec<Packet>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut reader = PcapReader::new(file).with_context(|| format!("reading {}", path.display()))?;
    let mut packets = Vec::new();
    let mut start = None;
    while let Some(record) = reader.next_packet() {
        let record = record.with_context(|| format!("reading {}", path.display()))?;
        let start = *start.get_or_insert(record.timestamp);
        packets.extend(parse(&record.data, record.timestamp.saturating_sub(start)));
    }
    Ok(packets)
}

/// The packets of the first connection to `server`, both ways.
pub(crate) fn first_transaction(packets: &[Packet], server: SocketAddr) -> Option<Vec<Packet>> {
    let first = packets.iter().find(|packet| packet.destination == server && packet.flags.syn)?;
    let ours = |packet: &&Packet| {
        (packet.source, packet.destination) == (first.source, server)
            || (packet.source, packet.destination) == (server, first.source)
    };
    Some(packets.iter().filter(ours).cloned().collect())
}

fn parse(data: &[u8], time: Duration) -> Option<Packet> {
    let sliced = SlicedPacket::from_ethernet(data).ok()?;
    let (source, destination, fragment): (IpAddr, IpAddr, bool) = match sliced.net? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), ip.is_payload_fragmented())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), ip.is_payload_fragmented())
        }
        NetSlice::Arp(_) => return None,
    };
    let side = if source == SERVER_V4 || source == SERVER_V6 { Side::Server } else { Side::Client };
    let mut packet = Packet {
        time,
        side,
        source: SocketAddr::new(source, 0),
        destination: SocketAddr::new(destination, 0),
        flags: Flags::default(),
        seq: 0,
        ack: 0,
        window: 0,
        options: Vec::new(),
        len: 0,
        fragment,
    };
    match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            packet.source.set_port(tcp.source_port());
            packet.destination.set_port(tcp.destination_port());
            packet.flags =
                Flags { syn: tcp.syn(), fin: tcp.fin(), rst: tcp.rst(), psh: tcp.psh(), ack: tcp.ack() };
            packet.seq = tcp.sequence_number();
            packet.ack = tcp.acknowledgment_number();
            packet.window = tcp.window_size();
            packet.options = options(&tcp);
            packet.len = tcp.payload().len();
            Some(packet)
        }
        _ => fragment.then_some(packet),
    }
}

fn options(tcp: &TcpSlice) -> Vec<String> {
    let describe = |option: TcpOptionElement| match option {
        TcpOptionElement::Noop => None,
        TcpOptionElement::MaximumSegmentSize(size) => Some(format!("mss {size}")),
        TcpOptionElement::WindowScale(shift) => Some(format!("wscale {shift}")),
        TcpOptionElement::SelectiveAcknowledgementPermitted => Some("sackOK".to_owned()),
        TcpOptionElement::SelectiveAcknowledgement(..) => Some("sack".to_owned()),
        TcpOptionElement::Timestamp(value, echo) => Some(format!("TS val {value} ecr {echo}")),
    };
    tcp.options_iterator().map_while(Result::ok).filter_map(describe).collect()
}
