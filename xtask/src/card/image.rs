//! What the guest finds: this program as its first process, `ip`, the servers with their libraries, configurations, the zone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use super::case::{Frames, Server, Setup};
use super::network::INTERFACE;
use super::profile::Symbols;
use super::zone;
use crate::peers;
use crate::process::read;
use crate::setup::find_program;
use crate::vm::directory;
use crate::vm::initramfs::Initramfs;
use crate::vm::packages::Unpacked;

const OURS: &str = "bin/stateless-tcp";
/// Programs of Debian's newest release run by the loader and libraries of that release, which lie here.
const PEERS: &str = "peers/bin";
const PEER_LIBRARIES: &str = "peers/lib";
const LOADER: &str = "ld-linux-x86-64.so.2";
const ZONE: &str = "etc/example.com.zone";
const CONFIGURATIONS: [(&str, &str); 4] = [
    ("etc/knot.conf", include_str!("../../card/knot.conf")),
    ("etc/nsd.conf", include_str!("../../card/nsd.conf")),
    // Both look up the user that they are to run as.
    ("etc/passwd", "root:x:0:0::/:/bin/false\n"),
    ("etc/group", "root:x:0:\n"),
];

/// The initramfs of the guests.
pub(super) struct Image {
    file: NamedTempFile,
    responder: PathBuf,
    /// Where the other servers are unpacked; none if none is wanted.
    peers: Option<PathBuf>,
}

impl Image {
    /// Writes the initramfs with `responder` and what else `servers` need.
    pub(super) fn write(responder: PathBuf, servers: &[Server], kernel: &Unpacked) -> Result<Self> {
        let file = NamedTempFile::new_in(directory()?).context("creating the initramfs")?;
        // By the process, not by its path: a build of the workspace may have replaced the file since this process began.
        let guest = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        let mut archive = Initramfs::create(file.path(), &guest, &kernel.modules)?;
        for directory in ["sys/fs/bpf", "var"] {
            archive.directory(Path::new(directory))?;
        }
        let ip = find_program("ip").context("there is no program ip here")?;
        archive.program("bin/ip", &ip)?;
        archive.program(OURS, &responder)?;
        archive.content(Path::new(ZONE), zone::file().as_bytes())?;
        for (name, text) in CONFIGURATIONS {
            archive.content(Path::new(name), text.as_bytes())?;
        }
        let mut peers = None;
        for (server, program) in [(Server::Knot, "knotd"), (Server::Nsd, "nsd")] {
            if servers.contains(&server) {
                let root = peers::root()?;
                peer(&mut archive, &root, program)?;
                peers = Some(root);
            }
        }
        archive.finish()?;
        Ok(Self { file, responder, peers })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// What the guest has sent about its addresses, with the host's files to look names up in.
    pub(super) fn symbols(&self, text: &str) -> Result<Symbols<'_>> {
        Symbols::parse(text, |path| self.source(path))
    }

    /// The host's file for a path of the guest.
    fn source(&self, guest: &str) -> PathBuf {
        let inside = guest.trim_start_matches('/');
        let peer = |directory: &str, place: &str| {
            let name = inside.strip_prefix(directory)?.strip_prefix('/')?;
            Some(self.peers.as_ref()?.join(place).join(name))
        };
        if inside == OURS {
            return self.responder.clone();
        }
        peer(PEERS, "usr/sbin")
            .or_else(|| peer(PEER_LIBRARIES, peers::LIBRARIES))
            .unwrap_or_else(|| guest.into())
    }
}

/// Adds a program of the peers with its libraries.
fn peer(archive: &mut Initramfs, root: &Path, name: &str) -> Result<()> {
    let program = root.join("usr/sbin").join(name);
    let libraries = root.join(peers::LIBRARIES);
    let loader = libraries.join(LOADER);
    archive.file(&Path::new(PEERS).join(name), &program)?;
    archive.file(&Path::new(PEER_LIBRARIES).join(LOADER), &loader)?;
    let list = read(Command::new(&loader).arg("--library-path").arg(&libraries).arg("--list").arg(&program))?;
    for library in list.split_whitespace().map(Path::new).filter(|path| path.starts_with(&libraries)) {
        let name = library.file_name().with_context(|| format!("{} has no name", library.display()))?;
        archive.file(&Path::new(PEER_LIBRARIES).join(name), library)?;
    }
    Ok(())
}

/// The server's command line in the guest.
pub(super) fn command(setup: Setup) -> String {
    let ours = |handshake| {
        let zero_copy = if setup.frames == Frames::ZeroCopy { "always" } else { "never" };
        format!("/{OURS} run -i {INTERFACE} --zone /{ZONE} --handshake {handshake} --zero-copy {zero_copy}")
    };
    let peer = |name, options| {
        format!("/{PEER_LIBRARIES}/{LOADER} --library-path /{PEER_LIBRARIES} /{PEERS}/{name} {options}")
    };
    match setup.server {
        Server::Ring => ours("ring"),
        Server::Driver => ours("driver"),
        Server::Auto => ours("auto"),
        Server::Knot => peer("knotd", "-c /etc/knot.conf"),
        Server::Nsd => peer("nsd", "-d -c /etc/nsd.conf"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::case::Nic;

    #[test]
    fn this_program_is_told_how_it_gets_its_frames() {
        let of = |server, frames| command(Setup { server, nic: Nic::Igb, frames });
        assert!(of(Server::Ring, Frames::ZeroCopy).ends_with("--handshake ring --zero-copy always"));
        assert!(of(Server::Auto, Frames::Copied).ends_with("--handshake auto --zero-copy never"));
        assert!(of(Server::Knot, Frames::ZeroCopy).contains("/peers/bin/knotd -c /etc/knot.conf"));
    }
}
