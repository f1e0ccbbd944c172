//! Instances that are found and asked.

use super::*;
use crate::dataplane::engine::{Content, Policy};
use crate::serving::{ServingState, Switch};
use stateless_tcp_core::tcp::AckPolicy;
use stateless_tcp_core::tcp::isn::{Key, Keys};

fn services(reloads: mpsc::UnboundedSender<Request>) -> Services {
    let keys = Keys { current: Key([1; 16]), previous: None };
    let rules = AckPolicy::Reliable;
    let policy = Policy { rules, keys, segment_size: 1220, hints: 0, fast_open: false };
    let switch = Arc::new(Switch::new(ServingState::first(Content::new([], Vec::new()), policy)));
    let house = House { doors: Arc::new([]), switch, trials: mpsc::unbounded_channel().0 };
    let handovers = Handovers { programs: Arc::new([]), steps: mpsc::unbounded_channel().0 };
    Services { reloads, looks: mpsc::unbounded_channel().0, sources: Arc::new([]), handovers, house }
}

fn listen(directory: &Path, outcome: Outcome) -> Listener {
    let (sender, mut requests) = mpsc::unbounded_channel::<Request>();
    let listener = Listener::bind_in(directory).unwrap();
    listener.listen(services(sender)).unwrap();
    std::thread::spawn(move || {
        while let Some(request) = requests.blocking_recv() {
            request.send(outcome.clone()).unwrap();
        }
    });
    listener
}

#[test]
fn the_outcome_reaches_the_caller() {
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
fn an_instance_is_found_or_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let missing = path.join("missing");
    assert!(reload_in(&missing, None).unwrap_err().to_string().contains("no instance runs"));
    // Left by a process that was killed.
    drop(UnixListener::bind(path_of(path, 4_000_001)).unwrap());
    assert!(reload_in(path, None).unwrap_err().to_string().contains("no instance runs"));
    assert!(!path_of(path, 4_000_001).exists(), "it is cleared away");

    let listener = listen(path, Ok(String::new()));
    let other = UnixListener::bind(path_of(path, 1)).unwrap();
    let error = reload_in(path, None).unwrap_err().to_string();
    assert_eq!(error, format!("several instances run: say which by --pid 1 or --pid {}", std::process::id()));
    let error = reload_in(path, Some(4_000_001)).unwrap_err().to_string();
    assert!(error.contains("process 4000001"), "{error}");
    drop(other);
    drop(listener);
    assert!(!path_of(path, std::process::id()).exists(), "it goes with its process");
}

#[test]
fn other_words_ask_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, mut requests) = mpsc::unbounded_channel();
    let listener = Listener::bind_in(directory.path()).unwrap();
    listener.listen(services(sender)).unwrap();
    let mut stream = UnixStream::connect(path_of(directory.path(), std::process::id())).unwrap();
    stream.write_all(b"stop\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "failed \"stop\" cannot be asked for");
    assert!(requests.try_recv().is_err());
}
