//! Access lists: the operator's policy for clients, by prefix of their address. The longest matching prefix decides, among
//! those of the client's family: `::/0` says nothing about IPv4.

mod prefix;

pub use prefix::{InvalidPrefix, Prefix};

use prefix::IPV4_BITS;

use foldhash::fast::RandomState;
use stateless_tcp_core::steering::ClientPolicy;
use stateless_tcp_core::tcp::segment::Address;
use std::collections::HashMap;

/// The policy for each prefix that is listed (`--kernel-from`, `--deny`, `--allow`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPolicies {
    /// By prefix length and first address.
    policies: HashMap<(u8, u128), ClientPolicy, RandomState>,
    /// Distinct prefix lengths, the longest first.
    lengths: Vec<u8>,
}

impl ClientPolicies {
    /// Lists `prefix` with `policy`. If the same prefix is listed with another policy already, that one stays and is
    /// returned.
    pub fn add(&mut self, prefix: &Prefix, policy: ClientPolicy) -> Option<ClientPolicy> {
        let (address, bits) = prefix.bits();
        let listed = *self.policies.entry((bits, u128::from_be_bytes(address.0))).or_insert(policy);
        if let Err(place) = self.lengths.binary_search_by(|length| bits.cmp(length)) {
            self.lengths.insert(place, bits);
        }
        (listed != policy).then_some(listed)
    }

    /// Number of prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether no prefix is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The entries of a table in which the longest matching prefix of an [`Address`] decides: each prefix, as its length in
    /// bits and its first address, and its policy.
    ///
    /// One for all of IPv4 is always among them. IPv4 lies within the short prefixes of IPv6 there, and this entry is longer
    /// than any of those.
    pub fn entries(&self) -> impl Iterator<Item = (u8, Address, ClientPolicy)> {
        let ipv4 = (IPV4_BITS, u128::from_be_bytes(Address::from_ipv4([0; 4]).0));
        let default = (!self.policies.contains_key(&ipv4)).then_some((ipv4, ClientPolicy::default()));
        let listed = self.policies.iter().map(|(&prefix, &policy)| (prefix, policy));
        listed.chain(default).map(|((bits, address), policy)| (bits, Address(address.to_be_bytes()), policy))
    }

    /// The policy for `client`.
    #[inline]
    #[must_use]
    pub fn policy(&self, client: &Address) -> ClientPolicy {
        let address = u128::from_be_bytes(client.0);
        let shortest = if client.ipv4().is_some() { IPV4_BITS } else { 0 };
        let listed = |&bits: &u8| {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            self.policies.get(&(bits, address & mask)).copied()
        };
        self.lengths.iter().take_while(|&&bits| bits >= shortest).find_map(listed).unwrap_or_default()
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
    fn the_longest_prefix_decides(#[case] client: IpAddr, #[case] policy: ClientPolicy) {
        let mut clients = ClientPolicies::default();
        for (prefix, policy) in [
            ("192.0.2.0/24", ClientPolicy::Deny),
            ("192.0.2.201", ClientPolicy::PassToKernel),
            ("192.0.2.192/26", ClientPolicy::Allow),
            ("2001:db8::/32", ClientPolicy::Deny),
        ] {
            assert_eq!(clients.add(&prefix.parse().unwrap(), policy), None);
        }
        assert_eq!(clients.policy(&client.into()), policy);
    }

    #[rstest]
    #[case::all_of_ipv6("::/0")]
    #[case::its_first_half("::/1")]
    #[case::the_prefix_around_ipv4("::/80")]
    fn a_prefix_of_ipv6_says_nothing_about_ipv4(#[case] prefix: &str) {
        let mut clients = ClientPolicies::default();
        clients.add(&prefix.parse().unwrap(), ClientPolicy::Deny);
        let (ipv4, ipv6) = (Address::from_ipv4([192, 0, 2, 1]), Address([0; 16]));
        assert_eq!((clients.policy(&ipv4), clients.policy(&ipv6)), (ClientPolicy::Serve, ClientPolicy::Deny));
        clients.add(&"0.0.0.0/0".parse().unwrap(), ClientPolicy::Allow);
        assert_eq!((clients.policy(&ipv4), clients.policy(&ipv6)), (ClientPolicy::Allow, ClientPolicy::Deny));
    }

    #[test]
    fn the_entries_name_ipv4_once() {
        let mut clients = ClientPolicies::default();
        let ipv4 = Address::from_ipv4([0; 4]);
        assert_eq!(clients.entries().collect::<Vec<_>>(), [(IPV4_BITS, ipv4, ClientPolicy::Serve)]);
        clients.add(&"0.0.0.0/0".parse().unwrap(), ClientPolicy::Deny);
        assert_eq!(clients.entries().collect::<Vec<_>>(), [(IPV4_BITS, ipv4, ClientPolicy::Deny)]);
    }

    #[test]
    fn a_prefix_has_one_policy() {
        let (mut clients, prefix) = (ClientPolicies::default(), "0.0.0.0/0".parse().unwrap());
        assert_eq!(clients.add(&prefix, ClientPolicy::Deny), None);
        assert_eq!(clients.add(&prefix, ClientPolicy::Deny), None);
        assert_eq!(clients.add(&prefix, ClientPolicy::Allow), Some(ClientPolicy::Deny));
        assert_eq!((clients.len(), clients.policy(&Address::from_ipv4([9; 4]))), (1, ClientPolicy::Deny));
    }
}
