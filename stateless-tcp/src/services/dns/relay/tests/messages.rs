//! Parsing any message from an upstream.

use super::cached_answer::AnswerError;
use super::*;
use crate::services::dns::edns;
use domain::base::Message as Parsed;
use std::net::IpAddr;

const NAME: &str = "www.example.com";

/// A question as it was sent, and the whole query with an OPT record.
fn asked() -> (Vec<u8>, Vec<u8>) {
    let query = [&query(0x1234, 0, NAME, None)[2..], &OPT].concat();
    (query[12..query.len() - OPT.len()].to_vec(), query)
}

fn read(message: &[u8]) -> Result<CachedAnswer, AnswerError> {
    CachedAnswer::parse(message, &asked().0, BEGIN)
}

/// The message as a client without EDNS gets it.
fn given(cached: &CachedAnswer, age: AnswerAge) -> Vec<u8> {
    let query = query(0x5678, 0, "WWW.Example.COM", None);
    let (query, _) = query::parse(&query[2..]);
    let mut out = Vec::new();
    cached.write(age, &query, 0, &mut out);
    out
}

#[rstest]
#[case::nothing(|_: &[u8]| Vec::new(), AnswerError::Mismatched)]
#[case::header_only(|message: &[u8]| message[..12].to_vec(), AnswerError::Mismatched)]
#[case::a_query(|message: &[u8]| changed(message, 2, 0x80), AnswerError::Mismatched)]
#[case::another_opcode(|message: &[u8]| changed(message, 2, 0x08), AnswerError::Mismatched)]
#[case::another_case(|message: &[u8]| changed(message, 13, 0x20), AnswerError::Mismatched)]
#[case::another_name(|message: &[u8]| changed(message, 13, 0x01), AnswerError::Mismatched)]
#[case::another_type(|message: &[u8]| changed(message, 12 + 17 + 1, 0x1d), AnswerError::Mismatched)]
#[case::another_class(|message: &[u8]| changed(message, 12 + 17 + 3, 0x02), AnswerError::Mismatched)]
#[case::no_question(|message: &[u8]| changed(message, 5, 1), AnswerError::Mismatched)]
#[case::truncated(|message: &[u8]| changed(message, 2, 0x02), AnswerError::Truncated)]
#[case::a_record_too_few(|message: &[u8]| changed(message, 7, 3), AnswerError::Malformed)]
#[case::a_byte_too_few(|message: &[u8]| message[..message.len() - 1].to_vec(), AnswerError::Malformed)]
#[case::an_option_that_is_cut(|message: &[u8]| [&message[..message.len() - 1], &[1, 7]].concat(), AnswerError::Malformed)]
fn what_is_no_answer_is_known(#[case] change: fn(&[u8]) -> Vec<u8>, #[case] why: AnswerError) {
    let message = a_record(&asked().1);
    assert!(read(&message).is_ok());
    assert_eq!(read(&change(&message)), Err(why));
}

fn changed(message: &[u8], at: usize, bits: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    message[at] ^= bits;
    message
}

#[test]
fn what_stands_behind_the_opt_is_left_out() {
    let (_, query) = asked();
    let opt = [&OPT[..10], &[5, 0xff, 1, 0, 1, 9]].concat();
    let extra = [record(A, 7, &[1; 4]), record(A, 8, &[2; 4])];
    let mut message = reply(&query, 0, [&[record(A, 60, &[192, 0, 2, 7])], &[], &[extra[0].clone()]]);
    message.truncate(message.len() - OPT.len());
    message.extend([&opt[..], &extra[1]].concat());
    message[11] = 3;
    let cached = read(&message).unwrap();
    assert_eq!(cached.options().collect::<Vec<_>>(), [(0xff01, &opt[11..])]);
    let given = given(&cached, AnswerAge::Fresh(5));
    assert_eq!(given[..12], [0x56, 0x78, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
    assert_eq!(given[12..29], wire("WWW.Example.COM"));
    assert_eq!(ttl(&given, 4), 2, "the one before the OPT record, five seconds later");
    assert_eq!(given.len(), message.len() - opt.len() - extra[1].len());
}

#[test]
fn neighbours_options_do_not_go_on() {
    let (_, query) = asked();
    let options: Vec<u8> = [3_u16, 8, 10, 11, 12, 15]
        .into_iter()
        .flat_map(|code| [&code.to_be_bytes()[..], &[0, 2, 7, 7]].concat())
        .collect();
    let mut message = a_record(&query);
    *message.last_mut().unwrap() = u8::try_from(options.len()).unwrap();
    message.extend(options);
    let cached = read(&message).unwrap();
    assert_eq!(cached.options().map(|(code, _)| code).collect::<Vec<_>>(), [8, 15]);
}

#[test]
fn a_code_that_needs_an_opt_is_servfail_without() {
    let (_, query) = asked();
    let mut message = reply(&query, 0, [&[], &[], &[]]);
    let extended = message.len() - OPT.len() + 5;
    message[extended] = 1;
    let cached = read(&message).unwrap();
    assert_eq!(given(&cached, AnswerAge::Fresh(0))[3] & 0xf, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Any bytes can be looked at, and what is taken from them is a message as long as it says, with its TTLs in places
    /// that hold TTLs.
    #[test]
    fn arbitrary_bytes_do_no_harm(
        mut message in proptest::collection::vec(any::<u8>(), 0..300),
        counts in proptest::array::uniform3(0_u8..4),
        polite: bool,
        age in 0_u32..100_000,
    ) {
        let (question, query) = asked();
        if polite {
            let head = [&query[..4], &[0, 1, 0, counts[0], 0, counts[1], 0, counts[2]], &question[..]].concat();
            message.splice(..0, head);
            message[2] = 0x81;
        }
        if let Ok(cached) = CachedAnswer::parse(&message, &question, BEGIN) {
            for age in [AnswerAge::Fresh(age), AnswerAge::Stale] {
                let given = given(&cached, age);
                prop_assert_eq!(given.len(), cached.len());
                prop_assert!(given.len() <= message.len());
            }
        }
    }

    /// A good answer with some bytes changed is either taken, and then is as good a message as before, or is not.
    #[test]
    fn a_damaged_answer_does_no_harm(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        count in 0_u8..5,
    ) {
        let (question, query) = asked();
        let records: Vec<_> = (0..count).map(|number| record(A, 60, &[10, 0, 0, number])).collect();
        let mut message = reply(&query, 0, [&records, &[record(SOA, 60, &soa(30))], &records]);
        for (at, value) in &damage {
            let at = at.index(message.len());
            message[at] = *value;
        }
        match CachedAnswer::parse(&message, &question, BEGIN) {
            Ok(cached) => {
                let given = given(&cached, AnswerAge::Fresh(1));
                prop_assert_eq!(&given[..2], &[0x56, 0x78]);
                if damage.is_empty() {
                    let parsed = Parsed::from_octets(given).unwrap();
                    let ttls = parsed.iter().map(|record| record.unwrap().0.ttl().as_secs());
                    prop_assert_eq!(ttls.collect::<Vec<_>>(), vec![59; 2 * usize::from(count) + 1]);
                }
            }
            Err(_) => prop_assert!(!damage.is_empty()),
        }
    }

    /// For any options of the client, the forwarded query is well formed and fits a datagram.
    #[test]
    fn what_goes_on_can_be_read(
        options in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..8),
        subnet in prop_oneof![
            Just(ClientSubnet::PassThrough),
            Just(ClientSubnet::FromAddress),
            Just(ClientSubnet::FromClientOrAddress)
        ],
        six: bool,
    ) {
        let data: Vec<u8> = options.iter().flat_map(|(code, data)| {
            [&code.to_be_bytes()[..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
        }).collect();
        let opt = [&OPT[..9], &u16::try_from(data.len()).unwrap().to_be_bytes(), &data].concat();
        let query = query(7, 0x0030, NAME, Some(&opt));
        let (query, question) = query::parse(&query[2..]);
        let client: IpAddr = if six { "2001:db8:1:2::3" } else { "198.51.100.77" }.parse().unwrap();
        let tuple = FourTuple { client: client.into(), ..Context::default().origin.tuple };
        let mut ask = upstream_query::UpstreamQuery::default();
        let disclosure = upstream_query::ClientInfo { subnet, addresses: false };
        let Ok(question) = question else { return Ok(()) };
        if ask.compose(&query, &question, &tuple, disclosure).is_ok() {
            let mut out = Vec::new();
            ask.write(0xabcd, 1_400, &mut out);
            prop_assert!(out.len() <= upstream_query::MOST);
            let parsed = Parsed::from_octets(&out).unwrap();
            let record = parsed.opt().expect("an OPT record");
            prop_assert_eq!(record.udp_payload_size(), 1_400);
            let (read, answerable) = query::parse(&out);
            prop_assert!(answerable.is_ok());
            let codes: Vec<u16> = edns::options(read.edns.unwrap().options).map(|(code, _)| code).collect();
            let passes = |(code, data): &&(u16, Vec<u8>)| match code {
                8 => subnet != ClientSubnet::FromAddress || data.get(2) == Some(&0),
                code => !(10..=12).contains(code),
            };
            let mut expected: Vec<u16> = options.iter().filter(passes).map(|(code, _)| *code).collect();
            if subnet != ClientSubnet::PassThrough && !expected.contains(&8) {
                expected.push(8);
            }
            prop_assert_eq!(codes, expected);
        }
    }
}
