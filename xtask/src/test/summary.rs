//! The end of a test run: what passed, what failed and how to repeat it, what was not run.

use std::fmt;

use super::{Scale, Step};

/// The outcome of a step.
pub(super) enum Outcome {
    Passed,
    /// With this error.
    Failed(String),
    /// Not run: it needs this step, which failed.
    Skipped(Step),
}

/// The outcomes of the chosen steps, in order.
pub(super) struct Summary<'a> {
    pub(super) scale: &'a Scale,
    pub(super) outcomes: Vec<(Step, Outcome)>,
    /// Steps that were not chosen.
    pub(super) left_out: Vec<Step>,
}

impl Summary<'_> {
    /// Whether no step failed. A step is skipped only if another one failed.
    pub(super) fn success(&self) -> bool {
        self.outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Passed))
    }

    /// The step that failed, of those that `step` needs.
    pub(super) fn missing(&self, step: Step) -> Option<Step> {
        let failed = |needed: &Step| {
            self.outcomes
                .iter()
                .any(|(done, outcome)| done == needed && matches!(outcome, Outcome::Failed(_)))
        };
        step.needs().filter(failed)
    }

    fn count(&self, is_counted: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| is_counted(outcome)).count()
    }
}

/// Ends with the line that programs read: `N passed, N failed`, then what else there is to count.
impl fmt::Display for Summary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, outcome) in &self.outcomes {
            match outcome {
                Outcome::Passed => writeln!(formatter, "passed   {step}")?,
                Outcome::Failed(error) => {
                    writeln!(formatter, "FAILED   {step}: {error}")?;
                    let Scale { seed, .. } = self.scale;
                    let flag = self.scale.flag();
                    writeln!(
                        formatter,
                        "         repeat: cargo xtask test --only {step} --seed {seed}{flag}"
                    )?;
                }
                Outcome::Skipped(needed) => {
                    writeln!(formatter, "not run  {step}: it needs {needed}, which failed")?;
                }
            }
        }
        let passed = self.count(|outcome| matches!(outcome, Outcome::Passed));
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        write!(formatter, "{passed} passed, {failed} failed")?;
        let skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        if skipped > 0 {
            write!(formatter, ", {skipped} skipped")?;
        }
        if !self.left_out.is_empty() {
            let names: Vec<String> = self.left_out.iter().map(ToString::to_string).collect();
            write!(formatter, ", left out: {}", names.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(scale: &Scale, outcomes: Vec<(Step, Outcome)>) -> Summary<'_> {
        Summary { scale, outcomes, left_out: vec![] }
    }

    #[test]
    fn the_last_line_counts_what_passed() {
        let scale = Scale { full: false, seed: 7 };
        let mut summary =
            summary(&scale, vec![(Step::Format, Outcome::Passed), (Step::Unit, Outcome::Passed)]);
        assert!(summary.success());
        assert_eq!(summary.to_string(), "passed   format\npassed   unit\n2 passed, 0 failed");
        summary.left_out = vec![Step::Vm, Step::Fuzz];
        assert!(summary.success());
        assert!(summary.to_string().ends_with("\n2 passed, 0 failed, left out: vm fuzz"));
    }

    #[test]
    fn each_failure_has_its_reason_and_the_command_that_repeats_it() {
        let scale = Scale { full: true, seed: 7 };
        let failed = |text: &str| Outcome::Failed(text.to_owned());
        let outcomes = vec![
            (Step::Format, failed("cargo fmt failed")),
            (Step::Clippy, Outcome::Passed),
            (Step::BuildEbpf, failed("another object")),
        ];
        let summary = summary(&scale, outcomes);
        assert!(!summary.success());
        let lines = [
            "FAILED   format: cargo fmt failed",
            "         repeat: cargo xtask test --only format --seed 7 --full",
            "passed   clippy",
            "FAILED   build-ebpf: another object",
            "         repeat: cargo xtask test --only build-ebpf --seed 7 --full",
            "1 passed, 2 failed",
        ];
        assert_eq!(summary.to_string(), lines.join("\n"));
    }

    #[test]
    fn only_steps_that_need_a_failed_one_are_skipped() {
        let scale = Scale { full: false, seed: 7 };
        let mut summary = summary(&scale, vec![(Step::Unit, Outcome::Failed("a test".to_owned()))]);
        assert_eq!(summary.missing(Step::Namespaces), None, "the binary has not failed");
        summary.outcomes.push((Step::Binary, Outcome::Failed("a compiler".to_owned())));
        for step in [Step::Namespaces, Step::Driver, Step::Vm, Step::Card, Step::Package] {
            let missing = summary.missing(step).expect("it needs the binary");
            assert!(missing == Step::Binary);
            summary.outcomes.push((step, Outcome::Skipped(missing)));
        }
        assert_eq!(summary.missing(Step::Benches), None, "it needs no binary");
        let text = summary.to_string();
        assert!(text.contains("\nnot run  vm: it needs binary, which failed\n"), "{text}");
        assert!(text.ends_with("\n0 passed, 2 failed, 5 skipped"), "{text}");
    }
}
