//! Answers that go together, and answers that wait.

use super::*;
use crate::tcp::application::Origin;
use crate::tcp::segment::{Address, FourTuple};
use crate::tcp::testing::FixedLength;
use rstest::rstest;

/// Three messages, the first of which is answered, and what of that answer is missing.
#[rstest]
#[case::goes_with_what_is_missing(0, 500, 65_535, 2)]
#[case::nothing_is_missing(10, 0, 65_535, 1)]
#[case::fits_one_segment(10, 200, 65_535, 1)]
#[case::would_begin_another_segment(10, 500, 65_535, 0)]
#[case::fits_the_window_in_part(0, 500, 1_000, 1)]
#[case::does_not_fit_the_window(0, 500, 500, 0)]
fn what_this_reply_carries_nothing_of_is_not_promised(
    #[case] volatile: usize,
    #[case] missing: usize,
    #[case] window: usize,
    #[case] answered: u32,
) {
    let limits = ParseLimits {
        lead: 0,
        rcv_nxt: 1,
        closing: false,
        unacked: missing,
        beyond: 0,
        stream_delta: 0,
        segment_size: 1_220,
        window,
    };
    let address = Address([0; 16]);
    let tuple = FourTuple { server: address, client: address, server_port: 0, client_port: 0 };
    let context = RequestContext {
        origin: Origin { tuple, seq: 0 },
        policy: FetchPolicy::MayFetch,
        persistent: true,
        whole: 0,
        room: LONGEST,
    };
    let mut application = FixedLength { volatile, bytewise: true, ..FixedLength::new(1_000) };
    let messages = Parsed::new().parse(&mut application, &context, b"???", &limits).unwrap();
    assert_eq!((messages.old, messages.new), (if missing > 0 { 1_000 } else { 0 }, 1_000 * answered));
    assert_eq!(usize::from(messages.end) + messages.rest, 3);
    assert_eq!(u32::from(messages.end), 1 + answered);
}
