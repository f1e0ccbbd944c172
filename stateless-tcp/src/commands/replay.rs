//! The `replay` command: runs the responder on a capture, without a NIC and without privileges.
//!
//! Each answer is written byte for byte, at the time of the packet that caused it. This time is also the clock's, so two
//! replays of a capture with the same key are equal. The capture is read twice, first for the facts that the first answer
//! depends on, so that no more than one packet is in memory.

mod capture;

use crate::config::Config;
use crate::config::keys;
use crate::dataplane::responder::{Frames, Responder};
use crate::observe::counters::Counters;
use crate::serving::AnswerPolicy;
use crate::serving::build::{self, Stores};
use anyhow::{Context as _, Result, ensure};
use capture::{Capture, CapturedPacket, ETHERNET_HEADER, FRAME_SIZE};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{self, ClientPolicy, Steering};
use stateless_tcp_core::tcp::segment::Address;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, IntoInnerError};
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
    let Survey { begin, raw, destinations } = Survey::new(config, input)?;
    let services = build::load(config, &keys, UNIX_EPOCH + begin, &Stores::default())?;
    let addresses = match &config.addresses {
        Some(addresses) => addresses.iter().map(|&address| Address::from(address)).collect(),
        None => destinations,
    };
    let content = build::compose(config, addresses, services)?;
    let mut responder = Responder::new(content, AnswerPolicy::new(config, keys));

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
    for packet in Capture::open(input)? {
        let CapturedPacket { time, mut frame, .. } = packet?;
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

/// The facts of a capture that the first answer depends on.
struct Survey {
    /// The time of the first packet.
    begin: Duration,
    /// No packet has an Ethernet header.
    raw: bool,
    /// The presumed addresses of the server: destinations of TCP to a served port, or of UDP to the one that is answered.
    destinations: HashSet<Address>,
}

impl Survey {
    fn new(config: &Config, input: &Path) -> Result<Self> {
        let observer = Observer {
            ports: config.services.ports().iter().map(|service| service.port).collect(),
            udp_port: build::udp_port(config),
            last: RefCell::new(None),
        };
        let (mut begin, mut raw, mut destinations) = (None, true, HashSet::new());
        for packet in Capture::open(input)? {
            let packet = packet?;
            begin.get_or_insert(packet.time);
            raw &= packet.raw;
            if steering::steer(&packet.frame[..], &observer).is_ok() {
                destinations.extend(*observer.last.borrow());
            }
        }
        Ok(Self { begin: begin.unwrap_or_default(), raw, destinations })
    }
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

/// Steers to the served ports of every address, and notes it.
struct Observer {
    ports: Vec<u16>,
    udp_port: Option<u16>,
    /// The address of the last packet.
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
