//! The TUN device: what the kernel's TCP sends comes out here as packets, and what is put in here it has received when the
//! call returns.

use std::io::ErrorKind;

use tun_rs::{DeviceBuilder, SyncDevice};

use super::wire;
use crate::{netns::Netns, sim::packet::SimSegment};

const NAME: &str = "tun0";
/// Least retransmission timeout of the kernel's clients. Which segments are sent does not depend on it, only how long it takes.
const RTO_MIN: &str = "20ms";

/// A TUN device.
pub(super) struct Device {
    tun: SyncDevice,
    buffer: Vec<u8>,
    /// Sent by the kernel, and not yet taken.
    sent: Vec<SimSegment>,
}

impl Device {
    /// Makes one in the namespace of this thread, which is `namespace`: the client's address on our end, the server's behind it.
    pub(super) fn open(namespace: &Netns) -> Self {
        let tun = DeviceBuilder::new()
            .name(NAME)
            .packet_information(false)
            .enable(false)
            .build_sync()
            .expect("create a TUN device");
        tun.set_nonblocking(true).expect("set the TUN device to non-blocking");
        namespace.run(&format!("ip address add {}/24 dev {NAME}", wire::CLIENT));
        namespace.run(&format!("ip link set {NAME} up mtu 1500"));
        // Without a queue what TCP sends is readable here when the call that made it send returns.
        namespace.run(&format!("tc qdisc replace dev {NAME} root noqueue"));
        namespace.run(&format!("ip route replace 192.0.2.0/24 dev {NAME} rto_min {RTO_MIN}"));
        // No connection is to learn from those before it.
        namespace.run("sysctl -q -w net.ipv4.tcp_no_metrics_save=1");
        // One that paces sends nothing in reaction.
        namespace.run("sysctl -q -w net.ipv4.tcp_congestion_control=reno");
        // Else answers to what is out of the window depend on the time.
        namespace.run("sysctl -q -w net.ipv4.tcp_invalid_ratelimit=0");
        Self { tun, buffer: vec![0; 65_536], sent: Vec::new() }
    }

    /// The segments that the kernel has sent and `wanted` picks, in their order; their payloads are in [`SimSegment::bytes`].
    pub(super) fn take(&mut self, wanted: impl Fn(&SimSegment) -> bool) -> Vec<SimSegment> {
        loop {
            match self.tun.recv(&mut self.buffer) {
                Ok(length) => self.sent.extend(wire::read(&self.buffer[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("read from the TUN device: {error}"),
            }
        }
        self.sent.extract_if(.., |packet| wanted(packet)).collect()
    }

    /// Gives the kernel a segment of the server's.
    pub(super) fn deliver(&self, packet: &SimSegment) {
        let bytes = wire::write(packet);
        let sent = self.tun.send(&bytes).expect("write to the TUN device");
        assert_eq!(sent, bytes.len(), "the TUN device took a part of a packet");
    }
}
