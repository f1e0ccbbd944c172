//! The XDP program of one interface: loaded from the embedded object, its maps filled, attached by a BPF link that
//! dies with this process.

use super::XdpError;
use super::interface::{AttachMode, Interface};
use super::link::Link;
use super::load::{load_fast_path, missing, refusal, xdp};
use crate::acl::ClientPolicies;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray, XskMap};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod, VerifierLogLevel};
use aya_log::EbpfLogger;
use stateless_tcp_core::outcome::Outcome;
use stateless_tcp_core::steering::{ClientPolicy, SteeringReason, VlanTags};
use stateless_tcp_core::tcp::TcpConfig;
use stateless_tcp_core::tcp::epoch::Epochs;
use stateless_tcp_core::tcp::segment::Address;
use stateless_tcp_ebpf::abi::{self, MAX_TERMS, PackedHandshakeConfig, Settings};
use std::collections::{self, HashSet};
use std::error::Error;
use std::hash::Hash;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};

/// Alignment that an ELF reader may want of the object.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../stateless-tcp-ebpf/stateless-tcp.bpf.o"));

/// Frames by [`SteeringReason`].
pub type Counts = [u64; SteeringReason::ALL.len()];

/// The program, loaded for one interface. Dropping it detaches it.
pub struct Program {
    interface: Interface,
    ebpf: Ebpf,
    counts: PerCpuArray<MapData, u64>,
    sockets: XskMap<MapData>,
    handshake: Handshake,
    /// Policies as they are in the table, by prefix length and first address.
    clients: collections::HashMap<(u32, [u8; 16]), u8>,
    /// The kernel empties the program array when its last descriptor is closed.
    _fast_path: Option<ProgramArray<MapData>>,
    id: u32,
    link: Option<Link>,
}

/// The tables that the program steers by.
#[derive(Clone, Debug)]
pub struct SteeringTables<'a> {
    /// The served addresses.
    pub addresses: Vec<Address>,
    /// The served TCP ports.
    pub ports: Vec<u16>,
    /// The policies for clients.
    pub clients: &'a ClientPolicies,
    /// Addresses that no other host sends from.
    pub impossible: Vec<Address>,
    /// Hardware addresses of this host on the interface, its own first.
    pub link_addresses: Vec<[u8; 6]>,
    /// VLANs of this host on the interface.
    pub vlans: Vec<VlanTags>,
    /// Everything else.
    pub settings: Settings,
}

impl SteeringTables<'_> {
    /// The prefixes of clients that are not served like all others. The impossible ones come last and replace those of the
    /// operator: nobody can allow them.
    fn listed_clients(&self) -> impl Iterator<Item = (u8, Address, ClientPolicy)> {
        let impossible = self.impossible.iter().map(|&address| (128, address, ClientPolicy::Impossible));
        self.clients.entries().chain(impossible)
    }
}

/// What the program answers by itself.
struct Handshake {
    terms: Array<MapData, [u8; PackedHandshakeConfig::LENGTH]>,
    in_force: Array<MapData, u32>,
    events: PerCpuArray<MapData, u64>,
    /// The place of the terms that were in force last, counted from 1.
    place: u32,
}

impl Program {
    /// Loads the object and prepares its maps; nothing is attached yet.
    ///
    /// `log` is the least important level that the program logs; without it, the verifier removes its log code. Likewise
    /// that of the handshake: with it, the program answers by itself what it can ([`Program::answer_by`]).
    ///
    /// # Errors
    /// What the kernel or the loader refuses.
    pub fn load(interface: &Interface, log: Option<log::Level>, handshake: bool) -> Result<Self, XdpError> {
        let level = log.map_or(0, |level| level as u8);
        let mut ebpf = EbpfLoader::new()
            .override_global(aya_log::LEVEL, &level, true)
            .override_global(abi::HANDSHAKE, &u8::from(handshake), true)
            // What the verifier complains of and no more: before Linux 6.4 it starts anew for each size of log that is
            // tried until all fits.
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(&OBJECT.0)
            .map_err(|error| XdpError::Load { reason: chain(&error) })?;
        xdp(&mut ebpf, abi::PROGRAM)?.load().map_err(|error| refusal(abi::PROGRAM, &error))?;
        let fast_path = if handshake { Some(load_fast_path(&mut ebpf)?) } else { None };
        let id = xdp(&mut ebpf, abi::PROGRAM)?
            .info()
            .map_err(|error| XdpError::Load { reason: chain(&error) })?
            .id();
        let counts = PerCpuArray::try_from(take(&mut ebpf, abi::COUNTS)?).map_err(map_error(abi::COUNTS))?;
        let sockets = XskMap::try_from(take(&mut ebpf, abi::SOCKETS)?).map_err(map_error(abi::SOCKETS))?;
        let handshake = Handshake {
            terms: Array::try_from(take(&mut ebpf, abi::TERMS)?).map_err(map_error(abi::TERMS))?,
            in_force: Array::try_from(take(&mut ebpf, abi::IN_FORCE)?).map_err(map_error(abi::IN_FORCE))?,
            events: PerCpuArray::try_from(take(&mut ebpf, abi::EVENTS)?).map_err(map_error(abi::EVENTS))?,
            place: 0,
        };
        Ok(Self {
            interface: interface.clone(),
            ebpf,
            counts,
            sockets,
            handshake,
            clients: collections::HashMap::new(),
            _fast_path: fast_path,
            id,
            link: None,
        })
    }

    /// The reader of the program's log messages. Where logging is off there is nothing to read.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn log::Log>, XdpError> {
        EbpfLogger::init(&mut self.ebpf).map_err(|error| XdpError::Load { reason: chain(&error) })
    }

    /// Steers by `tables` from now on, and by nothing else.
    ///
    /// # Errors
    /// If a map is full or refuses.
    pub fn steer(&mut self, tables: &SteeringTables<'_>) -> Result<(), XdpError> {
        // First, so that nobody is answered who is not to be.
        self.set_clients(tables)?;
        let (own, others) = tables.link_addresses.split_first().unwrap_or((&[0; 6], &[]));
        let settings = tables
            .settings
            .with_link_address(*own)
            .with_served(&tables.addresses, &tables.ports)
            .with_listed_clients(tables.listed_clients());
        let mut place: Array<_, [u8; Settings::LENGTH]> =
            Array::try_from(self.map(abi::SETTINGS)?).map_err(map_error(abi::SETTINGS))?;
        place.set(0, settings.octets(), 0).map_err(map_error(abi::SETTINGS))?;
        self.set_keys(abi::LINK_ADDRESSES, others)?;
        let vlans: Vec<u32> = tables.vlans.iter().map(|tags| tags.0).collect();
        self.set_keys(abi::VLANS, &vlans)?;
        let addresses: Vec<[u8; 16]> = tables.addresses.iter().map(|address| address.0).collect();
        self.set_keys(abi::ADDRESSES, &addresses)?;
        self.set_keys(abi::PORTS, &tables.ports)
    }

    /// Makes `wanted` the keys of a hash map.
    fn set_keys<K: Pod + Eq + Hash>(&mut self, name: &'static str, wanted: &[K]) -> Result<(), XdpError> {
        let mut map: HashMap<_, K, u8> = HashMap::try_from(self.map(name)?).map_err(map_error(name))?;
        let former: HashSet<K> = map.keys().filter_map(Result::ok).collect();
        let wanted: HashSet<K> = wanted.iter().copied().collect();
        // What has to go goes first, as what is new may need its room.
        for key in former.difference(&wanted) {
            map.remove(key).map_err(map_error(name))?;
        }
        for key in wanted.difference(&former) {
            map.insert(key, 0, 0).map_err(map_error(name))?;
        }
        Ok(())
    }

    fn set_clients(&mut self, tables: &SteeringTables<'_>) -> Result<(), XdpError> {
        let map = self.ebpf.map_mut(abi::CLIENTS).ok_or_else(|| missing_map(abi::CLIENTS))?;
        let mut trie: LpmTrie<_, [u8; 16], u8> = LpmTrie::try_from(map).map_err(map_error(abi::CLIENTS))?;
        let wanted: collections::HashMap<(u32, [u8; 16]), u8> = tables
            .listed_clients()
            .map(|(bits, address, policy)| ((bits.into(), address.0), policy as u8))
            .collect();
        for &(bits, address) in self.clients.keys().filter(|former| !wanted.contains_key(former)) {
            trie.remove(&Key::new(bits, address)).map_err(map_error(abi::CLIENTS))?;
        }
        for (key @ &(bits, address), policy) in &wanted {
            if self.clients.get(key) != Some(policy) {
                trie.insert(&Key::new(bits, address), policy, 0).map_err(map_error(abi::CLIENTS))?;
            }
        }
        self.clients = wanted;
        Ok(())
    }

    /// Has the program answer by `config`, at a time of `epochs`, from now on, if it was loaded for that.
    ///
    /// They are put into a place that is not in force, and then put in force by a single number: the program sees the
    /// former terms or these, whole.
    ///
    /// # Errors
    /// If a map refuses.
    pub fn answer_by(&mut self, config: &TcpConfig, epochs: &Epochs) -> Result<(), XdpError> {
        let Handshake { terms: places, in_force, place, .. } = &mut self.handshake;
        let next = *place % MAX_TERMS + 1;
        places
            .set(next - 1, PackedHandshakeConfig::new(config, epochs).octets(), 0)
            .map_err(map_error(abi::TERMS))?;
        in_force.set(0, next, 0).map_err(map_error(abi::IN_FORCE))?;
        *place = next;
        Ok(())
    }

    /// Has it answer nothing until it is told by what terms.
    ///
    /// # Errors
    /// If the map refuses.
    pub fn answer_nothing(&mut self) -> Result<(), XdpError> {
        self.handshake.in_force.set(0, 0, 0).map_err(map_error(abi::IN_FORCE))
    }

    /// What it has answered, or let go by, itself, over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn events(&self) -> Result<Vec<(Outcome, u64)>, XdpError> {
        Outcome::in_driver().map(|outcome| Ok((outcome, self.event(outcome)?))).collect()
    }

    /// How many of these frames had a partial checksum.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn partial_checksums(&self) -> Result<u64, XdpError> {
        self.event(Outcome::PartialChecksum)
    }

    fn event(&self, outcome: Outcome) -> Result<u64, XdpError> {
        Ok(self.handshake.events.get(&(outcome as u32), 0).map_err(map_error(abi::EVENTS))?.iter().sum())
    }

    /// The interface that it is for.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Hands the frames of `queue` to `socket`.
    ///
    /// # Errors
    /// If the queue's number is beyond the map.
    pub fn register(&mut self, queue: u32, socket: &impl AsRawFd) -> Result<(), XdpError> {
        self.sockets.set(queue, socket.as_raw_fd(), 0).map_err(map_error(abi::SOCKETS))
    }

    /// Drops what is served and finds no socket, from now on or no longer, instead of leaving it to the kernel. What the
    /// program can answer it answers meanwhile.
    ///
    /// # Errors
    /// If the map refuses.
    pub fn hold(&mut self, held: bool) -> Result<(), XdpError> {
        let map = self.map(abi::HELD)?;
        let mut place: Array<_, u32> = Array::try_from(map).map_err(map_error(abi::HELD))?;
        place.set(0, u32::from(held), 0).map_err(map_error(abi::HELD))
    }

    /// The kernel's number for the program.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Attaches to the interface. From here on the kernel's TCP sees no frame that is served.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn attach(&mut self, mode: AttachMode) -> Result<(), XdpError> {
        let attached = Link::create(self.file()?, &self.interface, mode);
        self.link = Some(attached.map_err(|reason| XdpError::Attach {
            interface: self.interface.name.clone(),
            mode: mode.name(),
            hint: attach_hint(&reason),
            reason: reason.to_string(),
        })?);
        Ok(())
    }

    /// Takes the place of the program that `link` holds.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn succeed(&mut self, link: Link) -> Result<(), XdpError> {
        let taken = link.update(self.file()?);
        taken.map_err(|reason| XdpError::Handover { interface: self.interface.name.clone(), reason })?;
        self.link = Some(link);
        Ok(())
    }

    /// Takes its place again, if another program has taken it.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn return_to_link(&self) -> Result<(), XdpError> {
        let Some(link) = &self.link else { return Ok(()) };
        let taken = link.update(self.file()?);
        taken.map_err(|reason| XdpError::Handover { interface: self.interface.name.clone(), reason })
    }

    /// What holds it on the interface.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Takes the program off: the kernel has its ports back.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// What the program has counted, over all CPUs.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn counts(&self) -> Result<Counts, XdpError> {
        let mut sum = [0; SteeringReason::ALL.len()];
        for (place, total) in (0..).zip(&mut sum) {
            *total = self.counts.get(&place, 0).map_err(map_error(abi::COUNTS))?.iter().sum();
        }
        Ok(sum)
    }

    /// The loaded program, to run it on frames of one's own.
    ///
    /// # Errors
    /// Never, for an object of ours.
    pub fn xdp(&mut self) -> Result<&mut Xdp, XdpError> {
        xdp(&mut self.ebpf, abi::PROGRAM)
    }

    fn file(&self) -> Result<BorrowedFd<'_>, XdpError> {
        let program = self.ebpf.program(abi::PROGRAM).map(<&Xdp>::try_from);
        let program = program.ok_or_else(|| missing(abi::PROGRAM))?.and_then(|xdp| xdp.fd());
        Ok(program.map_err(|error| XdpError::Load { reason: chain(&error) })?.as_fd())
    }

    fn map(&mut self, name: &'static str) -> Result<&mut Map, XdpError> {
        self.ebpf.map_mut(name).ok_or_else(|| missing_map(name))
    }
}

pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, XdpError> {
    ebpf.take_map(name).ok_or_else(|| missing_map(name))
}

fn missing_map(map: &'static str) -> XdpError {
    XdpError::Map { map, reason: "not in the object".to_owned() }
}

pub(super) fn map_error<E: Error>(map: &'static str) -> impl Fn(E) -> XdpError {
    move |error| XdpError::Map { map, reason: chain(&error) }
}

/// What usually stands behind the kernel's errno for an attachment.
fn attach_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc_errno::EBUSY) => "; another XDP program is attached (`ip link show` names it)",
        Some(libc_errno::EOPNOTSUPP) => "; the driver has no XDP of this mode: try --xdp-mode generic",
        Some(libc_errno::EINVAL | libc_errno::ERANGE | libc_errno::E2BIG) => {
            "; usual causes: an MTU too large for the driver's XDP, LRO on, or too few queues: `stateless-tcp doctor`"
        }
        Some(libc_errno::ENOSPC) => {
            "; the other end of this veth pair has more queues to send than this end has to receive: \
             `ethtool -L` makes them equal"
        }
        Some(libc_errno::EPERM | libc_errno::EACCES) => "; run as root or with CAP_NET_ADMIN and CAP_BPF",
        _ => "",
    }
}

mod libc_errno {
    //! Numbers of the errors that get a hint.
    use nix::errno::Errno;
    pub(super) const EBUSY: i32 = Errno::EBUSY as i32;
    pub(super) const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
    pub(super) const EINVAL: i32 = Errno::EINVAL as i32;
    pub(super) const ERANGE: i32 = Errno::ERANGE as i32;
    pub(super) const E2BIG: i32 = Errno::E2BIG as i32;
    pub(super) const ENOSPC: i32 = Errno::ENOSPC as i32;
    pub(super) const EPERM: i32 = Errno::EPERM as i32;
    pub(super) const EACCES: i32 = Errno::EACCES as i32;
}

/// An error and all that caused it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
