//! A copied frame as a segment, and what its payload says: for people to read.

use super::tap::Direction;
use crate::services::dns::wire::PREFIX;
use domain::base::Message;
use domain::base::iana::Opcode;
use stateless_tcp_core::admission::PacketKind;
use stateless_tcp_core::steering::{self, ClientPolicy, Steering};
use stateless_tcp_core::tcp::segment::{Address, Segment};
use stateless_tcp_core::wire;
use std::fmt::Write as _;
use std::ops::Range;

/// Most octets of a line of HTTP that are shown.
const LINE: usize = 60;

/// Everything is served: what was copied was.
struct Everything;

impl Steering for Everything {
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

/// A segment of either direction.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Where to.
    pub direction: Direction,
    /// Its header; the connection is seen from the server's side, whoever sent it.
    pub segment: Segment,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a frame. None if it is no whole segment.
    #[must_use]
    pub fn read(direction: Direction, octets: &'a [u8]) -> Option<Self> {
        let layout = steering::steer(octets, &Everything).ok()?;
        let received = wire::parse(octets, &layout).ok()?;
        let mut segment = received.segment;
        if direction == Direction::Sent {
            segment.tuple = wire::swapped(segment.tuple);
        }
        Some(Self { direction, segment, payload: octets.get(received.payload())? })
    }

    /// What the payload says, as far as it can be told from this segment alone.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.payload.is_empty() {
            return String::new();
        }
        let messages: Vec<String> =
            messages(self.payload).filter_map(|at| message(&self.payload[at])).collect();
        if messages.is_empty() { line(self.payload).unwrap_or_default() } else { messages.join(", ") }
    }

    /// The names that are asked for.
    pub fn questions(&self) -> impl Iterator<Item = String> {
        let messages = messages(self.payload).filter_map(|at| Message::from_octets(&self.payload[at]).ok());
        messages
            .filter(|message| message.header().opcode() == Opcode::QUERY && !message.header().qr())
            .filter_map(|message| Some(message.first_question()?.qname().to_string()))
    }
}

/// Where the whole DNS messages stand in `stream`, which begins with one. Of octets that are none it finds some, too.
pub fn messages(stream: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &prefix: &[u8; PREFIX] = stream.get(at..)?.first_chunk()?;
        let begin = at + PREFIX;
        at = begin + usize::from(u16::from_be_bytes(prefix));
        (at <= stream.len()).then_some(begin..at)
    })
}

/// A DNS message: `0x1234 A? example.com.`, or `0x1234 NOERROR 1/0/1 A example.com.`
fn message(octets: &[u8]) -> Option<String> {
    let message = Message::from_octets(octets).ok()?;
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

/// The first line of what can be read.
fn line(octets: &[u8]) -> Option<String> {
    let line = octets.split(|octet| matches!(octet, b'\r' | b'\n')).next()?;
    let printable = line.iter().all(|octet| octet.is_ascii_graphic() || *octet == b' ');
    let text = str::from_utf8(line).ok().filter(|line| printable && !line.is_empty())?;
    let text: String = text.chars().take(LINE).collect();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_one_behind_the_other() {
        let stream = b"\0\x03abc\0\0\0\x02de\0\x09cut";
        assert_eq!(messages(stream).collect::<Vec<_>>(), [2..5, 7..7, 9..11]);
        assert_eq!(messages(b"\0").count(), 0);
    }

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
