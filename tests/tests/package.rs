//! The Debian package in the hands of an operator: installed, configured, started, reloaded, killed, upgraded, stopped and
//! purged on a clean Debian 12, by the commands of docs/deploy.md.

use stateless_tcp_tests::{
    container::{Container, given},
    netns::{Netns, text},
    topology::{INTERFACE, SERVER_V4, Topology},
};

const UNIT: &str = "stateless-tcp.service";
/// The most that `systemd-analyze security` may say, in tenths.
const EXPOSURE: u32 = 30;

/// The answer to a client that waits so many seconds; none if there is none.
fn ask(client: &Netns, seconds: u32) -> Option<String> {
    let dig = format!("dig @{SERVER_V4} +tcp +short +tries=1 +time={seconds} example.org A");
    let answer = client.attempt(&dig);
    answer.status.success().then(|| text(&answer.stdout).trim().to_owned())
}

/// The system, with an operator at it.
struct Host {
    topology: Topology,
    system: Container,
}

impl Host {
    /// A property of the unit.
    fn show(&self, property: &str) -> String {
        self.system.run(&format!("systemctl show --value --property {property} {UNIT}")).trim().to_owned()
    }

    /// A field of the status of the unit's process.
    fn field(&self, name: &str) -> String {
        let status = self.system.run(&format!("cat /proc/{}/status", self.show("MainPID")));
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).to_owned()
    }

    fn write_zone(&self, address: &str) {
        let zone = format!(
            "example.org. 60 IN SOA ns.example.org. a. 1 2 3 4 5\nexample.org. 60 IN NS ns.example.org.\nexample.org. 60 IN A {address}"
        );
        self.system.run(&format!("cat > /etc/stateless-tcp/example.org.zone <<'END'\n{zone}\nEND"));
    }

    fn answer(&self) -> Option<String> {
        ask(&self.topology.client, 60)
    }

    /// Waits until systemd has started it so many times after a failure.
    fn restarted(&mut self, times: u32) {
        let said = |system: &Container, what: &str| {
            system.run(&format!("systemctl show --value --property {what} {UNIT}")).trim().to_owned()
        };
        self.system.within("restart", |system| {
            let answers = said(system, "ActiveState") == "active";
            (answers && said(system, "NRestarts") == times.to_string()).then_some(())
        });
    }

    fn is_attached(&self) -> bool {
        self.topology.server.run(&format!("ip link show {INTERFACE}")).contains("xdp")
    }
}

#[test]
#[ignore = "takes a package and a Debian: cargo xtask test --only package"]
fn a_service_from_its_installation_to_its_end() {
    let topology = Topology::new(1);
    let system =
        Container::boot(&topology.server, &given("STATELESS_TCP_ROOT"), &given("STATELESS_TCP_PACKAGE"));
    let mut host = Host { topology, system };
    installed(&host);
    started(&host);
    reloaded(&host);
    ended_and_started_again(&mut host);
    upgraded(&host);
    removed(&host);
}

/// Nothing runs, and what there is to do is said; the unit is what it should be.
fn installed(host: &Host) {
    let before = host.system.run("find / -xdev -name '*stateless*' -not -path '/proc/*'");
    assert_eq!(before, "");
    let said = host.system.run("dpkg --install /package.deb 2>&1");
    assert!(said.contains("name an interface in /etc/stateless-tcp/stateless-tcp.toml"), "{said}");
    assert_eq!(host.system.refuse(&format!("systemctl is-enabled {UNIT}")), "disabled\n");
    assert_eq!(host.show("ActiveState"), "inactive");
    assert_eq!(host.system.run(&format!("systemd-analyze verify --man=no {UNIT} 2>&1")), "");
    host.system.run(&format!("systemd-analyze security --offline=true --threshold={EXPOSURE} {UNIT}"));
    // Not tried again: it would fail again.
    let refused = host.system.refuse("systemctl start stateless-tcp; systemctl status stateless-tcp");
    assert!(refused.contains("no interface to serve on"), "{refused}");
    assert_eq!((host.show("ExecMainStatus"), host.show("NRestarts")), ("2".to_owned(), "0".to_owned()));
}

/// It answers, as a user without a privilege.
fn started(host: &Host) {
    host.write_zone("192.0.2.7");
    let configuration = "/etc/stateless-tcp/stateless-tcp.toml";
    host.system.run(&format!(
        "sed -i -e 's|^#interface = .*|interface = [\"{INTERFACE}\"]|' -e 's|^#zone = |zone = |' {configuration}"
    ));
    let doctor = host.system.run(&format!("stateless-tcp doctor -i {INTERFACE}"));
    assert!(doctor.contains("native XDP"), "{doctor}");
    host.system.run("systemctl enable --now stateless-tcp 2>&1");
    assert_eq!(host.answer().as_deref(), Some("192.0.2.7"));
    assert!(host.is_attached());
    let user = host.system.run("id --user stateless-tcp");
    assert_eq!(host.field("Uid"), [user.trim(); 4].join("\t"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(host.field(set), "0000000000000000", "{set}");
    }
    let status = host.show("StatusText");
    assert!(status.contains(INTERFACE), "{status}");
    let files = host.system.run("stat --format '%a %U %n' /run/stateless-tcp /var/lib/stateless-tcp/*");
    assert_eq!(files, "700 stateless-tcp /run/stateless-tcp\n600 stateless-tcp /var/lib/stateless-tcp/key\n");
}

/// A reload says how it went, and changes what is served only if it went well.
fn reloaded(host: &Host) {
    host.system.run("echo nonsense > /etc/stateless-tcp/example.org.zone");
    host.system.refuse("systemctl reload stateless-tcp");
    assert_eq!(host.show("ActiveState"), "active");
    let status = host.show("StatusText");
    assert!(
        status.starts_with("not all zones could be loaded") && status.contains("example.org.zone"),
        "{status}"
    );
    assert_eq!(host.answer().as_deref(), Some("192.0.2.7"));
    host.write_zone("192.0.2.8");
    host.system.run("stateless-tcp rotate-key /var/lib/stateless-tcp/key");
    host.system.run("systemctl reload stateless-tcp");
    assert_eq!(host.answer().as_deref(), Some("192.0.2.8"));
    let status = host.show("StatusText");
    assert!(status.starts_with("reloaded: "), "{status}");
}

/// Killed, and stuck: either way it answers again.
fn ended_and_started_again(host: &mut Host) {
    host.system.run("systemctl kill --signal=KILL --kill-whom=main stateless-tcp");
    host.restarted(1);
    assert_eq!(host.answer().as_deref(), Some("192.0.2.8"));
    let drop_in = "/run/systemd/system/stateless-tcp.service.d/hang.conf";
    host.system.run(&format!("mkdir -p $(dirname {drop_in})"));
    let stuck = "ExecStart=/usr/bin/stateless-tcp run --config /etc/stateless-tcp/stateless-tcp.toml --test-hang-after-frames 0";
    host.system.run(&format!("printf '[Service]\\nWatchdogSec=4\\nExecStart=\\n{stuck}\\n' > {drop_in}"));
    host.system.run("systemctl daemon-reload; systemctl restart stateless-tcp");
    // No longer than it is stuck: the client's next SYN would be the end of the instance that follows, too.
    assert_eq!(ask(&host.topology.client, 2), None);
    host.restarted(1);
    let journal = host.system.run("journalctl --unit stateless-tcp --no-pager");
    assert!(
        journal.contains("Watchdog timeout") && journal.contains("stuck: the worker of eth0/0"),
        "{journal}"
    );
    host.system.run(&format!(
        "rm -r $(dirname {drop_in}); systemctl daemon-reload; systemctl restart stateless-tcp"
    ));
    assert_eq!(host.answer().as_deref(), Some("192.0.2.8"));
}

/// The configuration stays, the program is another, which has taken over from one that took over from the former.
fn upgraded(host: &Host) {
    let before = host.show("MainPID");
    host.system.run("dpkg --install /package.deb 2>&1");
    assert_ne!(host.show("MainPID"), before);
    let journal = host.system.run("journalctl --unit stateless-tcp --unit stateless-tcp-handover --no-pager");
    assert_eq!(journal.matches("taking over from process").count(), 2, "{journal}");
    assert_eq!(host.system.refuse("systemctl is-active stateless-tcp-handover"), "inactive\n");
    assert_eq!(host.system.run(&format!("systemctl is-enabled {UNIT}")), "enabled\n");
    assert_eq!(host.answer().as_deref(), Some("192.0.2.8"));
}

/// Stopped, the kernel has the ports; purged, there is nothing left but the operator's own file and the user.
fn removed(host: &Host) {
    host.system.run("systemctl stop stateless-tcp");
    assert_eq!((host.show("Result"), host.show("ExecMainStatus")), ("success".to_owned(), "0".to_owned()));
    assert!(!host.is_attached());
    host.system.run("systemctl start stateless-tcp");
    host.system.run("dpkg --remove stateless-tcp 2>&1");
    assert!(!host.is_attached());
    host.system.run("test -e /var/lib/stateless-tcp/key && test -e /etc/stateless-tcp/stateless-tcp.toml");
    host.system.run("dpkg --purge stateless-tcp 2>&1");
    let left = host.system.run("find / -xdev -name '*stateless*' -not -path '/proc/*'");
    assert_eq!(left, "/etc/stateless-tcp\n");
    assert_eq!(host.system.run("ls /etc/stateless-tcp"), "example.org.zone\n");
    let failed = host.system.run("systemctl list-units --all --plain --no-legend 'stateless*'");
    assert_eq!(failed, "");
}
