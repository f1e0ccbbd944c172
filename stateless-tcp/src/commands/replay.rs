//! The `replay` command: runs the responder on a capture, without a NIC and without privileges.
//!
//! Each answer is written byte for byte, at the time of the packet that caused it. This time is also the clock's, so two
//! replays of a capture with the same key are equal.

use crate::config::Config;
use crate::config::keys;
use crate::dataplane::responder::{Frames, Responder};
use crate::observe::counters::Counters;
use crate::serving::AnswerPolicy;
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
/// A file cannot be read or written, or the content is invalid.
pub fn run(config: &Config, input: &Path, output: &Path) -> Result<()> {
    if config.key_file.is_none() {
        tracing::warn!(
            "without --key-file the key is a new one: only SYN and FIN are answered, as no client of the capture has \
             acknowledged a sequence number of this key"
        );
    }
    if let Some(warning) = build::unnamed_warning(config) {
        tracing::warn!("{warning}");
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
        None => destinations(&packets, ports, build::udp_port(config)),
    };
    let content = build::compose(config, addresses, services)?;
    let mut responder = Responder::new(content, AnswerPolicy::new(config, keys));

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
    let mut memory = MemoryFrames { sent: Vec::new() };
    for CapturedPacket { time, mut frame, .. } in packets {
        let length = frame.len();
        frame.resize(length.max(FRAME_SIZE), 0);
        responder.respond(UNIX_EPOCH + time, &mut memory, frame, length, &counters);
        for frame in memory.sent.drain(..) {
            let bytes = if raw { &frame[ETHERNET_HEADER..] } else { &frame[..] };
            let length = u32::try_from(bytes.len()).context("an answer is too long")?;
            writer.write_packet(&PcapPacket::new(time, length, bytes)).with_context(failed)?;
        }
    }
    // Dropping the writer would hide an error such as a full disk.
    writer.into_writer().into_inner().map_err(IntoInnerError::into_error).with_context(failed)?;
    for &counter in Outcome::ALL {
        if counters.get(counter) > 0 {
            tracing::info!("counter {} {}", counter.name(), counters.get(counter));
        }
    }
    Ok(())
}

/// Refuses an output that is the same file as the input, by any name: it would be truncated before it is read.
fn refuse_same(input: &Path, output: &Path) -> Result<()> {
    let identity = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    // A missing input is reported later, and a missing output is created.
    if let (Ok(one), Ok(other)) = (identity(input), identity(output)) {
        let (input, output) = (input.display(), output.display());
        ensure!(
            one != other,
            "{output} is the same file as {input}, which would be overwritten: name another output"
        );
    }
    Ok(())
}

/// Size of a frame, in which answers are written.
const FRAME_SIZE: usize = 4096;

const ETHERNET_HEADER: usize = 14;

/// A captured packet. If the capture has no Ethernet headers, one is added.
struct CapturedPacket {
    time: Duration,
    frame: Vec<u8>,
    /// The Ethernet header was added.
    raw: bool,
}

impl CapturedPacket {
    fn new(time: Duration, link: DataLink, captured: &[u8]) -> Result<Self> {
        let mut frame = Vec::with_capacity(FRAME_SIZE);
        let raw = match link {
            DataLink::ETHERNET => false,
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => {
                let ipv6 = captured.first().is_some_and(|first| first >> 4 == 6);
                frame.resize(ETHERNET_HEADER - 2, 0);
                frame.extend(if ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] });
                true
            }
            other => bail!("link type {other:?} is neither Ethernet nor raw IP"),
        };
        frame.extend(captured);
        Ok(Self { time, frame, raw })
    }
}

/// Frames in plain memory, without a limit.
struct MemoryFrames {
    sent: Vec<Vec<u8>>,
}

impl Frames for MemoryFrames {
    type Frame = Vec<u8>;

    fn octets<'a>(&'a mut self, frame: &'a mut Vec<u8>) -> &'a mut [u8] {
        frame
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        Some(vec![0; FRAME_SIZE])
    }

    fn send(&mut self, mut frame: Vec<u8>, length: usize) {
        frame.truncate(length);
        self.sent.push(frame);
    }

    fn release(&mut self, _: Vec<u8>) {}
}

/// All packets of a capture. Its first four bytes determine the format.
fn read(path: &Path) -> Result<Vec<CapturedPacket>> {
    let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let broken = || format!("{} is not a whole capture", path.display());
    let mut magic = [0; 4];
    open()?.read_exact(&mut magic).with_context(broken)?;
    let file = BufReader::new(open()?);
    if magic == [0x0a, 0x0d, 0x0d, 0x0a] { read_pcapng(file) } else { read_pcap(file) }.with_context(broken)
}

fn read_pcap(file: impl Read) -> Result<Vec<CapturedPacket>> {
    let mut reader = PcapReader::new(file)?;
    let link = reader.header().datalink;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        packets.push(CapturedPacket::new(packet.timestamp, link, &packet.data)?);
    }
    Ok(packets)
}

fn read_pcapng(file: impl Read) -> Result<Vec<CapturedPacket>> {
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
                packets.push(CapturedPacket::new(packet.timestamp, *link, &packet.data)?);
            }
            Block::SimplePacket(packet) => {
                let link = links.first().context("a packet of an unknown interface")?;
                packets.push(CapturedPacket::new(Duration::ZERO, *link, &packet.data)?);
            }
            _ => {}
        }
    }
    Ok(packets)
}

/// The presumed addresses of the server: destinations of TCP to one of `ports`, or of UDP to `udp_port`.
fn destinations(packets: &[CapturedPacket], ports: Vec<u16>, udp_port: Option<u16>) -> HashSet<Address> {
    struct Observer {
        ports: Vec<u16>,
        udp_port: Option<u16>,
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
            self.udp_port
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
    let observer = Observer { ports, udp_port, last: RefCell::new(None) };
    let steered = packets.iter().filter(|packet| steering::steer(&packet.frame[..], &observer).is_ok());
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
