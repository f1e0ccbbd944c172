//! Parsers of files in /proc: text in, values out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `TCP_LISTEN`, `TCP_TIME_WAIT` and `TCP_CLOSE` of `net/tcp_states.h`.
const LISTEN: &str = "0A";
const GONE: [&str; 2] = ["06", "07"];

/// A TCP socket of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketFacts {
    pub(crate) local: SocketAddr,
    pub(crate) listening: bool,
}

/// The sockets in /proc/net/tcp or /proc/net/tcp6, without those in TIME-WAIT or CLOSED.
pub(crate) fn sockets(text: &str) -> Vec<SocketFacts> {
    text.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<SocketFacts> {
    let mut columns = line.split_whitespace().skip(1);
    let (address, port) = columns.next()?.split_once(':')?;
    let state = columns.nth(1)?;
    if GONE.contains(&state) {
        return None;
    }
    let local = SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?);
    Some(SocketFacts { local, listening: state == LISTEN })
}

/// Parses an address as the kernel prints it: 32-bit words, each in the byte order of the machine.
fn address_of(digits: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = digits.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match digits.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let bytes: [u8; 16] = words.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// A field of /proc/PID/status or a similar file.
pub(crate) fn status<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::trim)
}

/// Whether /proc/net/protocols names `protocol`.
pub(crate) fn has_protocol(text: &str, protocol: &str) -> bool {
    text.lines().any(|line| line.split_whitespace().next() == Some(protocol))
}

/// Major and minor version in a kernel release.
pub(crate) fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Number of CPUs in a list such as `0-3,8`.
pub(crate) fn cpu_count(list: &str) -> usize {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    list.split(',')
        .filter_map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some(number(to)?.checked_sub(number(from)?)? + 1)
        })
        .sum()
}

/// Whether the file with this /proc/PID/fdinfo text is the XDP link of `program`.
pub(crate) fn is_xdp_link(fdinfo: &str, program: u32) -> bool {
    status(fdinfo, "link_type") == Some("xdp")
        && status(fdinfo, "prog_id").and_then(|id| id.parse().ok()) == Some(program)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn sockets_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000\n\
            1: 0A0200C0:0050 010200C0:C350 01 00000000:00000000 00:00000000\n\
            2: 0A0200C0:0050 010200C0:C351 06 00000000:00000000 00:00000000\n\
            3: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0\n\
            4: 0000000000000000FFFF00000A0200C0:0050 00000000000000000000000000000000:0000 01 0:0\n\
            5: nonsense\n";
        let found: Vec<_> =
            sockets(text).into_iter().map(|socket| (socket.local.to_string(), socket.listening)).collect();
        let expected = [
            ("127.0.0.1:53", true),
            ("192.0.2.10:80", false),
            ("[2001:db8::1]:80", true),
            ("192.0.2.10:80", false),
        ];
        assert_eq!(found, expected.map(|(local, listening)| (local.to_owned(), listening)));
    }

    #[rstest]
    #[case("6.18.44-fc-v669", Some((6, 18)))]
    #[case("5.10.0", Some((5, 10)))]
    #[case("7.2", Some((7, 2)))]
    #[case("unknown", None)]
    fn version_is_read(#[case] release: &str, #[case] expected: Option<(u32, u32)>) {
        assert_eq!(version(release), expected);
    }

    #[rstest]
    #[case("0", 1)]
    #[case("0-3,8", 5)]
    #[case("", 0)]
    fn cpus_are_counted(#[case] list: &str, #[case] count: usize) {
        assert_eq!(cpu_count(list), count);
    }

    #[test]
    fn link_is_recognised() {
        let text = "pos:\t0\nlink_type:\txdp\nlink_id:\t4\nprog_tag:\tabc\nprog_id:\t17\nifindex:\t3\n";
        assert!(is_xdp_link(text, 17));
        assert!(!is_xdp_link(text, 1));
        assert!(!is_xdp_link(&text.replace("xdp", "tcx"), 17));
    }

    #[test]
    fn protocols_are_whole_words() {
        let text = "protocol  size\nXDPX  1\nTCP 2\n";
        assert!(has_protocol(text, "TCP") && !has_protocol(text, "XDP"));
    }
}
