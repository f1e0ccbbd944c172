//! Answers that are no other server's, on purpose.

use crate::compare::Reply;
use crate::questions::Question;

/// The RFC's section that an answer follows where no other server does, if it is one of those.
#[must_use]
pub fn reason(_question: &Question, _answer: &Reply) -> Option<&'static str> {
    None
}
