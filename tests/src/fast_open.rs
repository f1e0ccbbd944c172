//! A kernel client that sends its request on the SYN (RFC 7413), and the option in packets.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use rustix::net::{AddressFamily, SendFlags, SocketType, sendto, socket};

use crate::packet::MSS_1460;

/// `MSG_FASTOPEN` of Linux: connect, and send what there is with the SYN.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// A client gives up after this. Its kernel would try for a quarter of an hour.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends `request` to `server` with the SYN, if the kernel has a cookie for it, and says what it gets: the first DNS
/// message with its length before it.
///
/// # Errors
/// The kernel's message.
pub fn ask(server: IpAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let client = socket(family, SocketType::STREAM, None)?;
    let sent = sendto(&client, request, FAST_OPEN, &SocketAddr::new(server, 53))?;
    assert_eq!(sent, request.len(), "the send buffer is empty");
    let mut stream = TcpStream::from(client);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = vec![0; 2];
    stream.read_exact(&mut answer)?;
    let length = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
    answer.resize(2 + length, 0);
    stream.read_exact(&mut answer[2..])?;
    Ok(answer)
}

/// The options of a SYN that asks for a cookie, or presents one.
pub fn offer(cookie: Option<&[u8]>) -> Vec<u8> {
    let mut options = MSS_1460.to_vec();
    let cookie = cookie.unwrap_or_default();
    options.extend([34, u8::try_from(2 + cookie.len()).expect("a short cookie")]);
    options.extend(cookie);
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

/// The cookie among the options of a packet.
pub fn cookie(mut options: &[u8]) -> Option<Vec<u8>> {
    loop {
        match *options {
            [34, length, ref rest @ ..] => return Some(rest[..usize::from(length) - 2].to_vec()),
            [1, ref rest @ ..] => options = rest,
            [_, length, ..] if length >= 2 => options = &options[length.into()..],
            _ => return None,
        }
    }
}
