//! What is sent to a caller for as long as it listens: frames that pass the workers, or snapshots.
//!
//! After `trace FILTER` come a line that says what is listened to ([`Sources`]), and then records:
//!
//! ```text
//! kind (1 octet) | number of the queue in that line (2) | nanoseconds since 1970 (8) | length (4) | octets
//! ```
//!
//! Numbers are in network byte order. Of kind 2 the octets are how many frames were left out until now (8); such a record
//! comes twice a second, so that each side knows of the other. After `top` comes a snapshot a second, a line of JSON each.

use super::{Outcome, say};
use crate::observe::exporter::Look;
use crate::observe::tap::{Direction, Filter, Listener, Record, TapRegistry};
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};

/// How often the rings are emptied.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a caller hears what was left out.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A worker takes a tap within a turn, or when it has been idle for a while.
const ATTACHED: Duration = Duration::from_secs(2);

/// A caller that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two snapshots.
const SNAPSHOT: Duration = Duration::from_secs(1);

/// Where frames can be listened to.
#[derive(Clone, Debug)]
pub struct Source {
    /// Interface.
    pub interface: String,
    /// Its queue.
    pub queue: u32,
    /// The XDP program answers handshakes there, which pass no worker.
    pub driver: bool,
    /// Where taps are left.
    pub outlet: Arc<TapRegistry>,
}

/// What a caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Which frames.
    pub filter: Filter,
    /// Only those of the queues with this number.
    pub queue: Option<u32>,
}

/// What a caller is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Interface and queue, as in `eth0/0`, by number.
    pub queues: Vec<String>,
    /// Interfaces where the XDP program answers handshakes, which are not seen therefore.
    pub driver: Vec<String>,
}

/// One thing that a caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A frame passed a queue.
    Frame {
        /// Its number in [`Sources::queues`].
        queue: usize,
        /// Since 1970.
        time: Duration,
        /// Where to.
        direction: Direction,
        /// From the Ethernet header on.
        octets: Vec<u8>,
    },
    /// So many frames were left out until now.
    Lost(u64),
}

const RECEIVED: u8 = 0;
const SENT: u8 = 1;
const LOST: u8 = 2;

/// Sends the frames that `wish` names, until the caller is gone.
pub(super) fn frames(mut stream: &UnixStream, wish: Wish, sources: &[Source]) -> io::Result<()> {
    let chosen = |source: &&Source| wish.queue.is_none_or(|queue| queue == source.queue);
    let sources: Vec<&Source> = sources.iter().filter(chosen).collect();
    if sources.is_empty() {
        let text = format!("no queue {} is served", wish.queue.unwrap_or_default());
        return say(stream, &Err(text));
    }
    let mut listener = Listener::to_frames(sources.iter().map(|source| &*source.outlet), wish.filter);
    let end = Instant::now() + ATTACHED;
    while !sources.iter().all(|source| source.outlet.is_empty()) && Instant::now() < end {
        sleep(PAUSE);
    }
    let mut driver: Vec<String> =
        sources.iter().filter(|source| source.driver).map(|source| source.interface.clone()).collect();
    driver.dedup();
    let queues = sources.iter().map(|source| format!("{}/{}", source.interface, source.queue)).collect();
    let shown = serde_json::to_string(&Sources { queues, driver }).map_err(io::Error::other)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    say(stream, &Ok(shown + "\n"))?;
    let mut out = BufWriter::new(&mut stream);
    let mut heartbeat = Instant::now();
    loop {
        let any = listener.frames(|number, Record { time, direction, octets }| {
            let kind = if direction == Direction::Received { RECEIVED } else { SENT };
            write(&mut out, kind, number, time, octets)
        })?;
        if heartbeat <= Instant::now() {
            heartbeat = Instant::now() + HEARTBEAT;
            write(&mut out, LOST, 0, Duration::ZERO, &listener.lost().to_be_bytes())?;
        }
        out.flush()?;
        if !any {
            sleep(PAUSE);
        }
    }
}

fn write(out: &mut impl Write, kind: u8, number: usize, time: Duration, octets: &[u8]) -> io::Result<()> {
    let number = u16::try_from(number).map_err(io::Error::other)?;
    let time = u64::try_from(time.as_nanos()).map_err(io::Error::other)?;
    let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
    out.write_all(&[kind])?;
    out.write_all(&number.to_be_bytes())?;
    out.write_all(&time.to_be_bytes())?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(octets)
}

/// Reads what was sent after `trace FILTER`, one thing at a time. None at the end.
///
/// # Errors
/// The connection broke, or it speaks another language.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Told>> {
    let Ok(kind) = from.read_u8().await else { return Ok(None) };
    let queue = from.read_u16().await?.into();
    let time = Duration::from_nanos(from.read_u64().await?);
    let length = from.read_u32().await?;
    let mut octets = Vec::new();
    from.take(length.into()).read_to_end(&mut octets).await?;
    let direction = match kind {
        RECEIVED => Direction::Received,
        SENT => Direction::Sent,
        LOST => {
            let lost = octets.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
            return Ok(Some(Told::Lost(u64::from_be_bytes(lost))));
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Some(Told::Frame { queue, time, direction, octets }))
}

/// Sends a snapshot a second, until the caller is gone.
pub(super) fn snapshots(mut stream: &UnixStream, looks: &mpsc::UnboundedSender<Look>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    say(stream, &Outcome::Ok("\n".to_owned()))?;
    loop {
        let (sender, receiver) = oneshot::channel();
        let snapshot = looks.send(sender).ok().and_then(|()| receiver.blocking_recv().ok());
        let Some(snapshot) = snapshot else { return Ok(()) };
        let mut line = serde_json::to_vec(&snapshot).map_err(io::Error::other)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        sleep(SNAPSHOT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let frame = Told::Frame {
            queue: 3,
            time: Duration::from_nanos(1_700_000_000_000_000_007),
            direction: Direction::Sent,
            octets: vec![1, 2, 3],
        };
        let mut octets = Vec::new();
        if let Told::Frame { queue, time, octets: body, .. } = &frame {
            write(&mut octets, SENT, *queue, *time, body).unwrap();
        }
        write(&mut octets, LOST, 0, Duration::ZERO, &77_u64.to_be_bytes()).unwrap();
        let whole = octets.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut from = whole.as_slice();
            assert_eq!(read(&mut from).await.unwrap(), Some(frame));
            assert_eq!(read(&mut from).await.unwrap(), Some(Told::Lost(77)));
            assert_eq!(read(&mut from).await.unwrap(), None, "the end");
            assert!(read(&mut &[9; 15][..]).await.is_err(), "another language");
            assert!(read(&mut &whole[..9]).await.is_err(), "cut off");
        });
    }
}
