//! The supported drivers and kernels: the one table, which docs/operations.md repeats.

use std::fmt;

use nix::sys::utsname::uname;

use crate::netns::Netns;
use crate::topology::INTERFACE;

/// The expectations of a driver in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name, as `ethtool -i` has it.
    pub driver: &'static str,
    /// The kernel that it was tried on, or an earlier one: counts up to the next of the table.
    pub kernel: (u32, u32),
    /// XDP in the driver.
    pub native: bool,
    /// The handshake can be answered there.
    pub driver_answers: bool,
    /// The card reads and writes our memory.
    pub zero_copy: bool,
    /// Receive queues.
    pub queues: usize,
}

/// By driver, kernels ascending.
pub const EXPECTED: [Expected; 9] = [
    Expected { native: true, queues: 2, ..row("igb", (6, 1)) },
    Expected { native: true, driver_answers: true, queues: 2, ..row("igb", (6, 12)) },
    Expected { native: true, driver_answers: true, zero_copy: true, queues: 2, ..row("igb", (7, 2)) },
    Expected { native: true, queues: 2, ..row("virtio_net", (6, 1)) },
    Expected { native: true, driver_answers: true, queues: 2, ..row("virtio_net", (6, 12)) },
    Expected { native: true, zero_copy: true, queues: 2, ..row("virtio_net", (7, 2)) },
    row("e1000e", (6, 1)),
    row("e1000e", (6, 12)),
    row("e1000e", (7, 2)),
];

/// A card that has nothing.
const fn row(driver: &'static str, kernel: (u32, u32)) -> Expected {
    Expected { driver, kernel, native: false, driver_answers: false, zero_copy: false, queues: 1 }
}

/// A row of the table in docs/operations.md.
impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, kernel: (major, minor), native, zero_copy, queues, .. } = self;
        let mode = if *native { "native" } else { "generic" };
        let frames = if *zero_copy { "zero-copy" } else { "copied" };
        let by = if self.auto_is_driver() { "driver" } else { "ring" };
        write!(formatter, "| `{driver}` | {major}.{minor} | {mode} | {frames} | {by} | {queues} |")
    }
}

impl Expected {
    /// `--handshake auto` takes the driver where it can answer, and costs less than the ring.
    pub(super) const fn auto_is_driver(&self) -> bool {
        self.driver_answers && !self.zero_copy
    }

    /// The expectations of the server's card here.
    pub(super) fn of(server: &Netns) -> Self {
        let about = server.run(&format!("ethtool -i {INTERFACE}"));
        let driver = about.lines().find_map(|line| line.strip_prefix("driver: ")).expect("a driver");
        let rows = EXPECTED.iter().rev().filter(|row| row.driver == driver);
        *rows
            .into_iter()
            .find(|row| row.kernel <= kernel_version())
            .unwrap_or_else(|| panic!("nothing is expected of {driver}"))
    }
}

/// Major and minor number of the running kernel.
pub(super) fn kernel_version() -> (u32, u32) {
    let name = uname().expect("the kernel's name");
    let mut numbers = name.release().to_str().expect("UTF-8").split(['.', '-', '+']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        panic!("a kernel of no version: {name:?}")
    };
    (major, minor)
}
