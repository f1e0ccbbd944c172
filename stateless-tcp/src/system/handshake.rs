//! The place where the handshakes of an interface are answered, and the reason for it.

use super::driver::DriverAnswers;
use crate::config::HandshakeMode;
use std::fmt;

/// The place where handshakes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakePlace {
    /// The XDP program in the driver.
    Driver,
    /// The workers, through the ring.
    Ring,
}

/// The reason for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeReason {
    /// `--handshake` names the place.
    Configured,
    /// The place costs less than the other with zero-copy (docs/benchmarks.md).
    CheaperWithZeroCopy,
    /// The place costs less than the other where frames are copied.
    CheaperWithCopies,
    /// No program runs in the driver.
    Generic,
    /// It is unknown if the driver can answer, for this reason.
    Unknown(String),
    /// The driver cannot answer, for this reason.
    Impossible(String),
}

/// A place for an interface, and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandshakeChoice {
    pub(crate) place: HandshakePlace,
    pub(crate) reason: HandshakeReason,
}

/// The choice of `--handshake MODE`. `answers` is what is known of the driver.
///
/// # Errors
/// The place is named, and not possible, for this reason.
pub(crate) fn decide(
    mode: HandshakeMode,
    answers: DriverAnswers,
    native: bool,
    zero_copy: bool,
) -> Result<HandshakeChoice, String> {
    let configured = |place| HandshakeChoice { place, reason: HandshakeReason::Configured };
    match (mode, answers) {
        (HandshakeMode::Auto, answers) => Ok(choose(answers, native, zero_copy)),
        (HandshakeMode::Ring, _) => Ok(configured(HandshakePlace::Ring)),
        (HandshakeMode::Driver, DriverAnswers::No(reason)) => Err(reason),
        (HandshakeMode::Driver, _) => Ok(configured(HandshakePlace::Driver)),
    }
}

/// The choice of `--handshake auto`: the cheaper place where both are possible. `answers` is what is known of the driver.
fn choose(answers: DriverAnswers, native: bool, zero_copy: bool) -> HandshakeChoice {
    let ring = |reason| HandshakeChoice { place: HandshakePlace::Ring, reason };
    match answers {
        _ if !native => ring(HandshakeReason::Generic),
        DriverAnswers::No(reason) => ring(HandshakeReason::Impossible(reason)),
        DriverAnswers::Yes | DriverAnswers::Unknown(_) if zero_copy => {
            ring(HandshakeReason::CheaperWithZeroCopy)
        }
        DriverAnswers::Unknown(reason) => ring(HandshakeReason::Unknown(reason)),
        DriverAnswers::Yes => {
            HandshakeChoice { place: HandshakePlace::Driver, reason: HandshakeReason::CheaperWithCopies }
        }
    }
}

impl HandshakePlace {
    /// Its name, as in `--handshake`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Ring => "ring",
        }
    }
}

impl HandshakeReason {
    /// The reason in a few words.
    pub(crate) fn summary(&self) -> &'static str {
        match self {
            Self::Configured => "as configured",
            Self::CheaperWithZeroCopy => "cheaper with zero-copy",
            Self::CheaperWithCopies => "cheaper where frames are copied",
            Self::Generic => "generic mode",
            Self::Unknown(_) => "not known to work in the driver",
            Self::Impossible(_) => "not possible in the driver",
        }
    }
}

impl HandshakeChoice {
    /// Whether the XDP program answers.
    pub(crate) fn is_driver(&self) -> bool {
        self.place == HandshakePlace::Driver
    }
}

/// The choice in a few words.
impl fmt::Display for HandshakeChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, reason } = self;
        write!(formatter, "handshake by the {} ({})", place.name(), reason.summary())
    }
}

/// The place in words.
impl fmt::Display for HandshakePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Driver => "in the driver",
            Self::Ring => "through the ring",
        })
    }
}

/// The reason in full.
impl fmt::Display for HandshakeReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => formatter.write_str("--handshake says so"),
            Self::CheaperWithZeroCopy => formatter.write_str(
                "that costs less with zero-copy, where the kernel copies each frame that an XDP program sends",
            ),
            Self::CheaperWithCopies => formatter.write_str(
                "that costs less where frames are copied, as frames without a query are not copied to a worker",
            ),
            Self::Generic => formatter.write_str("the driver runs no program in generic mode"),
            Self::Unknown(reason) | Self::Impossible(reason) => formatter.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn unknown() -> DriverAnswers {
        DriverAnswers::Unknown("unknown".to_owned())
    }

    fn no() -> DriverAnswers {
        DriverAnswers::No("no".to_owned())
    }

    #[rstest]
    #[case::copied(
        DriverAnswers::Yes,
        true,
        false,
        HandshakePlace::Driver,
        HandshakeReason::CheaperWithCopies
    )]
    #[case::zero_copy(
        DriverAnswers::Yes,
        true,
        true,
        HandshakePlace::Ring,
        HandshakeReason::CheaperWithZeroCopy
    )]
    #[case::zero_copy_unknown(
        unknown(),
        true,
        true,
        HandshakePlace::Ring,
        HandshakeReason::CheaperWithZeroCopy
    )]
    #[case::zero_copy_impossible(no(), true, true, HandshakePlace::Ring, HandshakeReason::Impossible("no".to_owned()))]
    #[case::copied_unknown(unknown(), true, false, HandshakePlace::Ring,
        HandshakeReason::Unknown("unknown".to_owned()))]
    #[case::copied_impossible(no(), true, false, HandshakePlace::Ring, HandshakeReason::Impossible("no".to_owned()))]
    #[case::generic(DriverAnswers::Yes, false, false, HandshakePlace::Ring, HandshakeReason::Generic)]
    fn auto_takes_the_cheaper_place(
        #[case] answers: DriverAnswers,
        #[case] native: bool,
        #[case] zero_copy: bool,
        #[case] place: HandshakePlace,
        #[case] reason: HandshakeReason,
    ) {
        assert_eq!(choose(answers, native, zero_copy), HandshakeChoice { place, reason });
    }
}
