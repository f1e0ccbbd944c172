//! Which requests are relayed, and where they end.

use crate::services::http::faults::Fault;
use crate::services::http::prepared::Connection;
use crate::services::http::request::{self, Body, Fields, MAX_HEAD, Refusal};

/// A request that can be relayed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Octets of the head, the blank line included.
    pub(super) head: usize,
    /// Octets of head and body.
    pub(super) len: usize,
    /// What the client expects of the connection.
    pub(super) connection: Connection,
}

/// Reads the request at the front of `stream`; of methods that are not safe (RFC 9110 9.2.1), and of bodies, only where
/// `unsafe_methods` allows them.
pub(super) fn read(stream: &[u8], unsafe_methods: bool) -> Result<Ask, Refusal> {
    request::read(stream, |head_len, head| {
        let fields = Fields::read(head)?;
        match head.method {
            Some("GET" | "HEAD" | "OPTIONS") => {}
            Some("CONNECT" | "TRACE") if unsafe_methods => return Err(Fault::Tunnel.into()),
            Some("POST" | "PUT" | "DELETE" | "PATCH") if unsafe_methods => {}
            Some("POST" | "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE") => {
                return Err(Fault::Unsafe.into());
            }
            _ => return Err(Fault::UnknownMethod.into()),
        }
        let target = head.path.unwrap_or_default().as_bytes();
        // RFC 9112 3.2.4: asterisk-form.
        let asterisk = target == b"*" && head.method == Some("OPTIONS");
        if !asterisk && request::split_target(target).is_none() {
            return Err(Fault::Target.into());
        }
        if fields.expects {
            return Err(Fault::Expectation.into());
        }
        let body = match fields.body {
            Body::None => 0,
            Body::Unclear => return Err(Fault::BodyLength.into()),
            Body::Length(_) | Body::Coded if !unsafe_methods => return Err(Fault::Body.into()),
            Body::Coded => return Err(Fault::Coded.into()),
            Body::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
        };
        // What comes in several segments is put together up to this length, whether head or body.
        if body > MAX_HEAD.saturating_sub(head_len) {
            return Err(Fault::LargeBody.into());
        }
        let len = head_len + body;
        if stream.len() < len {
            return Err(Refusal::Incomplete);
        }
        Ok(Ask { head: head_len, len, connection: fields.connection(head.version) })
    })
}
