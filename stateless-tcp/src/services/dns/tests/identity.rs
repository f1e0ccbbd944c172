//! Who is answering, and why it refuses.

use super::options::{LOADED, TestReply, ask, asking, context, option};
use super::*;

const NOERROR: u16 = 0;
const SERVFAIL: u16 = 2;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const IN: u16 = 1;
const CH: u16 = 3;
const MAILA: u16 = 254;
const AXFR: u16 = 252;

fn dns(name: Option<&str>, hide_version: bool) -> Dns {
    let identity = Identity { name: name.and_then(ServerName::new), hide_version };
    Dns::builtin(DnsOptions { identity, ..DnsOptions::default() })
}

/// A question with an OPT record.
fn of_class(name: &str, rtype: u16, class: u16) -> Vec<u8> {
    let question = [&wire(name)[..], &rtype.to_be_bytes(), &class.to_be_bytes()].concat();
    message(0, 1, 1, &[&question, &OPT])
}

/// The records of an answer, as text.
fn records(reply: &TestReply) -> Vec<String> {
    let parsed = Parsed::from_octets(&reply.bytes[PREFIX..]).unwrap();
    let answers = parsed.answer().unwrap().map(Result::unwrap);
    let read = |record: domain::base::record::ParsedRecord<'_, _>| {
        let record = record.to_record::<AllRecordData<_, _>>().unwrap().unwrap();
        format!("{} {} {} {}", record.owner(), record.ttl().as_secs(), record.class(), record.data())
    };
    answers.map(read).collect()
}

#[rstest]
#[case::identity("id.server", Some("ns1.example.net"))]
#[case::hostname("hostname.bind", Some("ns1.example.net"))]
#[case::in_any_case("ID.Server", Some("ns1.example.net"))]
#[case::version("version.server", Some(concat!("stateless-tcp ", env!("CARGO_PKG_VERSION"))))]
#[case::version_of_bind("version.bind", Some(concat!("stateless-tcp ", env!("CARGO_PKG_VERSION"))))]
#[case::authors("authors.bind", None)]
#[case::below("a.id.server", None)]
fn it_tells_who_it_is(#[case] name: &str, #[case] text: Option<&str>) {
    let context = context(LOADED);
    let reply = ask(&dns(Some("ns1.example.net"), false), &of_class(name, TXT, CH), &context);
    let expected: Vec<String> = text.iter().map(|text| format!("{name} 0 CH \"{text}\"")).collect();
    assert_eq!(records(&reply), expected);
    let (rcode, volatile) = if text.is_some() { (NOERROR, reply.bytes.len()) } else { (REFUSED, 0) };
    assert_eq!((reply.rcode, reply.answered), (rcode, Answered { volatile, last: false }));
    // Not over other types and classes, nor if it has nothing to tell.
    for (rtype, class) in [(A, CH), (TXT, IN), (ANY, CH)] {
        let other = ask(&dns(Some("ns1.example.net"), false), &of_class(name, rtype, class), &context);
        assert_eq!((other.rcode, records(&other).len()), (REFUSED, 0), "{rtype} {class}");
    }
    let silent = ask(&dns(None, true), &of_class(name, TXT, CH), &context);
    assert_eq!((silent.rcode, silent.option(edns::EXTENDED_ERROR)), (REFUSED, Some(&[0, 21][..])));
}

/// A part of one server's text is never continued by another's.
#[test]
fn a_text_that_is_not_one_segment_ends_the_connection() {
    let dns = dns(Some("ns1"), false);
    let query = of_class("id.server", TXT, CH);
    for (whole, last) in [(512, false), (0, true), (40, true)] {
        let reply = ask(&dns, &query, &Context { whole, ..context(LOADED) });
        assert_eq!((reply.rcode, reply.answered.last), (NOERROR, last), "{whole}");
    }
}

#[test]
fn nsid_is_told_to_clients_that_ask() {
    let (named, nameless) = (dns(Some("ns1"), false), dns(None, false));
    for (name, rcode) in [("example.com", NOERROR), ("example.net", REFUSED)] {
        let query = asking(name, A, &option(edns::NSID, b""));
        let reply = ask(&named, &query, &context(LOADED));
        assert_eq!((reply.rcode, reply.option(edns::NSID)), (rcode, Some(&b"ns1"[..])));
        assert_eq!(reply.answered, Answered { volatile: reply.bytes.len(), last: false });
        assert_eq!(ask(&nameless, &query, &context(LOADED)).option(edns::NSID), None);
        assert_eq!(ask(&named, &asking(name, A, b""), &context(LOADED)).option(edns::NSID), None);
    }
}

/// An answer of several segments is the same from every server.
#[test]
fn nsid_is_left_out_where_the_answer_is_not_one_segment() {
    let dns = dns(Some("ns1"), false);
    let query = asking("example.com", A, &option(edns::NSID, b""));
    let length = ask(&dns, &query, &context(LOADED)).bytes.len();
    for (whole, told) in [(length, true), (length - 1, false), (0, false)] {
        let reply = ask(&dns, &query, &Context { whole, ..context(LOADED) });
        assert_eq!(reply.option(edns::NSID).is_some(), told, "{whole} of {length}");
        assert_eq!(reply.answered.volatile, if told { length } else { 0 });
    }
}

#[rstest]
#[case::other_name("example.net", A, IN, REFUSED, 20)]
#[case::other_class("example.com", A, CH, REFUSED, 21)]
#[case::transfer("example.com", AXFR, IN, REFUSED, 18)]
#[case::obsolete_type("example.com", MAILA, IN, NOTIMP, 21)]
fn a_refusal_has_its_reason(
    #[case] name: &str,
    #[case] rtype: u16,
    #[case] class: u16,
    #[case] rcode: u16,
    #[case] reason: u8,
) {
    let query = of_class(name, rtype, class);
    let reply = ask(&builtin(), &query, &context(LOADED));
    assert_eq!((reply.rcode, reply.option(edns::EXTENDED_ERROR)), (rcode, Some(&[0, reason][..])));
    // Without EDNS there is no place for it, and without room the code alone is the answer.
    let mut plain = query.clone();
    plain.truncate(plain.len() - OPT.len());
    plain[11] = 0;
    assert_eq!(ask(&builtin(), &plain, &context(LOADED)).options, None);
    let room = reply.bytes.len() - 1;
    let short = ask(&builtin(), &query, &Context { room, ..context(LOADED) });
    assert_eq!((short.rcode, short.options, short.answered.last), (rcode, Some(vec![]), false));
}

#[test]
fn an_answer_has_no_reason() {
    for name in ["example.com", "no.example.com"] {
        assert_eq!(ask(&builtin(), &asking(name, A, b""), &context(LOADED)).options, Some(vec![]));
    }
}

#[test]
fn a_zone_that_cannot_be_loaded_is_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let text = "$ORIGIN a.example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n";
    let [good, broken] = [("a.example", text), ("b.example", "nonsense")].map(|(name, text)| {
        let file = directory.path().join(format!("{name}.zone"));
        std::fs::write(&file, text).unwrap();
        format!("{name}={}", file.display()).parse::<ZoneSource>().unwrap()
    });
    let options = ZoneOptions { files: vec![good, broken], ..ZoneOptions::default() };
    let zones = Library::default().load(&options, &[]).unwrap();
    let reply = ask(&Dns::new(zones, DnsOptions::default()), &asking("b.example", A, b""), &context(LOADED));
    assert_eq!((reply.rcode, reply.option(edns::EXTENDED_ERROR)), (SERVFAIL, Some(&[0, 24][..])));
}

/// Servers that stand in for each other give answers of the same length.
#[test]
fn names_of_the_same_length_have_the_same_fingerprint() {
    let of = |name, hide_version| dns(name, hide_version).fingerprint();
    assert_eq!(of(Some("ns1"), false), of(Some("ns2"), false));
    assert_ne!(of(Some("ns1"), false), of(Some("ns10"), false));
    assert_ne!(of(Some("ns1"), false), of(None, false));
    assert_ne!(of(Some("ns1"), false), of(Some("ns1"), true));
}
