//! What becomes of the served interfaces: each change is a line in the log.

use crate::af_xdp::interface::Interface;
use crate::system::network::Network;

/// The condition of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Frames can arrive.
    Up,
    /// Nothing is connected.
    NoCarrier,
    /// It is down.
    Down,
    /// It was deleted, or moved to another network namespace.
    Gone,
}

impl Condition {
    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoCarrier => "no carrier",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }
}

/// An interface as it was seen last.
#[derive(Clone, Debug)]
pub(super) struct LinkStatus {
    /// As the configuration has it. Its name may have changed since.
    interface: Interface,
    /// Its present name.
    name: String,
    pub(super) condition: Condition,
    hardware_address: Option<[u8; 6]>,
    /// Number of receive queues. None if that cannot be observed.
    queues: Option<usize>,
}

impl LinkStatus {
    /// An interface whose condition nobody has looked at yet.
    pub(super) fn new(interface: &Interface) -> Self {
        Self {
            name: interface.name.clone(),
            condition: Condition::Up,
            hardware_address: interface.hardware_address().ok(),
            queues: interface.queues().ok().map(|queues| queues.len()),
            interface: interface.clone(),
        }
    }

    /// Its hardware address.
    pub(super) fn hardware_address(&self) -> Option<[u8; 6]> {
        self.hardware_address
    }

    /// Looks at it again, and logs what has changed.
    pub(super) fn follow(&mut self, network: &Network) {
        let configured = &self.interface.name;
        let Some(link) = network.link(self.interface.index) else {
            if self.condition != Condition::Gone {
                tracing::error!(
                    "{configured} is gone: it was deleted, or moved to another network namespace"
                );
            }
            self.condition = Condition::Gone;
            return;
        };
        if link.name != self.name {
            tracing::warn!(
                "{} is called {} now: it is served as before, but the next start looks for {configured}",
                self.name,
                link.name
            );
            self.name.clone_from(&link.name);
        }
        self.hardware_address = link.hardware_address().or(self.hardware_address);
        let condition = match (link.is_up(), link.has_carrier()) {
            (false, _) => Condition::Down,
            (true, false) => Condition::NoCarrier,
            (true, true) => Condition::Up,
        };
        if condition != self.condition {
            match condition {
                Condition::Up => tracing::info!("{configured} is up again"),
                Condition::NoCarrier => tracing::warn!("{configured} has no carrier: nothing arrives there"),
                Condition::Down => tracing::warn!("{configured} is down: nothing arrives there"),
                Condition::Gone => {}
            }
            self.condition = condition;
        }
        self.follow_queues();
    }

    fn follow_queues(&mut self) {
        let present = Interface { name: self.name.clone(), index: self.interface.index };
        let Ok(now) = present.queues().map(|queues| queues.len()) else { return };
        let Some(before) = self.queues.replace(now).filter(|&before| before != now) else { return };
        let name = &self.name;
        tracing::error!(
            "{name} had {before} receive queue(s) and has {now} now: the kernel resets connections on queues without a \
             worker. Restart the server, or go back by `ethtool -L`"
        );
    }
}
