//! Lost segments are recovered by the client's own retransmissions, under `--rules reliable`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use rstest::rstest;
use stateless_tcp_tests::client::query;
use stateless_tcp_tests::lossy_network::{LossyNetwork, SERVER, Trouble};
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::INTERFACE;

/// Connections of the acceptance test.
const CONNECTIONS: usize = 500;
/// Open at a time: most of them wait for a timer.
const AT_ONCE: usize = 125;
/// Per cent of the segments lost each way.
const LOSS: u32 = 10;
/// A client gives up after this. Its kernel would try for a quarter of an hour.
const PATIENCE: Duration = Duration::from_mins(1);

const A: u16 = 1;
const TXT: u16 = 16;

/// All that the server sends on one connection with one question, up to its FIN.
fn ask(name: &str, rtype: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((SERVER, 53))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&query(0x1234, name, rtype))?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

#[rstest]
#[case::one_segment("example.com", A, 1..=1)]
#[case::five_segments("large.example.com", TXT, 5..=5)]
fn every_connection_gets_the_right_bytes(
    #[case] name: &str,
    #[case] rtype: u16,
    #[case] segments: std::ops::RangeInclusive<usize>,
) {
    let mut path = LossyNetwork::new(1);
    let responder = Responder::try_start(&path.servers[0], 1, &["run", "-i", INTERFACE]).expect("it starts");
    let right = path.client.enter(|| ask(name, rtype)).expect("an answer over a good path");
    assert!(segments.contains(&right.len().div_ceil(1220)), "an answer of {} octets", right.len());

    path.disturb(Trouble { lost: LOSS, ..Trouble::default() });
    let before = responder.counters();
    let failures = Mutex::new(Vec::new());
    let left = Mutex::new(CONNECTIONS);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                path.client.enter(|| {
                    while take_one(&left) {
                        match ask(name, rtype) {
                            Ok(answer) if answer == right => {}
                            Ok(answer) => {
                                failures
                                    .lock()
                                    .expect("no thread panicked")
                                    .push(format!("{} other octets", answer.len()));
                            }
                            Err(error) => {
                                failures.lock().expect("no thread panicked").push(error.to_string());
                            }
                        }
                    }
                });
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panicked");
    assert!(failures.is_empty(), "{} of {CONNECTIONS} failed, the first: {}", failures.len(), failures[0]);
    assert!(
        path.counted("lost") > CONNECTIONS as u64 / 2,
        "only {} segments were lost",
        path.counted("lost")
    );
    let counted = responder.counters().since(&before);
    assert!(counted["answered"] > CONNECTIONS as u64, "no request came twice: {counted:?}");
    if *segments.start() > 1 {
        assert!(counted["resumed"] > 0, "no answer was resumed: {counted:?}");
    }
    responder.stop().assert_conserved();
}

fn take_one(left: &Mutex<usize>) -> bool {
    let mut left = left.lock().expect("no thread panicked");
    let some = *left > 0;
    *left -= usize::from(some);
    some
}
