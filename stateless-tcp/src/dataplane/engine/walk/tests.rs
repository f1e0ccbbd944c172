//! What is answered together, and what waits.

use super::*;
use crate::services::Answered;
use rstest::rstest;

/// Messages of one octet; answers of a thousand, the first `volatile` of which may change.
struct Thousand {
    volatile: usize,
}

impl Service for Thousand {
    fn frame(&self, _: &[u8]) -> Framing {
        Framing::Message(1)
    }

    fn starts_message(&self, _: &[u8]) -> bool {
        true
    }

    fn answer(&self, _: &[u8], _: &Context, response: &mut Vec<u8>) -> Result<Answered, Unavailable> {
        response.extend_from_slice(&[0; 1_000]);
        Ok(Answered { volatile: self.volatile, last: false })
    }
}

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
    let bounds = ParseLimits {
        lead: 0,
        position: 1,
        closing: false,
        missing,
        ahead: 0,
        drift: 0,
        size: 1_220,
        window,
    };
    let walk = Answers::new().walk(&Thousand { volatile }, &Context::default(), b"???", &bounds).unwrap();
    assert_eq!((walk.old, walk.new), (if missing > 0 { 1_000 } else { 0 }, 1_000 * answered));
    assert_eq!(usize::from(walk.end) + walk.rest, 3);
    assert_eq!(u32::from(walk.end), 1 + answered);
}
