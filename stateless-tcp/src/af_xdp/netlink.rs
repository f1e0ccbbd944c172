//! As much of netlink as the questions of the doctor and of the load generator take: ask, read the answers, walk their
//! attributes. Read-only.
//!
//! The tables of `linux/netlink.h`, `rtnetlink.h`, `genetlink.h`, `ethtool_netlink.h`, `netdev.h` and `nf_tables.h` are
//! fixed for ever; the constants stand beside their questions.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Marks nested attributes and byte orders; no part of the type.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// A netlink socket.
#[derive(Debug)]
pub struct Netlink {
    socket: File,
}

/// A message of an answer.
#[derive(Debug)]
pub struct Message {
    /// Its type.
    pub kind: u16,
    /// What follows its header.
    pub payload: Vec<u8>,
}

impl Netlink {
    /// Opens one.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn open(protocol: SockProtocol) -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        // The kernel answers at once; should it not, the doctor must still end.
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(2))?;
        let kernel = NetlinkAddr::new(0, 0);
        connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &kernel)?;
        Ok(Self { socket: File::from(socket) })
    }

    /// The answer to one question.
    ///
    /// # Errors
    /// The kernel's reason, also where the answer is a refusal.
    pub fn ask(&mut self, kind: u16, payload: &[u8]) -> io::Result<Vec<Message>> {
        self.exchange(kind, NLM_F_REQUEST | NLM_F_ACK, payload)
    }

    /// Everything of a kind.
    ///
    /// # Errors
    /// As [`Netlink::ask`].
    pub fn dump(&mut self, kind: u16, payload: &[u8]) -> io::Result<Vec<Message>> {
        self.exchange(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)
    }

    /// The attributes that the generic netlink family `name` answers `command` with.
    ///
    /// # Errors
    /// As [`Netlink::ask`].
    pub fn ask_family(&mut self, name: &str, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        let wanted = attribute(CTRL_ATTR_FAMILY_NAME, &[name.as_bytes(), b"\0"].concat());
        let answer = self.ask_generic(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &wanted)?;
        let family = find(&answer, CTRL_ATTR_FAMILY_ID).and_then(u16_of).ok_or(io::ErrorKind::InvalidData)?;
        self.ask_generic(family, command, attributes)
    }

    fn ask_generic(&mut self, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        let payload = [&[command, 1, 0, 0], attributes].concat();
        let mut messages = self.ask(family, &payload)?;
        let message = messages.pop().ok_or(io::ErrorKind::InvalidData)?;
        Ok(message.payload.get(GENERIC_HEADER..).unwrap_or_default().to_vec())
    }

    fn exchange(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<Message>> {
        let len = u32::try_from(HEADER + payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut request = Vec::with_capacity(HEADER + payload.len());
        request.extend_from_slice(&len.to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&flags.to_ne_bytes());
        // Sequence number and port: one question at a time, and the kernel knows the port.
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(payload);
        self.socket.write_all(&request)?;

        let mut messages = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let len = self.socket.read(&mut buffer)?;
            let mut rest = &buffer[..len];
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some((message, after)) = split_message(rest) {
                rest = after;
                match message.kind {
                    NLMSG_DONE => return Ok(messages),
                    NLMSG_ERROR => match i32_of(&message.payload) {
                        Some(0) => return Ok(messages),
                        Some(error) => return Err(io::Error::from_raw_os_error(error.wrapping_neg())),
                        None => return Err(io::ErrorKind::InvalidData.into()),
                    },
                    _ => messages.push(message),
                }
            }
        }
    }
}

fn split_message(octets: &[u8]) -> Option<(Message, &[u8])> {
    let len = usize::try_from(u32_of(octets)?).ok()?;
    let message = octets.get(..len)?;
    let kind = u16_of(message.get(4..)?)?;
    let payload = message.get(HEADER..)?.to_vec();
    Some((Message { kind, payload }, octets.get(aligned(len)..).unwrap_or_default()))
}

/// An attribute to ask with.
#[must_use]
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    // Names of interfaces and numbers: far below 2^16.
    let len = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
    let mut octets = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    octets.resize(aligned(octets.len()), 0);
    octets
}

/// An attribute that holds attributes; newer families insist that it says so.
#[must_use]
pub fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, attributes)
}

/// The attributes that `octets` hold, up to the first that is cut off.
pub fn attributes(octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let len = usize::from(u16_of(rest)?);
        let kind = u16_of(rest.get(2..)?)? & NLA_TYPE_MASK;
        let value = rest.get(ATTRIBUTE_HEADER..len)?;
        rest = rest.get(aligned(len)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of `kind`.
#[must_use]
pub fn find(octets: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(octets).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The first two octets as a number, in this machine's order, as netlink has them.
#[must_use]
pub fn u16_of(value: &[u8]) -> Option<u16> {
    value.first_chunk().copied().map(u16::from_ne_bytes)
}

/// Likewise the first four.
#[must_use]
pub fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

/// Likewise the first four, signed.
#[must_use]
pub fn i32_of(value: &[u8]) -> Option<i32> {
    value.first_chunk().copied().map(i32::from_ne_bytes)
}

/// Likewise the first eight.
#[must_use]
pub fn u64_of(value: &[u8]) -> Option<u64> {
    value.first_chunk().copied().map(u64::from_ne_bytes)
}

/// A text, which ends with a NUL.
#[must_use]
pub fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

const fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_walked() {
        let octets = [attribute(3, b"eth0\0"), nested(4, &7_u32.to_ne_bytes())].concat();
        assert_eq!(octets.len(), 12 + 8);
        assert_eq!(find(&octets, 3).map(text_of).as_deref(), Some("eth0"));
        assert_eq!(find(&octets, 4).and_then(u32_of), Some(7), "the nesting flag is no part of the type");
        assert_eq!(find(&octets, 5), None);
    }

    #[test]
    fn cut_off_attributes_end_the_walk() {
        let octets = attribute(3, b"12345678");
        for len in 0..octets.len() {
            assert_eq!(attributes(&octets[..len]).count(), 0, "{len} octets");
        }
        assert_eq!(attributes(&[0; 8]).count(), 0, "an attribute shorter than its header");
    }

    #[test]
    fn kernel_tells_of_the_loopback_interface() {
        let mut netlink = Netlink::open(SockProtocol::NetlinkRoute).unwrap();
        let messages = netlink.dump(18, &[0; 16]).unwrap();
        let names: Vec<_> =
            messages.iter().filter_map(|message| find(message.payload.get(16..)?, 3)).map(text_of).collect();
        assert!(names.iter().any(|name| name == "lo"), "{names:?}");
        let error = netlink.ask(18, &[&[0; 16][..], &attribute(3, b"nosuchlink\0")].concat()).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENODEV));
    }
}
