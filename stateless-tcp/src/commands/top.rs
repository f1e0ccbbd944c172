//! The `top` command: rates of a running instance, in a terminal, once a second.

mod state;
mod view;

use self::state::State;
use crate::control;
use crate::control::stream::{self, Told, Wish};
use crate::observe::snapshot::Snapshot;
use crate::observe::tap::Filter;
use anyhow::{Context as _, Result, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use std::io::{self, IsTerminal as _};
use std::os::unix::net::UnixStream as Stream;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Frames a second and queue that names and clients are counted by.
const RATE: u32 = 2_000;

/// How often the keyboard is looked at.
const KEYS: Duration = Duration::from_millis(100);

/// Whom to look at, and how closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct TopOptions {
    /// Process id of the instance [default: the only one that runs]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Count names and clients in one connection in N
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
}

/// What has happened.
enum Happened {
    Snapshot(Box<Snapshot>),
    Told(Told),
    /// A key that ends it.
    Quit,
    /// Another size of the terminal.
    Resized,
}

/// Shows rates until `q`, or the end of the instance.
///
/// # Errors
/// There is no such instance, or no terminal.
pub fn run(options: TopOptions) -> Result<()> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal to draw in; --metrics has the same numbers for programs");
    }
    let filter = Filter { client: None, port: None, sample: options.sample, rate: RATE };
    let (_, frames) = control::trace(options.pid, &Wish { filter, queue: None })?;
    let snapshots = control::top(options.pid)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    let mut terminal = ratatui::try_init().context("cannot draw in this terminal")?;
    let outcome = runtime.block_on(async {
        let mut snapshots = BufReader::new(open(snapshots)?).lines();
        let mut frames = BufReader::new(open(frames)?);
        let mut keys = keyboard();
        let mut state = State::default();
        loop {
            match next(&mut snapshots, &mut frames, &mut keys).await? {
                Happened::Quit => return Ok(()),
                Happened::Told(Told::Frame { direction, octets, .. }) => {
                    state.sample(direction, &octets);
                    continue;
                }
                Happened::Told(Told::Lost(_)) => continue,
                Happened::Snapshot(snapshot) => state.update(*snapshot),
                Happened::Resized => {}
            }
            if state.is_ready() {
                terminal.draw(|frame| view::draw(&state, frame))?;
            }
        }
    });
    ratatui::restore();
    // The keyboard is still looked at: it is not waited for.
    runtime.shutdown_background();
    outcome
}

fn open(stream: Stream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// What happens next.
async fn next(
    snapshots: &mut Lines<BufReader<UnixStream>>,
    frames: &mut BufReader<UnixStream>,
    keys: &mut mpsc::UnboundedReceiver<Happened>,
) -> Result<Happened> {
    // Between frames, so that none is read by halves.
    if let Ok(happened) = keys.try_recv() {
        return Ok(happened);
    }
    tokio::select! {
        biased;
        line = snapshots.next_line() => {
            let line = line?.context("the instance ended")?;
            Ok(Happened::Snapshot(Box::new(serde_json::from_str(&line).context("the instance is of another version")?)))
        }
        ready = frames.fill_buf() => {
            if ready?.is_empty() {
                bail!("the instance ended");
            }
            Ok(Happened::Told(stream::read(frames).await?.context("the instance ended")?))
        }
        Some(happened) = keys.recv() => Ok(happened),
    }
}

/// What is pressed, from a thread of its own: a terminal is waited for by its own means.
fn keyboard() -> mpsc::UnboundedReceiver<Happened> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let happened = match event::poll(KEYS).and_then(|any| any.then(event::read).transpose()) {
                Ok(Some(Event::Resize(..))) => Happened::Resized,
                Ok(Some(Event::Key(key)))
                    if key.code == KeyCode::Char('q')
                        || key.code == KeyCode::Char('c')
                            && key.modifiers.contains(KeyModifiers::CONTROL) =>
                {
                    Happened::Quit
                }
                Ok(_) => continue,
                Err(_) => Happened::Quit,
            };
            let _ = sender.send(happened);
        }
    });
    receiver
}
