//! What the kernel says of a network interface.

use super::XdpError;
use nix::net::if_::if_nametoindex;
use std::path::Path;
use std::{fs, io};
use xsk_rs::config::XdpFlags;

/// A network interface of this namespace.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
}

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the network stack, after the driver made a socket buffer.
    Generic,
    /// On the card.
    Hardware,
}

impl AttachMode {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Hardware => "hardware",
        }
    }

    /// As the kernel wants to be told.
    pub(super) const fn flags(self) -> XdpFlags {
        match self {
            Self::Native => XdpFlags::XDP_FLAGS_DRV_MODE,
            Self::Generic => XdpFlags::XDP_FLAGS_SKB_MODE,
            Self::Hardware => XdpFlags::XDP_FLAGS_HW_MODE,
        }
    }
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug)]
pub struct Attached {
    /// Its id.
    pub id: u32,
    /// How it is attached.
    pub mode: AttachMode,
}

impl Interface {
    /// Looks up `name`.
    ///
    /// # Errors
    /// [`XdpError::NoInterface`].
    pub fn find(name: &str) -> Result<Self, XdpError> {
        match if_nametoindex(name) {
            Ok(index) => Ok(Self { name: name.to_owned(), index }),
            Err(_) => Err(XdpError::NoInterface(name.to_owned())),
        }
    }

    /// RX queues that frames may arrive on: those that have a directory in sysfs.
    ///
    /// # Errors
    /// If sysfs is not there or belongs to another network namespace.
    pub fn queues(&self) -> io::Result<Vec<u32>> {
        let directory = Path::new("/sys/class/net").join(&self.name).join("queues");
        let mut queues: Vec<u32> = fs::read_dir(&directory)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display())))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("rx-")?.parse().ok())
            .collect();
        queues.sort_unstable();
        Ok(queues)
    }

    /// Its hardware address, where it has one as Ethernet does.
    ///
    /// # Errors
    /// If sysfs is not there or belongs to another network namespace, or says something else.
    pub fn hardware_address(&self) -> io::Result<[u8; 6]> {
        let text = self.said("address")?;
        let octets: Option<Vec<u8>> =
            text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        octets.ok_or_else(|| io::Error::other(format!("{text:?} is no address of Ethernet")))
    }

    /// Whether something is connected. Of an interface that is down nothing can be told.
    ///
    /// # Errors
    /// As [`Interface::hardware_address`].
    pub fn has_carrier(&self) -> io::Result<bool> {
        Ok(self.said("carrier")? == "1")
    }

    fn said(&self, of: &str) -> io::Result<String> {
        let path = Path::new("/sys/class/net").join(&self.name).join(of);
        Ok(fs::read_to_string(path)?.trim().to_owned())
    }

    /// The XDP program that is attached now.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn attached(&self) -> io::Result<Option<Attached>> {
        // SAFETY: all fields are numbers, and libbpf wants the padding behind them zero as well.
        let mut options: libxdp_sys::bpf_xdp_query_opts = unsafe { std::mem::zeroed() };
        options.sz = size_of_val(&options);
        // SAFETY: `options` lives through the call and states its own size, which bounds what is written to it.
        let status = unsafe { libxdp_sys::bpf_xdp_query(self.index.cast_signed(), 0, &raw mut options) };
        if status < 0 {
            return Err(io::Error::from_raw_os_error(-status));
        }
        let by_mode = [
            (options.drv_prog_id, AttachMode::Native),
            (options.skb_prog_id, AttachMode::Generic),
            (options.hw_prog_id, AttachMode::Hardware),
        ];
        Ok(by_mode.into_iter().find(|&(id, _)| id != 0).map(|(id, mode)| Attached { id, mode }))
    }

    /// Takes `attached` off the interface. Not possible for a program that is held by another process's BPF link.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn detach(&self, attached: Attached) -> io::Result<()> {
        let flags = attached.mode.flags();
        // SAFETY: plain numbers go in; a null pointer stands for no options.
        let status =
            unsafe { libxdp_sys::bpf_xdp_detach(self.index.cast_signed(), flags.bits(), std::ptr::null()) };
        if status < 0 { Err(io::Error::from_raw_os_error(-status)) } else { Ok(()) }
    }
}
