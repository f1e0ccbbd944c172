//! DNS cookies (RFC 7873) with interoperable server cookies (RFC 9018).
//!
//! ```text
//! COOKIE option: client cookie (8 bytes) | server cookie (16 bytes)
//! server cookie: version (1) | reserved (3) | timestamp (4) | SipHash-2-4 of all before it and the client's address (8)
//! ```
//!
//! TCP has already proven the client's address, so a cookie decides nothing here: the client will use it over UDP. The
//! timestamp is the only problem, because an answer that depends on the time changes when it is asked for again.

use domain::base::Serial;
use domain::base::opt::cookie::{ClientCookie, ServerCookie, StandardServerCookie};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use stateless_tcp_core::tcp::isn::Key;
use stateless_tcp_core::tcp::segment::Address;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a client cookie.
const CLIENT: usize = 8;
/// Bytes of a server cookie by RFC 9018.
const SERVER: usize = 16;
/// Bytes of the option's data in an answer.
pub(super) const DATA: usize = CLIENT + SERVER;
/// Version of server cookies (RFC 9018 section 4.1).
const VERSION: u8 = 1;

/// Age in seconds from which a valid cookie is replaced, and the limits of a valid cookie's age: into the past and into
/// the future (RFC 9018 section 4.3).
const RENEW: i32 = 1_800;
const PAST: i32 = 3_600;
const FUTURE: i32 = 300;

/// Label for the secret that is derived from another key.
const LABEL: &[u8] = b"stateless-tcp: DNS cookie secret";

/// Creates and validates server cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    secret: Key,
    /// Load time of the content: seconds since 1970, modulo 2^32.
    loaded: u32,
}

/// The answer's COOKIE option.
pub(super) struct CookieReply {
    pub(super) data: [u8; DATA],
    /// The verdict on the query's option.
    pub(super) status: CookieStatus,
}

/// The server cookie of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieStatus {
    /// The query has a client cookie alone.
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

    /// Like [`Cookies::new`], with a secret derived from `key`: knowing one of the two reveals nothing about the other.
    #[must_use]
    pub fn derived(key: &Key, loaded: SystemTime) -> Self {
        let mut hasher = SipHasher24::new_with_key(&key.0);
        hasher.write(LABEL);
        Self::new(Key(hasher.finish128().as_bytes()), loaded)
    }

    /// The answer to the well-formed option data `presented` of the client at `address`.
    ///
    /// With a time, the answer repeats a valid cookie that is younger than half an hour, and otherwise has a cookie of that
    /// time. Without a time, the answer must not change: it repeats a cookie that this server made since the content was
    /// loaded, and otherwise has a cookie of the load time.
    pub(super) fn answer(&self, presented: &[u8], address: Address, now: Option<SystemTime>) -> CookieReply {
        let (address, now) = (IpAddr::from(address), now.map(seconds));
        let (client, server) = presented.split_first_chunk().unwrap_or((&[0; CLIENT], &[]));
        let client = ClientCookie::from_octets(*client);
        let ours = Some(server).filter(|server| server.len() == SERVER);
        let ours = ours.and_then(|server| ServerCookie::from_octets(server).try_to_standard());
        let ours = ours.filter(|cookie| {
            cookie.version() == VERSION && cookie.check_hash(client, address, &self.secret.0)
        });
        let age = |cookie: &StandardServerCookie, time: u32| {
            time.wrapping_sub(cookie.timestamp().into_int()).cast_signed()
        };
        let valid = ours.filter(|cookie| now.is_none_or(|now| (-FUTURE..=PAST).contains(&age(cookie, now))));
        let kept = valid.filter(|cookie| match now {
            Some(now) => age(cookie, now) < RENEW,
            None => age(cookie, self.loaded) <= 0,
        });
        let status = match (server, valid) {
            ([], _) => CookieStatus::ClientOnly,
            (_, Some(_)) => CookieStatus::Valid,
            (_, None) => CookieStatus::Invalid,
        };
        let server = kept.unwrap_or_else(|| {
            let time = Serial(now.unwrap_or(self.loaded));
            StandardServerCookie::calculate(client, time, address, &self.secret.0)
        });
        let mut data = [0; DATA];
        data[..CLIENT].copy_from_slice(client.as_ref());
        data[CLIENT..].copy_from_slice(ServerCookie::from(server).as_ref());
        CookieReply { data, status }
    }
}

/// Seconds since 1970, modulo 2^32 (RFC 9018 section 4.3); 0 for an earlier time.
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
    #[case::a3_reserved_bytes(
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
    #[case::a3_reserved_bytes(
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
        assert_eq!(renewed.status, found);
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
            assert_eq!((renewed.status, renewed.data == made), (found, kept), "{begin}");
            assert_eq!(cookies.answer(&renewed.data, address(SIX), Some(now)).data, renewed.data);
        }
    }

    /// RFC 9018 defines version 1 alone: a right hash does not make another version valid.
    #[test]
    fn another_version_is_not_known() {
        let cookies = Cookies::new(key(SECRET), UNIX_EPOCH);
        let mut data = cookies.answer(&[7; 8], address(ONE), Some(at(9))).data;
        for version in [0, 1, 2, 255] {
            data[CLIENT] = version;
            let mut hasher = siphasher::sip::SipHasher24::new_with_key(&cookies.secret.0);
            hasher.write(&data[..CLIENT + 8]);
            hasher.write(&address(ONE).ipv4().unwrap());
            data[CLIENT + 8..].copy_from_slice(&hasher.finish().to_le_bytes());
            let expected = if version == VERSION { CookieStatus::Valid } else { CookieStatus::Invalid };
            assert_eq!(
                cookies.answer(&data, address(ONE), Some(at(9))).status,
                expected,
                "version {version}"
            );
        }
    }

    /// Without a time the answer depends on the query and the load time alone.
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
        assert_eq!((renewed.status, renewed.data == made), (CookieStatus::Valid, kept));
        let of_loading = cookies.answer(&[7; 8], address(ONE), Some(at(loaded))).data;
        let first = cookies.answer(&[7; 8], address(ONE), None);
        assert_eq!((first.status, first.data), (CookieStatus::ClientOnly, of_loading));
        assert!(kept || renewed.data == of_loading);
    }

    #[test]
    fn a_derived_secret_is_neither_the_key_nor_that_of_another() {
        let secrets = [[1; 16], [2; 16]].map(|bytes| Cookies::derived(&Key(bytes), UNIX_EPOCH).secret.0);
        assert!(![[1; 16], [2; 16], secrets[1]].contains(&secrets[0]));
        assert_eq!(Cookies::derived(&Key([1; 16]), UNIX_EPOCH).secret.0, secrets[0], "servers agree on it");
    }

    proptest! {
        /// A cookie is valid for the client that got it, and invalid with any bit changed; the client cookie always comes back.
        #[test]
        fn only_what_was_made_is_good(
            secret: [u8; 16], client: [u8; 8], host: [u8; 16], now: u32, bit in 0..DATA * 8, other in 16_usize..=40,
        ) {
            let cookies = Cookies::new(Key(secret), UNIX_EPOCH);
            let (host, now) = (Address(host), Some(at(now.into())));
            let made = cookies.answer(&client, host, now);
            prop_assert_eq!((made.status, &made.data[..CLIENT]), (CookieStatus::ClientOnly, &client[..]));
            let again = cookies.answer(&made.data, host, now);
            prop_assert_eq!((again.status, again.data), (CookieStatus::Valid, made.data));

            let mut changed = made.data;
            changed[bit / 8] ^= 1 << (bit % 8);
            let mended = cookies.answer(&changed, host, now);
            prop_assert_eq!((mended.status, &mended.data[..CLIENT]), (CookieStatus::Invalid, &changed[..CLIENT]));
            prop_assert_eq!(bit < CLIENT * 8, mended.data != made.data);

            let mut longer = [0; 40];
            longer[..DATA].copy_from_slice(&made.data);
            let found = if other == DATA { CookieStatus::Valid } else { CookieStatus::Invalid };
            let renewed = cookies.answer(&longer[..other], host, now);
            prop_assert_eq!((renewed.status, renewed.data), (found, made.data));
        }
    }
}
