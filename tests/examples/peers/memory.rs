//! The memory of open connections: that of the server's processes, and of the kernel on their behalf.

use std::fs;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use stateless_tcp_tests::client::query;
use stateless_tcp_tests::connection_opener::ConnectionOpener;
use stateless_tcp_tests::cores::family;
use stateless_tcp_tests::raw::Port;
use stateless_tcp_tests::veth_xdp_peer::VethXdpPeer;

use crate::Entrant;
use crate::results::Memory;
use crate::testbed::{Content, SERVER, Testbed, names};

/// Of the open connections, those that are asked on.
const SAMPLE: usize = 1_000;
/// Files that a server has open besides connections, at most.
const OTHER_FILES: u64 = 200;
/// As many files as a connection each would take.
const FILES: u64 = 1_048_576;
/// Kinds of kernel memory in /proc/meminfo: sockets and their files are in slabs, tables of files in vmalloc's.
const KERNEL: [&str; 4] = ["Slab:", "VmallocUsed:", "PageTables:", "Percpu:"];
const A: u16 = 1;

/// Lets servers have as many files open as can be allowed. Returns how many that is.
pub(crate) fn raise_limit() -> anyhow::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Above the hard limit only who has CAP_SYS_RESOURCE gets.
    if hard >= FILES || setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Measures one server with none and with so many connections open, as far as `files` let it.
pub(crate) fn measure(
    entrant: &Entrant,
    content: &Content,
    wanted: &[usize],
    files: u64,
) -> anyhow::Result<Vec<Memory>> {
    let before = kernel()?;
    let testbed = Testbed::new(content, entrant)?;
    let _xdp_peer = VethXdpPeer::attach(&testbed.client, &testbed.at_client);
    let port = Port::open(&testbed.client, &testbed.at_client);
    let mut opener = ConnectionOpener::new(&port, SERVER);
    let question = query(1, &names().next().unwrap_or_default(), A);
    let most =
        if entrant.contender.opens_files() { usize::try_from(files - OTHER_FILES)? } else { usize::MAX };
    let mut measured: Vec<Memory> = Vec::new();
    for &wanted in [0].iter().chain(wanted) {
        let connections = opener.open(wanted.min(most));
        let (process, kernel) = (processes(testbed.pid())?, kernel()? - before);
        let alive = if connections == 0 { 0 } else { opener.ask(&question, SAMPLE) };
        let server = entrant.name.clone();
        measured.push(Memory { server, wanted, connections, alive, process, kernel });
        if connections < wanted {
            break;
        }
    }
    Ok(measured)
}

/// Bytes of a process and its descendants, what they share divided among them.
fn processes(process: Pid) -> anyhow::Result<u64> {
    let mut sum = 0;
    for process in family(process)? {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        sum += kibibytes(&text, "Pss:").context("smaps_rollup without Pss")? * 1024;
    }
    Ok(sum)
}

/// Bytes that the kernel has for itself.
fn kernel() -> anyhow::Result<i64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let all: Option<u64> = KERNEL.iter().map(|kind| kibibytes(&text, kind)).sum();
    Ok(i64::try_from(all.context("/proc/meminfo lacks a kind of memory")?)? * 1024)
}

fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}
