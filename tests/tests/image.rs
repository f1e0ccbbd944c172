//! The image of docs/deploy/container, run by Podman with the capabilities that docs/deploy.md names and no more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use stateless_tcp_tests::{
    container::given,
    netns::{execute, text},
    topology::{INTERFACE, SERVER_V4, Topology},
};

/// What docs/deploy.md says.
const DEPLOY: &str = include_str!("../../docs/deploy.md");

/// Pause and time limit, while a test looks for something that is due at once.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(1);

/// What this machine may not give a container, without which it need not ask: limits above its own.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// Podman, with all that it keeps in a directory of the test's.
struct Podman {
    directory: tempfile::TempDir,
}

impl Podman {
    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.directory.path().join(name));
        }
        command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        text(&execute(self.command().args(arguments)).stdout)
    }

    /// Waits until the responder of this container says that it answers.
    fn wait_until_ready(&self, name: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = execute(self.command().args(["logs", name]));
            if text(&log.stdout).starts_with("ready: ") {
                return;
            }
            let running = self.run(&["inspect", "--format", "{{.State.Running}}", name]);
            let runs = running.trim() == "true" && Instant::now() < end;
            assert!(runs, "it does not answer: {}", text(&log.stderr));
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Its containers, and the mounts below the directory.
        let _ = self.command().args(["rm", "--all", "--force", "--time", "0"]).output();
        let _ = self.command().args(["rmi", "--all", "--force"]).output();
    }
}

/// The words of the command of docs/deploy.md that begins so.
fn documented(beginning: &str) -> Vec<String> {
    let (_, rest) =
        DEPLOY.split_once(beginning).unwrap_or_else(|| panic!("docs/deploy.md has no {beginning}"));
    let command = rest.replace("\\\n", " ");
    command.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
#[ignore = "takes a package and a Debian: cargo xtask test --only package"]
fn it_answers_without_privileged_mode() {
    let topology = Topology::new(1);
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let podman = Podman { directory: tempfile::tempdir().expect("a directory") };
    build(&podman, directory.path());

    fs::create_dir(at("etc")).expect("make a directory");
    let configuration = format!("interface = [\"{INTERFACE}\"]\nkey-file = \"/var/lib/stateless-tcp/key\"\n");
    fs::write(at("etc/stateless-tcp.toml"), configuration).expect("write the configuration");
    let profile = DEPLOY.split_once("jq '").and_then(|(_, rest)| rest.split_once('\'')).expect("a program").0;
    let profile = execute(Command::new("jq").args([profile, "/usr/share/containers/seccomp.json"])).stdout;
    fs::write(at("seccomp.json"), profile).expect("write the profile");

    let volume = format!("{}:/etc/stateless-tcp:ro", at("etc"));
    let words = documented("podman run ").into_iter().map(|word| match word.as_str() {
        "seccomp=seccomp.json" => format!("seccomp={}", at("seccomp.json")),
        "/etc/stateless-tcp:/etc/stateless-tcp:ro" => volume.clone(),
        "host" => format!("ns:/run/netns/{}", topology.server.name()),
        _ => word,
    });
    execute(podman.command().arg("run").args(LIMITS).args(words));
    podman.wait_until_ready("stateless-tcp");
    let dig = format!("dig @{SERVER_V4} +tcp +short +tries=1 +time=60 example.com A");
    assert_eq!(topology.client.run(&dig), "192.0.2.1\n");
    let reloaded = podman.run(&["exec", "stateless-tcp", "stateless-tcp", "reload"]);
    assert!(reloaded.starts_with("reloaded: "), "{reloaded}");
    let pid = podman.run(&["inspect", "--format", "{{.State.Pid}}", "stateless-tcp"]);
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("its status");
    assert!(status.contains("CapPrm:\t0000000000000000") && status.contains("Seccomp:\t2"), "{status}");
    podman.run(&["stop", "stateless-tcp"]);
    let link = topology.server.run(&format!("ip link show {INTERFACE}"));
    assert!(!link.contains("xdp"), "{link}");
}

/// Builds the image as docs/deploy.md does, on a Debian that no registry had to give.
fn build(podman: &Podman, scratch: &Path) {
    let archive = scratch.join("debian.tar");
    execute(
        Command::new("tar")
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(given("STATELESS_TCP_ROOT"))
            .arg("."),
    );
    podman.run(&["import", "--quiet", &archive.display().to_string(), "debian:bookworm-slim"]);
    fs::remove_file(&archive).expect("remove the archive");
    let context = scratch.join("context");
    fs::create_dir(&context).expect("make a directory");
    fs::copy(given("STATELESS_TCP_PACKAGE"), context.join("stateless-tcp.deb")).expect("copy the package");
    let words = documented("podman build ").into_iter().map(|word| match word.as_str() {
        "target/debian" => context.display().to_string(),
        _ => word,
    });
    // The network of this machine reaches its mirror.
    let here = ["--pull=never", "--network", "host"];
    execute(podman.command().arg("build").args(here).args(LIMITS).args(words).current_dir(workspace()));
}
