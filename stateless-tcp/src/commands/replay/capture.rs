//! Reads captures, pcap or pcapng, packet by packet.

use anyhow::{Context as _, Result, bail};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::Duration;

/// Size of a frame, in which answers are written.
pub(super) const FRAME_SIZE: usize = 4096;

pub(super) const ETHERNET_HEADER: usize = 14;

/// A captured packet. If the capture has no Ethernet headers, one is added.
pub(super) struct CapturedPacket {
    pub(super) time: Duration,
    pub(super) frame: Vec<u8>,
    /// The Ethernet header was added.
    pub(super) raw: bool,
}

/// The packets of a capture, in their order.
pub(super) struct Capture<'a> {
    path: &'a Path,
    reader: Reader,
}

/// A reader of each format.
enum Reader {
    Pcap(PcapReader<BufReader<File>>),
    PcapNg {
        reader: PcapNgReader<BufReader<File>>,
        /// The link types of the interfaces so far.
        links: Vec<DataLink>,
    },
}

impl<'a> Capture<'a> {
    /// Opens a capture. Its first four bytes determine the format.
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
        let broken = || broken(path);
        let mut magic = [0; 4];
        open()?.read_exact(&mut magic).with_context(broken)?;
        let file = BufReader::new(open()?);
        let reader = if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            Reader::PcapNg { reader: PcapNgReader::new(file).with_context(broken)?, links: Vec::new() }
        } else {
            Reader::Pcap(PcapReader::new(file).with_context(broken)?)
        };
        Ok(Self { path, reader })
    }
}

fn broken(path: &Path) -> String {
    format!("{} is not a whole capture", path.display())
}

impl Iterator for Capture<'_> {
    type Item = Result<CapturedPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        let packet = self.reader.next().transpose()?;
        Some(packet.with_context(|| broken(self.path)))
    }
}

impl Reader {
    /// The next packet, or none at the end.
    fn next(&mut self) -> Result<Option<CapturedPacket>> {
        match self {
            Self::Pcap(reader) => {
                let link = reader.header().datalink;
                let Some(packet) = reader.next_packet().transpose()? else { return Ok(None) };
                CapturedPacket::new(packet.timestamp, link, &packet.data).map(Some)
            }
            Self::PcapNg { reader, links } => {
                while let Some(block) = reader.next_block().transpose()? {
                    let (interface, time, data) = match block {
                        Block::SectionHeader(_) => {
                            links.clear();
                            continue;
                        }
                        Block::InterfaceDescription(interface) => {
                            links.push(interface.linktype);
                            continue;
                        }
                        Block::EnhancedPacket(packet) => (packet.interface_id, packet.timestamp, packet.data),
                        Block::SimplePacket(packet) => (0, Duration::ZERO, packet.data),
                        _ => continue,
                    };
                    let link = links.get(interface as usize).context("a packet of an unknown interface")?;
                    return CapturedPacket::new(time, *link, &data).map(Some);
                }
                Ok(None)
            }
        }
    }
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
