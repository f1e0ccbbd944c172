//! Negotiation of the content coding (RFC 9110 12.5.3). Knows nothing of files.

use super::conditions::ListField;

/// A content coding (RFC 9110 8.4.1) of files that are compressed beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ContentCoding {
    Brotli,
    Zstandard,
    Gzip,
}

impl ContentCoding {
    pub(super) const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// Its name in Content-Encoding.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The suffix of a file in this coding.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }

    fn is(self, token: &[u8]) -> bool {
        // RFC 9110 8.4.1.3.
        token.eq_ignore_ascii_case(self.name().as_bytes())
            || (self == Self::Gzip && token.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// In thousandths.
type QValue = u16;
const FULL: QValue = 1000;

/// The weights in an Accept-Encoding field; `None` for a coding that it does not name.
#[derive(Clone, Copy, Debug, Default)]
struct QValues {
    codings: [Option<QValue>; ContentCoding::ALL.len()],
    identity: Option<QValue>,
    others: Option<QValue>,
}

/// The index of the client's preferred coding in `offered`, best first. `None` if it accepts none, or prefers identity.
pub(super) fn choose(
    accepted: &ListField<'_>,
    offered: impl Iterator<Item = ContentCoding>,
) -> Option<usize> {
    let weights = QValues::read(accepted);
    let mut best: Option<(usize, QValue)> = None;
    for (place, coding) in offered.enumerate() {
        let weight = weights.codings[coding as usize].or(weights.others).unwrap_or(0);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((place, weight));
        }
    }
    best.filter(|(_, weight)| weights.identity.is_none_or(|identity| identity <= *weight))
        .map(|(place, _)| place)
}

impl QValues {
    fn read(accepted: &ListField<'_>) -> Self {
        let mut weights = Self::default();
        for element in accepted.lines().flat_map(|line| line.split(|byte| *byte == b',')) {
            let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let token = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
            // A malformed weight counts as 0.
            let weight = Some(weight.map_or(FULL, |weight| read_weight(weight).unwrap_or(0)));
            if let Some(coding) = ContentCoding::ALL.into_iter().find(|coding| coding.is(token)) {
                weights.codings[coding as usize] = weight;
            } else if token.eq_ignore_ascii_case(b"identity") {
                weights.identity = weight;
            } else if token == b"*" {
                weights.others = weight;
            }
        }
        weights
    }
}

/// Parses a weight (RFC 9110 12.4.2): 0 to 1, with at most three decimals.
fn read_weight(value: &[u8]) -> Option<QValue> {
    let (whole, fraction) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digits = std::iter::once(whole).chain(fraction).chain(std::iter::repeat(&b'0')).take(4);
    let weight = digits.into_iter().try_fold(0, |sum: QValue, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + QValue::from(digit - b'0'))
    })?;
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::gzip("gzip", Some(ContentCoding::Gzip))]
    #[case::old_name("x-gzip", Some(ContentCoding::Gzip))]
    #[case::capitals("GZIP", Some(ContentCoding::Gzip))]
    #[case::browser("gzip, deflate, br, zstd", Some(ContentCoding::Brotli))]
    #[case::zstandard("gzip, zstd", Some(ContentCoding::Zstandard))]
    #[case::weights("br;q=0.5, gzip;q=0.8", Some(ContentCoding::Gzip))]
    #[case::spaces("br ; q=0.5 ,\tgzip ; q=0.501", Some(ContentCoding::Gzip))]
    #[case::equal_weights("gzip;q=0.5, br;q=0.500", Some(ContentCoding::Brotli))]
    #[case::refused("gzip;q=0", None)]
    #[case::refused_in_full("gzip;q=0.000", None)]
    #[case::any("*", Some(ContentCoding::Brotli))]
    #[case::any_but_one("*, br;q=0", Some(ContentCoding::Zstandard))]
    #[case::any_less("gzip, *;q=0.5", Some(ContentCoding::Gzip))]
    #[case::none("", None)]
    #[case::none_known("deflate, compress", None)]
    #[case::identity_alone("identity", None)]
    #[case::identity_better("gzip;q=0.5, identity", None)]
    #[case::identity_worse("gzip, identity;q=0.5", Some(ContentCoding::Gzip))]
    #[case::identity_as_good("identity, gzip", Some(ContentCoding::Gzip))]
    #[case::identity_refused("identity;q=0, gzip;q=0.1", Some(ContentCoding::Gzip))]
    #[case::not_the_name("gzipped, agzip", None)]
    #[case::weight_too_large("gzip;q=2", None)]
    #[case::weight_too_long("gzip;q=0.1234", None)]
    #[case::weight_is_none("gzip;q=a", None)]
    #[case::small_weight("gzip;q=0.001", Some(ContentCoding::Gzip))]
    #[case::full_weight("gzip;q=1.000", Some(ContentCoding::Gzip))]
    #[case::other_parameter("gzip;a=b;q=0", None)]
    fn coding_is_chosen(#[case] accepted: &'static str, #[case] expected: Option<ContentCoding>) {
        let list = ListField::one("accept-encoding", accepted.as_bytes());
        let chosen = choose(&list, ContentCoding::ALL.into_iter()).map(|place| ContentCoding::ALL[place]);
        assert_eq!(chosen, expected);
    }
}
