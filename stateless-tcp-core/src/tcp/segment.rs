//! TCP header fields as values (RFC 9293 section 3.1), free of the octets they came from.

use crate::wire::bytes::Frame;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::BitOr;

/// An IPv4 or IPv6 address in 16 octets; IPv4 as IPv4-mapped (RFC 4291 section 2.5.5.2), so that one path serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The address whose four octets stand in an IPv4 header.
    #[inline]
    #[must_use]
    pub const fn from_ipv4(octets: [u8; 4]) -> Self {
        Self((0xffff << 32 | u32::from_be_bytes(octets) as u128).to_be_bytes())
    }

    /// The four octets of an IPv4 address, if it is one.
    #[inline]
    #[must_use]
    pub const fn ipv4(self) -> Option<[u8; 4]> {
        let number = u128::from_be_bytes(self.0);
        // Not octet by octet: each frame asks several times.
        if number >> 32 != 0xffff {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the last four octets")]
        Some((number as u32).to_be_bytes())
    }

    /// Whether a segment may come from here: one host, not this one (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5).
    #[inline]
    #[must_use]
    pub fn is_unicast(self) -> bool {
        match self.ipv4() {
            Some(octets) => !matches!(octets, [0 | 127 | 224..=255, ..]),
            None => self.0[0] != 0xff && self.0[..15] != [0; 15],
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::from_ipv4(address.octets()),
            IpAddr::V6(address) => Self(address.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address.ipv4() {
            Some(octets) => Self::V4(Ipv4Addr::from(octets)),
            None => Self::V6(Ipv6Addr::from(address.0)),
        }
    }
}

/// The addresses and ports of a connection, from the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourTuple {
    /// Our address.
    pub server: Address,
    /// The address of the side that opened the connection.
    pub client: Address,
    /// Our port.
    pub server_port: u16,
    /// The client's port.
    pub client_port: u16,
}

impl FourTuple {
    /// Whether this comes from an address or port that no single other host can have.
    #[inline]
    #[must_use]
    pub fn is_martian(&self) -> bool {
        !self.client.is_unicast() || self.client == self.server || self.client_port == 0
    }
}

/// Control bits of the TCP header (RFC 9293 section 3.1, RFC 3168 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);

    /// Whether all of `flags` are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for Flags {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// `TSval`: the sender's clock.
    pub value: u32,
    /// `TSecr`: the last value that the sender had from us.
    pub echo: u32,
}

/// The Fast Open option of a SYN (RFC 7413 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastOpen {
    /// Asks for a cookie.
    Request,
    /// Presents a cookie as long as ours are.
    Cookie([u8; 8]),
    /// Presents one of another length: some other server's.
    Foreign,
}

/// The options that any rule asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size (RFC 9293 section 3.7.1), in octets of payload.
    pub mss: Option<u16>,
    /// Timestamps, if the segment carries them.
    pub timestamps: Option<Timestamps>,
    /// Fast Open; of meaning only with [`Flags::SYN`].
    pub fast_open: Option<FastOpen>,
}

/// An option whose length is 0, 1, not its kind's, or reaches beyond the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedOption;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;

/// Most options that a header has room for: each takes an octet at least.
const MOST_OPTIONS: usize = 40;

impl Options {
    /// Reads the octets between the fixed header and the payload (at most 40). Unknown kinds are passed over; of a
    /// repeated kind the last counts.
    ///
    /// # Errors
    /// [`MalformedOption`], whatever stands before it.
    #[inline]
    pub fn parse(octets: &[u8]) -> Result<Self, MalformedOption> {
        // As every segment but SYN has them (RFC 7323 appendix A).
        if let Some((&[NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10], numbers)) = octets.split_first_chunk()
            && let ([value, echo], []) = numbers.as_chunks()
        {
            let [value, echo] = [value, echo].map(|number| u32::from_be_bytes(*number));
            return Ok(Self { timestamps: Some(Timestamps { value, echo }), ..Self::default() });
        }
        Self::read(octets, octets.len(), MOST_OPTIONS).ok_or(MalformedOption)
    }

    /// The same, of the first `end` octets of `frame`; none as well if there are more than `most`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "in BPF the verifier follows its offsets through every check")]
    pub(crate) fn read<F: Frame + ?Sized>(frame: &F, end: usize, most: usize) -> Option<Self> {
        let (mut mss, mut timestamps, mut fast_open) =
            ((false, 0), (false, Timestamps { value: 0, echo: 0 }), None);
        // Their numbers are there in either case: no verifier before Linux 6.3 has a program copy what was never written.
        let options =
            |(has_mss, mss): (bool, u16), (has_timestamps, timestamps): (bool, Timestamps), fast_open| Self {
                mss: if has_mss { Some(mss) } else { None },
                timestamps: if has_timestamps { Some(timestamps) } else { None },
                fast_open,
            };
        let (mut at, end) = (0, frame.forget(end));
        for _ in 0..most {
            at = frame.forget(at);
            if at >= end {
                return Some(options(mss, timestamps, fast_open));
            }
            let [kind] = frame.read(at)?;
            match kind {
                END_OF_OPTIONS => return Some(options(mss, timestamps, fast_open)),
                NO_OPERATION => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let [length] = frame.read(at + 1).filter(|_| at + 1 < end)?;
            if length < 2 || at + usize::from(length) > end {
                return None;
            }
            match (kind, length) {
                (MAXIMUM_SEGMENT_SIZE, 4) => mss = (true, u16::from_be_bytes(frame.read(at + 2)?)),
                (TIMESTAMPS, 10) => {
                    let value = u32::from_be_bytes(frame.read(at + 2)?);
                    let echo = u32::from_be_bytes(frame.read(at + 6)?);
                    timestamps = (true, Timestamps { value, echo });
                }
                (MAXIMUM_SEGMENT_SIZE | TIMESTAMPS, _) => return None,
                (FAST_OPEN, 2) => fast_open = Some(FastOpen::Request),
                (FAST_OPEN, 10) => fast_open = Some(FastOpen::Cookie(frame.read(at + 2)?)),
                // One whose length is not valid is to be ignored (RFC 7413 section 4.1.1).
                (FAST_OPEN, 6 | 8 | 12 | 14 | 16 | 18) => fast_open = Some(FastOpen::Foreign),
                _ => {}
            }
            at += usize::from(length);
        }
        (at >= end).then(|| options(mss, timestamps, fast_open))
    }
}

/// A segment that a client sent us. Its headers are whole and its checksums right: whoever builds one has seen to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sender and receiver.
    pub tuple: FourTuple,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK; of meaning only with [`Flags::ACK`].
    pub ack: u32,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as it stands in the header: we never offer window scaling, so it counts octets.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Octets of payload.
    pub length: u16,
}

impl Segment {
    /// The sequence number after this segment: SEG.SEQ + SEG.LEN, where FIN counts one.
    #[inline]
    #[must_use]
    pub fn next(&self) -> u32 {
        let fin = u32::from(self.flags.contains(Flags::FIN));
        self.seq.wrapping_add(u32::from(self.length)).wrapping_add(fin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::none(&[], Ok(Options::default()))]
    #[case::mss(&[2, 4, 5, 180], Ok(Options { mss: Some(1460), ..Options::default() }))]
    #[case::linux_syn(
        &[2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 9, 1, 3, 3, 7],
        Ok(Options { mss: Some(1460), timestamps: Some(Timestamps { value: 0x0102_0304, echo: 9 }), ..Options::default() })
    )]
    #[case::end_hides_the_rest(&[1, 0, 2, 0], Ok(Options::default()))]
    #[case::unknown_kind(&[254, 3, 7, 2, 4, 0, 9], Ok(Options { mss: Some(9), ..Options::default() }))]
    #[case::last_of_a_kind_counts(&[2, 4, 0, 1, 2, 4, 0, 2], Ok(Options { mss: Some(2), ..Options::default() }))]
    #[case::fast_open_request(&[34, 2], Ok(Options { fast_open: Some(FastOpen::Request), ..Options::default() }))]
    #[case::fast_open_cookie(
        &[1, 1, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        Ok(Options { fast_open: Some(FastOpen::Cookie([1, 2, 3, 4, 5, 6, 7, 8])), ..Options::default() })
    )]
    #[case::fast_open_of_others(
        &[34, 6, 1, 2, 3, 4],
        Ok(Options { fast_open: Some(FastOpen::Foreign), ..Options::default() })
    )]
    #[case::fast_open_longest(
        &[34, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        Ok(Options { fast_open: Some(FastOpen::Foreign), ..Options::default() })
    )]
    #[case::fast_open_too_short(&[34, 4, 1, 2], Ok(Options::default()))]
    #[case::fast_open_too_long(&[34, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Ok(Options::default()))]
    #[case::fast_open_odd(&[34, 7, 1, 2, 3, 4, 5], Ok(Options::default()))]
    #[case::length_zero(&[254, 0, 1, 1], Err(MalformedOption))]
    #[case::length_one(&[254, 1, 1, 1], Err(MalformedOption))]
    #[case::past_the_end(&[254, 5, 1, 1], Err(MalformedOption))]
    #[case::no_length(&[1, 1, 1, 2], Err(MalformedOption))]
    #[case::mss_of_wrong_length(&[2, 3, 1, 1], Err(MalformedOption))]
    #[case::timestamps_of_wrong_length(&[8, 4, 1, 1], Err(MalformedOption))]
    fn options(#[case] octets: &[u8], #[case] expected: Result<Options, MalformedOption>) {
        assert_eq!(Options::parse(octets), expected);
    }

    #[rstest]
    #[case::host("192.0.2.1", true)]
    #[case::this_network("0.1.2.3", false)]
    #[case::loopback("127.0.0.1", false)]
    #[case::multicast("224.0.0.1", false)]
    #[case::broadcast("255.255.255.255", false)]
    #[case::host6("2001:db8::1", true)]
    #[case::link_local6("fe80::1", true)]
    #[case::unspecified6("::", false)]
    #[case::loopback6("::1", false)]
    #[case::multicast6("ff02::1", false)]
    fn unicast(#[case] address: IpAddr, #[case] expected: bool) {
        assert_eq!(Address::from(address).is_unicast(), expected);
        assert_eq!(IpAddr::from(Address::from(address)), address);
    }

    proptest::proptest! {
        #[test]
        fn options_never_panic(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..=40)) {
            let _ = Options::parse(&octets);
        }
    }
}
