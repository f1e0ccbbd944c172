//! A copied frame as a TCP segment, and its payload in words.

use super::tap::Direction;
use crate::dns_framing::messages;
use domain::base::Message;
use domain::base::iana::Opcode;
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::steering::{self, ClientPolicy, Steering};
use stateless_tcp_core::tcp::segment::{Address, Segment};
use stateless_tcp_core::wire;
use std::fmt::Write as _;

/// Most characters of an HTTP line that are shown.
const LINE: usize = 60;

/// Steers every frame to the service, as the frame was copied there.
struct ServeAll;

impl Steering for ServeAll {
    fn address(&self, _address: &Address) -> bool {
        true
    }

    fn port(&self, _port: u16) -> bool {
        true
    }

    fn datagrams(&self) -> Option<u16> {
        None
    }

    fn treatment(&self, _client: &Address) -> ClientPolicy {
        ClientPolicy::Serve
    }

    fn limits_segments(&self) -> bool {
        false
    }

    fn affords(&self, _client: &Address, _kind: PacketKind) -> bool {
        true
    }
}

/// A TCP segment of either direction.
#[derive(Clone, Copy, Debug)]
pub struct TracedPacket<'a> {
    /// Its direction.
    pub direction: Direction,
    /// Its header. The connection is that of the server's side in both directions.
    pub segment: Segment,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> TracedPacket<'a> {
    /// Parses a frame; `None` if it is not a whole segment.
    #[must_use]
    pub fn read(direction: Direction, frame: &'a [u8]) -> Option<Self> {
        let layout = steering::steer(frame, &ServeAll).ok()?;
        let received = wire::parse(frame, &layout).ok()?;
        let mut segment = received.segment;
        if direction == Direction::Sent {
            segment.tuple = wire::swapped(segment.tuple);
        }
        Some(Self { direction, segment, payload: frame.get(received.payload())? })
    }

    /// The payload in words, as far as this segment alone tells.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.payload.is_empty() {
            return String::new();
        }
        let messages: Vec<String> =
            messages(self.payload).filter_map(|at| message(&self.payload[at])).collect();
        if messages.is_empty() { line(self.payload).unwrap_or_default() } else { messages.join(", ") }
    }

    /// The names of DNS queries in the payload.
    pub fn query_names(&self) -> impl Iterator<Item = String> {
        let messages = messages(self.payload).filter_map(|at| Message::from_octets(&self.payload[at]).ok());
        messages
            .filter(|message| message.header().opcode() == Opcode::QUERY && !message.header().qr())
            .filter_map(|message| Some(message.first_question()?.qname().to_string()))
    }
}

/// A DNS message: `0x1234 A? example.com.`, or `0x1234 NOERROR 1/0/1 A example.com.`
fn message(bytes: &[u8]) -> Option<String> {
    let message = Message::from_octets(bytes).ok()?;
    let header = message.header();
    let question = message.first_question()?;
    let (name, kind) = (question.qname(), question.qtype());
    let mut text = format!("{:#06x} ", header.id());
    let counts = message.header_counts();
    let _ = if header.qr() {
        let (answer, authority, additional) = (counts.ancount(), counts.nscount(), counts.arcount());
        write!(text, "{} {answer}/{authority}/{additional} {kind} {name}.", header.rcode())
    } else {
        write!(text, "{kind}? {name}.")
    };
    Some(text)
}

/// The first line of printable text.
fn line(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let printable = line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let text = str::from_utf8(line).ok().filter(|line| printable && !line.is_empty())?;
    let text: String = text.chars().take(LINE).collect();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_described() {
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x1c\0\x01";
        assert_eq!(message(query).unwrap(), "0x1234 AAAA? example.com.");
        let mut answer = query.to_vec();
        (answer[2], answer[3], answer[9]) = (0x81, 3, 1);
        assert_eq!(message(&answer).unwrap(), "0x1234 NXDOMAIN 0/1/0 AAAA example.com.");
        assert_eq!(message(b"GET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(line(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap(), "GET / HTTP/1.1");
        assert_eq!(line(b"\x01\x02\r\n"), None);
    }
}
