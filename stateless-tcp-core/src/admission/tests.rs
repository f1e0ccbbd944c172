use super::*;
use rstest::rstest;

const NANOSECONDS_A_SECOND: u64 = 1_000_000_000;
/// Any moment, and one just before the clock's 40 bits overflow.
const MOMENTS_OF_TESTS: [u64; 2] = [123 * NANOSECONDS_A_SECOND, (1 << (MOMENT + NANOSECONDS)) - 1_000];

fn limit(rate: u32) -> Limit {
    Limit::new(Key(*b"sixteen octets !"), |_| Some(rate), 24, 56)
}

fn set() -> Set {
    core::array::from_fn(|_| Cell::new(0))
}

fn bucket(limit: &Limit, client: &str) -> Bucket {
    let client: core::net::IpAddr = client.parse().unwrap();
    limit.bucket(halves(&client.into()), PacketKind::Datagram)
}

/// How many of `wanted` are let through at that time.
fn takes(bucket: Bucket, set: &Set, nanoseconds: u64, wanted: u32) -> u32 {
    (0..wanted).map(|_| u32::from(bucket.take(set, nanoseconds))).sum()
}

#[rstest]
#[case(1)]
#[case(7)]
#[case(1_000)]
fn a_second_s_tokens_at_once_and_then_as_they_come(#[case] rate: u32) {
    for begin in MOMENTS_OF_TESTS {
        let (set, bucket) = (set(), bucket(&limit(rate), "192.0.2.1"));
        assert_eq!(takes(bucket, &set, begin, 2 * rate), rate, "at {begin}");
        let half = begin + NANOSECONDS_A_SECOND / 2;
        let expected = rate / 2;
        assert!(takes(bucket, &set, half, rate).abs_diff(expected) <= 1, "half a second after {begin}");
        assert_eq!(takes(bucket, &set, half + 2 * NANOSECONDS_A_SECOND, 2 * rate), rate, "much later");
    }
}

#[rstest]
#[case::ipv4("192.0.2.1", "192.0.2.254", true)]
#[case::ipv4_other("192.0.2.1", "192.0.3.1", false)]
#[case::ipv6("2001:db8:0:100::1", "2001:db8:0:1ff:9::", true)]
#[case::ipv6_other("2001:db8:0:100::1", "2001:db8:0:200::1", false)]
fn a_network_has_one_bucket(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
    let limit = limit(1);
    assert_eq!(bucket(&limit, one) == bucket(&limit, other), same);
}

#[test]
fn prefixes_of_no_and_of_all_bits() {
    let whole = Limit::new(Key([1; 16]), |_| Some(1), 32, 128);
    assert_ne!(bucket(&whole, "192.0.2.1"), bucket(&whole, "192.0.2.2"));
    assert_ne!(bucket(&whole, "2001:db8::1"), bucket(&whole, "2001:db8::2"));
    let none = Limit::new(Key([1; 16]), |_| Some(1), 0, 0);
    assert_eq!(bucket(&none, "192.0.2.1"), bucket(&none, "203.0.113.9"));
    assert_eq!(bucket(&none, "2001:db8::1"), bucket(&none, "fe80::1"));
    assert_ne!(bucket(&none, "192.0.2.1"), bucket(&none, "2001:db8::1"));
}

/// A set that is too small for all who use it serves some too often, nobody too seldom.
#[test]
fn nobody_pays_for_others() {
    let (limit, set) = (limit(1), set());
    let now = MOMENTS_OF_TESTS[0];
    let buckets = (0..64).map(|number| Bucket { tag: number, ..bucket(&limit, "192.0.2.1") });
    for bucket in buckets {
        assert!(bucket.take(&set, now), "the first of {bucket:?}");
    }
}

#[test]
fn a_bucket_that_is_full_again_gives_its_place_away() {
    let (limit, set) = (limit(1), set());
    let numbered = |tag| Bucket { tag, ..bucket(&limit, "192.0.2.1") };
    let now = MOMENTS_OF_TESTS[0];
    let after = |milliseconds| now + milliseconds * NANOSECONDS_A_SECOND / 1_000;
    assert!(numbered(100).take(&set, now));
    assert!((1..8).all(|tag| numbered(tag).take(&set, after(500))));
    assert!(numbered(101).take(&set, after(1_200)));
    assert!((1..8).all(|tag| !numbered(tag).take(&set, after(1_200))), "somebody lost a debt");
}

#[test]
fn what_is_not_limited_says_so() {
    assert!(!Limit::NONE.is_for(PacketKind::Datagram) && limit(1).is_for(PacketKind::Datagram));
}
