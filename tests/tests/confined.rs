//! After the start the process holds nothing that it does not need, and whoever takes it over gets no further.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::{
    client::{Barrier, port},
    responder::Responder,
    topology::{INTERFACE, SERVER_V4, Topology},
};

/// nobody, on Debian.
const NOBODY: u32 = 65_534;

fn dig(topology: &Topology) {
    let answer =
        topology.client.run(&format!("dig @{SERVER_V4} +tcp +short +tries=1 +time=60 example.com A"));
    assert_eq!(answer, "192.0.2.1\n");
}

/// A field of a status file of /proc.
fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect()
}

/// Every thread has given up everything, and no file is open but sockets, pipes, what the kernel makes of BPF, and those
/// that it was started with.
fn assert_confined(responder: &Responder, user: u32) {
    let process = Path::new("/proc").join(responder.pid().to_string());
    for thread in fs::read_dir(process.join("task")).expect("its threads") {
        let status = fs::read_to_string(thread.expect("a thread").path().join("status")).expect("its status");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&status, set), ["0000000000000000"], "{set}: {status}");
        }
        assert_eq!(field(&status, "Uid"), vec![user.to_string(); 4], "{status}");
        assert_eq!(
            (field(&status, "NoNewPrivs"), field(&status, "Seccomp")),
            (vec!["1"], vec!["2"]),
            "{status}"
        );
    }
    let needed = ["socket:", "pipe:", "anon_inode:bpf", "anon_inode:[event", "anon_inode:btf", "/dev/null"];
    let open: BTreeSet<String> = fs::read_dir(process.join("fd"))
        .expect("its files")
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .filter(|target| !needed.iter().any(|kind| target.starts_with(kind)))
        .collect();
    assert!(open.is_empty(), "{open:?}");
}

/// Content, key and configuration are read again by a process that has become another user.
#[test]
fn nothing_is_held_that_is_not_needed() {
    let topology = Topology::new(2);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("page.html"), "a page").expect("write a page");
    let text = format!(
        "user = \"nobody\"\nhttp-root = \"{}\"\nkey-file = \"{}\"\n",
        directory.path().display(),
        path("key").display()
    );
    fs::write(path("configuration"), &text).expect("write the configuration");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("open it");
    let configuration = path("configuration");
    let arguments = ["--test-keep-seconds", "0", "--config", configuration.to_str().expect("a name")];
    let responder = Responder::start(&topology, &arguments);
    assert_confined(&responder, NOBODY);
    dig(&topology);
    chown(path("key"), Some(NOBODY), None).expect("give away the key");
    fs::write(path("another.html"), "another").expect("write a page");
    // By renaming, as editors do.
    fs::write(path("new"), text + "deny = [\"203.0.113.0/24\"]\n").expect("write the configuration");
    fs::rename(path("new"), &configuration).expect("replace it");
    responder.signal(Signal::SIGHUP);
    responder.log_until(|lines| lines.iter().any(|line| line.contains("reloaded")));
    let page = topology
        .client
        .run(&format!("curl --silent --max-time 60 --noproxy * http://{SERVER_V4}/another.html"));
    assert_eq!(page, "another");
    assert_confined(&responder, NOBODY);
    responder.stop();
}

/// The powers of a worker that somebody has taken over: none, but everything where it is not confined.
#[rstest]
#[case::confined(&[], ["Os { code: 13", "Os { code: 1,"])]
#[case::unconfined(&["--unconfined"], ["Ok(", "Ok(ExitStatus"])]
fn nobody_escapes(#[case] how: &[&str], #[case] expected: [&str; 2]) {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    fs::write(&secret, "a secret").expect("write a secret");
    let escape = ["--test-escape", secret.to_str().expect("a name")];
    let responder = Responder::start(&topology, &[&escape[..], how].concat());
    dig(&topology);
    let log = responder.log_until(|lines| lines.iter().any(|line| line.contains("escape: ")));
    let tried = log.iter().find(|line| line.contains("escape: ")).expect("the attempt");
    let (read, started) = tried.split_once(", a process ").expect("two attempts");
    assert!(read.contains(expected[0]) && started.contains(expected[1]), "{tried}");
    responder.stop();
}

/// A worker that panics ends the process, confined or not, and the kernel has its ports back.
#[test]
fn a_panic_ends_it() {
    let topology = Topology::new(1);
    let mut responder = Responder::start(&topology, &["--test-panic-after-frames", "0"]);
    Barrier::default().send(&port(&topology));
    let ended = responder.wait();
    assert!(ended.log.contains("asked for by --test-panic-after-frames"), "{}", ended.log);
    let link = topology.server.run(&format!("ip link show {INTERFACE}"));
    assert!(!link.contains("xdp"), "{link}");
}

#[test]
fn capabilities_do_for_root() {
    let topology = Topology::new(1);
    let powers = "+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock";
    let wrapper = [
        "setpriv",
        "--reuid",
        "nobody",
        "--regid",
        "nogroup",
        "--clear-groups",
        "--inh-caps",
        powers,
        "--ambient-caps",
        powers,
        "--bounding-set",
        powers,
    ];
    let run = ["run", "-i", INTERFACE];
    let responder = match Responder::spawn(&topology.server, 1, &wrapper, &run) {
        Ok(responder) => responder,
        Err(ended) => panic!("it ended with {}:\n{}", ended.status, ended.log),
    };
    assert_confined(&responder, NOBODY);
    dig(&topology);
    responder.stop();
}
