//! `replay` is the responder: over a capture of what the running one was asked, it gives what that one sent.

use std::fs::{self, File, Permissions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
use rstest::rstest;
use stateless_tcp_tests::capture::Capture;
use stateless_tcp_tests::netns::execute;
use stateless_tcp_tests::responder::{Responder, binary};
use stateless_tcp_tests::topology::{CLIENT_V4, INTERFACE, SERVER_MAC, SERVERS, Topology};

const ETHERNET: usize = 14;

/// A frame, and its time since 1970: cookies change with the time.
type TimedFrame = (Duration, Vec<u8>);

/// Of one run: what went to the server, and what came from it.
fn conversation(rules: &str, key: &Path) -> (Vec<TimedFrame>, Vec<Vec<u8>>) {
    let topology = Topology::new(1);
    let key = key.to_str().expect("a path in UTF-8");
    let responder = Responder::start(&topology, &["--rules", rules, "--key-file", key]);
    let capture = Capture::start(&topology.client, INTERFACE);
    for server in SERVERS {
        for (name, rtype) in [("example.com", "A"), ("large.example.com", "TXT"), ("none.example.com", "MX")]
        {
            // A DNS cookie would have the time of the responder's answer in it.
            topology
                .client
                .run(&format!("dig +tcp +tries=1 +time=60 +nocookie +dnssec @{server} {name} {rtype}"));
        }
    }
    responder.stop().assert_conserved();
    let tcp = |(_, frame): &TimedFrame| match frame[12..14] {
        [0x08, 0x00] => frame[ETHERNET + 9] == 6,
        [0x86, 0xdd] => frame[ETHERNET + 6] == 6,
        _ => false,
    };
    let frames = capture.stop_timed().into_iter().filter(tcp);
    let (asked, answered): (Vec<_>, Vec<_>) = frames.partition(|(_, frame)| frame[..6] == SERVER_MAC);
    (asked, answered.into_iter().map(|(_, frame)| frame).collect())
}

#[derive(Clone, Copy)]
enum Format {
    Pcap(DataLink),
    PcapNg,
}

fn write(path: &Path, format: Format, frames: &[TimedFrame]) {
    let file = File::create(path).expect("create the capture");
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a short frame");
    match format {
        Format::Pcap(datalink) => {
            let header = PcapHeader { datalink, ..PcapHeader::default() };
            let mut writer = PcapWriter::with_header(file, header).expect("write the header");
            for (time, frame) in frames {
                let bytes = if datalink == DataLink::RAW { &frame[ETHERNET..] } else { &frame[..] };
                let packet = PcapPacket::new(*time, length(bytes), bytes);
                writer.write_packet(&packet).expect("write a packet");
            }
        }
        Format::PcapNg => {
            let mut writer = PcapNgWriter::new(file).expect("write the header");
            let interface =
                InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: vec![] };
            writer.write_pcapng_block(interface).expect("write the interface");
            for (time, frame) in frames {
                let packet = EnhancedPacketBlock {
                    interface_id: 0,
                    timestamp: *time,
                    original_len: length(frame),
                    data: frame.into(),
                    options: vec![],
                };
                writer.write_pcapng_block(packet).expect("write a packet");
            }
        }
    }
}

fn read(path: &Path) -> (DataLink, Vec<Vec<u8>>) {
    let mut reader = PcapReader::new(BufReader::new(File::open(path).expect("open"))).expect("a capture");
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        packets.push(packet.expect("a whole packet").data.into_owned());
    }
    (reader.header().datalink, packets)
}

#[rstest]
#[case::reliable("reliable")]
#[case::classic("classic")]
fn a_replay_sends_what_the_responder_sent(#[case] rules: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    // Whoever the replay runs as may read what it needs, and the key is its own.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("open the directory");
    let key = directory.path().join("key");
    fs::write(&key, "00112233445566778899aabbccddeeff\n").expect("write the key");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("close the key");
    let (asked, answered) = conversation(rules, &key);
    assert!(answered.len() > 20, "only {} segments in the conversation", answered.len());
    execute(Command::new("chown").arg("nobody").arg(&key));
    let program = directory.path().join("stateless-tcp");
    // By another process: one that forks while it has the file open for writing could not execute it.
    execute(Command::new("cp").arg(binary()).arg(&program));

    for (name, format) in [
        ("ethernet.pcap", Format::Pcap(DataLink::ETHERNET)),
        ("raw.pcap", Format::Pcap(DataLink::RAW)),
        ("ethernet.pcapng", Format::PcapNg),
    ] {
        let (input, output) = (directory.path().join(name), directory.path().join(format!("{name}.answers")));
        write(&input, format, &asked);
        let mut replay = Command::new("setpriv");
        replay.args(["--reuid", "nobody", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"]);
        replay.arg(&program).arg("replay").arg(&input).arg(&output);
        execute(replay.args(["--rules", rules, "--key-file"]).arg(&key));
        let (link, replayed) = read(&output);
        let raw = matches!(format, Format::Pcap(DataLink::RAW));
        assert_eq!(link, if raw { DataLink::RAW } else { DataLink::ETHERNET }, "{name}");
        let skip = if raw { ETHERNET } else { 0 };
        assert_eq!(replayed.len(), answered.len(), "{name}");
        for (number, (replayed, answered)) in replayed.iter().zip(&answered).enumerate() {
            assert_eq!(replayed[..], answered[skip..], "{name}: packet {number}");
        }

        // Who is left to the kernel gets no answer from a replay either.
        let mut left = Command::new(binary());
        left.arg("replay").arg(&input).arg(&output).args(["--rules", rules, "--key-file"]).arg(&key);
        execute(left.args(["--kernel-from", &format!("{CLIENT_V4}/32")]));
        let (_, rest) = read(&output);
        let others: Vec<_> = replayed.iter().filter(|frame| frame[ETHERNET - skip] >> 4 == 6).collect();
        assert!(!others.is_empty() && others.len() < replayed.len(), "both families were asked over");
        assert_eq!(rest.iter().collect::<Vec<_>>(), others, "{name}");
    }
}

#[test]
fn what_is_no_capture_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let input = directory.path().join("broken.pcap");
    fs::write(&input, "not a capture").expect("write");
    for (input, said) in [(&input, "is not a whole capture"), (&directory.path().join("none"), "cannot open")]
    {
        let output = directory.path().join("out.pcap");
        let ended = Command::new(binary()).arg("replay").arg(input).arg(output).output().expect("run it");
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains(said) && log.contains(input.to_str().unwrap()), "{log}");
    }
}

/// However long a capture is, a replay takes the same memory. A frame of 4 KiB for each packet would be three times the limit.
#[test]
fn a_replay_takes_no_memory_for_each_packet() {
    const PACKETS: u32 = 200_000;
    let directory = tempfile::tempdir().expect("a directory");
    let [input, output] = ["in.pcap", "out.pcap"].map(|name| directory.path().join(name));
    let file = BufWriter::new(File::create(&input).expect("create the capture"));
    let mut writer = PcapWriter::new(file).expect("write the header");
    for _ in 0..PACKETS {
        writer.write_packet(&PcapPacket::new(Duration::ZERO, 60, &[0; 60])).expect("write a packet");
    }
    writer.into_writer().flush().expect("write the capture");
    let mut replay = Command::new("prlimit");
    replay.arg(format!("--data={}", 256 << 20)).arg(binary()).arg("replay").arg(&input).arg(&output);
    let ended = execute(&mut replay);
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(log.contains(&format!("counter received {PACKETS}")), "{log}");
}

/// By whatever name; and what cannot be written is named.
#[test]
fn the_output_is_another_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let [input, link] = ["in.pcap", "link.pcap"].map(|name| directory.path().join(name));
    let mut writer = PcapWriter::new(Vec::new()).expect("a header");
    for _ in 0..100 {
        writer.write_packet(&PcapPacket::new(Duration::ZERO, 60, &[0; 60])).expect("write a packet");
    }
    let capture = writer.into_writer();
    fs::write(&input, &capture).expect("write");
    fs::hard_link(&input, &link).expect("a link");
    let full = Path::new("/dev/full").to_owned();
    for (output, said) in
        [(&input, "is the same file as"), (&link, "is the same file as"), (&full, "No space left")]
    {
        let ended = Command::new(binary()).arg("replay").arg(&input).arg(output).output().expect("run it");
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains(said) && log.contains(output.to_str().expect("a path in UTF-8")), "{log}");
        assert_eq!(fs::read(&input).expect("read"), capture, "as it was");
    }
}
