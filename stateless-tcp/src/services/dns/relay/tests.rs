use super::*;
use crate::services::Origin;
use proptest::prelude::*;
use rstest::rstest;
use stateless_tcp_core::tcp::segment::{Address, FourTuple};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use tokio::runtime::Runtime;

mod errors;
mod messages;
mod subnet;

const A: u16 = 1;
const SOA: u16 = 6;
/// Class, size, extended code, version, flags, length of an OPT record.
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const BEGIN: u64 = 1_700_000_000;

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> =
        labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}

/// A query with its length: RD set, and these flags besides.
fn query(id: u16, flags: u16, name: &str, opt: Option<&[u8]>) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend((flags | 0x0100).to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())]);
    message.extend(wire(name));
    message.extend([0, 1, 0, 1]);
    message.extend(opt.unwrap_or_default());
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
}

/// A record whose owner is the question's name.
fn record(rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&[0xc0, 12][..], &rtype.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// A SOA record's data, with this minimum.
fn soa(minimum: u32) -> Vec<u8> {
    [&[0, 0][..], &[0; 16], &minimum.to_be_bytes()].concat()
}

/// The answer to `query`, which has an OPT record at its end: records of each section, and an OPT record.
fn reply(query: &[u8], flags: u16, sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let mut message = query[..query.len() - OPT.len()].to_vec();
    message[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
    for (index, section) in sections.into_iter().enumerate() {
        message[7 + 2 * index] = u8::try_from(section.len()).unwrap();
        message.extend(section.concat());
    }
    message[11] += 1;
    message.extend(OPT);
    message
}

/// A relay with one worker, and its upstream.
struct DnsBench {
    relay: DnsRelay,
    upstream: UdpSocket,
    over_tcp: TcpListener,
    runtime: Runtime,
    now: SystemTime,
    port: u16,
}

impl DnsBench {
    fn new(change: impl FnOnce(&mut DnsRelayOptions)) -> Self {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        upstream.set_nonblocking(true).unwrap();
        let over_tcp = TcpListener::bind(upstream.local_addr().unwrap()).unwrap();
        let mut options = DnsRelayOptions {
            upstreams: vec![DnsUpstream {
                address: upstream.local_addr().unwrap(),
                weight: 1,
                payload: 1_232,
            }],
            timeout: Duration::from_secs(1),
            total_timeout: Duration::from_secs(4),
            in_flight: 16,
            cache: 1 << 20,
            retransmit_store: 1 << 20,
            client_subnet: ClientSubnet::PassThrough,
            proxy_protocol: false,
        };
        change(&mut options);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let forwarders = DnsForwarders::open(&options, 1, runtime.handle()).unwrap();
        let relay = DnsRelay::new(DnsOptions::default(), Arc::new(forwarders));
        Self { relay, upstream, over_tcp, runtime, now: UNIX_EPOCH + Duration::from_secs(BEGIN), port: 1_024 }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn context(&self, policy: FetchPolicy) -> Context {
        let [client, server] = [7, 1].map(|last| Address::from_ipv4([192, 0, 2, last]));
        let tuple = FourTuple { client, server, client_port: self.port, server_port: 53 };
        let origin = Origin { tuple, seq: 1 };
        Context { origin, policy, now: self.now, persistent: true, whole: 1_220, ..Context::default() }
    }

    /// The relay's immediate answer, on a new connection.
    fn put(&mut self, query: &[u8], policy: FetchPolicy) -> Result<Vec<u8>, Unavailable> {
        self.port += 1;
        self.again(query, policy)
    }

    /// The relay's immediate answer, on the previous connection.
    fn again(&mut self, query: &[u8], policy: FetchPolicy) -> Result<Vec<u8>, Unavailable> {
        let mut response = Vec::with_capacity(crate::services::MAX_RESPONSE);
        let answered = self.relay.answer(query, &self.context(policy), &mut response)?;
        assert!(answered.volatile == 0 || answered.volatile == response.len());
        Ok(response)
    }

    fn turn(&self) -> Vec<FetchId> {
        let mut ready = Vec::new();
        self.relay.upstream().unwrap().poll(0, self.now, &mut ready);
        ready
    }

    /// The query that the upstream received, if any, and its sender.
    fn heard(&self) -> Option<(Vec<u8>, SocketAddr)> {
        self.turn();
        let mut buffer = [0; 2_000];
        let (length, from) = self.upstream.recv_from(&mut buffer).ok()?;
        Some((buffer[..length].to_vec(), from))
    }

    /// Asks the relay; the upstream answers with `answer` if it gets a query.
    fn ask(&mut self, query: &[u8], answer: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
        self.turn();
        match self.put(query, FetchPolicy::MayFetch) {
            Ok(response) => response,
            Err(Unavailable::NotCached) => panic!("an answer is never gone"),
            Err(Unavailable::Pending(fetch_id)) => {
                let (asked, from) = self.heard().expect("a query");
                self.upstream.send_to(&answer(&asked), from).unwrap();
                self.wait_for(fetch_id);
                self.again(query, FetchPolicy::MayFetch).expect("called, the answer is there")
            }
        }
    }

    fn wait_for(&self, fetch_id: FetchId) {
        for _ in 0..2_000 {
            if self.turn().contains(&fetch_id) {
                return;
            }
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        panic!("nobody was called");
    }

    fn count(&self, name: &str) -> u64 {
        self.relay.forwarders.counts().into_iter().find(|(counted, _)| *counted == name).expect("a counter").1
    }
}

fn never(_: &[u8]) -> Vec<u8> {
    panic!("it is in the cache")
}

fn a_record(query: &[u8]) -> Vec<u8> {
    reply(query, 0, [&[record(A, 60, &[192, 0, 2, 7])], &[], &[]])
}

/// The TTL of the record that ends a response.
fn ttl(response: &[u8], data: usize) -> u32 {
    let at = response.len() - data - 6;
    u32::from_be_bytes(response[at..at + 4].try_into().unwrap())
}

#[test]
fn an_answer_is_kept_for_its_time_and_its_ttl_counts_down() {
    let mut bench = DnsBench::new(|_| {});
    let first = bench.ask(&query(1, 0, "example.com", None), a_record);
    assert_eq!((first[2..6].to_vec(), ttl(&first, 4)), (vec![0, 1, 0x81, 0x80], 60));
    for (passed, left) in [(0, 60), (1, 59), (40, 19), (18, 1)] {
        bench.pass(passed);
        let kept = bench.ask(&query(9, 0, "ExAmPlE.com", None), never);
        assert_eq!((kept[2..4].to_vec(), ttl(&kept, 4)), (vec![0, 9], left));
        assert_eq!(kept[14..27], wire("ExAmPlE.com"), "the client's own case");
    }
    bench.pass(1);
    let mut asked = false;
    bench.ask(&query(1, 0, "example.com", None), |query| {
        asked = true;
        a_record(query)
    });
    assert!(asked, "its time is over");
    assert_eq!((bench.count("dns_cache_hits"), bench.count("dns_cache_misses")), (4, 2));
}

/// Answer and authority sections, response code, and the seconds for which the answer is kept.
#[rstest]
#[case::data(&[record(A, 60, &[1; 4]), record(A, 30, &[2; 4])], &[], 0, 30)]
#[case::nodata(&[], &[record(SOA, 50, &soa(20))], 0, 20)]
#[case::nxdomain_by_the_soa_s_own_ttl(&[], &[record(SOA, 10, &soa(20))], 3, 10)]
#[case::negative_for_three_hours_at_most(&[], &[record(SOA, 90_000, &soa(90_000))], 3, 10_800)]
#[case::cname_to_nothing(&[record(5, 5, &[0])], &[record(SOA, 50, &soa(20))], 3, 5)]
#[case::referral(&[], &[record(2, 70, &[0])], 0, 70)]
#[case::a_day_at_most(&[record(A, 100_000, &[1; 4])], &[], 0, 86_400)]
#[case::ttl_0(&[record(A, 0, &[1; 4])], &[], 0, 0)]
#[case::ttl_beyond_all_bounds(&[record(A, 1 << 31, &[1; 4])], &[], 0, 0)]
#[case::nodata_without_soa(&[], &[], 0, 0)]
#[case::nxdomain_without_soa(&[], &[], 3, 0)]
#[case::servfail(&[], &[], 2, 2)]
#[case::refused(&[], &[], 5, 0)]
fn each_answer_has_its_time(
    #[case] answer: &[Vec<u8>],
    #[case] authority: &[Vec<u8>],
    #[case] rcode: u16,
    #[case] lifetime: u64,
) {
    let query = [&query(1, 0, "example.com", None)[2..], &OPT].concat();
    let message = reply(&query, rcode, [answer, authority, &[]]);
    let question = &query[12..query.len() - OPT.len()];
    let cached = CachedAnswer::parse(&message, question, BEGIN).unwrap();
    assert_eq!(cached.may_be_kept(), lifetime > 0);
    let ends = [lifetime.saturating_sub(1), lifetime].map(|age| cached.fresh(BEGIN + age).is_some());
    assert_eq!(ends, [lifetime > 0, false]);
}

#[test]
fn what_is_asked_otherwise_is_kept_apart() {
    let mut bench = DnsBench::new(|_| {});
    let dnssec = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];
    let unknown = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 5, 0xff, 0, 0, 1, 7];
    let ways: [(u16, Option<&[u8]>); 5] =
        [(0, None), (0x10, None), (0x20, None), (0, Some(&dnssec)), (0, Some(&unknown))];
    for (number, (flags, opt)) in (0..).zip(ways) {
        let answer = |query: &[u8]| reply(query, 0, [&[record(A, 60, &[192, 0, 2, number])], &[], &[]]);
        // The answer is made for a query that ends with an empty OPT record.
        let plain = |query: &[u8]| {
            let end = query[12..].iter().position(|&byte| byte == 0).unwrap() + 17;
            answer(&[&query[..end], &OPT].concat())
        };
        bench.ask(&query(1, flags, "example.com", opt), |query| {
            let mut message = plain(query);
            message[..2].copy_from_slice(&query[..2]);
            message[11] = 1;
            message
        });
    }
    assert_eq!(bench.count("dns_cache_misses"), ways.len() as u64);
    for (number, (flags, opt)) in (0_u8..).zip(ways) {
        let kept = bench.ask(&query(1, flags, "example.com", opt), never);
        assert!(kept.windows(6).any(|six| six == [0, 4, 192, 0, 2, number]), "{number}: {kept:x?}");
    }
    // EDNS and what neighbours say to each other make no difference to the upstream.
    let neighbours = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 4, 0, 11, 0, 0];
    for opt in [&OPT[..], &neighbours] {
        let kept = bench.ask(&query(1, 0, "example.com", Some(opt)), never);
        assert_eq!(kept[13], 1, "an OPT for who sent one");
    }
}

#[test]
fn a_question_in_flight_is_not_asked_again() {
    let mut bench = DnsBench::new(|options| options.cache = 0);
    let ask = query(1, 0, "example.com", None);
    let Err(Unavailable::Pending(fetch_id)) = bench.put(&ask, FetchPolicy::MayFetch) else {
        panic!("it must be asked")
    };
    assert_eq!(bench.again(&ask, FetchPolicy::MayFetch), Err(Unavailable::Pending(fetch_id)), "resent");
    let other = query(2, 0, "eXample.com", None);
    assert_eq!(bench.put(&other, FetchPolicy::MayFetch), Err(Unavailable::Pending(fetch_id)), "shared");
    assert_eq!(bench.put(&other, FetchPolicy::CachedOnly), Err(Unavailable::NotCached));
    assert_eq!(bench.put(&other, FetchPolicy::Repeat), Err(Unavailable::NotCached));
    let refused = bench.put(&other, FetchPolicy::AnswerNow).unwrap();
    assert_eq!(refused[5] & 0xf, 2, "no room to wait: SERVFAIL");
    let (asked, from) = bench.heard().expect("a query");
    assert_eq!(bench.heard(), None);
    bench.upstream.send_to(&a_record(&asked), from).unwrap();
    bench.wait_for(fetch_id);
    for (asked, id) in [(&ask, 1), (&other, 2)] {
        let response = bench.put(asked, FetchPolicy::MayFetch).unwrap();
        assert_eq!((response[3], response[5] & 0xf, ttl(&response, 4)), (id, 0, 60));
    }
    bench.turn();
    assert!(bench.put(&ask, FetchPolicy::MayFetch).is_err(), "there is no cache: it is asked again");
}

#[test]
fn a_copy_of_a_request_gets_the_same_octets() {
    let mut bench = DnsBench::new(|options| options.cache = 0);
    let ask = query(1, 0, "example.com", None);
    let first = bench.ask(&ask, a_record);
    bench.turn();
    assert_eq!(bench.again(&ask, FetchPolicy::MayFetch), Ok(first.clone()));
    assert_eq!(bench.again(&ask, FetchPolicy::Repeat), Ok(first));
}

#[test]
fn the_table_has_its_size() {
    let mut bench = DnsBench::new(|options| options.in_flight = 3);
    let ask = |number: u16| query(number, 0, &format!("n{number}.example"), None);
    let pending = |outcome: Result<Vec<u8>, Unavailable>| match outcome {
        Err(Unavailable::Pending(fetch_id)) => Some(fetch_id),
        Ok(response) => {
            assert_eq!(response[5] & 0xf, 2, "SERVFAIL");
            None
        }
        Err(Unavailable::NotCached) => panic!("an answer is never gone"),
    };
    let fetch_ids: Vec<_> =
        (0..10).map(|number| pending(bench.put(&ask(number), FetchPolicy::MayFetch))).collect();
    assert_eq!(fetch_ids.iter().flatten().count(), 3);
    assert_eq!(bench.count("dns_relay_table_full"), 7);
    // Nobody answers: tries follow each other until the time is over, and all that wait are called.
    let mut called = Vec::new();
    while called.is_empty() {
        bench.pass(1);
        called.extend(bench.turn());
    }
    called.sort_by_key(|fetch_id| format!("{fetch_id:?}"));
    assert_eq!(called.into_iter().map(Some).collect::<Vec<_>>(), fetch_ids[..3]);
    assert_eq!(bench.count("dns_relay_queries"), 3 * 4);
    assert_eq!(pending(bench.put(&ask(0), FetchPolicy::MayFetch)), None, "what was called for is there");
    bench.turn();
    assert!(pending(bench.put(&ask(0), FetchPolicy::MayFetch)).is_some(), "there is room again");
}

#[test]
fn while_nobody_answers_the_old_answer_is_given() {
    let mut bench = DnsBench::new(|_| {});
    let ask = query(1, 0, "example.com", None);
    bench.ask(&ask, a_record);
    bench.pass(61);
    bench.turn();
    // Each time it is tried to refresh it first: the upstream may have lost a packet.
    for _ in 0..2 {
        let Err(Unavailable::Pending(fetch_id)) = bench.put(&ask, FetchPolicy::MayFetch) else {
            panic!("its time is over")
        };
        let mut called = Vec::new();
        while called.is_empty() {
            bench.pass(1);
            called = bench.turn();
        }
        assert_eq!(called, [fetch_id]);
        let stale = bench.put(&ask, FetchPolicy::MayFetch).unwrap();
        assert_eq!((stale[5] & 0xf, ttl(&stale, 4)), (0, 30));
        bench.turn();
    }
    // Probes find out that nobody is there. From then on nobody waits.
    for _ in 0..4 {
        bench.pass(1);
        bench.turn();
    }
    let stale = bench.ask(&ask, never);
    assert_eq!(ttl(&stale, 4), 30);
    assert!(bench.count("dns_cache_stale") > 0);
    // The upstream hears the probes, and is heard of.
    bench.pass(1);
    bench.turn();
    while let Some((asked, from)) = bench.heard() {
        bench.upstream.send_to(&a_record(&asked), from).unwrap();
    }
    bench.turn();
    bench.turn();
    assert_eq!(ttl(&bench.ask(&ask, a_record), 4), 60);
}

#[test]
fn what_does_not_fit_a_datagram_comes_whole() {
    let mut bench = DnsBench::new(|_| {});
    let ask = query(1, 0, "example.com", None);
    let Err(Unavailable::Pending(fetch_id)) = bench.put(&ask, FetchPolicy::MayFetch) else {
        panic!("it must be asked")
    };
    let (asked, from) = bench.heard().expect("a query");
    bench.upstream.send_to(&reply(&asked, 0x0200, [&[], &[], &[]]), from).unwrap();
    let listener = bench.over_tcp.try_clone().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).unwrap();
        let records: Vec<_> = (0..200).map(|number| record(A, 60, &[10, 0, 0, number])).collect();
        let message = reply(&query, 0, [&records, &[], &[]]);
        stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&message).unwrap();
    });
    bench.wait_for(fetch_id);
    server.join().unwrap();
    let response = bench.put(&ask, FetchPolicy::MayFetch).unwrap();
    assert_eq!(response[8..10], 200_u16.to_be_bytes());
    // Of several segments: the same to the byte as long as the client may ask for the rest, whatever its TTL.
    bench.pass(59);
    bench.turn();
    assert!(bench.again(&ask, FetchPolicy::Repeat) == Ok(response.clone()));
    assert!(
        bench.put(&ask, FetchPolicy::MayFetch).is_ok_and(|other| other != response),
        "TTLs have counted down"
    );
    assert_eq!(bench.put(&ask, FetchPolicy::Repeat), Err(Unavailable::NotCached), "another connection");
}
