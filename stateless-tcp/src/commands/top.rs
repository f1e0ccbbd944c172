//! The `top` command: shows rates of a running instance in the terminal, updated once a second.

mod state;
mod view;

use self::state::TopState;
use crate::control::client;
use crate::control::stream::{TraceEvent, TraceRequest, read_event};
use crate::observe::snapshot::Snapshot;
use crate::observe::tap::TapFilter;
use anyhow::{Context as _, Result, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use std::io::{self, IsTerminal as _};
use std::os::unix::net::UnixStream as Stream;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Frames for each second and queue in which names and clients are counted.
const SAMPLE_RATE: u32 = 2_000;

/// Interval at which the keyboard is read.
const KEY_INTERVAL: Duration = Duration::from_millis(100);

/// The options of `top`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct TopOptions {
    /// The process ID of the instance [default: the only one that runs]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Count names and clients in one of N connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
}

/// An event of the instance or the terminal.
enum TopEvent {
    Snapshot(Box<Snapshot>),
    Trace(TraceEvent),
    /// The key that ends the command.
    Quit,
    /// The terminal was resized.
    Resized,
}

/// Shows rates until `q` is pressed.
///
/// # Errors
/// There is no such instance or no terminal, or the instance ended.
pub fn run(options: TopOptions) -> Result<()> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal; --metrics has the same numbers for programs");
    }
    let filter = TapFilter { client: None, port: None, sample: options.sample, rate: SAMPLE_RATE };
    let (_, frames) = client::trace(options.pid, &TraceRequest { filter, queue: None })?;
    let snapshots = client::top(options.pid)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let mut terminal = ratatui::try_init().context("cannot draw in this terminal")?;
    let outcome = runtime.block_on(async {
        let mut snapshots = BufReader::new(open(snapshots)?).lines();
        let mut frames = BufReader::new(open(frames)?);
        let mut keys = keyboard();
        let mut state = TopState::default();
        loop {
            match next(&mut snapshots, &mut frames, &mut keys).await? {
                TopEvent::Quit => return Ok(()),
                TopEvent::Trace(TraceEvent::Frame { direction, bytes, .. }) => {
                    state.sample(direction, &bytes);
                    continue;
                }
                TopEvent::Trace(TraceEvent::Lost(_)) => continue,
                TopEvent::Snapshot(snapshot) => state.update(*snapshot),
                TopEvent::Resized => {}
            }
            if state.is_ready() {
                terminal.draw(|frame| view::draw(&state, frame))?;
            }
        }
    });
    ratatui::restore();
    // Without waiting for the thread that reads the keyboard.
    runtime.shutdown_background();
    outcome
}

fn open(stream: Stream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The next event.
async fn next(
    snapshots: &mut Lines<BufReader<UnixStream>>,
    frames: &mut BufReader<UnixStream>,
    keys: &mut mpsc::UnboundedReceiver<TopEvent>,
) -> Result<TopEvent> {
    // Between frames, so that no frame is read in part.
    if let Ok(event) = keys.try_recv() {
        return Ok(event);
    }
    tokio::select! {
        biased;
        line = snapshots.next_line() => {
            let line = line?.context("the instance ended")?;
            Ok(TopEvent::Snapshot(Box::new(serde_json::from_str(&line).context("the instance is of another version")?)))
        }
        ready = frames.fill_buf() => {
            if ready?.is_empty() {
                bail!("the instance ended");
            }
            Ok(TopEvent::Trace(read_event(frames).await?.context("the instance ended")?))
        }
        Some(event) = keys.recv() => Ok(event),
    }
}

/// Events of the terminal, from a thread of its own, as the terminal is read with blocking calls.
fn keyboard() -> mpsc::UnboundedReceiver<TopEvent> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEY_INTERVAL).and_then(|any| any.then(event::read).transpose()) {
                Ok(Some(Event::Resize(..))) => TopEvent::Resized,
                Ok(Some(Event::Key(key)))
                    if key.code == KeyCode::Char('q')
                        || key.code == KeyCode::Char('c')
                            && key.modifiers.contains(KeyModifiers::CONTROL) =>
                {
                    TopEvent::Quit
                }
                Ok(_) => continue,
                Err(_) => TopEvent::Quit,
            };
            let _ = sender.send(event);
        }
    });
    receiver
}
