//! EDNS options as real clients ask for them, and DNS cookies that real name servers share with us.

use std::{
    fs::{self, Permissions},
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread::sleep,
    time::Duration,
};

use rstest::rstest;
use stateless_tcp_tests::{
    nameserver::{Bind, IDENTITY, Knot, Nsd, zones},
    netns::Netns,
    responder::Responder,
    topology::{INTERFACE, SERVERS, Topology},
};

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
/// A client cookie, and server cookies that nobody made: of our form, and of another's.
const CLIENT: &str = "0123456789abcdef";
const FORGED: &str = "010000005cf79f110123456789abcdef";
const FOREIGN: &str = "0123456789abcdef01";
/// Server cookies have times of whole seconds: after this two of different times differ.
const TICK: Duration = Duration::from_millis(1_100);

fn dig(client: &Netns, server: IpAddr, words: &str) -> String {
    client.run(&format!("dig @{server} +norecurse +tries=1 +time=60 +nobadcookie {words}"))
}

/// The COOKIE option that dig shows, found to begin with what dig sent.
fn cookie(answer: &str) -> &str {
    let line = answer.lines().find_map(|line| line.strip_prefix("; COOKIE: "));
    let (cookie, judgement) =
        line.and_then(|line| line.split_once(' ')).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((judgement, cookie.len()), ("(good)", 48), "{answer}");
    cookie
}

/// The lines of dig's output that say who answers and why: status, options and answers.
fn said(client: &Netns, server: SocketAddr, words: &str) -> Vec<String> {
    let tools = format!("-p {} +tcp +nocookie +noall +comments +answer {words}", server.port());
    let answer = dig(client, server.ip(), &tools);
    let told =
        |line: &&str| line.starts_with("; NSID") || line.starts_with("; EDE") || !line.starts_with(';');
    let lines = answer.lines().filter(told).filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    std::iter::once(status(&answer).to_owned()).chain(lines).collect()
}

/// As NSD, Knot and BIND tell it.
#[test]
fn who_is_answering_is_told_as_others_tell_it() {
    let topology = Topology::new(1);
    let [server, _] = SERVERS;
    let at = |port| SocketAddr::new(server, port);
    let namespace = Some(topology.server.name());
    let _nsd = Nsd::start(&zones(), at(5301), namespace).expect("start NSD");
    let _knot = Knot::start(&zones(), at(5302), namespace).expect("start Knot");
    let _bind = Bind::start(&zones(), at(5303), namespace).expect("start BIND");
    let (ours, nsd, knot, bind) = (at(53), at(5301), at(5302), at(5303));
    let files: Vec<String> = zones().iter().map(|zone| zone.display().to_string()).collect();
    let mut arguments: Vec<&str> = files.iter().flat_map(|file| ["--zone", file]).collect();
    arguments.extend(["--identity", IDENTITY]);
    let responder = Responder::start(&topology, &arguments);
    let alike = |words: &str, peers: &[SocketAddr]| {
        let found = said(&topology.client, ours, words);
        for peer in peers {
            assert_eq!(said(&topology.client, *peer, words), found, "{words} at {peer}");
        }
        found
    };
    for name in ["id.server", "hostname.bind"] {
        let found = alike(&format!("CH TXT {name}"), &[nsd, knot, bind]);
        assert_eq!(found, ["NOERROR".to_owned(), format!("{name}. 0 CH TXT \"{IDENTITY}\"")]);
    }
    let found = alike("plain.example SOA +nsid +noanswer", &[nsd, knot, bind]);
    assert!(found.len() == 2 && found[1].starts_with("; NSID: ") && found[1].contains(IDENTITY), "{found:?}");
    assert_eq!(alike("elsewhere.test A", &[nsd, knot]), ["REFUSED", "; EDE: 20 (Not Authoritative)"]);
    assert_eq!(alike("elsewhere.test A +noedns", &[nsd, knot, bind]), ["REFUSED"]);
    assert_eq!(alike("CH TXT authors.server", &[nsd]), ["REFUSED", "; EDE: 21 (Not Supported)"]);
    for name in ["version.server", "version.bind"] {
        let found = said(&topology.client, ours, &format!("CH TXT {name}"));
        assert!(found[0] == "NOERROR" && found[1].contains("CH TXT \"stateless-tcp "), "{found:?}");
    }
    responder.stop();

    let quiet = Responder::start(&topology, &["--hide-version"]);
    for name in ["id.server", "hostname.bind", "version.server", "version.bind"] {
        let found = said(&topology.client, ours, &format!("CH TXT {name}"));
        assert_eq!(found, ["REFUSED", "; EDE: 21 (Not Supported)"], "{name}");
    }
    assert_eq!(said(&topology.client, ours, "example.com SOA +nsid +noanswer"), ["NOERROR"]);
    quiet.stop();
}

fn status(answer: &str) -> &str {
    answer
        .split_once("status: ")
        .and_then(|(_, rest)| rest.split_once(','))
        .map_or("none", |(status, _)| status)
}

#[test]
fn cookies_are_given_and_known_again() {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &[]);
    for server in SERVERS {
        let dig = |words: &str| dig(&topology.client, server, &format!("+tcp {words}"));
        let first = dig("example.com A");
        let given = cookie(&first);
        sleep(TICK);
        let second = dig(&format!("example.com A +cookie={given}"));
        assert_eq!((status(&second), cookie(&second)), ("NOERROR", given));
        for bad in [FORGED, FOREIGN] {
            let answer = dig(&format!("example.com A +cookie={CLIENT}{bad}"));
            assert_eq!(status(&answer), "NOERROR", "{answer}");
            assert!(!cookie(&answer).ends_with(bad), "{answer}");
        }
        // An answer of several segments is the same at any time.
        let large = || cookie(&dig(&format!("large.example.com TXT +cookie={CLIENT}"))).to_owned();
        let before = large();
        sleep(TICK);
        assert_eq!(large(), before);

        let without_question = dig(&format!("+header-only +cookie={given}"));
        assert_eq!((status(&without_question), cookie(&without_question)), ("NOERROR", given));
        let forged = dig(&format!("+header-only +cookie={CLIENT}{FORGED}"));
        assert_eq!(status(&forged), "BADCOOKIE", "{forged}");
        let cut = dig("example.com A +nocookie +ednsopt=10:0102");
        assert!(status(&cut) == "FORMERR" && cut.contains("; EDNS: version: 0"), "{cut}");

        let kdig = topology.client.run(&format!(
            "kdig @{server} +tcp +norecurse +retry=0 +timeout=60 +cookie={CLIENT} example.com A"
        ));
        assert!(kdig.contains("status: NOERROR") && kdig.contains("192.0.2.1"), "{kdig}");
        assert!(kdig.to_ascii_lowercase().contains(&format!("cookie: {CLIENT}")), "{kdig}");
    }
    responder.stop();
}

/// The announcement of a connection that closes behind its answer.
#[rstest]
#[case::told("120", Some("; TCP KEEPALIVE: 0.0 secs"))]
#[case::not_told("0", None)]
fn keepalive_says_that_the_connection_closes(#[case] seconds: &str, #[case] said: Option<&str>) {
    let topology = Topology::new(1);
    let responder = Responder::start(&topology, &["--rules", "classic", "--dns-keepalive", seconds]);
    for server in SERVERS {
        let dig = |words: &str| dig(&topology.client, server, &format!("+tcp example.com A {words}"));
        let line = |answer: &str| answer.lines().find(|line| line.contains("KEEPALIVE")).map(str::to_owned);
        assert_eq!(line(&dig("+keepalive")).as_deref(), said);
        assert_eq!(line(&dig("+nokeepalive")), None, "nobody asked");
        let answer = dig("+ednsopt=11:0064");
        assert_eq!(status(&answer), "FORMERR", "{answer}");
    }
    responder.stop();
}

#[derive(Clone, Copy)]
enum Beside {
    Knot,
    Nsd,
}

/// With one secret, a name server on UDP at our address and port takes our cookies for its own, and we its.
#[rstest]
#[case::knot(Beside::Knot)]
#[case::nsd(Beside::Nsd)]
fn cookies_are_shared_with_a_server_on_udp(#[case] beside: Beside) {
    let directory = tempfile::tempdir().expect("a directory");
    let [shared, other] = [("shared", SECRET), ("other", "00112233445566778899aabbccddeeff")]
        .map(|(name, secret)| secret_file(directory.path(), name, secret));
    let (topology, zones) = (Topology::new(1), zones());
    let files: Vec<_> =
        zones.iter().flat_map(|zone| ["--zone", zone.to_str().expect("a path in UTF-8")]).collect();
    for server in SERVERS {
        let (at, namespace) = (SocketAddr::new(server, 53), Some(topology.server.name()));
        let _beside: Box<dyn std::any::Any> = match beside {
            Beside::Knot => {
                Box::new(Knot::with_cookies(&zones, at, namespace, Some(SECRET)).expect("start Knot"))
            }
            Beside::Nsd => {
                Box::new(Nsd::with_cookies(&zones, at, namespace, Some(SECRET)).expect("start NSD"))
            }
        };
        let dig = |words: &str| dig(&topology.client, server, &format!("www.plain.example A {words}"));
        for (file, agree) in [(&shared, true), (&other, false)] {
            let secret = ["--dns-cookie-secret-file", file];
            let responder = Responder::start(&topology, &[&files[..], &secret].concat());
            let (ours, theirs) = (dig("+tcp"), dig("+notcp"));
            let (ours, theirs) = (cookie(&ours), cookie(&theirs));
            sleep(TICK);
            let taken = dig(&format!("+notcp +cookie={ours}"));
            assert_eq!(cookie(&taken) == ours, agree, "ours over UDP: {taken}");
            if matches!(beside, Beside::Knot) {
                assert_eq!(status(&taken), if agree { "NOERROR" } else { "BADCOOKIE" }, "{taken}");
            }
            let known = dig(&format!("+tcp +cookie={theirs}"));
            assert_eq!(cookie(&known) == theirs, agree, "theirs over TCP: {known}");
            assert_eq!(status(&known), "NOERROR", "{known}");
            let counters = responder.stop();
            assert_eq!(counters.get("messages"), 2, "who has answered? {counters:?}");
        }
    }
}

/// The path of a file with a line.
fn secret_file(directory: &Path, name: &str, line: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, format!("{line}\n")).expect("write the secret");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("keep it secret");
    path.to_str().expect("a path in UTF-8").to_owned()
}

#[rstest]
#[case::missing(None, "No such file")]
#[case::no_secret(Some("0123"), "secret:1: the line does not have 32 digits")]
fn a_bad_secret_is_named(#[case] text: Option<&str>, #[case] says: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = match text {
        Some(text) => secret_file(directory.path(), "secret", text),
        None => directory.path().join("secret").to_str().expect("a path in UTF-8").to_owned(),
    };
    let topology = Topology::new(1);
    let arguments = ["run", "-i", INTERFACE, "--dns-cookie-secret-file", &path];
    let ended = Responder::try_start(&topology.server, 1, &arguments).expect_err("it starts");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    for part in ["--dns-cookie-secret-file", &path, says] {
        assert!(ended.log.contains(part), "{part:?} is not in {}", ended.log);
    }
}
