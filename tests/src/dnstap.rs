//! dnstap as its collector writes it down, read by code that knows nothing of the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::{execute, text};

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
const ACCEPT: u32 = 1;

/// A running fstrm_capture. Dropped, it is killed.
#[derive(Debug)]
pub struct Collector(Child);

impl Collector {
    /// Listens at `socket`, and writes what it hears to `file`.
    pub fn start(socket: &Path, file: &Path) -> Self {
        let _ = fs::remove_file(socket);
        let mut command = Command::new("fstrm_capture");
        command.arg("-t").arg(text(CONTENT_TYPE)).arg("-u").arg(socket).arg("-w").arg(file);
        let child = command.stderr(Stdio::null()).spawn().expect("start fstrm_capture");
        let end = Instant::now() + PATIENCE;
        while !socket.exists() {
            assert!(Instant::now() < end, "fstrm_capture does not listen at {}", socket.display());
            sleep(PAUSE);
        }
        Self(child)
    }

    /// Ends it when it has heard everything.
    pub fn end(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        assert!(self.0.wait().expect("it ends").success(), "fstrm_capture failed");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A reader that has agreed to read, and does not.
pub fn agree(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().expect("somebody who writes");
    let mut ready = vec![0; 20 + CONTENT_TYPE.len()];
    stream.read_exact(&mut ready).expect("READY");
    // Of another type, and besides the same.
    ready[8..12].copy_from_slice(&ACCEPT.to_be_bytes());
    stream.write_all(&ready).expect("write ACCEPT");
    stream
}

/// One event, its numbers and bytes by the numbers of their fields in dnstap.proto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnstapEvent {
    /// Of the server.
    pub server: Fields,
    /// Of the message.
    pub message: Fields,
}

/// The fields of a message in Protocol Buffers: each is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    numbers: BTreeMap<u64, u64>,
    bytes: BTreeMap<u64, Vec<u8>>,
}

impl Fields {
    fn read(mut rest: &[u8]) -> Self {
        let mut fields = Self::default();
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let number = tag >> 3;
            let before = match tag & 7 {
                0 => fields.numbers.insert(number, varint(&mut rest)).is_some(),
                2 => {
                    let length = usize::try_from(varint(&mut rest)).expect("a length");
                    fields.bytes.insert(number, take(&mut rest, length).to_vec()).is_some()
                }
                5 => {
                    let value = u32::from_le_bytes(take(&mut rest, 4).try_into().expect("four octets"));
                    fields.numbers.insert(number, value.into()).is_some()
                }
                other => panic!("field {number} is of type {other}"),
            };
            assert!(!before, "field {number} is there twice");
        }
        fields
    }

    /// The number in this field.
    pub fn number(&self, field: u64) -> u64 {
        *self.numbers.get(&field).unwrap_or_else(|| panic!("no number {field} in {self:?}"))
    }

    /// The bytes in this field, if it is there.
    pub fn bytes(&self, field: u64) -> Option<&[u8]> {
        self.bytes.get(&field).map(Vec::as_slice)
    }

    /// The time in two fields: seconds, and nanoseconds.
    pub fn time(&self, field: u64) -> Duration {
        Duration::new(self.number(field), u32::try_from(self.number(field + 1)).expect("nanoseconds"))
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(length).expect("it is whole");
    *rest = left;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The events in a file of Frame Streams, which has an end.
pub fn events(file: &Path) -> Vec<DnstapEvent> {
    let bytes = fs::read(file).expect("the collector's file");
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    let mut controls = 0;
    while !rest.is_empty() {
        let length = u32::from_be_bytes(take(&mut rest, 4).try_into().expect("four octets"));
        if length == 0 {
            let length = u32::from_be_bytes(take(&mut rest, 4).try_into().expect("four octets"));
            take(&mut rest, length as usize);
            controls += 1;
            continue;
        }
        let server = Fields::read(take(&mut rest, length as usize));
        let message = Fields::read(server.bytes(14).expect("a message"));
        events.push(DnstapEvent { server, message });
    }
    assert_eq!(controls, 2, "START and STOP");
    events
}

/// The output of Debian's reader for a file, a line an event.
pub fn lines(file: &Path) -> Vec<String> {
    let output = execute(Command::new("dnstap-ldns").arg("-q").arg("-r").arg(file));
    text(&output.stdout).lines().map(ToOwned::to_owned).collect()
}
