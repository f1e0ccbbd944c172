//! What the operator has said about clients, by prefix: the longest prefix that holds an address decides.

use crate::config::prefix::Prefix;
use foldhash::fast::RandomState;
use stateless_tcp_core::steering::ClientPolicy;
use stateless_tcp_core::tcp::segment::Address;
use std::collections::HashMap;

/// Prefixes and what is done with their clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// By bits of the prefix, and its first address.
    treatments: HashMap<(u8, u128), ClientPolicy, RandomState>,
    /// The lengths that there are, the longest first.
    lengths: Vec<u8>,
}

impl Clients {
    /// Has the clients of `prefix` treated so. What was said before of the very same prefix, if that was something else, is
    /// returned, and stays.
    pub fn add(&mut self, prefix: &Prefix, treatment: ClientPolicy) -> Option<ClientPolicy> {
        let (address, bits) = prefix.bits();
        let said = *self.treatments.entry((bits, u128::from_be_bytes(address.0))).or_insert(treatment);
        if let Err(place) = self.lengths.binary_search_by(|length| bits.cmp(length)) {
            self.lengths.insert(place, bits);
        }
        (said != treatment).then_some(said)
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.treatments.len()
    }

    /// Whether nothing is said about anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.treatments.is_empty()
    }

    /// Every prefix, as its bits and first address, and what is done with its clients.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Address, ClientPolicy)> {
        let entry = |(&(bits, address), &treatment): (&(u8, u128), &ClientPolicy)| {
            (bits, Address(address.to_be_bytes()), treatment)
        };
        self.treatments.iter().map(entry)
    }

    /// What is done with `client`.
    #[inline]
    #[must_use]
    pub fn treatment(&self, client: &Address) -> ClientPolicy {
        let address = u128::from_be_bytes(client.0);
        let of = |&bits: &u8| {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            self.treatments.get(&(bits, address & mask)).copied()
        };
        self.lengths.iter().find_map(of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::net::IpAddr;

    #[rstest]
    #[case::nowhere("203.0.113.1", ClientPolicy::Serve)]
    #[case::all_of_a_network("192.0.2.1", ClientPolicy::Deny)]
    #[case::within_it("192.0.2.200", ClientPolicy::Allow)]
    #[case::one_within_that("192.0.2.201", ClientPolicy::PassToKernel)]
    #[case::ipv6("2001:db8::1", ClientPolicy::Deny)]
    #[case::ipv6_elsewhere("fe80::1", ClientPolicy::Serve)]
    fn the_longest_prefix_decides(#[case] client: IpAddr, #[case] treatment: ClientPolicy) {
        let mut clients = Clients::default();
        for (prefix, treatment) in [
            ("192.0.2.0/24", ClientPolicy::Deny),
            ("192.0.2.201", ClientPolicy::PassToKernel),
            ("192.0.2.192/26", ClientPolicy::Allow),
            ("2001:db8::/32", ClientPolicy::Deny),
        ] {
            assert_eq!(clients.add(&prefix.parse().unwrap(), treatment), None);
        }
        assert_eq!(clients.treatment(&client.into()), treatment);
    }

    #[test]
    fn a_prefix_has_one_treatment() {
        let (mut clients, prefix) = (Clients::default(), "0.0.0.0/0".parse().unwrap());
        assert_eq!(clients.add(&prefix, ClientPolicy::Deny), None);
        assert_eq!(clients.add(&prefix, ClientPolicy::Deny), None);
        assert_eq!(clients.add(&prefix, ClientPolicy::Allow), Some(ClientPolicy::Deny));
        assert_eq!((clients.len(), clients.treatment(&Address::from_ipv4([9; 4]))), (1, ClientPolicy::Deny));
    }
}
