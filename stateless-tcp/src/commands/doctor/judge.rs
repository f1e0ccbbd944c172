//! What the facts mean. Pure.

mod interface;
mod system;
#[cfg(test)]
mod tests;

use super::facts::{Facts, Link};
pub(super) use interface::answers;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    /// Good to know.
    Note,
    /// It will work, but the operator should think about it.
    Warn,
    /// It will not work.
    Fail,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) finding: String,
    pub(super) verdict: Verdict,
    /// What to do; empty where there is nothing to do.
    pub(super) remedy: String,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self { name, finding: finding.into(), verdict, remedy: String::new() }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// All that is to be said.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    pub(super) checks: Vec<Check>,
    pub(super) summary: String,
    /// The command to use; none where no command would do.
    pub(super) command: Option<String>,
}

impl Diagnosis {
    /// Whether the command will answer.
    pub(super) fn works(&self) -> bool {
        self.checks.iter().all(|check| check.verdict < Verdict::Fail)
    }
}

/// Judges `facts`.
pub(super) fn judge(facts: &Facts) -> Diagnosis {
    let Some(link) = &facts.link else {
        let there = facts.interfaces.join(", ");
        let missing = Check::new("interface", Verdict::Fail, format!("{} does not exist", facts.interface))
            .remedy(format!("choose one of: {there} (another network namespace has others)"));
        let summary = format!("there is no interface {} to serve on.", facts.interface);
        return Diagnosis { checks: vec![missing], summary, command: None };
    };
    let plan = Plan::new(facts, link);
    let checks = [interface::checks(facts, link, &plan), system::checks(facts, link, &plan)].concat();
    let summary = summary(facts, &checks);
    Diagnosis { checks, summary, command: Some(plan.command(facts)) }
}

/// How `run` would go about it.
struct Plan {
    native: Native,
    /// Queues of the interface that would be served, and those that would not.
    served: Vec<u32>,
    uncovered: Vec<u32>,
    /// Queues asked for that the interface has not.
    missing: Vec<u32>,
    replaces: bool,
    /// Where a full segment would not fit the MTU.
    segment_size: Option<u32>,
    needs_root: bool,
}

/// Whether the driver runs XDP programs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Native {
    Yes,
    /// The driver could, but not with this MTU.
    TooLarge,
    No,
}

/// Frames of a larger MTU do not fit a page beside XDP's headroom (256) and the kernel's own data (320).
const NATIVE_MTU: u32 = 3_498;
/// IP and TCP headers beside a segment's payload: IPv6 without options.
const HEADERS: u32 = 60;
/// The largest payload that is sent in a segment.
const SEGMENT: u32 = 1_220;

impl Plan {
    fn new(facts: &Facts, link: &Link) -> Self {
        let native = match interface::native(facts, link) {
            (false, _) => Native::No,
            (true, _) if link.mtu > NATIVE_MTU && !link.loopback => Native::TooLarge,
            (true, _) => Native::Yes,
        };
        let there = link.rx_queues.clone().unwrap_or_default();
        let asked = facts.queues.as_ref();
        let is_served = |queue: &u32| asked.is_none_or(|asked| asked.contains(queue));
        let (served, uncovered) = there.iter().copied().partition(is_served);
        let missing = asked.into_iter().flatten().copied().filter(|queue| !there.contains(queue)).collect();
        Self {
            native,
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

    fn command(&self, facts: &Facts) -> String {
        let mut words = Vec::new();
        if self.needs_root {
            words.push("sudo".to_owned());
        }
        words.extend(["stateless-tcp", "run", "-i", &facts.interface].map(str::to_owned));
        let [dns, http] = facts.ports;
        if dns != 53 {
            words.push(format!("--dns-port {dns}"));
        }
        if http != 80 {
            words.push(format!("--http-port {http}"));
        }
        if self.native != Native::Yes {
            words.push("--xdp-mode generic".to_owned());
        }
        if let Some(size) = self.segment_size {
            words.push(format!("--segment-size {size}"));
        }
        if facts.queues.is_some() && !self.served.is_empty() {
            words.push(format!("--queues {}", list(&self.served)));
            if !self.uncovered.is_empty() {
                words.push("--uncovered-queues".to_owned());
            }
        }
        if self.replaces {
            words.push("--replace".to_owned());
        }
        words.join(" ")
    }
}

fn summary(facts: &Facts, checks: &[Check]) -> String {
    let named = |verdict: Verdict| {
        let of_verdict = checks.iter().filter(|check| check.verdict == verdict);
        of_verdict.map(|check| check.name).collect::<Vec<_>>().join(", ")
    };
    let (failing, warning) = (named(Verdict::Fail), named(Verdict::Warn));
    let interface = &facts.interface;
    if !failing.is_empty() {
        format!("{interface} will not serve as things are ({failing}). When that is mended:")
    } else if warning.is_empty() {
        format!("{interface} will serve. Use:")
    } else {
        format!("{interface} will serve; mind what is said of: {warning}. Use:")
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
