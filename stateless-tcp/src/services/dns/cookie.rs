//! DNS cookies (RFC 7873), with server cookies that other makers' servers accept (RFC 9018).
//!
//! ```text
//! COOKIE option: client cookie (8 octets) | server cookie (16 octets)
//! server cookie: version (1) | reserved (3) | timestamp (4) | SipHash-2-4 of all before it and the client's address (8)
//! ```
//!
//! TCP has proven already where the client is, so a cookie decides nothing here: it is made for what the client will ask
//! over UDP. That leaves one question, the time in it, for an answer that depends on the time is another when it is asked
//! for again.

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher24x128};
use stateless_tcp_core::tcp::isn::Key;
use stateless_tcp_core::tcp::segment::Address;
use std::hash::Hasher as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Octets of a client cookie.
const CLIENT: usize = 8;
/// Octets of a server cookie of ours, and where its hash begins.
const SERVER: usize = 16;
const HASH: usize = 8;
/// Octets of the whole option's data.
pub(super) const DATA: usize = CLIENT + SERVER;
/// Of a server cookie (RFC 9018 section 4.1).
const VERSION: u8 = 1;

/// Seconds after which a cookie is replaced, and those for which it is good, into the past and into the future (RFC
/// 9018 section 4.3).
const RENEW: i32 = 1_800;
const PAST: i32 = 3_600;
const FUTURE: i32 = 300;

/// What the secret is made for, where it is made of another key.
const LABEL: &[u8] = b"stateless-tcp: DNS cookie secret";

/// Makes server cookies, and knows its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    secret: Key,
    /// When the content was loaded: seconds since 1970, modulo 2^32.
    loaded: u32,
}

/// What an answer's COOKIE option says.
pub(super) struct CookieReply {
    pub(super) data: [u8; DATA],
    /// What came.
    pub(super) sent: CookieStatus,
}

/// The server cookie that came with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieStatus {
    ClientOnly,
    Invalid,
    Valid,
}

impl Cookies {
    /// Cookies by a secret that other servers may share, for content loaded at `loaded`.
    #[must_use]
    pub fn new(secret: Key, loaded: SystemTime) -> Self {
        Self { secret, loaded: seconds(loaded) }
    }

    /// As [`Cookies::new`], by a secret made from `key`: who knows one of the two learns nothing about the other's use.
    #[must_use]
    pub fn derived(key: &Key, loaded: SystemTime) -> Self {
        let mut hasher = SipHasher24x128::new_with_key(&key.0);
        hasher.write(LABEL);
        Self::new(Key(hasher.finish128().as_bytes()), loaded)
    }

    /// The answer to the well-formed option data `presented` of the client at `address`.
    ///
    /// With a time: the cookie that came if it is good and no older than half an hour, else one of that time. Without,
    /// the answer must be the same whenever it is asked for: the cookie that came if we made it since the content was
    /// loaded, else one of when it was.
    pub(super) fn answer(&self, presented: &[u8], address: Address, now: Option<SystemTime>) -> CookieReply {
        let mut data = [0; DATA];
        let length = presented.len().min(DATA);
        data[..length].copy_from_slice(&presented[..length]);
        let now = now.map(seconds);
        let made_by_us = presented.len() == DATA
            && presented[CLIENT] == VERSION
            && self.hash(&data, address) == data[CLIENT + HASH..];
        let age = |time: u32| time.wrapping_sub(timestamp(&data)).cast_signed();
        let (good, keep) = match now {
            Some(now) => {
                let good = made_by_us && (-FUTURE..=PAST).contains(&age(now));
                (good, good && age(now) < RENEW)
            }
            None => (made_by_us, made_by_us && age(self.loaded) <= 0),
        };
        let sent = match presented.len() {
            CLIENT => CookieStatus::ClientOnly,
            _ if good => CookieStatus::Valid,
            _ => CookieStatus::Invalid,
        };
        if !keep {
            data[CLIENT..].fill(0);
            data[CLIENT] = VERSION;
            data[CLIENT + 4..][..4].copy_from_slice(&now.unwrap_or(self.loaded).to_be_bytes());
            let hash = self.hash(&data, address);
            data[CLIENT + HASH..].copy_from_slice(&hash);
        }
        CookieReply { data, sent }
    }

    /// RFC 9018 section 4.4, over the reserved octets as they are.
    fn hash(&self, data: &[u8; DATA], address: Address) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.secret.0);
        hasher.write(&data[..CLIENT + HASH]);
        match address.ipv4() {
            Some(bytes) => hasher.write(&bytes),
            None => hasher.write(&address.0),
        }
        hasher.finish().to_le_bytes()
    }
}

fn timestamp(data: &[u8; DATA]) -> u32 {
    let at = CLIENT + 4;
    u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// Seconds since 1970, modulo 2^32 (RFC 9018 section 4.3); before, 0.
#[expect(clippy::cast_possible_truncation, reason = "cookies compare times modulo 2^32")]
fn seconds(time: SystemTime) -> u32 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::net::IpAddr;
    use std::time::Duration;

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const ONE: &str = "198.51.100.100";
    const OTHER: &str = "203.0.113.203";
    const SIX: &str = "2001:db8:220:1:59de:d0f4:8769:82b8";

    fn bytes(digits: &str) -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..][..2], 16).unwrap()).collect()
    }

    fn key(digits: &str) -> Key {
        Key(bytes(digits).try_into().unwrap())
    }

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// RFC 9018 appendix A: secret, client, when, what is sent, what comes back.
    #[rstest]
    #[case::a1_new(
        SECRET,
        ONE,
        1_559_731_985,
        "2464c4abcf10c957",
        "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
    )]
    #[case::a2_renewed(
        SECRET,
        ONE,
        1_559_734_385,
        "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
        "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"
    )]
    #[case::a3_reserved_octets(
        SECRET,
        OTHER,
        1_559_734_700,
        "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
        "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"
    )]
    #[case::a4_another_secret(
        "445536bcd2513298075a5d379663c962",
        SIX,
        1_559_741_961,
        "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
        "22681ab97d52c298010000005cf7c609a6bb79d16625507a"
    )]
    fn cookies_are_those_of_rfc_9018(
        #[case] secret: &str,
        #[case] client: &str,
        #[case] now: u64,
        #[case] sent: &str,
        #[case] answered: &str,
    ) {
        let cookies = Cookies::new(key(secret), UNIX_EPOCH);
        let renewed = cookies.answer(&bytes(sent), address(client), Some(at(now)));
        assert_eq!(renewed.data, bytes(answered)[..]);
    }

    /// Those that the clients of RFC 9018 appendix A send: good at the time that they say, by the right secret.
    #[rstest]
    #[case::a2(SECRET, ONE, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", CookieStatus::Valid)]
    #[case::a3_reserved_octets(
        SECRET,
        OTHER,
        "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
        CookieStatus::Valid
    )]
    #[case::a4_before(
        "dd3bdf9344b678b185a6f5cb60fca715",
        SIX,
        "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
        CookieStatus::Valid
    )]
    #[case::a4_after(
        "445536bcd2513298075a5d379663c962",
        SIX,
        "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
        CookieStatus::Invalid
    )]
    #[case::another_client(
        SECRET,
        OTHER,
        "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
        CookieStatus::Invalid
    )]
    fn cookies_of_rfc_9018_are_known(
        #[case] secret: &str,
        #[case] client: &str,
        #[case] sent: &str,
        #[case] found: CookieStatus,
    ) {
        let sent = bytes(sent);
        let now = u32::from_be_bytes(sent[12..16].try_into().unwrap());
        let cookies = Cookies::new(key(secret), UNIX_EPOCH);
        let renewed = cookies.answer(&sent, address(client), Some(at(now.into())));
        assert_eq!(renewed.sent, found);
        assert_eq!(renewed.data == sent[..], found == CookieStatus::Valid);
    }

    #[rstest]
    #[case::new(0, CookieStatus::Valid, true)]
    #[case::just_young(1_799, CookieStatus::Valid, true)]
    #[case::half_an_hour(1_800, CookieStatus::Valid, false)]
    #[case::an_hour(3_600, CookieStatus::Valid, false)]
    #[case::over_an_hour(3_601, CookieStatus::Invalid, false)]
    #[case::another_clock(-300, CookieStatus::Valid, true)]
    #[case::the_future(-301, CookieStatus::Invalid, false)]
    fn time_passes(#[case] age: i64, #[case] found: CookieStatus, #[case] kept: bool) {
        // So that a cookie's time lies on either side of 2^32 (RFC 9018 section 4.3: serial number arithmetic).
        for begin in [1_700_000_000, 1 << 32] {
            let cookies = Cookies::new(key(SECRET), UNIX_EPOCH);
            let made = cookies.answer(&[7; 8], address(SIX), Some(at(begin))).data;
            let now = at(begin.checked_add_signed(age).unwrap());
            let renewed = cookies.answer(&made, address(SIX), Some(now));
            assert_eq!((renewed.sent, renewed.data == made), (found, kept), "{begin}");
            assert_eq!(cookies.answer(&renewed.data, address(SIX), Some(now)).data, renewed.data);
        }
    }

    /// What the hash of another version is taken of, only who makes such cookies knows.
    #[test]
    fn another_version_is_not_known() {
        let cookies = Cookies::new(key(SECRET), UNIX_EPOCH);
        let mut data = cookies.answer(&[7; 8], address(ONE), Some(at(9))).data;
        for version in [0, 1, 2, 255] {
            data[CLIENT] = version;
            let hash = cookies.hash(&data, address(ONE));
            data[CLIENT + HASH..].copy_from_slice(&hash);
            let found = if version == VERSION { CookieStatus::Valid } else { CookieStatus::Invalid };
            assert_eq!(cookies.answer(&data, address(ONE), Some(at(9))).sent, found, "version {version}");
        }
    }

    /// Without a time the answer is a function of what is sent and of when the content was loaded.
    #[rstest]
    #[case::made_before(-1, false)]
    #[case::made_then(0, true)]
    #[case::made_since(1, true)]
    fn without_a_time_none_goes_back_behind_the_loading(#[case] after: i64, #[case] kept: bool) {
        let loaded: u64 = 1_700_000_000;
        let cookies = Cookies::new(key(SECRET), at(loaded));
        let made = loaded.checked_add_signed(after).unwrap();
        let made = cookies.answer(&[7; 8], address(ONE), Some(at(made))).data;
        let renewed = cookies.answer(&made, address(ONE), None);
        assert_eq!((renewed.sent, renewed.data == made), (CookieStatus::Valid, kept));
        let of_loading = cookies.answer(&[7; 8], address(ONE), Some(at(loaded))).data;
        let first = cookies.answer(&[7; 8], address(ONE), None);
        assert_eq!((first.sent, first.data), (CookieStatus::ClientOnly, of_loading));
        assert!(kept || renewed.data == of_loading);
    }

    #[test]
    fn a_derived_secret_is_neither_the_key_nor_that_of_another() {
        let secrets = [[1; 16], [2; 16]].map(|bytes| Cookies::derived(&Key(bytes), UNIX_EPOCH).secret.0);
        assert!(![[1; 16], [2; 16], secrets[1]].contains(&secrets[0]));
        assert_eq!(Cookies::derived(&Key([1; 16]), UNIX_EPOCH).secret.0, secrets[0], "servers agree on it");
    }

    proptest! {
        /// What we made is good for who got it, and with any bit changed for nobody; the client's half always comes back.
        #[test]
        fn only_what_was_made_is_good(
            secret: [u8; 16], client: [u8; 8], host: [u8; 16], now: u32, bit in 0..DATA * 8, other in 16_usize..=40,
        ) {
            let cookies = Cookies::new(Key(secret), UNIX_EPOCH);
            let (host, now) = (Address(host), Some(at(now.into())));
            let made = cookies.answer(&client, host, now);
            prop_assert_eq!((made.sent, &made.data[..CLIENT]), (CookieStatus::ClientOnly, &client[..]));
            let again = cookies.answer(&made.data, host, now);
            prop_assert_eq!((again.sent, again.data), (CookieStatus::Valid, made.data));

            let mut changed = made.data;
            changed[bit / 8] ^= 1 << (bit % 8);
            let mended = cookies.answer(&changed, host, now);
            prop_assert_eq!((mended.sent, &mended.data[..CLIENT]), (CookieStatus::Invalid, &changed[..CLIENT]));
            prop_assert_eq!(bit < CLIENT * 8, mended.data != made.data);

            let mut longer = [0; 40];
            longer[..DATA].copy_from_slice(&made.data);
            let found = if other == DATA { CookieStatus::Valid } else { CookieStatus::Invalid };
            let renewed = cookies.answer(&longer[..other], host, now);
            prop_assert_eq!((renewed.sent, renewed.data), (found, made.data));
        }
    }
}
