//! Rewrites a request for the upstream server. Knows nothing of connections.

use super::fields::{FORWARDED_FOR, is_plain, is_valid};
use crate::services::http::error_pages::HttpError;
use crate::services::http::request::{self, RequestError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};
use std::net::{IpAddr, SocketAddr};

/// Hop-by-hop fields (RFC 9110 7.6.1) and proxy authentication, which the upstream does not get, besides the fields
/// that Connection names.
pub(super) const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// End-to-end fields, even if Connection names them: Host, and the lists that each proxy appends to.
const END_TO_END: [HeaderName; 3] = [header::HOST, header::FORWARDED, FORWARDED_FOR];

/// The request in `message`, a whole message with a head of `head` bytes, which `client` sent to `server`.
///
/// # Errors
/// The error of a request that cannot be forwarded.
pub(super) fn rewrite(
    message: &[u8],
    head: usize,
    client: IpAddr,
    server: SocketAddr,
) -> Result<Request<Full<Bytes>>, RequestError> {
    let mut rewritten = request::read(&message[..head], |_, head| {
        let mut fields = HeaderMap::with_capacity(head.headers.len() + 2);
        for field in head.headers.iter().filter(|field| is_plain(field.name)) {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HttpError::Malformed)?;
            if !is_valid(&name, field.value) {
                continue;
            }
            let value = HeaderValue::from_bytes(field.value).map_err(|_| HttpError::Malformed)?;
            fields.append(name, value);
        }
        let target = head.path.unwrap_or_default().as_bytes();
        let (authority, path) = request::split_target(target).unwrap_or((None, target));
        address(&mut fields, authority, server);
        // The body itself defines Content-Length.
        fields.remove(header::CONTENT_LENGTH);
        strip_hop_by_hop(&mut fields);
        append(&mut fields, FORWARDED_FOR, &client.to_string());
        append(&mut fields, header::FORWARDED, &forwarded(client));
        let method = head.method.unwrap_or_default().as_bytes();
        let method = Method::from_bytes(method).map_err(|_| HttpError::UnknownMethod)?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri(&method, path).ok_or(HttpError::BadTarget)?;
        *request.method_mut() = method;
        *request.headers_mut() = fields;
        Ok(request)
    })?;
    *rewritten.body_mut() = Full::new(Bytes::copy_from_slice(&message[head..]));
    Ok(rewritten)
}

/// Removes hop-by-hop fields; the others keep their order.
pub(super) fn strip_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    let mut kept = HeaderMap::with_capacity(fields.len());
    for (name, value) in &*fields {
        if !HOP_BY_HOP.contains(name) && !named.contains(name) {
            kept.append(name, value.clone());
        }
    }
    *fields = kept;
}

/// Sets Host: the target's authority takes precedence (RFC 9112 3.2.2), and HTTP/1.0 may have none.
fn address(fields: &mut HeaderMap, authority: Option<&[u8]>, server: SocketAddr) {
    if let Some(authority) = authority.and_then(|authority| HeaderValue::from_bytes(authority).ok()) {
        fields.insert(header::HOST, authority);
    } else if !fields.contains_key(header::HOST) {
        let server = if server.port() == 80 { host(server.ip()) } else { server.to_string() };
        fields.extend(HeaderValue::from_str(&server).ok().map(|server| (header::HOST, server)));
    }
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// RFC 7239 section 6: an IPv6 address needs brackets, and so quotes.
fn forwarded(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => format!("for={address};proto=http"),
        IpAddr::V6(address) => format!("for=\"[{address}]\";proto=http"),
    }
}

/// Adds an element to a field that is a list.
fn append(fields: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in fields.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    // Valid elements joined with an address form a valid value.
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        fields.insert(name, list);
    }
}

/// A target in origin-form (RFC 9112 3.2.1), or in asterisk-form.
fn uri(method: &Method, path: &[u8]) -> Option<Uri> {
    let target = match path.first() {
        Some(b'/') => PathAndQuery::try_from(path).ok()?,
        // RFC 9112 3.2.4: OPTIONS without a path concerns the server.
        Some(b'*') => PathAndQuery::from_static("*"),
        None if method == Method::OPTIONS => PathAndQuery::from_static("*"),
        // RFC 9110 4.2.3: an empty path means "/".
        _ => PathAndQuery::try_from([b"/", path].concat()).ok()?,
    };
    Uri::builder().path_and_query(target).build().ok()
}
