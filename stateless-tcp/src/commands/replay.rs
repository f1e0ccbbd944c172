//! The `replay` command: the responder over a capture, without a NIC and without privileges.
//!
//! Every answer that would have been sent is written, octet for octet, at the time of the packet that caused it. That
//! time is also what the clock says, so two replays of one capture under one key are equal.

use crate::config::Config;
use crate::config::keys;
use crate::dataplane::engine::Policy;
use crate::dataplane::responder::{Frames, Responder};
use crate::observe::counters::Counters;
use crate::serving::build::{self, Stores};
use anyhow::{Context as _, Result, bail, ensure};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, TsResolution};
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{self, ClientPolicy, Steering};
use stateless_tcp_core::tcp::segment::Address;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, IntoInnerError, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Answers the packets of `input` (pcap or pcapng; Ethernet or raw IP) into `output` (pcap; raw IP if all of the input
/// is, else Ethernet).
///
/// # Errors
/// Files that cannot be read or written, and whatever is wrong with the content.
pub fn run(config: &Config, input: &Path, output: &Path) -> Result<()> {
    if config.key_file.is_none() {
        tracing::warn!(
            "without --key-file the key is a new one: only SYN and FIN are answered, for no client of the capture can \
             have acknowledged a sequence number made by it"
        );
    }
    refuse_same(input, output)?;
    let keys = match &config.key_file {
        Some(path) => keys::load(path)?,
        None => keys::random()?,
    };
    let packets = read(input)?;
    let begin = packets.first().map_or(Duration::ZERO, |packet| packet.time);
    let services = build::load(config, &keys, UNIX_EPOCH + begin, &Stores::default())?;
    let ports: Vec<u16> = services.iter().map(|&(port, _)| port).collect();
    let addresses = match &config.addresses {
        Some(addresses) => addresses.iter().map(|&address| Address::from(address)).collect(),
        None => destinations(&packets, ports, build::datagrams(config)),
    };
    let segment_size = config.segment_size.unwrap_or(config.rules.segment_size());
    let Config { rules, hints, fast_open, .. } = *config;
    let policy = Policy { rules, keys, segment_size, hints, fast_open };
    let content = build::compose(config, addresses, services)?;
    let mut responder = Responder::new(content, policy);

    let raw = packets.iter().all(|packet| packet.raw);
    let header = PcapHeader {
        datalink: if raw { DataLink::RAW } else { DataLink::ETHERNET },
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let file = File::create(output).with_context(|| format!("cannot create {}", output.display()))?;
    let failed = || format!("cannot write to {}", output.display());
    let mut writer = PcapWriter::with_header(BufWriter::new(file), header).with_context(failed)?;
    let counters = Counters::default();
    let mut memory = Memory { sent: Vec::new() };
    for Packet { time, octets, .. } in packets {
        let length = octets.len();
        let mut frame = octets;
        frame.resize(length.max(ROOM), 0);
        responder.respond(UNIX_EPOCH + time, &mut memory, frame, length, &counters);
        for frame in memory.sent.drain(..) {
            let octets = if raw { &frame[ETHERNET_HEADER..] } else { &frame[..] };
            let length = u32::try_from(octets.len()).context("a frame of ours is short")?;
            writer.write_packet(&PcapPacket::new(time, length, octets)).with_context(failed)?;
        }
    }
    // Dropped, it would say nothing of a full disk.
    writer.into_writer().into_inner().map_err(IntoInnerError::into_error).with_context(failed)?;
    for &counter in Outcome::ALL {
        if counters.get(counter) > 0 {
            tracing::info!("counter {} {}", counter.name(), counters.get(counter));
        }
    }
    Ok(())
}

/// Refuses an output that is the input, by whatever name: it would be empty before it was read.
fn refuse_same(input: &Path, output: &Path) -> Result<()> {
    let identity = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    // What cannot be looked at cannot be read, or is not there yet.
    if let (Ok(one), Ok(other)) = (identity(input), identity(output)) {
        let (input, output) = (input.display(), output.display());
        ensure!(
            one != other,
            "{output} is the same file as {input}, and would be overwritten: name another output"
        );
    }
    Ok(())
}

/// Octets of a frame that a reply may be written into.
const ROOM: usize = 4096;

const ETHERNET_HEADER: usize = 14;

/// A captured packet, with an Ethernet header in any case.
struct Packet {
    time: Duration,
    octets: Vec<u8>,
    /// The Ethernet header is made up.
    raw: bool,
}

impl Packet {
    fn new(time: Duration, link: DataLink, octets: &[u8]) -> Result<Self> {
        let mut frame = Vec::with_capacity(ROOM);
        let raw = match link {
            DataLink::ETHERNET => false,
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => {
                let ipv6 = octets.first().is_some_and(|first| first >> 4 == 6);
                frame.resize(ETHERNET_HEADER - 2, 0);
                frame.extend(if ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] });
                true
            }
            other => bail!("link type {other:?} is neither Ethernet nor raw IP"),
        };
        frame.extend(octets);
        Ok(Self { time, octets: frame, raw })
    }
}

/// Frames in plain memory. There are always more.
struct Memory {
    sent: Vec<Vec<u8>>,
}

impl Frames for Memory {
    type Frame = Vec<u8>;

    fn octets<'a>(&'a mut self, frame: &'a mut Vec<u8>) -> &'a mut [u8] {
        frame
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        Some(vec![0; ROOM])
    }

    fn send(&mut self, mut frame: Vec<u8>, length: usize) {
        frame.truncate(length);
        self.sent.push(frame);
    }

    fn release(&mut self, _: Vec<u8>) {}
}

/// All packets of a capture, whose first four octets say of what kind it is.
fn read(path: &Path) -> Result<Vec<Packet>> {
    let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let broken = || format!("{} is not a whole capture", path.display());
    let mut magic = [0; 4];
    open()?.read_exact(&mut magic).with_context(broken)?;
    let file = BufReader::new(open()?);
    if magic == [0x0a, 0x0d, 0x0d, 0x0a] { read_pcapng(file) } else { read_pcap(file) }.with_context(broken)
}

fn read_pcap(file: impl Read) -> Result<Vec<Packet>> {
    let mut reader = PcapReader::new(file)?;
    let link = reader.header().datalink;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        packets.push(Packet::new(packet.timestamp, link, &packet.data)?);
    }
    Ok(packets)
}

fn read_pcapng(file: impl Read) -> Result<Vec<Packet>> {
    let mut reader = PcapNgReader::new(file)?;
    let mut links = Vec::new();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        match block? {
            Block::SectionHeader(_) => links.clear(),
            Block::InterfaceDescription(interface) => links.push(interface.linktype),
            Block::EnhancedPacket(packet) => {
                let link =
                    links.get(packet.interface_id as usize).context("a packet of an unknown interface")?;
                packets.push(Packet::new(packet.timestamp, *link, &packet.data)?);
            }
            Block::SimplePacket(packet) => {
                let link = links.first().context("a packet of an unknown interface")?;
                packets.push(Packet::new(Duration::ZERO, *link, &packet.data)?);
            }
            _ => {}
        }
    }
    Ok(packets)
}

/// The addresses to which the capture has TCP for one of `ports`, or UDP for `datagrams`: the server's, for all one can tell.
fn destinations(packets: &[Packet], ports: Vec<u16>, datagrams: Option<u16>) -> HashSet<Address> {
    struct Observer {
        ports: Vec<u16>,
        datagrams: Option<u16>,
        last: RefCell<Option<Address>>,
    }
    impl Steering for Observer {
        fn address(&self, address: &Address) -> bool {
            *self.last.borrow_mut() = Some(*address);
            true
        }
        fn port(&self, port: u16) -> bool {
            self.ports.contains(&port)
        }
        fn datagrams(&self) -> Option<u16> {
            self.datagrams
        }
        fn treatment(&self, _: &Address) -> ClientPolicy {
            ClientPolicy::Serve
        }
        fn limits_segments(&self) -> bool {
            false
        }
        fn affords(&self, _: &Address, _: PacketKind) -> bool {
            true
        }
    }
    let observer = Observer { ports, datagrams, last: RefCell::new(None) };
    let steered = packets.iter().filter(|packet| steering::steer(&packet.octets[..], &observer).is_ok());
    steered.filter_map(|_| *observer.last.borrow()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_input_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name| directory.path().join(name);
        fs::write(at("in.pcap"), "precious").unwrap();
        fs::write(at("other.pcap"), "another").unwrap();
        fs::hard_link(at("in.pcap"), at("hard.pcap")).unwrap();
        symlink("in.pcap", at("soft.pcap")).unwrap();
        for (output, refused) in [
            ("in.pcap", true),
            ("./in.pcap", true),
            ("hard.pcap", true),
            ("soft.pcap", true),
            ("other.pcap", false),
            ("new.pcap", false),
        ] {
            let outcome = refuse_same(&at("in.pcap"), &at(output));
            assert_eq!(outcome.is_err(), refused, "{output}");
        }
    }
}
