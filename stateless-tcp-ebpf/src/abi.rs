//! What the XDP program and user space share: the names of its maps and the plain old data in them.
//!
//! All maps may be changed while the program runs; it looks at them anew for each frame.

use crate::steer::Reason;

/// Name of the XDP program.
pub const PROGRAM: &str = "stateless_tcp";

/// Hash map: served address ([`crate::segment::Address`]) to any octet.
pub const ADDRESSES: &str = "ADDRESSES";

/// Hash map: served TCP port, in host byte order (u16), to any octet.
pub const PORTS: &str = "PORTS";

/// `XSKMAP`: RX queue to AF_XDP socket.
pub const SOCKETS: &str = "SOCKETS";

/// Per-CPU array of one [`Counts`].
pub const COUNTS: &str = "COUNTS";

/// Most served addresses.
pub const MAX_ADDRESSES: u32 = 1024;

/// Most served ports.
pub const MAX_PORTS: u32 = 64;

/// Most RX queues of an interface.
pub const MAX_QUEUES: u32 = 256;

/// Frames by [`Reason`], as one CPU saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Counts(pub [u64; Reason::ALL.len()]);
