//! The clients' questions: a list, each of which has its turn.

use anyhow::{Context as _, Result, bail};
use domain::base::iana::Rtype;
use domain::base::{MessageBuilder, Name};
use std::fs;
use std::ops::Range;
use std::path::Path;

/// The UDP payload size that an EDNS record must state (RFC 6891 section 6.2.3), although it is of no account over TCP.
const PAYLOAD_SIZE: u16 = 1232;

/// Offset of a message's id, behind its length (RFC 1035 sections 4.2.2 and 4.1.1).
const ID: Range<usize> = 2..4;

/// Questions as they go over TCP, each behind its length.
#[derive(Clone, Debug)]
pub struct Questions {
    messages: Vec<Vec<u8>>,
}

impl Questions {
    /// One question. `dnssec` adds an EDNS record with DO.
    ///
    /// # Errors
    /// If the name or the type is none.
    pub fn one(name: &str, rtype: &str, dnssec: bool) -> Result<Self> {
        Ok(Self { messages: vec![message(name, rtype, dnssec)?] })
    }

    /// Those of a file, a name and a type a line, as dnsperf and kxdpgun read them. Empty lines and those that begin with
    /// `#` or `;` are passed over.
    ///
    /// # Errors
    /// If the file cannot be read, has no question, or has a line that is none.
    pub fn read(file: &Path, dnssec: bool) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut messages = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(name) = words.next().filter(|word| !word.starts_with(['#', ';'])) else { continue };
            let message = message(name, words.next().unwrap_or("A"), dnssec);
            messages.push(message.with_context(|| format!("{}, line {}", file.display(), index + 1))?);
        }
        if messages.is_empty() {
            bail!(
                "{} has no question: write a name and a type a line, as in `example.com A`",
                file.display()
            );
        }
        Ok(Self { messages })
    }

    /// Bytes of the question of the client with this number.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a message has less than 2^16 octets")]
    pub fn length(&self, number: u64) -> u32 {
        self.messages[self.index(number)].len() as u32
    }

    /// That question, with `id` in it.
    #[inline]
    pub fn message(&mut self, number: u64, id: u16) -> &[u8] {
        let index = self.index(number);
        let message = &mut self.messages[index];
        message[ID].copy_from_slice(&id.to_be_bytes());
        message
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of questions")]
    fn index(&self, number: u64) -> usize {
        (number % self.messages.len() as u64) as usize
    }
}

fn message(name: &str, rtype: &str, dnssec: bool) -> Result<Vec<u8>> {
    let question: Name<Vec<u8>> = name.parse().with_context(|| format!("{name:?} is no domain name"))?;
    let rtype: Rtype = rtype.parse().ok().with_context(|| format!("{rtype:?} is no record type"))?;
    let mut builder = MessageBuilder::new_stream_vec().question();
    let too_long = "a question of more than 65,535 octets";
    builder.push((question, rtype)).context(too_long)?;
    let mut builder = builder.additional();
    if dnssec {
        let signed = builder.opt(|opt| {
            opt.set_udp_payload_size(PAYLOAD_SIZE);
            opt.set_dnssec_ok(true);
            Ok(())
        });
        signed.context(too_long)?;
    }
    Ok(builder.finish().as_stream_slice().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_message_behind_its_length() {
        let mut questions = Questions::one("example.com", "AAAA", false).unwrap();
        let expected =
            [&[0, 29, 0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7][..], b"example\x03com\0", &[0, 28, 0, 1]];
        assert_eq!(questions.message(5, 0xabcd), expected.concat());
        assert_eq!(questions.length(5), 31);
    }

    #[test]
    fn dnssec_is_asked_for_by_edns() {
        let mut questions = Questions::one(".", "NS", true).unwrap();
        let expected = [
            &[0, 28, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1][..],
            &[0, 0, 2, 0, 1],
            &[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0],
        ];
        assert_eq!(questions.message(0, 1), expected.concat());
    }

    #[test]
    fn those_of_a_file_have_their_turns() {
        let file = std::env::temp_dir().join(format!("flood-questions-{}", std::process::id()));
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            let questions = Questions::read(&file, false).map_err(|error| format!("{error:#}"));
            fs::remove_file(&file).unwrap();
            questions
        };
        let questions = read("# names\nexample.com. A\n\nexample.net TXT\n").unwrap();
        assert_eq!([0, 1, 2].map(|number| questions.length(number)), [31, 31, 31]);
        assert_eq!(questions.messages[0], questions.messages[2 % 2]);
        assert_ne!(questions.messages[0], questions.messages[1]);
        let refused = read("example.com A\nexample.net NOTYPE\n").unwrap_err();
        assert!(refused.contains("line 2: \"NOTYPE\" is no record type"), "{refused}");
        assert!(read("\n").unwrap_err().contains("has no question"));
    }
}
