//! Header fields that may pass. Knows grammars, and nothing of requests.

use hyper::header::{self, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// A field in which proxies name clients. No standard defines it.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether every server interprets a field of this name alike. RFC 9110 5.6.2 allows other characters too, but CGI and
/// its successors take "_" for "-": `X_Forwarded_For` would override our field, and `Transfer_Encoding` would evade our
/// checks.
pub(super) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a field may pass. A list that we append to must be well formed: inside an open quote, our element would
/// become the client's.
pub(super) fn is_valid(name: &HeaderName, value: &[u8]) -> bool {
    if *name == header::FORWARDED {
        is_forwarded(value)
    } else if *name == FORWARDED_FOR {
        value.split(|byte| *byte == b',').all(|node| is_node(node.trim_ascii()))
    } else {
        true
    }
}

/// RFC 7239 section 4: elements with commas between them, of pairs with semicolons between them.
fn is_forwarded(value: &[u8]) -> bool {
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        let name = token(rest);
        if name > 0 {
            let Some(value) = rest[name..].strip_prefix(b"=") else { return false };
            let length = if value.starts_with(b"\"") { quoted_string(value) } else { token(value) };
            if length == 0 {
                return false;
            }
            rest = value[length..].trim_ascii_start();
        }
        match rest {
            [] => return true,
            [b',' | b';', more @ ..] => rest = more,
            _ => return false,
        }
    }
}

/// Bytes of the token at the front (RFC 9110 5.6.2).
fn token(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    text.iter().take_while(|byte| is_part(byte)).count()
}

/// Bytes of the quoted string at the front (RFC 9110 5.6.4); 0 if it does not end.
fn quoted_string(text: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return 0,
        }
    }
}

/// Whether an element of X-Forwarded-For is valid: an address, optionally with a port, an identifier (RFC 7239 section
/// 6), or nothing (RFC 9110 5.6.1.2).
fn is_node(node: &[u8]) -> bool {
    let Ok(node) = str::from_utf8(node) else { return false };
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    node.is_empty()
        || node.eq_ignore_ascii_case("unknown")
        || node.strip_prefix('_').is_some_and(is_name)
        || bare.parse::<IpAddr>().is_ok()
        || node.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("X-Forwarded-For", true)]
    #[case::digits("Sec-CH-2", true)]
    #[case::underscore("X_Forwarded_For", false)]
    #[case::one_underscore("Transfer_Encoding", false)]
    #[case::dot("X.Forwarded.For", false)]
    #[case::quote("X'", false)]
    fn name_is_plain(#[case] name: &str, #[case] plain: bool) {
        assert_eq!(is_plain(name), plain);
    }

    #[rstest]
    #[case::address("for=192.0.2.1", true)]
    #[case::pairs("For=\"[2001:db8::1]:4711\";proto=http;by=203.0.113.43", true)]
    #[case::elements("for=192.0.2.43, for=\"[2001:db8::1]\"", true)]
    #[case::hidden("for=_hidden, for=unknown", true)]
    #[case::escaped_quote("for=\"a\\\"b\"", true)]
    #[case::comma_in_quotes("for=\"a,b\", for=c", true)]
    #[case::empty_elements(", for=a,, ", true)]
    #[case::empty_pairs("for=a;;proto=b;", true)]
    #[case::space_behind_semicolon("for=a; proto=b", true)]
    #[case::empty("", true)]
    #[case::open_quote("for=\"", false)]
    #[case::open_quote_behind("for=a, for=\"b", false)]
    #[case::escaped_end("for=\"a\\\"", false)]
    #[case::escape_at_the_end("for=\"a\\", false)]
    #[case::quote_inside("for=a\"b", false)]
    #[case::behind_a_quote("for=\"a\"b", false)]
    #[case::no_value("for=", false)]
    #[case::no_pair("for", false)]
    #[case::no_name("=a", false)]
    #[case::unquoted_address("for=[2001:db8::1]", false)]
    #[case::space_before_the_value("for= a", false)]
    #[case::another_separator("for=a/proto=b", false)]
    fn forwarded_has_a_grammar(#[case] value: &str, #[case] valid: bool) {
        assert_eq!(is_valid(&header::FORWARDED, value.as_bytes()), valid);
    }

    #[rstest]
    #[case::address("192.0.2.1", true)]
    #[case::addresses("192.0.2.1, 2001:db8::1,198.51.100.7", true)]
    #[case::ports("192.0.2.1:80, [2001:db8::1]:80", true)]
    #[case::brackets("[2001:db8::1]", true)]
    #[case::unknown("unknown, _hidden", true)]
    #[case::empty_element("192.0.2.1, ", true)]
    #[case::name("a.example", false)]
    #[case::open_quote("\"192.0.2.1", false)]
    #[case::two_in_one("192.0.2.1 192.0.2.2", false)]
    #[case::no_address("192.0.2.256", false)]
    #[case::markup("<a>", false)]
    fn forwarded_for_is_a_list_of_addresses(#[case] value: &str, #[case] valid: bool) {
        assert_eq!(is_valid(&FORWARDED_FOR, value.as_bytes()), valid);
    }
}
