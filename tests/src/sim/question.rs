//! The questions and answers: two toy protocols whose answers are a pure function of (message, generation) and differ at
//! every place, so that a wrong, missing or repeated byte shows.

use std::{sync::LazyLock, time::UNIX_EPOCH};

use stateless_tcp::fingerprint::Fingerprint;
use stateless_tcp::services::{Answered, Context, Framing, Service, Unavailable};

use crate::seed::Random;

/// The answer to a question whose true answer finds no room. No true answer has this byte.
pub const REFUSED: u8 = 0xee;
/// Most bytes of an answer that a question tells as they are.
pub const MAX_ANSWER: usize = 61_000;
/// Most bytes of any answer: the longest DNS message, behind its length.
pub const LONGEST: usize = 65_537;
/// By so much less longer ones are told, which are longer than 16 bits can tell, and than what may stand in a message.
const TOLD_LESS: usize = 258;
/// Identifications.
pub const MOST_IDS: u16 = 0xff00;
/// Places where answers begin in the table.
const PLACES: usize = 1 << 16;
/// Bytes before the padding of a DNS-like message, its length prefix among them.
const HEAD: usize = 11;
/// Where a DNS-like message repeats its length, and says that it does: by what stands nowhere else in one, as [`SimQuestion::id`]
/// and [`MAX_ANSWER`] are less.
const LENGTH: usize = 2;
const MAGIC: [u8; 2] = [0xff; 2];
/// Bytes at the front of an HTTP-like answer that are another each time, but all the same.
pub const VOLATILE: usize = 8;
const LAST: u8 = 1;
/// Marks a DNS-like message that does not stand inside another.
const OUTERMOST: u8 = 2;
/// The high half of an HTTP-like message's first byte, and of no other.
const BEGIN: u8 = 0xc;
/// Ends an HTTP-like message; no other byte of it is below 128.
const END: u8 = b'\n';

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct SimQuestion {
    /// Tells it from the others; less than [`MOST_IDS`].
    pub id: u16,
    /// Bytes of the answer, as the message tells them; [`SimQuestion::length`] is how many that are.
    pub answer: u16,
    /// The server closes the connection behind the answer.
    pub last: bool,
    /// Bytes that mean nothing.
    pub padding: usize,
}

/// The delimiters of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// By a length of two bytes before them.
    Dns,
    /// By a byte behind them.
    Http,
}

/// Bytes without pattern. Every answer is a part of them.
static OCTETS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::from_seed(7);
    let mut bytes: Vec<u8> = (0..PLACES + LONGEST).map(|_| random.byte()).collect();
    bytes.iter_mut().filter(|byte| **byte == REFUSED).for_each(|byte| *byte = 0);
    bytes
});

impl SimQuestion {
    /// With an answer of so many bytes, or nearly so many where that cannot be told.
    #[must_use]
    pub fn asking_for(self, length: usize) -> Self {
        let told = if length > MAX_ANSWER + TOLD_LESS { length - TOLD_LESS } else { length.min(MAX_ANSWER) };
        Self { answer: u16::try_from(told).expect("16 bits"), ..self }
    }

    /// Bytes of the answer.
    pub fn length(&self) -> usize {
        let told = usize::from(self.answer);
        if told > MAX_ANSWER { told + TOLD_LESS } else { told }
    }

    /// One of the answers that differ at every place. Which one: the generation, or the one that a relay got.
    pub fn bytes(&self, variant: u8) -> &'static [u8] {
        let place = Random::from_seed(u64::from(self.id) << 8 | u64::from(variant)).below(PLACES);
        &OCTETS[place..place + self.length()]
    }

    /// Appends the message.
    pub fn write(&self, style: Style, stream: &mut Vec<u8>) {
        self.write_marked(style, OUTERMOST, stream);
    }

    fn write_marked(&self, style: Style, mark: u8, stream: &mut Vec<u8>) {
        let ([a, b], [c, d]) = (self.answer.to_be_bytes(), self.id.to_be_bytes());
        let last = if self.last { LAST | mark } else { mark };
        match style {
            Style::Dns => {
                let length = u16::try_from(HEAD - 2 + self.padding).expect("padding is short");
                stream.extend(length.to_be_bytes());
                stream.extend(length.to_be_bytes());
                stream.extend(if mark == OUTERMOST { MAGIC } else { [0; 2] });
                stream.extend([a, b, c, d, last]);
                // What begins in the middle of this message looks like messages too.
                let inner = Self { answer: self.id % 64, last: false, padding: 0, ..*self };
                let end = stream.len() + self.padding;
                while stream.len() + HEAD <= end {
                    inner.write_marked(style, 0, stream);
                }
                stream.resize(end, 0);
            }
            Style::Http => {
                let nibbles = [a, b, c, d, last].into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
                let at = stream.len();
                stream.extend(nibbles.map(|nibble| nibble | 0x80));
                stream[at] |= BEGIN << 4;
                stream.resize(stream.len() + self.padding, 0xd5);
                stream.push(END);
            }
        }
    }

    /// None if it is no message of ours: what a server sees that begins to read in the middle of one.
    pub fn read(style: Style, message: &[u8]) -> Option<Self> {
        let mut fields = [0; 5];
        match style {
            Style::Dns => fields.copy_from_slice(message.get(LENGTH + 4..HEAD)?),
            Style::Http => {
                message.get(..10)?;
                for (field, nibbles) in fields.iter_mut().zip(message.chunks_exact(2)) {
                    *field = nibbles[0] << 4 | nibbles[1] & 15;
                }
            }
        }
        let [a, b, c, d, last] = fields;
        Some(Self {
            id: u16::from_be_bytes([c, d]),
            answer: u16::from_be_bytes([a, b]),
            last: last & LAST != 0,
            padding: 0,
        })
    }
}

/// Whether a message of ours can begin with `stream`: false in the middle of one, even where it looks like a message.
pub fn begins(style: Style, stream: &[u8]) -> bool {
    match style {
        Style::Dns => stream.get(LENGTH + 2..LENGTH + 4).is_none_or(|magic| magic == MAGIC),
        Style::Http => stream.first().is_none_or(|first| first >> 4 == BEGIN),
    }
}

/// Answers [`SimQuestion`]s.
#[derive(Debug)]
pub struct Toy {
    /// The delimiters of its messages.
    pub style: Style,
    /// Which content it answers from.
    pub generation: u8,
}

impl Service for Toy {
    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new(&self.generation))
    }

    fn frame(&self, stream: &[u8]) -> Framing {
        let end = match self.style {
            Style::Dns => {
                stream.first_chunk().map(|&prefix: &[u8; 2]| 2 + usize::from(u16::from_be_bytes(prefix)))
            }
            Style::Http => stream.iter().position(|&byte| byte == END).map(|end| end + 1),
        };
        end.filter(|&end| end <= stream.len()).map_or(Framing::Incomplete, Framing::Message)
    }

    fn starts_message(&self, stream: &[u8]) -> bool {
        begins(self.style, stream)
    }

    fn is_prefix(&self, tail: &[u8]) -> bool {
        self.style == Style::Dns && tail.len() == 2
    }

    fn prefix(&self, stream: &[u8]) -> Option<[u8; 2]> {
        let [a, b, c, d, ..] = *stream else { return None };
        (self.style == Style::Dns && [c, d] == MAGIC).then_some([a, b])
    }

    fn answer(
        &self,
        message: &[u8],
        context: &Context,
        response: &mut Vec<u8>,
    ) -> Result<Answered, Unavailable> {
        let Some(question) = SimQuestion::read(self.style, message) else { return Ok(Answered::default()) };
        if question.length() > context.room {
            response.extend((context.room > 0).then_some(REFUSED));
            return Ok(Answered { volatile: 0, last: true });
        }
        let start = response.len();
        response.extend_from_slice(question.bytes(self.generation));
        let mut volatile = 0;
        if self.style == Style::Http {
            volatile = VOLATILE.min(response.len() - start);
            let time = context.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
            response[start..start + volatile].fill(u8::try_from(time % u128::from(REFUSED)).unwrap_or(0));
        }
        // As with HTTP, where a connection is for one request each.
        let only = self.style == Style::Http && !context.persistent;
        Ok(Answered { volatile, last: question.last || only })
    }
}
