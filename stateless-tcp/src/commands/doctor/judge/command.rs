//! The arguments of the command line that the command to use repeats.

/// Options with a value that are not repeated, as the command has its own.
const WITH_VALUE: [&str; 5] = ["-i", "--interface", "--queues", "--xdp-mode", "--segment-size"];

/// `arguments` as a shell takes them, without the interface, `-v`, the queues, and the options that are `decided` anew.
pub(super) fn without<'a>(arguments: &[String], decided: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let dropped: Vec<&str> = ["-i", "--interface", "--verbose", "--queues", "--uncovered-queues"]
        .into_iter()
        .chain(decided)
        .collect();
    let mut kept = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let short = !word.starts_with("--") && (word.starts_with("-v") || word.starts_with("-i"));
        let (flag, value) =
            word.split_once('=').map_or((&word[..], None), |(flag, value)| (flag, Some(value)));
        if short && word != "-i" {
            continue;
        }
        if !dropped.contains(&flag) {
            kept.push(quoted(word));
        } else if value.is_none() && WITH_VALUE.contains(&flag) {
            words.next();
        }
    }
    kept
}

/// The word in quotes if a shell would not take it as it is.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+[]".contains(&byte);
    if word.bytes().all(plain) && !word.is_empty() {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::content("-i eth0 --zone a.zone --http-root=/srv/www", "--zone a.zone --http-root=/srv/www")]
    #[case::short("-vv -ieth0 --dns-port 5353", "--dns-port 5353")]
    #[case::queues("--queues 0-3 --uncovered-queues --interface=eth0 -v --demo", "--demo")]
    #[case::decided("-i eth0 --xdp-mode native --segment-size 900", "--segment-size 900")]
    fn options_are_repeated(#[case] given: &str, #[case] repeated: &str) {
        let given: Vec<String> = given.split(' ').map(str::to_owned).collect();
        assert_eq!(without(&given, ["--xdp-mode"]).join(" "), repeated);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(
            without(&["--http-root".to_owned(), "it's $x".to_owned()], []),
            ["--http-root", r"'it'\''s $x'"]
        );
    }
}
