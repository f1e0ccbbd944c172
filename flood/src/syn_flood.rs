//! SYNs from senders that are not there, as a SYN flood has them: each from another address, port and sequence number.

use crate::population::mix;
use stateless_tcp::acl::Prefix;
use stateless_tcp_core::steering::Layout;
use stateless_tcp_core::tcp::output::TxSegment;
use stateless_tcp_core::tcp::segment::{Address, Flags, FourTuple};
use stateless_tcp_core::wire::Reply;

/// Makes them.
#[derive(Clone, Debug)]
pub struct SynFlood {
    network: u128,
    /// The bits of an address that are drawn.
    drawn: u128,
    server: (Address, u16),
    mss: u16,
    /// Draws so far, from a secret beginning.
    draws: u64,
}

impl SynFlood {
    /// From addresses in `prefix` to `server`. `secret` makes the draws.
    #[must_use]
    pub fn new(prefix: &Prefix, server: (Address, u16), mss: u16, secret: u64) -> Self {
        let (Address(network), bits) = prefix.bits();
        let drawn = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        Self { network: u128::from_be_bytes(network), drawn, server, mss, draws: secret }
    }

    /// Writes the next one, behind the link header of `link`, a frame from the server, and says how long the frame is.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "parts of a draw")]
    pub fn write(&mut self, link: &[u8], layout: &Layout, frame: &mut [u8]) -> usize {
        let (one, other) = (self.draw(), self.draw());
        let host = (u128::from(one) << 64 | u128::from(other)) & self.drawn;
        let more = self.draw();
        let (server, server_port) = self.server;
        // As for the clients, what is written goes from the "server" of these four to the "client".
        let tuple = FourTuple {
            server: Address((self.network | host).to_be_bytes()),
            client: server,
            server_port: (more as u16).max(1024),
            client_port: server_port,
        };
        let syn = TxSegment {
            seq: (more >> 32) as u32,
            ack: 0,
            flags: Flags::SYN,
            window: u16::MAX,
            mss: Some(self.mss),
            timestamps: None,
            fast_open: None,
            offset: 0,
            length: 0,
        };
        Reply::to(link, layout, tuple).emit(frame, &syn, &[])
    }

    #[inline]
    const fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        mix(self.draws)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateless_tcp_core::steering::{Protocol, Version};
    use std::collections::HashSet;

    #[test]
    fn each_is_a_whole_syn_from_another_sender_of_the_prefix() {
        let prefix: Prefix = "198.18.0.0/15".parse().unwrap();
        let server = Address::from_ipv4([192, 0, 2, 1]);
        let mut syn_flood = SynFlood::new(&prefix, (server, 53), 1460, 5);
        let layout = Layout { network: 14, transport: 34, version: Version::V4, protocol: Protocol::Tcp };
        let mut senders = HashSet::new();
        for _ in 0..1_000 {
            let mut frame = [0xa5; 100];
            let length = syn_flood.write(&[2; 14], &layout, &mut frame);
            let segment = stateless_tcp_core::wire::parse(&frame[..length], &layout).unwrap().segment;
            let FourTuple { server: receiver, client: sender, server_port, client_port } = segment.tuple;
            assert_eq!((receiver, server_port, segment.flags), (server, 53, Flags::SYN));
            assert!(prefix.contains(&sender) && client_port >= 1024);
            senders.insert((sender, client_port));
        }
        assert_eq!(senders.len(), 1_000);
    }
}
