//! A capture of a wire, read back.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pcap_file::pcap::PcapReader;
use tempfile::TempDir;

use crate::{netns::Netns, packet::Packet, raw::Port};

/// Ends a capture: an `EtherType` for local experiments (IEEE 802) and a text, after which nothing of interest comes.
const MARK: &[u8] = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x0f\x88\xb5the capture ends here";

/// Time limit for tcpdump to write its capture.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    file: PathBuf,
    port: Port,
    _directory: TempDir,
}

impl Capture {
    /// Captures all that `interface` of `namespace` sends and receives from now on.
    pub fn start(namespace: &Netns, interface: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("capture.pcap");
        let mut tcpdump = namespace
            .command("tcpdump")
            .args([
                "-Z",
                "root",
                "-n",
                "-U",
                "--immediate-mode",
                "-s",
                "0",
                "-B",
                "65536",
                "-i",
                interface,
                "-w",
            ])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start tcpdump");
        let mut said = BufReader::new(tcpdump.stderr.take().expect("its standard error"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(
                said.read_line(&mut line).expect("hear tcpdump"),
                0,
                "tcpdump ended before it listened"
            );
        }
        Self { tcpdump, file, port: Port::open(namespace, interface), _directory: directory }
    }

    /// Ends the capture and returns every frame, in order.
    pub fn stop(self) -> Vec<Vec<u8>> {
        self.stop_timed().into_iter().map(|(_, frame)| frame).collect()
    }

    /// The same, each frame with its time since 1970.
    pub fn stop_timed(mut self) -> Vec<(Duration, Vec<u8>)> {
        self.port.send(MARK);
        let end = Instant::now() + PATIENCE;
        loop {
            let frames = self.read();
            // What was under way may still come behind it.
            if let Some(end) = frames.iter().position(|(_, frame)| frame.starts_with(MARK)) {
                return frames[..end].to_vec();
            }
            assert!(Instant::now() < end, "tcpdump did not write the closing frame within {PATIENCE:?}");
            assert_eq!(self.tcpdump.try_wait().expect("look at tcpdump"), None, "tcpdump ended early");
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends the capture and returns its TCP packets, in order.
    pub fn packets(self) -> Vec<Packet> {
        self.stop().iter().filter_map(|frame| Packet::parse(frame)).collect()
    }

    /// The frames up to the mark, or as far as they are written.
    fn read(&self) -> Vec<(Duration, Vec<u8>)> {
        let mut frames = Vec::new();
        let Ok(mut reader) = PcapReader::new(File::open(&self.file).expect("open the capture")) else {
            return frames;
        };
        while let Some(Ok(packet)) = reader.next_packet() {
            frames.push((packet.timestamp, packet.data.into_owned()));
            if frames.last().is_some_and(|(_, frame)| frame.starts_with(MARK)) {
                break;
            }
        }
        frames
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.tcpdump.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.tcpdump.wait();
    }
}
