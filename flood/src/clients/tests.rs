use super::*;
use crate::answer::HEAD;
use crate::stats::Failure;
use rstest::rstest;
use stateless_tcp_core::steering::{Protocol, Version};
use stateless_tcp_core::tcp::segment::{Flags, Options};
use stateless_tcp_core::wire::Received;

const SECOND: u64 = 1_000_000_000;
const SERVER: Address = Address::from_ipv4([192, 0, 2, 1]);
const LINK: [u8; 14] = [2; 14];
const LAYOUT: Layout = Layout { network: 14, transport: 34, version: Version::V4, protocol: Protocol::Tcp };

fn options() -> ClientOptions {
    ClientOptions {
        server: (SERVER, 53),
        rate: 10,
        timeout: Duration::from_secs(5),
        retries: 2,
        timestamps: false,
        bare_ack: false,
        mss: 1460,
        codes: Codes::new(&[0]),
    }
}

fn clients(options: ClientOptions) -> Clients {
    let population = Population::new(&"198.51.100.7".parse().unwrap(), 1);
    Clients::new(options, population, Questions::one("example.com", "A", false).unwrap()).unwrap()
}

/// The server's answer to what was said, as a segment.
fn reply(clients: &mut Clients, said: Said, flags: Flags, seq: u32, payload: &[u8]) -> Option<Said> {
    let terms = clients.terms(said.number);
    let sent = clients.at(said.number).segment(&terms, said.say, 0);
    let length = if said.say == Say::Question { terms.asked } else { 1 };
    let (address, port) = clients.population.endpoint(said.number);
    let tuple = FourTuple { server: address, client: SERVER, server_port: port, client_port: 53 };
    let segment = Segment {
        tuple,
        seq,
        ack: sent.seq.wrapping_add(length),
        flags,
        window: 0,
        options: Options::default(),
        length: u16::try_from(payload.len()).unwrap(),
    };
    clients.hear(3_000, &segment, payload)
}

fn answer(clients: &Clients, number: u64) -> [u8; HEAD] {
    let [high, low] = clients.population.id(number).to_be_bytes();
    [0, 12, high, low, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[test]
fn an_answer_is_counted_with_its_latency() {
    let mut clients = clients(options());
    let syn = clients.begin(1_000).unwrap();
    let question = reply(&mut clients, syn, Flags::SYN | Flags::ACK, 9, &[]).unwrap();
    assert_eq!(question, Said { number: 0, say: Say::Question });
    let answer = answer(&clients, 0);
    let fin = reply(&mut clients, question, Flags::ACK, 10, &answer).unwrap();
    assert_eq!(fin.say, Say::Fin);
    assert_eq!(clients.waiting(), 0);
    assert_eq!(clients.remind(SECOND + 1_000), Some(fin), "no FIN has come");
    let stats = clients.finish();
    assert_eq!((stats.offered, stats.answered, stats.codes[0], stats.unclosed), (1, 1, 1, 1));
    assert_eq!(stats.latency.max(), 2_000);
}

#[test]
fn what_is_said_is_a_frame_for_the_server() {
    let mut clients = clients(options());
    let said = clients.begin(0).unwrap();
    let mut frame = [0xa5; 200];
    let length = clients.write(0, said, &LINK, &LAYOUT, &mut frame);
    assert_eq!(length, 14 + 20 + 24);
    assert_eq!(frame[26..34], [198, 51, 100, 7, 192, 0, 2, 1]);
    assert_eq!(frame[34..38], [4, 0, 0, 53]);
    let Received { segment, .. } = stateless_tcp_core::wire::parse(&frame[..length], &LAYOUT).unwrap();
    assert_eq!((segment.flags, segment.options.mss), (Flags::SYN, Some(1460)));
    let question = Said { say: Say::Question, ..said };
    assert_eq!(clients.write(0, question, &LINK, &LAYOUT, &mut frame), 14 + 20 + 20 + 31);
    assert_eq!(frame[54..56], [0, 29]);
    assert_eq!(frame[56..58], clients.population.id(0).to_be_bytes());
}

#[test]
fn silence_is_met_with_retransmissions_and_given_up() {
    let mut clients = clients(options());
    let syn = clients.begin(0).unwrap();
    assert_eq!((clients.next_reminder(), clients.remind(SECOND - 1)), (SECOND, None));
    assert_eq!((clients.remind(SECOND), clients.remind(SECOND)), (Some(syn), None));
    assert_eq!(clients.next_reminder(), 3 * SECOND);
    let question = reply(&mut clients, syn, Flags::SYN | Flags::ACK, 9, &[]).unwrap();
    assert_eq!(clients.remind(3 * SECOND), Some(question));
    assert_eq!(clients.next_reminder(), 5 * SECOND);
    assert_eq!(clients.remind(5 * SECOND), Some(Said { number: 0, say: Say::Reset }));
    assert_eq!((clients.next_reminder(), clients.waiting()), (u64::MAX, 0));
    let late = answer(&clients, 0);
    assert_eq!(reply(&mut clients, question, Flags::ACK, 10, &late), None);
    assert_eq!((clients.stats.resent, clients.stats.stray), (2, 1));
    assert_eq!(clients.stats.failed[Failure::NoAnswer as usize], 1);
}

#[test]
fn no_more_begin_than_there_is_room_for() {
    let mut clients = clients(ClientOptions { retries: 0, ..options() });
    let places = clients.places.len();
    for number in 0..places as u64 {
        assert_eq!(clients.begin(0).map(|said| said.number), Some(number));
    }
    assert_eq!(clients.begin(SECOND), None);
    while clients.remind(5 * SECOND).is_some() {}
    assert_eq!(clients.begin(5 * SECOND).map(|said| said.number), Some(places as u64));
    assert_eq!(clients.stats.failed[Failure::NoSynAck as usize], places as u64);
}

#[rstest]
#[case::too_many(ClientOptions { rate: 20_000, ..options() }, "111024 addresses and ports are needed, but there are 64512")]
#[case::too_late(ClientOptions { retries: 3, ..options() }, "the last retransmission is due after 7 s")]
fn what_cannot_be_is_refused(#[case] options: ClientOptions, #[case] said: &str) {
    let population = Population::new(&"198.51.100.7".parse().unwrap(), 1);
    let questions = Questions::one("example.com", "A", false).unwrap();
    let error = Clients::new(options, population, questions).unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
}

#[test]
fn the_kernels_clients_acknowledge_before_they_ask() {
    for bare_ack in [false, true] {
        let mut clients = clients(ClientOptions { bare_ack, ..options() });
        let syn = clients.begin(1_000).unwrap();
        assert_eq!(clients.before(syn), None);
        let question = reply(&mut clients, syn, Flags::SYN | Flags::ACK, 9, &[]).unwrap();
        assert_eq!(clients.before(question), bare_ack.then_some(Said { say: Say::Opened, ..question }));
        let (terms, client) = (clients.terms(0), *clients.at(0));
        let [opened, asked] = [Say::Opened, Say::Question].map(|say| client.segment(&terms, say, 1));
        assert_eq!((opened.seq, opened.ack, opened.flags), (asked.seq, asked.ack, Flags::ACK));
    }
}
