//! Whether frames of clients can arrive on an interface: the judgement of `doctor`, and of `run` at its start.

use super::link::LinkFacts;

/// The judgement about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) verdict: Verdict,
    pub(crate) finding: String,
    /// Empty if none is needed.
    pub(crate) remedy: String,
}

/// A verdict about an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Frames can arrive.
    Ready,
    /// None can before the operator, or somebody else, changes something.
    NotYet,
    /// None that could be answered will ever arrive.
    Never,
}

/// Judges the interface `name`.
pub(crate) fn judge(name: &str, link: &LinkFacts) -> Reception {
    let judgement = |verdict, finding: String, remedy: String| Reception { verdict, finding, remedy };
    if link.loopback {
        return judgement(
            Verdict::Never,
            format!("{name} carries only traffic of this machine to itself"),
            "choose another: clients with a loopback address or the server's own address are never answered"
                .to_owned(),
        );
    }
    if !link.ethernet {
        let driver = link.driver.as_deref().unwrap_or("tunnel");
        return judgement(
            Verdict::Never,
            format!("{name} ({driver}) carries packets without an Ethernet header, which the server does not answer"),
            "choose an Ethernet interface; the kernel serves clients behind tunnels (WireGuard, PPP, GRE, tun)".to_owned(),
        );
    }
    if !link.up {
        return judgement(Verdict::NotYet, format!("{name} is down"), format!("ip link set {name} up"));
    }
    if !link.carrier {
        return judgement(
            Verdict::NotYet,
            format!("{name} is up, without carrier"),
            "nothing arrives before the cable or the other end is up".to_owned(),
        );
    }
    let addresses: Vec<_> = link.addresses.iter().map(ToString::to_string).collect();
    judgement(Verdict::Ready, format!("{name} is up, with {}", addresses.join(", ")), String::new())
}
