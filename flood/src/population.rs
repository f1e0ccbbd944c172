//! Which client has which address and port. Clients are numbered as they begin; the number gives everything about one
//! that need not be remembered.

use stateless_tcp::acl::Prefix;
use stateless_tcp_core::tcp::segment::Address;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The clients' ports: those that no service has.
const PORTS: RangeInclusive<u16> = 1024..=u16::MAX;
const PORTS_EACH: u64 = (u16::MAX - 1024) as u64 + 1;

/// Most addresses of a prefix that are used.
const MOST_ADDRESSES: u64 = 1 << 16;

/// Addresses and ports, of which each client in turn gets one pair.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    first: u128,
    addresses: u64,
    secret: u64,
}

impl Population {
    /// The hosts of `prefix`, up to 65,536. `secret` makes their sequence numbers and message ids.
    #[must_use]
    pub fn new(prefix: &Prefix, secret: u64) -> Self {
        let (first, addresses) = hosts(prefix);
        Self { first, addresses: addresses.min(MOST_ADDRESSES), secret }
    }

    /// Largest number at a time.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.addresses * PORTS_EACH
    }

    /// Address and port of a client. All addresses have their turn before the next port has.
    #[inline]
    #[must_use]
    pub fn endpoint(&self, number: u64) -> (Address, u16) {
        let pair = number % self.size();
        let address = self.first + u128::from(pair % self.addresses);
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of ports")]
        let port = PORTS.start() + (pair / self.addresses) as u16;
        (Address(address.to_be_bytes()), port)
    }

    /// Of the clients below `next`, the last that had this address and port.
    #[inline]
    #[must_use]
    pub fn last_at(&self, address: Address, port: u16, next: u64) -> Option<u64> {
        let address = u128::from_be_bytes(address.0).checked_sub(self.first)?;
        let address = u64::try_from(address).ok().filter(|&address| address < self.addresses)?;
        let pair = u64::from(port.checked_sub(*PORTS.start())?) * self.addresses + address;
        let behind = (next.checked_sub(1)? % self.size() + self.size() - pair) % self.size();
        (next - 1).checked_sub(behind)
    }

    /// The initial sequence number of a client that begins at `began`, in nanoseconds: a clock of 4 µs, and a secret of its
    /// address and port (RFC 6528 section 3), so that a server that remembers its last connection takes the new one.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
    pub fn initial_sequence(&self, number: u64, began: u64) -> u32 {
        ((began / 4_000) as u32).wrapping_add(mix(self.secret ^ (number % self.size())) as u32)
    }

    /// The id of its question.
    #[inline]
    #[must_use]
    pub const fn id(&self, number: u64) -> u16 {
        (mix(self.secret.wrapping_add(number)) >> 48) as u16
    }
}

/// The first address of `prefix`, and how many. An IPv4 subnet of four or more has two that are no host's.
fn hosts(prefix: &Prefix) -> (u128, u64) {
    let (Address(network), bits) = prefix.bits();
    let count =
        u64::try_from(1u128.checked_shl(128 - u32::from(bits)).unwrap_or(u128::MAX)).unwrap_or(u64::MAX);
    let first = u128::from_be_bytes(network);
    let subnet = IpAddr::from(Address(network)).is_ipv4() && count >= 4;
    if subnet { (first + 1, count - 2) } else { (first, count) }
}

/// A number of which every bit depends on every bit of `number` (Steele, Lea, Flood: SplitMix64).
#[inline]
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::subnet("198.51.100.0/24", 254, "198.51.100.1", "198.51.100.254")]
    #[case::two("198.51.100.0/31", 2, "198.51.100.0", "198.51.100.1")]
    #[case::one("198.51.100.7", 1, "198.51.100.7", "198.51.100.7")]
    #[case::six("2001:db8::/112", 65_536, "2001:db8::", "2001:db8::ffff")]
    #[case::more_than_are_used("2001:db8::/32", 65_536, "2001:db8::", "2001:db8::ffff")]
    #[case::everything("::/0", 65_536, "::", "::ffff")]
    fn addresses(#[case] prefix: &str, #[case] count: u64, #[case] first: IpAddr, #[case] last: IpAddr) {
        let population = Population::new(&prefix.parse().unwrap(), 1);
        assert_eq!(population.size(), count * 64_512);
        assert_eq!(population.endpoint(0), (first.into(), 1024));
        assert_eq!(population.endpoint(count - 1), (last.into(), 1024));
        assert_eq!(population.endpoint(count * 64_512 - 1), (last.into(), 65_535));
    }

    #[test]
    fn an_endpoint_leads_back_to_its_last_client() {
        let population = Population::new(&"198.51.100.0/30".parse().unwrap(), 1);
        let size = population.size();
        for (number, next, expected) in [
            (0, 1, Some(0)),
            (0, 0, None),
            (5, 5, None),
            (5, 6, Some(5)),
            (5, size + 5, Some(5)),
            (5, size + 6, Some(size + 5)),
            (size - 1, size, Some(size - 1)),
            (size - 1, 3 * size, Some(3 * size - 1)),
        ] {
            let (address, port) = population.endpoint(number);
            assert_eq!(population.last_at(address, port, next), expected, "{number} of {next}");
        }
        let (address, _) = population.endpoint(0);
        assert_eq!(population.last_at(address, 1023, size), None, "no client's port");
        assert_eq!(population.last_at(Address::from_ipv4([198, 51, 100, 0]), 1024, size), None, "below");
        assert_eq!(population.last_at(Address::from_ipv4([198, 51, 100, 3]), 1024, size), None, "above");
    }

    #[test]
    fn a_later_connection_has_a_higher_sequence_number() {
        let population = Population::new(&"198.51.100.7".parse().unwrap(), 7);
        let (first, second) =
            (population.initial_sequence(3, 0), population.initial_sequence(3 + population.size(), 8_000));
        assert_eq!(second.wrapping_sub(first), 2);
    }
}
