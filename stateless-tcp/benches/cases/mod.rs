//! What is measured, once for the clock, once for callgrind and once for the allocator.
//!
//! The steps of a frame's path, each alone, and whole frames through [`Responder::respond`]; what a name costs by whether
//! it exists. The frame of a received segment is copied into its buffer first, as a NIC would: that copy is included.

mod frames;

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use frames::{CHUNK, Pool, Segment, frame, query};
use stateless_tcp::dataplane::responder::Responder;
use stateless_tcp::observe::counters::Counters;
use stateless_tcp::observe::tap::{Tap, TapFilter, TapListener, TapRegistry};
use stateless_tcp::services::dns::{Cookies, Dns, DnsOptions};
use stateless_tcp::services::http::Http;
use stateless_tcp::services::{Context, MAX_RESPONSE, Service};
use stateless_tcp::serving::{AnswerPolicy, Content, ContentGeneration, ServingState};
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering;
use stateless_tcp_core::tcp::epoch::{CONNECTION_LIFETIME, Epochs};
use stateless_tcp_core::tcp::isn::{self, CookieFields, Generations, Key, Keys, MssClass};
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::Flags;
use stateless_tcp_core::tcp::{AckPolicy, TcpConfig, syn_ack};
use stateless_tcp_core::wire::{self, Reply};

const ISN: u32 = 1_000;
const KEYS: Keys = Keys { current: Key([7; 16]), previous: None };
/// The epochs at [`now`].
fn epochs() -> Epochs {
    Epochs::at(now().duration_since(UNIX_EPOCH).unwrap_or_default(), CONNECTION_LIFETIME)
}

const SERVED: Generations = Generations::only(0);
const SYN: u8 = 0x02;
const FIN_ACK: u8 = 0x11;
const PSH_ACK: u8 = 0x18;
/// What Linux offers: MSS 1460, SACK permitted, timestamps, window scale.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
const TXT: u16 = 16;
const ANY: u16 = 255;

/// Something to do again and again.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) work: Box<dyn FnMut()>,
}

/// Every case, ready.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = steps();
    cases.extend(names());
    cases.extend(whole_frames());
    cases
}

fn case(name: &'static str, work: impl FnMut() + 'static) -> Case {
    Case { name, work: Box::new(work) }
}

fn steps() -> Vec<Case> {
    let mut cases = Vec::new();
    for (parse, decide, version) in [("parse/ipv4", "decide/ipv4", 0), ("parse/ipv6", "decide/ipv6", 1)] {
        let (server, client) = hosts(version);
        let content = content(server);
        let syn = Segment { port: 53, seq: ISN, ack: 0, flags: SYN, options: &SYN_OPTIONS, payload: &[] };
        let octets = frame(client, server, syn);
        let layout = steering::steer(&octets[..], &content).expect("served");
        let received = wire::parse(&octets, &layout).expect("a segment");
        cases.push(case(parse, move || {
            let octets = black_box(&octets[..]);
            let layout = steering::steer(octets, &content).expect("served");
            black_box(wire::parse(octets, &layout)).expect("a segment");
        }));
        let ack_policy = AckPolicy::Reliable;
        let config =
            TcpConfig { ack_policy, keys: KEYS, generations: SERVED, segment_size: 1220, fast_open: false };
        cases.push(case(decide, move || {
            black_box(syn_ack(black_box(&config), black_box(&epochs()), black_box(&received.segment)))
                .expect("SYN,ACK");
        }));
    }
    for (name, length) in [("emit/0", 0), ("emit/231", 231), ("emit/1220", 1220)] {
        let (server, client) = hosts(0);
        let octets = frame(client, server, request(&[0; 34]));
        let layout = steering::steer(&octets[..], &content(server)).expect("served");
        let tuple = wire::parse(&octets, &layout).expect("a segment").segment.tuple;
        let reply = Reply::to(&octets, &layout, tuple);
        let outgoing = TxSegment {
            seq: 1,
            ack: 2,
            flags: Flags::ACK,
            window: 4095,
            mss: None,
            timestamps: None,
            fast_open: None,
            offset: 0,
            length,
        };
        let payload = vec![0x5a; length.into()];
        let mut buffer = Box::new([0; CHUNK]);
        cases.push(case(name, move || {
            black_box(reply.emit(black_box(&mut buffer[..]), &outgoing, black_box(&payload)));
        }));
    }
    let http: Arc<dyn Service> = Arc::new(Http::builtin());
    cases.push(answer("answer/http_page", &http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None));
    cases
}

/// What an answer costs by the name asked for: existing, and drawn at random so that none is asked twice.
fn names() -> Vec<Case> {
    let plain: Arc<dyn Service> = Arc::new(fixture("plain.example.zone"));
    let nsec3: Arc<dyn Service> = Arc::new(fixture("nsec3.example.zone"));
    let strict: Arc<dyn Service> = Arc::new(fixture("strict.example.zone"));
    let builtin = builtin();
    let random = Some(RANDOM_LABEL.len());
    let unsigned = |label: &str| query(&format!("{label}plain.example"), 1, false);
    let signed = |label: &str| query(&format!("{label}nsec3.example"), 1, true);
    let strictly = |label: &str| query(&format!("{label}strict.example"), 1, true);
    vec![
        answer("answer/unsigned_known", &plain, unsigned("www."), None),
        answer("answer/unsigned_cookie", &plain, with_cookie(unsigned("www.")), None),
        answer("answer/unsigned_nxdomain", &plain, unsigned("xxxxxxxx."), random),
        answer("answer/nsec_known", &builtin, query("example.com", 1, true), None),
        answer("answer/nsec_nxdomain", &builtin, query("xxxxxxxx.example.com", 1, true), random),
        answer("answer/nsec3_known", &nsec3, signed("www."), None),
        answer("answer/nsec3_nxdomain", &nsec3, signed("xxxxxxxx."), random),
        // RFC 9276: no salt, no iterations. The zone before has a salt and five.
        answer("answer/nsec3_rfc9276_known", &strict, strictly("www."), None),
        answer("answer/nsec3_rfc9276_nxdomain", &strict, strictly("xxxxxxxx."), random),
        answer("answer/dnssec_any", &builtin, query("example.com", ANY, true), None),
    ]
}

/// A query without OPT, with one that holds a client cookie.
fn with_cookie(mut query: Vec<u8>) -> Vec<u8> {
    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08a client";
    query[1] += u8::try_from(OPT.len()).expect("short");
    query[13] = 1;
    query.extend_from_slice(OPT);
    query
}

/// Where a query's first label stands: behind the length, the header and its own length.
const FIRST_LABEL: usize = 2 + 12 + 1;
const RANDOM_LABEL: &str = "xxxxxxxx";

fn answer(
    name: &'static str,
    service: &Arc<dyn Service>,
    mut message: Vec<u8>,
    random: Option<usize>,
) -> Case {
    let service = service.clone();
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    let mut state = 1;
    case(name, move || {
        if let Some(length) = random {
            scramble(&mut message[FIRST_LABEL..][..length], &mut state);
        }
        response.clear();
        service.frame(black_box(&message));
        let context = Context { now: now(), ..Context::default() };
        let _ = service.answer(black_box(&message), &context, &mut response);
        assert!(!black_box(&response).is_empty());
    })
}

/// Writes a label that was not there before (xorshift64).
fn scramble(label: &mut [u8], state: &mut u64) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    for (octet, shift) in label.iter_mut().zip((0..64).step_by(4)) {
        *octet = b'a' + (*state >> shift & 0xf) as u8;
    }
}

fn whole_frames() -> Vec<Case> {
    let dns = query("example.com", 1, false);
    let dnssec = query("example.com", ANY, true);
    let large = query("large.example.com", TXT, false);
    let page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let syn = Segment { port: 53, seq: ISN, ack: 0, flags: SYN, options: &SYN_OPTIONS, payload: &[] };
    let fin = Segment { port: 53, seq: ISN + 51, ack: 99, flags: FIN_ACK, options: &[], payload: &[] };
    let forged = Segment { ack: 77, ..request(&dns) };
    vec![
        whole("frame/syn_ipv4", 0, Outcome::SynAck, syn),
        whole("frame/syn_ipv6", 1, Outcome::SynAck, syn),
        whole("frame/dns_small_ipv4", 0, Outcome::Answered, request(&dns)),
        whole("frame/dns_small_ipv6", 1, Outcome::Answered, request(&dns)),
        whole("frame/dnssec_ipv4", 0, Outcome::Answered, request(&dnssec)),
        whole("frame/dns_5k_ipv4", 0, Outcome::Answered, request(&large)),
        whole("frame/http_page_ipv4", 0, Outcome::Answered, Segment { port: 80, ..request(&page) }),
        whole("frame/fin_ipv4", 0, Outcome::FinAcknowledged, fin),
        whole("frame/fin_ipv6", 1, Outcome::FinAcknowledged, fin),
        whole("frame/forged_ipv4", 0, Outcome::BadCookie, forged),
        heard("frame/dns_small_traced", 0, Outcome::Answered, request(&dns), |taps| {
            let all = TapFilter { client: None, port: None, sample: 1, rate: u32::MAX };
            TapListener::to_frames([taps].into_iter(), all)
        }),
        heard("frame/dns_small_dnstap", 0, Outcome::Answered, request(&dns), |taps| {
            TapListener::to_transactions([taps].into_iter(), Arc::default())
        }),
    ]
}

/// The first segment of a connection, its cookie still to be filled in by [`whole`].
fn request(payload: &[u8]) -> Segment<'_> {
    Segment { port: 53, seq: ISN + 1, ack: 0, flags: PSH_ACK, options: &[], payload }
}

/// So many frames are heard before they are read: who listens is another thread's business, but the ring must not fill.
const UNHEARD: u64 = 1_000;

/// A frame that somebody listens to.
fn heard(
    name: &'static str,
    version: usize,
    outcome: Outcome,
    segment: Segment<'_>,
    listen: impl FnOnce(&TapRegistry) -> TapListener,
) -> Case {
    let taps = TapRegistry::default();
    let mut listener = listen(&taps);
    let mut respond = responding(name, version, outcome, segment, taps.take().unwrap_or_default());
    case(name, move || {
        if black_box(respond()).is_multiple_of(UNHEARD) {
            listener.discard();
        }
    })
}

fn whole(name: &'static str, version: usize, outcome: Outcome, segment: Segment<'_>) -> Case {
    let mut respond = responding(name, version, outcome, segment, Vec::new());
    case(name, move || {
        black_box(respond());
    })
}

/// What answers `segment`, and says how often it has.
fn responding(
    name: &'static str,
    version: usize,
    outcome: Outcome,
    mut segment: Segment<'_>,
    taps: Vec<Tap>,
) -> impl FnMut() -> u64 + use<> {
    let (server, client) = hosts(version);
    let policy = AnswerPolicy {
        rules: AckPolicy::Reliable,
        keys: KEYS,
        segment_size: 1220,
        hints: 64,
        fast_open: false,
        connection_lifetime: CONNECTION_LIFETIME,
    };
    let offer = ServingState::new(content(server), policy);
    let ContentGeneration { generation, content } = &offer.current;
    if outcome == Outcome::Answered {
        let octets = frame(client, server, segment);
        let layout = steering::steer(&octets[..], &**content).expect("served");
        let tuple = wire::parse(&octets, &layout).expect("a segment").segment.tuple;
        let terms = CookieFields { class: MssClass::Standard, generation: *generation };
        segment.ack =
            isn::iss(&KEYS.current, &tuple, ISN, epochs().single_request.current, terms).wrapping_add(1);
    }
    let octets = frame(client, server, segment);
    let mut responder = Responder::of(0, offer.into());
    responder.tap(taps);
    let (mut pool, counters) = (Pool::new(), Counters::default());
    let mut respond = move || {
        let received = pool.receive(black_box(&octets));
        responder.respond(now(), &mut pool, received, octets.len(), &counters);
        counters.get(outcome)
    };
    assert_eq!(respond(), 1, "{name} ends in {outcome:?}");
    respond
}

fn hosts(version: usize) -> (IpAddr, IpAddr) {
    let parse = |text: &str| text.parse().expect("an address");
    [(parse("192.0.2.1"), parse("192.0.2.2")), (parse("2001:db8::1"), parse("2001:db8::2"))][version]
}

fn content(server: IpAddr) -> Content {
    let http: Arc<dyn Service> = Arc::new(Http::builtin());
    Content::new([server.into()], vec![(53, builtin()), (80, http)])
}

/// The built-in zone, compiled once: under callgrind that is most of a run.
fn builtin() -> Arc<dyn Service> {
    static BUILTIN: LazyLock<Arc<Dns>> = LazyLock::new(|| Arc::new(Dns::builtin(DnsOptions::default())));
    BUILTIN.clone()
}

fn fixture(name: &str) -> Dns {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    let cookies = Some(Cookies::new(KEYS.current, now()));
    Dns::load(&[file.into()], &DnsOptions { cookies, ..DnsOptions::default() }).expect("the fixture compiles")
}

/// A time that does not pass: HTTP's Date is formatted all the same.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}
