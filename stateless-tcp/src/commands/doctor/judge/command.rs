//! The arguments of the command line that the command to use repeats.

/// Options that the command has by itself.
const OWN: [&str; 4] = ["--interface", "--verbose", "--queues", "--uncovered-queues"];

/// The options without a value, of those that are not repeated.
const WITHOUT_VALUE: [&str; 3] = ["--verbose", "--uncovered-queues", "--replace"];

/// `arguments` as a shell takes them, without the interface, `-v`, the queues, and the options that are `decided` anew.
pub(super) fn without<'a>(arguments: &[String], decided: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let dropped: Vec<&str> = OWN.into_iter().chain(decided).collect();
    let mut kept = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word.starts_with('-') && !word.starts_with("--") {
            // These are -i and -v, which may be one word. The interface may be the next.
            if word.trim_start_matches(['-', 'v']) == "i" {
                words.next();
            }
            continue;
        }
        let (flag, value) =
            word.split_once('=').map_or((&word[..], None), |(flag, value)| (flag, Some(value)));
        if !dropped.contains(&flag) {
            kept.push(quoted(word));
        } else if value.is_none() && !WITHOUT_VALUE.contains(&flag) {
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
    #[case::in_one_word("-vi eth0 --demo", "--demo")]
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
