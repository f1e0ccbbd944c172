use super::*;
use crate::services::MAX_RESPONSE;
use domain::base::Message as Parsed;
use domain::rdata::AllRecordData;
use rstest::rstest;
use std::path::PathBuf;

mod identity;
mod options;
mod zones;

const A: u16 = 1;
const SOA: u16 = 6;
const TXT: u16 = 16;
const ANY: u16 = 255;
/// Class, size, extended code, version, flags, length of an OPT record with DO.
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A message without its length: second word of the header, number of questions and additional records, the rest.
fn message(flags: u16, questions: u8, additional: u8, rest: &[&[u8]]) -> Vec<u8> {
    let [high, low] = flags.to_be_bytes();
    let header = [0x12, 0x34, high, low, 0, questions, 0, 0, 0, 0, 0, additional];
    [&header[..], &rest.concat()].concat()
}

fn query(name: &[u8], rtype: u16, signed: bool) -> Vec<u8> {
    let [high, low] = rtype.to_be_bytes();
    let question = [name, &[high, low, 0, 1]].concat();
    message(0x0100, 1, u8::from(signed), &[&question, if signed { &OPT } else { &[] }])
}

/// The response without its length, which is checked; none if nothing was written.
fn answer(dns: &Dns, query: &[u8], room: usize) -> Option<Vec<u8>> {
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes(), query].concat();
    assert_eq!(dns.frame(&framed), Framing::Message(framed.len()));
    let mut response = Vec::with_capacity(room);
    let answered = dns.answer(&framed, &Context { room, ..Context::default() }, &mut response).unwrap();
    // A refusal for want of room ends the stream; nothing else is SERVFAIL here.
    let refused = response.get(5).is_some_and(|flags| flags & 0xf == 2);
    assert_eq!((answered.volatile, !response.is_empty() && answered.last), (0, refused));
    assert!(response.len() <= room, "{} bytes in a room of {room}", response.len());
    let (prefix, message) = response.split_at_checked(2)?;
    assert_eq!(usize::from(u16::from_be_bytes([prefix[0], prefix[1]])), message.len());
    // Every record of every section can be read, and nothing follows the last.
    let parsed = Parsed::from_octets(message).unwrap();
    let mut end = parsed.additional().unwrap();
    for section in [parsed.answer().unwrap(), parsed.authority().unwrap(), parsed.additional().unwrap()] {
        for record in section {
            record.unwrap().to_record::<AllRecordData<_, _>>().unwrap();
        }
    }
    end.by_ref().for_each(drop);
    assert_eq!(end.pos(), message.len());
    Some(message.to_vec())
}

fn builtin() -> Dns {
    Dns::builtin(DnsOptions::default())
}

/// A service of one zone given as text.
fn zone(text: &str) -> Dns {
    Dns::from_text(text, DnsOptions::default()).unwrap()
}

/// An alias leads to another zone, where a name has the same label twice: its rest is no name that has been written.
#[test]
fn a_name_is_compressed_by_what_is_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let texts = [
        ("a.example", "$ORIGIN a.example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nr CNAME x.b.example.\n"),
        ("b.example", "$ORIGIN b.example.\n$TTL 60\n@ SOA ns.ns h 1 2 3 4 5\n@ NS ns.ns\n"),
    ];
    let files = texts.map(|(name, text)| {
        let file = dir.path().join(format!("{name}.zone"));
        std::fs::write(&file, text).unwrap();
        ZoneSource::from(file)
    });
    let dns = Dns::load(&files, &DnsOptions::default()).unwrap();
    let message = answer(&dns, &query(&wire("r.a.example"), A, false), MAX_RESPONSE).unwrap();
    let parsed = Parsed::from_octets(&message[..]).unwrap();
    let soa = parsed.authority().unwrap().next().unwrap().unwrap();
    let soa = soa.to_record::<AllRecordData<_, _>>().unwrap().unwrap();
    assert!(soa.data().to_string().starts_with("ns.ns.b.example."), "{}", soa.data());
}

#[test]
fn the_built_in_zone_has_the_sizes_it_promises() {
    let length = |name, rtype, signed| {
        answer(&builtin(), &query(&wire(name), rtype, signed), MAX_RESPONSE).unwrap().len()
    };
    assert!(length("example.com", ANY, true) > 2_000);
    assert!((5_000..6_100).contains(&length("large.example.com", TXT, false)));
    assert!((28_000..32_000).contains(&length("huge.example.com", TXT, false)));
}

#[test]
fn the_transaction_of_2009_is_229_octets() {
    let files = ["rand.apnic.net.zone", "sec3.apnic.net.zone"].map(|name| fixture(name).into());
    let dns = Dns::load(&files, &DnsOptions::default()).unwrap();
    let query = query(&wire("rand.apnic.net"), ANY, false);
    assert_eq!(query.len(), 32);
    let response = answer(&dns, &query, MAX_RESPONSE).unwrap();
    assert_eq!(response.len(), 229);
    assert_eq!(response[..12], [0x12, 0x34, 0x85, 0, 0, 1, 0, 6, 0, 0, 0, 2]);
}

#[rstest]
#[case::no_question(message(0, 0, 0, &[]), 0x8001, 0)]
#[case::two_questions(message(0, 2, 0, &[&wire("example.com"), &[0, 1, 0, 1], &wire("example.com"), &[0, 1, 0, 1]]), 0x8001, 0)]
#[case::question_cut_in_name(message(0, 1, 0, &[&[7, b'e']]), 0x8001, 0)]
#[case::question_cut_in_class(message(0, 1, 0, &[&wire("example.com"), &[0, 1, 0]]), 0x8001, 0)]
#[case::pointer_to_itself(message(0, 1, 0, &[&[0xc0, 12, 0, 1, 0, 1]]), 0x8001, 0)]
#[case::pointer_loop(message(0, 1, 0, &[&[1, b'a', 0xc0, 12, 0, 1, 0, 1]]), 0x8001, 0)]
#[case::pointer_past_the_end(message(0, 1, 0, &[&[0xff, 0xff, 0, 1, 0, 1]]), 0x8001, 0)]
#[case::reserved_label(message(0, 1, 0, &[&[0x41, 1, 0, 0, 1, 0, 1]]), 0x8001, 0)]
#[case::byte_after_the_end(message(0, 1, 0, &[&wire("example.com"), &[0, 1, 0, 1, 0]]), 0x8001, 1)]
#[case::additional_missing(message(0, 1, 1, &[&wire("example.com"), &[0, 1, 0, 1]]), 0x8001, 1)]
#[case::additional_cut(message(0, 1, 1, &[&wire("example.com"), &[0, 1, 0, 1], &OPT[..10]]), 0x8001, 1)]
#[case::two_opts(message(0, 1, 2, &[&wire("example.com"), &[0, 1, 0, 1], &OPT, &OPT]), 0x8001, 1)]
#[case::opt_of_a_name(message(0, 1, 1, &[&wire("example.com"), &[0, 1, 0, 1, 1, b'a'], &OPT]), 0x8001, 1)]
#[case::status(message(0x1000, 1, 0, &[&wire("example.com"), &[0, 1, 0, 1]]), 0x9004, 0)]
#[case::notify(message(0x2000, 1, 0, &[&wire("example.com"), &[0, 6, 0, 1]]), 0xa004, 0)]
#[case::update(message(0x2800, 1, 0, &[&wire("example.com"), &[0, 6, 0, 1]]), 0xa804, 0)]
#[case::opcode_15(message(0x7800, 1, 0, &[]), 0xf804, 0)]
#[case::not_our_name(message(0x0100, 1, 0, &[&wire("example.net"), &[0, 1, 0, 1]]), 0x8105, 1)]
#[case::parent_of_our_name(message(0, 1, 0, &[&wire("com"), &[0, 1, 0, 1]]), 0x8005, 1)]
#[case::suffix_but_no_label(message(0, 1, 0, &[&wire("xexample.com"), &[0, 1, 0, 1]]), 0x8005, 1)]
#[case::the_root(message(0, 1, 0, &[&[0], &[0, 1, 0, 1]]), 0x8005, 1)]
#[case::class_chaos(message(0, 1, 0, &[&wire("example.com"), &[0, 16, 0, 3]]), 0x8005, 1)]
#[case::class_any(message(0, 1, 0, &[&wire("example.com"), &[0, 1, 0, 255]]), 0x8005, 1)]
#[case::axfr(message(0, 1, 0, &[&wire("example.com"), &[0, 252, 0, 1]]), 0x8005, 1)]
#[case::ixfr(message(0, 1, 0, &[&wire("example.com"), &[0, 251, 0, 1]]), 0x8005, 1)]
#[case::maila(message(0, 1, 0, &[&wire("example.com"), &[0, 254, 0, 1]]), 0x8004, 1)]
#[case::mailb(message(0, 1, 0, &[&wire("example.com"), &[0, 253, 0, 1]]), 0x8004, 1)]
#[case::type_opt(message(0, 1, 0, &[&wire("example.com"), &[0, 41, 0, 1]]), 0x8001, 1)]
fn refuses(#[case] query: Vec<u8>, #[case] flags: u16, #[case] questions: usize) {
    let response = answer(&builtin(), &query, MAX_RESPONSE).unwrap();
    assert_eq!(response[..2], query[..2]);
    assert_eq!(u16::from_be_bytes([response[2], response[3]]), flags);
    assert_eq!(usize::from(response[5]), questions);
    assert_eq!(response[6..12], [0; 6]);
    assert_eq!(response[12..], query[12..][..response.len() - 12]);
}

#[rstest]
#[case::empty(vec![])]
#[case::shorter_than_a_header(vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0])]
#[case::a_response({ let mut query = query(&wire("example.com"), A, false); query[2] |= 0x80; query })]
fn never_answers(#[case] query: Vec<u8>) {
    assert_eq!(answer(&builtin(), &query, MAX_RESPONSE), None);
}

#[rstest]
#[case::plain(0x0000, 0x8400)]
#[case::recursion_desired(0x0100, 0x8500)]
#[case::checking_disabled(0x0010, 0x8410)]
#[case::authentic_data(0x0020, 0x8400)]
#[case::recursion_available_truncated_authoritative(0x0680, 0x8400)]
#[case::reserved(0x0040, 0x8400)]
fn copies_only_rd_and_cd(#[case] asked: u16, #[case] answered: u16) {
    let query = message(asked, 1, 0, &[&wire("example.com"), &[0, 1, 0, 1]]);
    let response = answer(&builtin(), &query, MAX_RESPONSE).unwrap();
    assert_eq!(u16::from_be_bytes([response[2], response[3]]), answered);
}

#[rstest]
#[case::do_is_copied(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0], 0, &[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0])]
#[case::other_flags_are_not(&[0, 0, 41, 16, 0, 0, 0, 0x7f, 0xff, 0, 0], 0, &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])]
#[case::options_are_skipped(&[0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0], 0, &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])]
#[case::version_1(&[0, 0, 41, 4, 208, 0, 1, 0x80, 0, 0, 0], 0, &[0, 0, 41, 4, 208, 1, 0, 0x80, 0, 0, 0])]
fn answers_an_opt_with_an_opt(#[case] asked: &[u8], #[case] rcode: u8, #[case] answered: &[u8]) {
    let query = message(0, 1, 1, &[&wire("web.servers.example.com"), &[0, 28, 0, 1], asked]);
    let response = answer(&builtin(), &query, MAX_RESPONSE).unwrap();
    assert_eq!(response[3] & 0xf, rcode);
    assert_eq!(response[11], 1);
    assert!(response.ends_with(answered), "{response:x?}");
    let records = usize::from(response[7] + response[9]);
    assert_eq!(records == 0, asked[6] == 1, "BADVERS answers nothing else");
}

#[test]
fn the_question_keeps_its_case_and_its_owner_points_at_it() {
    let query = query(&wire("MaIl.ExAmPlE.cOm"), A, false);
    let response = answer(&builtin(), &query, MAX_RESPONSE).unwrap();
    assert_eq!(response[12..query.len()], query[12..]);
    let fixed = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 25];
    assert_eq!(response[query.len()..], fixed);
}

#[test]
fn names_at_the_limits_are_answered() {
    let below = |prefix: Vec<u8>| [prefix, wire("example.com")].concat();
    let labels = below([1, b'x'].repeat(121));
    assert_eq!(labels.len(), 255);
    let long = below(
        [
            [&[62][..], &[b'y'; 62]].concat(),
            [63].iter().chain(&[b'y'; 63]).copied().collect(),
            [63].iter().chain(&[b'y'; 63]).copied().collect(),
            [50].iter().chain(&[b'y'; 50]).copied().collect(),
        ]
        .concat(),
    );
    assert_eq!(long.len(), 255);
    for (name, rcode) in [(labels, 3), (long, 3)] {
        let response = answer(&builtin(), &query(&name, A, true), MAX_RESPONSE).unwrap();
        assert_eq!(response[3] & 0xf, rcode);
        assert_eq!(response[12..][..255], name);
    }
    let root =
        zone(". 60 SOA ns. h. 1 2 3 4 5\n. 60 NS ns.\n* 60 A 192.0.2.1\n".replace("* ", "*. ").as_str());
    let name = [[1, b'x'].repeat(127), vec![0]].concat();
    let response = answer(&root, &query(&name, A, false), MAX_RESPONSE).unwrap();
    assert_eq!((response[3] & 0xf, response[7]), (0, 1));
    let too_long = [[1, b'x'].repeat(128), vec![0]].concat();
    assert_eq!(answer(&root, &query(&too_long, A, false), MAX_RESPONSE).unwrap()[3] & 0xf, 1);
}

#[test]
fn a_response_larger_than_the_room_is_servfail() {
    let (dns, query) = (builtin(), query(&wire("huge.example.com"), TXT, true));
    let whole = answer(&dns, &query, MAX_RESPONSE).unwrap();
    assert_eq!(answer(&dns, &query, whole.len() + 2), Some(whole.clone()));
    let refused = answer(&dns, &query, whole.len() + 1).unwrap();
    assert_eq!(refused[2..12], [0x81, 2, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(refused[12..query.len() - OPT.len()], query[12..query.len() - OPT.len()]);
    assert!(refused.ends_with(&OPT));
    assert_eq!(answer(&dns, &query, refused.len() + 2), Some(refused.clone()));
    for room in 0..refused.len() + 2 {
        assert_eq!(answer(&dns, &query, room), None, "in a room of {room}");
    }
}

#[test]
fn answers_are_appended() {
    let query = query(&wire("example.com"), SOA, false);
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes(), &query[..]].concat();
    let context = Context { room: 1_000, ..Context::default() };
    let mut both = Vec::with_capacity(2_000);
    builtin().answer(&framed, &context, &mut both).unwrap();
    let first = both.clone();
    builtin().answer(&framed, &context, &mut both).unwrap();
    assert_eq!(both, [&first[..], &first].concat());
}

#[rstest]
#[case::nothing(&[], Framing::Incomplete)]
#[case::half_a_length(&[0], Framing::Incomplete)]
#[case::length_only(&[0, 12], Framing::Incomplete)]
#[case::no_room_for_a_header(&[0, 11], Framing::Message(2))]
#[case::empty_message(&[0, 0], Framing::Message(2))]
#[case::longest_that_is_kept(&[0x1f, 0xfe], Framing::Incomplete)]
#[case::too_long_to_be_kept(&[0x1f, 0xff], Framing::Message(2))]
#[case::too_short_and_more(&[0, 1, 9, 0, 1], Framing::Message(5))]
#[case::whole(b"\0\x0cid\0\0\0\x01\0\0\0\0\0\0", Framing::Message(14))]
#[case::whole_and_more(b"\0\x0cid\0\0\0\x01\0\0\0\0\0\0\0", Framing::Message(14))]
#[case::query_begins(b"\0\x30id\0\0", Framing::Incomplete)]
#[case::response_begins(b"\0\x30id\x80\0", Framing::Message(6))]
#[case::response(b"\0\x0cid\x80\0\0\x01\0\0\0\0\0\0", Framing::Message(14))]
#[case::notify(b"\0\x30id\x24\0\0\x01\0\x01\0\0\0\0\0", Framing::Incomplete)]
#[case::more_records_than_fit(b"\0\x30id\0\0\0\x01\0\x04\0\0\0\0\0", Framing::Message(15))]
#[case::http(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", Framing::Message(37))]
#[case::tls(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\xaa\xbb\xcc\xdd", Framing::Message(15))]
#[case::ssh(b"SSH-2.0-OpenSSH_10.0\r\n", Framing::Message(22))]
#[case::proxy(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Framing::Message(36))]
#[case::proxy_2(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Framing::Message(16))]
fn frames(#[case] stream: &[u8], #[case] framing: Framing) {
    assert_eq!(builtin().frame(stream), framing);
}

#[test]
fn minimal_any_is_one_set_and_its_signature() {
    let dns = Dns::builtin(DnsOptions { minimal_any: true, ..DnsOptions::default() });
    let count = |signed| answer(&dns, &query(&wire("example.com"), ANY, signed), MAX_RESPONSE).unwrap()[7];
    assert_eq!((count(false), count(true)), (1, 2));
}

#[test]
fn names_beyond_a_pointers_reach_are_written_out() {
    use domain::rdata::Mx;
    use std::fmt::Write as _;
    let mut text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n".to_owned();
    for number in 0..80 {
        writeln!(text, "@ TXT {number:0>250}").unwrap();
    }
    text += "@ MX 1 x.many.names\n@ MX 2 y.many.names\n";
    let response = answer(&zone(&text), &query(&wire("example"), ANY, false), MAX_RESPONSE).unwrap();
    assert!(response.len() > 0x4000);
    let parsed = Parsed::from_octets(&response).unwrap();
    let exchanges: Vec<String> = parsed
        .answer()
        .unwrap()
        .limit_to::<Mx<_>>()
        .map(|record| record.unwrap().data().exchange().to_string())
        .collect();
    assert_eq!(exchanges, ["x.many.names.example", "y.many.names.example"]);
}

#[test]
fn no_pointer_leads_to_a_pointer() {
    let text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\nc.b CNAME b\nb A 192.0.2.1\n";
    let response = answer(&zone(text), &query(&wire("c.b.example"), A, false), MAX_RESPONSE).unwrap();
    // CNAME data and address's owner are the end of the question's name.
    assert!(response.ends_with(&[0, 2, 0xc0, 14, 0xc0, 14, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]));
    let text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n*.d CNAME a\na A 192.0.2.1\n";
    let query = query(&wire("x.d.example"), A, false);
    let response = answer(&zone(text), &query, MAX_RESPONSE).unwrap();
    // The address's owner points at the name in the CNAME's data.
    let target = query.len() + 12;
    assert_eq!(response[target..][..4], [1, b'a', 0xc0, 16]);
    assert_eq!(usize::from(response[target + 5]), target);
}

#[test]
fn a_cut_below_a_cut_is_hidden() {
    let text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\nsub NS ns.test.\nlow.sub NS other.test.\n";
    for name in ["sub.example", "low.sub.example", "x.low.sub.example"] {
        let response = answer(&zone(text), &query(&wire(name), A, false), MAX_RESPONSE).unwrap();
        let parsed = Parsed::from_octets(&response).unwrap();
        let owner = parsed.authority().unwrap().next().unwrap().unwrap().owner().to_string();
        assert_eq!(owner, "sub.example");
    }
}

#[rstest]
#[case::closed_at_its_beginning("loop1", 2)]
#[case::closed_behind_its_beginning("intoloop", 3)]
fn a_loop_ends_where_it_closes(#[case] name: &str, #[case] links: u8) {
    let text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nintoloop CNAME loop1\n\
                loop1 CNAME LOOP2\nloop2 CNAME Loop1\n";
    let response =
        answer(&zone(text), &query(&wire(&format!("{name}.example")), A, false), MAX_RESPONSE).unwrap();
    assert_eq!((response[3] & 0xf, response[7]), (0, links));
}

#[test]
fn long_chains_end() {
    use std::fmt::Write as _;
    let mut text = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n".to_owned();
    for link in 0..100 {
        writeln!(text, "c{link} CNAME c{}", link + 1).unwrap();
    }
    let response = answer(&zone(&text), &query(&wire("c0.example"), A, false), MAX_RESPONSE).unwrap();
    assert_eq!(u16::from_be_bytes([response[6], response[7]]), 20);
    assert_eq!(response[3] & 0xf, 0);
}
