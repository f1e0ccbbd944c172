//! A client and a server of the control socket.

use super::check::CheckTargets;
use super::client::reload_in;
use super::handover::HandoverService;
use super::server::{ControlHandles, ControlSocket, ReloadRequest};
use super::*;
use crate::serving::{ActiveState, AnswerPolicy, Content, ServingState};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::epoch::CONNECTION_LIFETIME;
use stateless_tcp_core::tcp::isn::{Key, Keys};
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use tokio::sync::mpsc;

fn handles(reloads: mpsc::UnboundedSender<ReloadRequest>) -> ControlHandles {
    let keys = Keys { current: Key([1; 16]), previous: None };
    let rules = AckPolicy::Reliable;
    let policy = AnswerPolicy {
        rules,
        keys,
        segment_size: 1220,
        hints: 0,
        fast_open: false,
        connection_lifetime: CONNECTION_LIFETIME,
    };
    let active = Arc::new(ActiveState::from_pointee(ServingState::new(Content::new([], Vec::new()), policy)));
    let targets = CheckTargets { queues: Arc::new([]), active, test_frames: mpsc::unbounded_channel().0 };
    let handover = HandoverService { programs: Arc::new([]), steps: mpsc::unbounded_channel().0 };
    ControlHandles {
        reloads,
        snapshots: mpsc::unbounded_channel().0,
        sources: Arc::new([]),
        handover,
        targets,
    }
}

fn listen(directory: &Path, result: CommandResult) -> ControlSocket {
    let (sender, mut requests) = mpsc::unbounded_channel::<ReloadRequest>();
    let listener = ControlSocket::bind_in(directory).unwrap();
    listener.listen(handles(sender)).unwrap();
    std::thread::spawn(move || {
        while let Some(request) = requests.blocking_recv() {
            request.send(result.clone()).unwrap();
        }
    });
    listener
}

#[test]
fn the_result_reaches_the_client() {
    for (outcome, expected) in [
        (Ok("served".to_owned()), "served".to_owned()),
        (
            Err("a.zone:6:5: no such type".to_owned()),
            format!("process {}: a.zone:6:5: no such type", std::process::id()),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let _listener = listen(directory.path(), outcome.clone());
        for pid in [None, Some(std::process::id())] {
            let result = reload_in(directory.path(), pid);
            assert_eq!(result.is_ok(), outcome.is_ok());
            assert_eq!(result.unwrap_or_else(|error| error.to_string()), expected);
        }
    }
}

#[test]
fn an_instance_is_found_or_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let missing = path.join("missing");
    assert!(reload_in(&missing, None).unwrap_err().to_string().contains("no instance runs"));
    // Left by a process that was killed.
    drop(UnixListener::bind(socket_path(path, 4_000_001)).unwrap());
    assert!(reload_in(path, None).unwrap_err().to_string().contains("no instance runs"));
    assert!(!socket_path(path, 4_000_001).exists(), "it is removed");

    let listener = listen(path, Ok(String::new()));
    let other = UnixListener::bind(socket_path(path, 1)).unwrap();
    let error = reload_in(path, None).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("several instances run: choose one by --pid 1 or --pid {}", std::process::id())
    );
    let error = reload_in(path, Some(4_000_001)).unwrap_err().to_string();
    assert!(error.contains("process 4000001"), "{error}");
    drop(other);
    drop(listener);
    assert!(!socket_path(path, std::process::id()).exists(), "it is removed with its process");
}

#[test]
fn an_unknown_command_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, mut requests) = mpsc::unbounded_channel();
    let listener = ControlSocket::bind_in(directory.path()).unwrap();
    listener.listen(handles(sender)).unwrap();
    let mut stream = UnixStream::connect(socket_path(directory.path(), std::process::id())).unwrap();
    stream.write_all(b"stop\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "failed \"stop\" is not a command");
    assert!(requests.try_recv().is_err());
}
