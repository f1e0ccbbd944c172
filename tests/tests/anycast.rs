//! Many servers at one address, by BGP and ECMP, with real BIRD: what becomes of clients when a server is added, drained or
//! dies, and when the key is rotated.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use rstest::rstest;
use stateless_tcp_tests::fleet::{DNS, Fleet, FleetServer, Spread};
use stateless_tcp_tests::load::{self, Catalogue};
use stateless_tcp_tests::netns::{execute, text};
use stateless_tcp_tests::ongoing::{LONGEST, Ongoing};
use stateless_tcp_tests::responder::binary;

const CLIENTS: usize = 12;
/// Answers that each client has to get for what happened to have been felt.
const ENOUGH: usize = 20;

/// Changes the key file of server 0, and gives it to the others as an operator would.
fn distribute(fleet: &Fleet, step: &[&str], others: impl Iterator<Item = usize>) {
    let file = fleet.file(0, "key");
    execute(std::process::Command::new(binary()).arg("rotate-key").args(step).arg(&file));
    for other in others {
        // With its mode.
        let beside = fleet.file(other, "key.copy");
        fs::copy(&file, &beside).expect("copy the key");
        fs::rename(&beside, fleet.file(other, "key")).expect("put it in its place");
    }
}

fn reload(server: &FleetServer<'_>) {
    let said = server.ask("reload").expect("it reloads");
    assert!(!said.contains("lost"), "{said}");
}

#[rstest]
#[case::by_flow(Spread::Flow)]
#[case::by_packet(Spread::Packet)]
fn clients_hardly_notice(#[case] spread: Spread) {
    let fleet = Fleet::new(3, spread);
    let zone = zone_for(&fleet, 3);
    let (first, second) = start_two(&fleet, &zone);
    let catalogue = Catalogue::fetch(&fleet.client, DNS, LONGEST);
    let _servers = Ongoing::during(CLIENTS, &fleet.client, DNS, &catalogue, |ongoing| {
        ongoing.cost_of(ENOUGH).assert_planned("two servers");

        // Reloaded by itself, so that it is not as old as the one that comes.
        reload(&first);
        fs::copy(fleet.file(0, "key"), fleet.file(2, "key")).expect("copy the key");
        let third = fleet.start(2, &zone);
        ongoing.cost_of(ENOUGH).assert_planned("one added");

        let servers = [&first, &second, &third];
        for step in ["--accept", "--use"] {
            distribute(&fleet, &[step], 1..3);
            for server in servers {
                reload(server);
                ongoing.cost_of(ENOUGH / 4).assert_planned(&format!("rotate-key {step}, one more reloaded"));
            }
        }

        first.drain();
        let drained = ongoing.cost_of(ENOUGH);
        drained.assert_planned("one drained");
        // As many lose something where a server just ends.
        assert!(drained.resent < CLIENTS / 2, "{} had to send again", drained.resent);

        second.responder.signal(Signal::SIGKILL);
        let took = second.expect(false);
        println!("withdrawn {took:?} after SIGKILL: {}", second.said());
        ongoing.cost_of(1).assert_right("one killed");
        ongoing.cost_of(ENOUGH).assert_planned("one left");

        assert_eq!(third.responder.counters().get("bad_cookie"), 0, "a packet met an unknown key");
        assert_eq!(third.responder.counters().get("generation_gone"), 0, "or other content");
        // Until the last client has ended.
        third
    });
    assert_eq!(fleet.resets(), 0, "a kernel, or a server, has reset connections");
}

/// A process that is stopped is withdrawn too, and announced again when it goes on.
#[test]
fn who_stands_still_is_withdrawn() {
    let fleet = Fleet::new(2, Spread::Flow);
    let zone = zone_for(&fleet, 2);
    let (first, second) = start_two(&fleet, &zone);
    let catalogue = Catalogue::fetch(&fleet.client, DNS, LONGEST);
    let _servers = Ongoing::during(CLIENTS, &fleet.client, DNS, &catalogue, |ongoing| {
        ongoing.cost_of(ENOUGH).assert_planned("two servers");
        first.responder.signal(Signal::SIGSTOP);
        let took = first.expect(false);
        println!("withdrawn {took:?} after SIGSTOP: {}", first.said());
        ongoing.cost_of(1).assert_right("one stopped");
        ongoing.cost_of(ENOUGH).assert_planned("one left");
        first.responder.signal(Signal::SIGCONT);
        first.expect(true);
        ongoing.cost_of(ENOUGH).assert_planned("two again");
        (first, second)
    });
    assert_eq!(fleet.resets(), 0, "somebody has reset connections");
}

/// A directory for each of `servers`, and the zone that they all serve.
fn zone_for(fleet: &Fleet, servers: usize) -> PathBuf {
    for number in 0..servers {
        fs::create_dir_all(fleet.file(number, "")).expect("a directory");
    }
    let zone = fleet.file(0, "load.zone");
    fs::write(&zone, load::zone(LONGEST)).expect("write the zone");
    zone
}

fn start_two<'fleet>(fleet: &'fleet Fleet, zone: &Path) -> (FleetServer<'fleet>, FleetServer<'fleet>) {
    let first = fleet.start(0, zone);
    fs::copy(fleet.file(0, "key"), fleet.file(1, "key")).expect("copy the key");
    (first, fleet.start(1, zone))
}

/// systemd finds nothing wrong with the unit.
#[test]
fn the_unit_is_sound() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy/anycast");
    let unit = fs::read_to_string(files.join("stateless-tcp-anycast.service")).expect("the unit");
    // Where the script lies here.
    let script = files.join("anycast").canonicalize().expect("the script");
    let path = directory.path().join("stateless-tcp-anycast.service");
    fs::write(&path, unit.replace("/usr/local/sbin/anycast", &script.display().to_string()))
        .expect("write the unit");
    let output =
        execute(std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    let said = text(&output.stderr);
    let about: Vec<&str> =
        said.lines().filter(|line| line.contains("stateless-tcp-anycast.service:")).collect();
    assert!(about.is_empty(), "{about:?}");
}
