//! A terminal that nobody sits at.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::netns::{execute, text};

/// Time limit for output to appear, and the pause between two looks.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(100);

/// A terminal with a program in it. Dropped, both end.
#[derive(Debug)]
pub struct Pty {
    socket: PathBuf,
    width: usize,
    _directory: TempDir,
}

impl Pty {
    /// One of this size that runs `command`.
    pub fn open(width: usize, height: usize, command: &Command) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pty = Self { socket: directory.path().join("tmux"), width, _directory: directory };
        let size = ["-x", &width.to_string(), "-y", &height.to_string()].map(str::to_owned);
        let mut tmux = pty.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        execute(tmux.args(size).arg(command.get_program()).args(command.get_args()));
        pty
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(arguments);
        command
    }

    /// Presses a key.
    pub fn press(&self, key: &str) {
        execute(&mut self.tmux(&["send-keys", key]));
    }

    /// The screen's content, a line each.
    pub fn lines(&self) -> Vec<String> {
        let output = execute(&mut self.tmux(&["capture-pane", "-p"]));
        text(&output.stdout).lines().map(ToOwned::to_owned).collect()
    }

    /// What is seen as soon as all of `words` are, while `work` goes on.
    pub fn until(&self, words: &[&str], work: impl Fn()) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            work();
            let lines = self.lines();
            let seen = |word: &&&str| lines.iter().any(|line| line.contains(**word));
            if words.iter().filter(seen).count() == words.len() {
                assert!(lines.iter().all(|line| line.chars().count() <= self.width), "{lines:#?}");
                return lines;
            }
            let missing: Vec<_> = words.iter().filter(|word| !seen(word)).collect();
            assert!(Instant::now() < end, "{missing:?} is not in\n{}", lines.join("\n"));
            sleep(PAUSE);
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}
