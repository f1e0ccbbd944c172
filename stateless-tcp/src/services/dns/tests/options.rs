//! The options of queries, and what of an answer depends on the time.

use super::*;
use crate::services::Origin;
use proptest::prelude::*;
use stateless_tcp_core::tcp::isn::Key;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CLIENT: Address = Address::from_ipv4([198, 51, 100, 100]);
pub(super) const LOADED: u64 = 1_700_000_000;
/// A client cookie.
const MINE: &[u8] = b"cookie-8";

const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const BADVERS: u16 = 16;
const BADCOOKIE: u16 = 23;

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn dns(keepalive: u16) -> Dns {
    let cookies = Some(Cookies::new(Key([7; 16]), at(LOADED)));
    Dns::builtin(DnsOptions { keepalive, cookies, ..DnsOptions::default() })
}

pub(super) fn context(now: u64) -> Context {
    from(CLIENT, Context { now: at(now), persistent: true, whole: 512, ..Context::default() })
}

fn from(client: Address, context: Context) -> Context {
    let tuple = FourTuple { client, ..context.origin.tuple };
    Context { origin: Origin { tuple, ..context.origin }, ..context }
}

pub(super) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&code.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// A query with an OPT record that has these options.
pub(super) fn with_options(
    flags: u16,
    question: Option<(&str, u16)>,
    version: u8,
    options: &[u8],
) -> Vec<u8> {
    let asked = question.map(|(name, rtype)| [&wire(name)[..], &rtype.to_be_bytes(), &[0, 1]].concat());
    let length = u16::try_from(options.len()).unwrap().to_be_bytes();
    let opt = [&[0, 0, 41, 4, 208, 0, version, 0, 0][..], &length, options].concat();
    message(flags, asked.is_some().into(), 1, &[&asked.unwrap_or_default(), &opt])
}

pub(super) fn asking(name: &str, rtype: u16, options: &[u8]) -> Vec<u8> {
    with_options(0, Some((name, rtype)), 0, options)
}

/// An answer, read apart by another's parser.
#[derive(Debug, PartialEq)]
pub(super) struct TestReply {
    pub(super) bytes: Vec<u8>,
    pub(super) answered: Answered,
    pub(super) rcode: u16,
    /// Code and data of each; none without an OPT record.
    pub(super) options: Option<Vec<(u16, Vec<u8>)>>,
}

impl TestReply {
    pub(super) fn option(&self, wanted: u16) -> Option<&[u8]> {
        let mut found = self.options.as_ref()?.iter().filter(|&&(code, _)| code == wanted);
        let first = found.next().map(|(_, data)| &data[..]);
        assert!(found.next().is_none(), "option {wanted} twice");
        first
    }

    /// The time in the server cookie.
    fn cookie_time(&self) -> u64 {
        let cookie = self.option(edns::COOKIE).expect("a COOKIE option");
        assert_eq!((&cookie[..8], cookie.len()), (MINE, 24));
        u32::from_be_bytes(cookie[12..16].try_into().unwrap()).into()
    }
}

pub(super) fn ask(dns: &Dns, query: &[u8], context: &Context) -> TestReply {
    use domain::base::opt::{AllOptData, ComposeOptData as _, OptData as _};
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes(), query].concat();
    let mut bytes = Vec::with_capacity(context.room);
    let answered = dns.answer(&framed, context, &mut bytes).unwrap();
    let parsed = Parsed::from_octets(&bytes[PREFIX..]).unwrap();
    let read = |option: AllOptData<&[u8], _>| {
        let mut data = Vec::new();
        let Ok(()) = option.compose_option(&mut data);
        (option.code().to_int(), data)
    };
    let opt = parsed.opt();
    let options = opt.as_ref().map(|opt| opt.opt().iter().map(|option| read(option.unwrap())).collect());
    let rcode = parsed.opt_rcode().to_int();
    TestReply { bytes, answered, rcode, options }
}

#[rstest]
#[case::open(1_200, true, Some([4, 176]))]
#[case::closes(1_200, false, Some([0, 0]))]
#[case::switched_off(0, true, None)]
fn keepalive_is_the_time_that_the_connection_has(
    #[case] keepalive: u16,
    #[case] persistent: bool,
    #[case] said: Option<[u8; 2]>,
) {
    let context = Context { persistent, ..context(LOADED) };
    let dns = dns(keepalive);
    for (name, rcode) in [("example.com", 0), ("example.net", REFUSED)] {
        let reply = ask(&dns, &asking(name, A, &option(edns::KEEPALIVE, b"")), &context);
        assert_eq!(
            (reply.rcode, reply.option(edns::KEEPALIVE)),
            (rcode, said.as_ref().map(|said| &said[..]))
        );
        assert_eq!(reply.answered, Answered::default());
        let unasked = ask(&dns, &asking(name, A, &[]), &context);
        assert_eq!(unasked.option(edns::KEEPALIVE), None);
    }
}

#[test]
fn what_ends_the_stream_ends_the_connection() {
    let query = asking("huge.example.com", TXT, &[option(11, b""), option(10, MINE)].concat());
    let reply = ask(&dns(1_200), &query, &Context { room: 1_000, ..context(LOADED + 5) });
    assert_eq!((reply.rcode, reply.option(edns::KEEPALIVE)), (2, Some(&[0, 0][..])));
    assert_eq!(reply.cookie_time(), LOADED + 5);
    assert_eq!(reply.answered, Answered { volatile: reply.bytes.len(), last: true });
}

#[rstest]
#[case::cookie_cut(&[0, 10, 0, 7, 1, 2, 3, 4, 5, 6, 7])]
#[case::server_cookie_cut(&[0, 10, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9])]
#[case::keepalive_with_a_time(&[0, 11, 0, 2, 0, 1])]
#[case::behind_a_good_one(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 11, 0, 1, 0])]
#[case::option_past_its_end(&[0, 3, 0, 1])]
#[case::half_a_head(&[0, 3, 0])]
fn a_malformed_option_is_formerr_with_an_opt(#[case] options: &[u8]) {
    let reply = ask(&dns(1_200), &asking("example.com", A, options), &context(LOADED));
    assert_eq!((reply.rcode, reply.options), (FORMERR, Some(vec![])));
    assert_eq!(reply.bytes[PREFIX..][6..12], [0, 0, 0, 0, 0, 1]);
}

#[rstest]
#[case::no_error(asking("example.com", A, &option(10, MINE)), 0, true)]
#[case::no_such_name(asking("nowhere.example.com", A, &option(10, MINE)), 3, true)]
#[case::refused(asking("example.net", A, &option(10, MINE)), REFUSED, true)]
#[case::bytes_behind([&asking("example.com", A, &option(10, MINE))[..], &[0]].concat(), FORMERR, true)]
#[case::another_version(with_options(0, Some(("example.com", A)), 1, &option(10, MINE)), BADVERS, false)]
#[case::malformed_in_another_version(with_options(0, Some(("example.com", A)), 1, &[9]), BADVERS, false)]
#[case::no_opt(query(&wire("example.com"), A, false), 0, false)]
#[case::other_opcode(with_options(0x1000, Some(("example.com", A)), 0, &option(10, MINE)), NOTIMP, false)]
fn whatever_the_answer_a_cookie_has_one(#[case] query: Vec<u8>, #[case] rcode: u16, #[case] cookie: bool) {
    let reply = ask(&dns(1_200), &query, &context(LOADED + 9));
    assert_eq!((reply.rcode, reply.option(edns::COOKIE).is_some()), (rcode, cookie));
    assert_eq!(reply.answered.volatile, if cookie { reply.bytes.len() } else { 0 });
    if cookie {
        assert_eq!(reply.cookie_time(), LOADED + 9);
    }
}

/// Service is never refused for want of a good server cookie over TCP (RFC 7873 section 5.2.3).
#[test]
fn a_server_cookie_is_kept_or_replaced() {
    let (dns, now) = (dns(0), LOADED + 10_000);
    let first = ask(&dns, &asking("example.com", A, &option(10, MINE)), &context(now));
    let presenting = |cookie: &[u8], context: &Context| {
        let reply = ask(&dns, &asking("example.com", A, &option(10, cookie)), context);
        assert_eq!((reply.rcode, reply.bytes.len()), (0, first.bytes.len()));
        reply.cookie_time()
    };
    let good = first.option(edns::COOKIE).unwrap();
    assert_eq!(presenting(good, &context(now + 1_799)), now);
    assert_eq!(presenting(good, &context(now + 1_800)), now + 1_800);
    let elsewhere = from(Address([9; 16]), context(now + 1));
    assert_eq!(presenting(good, &elsewhere), now + 1);
    assert_eq!(presenting(&[MINE, &[1; 16]].concat(), &context(now + 2)), now + 2);
    assert_eq!(presenting(&[MINE, &[1; 8]].concat(), &context(now + 3)), now + 3);
    assert_eq!(presenting(&[MINE, &[1; 32]].concat(), &context(now + 4)), now + 4);
}

/// A query without a question is for a server cookie (RFC 7873 section 5.4).
#[test]
fn no_question_is_one_for_a_cookie() {
    let dns = dns(0);
    let query = |options: &[u8]| with_options(0, None, 0, options);
    let first = ask(&dns, &query(&option(10, MINE)), &context(LOADED + 1));
    assert_eq!((first.rcode, first.cookie_time()), (0, LOADED + 1));
    assert_eq!(first.bytes[PREFIX..][2..12], [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let good = option(10, first.option(edns::COOKIE).unwrap());
    let second = ask(&dns, &query(&good), &context(LOADED + 2));
    assert_eq!((second.rcode, second.cookie_time()), (0, LOADED + 1));
    for (options, now) in [(option(10, &[MINE, &[1; 16]].concat()), LOADED), (good, LOADED + 3_602)] {
        let reply = ask(&dns, &query(&options), &context(now));
        assert_eq!((reply.rcode, reply.cookie_time()), (BADCOOKIE, now));
    }
    assert_eq!(ask(&dns, &query(&[]), &context(LOADED)).rcode, FORMERR);
}

/// Only what one segment carries may depend on the time.
#[test]
fn the_time_is_in_answers_of_one_segment_only() {
    let dns = dns(1_200);
    let query = asking("example.com", A, &[option(11, b""), option(10, MINE)].concat());
    let length = ask(&dns, &query, &context(0)).bytes.len();
    for (whole, volatile, time) in [(length, length, LOADED + 77), (length - 1, 0, LOADED), (0, 0, LOADED)] {
        let reply = ask(&dns, &query, &Context { whole, ..context(LOADED + 77) });
        assert_eq!((reply.answered.volatile, reply.cookie_time()), (volatile, time));
    }
}

proptest! {
    /// An answer that is not volatile is the same at any other time, whatever cookie is presented.
    #[test]
    fn what_is_not_volatile_is_pure(
        name in prop_oneof![Just("example.com"), Just("large.example.com"), Just("nowhere.example.com")],
        made in prop::option::of(LOADED - 4_000..LOADED + 4_000),
        whole in 0..600_usize,
        times in prop::array::uniform2(LOADED - 4_000..LOADED + 4_000),
    ) {
        let dns = dns(1_200);
        let made = made.map(|time| ask(&dns, &asking("example.com", A, &option(10, MINE)), &context(time)));
        let cookie = made.as_ref().map_or(MINE, |made| made.option(edns::COOKIE).unwrap());
        let query = asking(name, TXT, &option(10, cookie));
        let [one, other] = times.map(|now| ask(&dns, &query, &Context { whole, ..context(now) }));
        prop_assert_eq!(one.answered, other.answered);
        prop_assert_eq!(one.bytes.len(), other.bytes.len());
        prop_assert_eq!(one.answered.volatile, if one.bytes.len() <= whole { one.bytes.len() } else { 0 });
        if one.answered.volatile == 0 {
            prop_assert_eq!(one.bytes, other.bytes);
        }
    }
}
