//! Opening a network interface: the XDP program, and an AF_XDP socket on each queue.

use super::handshake;
use super::link_status::LinkStatus;
use super::running::AttachedProgram;
use crate::af_xdp::XdpError;
use crate::af_xdp::busy_poll;
use crate::af_xdp::existing_program::make_way;
use crate::af_xdp::interface::{AttachMode, Interface};
use crate::af_xdp::irq_deferral::{Deferral, NapiTiming};
use crate::af_xdp::program::{Program, SteeringTables};
use crate::af_xdp::socket::{CopyMode, Socket};
use crate::af_xdp::umem::Pool;
use crate::config::{Config, HandshakeMode, XdpMode, ZeroCopy};
use crate::observe::counters::Counters;
use crate::serving::{Content, ServingState};
use crate::system::link::link;
use crate::system::network::Network;
use crate::system::reception::{self, Reception, Verdict};
use anyhow::{Context as _, Result, bail};
use stateless_tcp_core::tcp::segment::Address;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// A queue's number, socket and counters.
pub(super) type QueueSocket = (u32, Socket, Arc<Counters>);

/// An open interface: its program is attached, and each queue has a socket.
pub(super) struct ServedInterface {
    pub(super) attached: AttachedProgram,
    pub(super) sockets: Vec<QueueSocket>,
    /// Interrupts are deferred, as the workers poll.
    pub(super) deferral: Option<Deferral>,
}

impl ServedInterface {
    pub(super) fn open(config: &Config, interface: &Interface, state: &ServingState) -> Result<Self> {
        let queues = queues(config, interface)?;
        make_way(interface, config.replace)?;
        let modes: &[AttachMode] = match (config.xdp_mode, config.handshake) {
            (XdpMode::Native, _) | (_, HandshakeMode::Driver) => &[AttachMode::Native],
            (XdpMode::Auto, _) => &[AttachMode::Native, AttachMode::Generic],
            (XdpMode::Generic, _) => &[AttachMode::Generic],
        };
        let (last, first) = modes.split_last().context("no XDP mode to try")?;
        for &mode in first {
            match Self::open_in_mode(config, interface, state, &queues, mode) {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    tracing::warn!(interface = interface.name, "falling back to generic mode: {error}");
                }
            }
        }
        let opened = Self::open_in_mode(config, interface, state, &queues, *last);
        if config.handshake == HandshakeMode::Driver {
            return opened.context(
                "--handshake driver is not possible here (--handshake auto falls back to the ring)",
            );
        }
        Ok(opened?)
    }

    fn open_in_mode(
        config: &Config,
        interface: &Interface,
        state: &ServingState,
        queues: &[u32],
        mode: AttachMode,
    ) -> Result<Self, XdpError> {
        let copies: &[CopyMode] = match (config.zero_copy, mode) {
            // Generic mode has no zero-copy: the kernel's error says so.
            (ZeroCopy::Always, _) => &[CopyMode::ZeroCopy],
            (ZeroCopy::Auto, AttachMode::Native | AttachMode::Hardware) => {
                &[CopyMode::ZeroCopy, CopyMode::Copy]
            }
            (ZeroCopy::Auto, AttachMode::Generic) | (ZeroCopy::Never, _) => &[CopyMode::Copy],
        };
        let mut last_error = None;
        for &copy in copies {
            match bind_all(interface, queues, mode, copy) {
                Ok(sockets) => {
                    let copy = actual_copy_mode(interface, &sockets)?;
                    let mut attached = load(config, interface, state, mode, copy)?;
                    for (queue, socket, _) in &sockets {
                        attached.program.register(*queue, socket)?;
                    }
                    attached.program.attach(mode)?;
                    return Ok(Self { attached, sockets, deferral: None });
                }
                Err(error) if Some(&copy) != copies.last() => {
                    tracing::info!(interface = interface.name, "falling back to copy mode: {error}");
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| XdpError::NoInterface(interface.name.clone())))
    }

    /// The same interface with busy polling and interrupt deferral as configured. `deferral` was opened earlier, if there is
    /// one.
    pub(super) fn with_polling(
        mut self,
        config: &Config,
        deferral: Option<Deferral>,
    ) -> Result<Self, XdpError> {
        let interface = self.attached.program.interface();
        let busy = config.busy_poll;
        if !busy.is_zero() {
            for (_, socket, _) in &self.sockets {
                busy_poll::allow(socket, interface, busy)?;
            }
        }
        if let Some(timing) = NapiTiming::of(busy, config.coalesce) {
            let mut deferral = deferral.map_or_else(|| Deferral::of(interface, timing), Ok)?;
            deferral.begin()?;
            self.deferral = Some(deferral);
        }
        Ok(self)
    }
}

/// Loads the program for `interface`, which steers and answers by `state`. It is not attached yet.
pub(super) fn load(
    config: &Config,
    interface: &Interface,
    state: &ServingState,
    mode: AttachMode,
    copy: CopyMode,
) -> Result<AttachedProgram, XdpError> {
    let (mut program, handshake) = handshake::load(config, interface, mode, copy)?;
    let network = Network::observe().map_err(XdpError::Network)?;
    steer(&mut program, &state.current.content, &network)?;
    program.answer_by(state.tcp_config(), &state.policy.epochs(SystemTime::now()))?;
    Ok(AttachedProgram { program, mode, copy, handshake, link: LinkStatus::new(interface) })
}

/// Makes `program` steer by the addresses, ports, clients and settings of `content`, and by the addresses and VLANs of this
/// host in `network`.
pub(super) fn steer(program: &mut Program, content: &Content, network: &Network) -> Result<(), XdpError> {
    let scope = network.scope(program.interface().index);
    program.steer(&SteeringTables {
        addresses: content.addresses().copied().collect(),
        ports: content.ports().collect(),
        clients: content.clients(),
        impossible: network.impossible_sources().into_iter().map(Address::from).collect(),
        link_addresses: scope.addresses,
        vlans: scope.vlans.into_iter().chain(content.vlans().iter().copied()).collect(),
        settings: *content.settings(),
    })
}

/// The queues to serve: all, or the configured ones, which must cover all unless --uncovered-queues is given.
pub(super) fn queues(config: &Config, interface: &Interface) -> Result<Vec<u32>> {
    let name = &interface.name;
    let all = interface.queues().with_context(|| format!("cannot list the RX queues of {name}"))?;
    let Some(chosen) = &config.queues else { return Ok(all) };
    if let Some(missing) = chosen.iter().find(|queue| !all.contains(queue)) {
        bail!("{name} has no RX queue {missing}: it has {}; see `ethtool -l {name}`", list(&all));
    }
    let uncovered: Vec<u32> = all.iter().copied().filter(|queue| !chosen.contains(queue)).collect();
    if !uncovered.is_empty() && !config.uncovered_queues {
        bail!(
            "--queues {} leaves RX queue {} of {name} to the kernel, which resets connections that arrive there: \
             cover all queues, reduce them by `ethtool -L {name} combined N`, or give --uncovered-queues if the card \
             steers served traffic away from them",
            list(chosen),
            list(&uncovered),
        );
    }
    Ok(chosen.clone())
}

fn list(queues: &[u32]) -> String {
    queues.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn bind_all(
    interface: &Interface,
    queues: &[u32],
    mode: AttachMode,
    copy: CopyMode,
) -> Result<Vec<QueueSocket>, XdpError> {
    queues.iter().map(|&queue| bind(Pool::new(interface, queue)?, interface, queue, mode, copy)).collect()
}

pub(super) fn bind(
    pool: Pool,
    interface: &Interface,
    queue: u32,
    mode: AttachMode,
    copy: CopyMode,
) -> Result<QueueSocket, XdpError> {
    let counters = Arc::new(Counters::default());
    let socket = Socket::bind(pool, interface, queue, mode, copy, Arc::clone(&counters))?;
    Ok((queue, socket, counters))
}

/// The copy mode that the kernel reports: copy mode if one of the sockets is in copy mode.
fn actual_copy_mode(interface: &Interface, sockets: &[QueueSocket]) -> Result<CopyMode, XdpError> {
    let mut mode = CopyMode::ZeroCopy;
    for &(queue, ref socket, _) in sockets {
        let found = socket.copy_mode().map_err(|reason| XdpError::Running {
            call: "getsockopt(XDP_OPTIONS)",
            interface: interface.name.clone(),
            queue,
            reason,
        })?;
        if found == CopyMode::Copy {
            mode = found;
        }
    }
    Ok(mode)
}

/// The addresses to serve: the configured ones, else those of the interfaces.
pub(super) fn addresses(config: &Config, interfaces: &[Interface]) -> Result<Vec<IpAddr>> {
    if let Some(addresses) = &config.addresses {
        return Ok(addresses.clone());
    }
    let network = Network::observe().map_err(XdpError::Network)?;
    let addresses = own_addresses(interfaces, &network);
    if addresses.is_empty() {
        let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        bail!(
            "{} has no IP address: add one, or give the addresses to serve by --address",
            names.join(" and ")
        );
    }
    Ok(addresses)
}

/// The addresses of the interfaces.
pub(super) fn own_addresses(interfaces: &[Interface], network: &Network) -> Vec<IpAddr> {
    interfaces.iter().flat_map(|interface| network.addresses_of(interface.index)).collect()
}

/// Refuses an interface that can never serve, and warns of one that cannot now.
pub(super) fn check_reception(interface: &Interface) -> Result<()> {
    let name = &interface.name;
    // A start does not fail because of a fact that cannot be observed.
    let Ok(link) = link(name) else { return Ok(()) };
    let Reception { verdict, finding, remedy } = reception::judge(name, &link);
    match verdict {
        Verdict::Ready => {}
        Verdict::NotYet => tracing::warn!(interface = name, "{finding}: {remedy}"),
        Verdict::Never => bail!("{finding}: {remedy}"),
    }
    Ok(())
}
