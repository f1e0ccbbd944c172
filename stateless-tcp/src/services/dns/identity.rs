//! Who is answering: the name and version that clients get who ask for them, by NSID (RFC 5001) and by TXT records of class
//! CH (RFC 4892).

use super::query::DnsQuestion;
use super::rtype;
use super::wire::CLASS_CH;

/// The text for questions about the version.
const VERSION: &str = concat!("stateless-tcp ", env!("CARGO_PKG_VERSION"));

/// The names of the questions in class CH, in wire form and lowercase.
const OF_IDENTITY: [&[u8]; 2] = [b"\x02id\x06server\0", b"\x08hostname\x04bind\0"];
const OF_VERSION: [&[u8]; 2] = [b"\x07version\x06server\0", b"\x07version\x04bind\0"];

/// The name of a server. It is stored in place, so that the options of a service stay plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerName {
    length: u8,
    bytes: [u8; Self::MAX],
}

impl ServerName {
    /// Largest length in bytes.
    pub const MAX: usize = 63;

    /// `None` if `text` is empty or too long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).ok().filter(|&length| length > 0)?;
        Some(Self { length, bytes })
    }

    /// The text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The facts that a server tells about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its name; `None`: it has none to tell.
    pub name: Option<ServerName>,
    /// It does not tell its version.
    pub hide_version: bool,
}

impl Identity {
    /// The text that answers `question`, if that asks for such a fact and the server tells it.
    pub(super) fn text(&self, question: &DnsQuestion) -> Option<&[u8]> {
        let asked = question.name.wire();
        if question.class != CLASS_CH || question.rtype != rtype::TXT {
            return None;
        }
        if OF_IDENTITY.contains(&asked) {
            self.name.as_ref().map(ServerName::bytes)
        } else if OF_VERSION.contains(&asked) && !self.hide_version {
            Some(VERSION.as_bytes())
        } else {
            None
        }
    }

    /// The lengths of its texts. Servers with equal lengths give answers of the same length, and so may stand in for each
    /// other: the bytes may differ, as those of a repeated answer may.
    pub(super) fn lengths(&self) -> (usize, usize) {
        let version = if self.hide_version { 0 } else { VERSION.len() };
        (self.name.map_or(0, |name| name.bytes().len()), version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_63_bytes() {
        assert_eq!(ServerName::new("ns1").unwrap().bytes(), b"ns1");
        assert_eq!(ServerName::new(&"x".repeat(63)).unwrap().bytes(), [b'x'; 63]);
        assert_eq!(ServerName::new(""), None);
        assert_eq!(ServerName::new(&"x".repeat(64)), None);
    }
}
