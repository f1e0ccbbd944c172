//! The query of a health check, and the judgement of its response.

use crate::dns_framing::LENGTH_PREFIX;
use anyhow::{Context as _, Result, bail};
use domain::base::iana::Rcode;
use domain::base::{Message, Name, Rtype};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The header of a query (RFC 1035 section 4.1.1): ID, flags with RD as stub resolvers set it, and counts.
const HEADER: [u8; 12] = [0x53, 0x54, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const CLASS_IN: [u8; 2] = [0, 1];

/// Position of the status code in a status line (RFC 9112 section 4).
const STATUS: std::ops::Range<usize> = 9..12;

/// A request with a criterion for its response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckQuery {
    /// A DNS query.
    Dns {
        /// The name, in presentation format.
        name: String,
        /// The type.
        rtype: u16,
        /// The name must exist. If this is false, any response code other than SERVFAIL is good.
        exists: bool,
    },
    /// An HTTP GET request.
    Http {
        /// The path.
        path: String,
    },
}

impl CheckQuery {
    /// A query for records of `rtype` at `name`.
    ///
    /// # Errors
    /// `name` is not a domain name.
    pub fn dns(name: &str, rtype: Rtype, exists: bool) -> Result<Self> {
        let name =
            Name::<Vec<u8>>::vec_from_str(name).with_context(|| format!("{name:?} is not a domain name"))?;
        Ok(Self::Dns { name: name.fmt_with_dot().to_string(), rtype: rtype.to_int(), exists })
    }

    /// A request for `path`.
    ///
    /// # Errors
    /// `path` is not a path.
    pub fn http(path: &str) -> Result<Self> {
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{path:?} is not a path: a path begins with / and has no spaces");
        }
        Ok(Self::Http { path: path.to_owned() })
    }

    /// The request as bytes of the TCP stream.
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

    /// Judges `stream`, the response so far: a summary if it is good, else the reason; `None` if it is not complete.
    pub(super) fn judge(&self, stream: &[u8], ended: bool) -> Option<Result<String, String>> {
        match self {
            Self::Dns { exists, .. } => {
                let length = stream.first_chunk().map(|&bytes| usize::from(u16::from_be_bytes(bytes)));
                match length.and_then(|length| stream.get(LENGTH_PREFIX..LENGTH_PREFIX + length)) {
                    Some(message) => Some(self.judge_message(message, *exists)),
                    None => ended.then(|| Err("the connection ended before the response".to_owned())),
                }
            }
            Self::Http { .. } => ended.then(|| {
                let status =
                    stream.get(STATUS).and_then(|code| str::from_utf8(code).ok()?.parse::<u16>().ok());
                match status {
                    Some(code @ 200..400) => Ok(format!("status {code}, {} bytes", stream.len())),
                    Some(code) => Err(format!("status {code}")),
                    None => Err("the response is not HTTP".to_owned()),
                }
            }),
        }
    }

    fn judge_message(&self, message: &[u8], exists: bool) -> Result<String, String> {
        let request = self.request();
        let asked = Message::from_octets(&request[LENGTH_PREFIX..]).ok();
        let answer =
            Message::from_octets(message).map_err(|_| "the response is not a DNS message".to_owned())?;
        if !asked.is_some_and(|asked| answer.is_answer(&asked)) {
            return Err("the response is to another query".to_owned());
        }
        let rcode = answer.header().rcode();
        let good = if exists { rcode == Rcode::NOERROR } else { rcode != Rcode::SERVFAIL };
        let text = rcode.to_string();
        if good { Ok(text) } else { Err(text) }
    }
}

impl fmt::Display for CheckQuery {
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

    /// A response to `query` with this response code.
    fn answer(query: &CheckQuery, rcode: u8) -> Vec<u8> {
        let mut answer = query.request();
        answer[LENGTH_PREFIX + 2] |= 0x80;
        answer[LENGTH_PREFIX + 3] = rcode;
        answer
    }

    #[rstest]
    #[case::there(true, 0, Ok("NOERROR"))]
    #[case::not_there(true, 3, Err("NXDOMAIN"))]
    #[case::refused(true, 5, Err("REFUSED"))]
    #[case::refused_but_any_name_is_good(false, 5, Ok("REFUSED"))]
    #[case::upstream_dead(false, 2, Err("SERVFAIL"))]
    fn a_response_code_counts(#[case] exists: bool, #[case] rcode: u8, #[case] expected: Result<&str, &str>) {
        let query = CheckQuery::dns("www.Example.com", Rtype::AAAA, exists).unwrap();
        assert_eq!(query.to_string(), "www.Example.com. AAAA");
        let answer = answer(&query, rcode);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(query.judge(&answer, false), Some(expected));
        assert_eq!(query.judge(&answer[..answer.len() - 1], false), None, "it is not complete");
        assert!(query.judge(&answer[..9], true).unwrap().unwrap_err().contains("ended"));
        let other = CheckQuery::dns("other.example", Rtype::AAAA, exists).unwrap();
        assert!(other.judge(&answer, false).unwrap().unwrap_err().contains("another query"));
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\n\r\n", Ok("status 200, 19 bytes"))]
    #[case("HTTP/1.1 304 Not Modified\r\n\r\n", Ok("status 304, 29 bytes"))]
    #[case("HTTP/1.1 502 Bad Gateway\r\n\r\n", Err("status 502"))]
    #[case("HTT", Err("the response is not HTTP"))]
    fn a_status_counts(#[case] stream: &str, #[case] expected: Result<&str, &str>) {
        let query = CheckQuery::http("/x").unwrap();
        assert_eq!(query.judge(stream.as_bytes(), false), None);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(query.judge(stream.as_bytes(), true), Some(expected));
    }

    #[test]
    fn invalid_names_and_paths_are_refused() {
        assert!(CheckQuery::http("x").is_err() && CheckQuery::http("/a b").is_err());
        assert!(CheckQuery::dns("a..b", Rtype::A, true).is_err());
    }
}
