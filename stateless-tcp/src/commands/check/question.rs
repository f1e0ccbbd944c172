//! What is asked, and what is an answer to it.

use crate::services::dns::wire::PREFIX;
use anyhow::{Context as _, Result, bail};
use domain::base::iana::Rcode;
use domain::base::{Message, Name, Rtype};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A query has one question, and RD is set as stub resolvers do (RFC 1035 section 4.1.1): id, flags and counts.
const HEADER: [u8; 12] = [0x53, 0x54, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const CLASS_IN: [u8; 2] = [0, 1];

/// Space and status code behind the version (RFC 9112 section 4).
const STATUS: std::ops::Range<usize> = 9..12;

/// A request whose answer can be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// For records.
    Dns {
        /// The name, in presentation format.
        name: String,
        /// The type.
        rtype: u16,
        /// Whether it must exist. Otherwise any answer will do that is not SERVFAIL.
        exists: bool,
    },
    /// For a page.
    Http {
        /// What stands behind GET.
        path: String,
    },
}

impl Question {
    /// For records of `rtype` at `name`.
    ///
    /// # Errors
    /// It is no name.
    pub fn dns(name: &str, rtype: Rtype, exists: bool) -> Result<Self> {
        let name = Name::<Vec<u8>>::vec_from_str(name).with_context(|| format!("{name:?} is no name"))?;
        Ok(Self::Dns { name: name.fmt_with_dot().to_string(), rtype: rtype.to_int(), exists })
    }

    /// For the page at `path`.
    ///
    /// # Errors
    /// It is no path.
    pub fn http(path: &str) -> Result<Self> {
        if !path.starts_with('/') || !path.bytes().all(|octet| octet.is_ascii_graphic()) {
            bail!("{path:?} is no path: it begins with / and has no spaces");
        }
        Ok(Self::Http { path: path.to_owned() })
    }

    /// The octets that ask it.
    pub(super) fn request(&self) -> Vec<u8> {
        match self {
            Self::Dns { name, rtype, .. } => {
                let name = Name::<Vec<u8>>::vec_from_str(name).unwrap_or_else(|_| Name::root_vec());
                let message = [&HEADER[..], name.as_slice(), &rtype.to_be_bytes(), &CLASS_IN].concat();
                let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
                [&length.to_be_bytes()[..], &message].concat()
            }
            Self::Http { path } => {
                format!("GET {path} HTTP/1.1\r\nHost: check.invalid\r\nConnection: close\r\n\r\n")
                    .into_bytes()
            }
        }
    }

    /// What `stream`, the answer as far as it has come, is worth: good, or why not; `None` if there has to be more of it.
    pub(super) fn judge(&self, stream: &[u8], ended: bool) -> Option<Result<String, String>> {
        match self {
            Self::Dns { exists, .. } => {
                let length = stream.first_chunk().map(|&octets| usize::from(u16::from_be_bytes(octets)));
                match length.and_then(|length| stream.get(PREFIX..PREFIX + length)) {
                    Some(message) => Some(self.judge_message(message, *exists)),
                    None => ended.then(|| Err("the connection ended before the answer".to_owned())),
                }
            }
            Self::Http { .. } => ended.then(|| {
                let status =
                    stream.get(STATUS).and_then(|code| str::from_utf8(code).ok()?.parse::<u16>().ok());
                match status {
                    Some(code @ 200..400) => Ok(format!("status {code}, {} octets", stream.len())),
                    Some(code) => Err(format!("status {code}")),
                    None => Err("what came is not HTTP".to_owned()),
                }
            }),
        }
    }

    fn judge_message(&self, message: &[u8], exists: bool) -> Result<String, String> {
        let request = self.request();
        let asked = Message::from_octets(&request[PREFIX..]).ok();
        let answer = Message::from_octets(message).map_err(|_| "what came is no DNS message".to_owned())?;
        if !asked.is_some_and(|asked| answer.is_answer(&asked)) {
            return Err("what came is the answer to another question".to_owned());
        }
        let rcode = answer.header().rcode();
        let good = if exists { rcode == Rcode::NOERROR } else { rcode != Rcode::SERVFAIL };
        let text = rcode.to_string();
        if good { Ok(text) } else { Err(text) }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { name, rtype, .. } => write!(formatter, "{name} {}", Rtype::from_int(*rtype)),
            Self::Http { path } => write!(formatter, "GET {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// An answer to `question` with this response code.
    fn answer(question: &Question, rcode: u8) -> Vec<u8> {
        let mut answer = question.request();
        answer[PREFIX + 2] |= 0x80;
        answer[PREFIX + 3] = rcode;
        answer
    }

    #[rstest]
    #[case::there(true, 0, Ok("NOERROR"))]
    #[case::not_there(true, 3, Err("NXDOMAIN"))]
    #[case::refused(true, 5, Err("REFUSED"))]
    #[case::refused_whatever(false, 5, Ok("REFUSED"))]
    #[case::back_end_dead(false, 2, Err("SERVFAIL"))]
    fn a_response_code_counts(#[case] exists: bool, #[case] rcode: u8, #[case] expected: Result<&str, &str>) {
        let question = Question::dns("www.Example.com", Rtype::AAAA, exists).unwrap();
        assert_eq!(question.to_string(), "www.Example.com. AAAA");
        let answer = answer(&question, rcode);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(question.judge(&answer, false), Some(expected));
        assert_eq!(question.judge(&answer[..answer.len() - 1], false), None, "there is more to come");
        assert!(question.judge(&answer[..9], true).unwrap().unwrap_err().contains("ended"));
        let other = Question::dns("other.example", Rtype::AAAA, exists).unwrap();
        assert!(other.judge(&answer, false).unwrap().unwrap_err().contains("another question"));
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\n\r\n", Ok("status 200, 19 octets"))]
    #[case("HTTP/1.1 304 Not Modified\r\n\r\n", Ok("status 304, 29 octets"))]
    #[case("HTTP/1.1 502 Bad Gateway\r\n\r\n", Err("status 502"))]
    #[case("HTT", Err("what came is not HTTP"))]
    fn a_status_counts(#[case] stream: &str, #[case] expected: Result<&str, &str>) {
        let question = Question::http("/x").unwrap();
        assert_eq!(question.judge(stream.as_bytes(), false), None);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(question.judge(stream.as_bytes(), true), Some(expected));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        assert!(Question::http("x").is_err() && Question::http("/a b").is_err());
        assert!(Question::dns("a..b", Rtype::A, true).is_err());
    }
}
