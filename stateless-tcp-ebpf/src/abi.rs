//! The interface of the XDP program and user space: the names of its maps and the plain old data in them.
//!
//! All maps may be changed while the program runs; it looks at them anew for each frame.

use core::array::from_fn;
use core::ops::BitOr;
use stateless_tcp_core::admission::{self, Limit};
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{ClientPolicy, SteeringReason};
use stateless_tcp_core::tcp::epoch::{Epochs, Slots};
use stateless_tcp_core::tcp::isn::{Generations, Key, Keys};
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_core::tcp::{AckPolicy, TcpConfig};

/// Name of the XDP program that is attached to the interface.
pub const PROGRAM: &str = "stateless_tcp";

/// Program array: the programs that the attached one tail-calls, by [`FastPathProgram`].
pub const FAST_PATH: &str = "FAST_PATH";

/// A program that answers frames in the driver. The kernel verifies each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FastPathProgram {
    /// Parses a TCP segment without payload.
    ParseSegment,
    /// Decides about it.
    DecideSegment,
    /// Writes the answer over it.
    WriteSegment,
    /// Parses a query over UDP.
    ParseQuery,
    /// Writes the response over it.
    WriteResponse,
}

impl FastPathProgram {
    /// Every program, by its index in [`FAST_PATH`].
    pub const ALL: [Self; 5] =
        [Self::ParseSegment, Self::DecideSegment, Self::WriteSegment, Self::ParseQuery, Self::WriteResponse];

    /// Name of the program in the object. The kernel keeps 15 characters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ParseSegment => "parse_segment",
            Self::DecideSegment => "decide_segment",
            Self::WriteSegment => "write_segment",
            Self::ParseQuery => "parse_query",
            Self::WriteResponse => "write_response",
        }
    }
}

/// Entries of [`FAST_PATH`].
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
pub const FAST_PATH_PROGRAMS: u32 = FastPathProgram::ALL.len() as u32;

/// Hash map: served address ([`stateless_tcp_core::tcp::segment::Address`]) to any octet.
pub const ADDRESSES: &str = "ADDRESSES";

/// Hash map: served TCP port, in host byte order (u16), to any octet.
pub const PORTS: &str = "PORTS";

/// Hash map: hardware address of this host on the interface, beside [`Settings::link_address`], to any octet.
pub const LINK_ADDRESSES: &str = "LINK_ADDRESSES";

/// Hash map: VLAN of this host on the interface ([`stateless_tcp_core::steering::VlanTags`]) to any octet.
pub const VLANS: &str = "VLANS";

/// Longest-prefix-match trie: bits of clients' [`stateless_tcp_core::tcp::segment::Address`] to a [`stateless_tcp_core::steering::ClientPolicy`] (u8). Takes
/// memory for what is in it only.
pub const CLIENTS: &str = "CLIENTS";

/// Array of one [`Settings`]. One field after the other is written while the program looks.
pub const SETTINGS: &str = "SETTINGS";

/// Array of [`stateless_tcp_core::admission::SETS`] sets ([`stateless_tcp_core::admission::Set`]).
pub const BUCKETS: &str = "BUCKETS";

/// `XSKMAP`: RX queue to AF_XDP socket.
pub const SOCKETS: &str = "SOCKETS";

/// Array of one number (u32), which is 1 while the interface passes from one process to another: what finds no socket is
/// dropped, and comes again when there is one.
pub const HELD: &str = "HELD";

/// Per-CPU array: frames (u64) by [`SteeringReason`].
pub const COUNTS: &str = "COUNTS";

/// Global: 1 if the program answers by itself what it can ([`stateless_tcp_core::tcp`]); else the verifier removes that code.
pub const HANDSHAKE: &str = "HANDSHAKE";

/// Array of [`MAX_TERMS`] places for [`PackedHandshakeConfig`]. A place is written only while another one is in force.
pub const TERMS: &str = "TERMS";

/// Array of one number (u32): that of the place in [`TERMS`] which is in force, counted from 1; 0: everything goes to the
/// socket. Written in one piece, so the program sees terms of one kind.
pub const IN_FORCE: &str = "IN_FORCE";

/// Per-CPU array: frames (u64) by [`Outcome`].
pub const EVENTS: &str = "EVENTS";

/// Places in [`COUNTS`].
#[expect(clippy::cast_possible_truncation, reason = "a dozen")]
pub const MAX_COUNTS: u32 = SteeringReason::ALL.len() as u32;

/// Places in [`EVENTS`].
#[expect(clippy::cast_possible_truncation, reason = "some dozens")]
pub const MAX_EVENTS: u32 = Outcome::COUNT as u32;

/// Places for terms. One is written again only after all others were in force, long after the program last looked at it:
/// a run takes microseconds.
pub const MAX_TERMS: u32 = 8;

/// Most served addresses.
pub const MAX_ADDRESSES: u32 = 1024;

/// Most served ports.
pub const MAX_PORTS: u32 = 64;

/// Most prefixes of clients that the operator can list.
pub const MAX_CLIENTS: u32 = 1 << 18;

/// Most addresses that no other host can send from.
pub const MAX_IMPOSSIBLE: u32 = 1 << 16;

/// Entries of [`CLIENTS`]: those, and one for all of IPv4.
pub const CLIENT_ENTRIES: u32 = MAX_CLIENTS + MAX_IMPOSSIBLE + 1;

/// Most hardware addresses of an interface and those on top of it, beside its own.
pub const MAX_LINK_ADDRESSES: u32 = 1024;

/// Most VLANs.
pub const MAX_VLANS: u32 = 8192;

/// Most RX queues of an interface.
pub const MAX_QUEUES: u32 = 256;

/// One address of each family, for most hosts.
const FIRST_ADDRESSES: usize = 2;

const FIRST_PORTS: usize = 4;

/// What else the operator has said, any octets of which mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// The limits of clients.
    pub limit: Limit,
    /// Halves of the first addresses in [`ADDRESSES`], and the first ports in [`PORTS`]. A frame for them takes no look into a
    /// hash map, which costs as much as the rest of steering.
    first_addresses: [[u64; 2]; FIRST_ADDRESSES],
    first_ports: [u16; FIRST_PORTS],
    /// A bit for each value that [`client_bit`] can have: whether [`CLIENTS`] may know a client of that value.
    listed_clients: u64,
    /// UDP port where questions are answered; 0: none.
    datagrams: u16,
    /// 1: the kernel gets served traffic that has IPv6 extension headers.
    extension_headers: u16,
    /// Hardware address of the interface.
    link_address: [u8; 6],
    unused: [u8; 6],
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Limit::NONE, None, false)
    }
}

impl Settings {
    /// Octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// `limit`, the UDP port where questions are answered, if there is one, and whether the kernel gets served traffic that
    /// has IPv6 extension headers.
    #[must_use]
    pub const fn new(limit: Limit, datagrams: Option<u16>, passes_extension_headers: bool) -> Self {
        let datagrams = match datagrams {
            Some(port) => port,
            None => 0,
        };
        let extension_headers = passes_extension_headers as u16;
        Self {
            limit,
            first_addresses: [[0; 2]; FIRST_ADDRESSES],
            first_ports: [0; FIRST_PORTS],
            listed_clients: 0,
            datagrams,
            extension_headers,
            link_address: [0; 6],
            unused: [0; 6],
        }
    }

    /// The same settings for these served addresses and ports.
    #[must_use]
    pub fn with_served(self, addresses: &[Address], ports: &[u16]) -> Self {
        let mut settings = self;
        // The first one fills the places that are left.
        if let Some(first) = addresses.first() {
            settings.first_addresses =
                from_fn(|place| admission::halves(addresses.get(place).unwrap_or(first)));
        }
        if let Some(first) = ports.first() {
            settings.first_ports = from_fn(|place| *ports.get(place).unwrap_or(first));
        }
        settings
    }

    /// The same settings, where the prefixes in [`CLIENTS`] are these.
    #[must_use]
    pub fn with_listed_clients(self, prefixes: impl Iterator<Item = (u8, Address, ClientPolicy)>) -> Self {
        let bits = |(length, address, policy)| match (policy, length) {
            // As if it were not listed.
            (ClientPolicy::Serve, _) => 0,
            (_, 128) => 1 << client_bit(&address),
            _ => u64::MAX,
        };
        Self { listed_clients: prefixes.map(bits).fold(0, BitOr::bitor), ..self }
    }

    /// Whether [`CLIENTS`] may know `client`: a look at it costs as much as the rest of steering, and in most hosts it knows
    /// a few addresses only.
    #[inline]
    #[must_use]
    pub fn may_be_listed(&self, client: &Address) -> bool {
        self.listed_clients >> client_bit(client) & 1 == 1
    }

    /// Whether this is one of the first served addresses.
    #[inline]
    #[must_use]
    pub fn is_first_address(&self, address: &Address) -> bool {
        let halves = admission::halves(address);
        self.first_addresses.contains(&halves)
    }

    /// Whether this is one of the first served ports.
    #[inline]
    #[must_use]
    pub fn is_first_port(&self, port: u16) -> bool {
        self.first_ports.contains(&port)
    }

    /// The same settings for an interface with this hardware address.
    #[must_use]
    pub const fn with_link_address(self, link_address: [u8; 6]) -> Self {
        Self { link_address, ..self }
    }

    /// The hardware address of the interface.
    #[inline]
    #[must_use]
    pub const fn link_address(&self) -> &[u8; 6] {
        &self.link_address
    }

    /// The UDP port where questions are answered.
    #[inline]
    #[must_use]
    pub const fn datagrams(&self) -> Option<u16> {
        if self.datagrams == 0 { None } else { Some(self.datagrams) }
    }

    /// Whether the kernel gets served traffic that has IPv6 extension headers.
    #[inline]
    #[must_use]
    pub const fn passes_extension_headers(&self) -> bool {
        self.extension_headers == 1
    }

    /// The octets as they stand in the map.
    #[must_use]
    pub fn octets(&self) -> [u8; Self::LENGTH] {
        let mut octets = [0; Self::LENGTH];
        let mut rest = &mut octets[..];
        let mut append = |field: &[u8]| {
            let (place, behind) = core::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = behind;
        };
        append(&self.limit.octets());
        for half in self.first_addresses.as_flattened() {
            append(&half.to_ne_bytes());
        }
        for port in self.first_ports {
            append(&port.to_ne_bytes());
        }
        append(&self.listed_clients.to_ne_bytes());
        append(&self.datagrams.to_ne_bytes());
        append(&self.extension_headers.to_ne_bytes());
        append(&self.link_address);
        append(&self.unused);
        octets
    }
}

/// One of 64 values for each client, spread by the golden ratio.
#[inline]
fn client_bit(client: &Address) -> u64 {
    let [high, low] = admission::halves(client);
    (high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58
}

/// [`TcpConfig`] and [`Epochs`], any octets of which mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PackedHandshakeConfig {
    generations: [u64; 3],
    keys: [[u8; 16]; 2],
    /// The current slot and the other one, of connections of one request and of persistent ones.
    slots: [[u32; 2]; 2],
    generation: u8,
    /// Flags: there is a previous key, the rules are classic, Fast Open is on.
    flags: u8,
    unused: [u8; 6],
}

impl PackedHandshakeConfig {
    /// Octets.
    pub const LENGTH: usize = size_of::<Self>();

    const PREVIOUS_KEY: u8 = 1;
    const CLASSIC: u8 = 2;
    const FAST_OPEN: u8 = 4;

    /// The values that were packed.
    #[inline]
    #[must_use]
    pub fn unpack(&self) -> (TcpConfig, Epochs) {
        let Self { generations, keys: [current, previous], slots, generation, flags, .. } = *self;
        let has = |flag: u8| flags & flag != 0;
        // Its octets are there in either case: no verifier before Linux 6.3 has a program copy what was never written.
        let mut former_key = Some(Key(previous));
        if !has(Self::PREVIOUS_KEY) {
            former_key = None;
        }
        let [single_request, persistent] = slots.map(|[current, other]| Slots { current, other });
        // Only connections that are asked something end.
        let epochs = Epochs { single_request, persistent, ending: false };
        let config = TcpConfig {
            ack_policy: if has(Self::CLASSIC) { AckPolicy::Classic } else { AckPolicy::Reliable },
            keys: Keys { current: Key(current), previous: former_key },
            generations: Generations::from_bits(generation, generations),
            // Only answers of applications are cut into segments.
            segment_size: 0,
            fast_open: has(Self::FAST_OPEN),
        };
        (config, epochs)
    }

    /// The octets as they stand in the map.
    #[must_use]
    pub fn octets(&self) -> [u8; Self::LENGTH] {
        let mut octets = [0; Self::LENGTH];
        let (generations, rest) = octets.split_at_mut(size_of_val(&self.generations));
        generations.copy_from_slice(self.generations.map(u64::to_ne_bytes).as_flattened());
        let (keys, rest) = rest.split_at_mut(size_of_val(&self.keys));
        keys.copy_from_slice(self.keys.as_flattened());
        let (slots, rest) = rest.split_at_mut(size_of_val(&self.slots));
        slots.copy_from_slice(
            self.slots.map(|slots| slots.map(u32::to_ne_bytes)).as_flattened().as_flattened(),
        );
        rest[..2].copy_from_slice(&[self.generation, self.flags]);
        octets
    }
}

impl PackedHandshakeConfig {
    /// Packs both.
    #[must_use]
    pub fn new(config: &TcpConfig, epochs: &Epochs) -> Self {
        let TcpConfig { ack_policy, keys, ref generations, fast_open, .. } = *config;
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        Self {
            generations: generations.bits(),
            keys: [keys.current.0, keys.previous.map_or([0; 16], |key| key.0)],
            slots: [epochs.single_request, epochs.persistent].map(|slots| [slots.current, slots.other]),
            generation: generations.current(),
            flags: flag(keys.previous.is_some(), Self::PREVIOUS_KEY)
                | flag(ack_policy == AckPolicy::Classic, Self::CLASSIC)
                | flag(fast_open, Self::FAST_OPEN),
            unused: [0; 6],
        }
    }
}
