//! A machine of one's own, as far as commands of an operator's can tell: a network namespace with processes, configuration
//! and run-time files that nobody else sees, and that are gone with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::netns::Netns;

/// Directory of a machine's own programs, in which its commands are run.
pub const PROGRAMS: &str = "/run/bin";
/// See [`PROGRAMS`].
pub const WORK: &str = "/run/work";

/// Its first process: it covers what an operator writes to, says its own number, and waits. That number is read before there
/// is a `/proc` of its own.
const INIT: &str = "
read -r pid _ < /proc/self/stat
mount -t proc proc /proc
mount -t tmpfs tmpfs /srv
mount -t tmpfs tmpfs /run
cp -a /etc /run/etc
mount --bind /run/etc /etc
mkdir /run/bin /run/work
ln -s \"$1\" /run/bin/stateless-tcp
echo \"$pid\"
exec sleep infinity
";

/// See the module.
#[derive(Debug)]
pub struct Machine {
    unshare: Child,
    init: String,
}

impl Machine {
    /// Starts one with the network of `namespace`, where `stateless-tcp` is `binary`.
    pub fn start(namespace: &Netns, binary: &Path) -> Self {
        let mut unshare = namespace
            .command("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-euc", INIT, "init"])
            .arg(binary)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start unshare");
        let mut init = String::new();
        let said = unshare.stdout.take().expect("its standard output");
        BufReader::new(said).read_line(&mut init).expect("hear it");
        assert!(!init.is_empty(), "the machine did not start");
        Self { unshare, init: init.trim().to_owned() }
    }

    /// A shell that runs `script` there; a command that fails ends it. It is killed with the thread that starts it.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--mount", "--pid", "--net", "--"]);
        command.args(["setpriv", "--pdeathsig", "KILL", "--", "bash", "-euo", "pipefail", "-c"]);
        command.arg(format!("PATH={PROGRAMS}:$PATH; cd {WORK}\n{script}")).stdin(Stdio::null());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The machine's first process goes with it, and with that all others.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
