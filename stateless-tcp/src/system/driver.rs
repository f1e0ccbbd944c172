//! The XDP abilities of an interface's driver: as the kernel reports them, or by a list of known drivers.

use super::link::{LinkFacts, VethPeer};
use super::{kernel_version, link};

/// `NETDEV_XDP_ACT_*` of `linux/netdev.h`.
const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
const ZERO_COPY: u64 = 8;

/// The source of a report by the kernel.
const REPORTED: &str = "the kernel reports it (netdev netlink)";

/// Drivers with native XDP, for kernels that do not report it.
const NATIVE_DRIVERS: &[&str] = &[
    "bnxt_en",
    "dpaa2-eth",
    "ena",
    "enetc",
    "fec",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "netsec",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "thunder_nicvf",
    "tun",
    "veth",
    "virtio_net",
];

/// Drivers with zero-copy, for kernels that do not report it.
const ZERO_COPY_DRIVERS: &[&str] = &["i40e", "ice", "igc", "ixgbe", "mlx5_core", "stmmac"];

/// The oldest kernel whose verifier is known to accept the program that answers handshakes. That of 6.1 refuses it.
const ACCEPTS_HANDSHAKE: (u32, u32) = (6, 12);

/// Drivers that drop frames which an XDP program sends from a zero-copy queue: the kernel copies such a frame without the
/// headroom for the driver's own header (Linux 7.2; `ethtool -S` counts them as `tx_xdp_tx_drops`).
const DROP_FROM_ZERO_COPY: &[&str] = &["virtio_net"];

/// Whether an XDP program in the driver can answer handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DriverAnswers {
    /// Its frames are sent and arrive.
    Yes,
    /// It is unknown, for this reason.
    Unknown(String),
    /// The kernel refuses the program, or its frames do not arrive, for this reason.
    No(String),
}

/// Whether the driver runs XDP programs and redirects to sockets, and the source of this fact on a kernel of this release.
pub(crate) fn native_xdp(link: &LinkFacts, release: &str) -> (bool, String) {
    match &link.xdp_features {
        Ok(features) => (features & (BASIC | REDIRECT) == BASIC | REDIRECT, REPORTED.to_owned()),
        Err(reason) => {
            let known = link.driver.as_deref().is_some_and(|driver| NATIVE_DRIVERS.contains(&driver));
            (known, format!("by the list of known drivers; kernel {release} does not report it ({reason})"))
        }
    }
}

/// Whether the driver has zero-copy, and the source of this fact.
pub(crate) fn zero_copy(link: &LinkFacts) -> (bool, &'static str) {
    let by_driver = || link.driver.as_deref().is_some_and(|driver| ZERO_COPY_DRIVERS.contains(&driver));
    link.xdp_features.as_ref().map_or_else(
        |_| (by_driver(), "by the list of known drivers"),
        |features| (features & ZERO_COPY != 0, REPORTED),
    )
}

/// Whether an XDP program in the driver of `interface` can answer handshakes in this copy mode.
pub(crate) fn driver_answers(interface: &str, zero_copy: bool) -> DriverAnswers {
    let answers = |link| can_answer(&link, kernel_version(), zero_copy);
    link::link(interface).map_or_else(DriverAnswers::Unknown, answers)
}

/// The same of `link` on a kernel of this version.
pub(crate) fn can_answer(link: &LinkFacts, kernel: Option<(u32, u32)>, zero_copy: bool) -> DriverAnswers {
    match (can_transmit(link), &link.driver) {
        (DriverAnswers::Yes, Some(driver)) if zero_copy && DROP_FROM_ZERO_COPY.contains(&driver.as_str()) => {
            DriverAnswers::No(format!(
                "with zero-copy, {driver} drops frames that an XDP program sends: --handshake ring, or --zero-copy never"
            ))
        }
        (DriverAnswers::Yes, _) if kernel.is_some_and(|kernel| kernel < ACCEPTS_HANDSHAKE) => {
            let (major, minor) = ACCEPTS_HANDSHAKE;
            DriverAnswers::Unknown(format!(
                "the program that answers in the driver is known to pass the verifier since Linux {major}.{minor}"
            ))
        }
        (answers, _) => answers,
    }
}

/// Whether frames that an XDP program in the driver sends arrive. A veth passes them to its peer, which receives them only
/// if it has an XDP program itself (with GRO alone they wait until another frame comes).
fn can_transmit(link: &LinkFacts) -> DriverAnswers {
    match (&link.peer, &link.xdp_features) {
        (VethPeer::Here { takes_frames: true, .. }, _) => DriverAnswers::Yes,
        (VethPeer::Here { name, .. }, _) => DriverAnswers::No(format!(
            "{name}, the other end of this veth, does not receive frames of an XDP program, as it has none itself"
        )),
        (VethPeer::Elsewhere, _) => DriverAnswers::Unknown(
            "the other end of this veth receives frames of an XDP program only if it has one itself, and it is in another \
             network namespace"
                .to_owned(),
        ),
        (VethPeer::None, Ok(features)) if features & BASIC == 0 => {
            DriverAnswers::No("the driver cannot send for XDP programs (XDP_TX): --handshake ring".to_owned())
        }
        (VethPeer::None, _) => DriverAnswers::Yes,
    }
}
