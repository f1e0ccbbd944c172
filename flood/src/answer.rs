//! Check of an answer: a right one is a message with the question's id, and one of the codes that were expected.

use crate::stats::Failure;

/// Bytes that are looked at: the message's length (RFC 1035 section 4.2.2) and its header (section 4.1.1).
pub const HEAD: usize = 14;

/// Codes (RCODE) that a right answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes(u16);

impl Codes {
    /// These, each below 16.
    #[must_use]
    pub const fn new(codes: &[u8]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < codes.len() {
            set |= 1 << (codes[at] & 0xf);
            at += 1;
        }
        Self(set)
    }

    const fn contain(self, code: u8) -> bool {
        self.0 >> code & 1 == 1
    }
}

mod field {
    use std::ops::Range;
    pub(super) const LENGTH: Range<usize> = 0..2;
    pub(super) const ID: Range<usize> = 2..4;
    pub(super) const FLAGS: Range<usize> = 4..6;
}

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const CODE: u16 = 0x000f;

/// The answer's size in bytes, length prefix included, if its beginning tells.
#[inline]
#[must_use]
pub fn length(beginning: &[u8]) -> Option<u32> {
    let length = beginning.get(field::LENGTH)?;
    Some(2 + u32::from(u16::from_be_bytes([length[0], length[1]])))
}

/// The code of an answer that begins with `head`.
#[inline]
#[must_use]
pub fn code(head: &[u8; HEAD]) -> u8 {
    (short(head, field::FLAGS) & CODE) as u8
}

/// Whether the answer, a whole message that begins with `head`, is a right one to the question with this id.
///
/// # Errors
/// The first thing that is not right.
#[inline]
pub fn judge(head: &[u8; HEAD], id: u16, codes: Codes) -> Result<(), Failure> {
    let flags = short(head, field::FLAGS);
    if short(head, field::LENGTH) < 12 || flags & (RESPONSE | OPCODE | TRUNCATED) != RESPONSE {
        return Err(Failure::Malformed);
    }
    if short(head, field::ID) != id {
        return Err(Failure::WrongId);
    }
    if codes.contain(code(head)) { Ok(()) } else { Err(Failure::WrongCode) }
}

#[inline]
fn short(head: &[u8; HEAD], range: std::ops::Range<usize>) -> u16 {
    u16::from_be_bytes([head[range.start], head[range.start + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::right([0, 12, 1, 2, 0x84, 0], Ok(()))]
    #[case::no_such_name([0, 12, 1, 2, 0x84, 3], Ok(()))]
    #[case::server_failure([0, 12, 1, 2, 0x84, 2], Err(Failure::WrongCode))]
    #[case::another_question([0, 12, 1, 3, 0x84, 0], Err(Failure::WrongId))]
    #[case::a_question([0, 12, 1, 2, 0x04, 0], Err(Failure::Malformed))]
    #[case::truncated([0, 12, 1, 2, 0x86, 0], Err(Failure::Malformed))]
    #[case::another_opcode([0, 12, 1, 2, 0xa4, 0], Err(Failure::Malformed))]
    #[case::no_header([0, 11, 1, 2, 0x84, 0], Err(Failure::Malformed))]
    fn answers(#[case] beginning: [u8; 6], #[case] expected: Result<(), Failure>) {
        let mut head = [0; HEAD];
        head[..6].copy_from_slice(&beginning);
        assert_eq!(judge(&head, 0x0102, Codes::new(&[0, 3])), expected);
    }
}
