//! Frames, as they are, out of and into an interface (`AF_PACKET`).

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recv, send,
        setsockopt, socket,
        sockopt::{RcvBufForce, SndBufForce},
    },
};

use crate::{netns::Netns, packet::Packet};

/// Room for what arrives while a test looks elsewhere.
const BUFFER: usize = 64 << 20;

/// An interface's raw port.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    own: [u8; 6],
}

impl Port {
    /// Opens `interface` in `namespace`. Frames that arrive from now on are kept for [`Port::receive`].
    pub fn open(namespace: &Netns, interface: &str) -> Self {
        namespace.enter(|| {
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                    .expect("open a packet socket");
            setsockopt(&socket, RcvBufForce, &BUFFER).expect("enlarge the receive buffer");
            setsockopt(&socket, SndBufForce, &BUFFER).expect("enlarge the send buffer");
            let address = link_address(interface);
            bind(socket.as_raw_fd(), &address).expect("bind the packet socket");
            Self { socket, own: address.addr().expect("an Ethernet address") }
        })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return,
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => std::thread::yield_now(),
                Err(error) => panic!("send a frame of {} octets: {error}", frame.len()),
            }
        }
    }

    /// The next frame that this interface did not send itself, if one comes within `patience`.
    pub fn receive(&self, patience: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + patience;
        let mut frame = vec![0; 65_600];
        loop {
            match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                // An ETH_P_ALL socket also hears what its own host sends.
                Ok(length) if length >= 12 && frame[6..12] == self.own => {}
                Ok(length) => {
                    frame.truncate(length);
                    return Some(frame);
                }
                Err(Errno::EAGAIN) => {
                    let left = end.checked_duration_since(Instant::now())?;
                    let timeout =
                        PollTimeout::try_from(left + Duration::from_millis(1)).expect("a short patience");
                    let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                    match poll(&mut wanted, timeout) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => panic!("wait for a frame: {error}"),
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => panic!("receive a frame: {error}"),
            }
        }
    }

    /// The next TCP packet for which `wanted` holds, within `patience`; all other frames are thrown away.
    pub fn receive_tcp(&self, patience: Duration, wanted: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let end = Instant::now() + patience;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            let frame = self.receive(left)?;
            if let Some(packet) = Packet::parse(&frame).filter(&wanted) {
                return Some(packet);
            }
        }
    }
}

/// The `sockaddr_ll` of an interface of the current namespace. Its protocol is 0, which lets `bind` keep the socket's.
fn link_address(interface: &str) -> LinkAddr {
    getifaddrs()
        .expect("list the interfaces")
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .filter(|address| address.family() == Some(AddressFamily::Packet))
        .unwrap_or_else(|| panic!("no interface {interface} in the namespace"))
}
