//! What was answered with the last segment, for whoever listens: questions that are answered anew, and their answers.

use crate::observe::transaction::Role;
use crate::services::Service;
use std::ops::Range;

/// Questions, where somebody listens; else none.
#[derive(Default)]
pub(super) struct Overheard {
    listening: bool,
    questions: Vec<u8>,
    messages: Vec<Message>,
}

/// A question, and where its answer stands among the answers.
struct Message {
    role: Role,
    /// Its place in [`Overheard::questions`].
    question: Range<usize>,
    answer: Range<usize>,
}

impl Overheard {
    pub(super) fn listen(&mut self, listening: bool) {
        self.listening = listening;
        self.clear();
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.questions.clear();
        self.messages.clear();
    }

    /// Takes in that `service` answered `question`, of whose answer the client has nothing yet.
    #[inline]
    pub(super) fn take(&mut self, service: &dyn Service, question: &[u8], answer: Range<usize>) {
        if self.listening {
            self.copy(service, question, answer);
        }
    }

    #[cold]
    fn copy(&mut self, service: &dyn Service, question: &[u8], answer: Range<usize>) {
        let Some(role) = service.role() else { return };
        let start = self.questions.len();
        self.questions.extend_from_slice(question);
        self.messages.push(Message { role, question: start..self.questions.len(), answer });
    }

    /// Questions and the answers to them that begin within the first `reached` of `octets`.
    pub(super) fn up_to<'a>(
        &'a self,
        octets: &'a [u8],
        reached: usize,
    ) -> impl Iterator<Item = (Role, &'a [u8], &'a [u8])> {
        let begun = self.messages.iter().filter(move |message| message.answer.start < reached);
        begun.map(|Message { role, question, answer }| {
            (*role, &self.questions[question.clone()], &octets[answer.clone()])
        })
    }
}
