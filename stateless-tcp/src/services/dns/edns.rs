//! The OPT record (RFC 6891): parsing a query's, and composing an answer's.

use super::cookie;
use super::identity::ServerName;

/// The UDP payload size in our OPT record, which every path carries (RFC 9715). This server does not serve UDP.
const UDP_SIZE: u16 = 1232;

/// Option codes (RFC 5001 section 2.3, RFC 7873 section 4, RFC 7828 section 3.1, RFC 8914 section 2).
pub(super) const NSID: u16 = 3;
pub(super) const COOKIE: u16 = 10;
pub(super) const KEEPALIVE: u16 = 11;
pub(super) const EXTENDED_ERROR: u16 = 15;

/// Bytes before an option's data: code and length.
pub(super) const OPTION_HEAD: usize = 4;
/// Bytes of an OPT record without options, and the offsets of the UDP payload size, the high bits of the response code
/// and the length of the options (RFC 6891 section 6.1.2).
pub(super) const FIXED: usize = 11;
pub(super) const SIZE: usize = 3;
const EXTENDED: usize = 5;
const DATA_LENGTH: usize = 9;
/// Bytes of the largest OPT that is composed: all four options.
const MAX_LENGTH: usize = FIXED + 4 * OPTION_HEAD + 2 + 2 + ServerName::MAX + cookie::DATA;

/// The query's OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns<'a> {
    /// The DO bit: the client wants signatures and proofs (RFC 3225).
    pub(super) dnssec_ok: bool,
    /// The client asks for the idle timeout (RFC 7828).
    pub(super) keepalive: bool,
    /// The client asks for the server's name (RFC 5001).
    pub(super) nsid: bool,
    /// The data of the COOKIE option, of a valid length.
    pub(super) cookie: Option<&'a [u8]>,
    /// All options, well formed.
    pub(super) options: &'a [u8],
}

impl<'a> Edns<'a> {
    /// An OPT record whose options are ignored.
    pub(super) fn without_options(dnssec_ok: bool) -> Self {
        Self { dnssec_ok, keepalive: false, nsid: false, cookie: None, options: &[] }
    }

    /// Whether the client asks for an option of the answer.
    pub(super) fn asks(&self) -> bool {
        self.keepalive || self.nsid || self.cookie.is_some()
    }

    /// Parses an OPT record's options; `None` if one is malformed. Unknown options are skipped.
    pub(super) fn read(dnssec_ok: bool, mut data: &'a [u8]) -> Option<Self> {
        let mut edns = Self { options: data, ..Self::without_options(dnssec_ok) };
        while !data.is_empty() {
            let (code, option, rest) = split_option(data)?;
            match code {
                // The first of several counts (RFC 7873 section 5.2).
                COOKIE if edns.cookie.is_none() => {
                    // A client cookie alone, or with a server cookie of 8 to 32 bytes (RFC 7873 section 5.2.2).
                    if !matches!(option.len(), 8 | 16..=40) {
                        return None;
                    }
                    edns.cookie = Some(option);
                }
                // Data in a query counts for nothing.
                NSID => edns.nsid = true,
                KEEPALIVE => {
                    // A client states no timeout (RFC 7828 section 3.2.1).
                    if !option.is_empty() {
                        return None;
                    }
                    edns.keepalive = true;
                }
                _ => {}
            }
            data = rest;
        }
        Some(edns)
    }
}

/// Splits off the first option: its code, its data and the rest. `None` if it is cut off.
pub(super) fn split_option(options: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [code_high, code_low, high, low, rest @ ..] = options else { return None };
    let (data, rest) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
    Some((u16::from_be_bytes([*code_high, *code_low]), data, rest))
}

/// Iterates over well-formed options: code and whole option.
pub(super) fn options(options: &[u8]) -> impl Iterator<Item = (u16, &[u8])> + Clone {
    let mut rest = options;
    std::iter::from_fn(move || {
        let (code, data, behind) = split_option(rest)?;
        let bytes = &rest[..OPTION_HEAD + data.len()];
        rest = behind;
        Some((code, bytes))
    })
}

/// An OPT record under construction.
pub(super) struct Opt {
    bytes: [u8; MAX_LENGTH],
    length: usize,
}

impl Opt {
    /// Largest length in bytes.
    pub(super) const MAX: usize = MAX_LENGTH;

    /// A record without options: root, type 41, size, version 0, the client's DO bit (RFC 6891 section 6.1.3).
    pub(super) fn new(dnssec_ok: bool) -> Self {
        let [high, low] = UDP_SIZE.to_be_bytes();
        let mut bytes = [0; MAX_LENGTH];
        bytes[..FIXED].copy_from_slice(&[
            0,
            0,
            41,
            high,
            low,
            0,
            0,
            if dnssec_ok { 0x80 } else { 0 },
            0,
            0,
            0,
        ]);
        Self { bytes, length: FIXED }
    }

    /// The length so far.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds an option. Each kind at most once: the buffer has no space for more.
    #[inline]
    pub(super) fn option(&mut self, code: u16, data: &[u8]) {
        let option = &mut self.bytes[self.length..][..OPTION_HEAD + data.len()];
        #[expect(clippy::cast_possible_truncation, reason = "less than MAX")]
        let length = data.len() as u16;
        option[..2].copy_from_slice(&code.to_be_bytes());
        option[2..OPTION_HEAD].copy_from_slice(&length.to_be_bytes());
        option[OPTION_HEAD..].copy_from_slice(data);
        self.length += OPTION_HEAD + data.len();
    }

    /// Adds an option if it fits `left` bytes, and returns true then.
    pub(super) fn option_within(&mut self, left: usize, code: u16, data: &[u8]) -> bool {
        let fits = OPTION_HEAD + data.len() <= left;
        if fits {
            self.option(code, data);
        }
        fits
    }

    /// The record with the high bits of the response code. The caller appends `further` bytes of options.
    pub(super) fn finish(&mut self, rcode: u16, further: usize) -> &[u8] {
        #[expect(clippy::cast_possible_truncation, reason = "12 bits, and an OPT record of a message")]
        let (extended, options) = ((rcode >> 4) as u8, (self.length - FIXED + further) as u16);
        self.bytes[EXTENDED] = extended;
        self.bytes[DATA_LENGTH..][..2].copy_from_slice(&options.to_be_bytes());
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn option(code: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&code.to_be_bytes(), &length.to_be_bytes(), data].concat()
    }

    #[test]
    fn a_cookie_has_8_or_16_to_40_octets() {
        for length in 0..=64 {
            let cookie = vec![7; length];
            let data = option(COOKIE, &cookie);
            let edns = Edns::read(true, &data);
            let good = length == 8 || (16..=40).contains(&length);
            let expected = Edns {
                dnssec_ok: true,
                keepalive: false,
                nsid: false,
                cookie: Some(&cookie[..]),
                options: &data,
            };
            assert_eq!(edns, good.then_some(expected), "{length} bytes");
        }
    }

    #[rstest]
    #[case::empty(&[], true)]
    #[case::one_byte(&[0], false)]
    #[case::a_time(&[0, 100], false)]
    fn a_client_s_keepalive_is_empty(#[case] data: &[u8], #[case] good: bool) {
        let data = option(KEEPALIVE, data);
        assert_eq!(Edns::read(false, &data).map(|edns| edns.keepalive), good.then_some(true));
    }

    #[test]
    fn unknown_options_are_skipped_and_the_first_cookie_counts() {
        let data = [
            option(3, b""),
            option(COOKIE, b"the-1st."),
            option(65_001, &[0; 300]),
            option(COOKIE, b"none"),
            option(KEEPALIVE, b""),
        ]
        .concat();
        let edns = Edns::read(false, &data).unwrap();
        let expected =
            Edns { dnssec_ok: false, keepalive: true, nsid: true, cookie: Some(b"the-1st."), options: &data };
        assert_eq!(edns, expected);
        let ends: Vec<usize> =
            (0..=data.len()).filter(|&end| Edns::read(false, &data[..end]).is_some()).collect();
        assert_eq!(ends, [0, 4, 16, 320, 328, 332], "where an option ends");
    }

    #[test]
    fn an_opt_says_how_long_its_options_are() {
        let mut opt = Opt::new(true);
        assert_eq!(opt.finish(0, 0), [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        opt.option(KEEPALIVE, &[4, 176]);
        opt.option(COOKIE, &[7; 24]);
        let head = [0, 0, 41, 4, 208, 1, 0, 0x80, 0, 0, 34, 0, 11, 0, 2, 4, 176, 0, 10, 0, 24];
        assert_eq!(opt.finish(23, 0), [&head[..], &[7; 24]].concat());
        assert_eq!(opt.finish(0, 300)[DATA_LENGTH..][..2], [1, 34 + 44]);
        opt.option(EXTENDED_ERROR, &[0, 20]);
        opt.option(NSID, &[b'x'; ServerName::MAX]);
        assert_eq!(opt.len(), Opt::MAX);
    }
}
