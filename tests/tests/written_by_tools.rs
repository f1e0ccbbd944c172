//! Zone files as the tools of other name servers write them, and as people do: all load, with the records that BIND reads
//! in them; and what is answered from large signed ones, Unbound validates.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use stateless_tcp_tests::nameserver::{Bind, Unbound, ask, free_address};
use stateless_tcp_tests::peers::{self, say};
use stateless_tcp_tests::questions::{Edns, Question};
use stateless_tcp_tests::random_zones::sign::{Proof, make_keys, output, sign};
use stateless_tcp_tests::random_zones::zone::Zone;
use stateless_tcp_tests::seed::{Random, seed, size};
use stateless_tcp_tests::zone_files::ours::{Ours, listen};
use stateless_tcp_tests::zone_files::raw;
use stateless_tcp_tests::zone_files::served::served;
use stateless_tcp_tests::zone_files::wire::WireRecord;
use tempfile::TempDir;

/// So many differences of a file are told.
const TOLD: usize = 10;

const NS: u16 = 2;
const SOA: u16 = 6;
const DS: u16 = 43;
const DNSKEY: u16 = 48;
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

#[test]
fn every_tools_output_is_read() -> anyhow::Result<()> {
    say(&format!("seed {}\n{}", seed(), peers::versions()?));
    let directory = TempDir::with_prefix("written-")?;
    let mut random = Random::new("written by tools");
    let mut faults = Vec::new();
    let mut records = 0;
    let written = write_all(directory.path(), &mut random)?;
    for (tool, zone, file) in &written {
        match check(zone, file) {
            Ok((count, lines)) => {
                records += count;
                faults.extend(lines.into_iter().take(TOLD).map(|line| format!("{tool}: {line}")));
            }
            Err(error) => faults.push(format!("{tool}: {error:#}")),
        }
    }
    say(&format!("{} files of {records} records", written.len()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Reads a file, and compares with BIND's reading.
fn check(zone: &str, file: &Path) -> anyhow::Result<(usize, Vec<String>)> {
    let raw = file.with_extension("raw");
    let mut command = peers::command("named-compilezone")?;
    command.args(["-i", "none", "-k", "ignore", "-F", "raw", "-o"]).arg(&raw).arg(zone).arg(file);
    output(&mut command)?;
    let records = raw::read(&fs::read(raw)?)?;
    let ours = Ours::load(&format!("{zone}."), file)?;
    Ok((records.len(), served(&ours, &records, WireRecord::comparable)?))
}

/// Has every tool write a zone. Returns what wrote it and how, the zone's name, the file.
fn write_all(directory: &Path, random: &mut Random) -> anyhow::Result<Vec<(String, String, PathBuf)>> {
    let mut written = Vec::new();
    let zone = "tools.example";
    let text = Zone::random(zone, 120, &[], random).text();
    let place = |name: &str| -> anyhow::Result<PathBuf> {
        let place = directory.join(name.replace(' ', "_"));
        fs::create_dir(&place).with_context(|| format!("creating {}", place.display()))?;
        let file = place.join("zone");
        fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    };
    for (name, options) in SIGNZONE {
        let file = place(name)?;
        let keys = file.parent().context("a directory")?;
        make_keys(zone, keys)?;
        let signed = keys.join("written");
        let mut command = peers::command("dnssec-signzone")?;
        command.args(["-q", "-S", "-P", "-K"]).arg(keys).arg("-d").arg(keys).args(*options);
        output(command.args(["-o", zone, "-f"]).arg(&signed).arg(&file))?;
        written.push(((*name).to_owned(), zone.to_owned(), signed));
    }
    for (name, options) in COMPILEZONE {
        let file = place(name)?;
        let compiled = file.with_file_name("written");
        let mut command = peers::command("named-compilezone")?;
        command.args(["-i", "none", "-k", "ignore"]).args(*options).arg("-o").arg(&compiled);
        output(command.arg(zone).arg(&file))?;
        written.push(((*name).to_owned(), zone.to_owned(), compiled));
    }
    for (name, options) in LDNS {
        let file = place(name)?;
        let (keys, signed) = (file.with_file_name(""), file.with_file_name("written"));
        let key = |kind: &[&str]| {
            let mut command = peers::command("ldns-keygen")?;
            output(command.current_dir(&keys).args(kind).args(["-a", "ECDSAP256SHA256", zone]))
        };
        let (zone_key, key_key) = (key(&[])?, key(&["-k"])?);
        let mut command = peers::command("ldns-signzone")?;
        command.current_dir(&keys).args(*options).arg("-f").arg(&signed).arg(&file);
        output(command.args([zone_key.trim(), key_key.trim()]))?;
        written.push(((*name).to_owned(), zone.to_owned(), signed));
    }
    for (name, policy) in KZONESIGN {
        let file = place(name)?;
        let (home, out) = (file.with_file_name(""), file.with_file_name("out"));
        fs::create_dir(&out)?;
        let conf = home.join("conf");
        let text = format!(
            "database:\n    storage: {at}\npolicy:\n  - id: p\n{policy}zone:\n  - domain: {zone}\n    file: {}\n    \
             storage: {at}\n    dnssec-policy: p\n",
            file.display(),
            at = home.display()
        );
        fs::write(&conf, text)?;
        let mut command = peers::command("kzonesign")?;
        output(command.arg("-c").arg(&conf).arg("-o").arg(&out).arg(zone))?;
        let made = fs::read_dir(&out)?.next().context("kzonesign writes no file")??.path();
        written.push(((*name).to_owned(), zone.to_owned(), made));
    }
    let file = directory.join(format!("{zone}.zone"));
    fs::write(&file, &text)?;
    make_keys(zone, directory)?;
    sign(zone, &file, Proof::Nsec)?;
    let at = free_address()?;
    let _bind = Bind::start(&[file], at, None)?;
    for (name, program, options) in TRANSFERS {
        let port = at.port().to_string();
        let mut command = peers::command(program)?;
        let text = output(command.args(["@127.0.0.1", "-p", &port]).args(options).args([zone, "AXFR"]))?;
        let place = directory.join(name);
        fs::write(&place, text)?;
        written.push(((*name).to_owned(), zone.to_owned(), place));
    }
    for (name, zone, text) in BY_HAND {
        let place = directory.join(name);
        fs::write(&place, text)?;
        written.push(((*name).to_owned(), (*zone).to_owned(), place));
    }
    Ok(written)
}

type Options = &'static [(&'static str, &'static [&'static str])];

const SIGNZONE: Options = &[
    ("dnssec-signzone", &[]),
    ("dnssec-signzone -O full", &["-O", "full"]),
    ("dnssec-signzone -3", &["-3", "AABB", "-H", "1"]),
    ("dnssec-signzone -3 -A -x", &["-3", "-", "-H", "0", "-A", "-x"]),
    ("dnssec-signzone -N unixtime -T 60", &["-N", "unixtime", "-T", "60"]),
];

const COMPILEZONE: Options =
    &[("named-compilezone -s full", &["-s", "full"]), ("named-compilezone -s relative", &["-s", "relative"])];

const LDNS: Options = &[
    ("ldns-signzone", &[]),
    ("ldns-signzone -b", &["-b"]),
    ("ldns-signzone -n", &["-n", "-s", "AABB", "-t", "1"]),
    ("ldns-signzone -n -p", &["-n", "-p", "-t", "0"]),
];

/// With what the signing policy says.
const KZONESIGN: [(&str, &str); 2] = [("kzonesign", ""), ("kzonesign nsec3", "    nsec3: on\n")];

/// Whom to ask how.
const TRANSFERS: [(&str, &str, &[&str]); 4] = [
    ("dig axfr", "dig", &[]),
    ("dig +noall +answer", "dig", &["+noall", "+answer"]),
    ("dig +multiline +onesoa", "dig", &["+multiline", "+onesoa", "+noall", "+answer"]),
    ("dig +ttlunits +split", "dig", &["+ttlunits", "+split=8", "+noall", "+answer"]),
];

const BY_HAND: [(&str, &str, &str); 3] = [
    ("octodns", "octo.example", include_str!("written/octodns.zone")),
    ("bind", "bind.example", include_str!("written/bind.zone")),
    ("reverse", "2.0.192.in-addr.arpa", include_str!("written/reverse.zone")),
];

#[test]
fn answers_from_a_root_like_zone_validate() -> anyhow::Result<()> {
    let delegations: Vec<String> = (0..1_500)
        .map(|number| {
            let ds = if number % 8 == 0 { String::new() } else { delegation_signer(&format!("t{number}."), number) };
            format!(
                "t{number}. 172800 IN NS a.nic.t{number}.\nt{number}. 172800 IN NS b.t{}.\n{ds}\
                 a.nic.t{number}. 172800 IN A 192.0.2.{}\na.nic.t{number}. 172800 IN AAAA 2001:db8::{number:x}\n",
                number / 2,
                number % 256
            )
        })
        .collect();
    let head = ". 86400 IN SOA a.root-servers.net. nstld.example. 2026010100 1800 900 604800 86400\n\
                . 518400 IN NS a.root-servers.net.\n";
    let asked = validate(".", &format!("{head}{}", delegations.concat()), Proof::Nsec, 1_500)?;
    say(&format!("{asked} answers from a zone like the root's validate"));
    Ok(())
}

#[test]
fn answers_from_a_large_zone_of_delegations_validate() -> anyhow::Result<()> {
    let count = size(20_000, 1_000_000);
    let mut text =
        "$ORIGIN tld.\n$TTL 3600\n@ SOA ns1 host 1 1800 900 604800 900\n@ NS ns1\nns1 A 192.0.2.1\n"
            .to_owned();
    for number in 0..count {
        writeln!(
            text,
            "t{number} NS ns1.t{number}\nt{number} NS ns2.elsewhere.test.\nns1.t{number} A 192.0.2.2"
        )?;
        if number % 8 != 0 {
            text += &delegation_signer(&format!("t{number}"), number);
        }
    }
    let asked = validate("tld", &text, Proof::OptOut, count)?;
    say(&format!("{asked} answers from a zone of {count} delegations validate"));
    Ok(())
}

fn delegation_signer(owner: &str, number: usize) -> String {
    format!("{owner} 86400 IN DS {} 13 2 {}\n", number % 65_536, format!("{number:08x}").repeat(8))
}

/// Signs a zone with the delegations `t0` to `t(count - 1)` of which each eighth is insecure, serves it, and has Unbound
/// validate answers. Returns how many.
fn validate(zone: &str, text: &str, proof: Proof, count: usize) -> anyhow::Result<usize> {
    let directory = TempDir::with_prefix("large-")?;
    let file = directory.path().join("zone");
    fs::write(&file, text)?;
    let anchors = make_keys(zone, directory.path())?;
    let signed = file.with_extension("zone");
    fs::copy(&file, &signed)?;
    sign(zone, &signed, proof)?;
    let (dotted, below) =
        if zone == "." { (".".to_owned(), String::new()) } else { (format!("{zone}."), format!(".{zone}")) };
    let server = listen(Ours::load(&dotted, &signed)?)?;
    let anchors: Vec<String> = anchors.iter().map(|data| format!("{dotted} DS {data}")).collect();
    let at = free_address()?;
    let _unbound = Unbound::validate(&dotted, &anchors, server, at)?;
    let mut asked = 0;
    let apex = zone.trim_end_matches('.');
    for rtype in [SOA, NS, DNSKEY] {
        expect(at, apex, rtype, NOERROR, true)?;
        asked += 1;
    }
    for sample in 0..200 {
        let number = sample * count / 200;
        let insecure = number.is_multiple_of(8);
        // What opt-out leaves out cannot be shown to be insecure by itself (RFC 5155 section 6).
        let authenticated = !(insecure && proof == Proof::OptOut);
        expect(at, &format!("t{number}{below}"), DS, NOERROR, authenticated)?;
        let authenticated = proof != Proof::OptOut;
        // Not where what proves the name's absence proves the wildcard's as well.
        expect(at, &format!("t{number}-nowhere{below}"), NS, NXDOMAIN, authenticated)?;
        asked += 2;
    }
    Ok(asked)
}

/// Asks Unbound, which says SERVFAIL of what does not validate.
fn expect(at: SocketAddr, name: &str, rtype: u16, rcode: u8, authenticated: bool) -> anyhow::Result<()> {
    const RD: u8 = 1;
    const AD: u8 = 0x20;
    let question = Question { name: name.to_owned(), rtype, edns: Edns::Signed };
    let mut query = question.wire(1);
    query[2] |= RD;
    let answer = ask(at, &query)?;
    ensure!(answer[3] & 0xf == rcode, "{question}: code {} for {rcode}", answer[3] & 0xf);
    ensure!((answer[3] & AD != 0) == authenticated, "{question}: is it authenticated? {:#x}", answer[3]);
    Ok(())
}
