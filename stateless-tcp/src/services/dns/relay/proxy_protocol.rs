//! The header of PROXY protocol version 2, which tells an upstream the client's address.

use stateless_tcp_core::tcp::segment::FourTuple;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXIED: u8 = 0x21;
/// Version 2, command LOCAL.
const LOCAL: u8 = 0x20;
/// TCP over IPv4 and over IPv6.
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
const PORTS: u8 = 4;

/// Appends the header.
pub(super) fn push(tuple: &FourTuple, out: &mut Vec<u8>) {
    out.extend_from_slice(&SIGNATURE);
    if let (Some(client), Some(server)) = (tuple.client.ipv4(), tuple.server.ipv4()) {
        out.extend_from_slice(&[PROXIED, TCP_V4, 0, 4 + 4 + PORTS]);
        out.extend_from_slice(&client);
        out.extend_from_slice(&server);
    } else {
        out.extend_from_slice(&[PROXIED, TCP_V6, 0, 16 + 16 + PORTS]);
        out.extend_from_slice(&tuple.client.0);
        out.extend_from_slice(&tuple.server.0);
    }
    out.extend_from_slice(&tuple.client_port.to_be_bytes());
    out.extend_from_slice(&tuple.server_port.to_be_bytes());
}

/// Appends the header of a query of our own.
pub(super) fn push_local(out: &mut Vec<u8>) {
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[LOCAL, 0, 0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateless_tcp_core::tcp::segment::Address;

    #[test]
    fn a_header_says_who_asked_whom() {
        let [client, server] = [7, 1].map(|last| Address::from_ipv4([192, 0, 2, last]));
        let tuple = FourTuple { client, server, client_port: 0x1234, server_port: 53 };
        let mut out = Vec::new();
        push(&tuple, &mut out);
        let tail = [0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x34, 0, 53];
        assert_eq!(out, [&SIGNATURE[..], &tail].concat());

        let [client, server] = [[9; 16], [8; 16]].map(Address);
        out.clear();
        push(&FourTuple { client, server, ..tuple }, &mut out);
        let length = out.len() - SIGNATURE.len() - 4;
        assert_eq!(out[SIGNATURE.len()..][..4], [0x21, 0x21, 0, u8::try_from(length).unwrap()]);
        assert_eq!(out[16..], [&[9; 16][..], &[8; 16], &[0x12, 0x34, 0, 53]].concat());
    }
}
