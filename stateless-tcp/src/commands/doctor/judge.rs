//! Judges the facts.

mod command;
mod interface;
mod system;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use crate::config::{XdpMode, ZeroCopy};
use crate::system::driver::{self, native_xdp};
use crate::system::handshake::{HandshakeChoice, decide};
use crate::system::link::LinkFacts;
use crate::system::reception::{self, Verdict};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Ok,
    /// Information.
    Note,
    /// It will work, but the operator should consider the remedy.
    Warn,
    /// It will not work.
    Fail,
}

impl Severity {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One check: its finding and severity.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) finding: String,
    pub(super) severity: Severity,
    /// The remedy; empty if none is needed.
    pub(super) remedy: String,
}

impl Check {
    fn new(name: &'static str, severity: Severity, finding: impl Into<String>) -> Self {
        Self { name, finding: finding.into(), severity, remedy: String::new() }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// The result of all checks.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    pub(super) checks: Vec<Check>,
    pub(super) summary: String,
    /// The command to use; `None` if no command would work.
    pub(super) command: Option<String>,
}

impl Diagnosis {
    /// Whether the interface will serve.
    pub(super) fn works(&self) -> bool {
        self.checks.iter().all(|check| check.severity < Severity::Fail)
    }
}

/// Judges `facts`.
pub(super) fn judge(facts: &Facts) -> Diagnosis {
    let Some(link) = &facts.link else {
        let there = facts.interfaces.join(", ");
        let missing = Check::new("interface", Severity::Fail, format!("{} does not exist", facts.interface))
            .remedy(format!("choose one of: {there} (another network namespace has others)"));
        let summary = format!("there is no interface {} to serve on.", facts.interface);
        return Diagnosis { checks: vec![missing], summary, command: None };
    };
    let plan = Plan::new(facts, link);
    let checks = [interface::checks(facts, link, &plan), system::checks(facts, link, &plan)].concat();
    let summary = summary(facts, &checks);
    let can_serve = reception::judge(&facts.interface, link).verdict != Verdict::Never;
    let summary = if can_serve { summary } else { format!("{} cannot serve.", facts.interface) };
    Diagnosis { checks, summary, command: can_serve.then(|| plan.command(facts)) }
}

/// The choices that `run` would make.
struct Plan {
    native: Native,
    /// The place where handshakes would be answered, or the reason why that is not possible.
    handshake: Result<HandshakeChoice, String>,
    /// Queues that would be served.
    served: Vec<u32>,
    /// Queues that would be left to the kernel.
    uncovered: Vec<u32>,
    /// Queues in `--queues` that the interface lacks.
    missing: Vec<u32>,
    replaces: bool,
    /// The largest segment that fits the MTU, if a full one does not.
    segment_size: Option<u32>,
    needs_root: bool,
}

/// Native XDP on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Native {
    Yes,
    /// The driver supports it, but not with this MTU.
    TooLarge,
    No,
}

/// The largest MTU for native XDP: a page less the frame's header, XDP's headroom (256) and the kernel's data (320).
const NATIVE_MTU: u32 = 3_498;
/// Bytes of the IPv6 and TCP headers without options.
const HEADERS: u32 = 60;
/// The default payload of a full segment.
const SEGMENT: u32 = 1_220;

impl Plan {
    fn new(facts: &Facts, link: &LinkFacts) -> Self {
        let native = match native_xdp(link, &facts.system.release) {
            (false, _) => Native::No,
            (true, _) if link.mtu > NATIVE_MTU && !link.loopback => Native::TooLarge,
            (true, _) => Native::Yes,
        };
        let runs_native = native == Native::Yes && facts.xdp_mode != XdpMode::Generic;
        let zero_copy = runs_native && facts.zero_copy != ZeroCopy::Never && driver::zero_copy(link).0;
        let answers = driver::can_answer(link, facts.system.version, zero_copy);
        let there = link.rx_queues.clone().unwrap_or_default();
        let asked = facts.queues.as_ref();
        let is_served = |queue: &u32| asked.is_none_or(|asked| asked.contains(queue));
        let (served, uncovered) = there.iter().copied().partition(is_served);
        let missing = asked.into_iter().flatten().copied().filter(|queue| !there.contains(queue)).collect();
        Self {
            native,
            handshake: decide(facts.handshake, answers, runs_native, zero_copy),
            served,
            uncovered,
            missing,
            replaces: !link.programs.is_empty()
                && link.programs.iter().all(|program| !matches!(program.holder, Ok(Some(_)))),
            segment_size: (link.mtu < SEGMENT + HEADERS)
                .then(|| link.mtu.saturating_sub(HEADERS))
                .filter(|size| *size >= 64),
            needs_root: !system::missing_capabilities(&facts.system).is_empty(),
        }
    }

    /// The command with the options of `facts`, apart from those that the plan decides.
    fn command(&self, facts: &Facts) -> String {
        let mut decided = Vec::new();
        if self.native != Native::Yes {
            decided.push(("--xdp-mode", Some("generic".to_owned())));
        }
        if self.handshake.is_err() {
            decided.push(("--handshake", Some("auto".to_owned())));
        }
        if let Some(size) = self.segment_size {
            decided.push(("--segment-size", Some(size.to_string())));
        }
        if facts.queues.is_some() && !self.served.is_empty() {
            decided.push(("--queues", Some(list(&self.served))));
            if !self.uncovered.is_empty() {
                decided.push(("--uncovered-queues", None));
            }
        }
        if self.replaces {
            decided.push(("--replace", None));
        }
        let mut words = Vec::new();
        if self.needs_root {
            words.push("sudo".to_owned());
        }
        words.extend(["stateless-tcp", "run", "-i", &facts.interface].map(str::to_owned));
        words.extend(command::without(&facts.arguments, decided.iter().map(|(flag, _)| *flag)));
        for (flag, value) in decided {
            words.extend([Some(flag.to_owned()), value].into_iter().flatten());
        }
        words.join(" ")
    }
}

fn summary(facts: &Facts, checks: &[Check]) -> String {
    let named = |severity: Severity| {
        let selected = checks.iter().filter(|check| check.severity == severity);
        selected.map(|check| check.name).collect::<Vec<_>>().join(", ")
    };
    let (failing, warning) = (named(Severity::Fail), named(Severity::Warn));
    let interface = &facts.interface;
    if !failing.is_empty() {
        format!("{interface} will not serve ({failing}). After the remedies:")
    } else if warning.is_empty() {
        format!("{interface} will serve. Use:")
    } else {
        format!("{interface} will serve; consider the findings of: {warning}. Use:")
    }
}

/// Numbers as `--queues` takes them: `0,2-5`.
fn list(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let words = parts
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    words.collect::<Vec<_>>().join(",")
}
