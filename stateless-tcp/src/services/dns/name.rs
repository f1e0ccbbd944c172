//! Domain names in wire form for lookups: lowercase, on the stack, with access to any suffix.

use std::fmt;

/// Longest name in bytes on the wire, including the root's zero (RFC 1035 section 2.3.4).
pub(super) const MAX_NAME: usize = 255;
/// Longest label in bytes.
const MAX_LABEL: u8 = 63;
/// Limit on labels: 127 of one byte each, and the root.
pub(super) const MAX_LABELS: usize = 127;

/// A name in lowercase wire form with the offsets of its labels. Its *depth* is its number of labels, the root's not
/// counted; a *suffix* is named by its own depth.
#[derive(Clone)]
pub(super) struct DomainName {
    bytes: [u8; MAX_NAME],
    length: u8,
    starts: [u8; MAX_LABELS],
    depth: u8,
}

impl DomainName {
    /// Parses the uncompressed name at the front of `bytes`, and returns its length. `None` if it is cut off or too
    /// long, or holds anything but plain labels: a question has nothing before it to point at.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut name = Self::root();
        let length = name.fill(bytes)?;
        Some((name, length))
    }

    /// Parses into this name; after a failure it is no valid name.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> Option<usize> {
        let bytes = &bytes[..bytes.len().min(MAX_NAME)];
        let mut starts = self.starts.iter_mut();
        let mut at = 0;
        loop {
            let label = *bytes.get(at)?;
            if label == 0 {
                break;
            }
            if label > MAX_LABEL {
                return None;
            }
            #[expect(clippy::cast_possible_truncation, reason = "a name has at most 255 bytes")]
            let start = at as u8;
            *starts.next()? = start;
            at += 1 + usize::from(label);
        }
        let depth = MAX_LABELS - starts.len();
        let length = at + 1;
        let wire = &mut self.bytes[..length];
        wire.copy_from_slice(&bytes[..length]);
        // Length bytes are below 64 and so no letters: the whole name can be lowercased at once.
        wire.make_ascii_lowercase();
        self.length = u8::try_from(length).ok()?;
        self.depth = u8::try_from(depth).ok()?;
        Some(length)
    }

    /// The root.
    pub(super) const fn root() -> Self {
        Self { bytes: [0; MAX_NAME], length: 1, starts: [0; MAX_LABELS], depth: 0 }
    }

    /// The whole name in lowercase wire form.
    pub(super) fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Number of labels.
    pub(super) fn depth(&self) -> usize {
        usize::from(self.depth)
    }

    /// The suffix of this many labels.
    pub(super) fn suffix(&self, depth: usize) -> &[u8] {
        &self.wire()[self.suffix_start(depth)..]
    }

    /// The offset of the suffix of this many labels.
    pub(super) fn suffix_start(&self, depth: usize) -> usize {
        match self.depth() - depth {
            skipped if skipped == self.depth() => self.len() - 1,
            skipped => usize::from(self.starts[skipped]),
        }
    }

    /// The name with its suffix of `depth` labels replaced by `target`, or `None` if the result is too long (RFC 6672
    /// section 2.2).
    pub(super) fn redirect(&self, depth: usize, target: &[u8]) -> Option<Self> {
        let kept = &self.wire()[..self.suffix_start(depth)];
        let mut whole = [0; 2 * MAX_NAME];
        whole[..kept.len()].copy_from_slice(kept);
        whole[kept.len()..kept.len() + target.len()].copy_from_slice(target);
        Self::read(&whole[..kept.len() + target.len()]).map(|(name, _)| name)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.depth == 0 {
            return f.write_str(".");
        }
        for &start in &self.starts[..self.depth()] {
            let start = usize::from(start);
            let length = usize::from(self.bytes[start]);
            for &byte in &self.bytes[start + 1..][..length] {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' => write!(f, "\\{}", char::from(byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

/// A sort key: its byte order is the canonical order of names (RFC 4034 section 6.1). It holds the labels from the
/// right, each ended by 0; bytes 0 and 1 inside a label are escaped so that they sort after the end.
pub(super) struct CanonicalKey {
    bytes: [u8; 2 * MAX_NAME],
    length: usize,
}

impl CanonicalKey {
    /// The key of the name's suffix of this many labels.
    pub(super) fn new(name: &DomainName, depth: usize) -> Self {
        let mut key = Self { bytes: [0; 2 * MAX_NAME], length: 0 };
        for &start in name.starts[name.depth() - depth..name.depth()].iter().rev() {
            let start = usize::from(start);
            let length = usize::from(name.bytes[start]);
            for &byte in &name.bytes[start + 1..][..length] {
                if byte <= 1 {
                    key.push(1);
                    key.push(byte + 1);
                } else {
                    key.push(byte);
                }
            }
            key.push(0);
        }
        key
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn wire(text: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    }

    fn name(text: &str) -> DomainName {
        DomainName::read(&wire(text)).unwrap().0
    }

    /// A name of this many bytes on the wire.
    fn of_length(length: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut left = length - 1;
        while left > 0 {
            let label = (left - 1).min(63).min(if left == 65 { 62 } else { 63 });
            wire.push(u8::try_from(label).unwrap());
            wire.extend(std::iter::repeat_n(b'x', label));
            left -= label + 1;
        }
        wire.push(0);
        assert_eq!(wire.len(), length);
        wire
    }

    #[rstest]
    #[case::root(vec![0], Some(0))]
    #[case::of_255_bytes(of_length(255), Some(4))]
    #[case::of_256_bytes(of_length(256), None)]
    #[case::of_127_labels([1, b'a'].repeat(127).into_iter().chain([0]).collect(), Some(127))]
    #[case::of_128_labels([1, b'a'].repeat(128).into_iter().chain([0]).collect(), None)]
    #[case::label_of_63([&[63][..], &[b'a'; 63], &[0]].concat(), Some(1))]
    #[case::label_of_64([&[64][..], &[b'a'; 64], &[0]].concat(), None)]
    #[case::pointer(vec![0xc0, 12], None)]
    #[case::pointer_after_label(vec![1, b'a', 0xc0, 12], None)]
    #[case::cut_in_label(vec![5, b'a'], None)]
    #[case::no_root(vec![1, b'a'], None)]
    #[case::empty(vec![], None)]
    fn reads_plain_names_within_the_limits(#[case] bytes: Vec<u8>, #[case] depth: Option<usize>) {
        assert_eq!(DomainName::read(&bytes).map(|(name, _)| name.depth()), depth);
    }

    #[test]
    fn suffixes_are_lowercase_and_counted_from_the_root() {
        let name = name("WWW.Example.COM");
        assert_eq!(name.suffix(0), [0]);
        assert_eq!(name.suffix(1), wire("com"));
        assert_eq!(name.suffix(3), wire("www.example.com"));
    }

    #[rstest]
    #[case::short("a.b.example", "x.y", Some("a.b.x.y."))]
    #[case::to_the_root("a.b.example", "", Some("a.b."))]
    fn redirects(#[case] from: &str, #[case] to: &str, #[case] expected: Option<&str>) {
        let redirected = name(from).redirect(1, &wire(to)).map(|name| name.to_string());
        assert_eq!(redirected.as_deref(), expected);
    }

    #[test]
    fn a_redirection_may_overflow() {
        assert!(name("abc.example").redirect(1, &of_length(251)).is_some());
        assert!(name("abc.example").redirect(1, &of_length(252)).is_none());
        assert!(DomainName::read(&of_length(255)).unwrap().0.redirect(0, &of_length(255)).is_none());
    }

    #[test]
    fn keys_sort_as_rfc_4034_section_6_1_lists() {
        let mut sorted: Vec<Vec<u8>> =
            ["example", "a.example", "yljkjljk.a.example", "Z.a.example", "zABC.a.EXAMPLE", "z.example"]
                .map(wire)
                .to_vec();
        sorted.push([&[1, 1][..], &wire("z.example")].concat());
        sorted.push(wire("*.z.example"));
        sorted.push([&[1, 200][..], &wire("z.example")].concat());
        let key = |wire: &[u8]| {
            let name = DomainName::read(wire).unwrap().0;
            CanonicalKey::new(&name, name.depth()).as_slice().to_vec()
        };
        let keys: Vec<Vec<u8>> = sorted.iter().map(|wire| key(wire)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert!(key(&[1, 0, 0]) < key(&[2, 0, 0, 0]));
    }

    #[test]
    fn a_suffixs_key_is_that_of_the_suffix_alone() {
        let (whole, suffix) = (name("x.www.example.com"), name("example.com"));
        assert_eq!(CanonicalKey::new(&whole, 2).as_slice(), CanonicalKey::new(&suffix, 2).as_slice());
    }
}
