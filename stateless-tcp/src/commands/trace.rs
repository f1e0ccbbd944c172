//! The `trace` command: shows the frames of a running instance's workers, as lines or as a capture.

mod line;

use self::line::{Connections, fold};
use crate::acl::Prefix;
use crate::control::client;
use crate::control::stream::{TraceEvent, TraceRequest, read_event};
use crate::observe::packet::TracedPacket;
use crate::observe::tap::{Direction, TapFilter};
use anyhow::{Context as _, Result, anyhow, bail};
use foldhash::fast::RandomState;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{PcapError, TsResolution};
use ratatui::crossterm::terminal::size;
use stateless_tcp_core::tcp::segment::FourTuple;
use std::collections::HashSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::UnixStream;

/// Most connections that are remembered for their queries. One more clears all.
const MAX_CONNECTIONS: usize = 1 << 16;

/// The options of `trace`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct TraceOptions {
    /// The process ID of the instance [default: the only one that runs]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Only clients with this address or prefix
    #[arg(long, value_name = "PREFIX")]
    pub client: Option<Prefix>,
    /// Only this served port
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Only receive queues with this number
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// Only connections that ask for this name or one below it, from that query on
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// End after N frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Show one of N connections, with all its frames
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
    /// Most frames for each second and queue; further ones are left out, and counted
    #[arg(long, value_name = "FRAMES", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Write a capture to this file instead of lines; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// Shows frames until `--count` is reached or SIGINT comes.
///
/// # Errors
/// There is no such instance, it ended, or the capture cannot be written.
pub fn run(options: &TraceOptions) -> Result<()> {
    let TraceOptions { pid, client, port, queue, sample, rate, .. } = *options;
    let request = TraceRequest { filter: TapFilter { client, port, sample, rate }, queue };
    let mut sink = TraceSink::open(options)?;
    let (traced, stream) = client::trace(pid, &request)?;
    eprintln!("tracing {}; SIGINT (Ctrl-C) ends it", traced.queues.join(", "));
    for interface in &traced.driver {
        eprintln!(
            "{interface} answers handshakes in the driver: SYN, FIN and acknowledgments without payload are not shown, \
             except unusual ones (`run --handshake ring` shows all)"
        );
    }
    stream.set_nonblocking(true)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let lost = runtime.block_on(async {
        let stream = UnixStream::from_std(stream)?;
        tokio::select! {
            lost = follow(BufReader::new(stream), &traced.queues, &mut sink) => lost,
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    })?;
    let lost = lost.unwrap_or(sink.lost);
    eprintln!("{} frames, {lost} left out", sink.shown);
    Ok(())
}

/// Shows frames. Returns the number of frames that were left out, if it ends by itself.
async fn follow(
    mut from: BufReader<UnixStream>,
    queues: &[String],
    sink: &mut TraceSink,
) -> Result<Option<u64>> {
    while sink.shown < sink.count {
        match read_event(&mut from).await.context("the instance ended")? {
            None => bail!("the instance ended"),
            Some(TraceEvent::Lost(lost)) => sink.lost = lost,
            Some(TraceEvent::Frame { queue, time, direction, bytes }) => {
                let queue = queues.get(queue).map_or("?", String::as_str);
                match sink.show(queue, time, direction, &bytes) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                    result => result.with_context(|| format!("cannot write to {}", sink.output_name()))?,
                }
            }
        }
    }
    Ok(None)
}

/// The output of frames.
struct TraceSink {
    capture: Option<Capture>,
    connections: Connections,
    name: Option<String>,
    asking: HashSet<FourTuple, RandomState>,
    count: u64,
    shown: u64,
    lost: u64,
}

impl TraceSink {
    fn open(options: &TraceOptions) -> Result<Self> {
        let capture = |path: &PathBuf| Capture::create(path);
        let normal = |name: &String| name.trim_end_matches('.').to_ascii_lowercase();
        Ok(Self {
            capture: options.pcap.as_ref().map(capture).transpose()?,
            connections: Connections::default(),
            name: options.name.as_ref().map(normal),
            asking: HashSet::default(),
            count: options.count.unwrap_or(u64::MAX),
            shown: 0,
            lost: 0,
        })
    }

    fn show(&mut self, queue: &str, time: Duration, direction: Direction, frame: &[u8]) -> io::Result<()> {
        let packet = TracedPacket::read(direction, frame);
        if !self.wants(packet.as_ref()) {
            return Ok(());
        }
        self.shown += 1;
        if let Some(capture) = &mut self.capture {
            return capture.write(time, frame);
        }
        let line = match packet {
            Some(packet) => self.connections.line(time, queue, &packet),
            None => format!("{queue} {} bytes that are not a TCP segment", frame.len()),
        };
        // The terminal may have been resized.
        let width = io::stdout().is_terminal().then(size).and_then(Result::ok);
        let line = width.map_or(line.clone(), |(columns, _)| fold(&line, columns.into()));
        writeln!(io::stdout(), "{line}")
    }

    /// The name of the output.
    fn output_name(&self) -> String {
        match &self.capture {
            Some(Capture { path, .. }) if !is_standard_output(path) => path.display().to_string(),
            _ => "standard output".to_owned(),
        }
    }

    /// Whether the packet's connection has asked for the wanted name, if there is one.
    fn wants(&mut self, packet: Option<&TracedPacket<'_>>) -> bool {
        let Some(wanted) = &self.name else { return true };
        let Some(packet) = packet else { return false };
        if packet.direction == Direction::Received
            && packet.query_names().any(|name| is_within(&name, wanted))
        {
            if self.asking.len() >= MAX_CONNECTIONS {
                self.asking.clear();
            }
            self.asking.insert(packet.segment.tuple);
        }
        self.asking.contains(&packet.segment.tuple)
    }
}

/// Whether `name` is `domain` or a name below it. `domain` is in lowercase.
fn is_within(name: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.strip_suffix(domain) {
        Some(front) => front.is_empty() || domain.is_empty() || front.ends_with('.'),
        None => false,
    }
}

fn is_standard_output(path: &Path) -> bool {
    path.to_str() == Some("-")
}

/// A capture in a file. It is not buffered, so that it can be read while it grows.
struct Capture {
    writer: PcapWriter<File>,
    path: PathBuf,
}

impl Capture {
    fn create(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = if is_standard_output(path) {
            io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?.into()
        } else {
            create_private(path).map_err(|error| match error.raw_os_error() {
                Some(nix::libc::ELOOP) => {
                    anyhow!(
                        "cannot create {shown}: it is a symbolic link, which is not followed: name its target"
                    )
                }
                _ => anyhow!("cannot create {shown}: {error}"),
            })?
        };
        let header = PcapHeader { ts_resolution: TsResolution::NanoSecond, ..PcapHeader::default() };
        let writer =
            PcapWriter::with_header(file, header).with_context(|| format!("cannot write to {shown}"))?;
        Ok(Self { writer, path: path.to_owned() })
    }

    fn write(&mut self, time: Duration, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        match self.writer.write_packet(&PcapPacket::new(time, length, frame)) {
            Ok(_) => Ok(()),
            Err(PcapError::IoError(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Creates a file that only its owner can read, as it contains data of clients. Links are not followed, so that others who
/// can write to the directory cannot redirect the output.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(path)?;
    // An existing file would keep its mode. Pipes and devices keep theirs.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_the_owner_can_read_a_capture() {
        let directory = tempfile::tempdir().unwrap();
        let [new, old] = ["new.pcap", "old.pcap"].map(|name| directory.path().join(name));
        fs::write(&old, "what was there before, and is longer than a header").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        for path in [new, old] {
            let mut capture = Capture::create(&path).unwrap();
            capture.write(Duration::ZERO, &[0; 60]).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(
                (metadata.permissions().mode() & 0o7777, metadata.len()),
                (0o600, 24 + 16 + 60),
                "{path:?}"
            );
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [target, link] = ["target", "link.pcap"].map(|name| directory.path().join(name));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        let error = Capture::create(&link).err().unwrap().to_string();
        assert!(error.contains("link.pcap: it is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(target).unwrap(), "precious");
    }

    #[test]
    fn errors_name_the_file() {
        let missing = Path::new("/nonexistent/a.pcap");
        let error = format!("{:#}", Capture::create(missing).err().unwrap());
        assert!(error.starts_with("cannot create /nonexistent/a.pcap: No such file"), "{error}");
        let error = format!("{:#}", Capture::create(Path::new("/dev/full")).err().unwrap());
        assert!(
            error.starts_with("cannot write to /dev/full: ") && error.contains("No space left"),
            "{error}"
        );
    }

    #[test]
    fn a_domain_contains_itself_and_names_below() {
        for (name, domain, expected) in [
            ("example.com", "example.com", true),
            ("WWW.Example.com.", "example.com", true),
            ("anexample.com", "example.com", false),
            ("com", "example.com", false),
            ("www.example.com", "", true),
        ] {
            assert_eq!(is_within(name, domain), expected, "{name} within {domain}");
        }
    }
}
