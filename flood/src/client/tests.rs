use super::*;
use rstest::rstest;
use stateless_tcp_core::tcp::segment::{Address, FourTuple, Options};

const TERMS: Terms =
    Terms { iss: u32::MAX, asked: 30, id: 0x0102, codes: CODES, mss: 1460, timestamps: true };
/// NOERROR.
const CODES: Codes = Codes::new(&[0]);
const IRS: u32 = u32::MAX - 1;
/// A whole answer: no error, no records.
const ANSWER: [u8; 14] = [0, 12, 1, 2, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// The segment of a server that is `offset` into its stream and has acknowledged so much of the client's.
fn from_server(flags: Flags, offset: u32, acknowledged: u32, payload: &[u8]) -> Segment {
    let address = Address::from_ipv4([192, 0, 2, 1]);
    Segment {
        tuple: FourTuple { server: address, client: address, server_port: 1024, client_port: 53 },
        seq: IRS.wrapping_add(offset),
        ack: TERMS.iss.wrapping_add(acknowledged),
        flags,
        window: 0,
        options: Options {
            timestamps: Some(Timestamps { value: 100 + offset, echo: 1 }),
            ..Options::default()
        },
        length: u16::try_from(payload.len()).unwrap(),
    }
}

fn say(say: Say) -> Heard {
    Heard::then(say)
}

fn end(say: Option<Say>, end: Result<(), Failure>, code: Option<u8>) -> Heard {
    Heard { say, end: Some(end), code }
}

const SYN_ACK: Flags = Flags(0x12);
const FIN_ACK: Flags = Flags(0x11);

/// A client that has asked.
fn asked() -> Client {
    let mut client = Client::begin(7);
    assert_eq!(client.hear(&TERMS, &from_server(SYN_ACK, 0, 1, &[]), &[]), Some(say(Say::Question)));
    client
}

fn hear(client: &mut Client, flags: Flags, offset: u32, payload: &[u8]) -> Option<Heard> {
    client.hear(&TERMS, &from_server(flags, offset, 31, payload), payload)
}

#[test]
fn a_whole_conversation() {
    let mut client = Client::begin(7);
    let syn = client.segment(&TERMS, Say::Syn, 1);
    assert_eq!((syn.seq, syn.ack, syn.flags, syn.mss), (u32::MAX, 0, Flags::SYN, Some(1460)));
    assert_eq!(syn.timestamps, Some(Timestamps { value: 1, echo: 0 }));

    assert_eq!(client.hear(&TERMS, &from_server(SYN_ACK, 0, 1, &[]), &[]), Some(say(Say::Question)));
    let question = client.segment(&TERMS, Say::Question, 2);
    assert_eq!((question.seq, question.ack, question.mss), (0, IRS.wrapping_add(1), None));
    assert_eq!(question.timestamps, Some(Timestamps { value: 2, echo: 100 }));

    assert_eq!(hear(&mut client, Flags::ACK, 1, &ANSWER), Some(end(Some(Say::Fin), Ok(()), Some(0))));
    let fin = client.segment(&TERMS, Say::Fin, 3);
    assert_eq!((fin.seq, fin.ack, fin.flags), (30, IRS.wrapping_add(15), FIN_ACK));
    assert_eq!(fin.timestamps, Some(Timestamps { value: 3, echo: 101 }));
    assert_eq!(client.remind(), Some(Say::Fin));

    assert_eq!(hear(&mut client, FIN_ACK, 15, &[]), Some(say(Say::Ack)));
    let last = client.segment(&TERMS, Say::Ack, 4);
    assert_eq!((last.seq, last.ack, last.flags), (31, IRS.wrapping_add(16), Flags::ACK));
    assert!(!client.is_busy());
    assert_eq!(hear(&mut client, FIN_ACK, 15, &[]), Some(say(Say::Ack)), "its last ACK may have been lost");
}

#[test]
fn a_server_may_close_with_the_answer() {
    let mut client = asked();
    assert_eq!(hear(&mut client, FIN_ACK, 1, &ANSWER), Some(end(Some(Say::Fin), Ok(()), Some(0))));
    assert_eq!(client.segment(&TERMS, Say::Fin, 1).ack, IRS.wrapping_add(16));
    assert!(!client.is_busy());
}

#[test]
fn an_answer_may_come_in_pieces() {
    let mut client = asked();
    assert_eq!(hear(&mut client, Flags::ACK, 1, &ANSWER[..1]), Some(say(Say::Ack)));
    assert_eq!(hear(&mut client, Flags::ACK, 4, &ANSWER[3..5]), Some(say(Say::Ack)), "early");
    assert_eq!(hear(&mut client, Flags::ACK, 11, &ANSWER[10..12]), Some(say(Say::Ack)), "too early");
    assert_eq!(client.segment(&TERMS, Say::Ack, 1).ack, IRS.wrapping_add(2));
    assert_eq!(hear(&mut client, Flags::ACK, 1, &ANSWER[..5]), Some(say(Say::Ack)), "partly old");
    assert_eq!(hear(&mut client, Flags::ACK, 1, &ANSWER[..3]), Some(say(Say::Ack)), "old");
    assert_eq!(client.segment(&TERMS, Say::Ack, 1).ack, IRS.wrapping_add(6));
    assert_eq!(hear(&mut client, Flags::ACK, 6, &ANSWER[5..]), Some(end(Some(Say::Fin), Ok(()), Some(0))));
}

/// This server's last two segments change places where there are timestamps.
#[rstest]
#[case::last_two(&[0..4, 10..14, 4..10])]
#[case::all(&[10..14, 4..10, 0..4])]
#[case::overlapping(&[8..14, 2..9, 0..3])]
#[case::around(&[4..8, 2..14, 0..2])]
fn an_answer_may_come_in_another_order(#[case] pieces: &[std::ops::Range<usize>]) {
    for fin in [Flags::ACK, FIN_ACK] {
        let mut client = asked();
        let (last, before) = pieces.split_last().unwrap();
        let piece = |client: &mut Client, range: &std::ops::Range<usize>| {
            let flags = if range.end == ANSWER.len() { fin } else { Flags::ACK };
            hear(client, flags, 1 + u32::try_from(range.start).unwrap(), &ANSWER[range.clone()])
        };
        for range in before {
            assert_eq!(piece(&mut client, range), Some(say(Say::Ack)), "{range:?}");
        }
        assert_eq!(piece(&mut client, last), Some(end(Some(Say::Fin), Ok(()), Some(0))));
        assert_eq!(client.is_busy(), fin == Flags::ACK);
    }
}

#[rstest]
#[case::reset(Flags::RST, 1, &[], None, Failure::Reset, None)]
#[case::closed(FIN_ACK, 1, &[], Some(Say::Fin), Failure::Closed, None)]
#[case::closed_within(FIN_ACK, 1, &ANSWER[..13], Some(Say::Fin), Failure::Closed, None)]
#[case::too_much(Flags::ACK, 1, &[0, 12, 1, 2, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], Some(Say::Fin), Failure::Malformed, None)]
#[case::too_little(Flags::ACK, 1, &[0, 1, 1], Some(Say::Fin), Failure::Malformed, Some(0))]
#[case::another_id(Flags::ACK, 1, &[0, 12, 9, 9, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0], Some(Say::Fin), Failure::WrongId, Some(0))]
#[case::server_failure(Flags::ACK, 1, &[0, 12, 1, 2, 0x84, 2, 0, 1, 0, 0, 0, 0, 0, 0], Some(Say::Fin), Failure::WrongCode, Some(2))]
fn failures(
    #[case] flags: Flags,
    #[case] offset: u32,
    #[case] payload: &[u8],
    #[case] expected: Option<Say>,
    #[case] failure: Failure,
    #[case] code: Option<u8>,
) {
    let mut client = asked();
    assert_eq!(hear(&mut client, flags, offset, payload), Some(end(expected, Err(failure), code)));
    assert_eq!(client.expire(), None, "it failed once");
}

#[rstest]
#[case::reset_out_of_place(Flags::RST, 2, 31)]
#[case::acknowledges_too_much(Flags::ACK, 1, 32)]
#[case::acknowledges_nothing(Flags::PSH, 1, 31)]
fn what_does_not_belong_is_stray(#[case] flags: Flags, #[case] offset: u32, #[case] acknowledged: u32) {
    let mut client = asked();
    assert_eq!(client.hear(&TERMS, &from_server(flags, offset, acknowledged, &ANSWER), &ANSWER), None);
    assert_eq!(hear(&mut client, Flags::ACK, 1, &ANSWER), Some(end(Some(Say::Fin), Ok(()), Some(0))));
}

#[rstest]
#[case::another_number(SYN_ACK, 2)]
#[case::no_syn(Flags::ACK, 1)]
#[case::reset_of_another(Flags(0x14), 2)]
fn what_does_not_open_is_stray(#[case] flags: Flags, #[case] acknowledged: u32) {
    let mut client = Client::begin(7);
    assert_eq!(client.hear(&TERMS, &from_server(flags, 0, acknowledged, &[]), &[]), None);
    assert_eq!((client.remind(), client.expire()), (Some(Say::Syn), Some(Failure::NoSynAck)));
}

#[test]
fn a_refusal_ends_it() {
    let mut client = Client::begin(7);
    let refusal = from_server(Flags::RST | Flags::ACK, 0, 1, &[]);
    assert_eq!(client.hear(&TERMS, &refusal, &[]), Some(end(None, Err(Failure::Refused), None)));
    assert_eq!(client.hear(&TERMS, &refusal, &[]), None);
}

#[test]
fn a_second_syn_ack_is_acknowledged() {
    let mut client = asked();
    assert_eq!(client.hear(&TERMS, &from_server(SYN_ACK, 0, 1, &[]), &[]), Some(say(Say::Ack)));
    let ack = client.segment(&TERMS, Say::Ack, 1);
    assert_eq!((ack.seq, ack.ack), (30, IRS.wrapping_add(1)));
    assert_eq!((client.remind(), client.expire()), (Some(Say::Question), Some(Failure::NoAnswer)));
}
