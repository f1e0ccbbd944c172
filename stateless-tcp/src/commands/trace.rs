//! The `trace` command: what passes the workers of a running instance, as lines or as a capture.

mod line;

use self::line::{Connections, fold};
use crate::config::prefix::Prefix;
use crate::control;
use crate::control::stream::{self, Told, Wish};
use crate::observe::packet::Packet;
use crate::observe::tap::{Direction, Filter};
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

/// Connections that ask for a name, and are remembered for that; with one more, none is.
const CONNECTIONS: usize = 1 << 16;

/// What to trace, and how.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct TraceOptions {
    /// Process id of the instance [default: the only one that runs]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Only these clients: an address, or a prefix
    #[arg(long, value_name = "PREFIX")]
    pub client: Option<Prefix>,
    /// Only this port of the server
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Only the receive queues with this number
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// Only connections that ask for this name or one below it, from the first such query on
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Stop after this number of frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Take one connection in N, completely
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
    /// Maximum of frames per second and queue; further frames are left out and counted
    #[arg(long, value_name = "FRAMES", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// File for a capture instead of lines; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// Shows what passes until there is enough of it, SIGINT, or the end of the instance.
///
/// # Errors
/// There is no such instance, or the capture cannot be written.
pub fn run(options: &TraceOptions) -> Result<()> {
    let TraceOptions { pid, client, port, queue, sample, rate, .. } = *options;
    let wish = Wish { filter: Filter { client, port, sample, rate }, queue };
    let mut sink = Sink::open(options)?;
    let (sources, stream) = control::trace(pid, &wish)?;
    eprintln!("tracing {}; SIGINT (Ctrl-C) ends it", sources.queues.join(", "));
    for interface in &sources.driver {
        eprintln!(
            "{interface} answers handshakes in the driver: SYN, FIN and acknowledgments without payload are not seen here, \
             except what is out of the ordinary (`run --handshake ring` shows all)"
        );
    }
    stream.set_nonblocking(true)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let lost = runtime.block_on(async {
        let stream = UnixStream::from_std(stream)?;
        tokio::select! {
            lost = follow(BufReader::new(stream), &sources.queues, &mut sink) => lost,
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    })?;
    let lost = lost.unwrap_or(sink.lost);
    eprintln!("{} frames, {lost} left out", sink.shown);
    Ok(())
}

/// Shows what comes. Returns how many frames were left out, where it ends by itself.
async fn follow(mut from: BufReader<UnixStream>, queues: &[String], sink: &mut Sink) -> Result<Option<u64>> {
    while sink.shown < sink.count {
        match stream::read(&mut from).await.context("the instance ended")? {
            None => bail!("the instance ended"),
            Some(Told::Lost(lost)) => sink.lost = lost,
            Some(Told::Frame { queue, time, direction, octets }) => {
                let queue = queues.get(queue).map_or("?", String::as_str);
                match sink.show(queue, time, direction, &octets) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                    result => result.with_context(|| format!("cannot write to {}", sink.name_of_output()))?,
                }
            }
        }
    }
    Ok(None)
}

/// Where frames are shown.
struct Sink {
    capture: Option<Capture>,
    connections: Connections,
    name: Option<String>,
    asking: HashSet<FourTuple, RandomState>,
    count: u64,
    shown: u64,
    lost: u64,
}

impl Sink {
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

    fn show(&mut self, queue: &str, time: Duration, direction: Direction, octets: &[u8]) -> io::Result<()> {
        let packet = Packet::read(direction, octets);
        if !self.wants(packet.as_ref()) {
            return Ok(());
        }
        self.shown += 1;
        if let Some(capture) = &mut self.capture {
            return capture.write(time, octets);
        }
        let line = match packet {
            Some(packet) => self.connections.line(time, queue, &packet),
            None => format!("{queue} {} octets that are no segment", octets.len()),
        };
        // A terminal may have been made larger or smaller.
        let width = io::stdout().is_terminal().then(size).and_then(Result::ok);
        let line = width.map_or(line.clone(), |(columns, _)| fold(&line, columns.into()));
        writeln!(io::stdout(), "{line}")
    }

    /// Where frames are shown, in words.
    fn name_of_output(&self) -> String {
        match &self.capture {
            Some(Capture { path, .. }) if !is_standard_output(path) => path.display().to_string(),
            _ => "standard output".to_owned(),
        }
    }

    /// Whether its connection asks for the name, if there is one.
    fn wants(&mut self, packet: Option<&Packet<'_>>) -> bool {
        let Some(wanted) = &self.name else { return true };
        let Some(packet) = packet else { return false };
        if packet.direction == Direction::Received && packet.questions().any(|name| is_below(&name, wanted)) {
            if self.asking.len() >= CONNECTIONS {
                self.asking.clear();
            }
            self.asking.insert(packet.segment.tuple);
        }
        self.asking.contains(&packet.segment.tuple)
    }
}

/// Whether `name` is `above`, or ends in it, which is in lowercase.
fn is_below(name: &str, above: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.strip_suffix(above) {
        Some(front) => front.is_empty() || above.is_empty() || front.ends_with('.'),
        None => false,
    }
}

fn is_standard_output(path: &Path) -> bool {
    path.to_str() == Some("-")
}

/// A capture in a file. Nothing is held back, so that it can be read while it grows.
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
                    anyhow!("cannot create {shown}: it is a symbolic link, which is not followed: name the file itself")
                }
                _ => anyhow!("cannot create {shown}: {error}"),
            })?
        };
        let header = PcapHeader { ts_resolution: TsResolution::NanoSecond, ..PcapHeader::default() };
        let writer =
            PcapWriter::with_header(file, header).with_context(|| format!("cannot write to {shown}"))?;
        Ok(Self { writer, path: path.to_owned() })
    }

    fn write(&mut self, time: Duration, octets: &[u8]) -> io::Result<()> {
        let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
        match self.writer.write_packet(&PcapPacket::new(time, length, octets)) {
            Ok(_) => Ok(()),
            Err(PcapError::IoError(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// A file for its owner alone, for it holds what clients say; who may write to the directory cannot have another written to
/// by a link.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(path)?;
    // One that was there keeps its mode otherwise. A pipe or a device is whose it is.
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
    fn a_capture_is_for_its_owner_alone() {
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
    fn a_name_is_itself_and_what_is_below_it() {
        for (name, above, expected) in [
            ("example.com", "example.com", true),
            ("WWW.Example.com.", "example.com", true),
            ("anexample.com", "example.com", false),
            ("com", "example.com", false),
            ("www.example.com", "", true),
        ] {
            assert_eq!(is_below(name, above), expected, "{name} below {above}");
        }
    }
}
