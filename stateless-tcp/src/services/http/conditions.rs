//! The header fields that select a response: preconditions, ranges and codings (RFC 9110 13, 14, 12.5.3). Knows nothing
//! of files but their validators.

use std::time::SystemTime;

use httparse::Header;

/// The raw fields of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions<'a> {
    if_match: Option<ListField<'a>>,
    if_none_match: Option<ListField<'a>>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
    range: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    /// The codings that the client accepts.
    pub(super) accept_encoding: Option<ListField<'a>>,
}

/// The validators of a file's version (RFC 9110 8.8).
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// The strong entity tag with its quotes.
    pub(super) etag: &'a [u8],
    /// In whole seconds, as in Last-Modified.
    pub(super) modified: Option<SystemTime>,
}

/// The result of the preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The request is answered as if it had none.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client wants another version.
    Failed,
}

impl<'a> Conditions<'a> {
    /// The conditions of `head`, whose bytes are `bytes`.
    pub(super) fn read(bytes: &'a [u8], head: &httparse::Request<'_, 'a>) -> Self {
        let mut conditions = Self::default();
        for header in &*head.headers {
            conditions.add(bytes, header);
        }
        conditions
    }

    fn add(&mut self, bytes: &'a [u8], header: &Header<'a>) {
        // Most fields of a request are irrelevant, and their length tells that.
        let field = match header.name.len() {
            5 | 8 | 13 | 15 | 17 | 19 => header,
            _ => return,
        };
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("if-match") {
            ListField::add(&mut self.if_match, "if-match", field.value, bytes);
        } else if is("if-none-match") {
            ListField::add(&mut self.if_none_match, "if-none-match", field.value, bytes);
        } else if is("if-modified-since") {
            put(&mut self.if_modified_since, field.value);
        } else if is("if-unmodified-since") {
            put(&mut self.if_unmodified_since, field.value);
        } else if is("range") {
            put(&mut self.range, field.value);
        } else if is("if-range") {
            put(&mut self.if_range, field.value);
        } else if is("accept-encoding") {
            ListField::add(&mut self.accept_encoding, "accept-encoding", field.value, bytes);
        }
    }

    /// Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 13.2.2.
    pub(super) fn evaluate(&self, validators: &Validators<'_>) -> Precondition {
        let Validators { etag, modified } = *validators;
        let holds = match (&self.if_match, self.if_unmodified_since.and_then(date), modified) {
            (Some(tags), ..) => tags.names(etag, TagComparison::Strong),
            (None, Some(since), Some(modified)) => modified <= since,
            _ => true,
        };
        if !holds {
            return Precondition::Failed;
        }
        let has_it = match (&self.if_none_match, self.if_modified_since.and_then(date), modified) {
            (Some(tags), ..) => tags.names(etag, TagComparison::Weak),
            // The times must be equal: a file that was reset to an older version has changed (nginx: if_modified_since
            // exact).
            (None, Some(since), Some(modified)) => modified == since,
            _ => false,
        };
        if has_it { Precondition::NotModified } else { Precondition::Proceed }
    }

    /// The Range field of a GET, unless If-Range names another version (RFC 9110 13.1.5).
    pub(super) fn range(&self, validators: &Validators<'_>) -> Option<&'a [u8]> {
        let same = |version: &[u8]| match version {
            [b'"', ..] => version == validators.etag,
            _ => validators.modified.is_some_and(|modified| date(version) == Some(modified)),
        };
        self.range.filter(|_| self.if_range.is_none_or(same))
    }
}

/// Sets a field that may occur once; repeated, its value is invalid.
fn put<'a>(field: &mut Option<&'a [u8]>, value: &'a [u8]) {
    *field = Some(if field.is_none() { value } else { b"" });
}

/// Parses a date. `None` if it is invalid: the field is ignored then (RFC 9110 13.1.3, 13.1.4).
fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

/// The comparison of entity tags (RFC 9110 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TagComparison {
    Strong,
    Weak,
}

/// A field whose value is a list, which may be spread over several lines (RFC 9110 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListField<'a> {
    name: &'static str,
    first: &'a [u8],
    /// The head, if the field has more lines than the first.
    head: Option<&'a [u8]>,
}

impl<'a> ListField<'a> {
    fn add(list: &mut Option<Self>, name: &'static str, value: &'a [u8], head: &'a [u8]) {
        match list {
            Some(list) => list.head = Some(head),
            None => *list = Some(Self::one(name, value)),
        }
    }

    /// A field of one line.
    pub(super) const fn one(name: &'static str, value: &'a [u8]) -> Self {
        Self { name, first: value, head: None }
    }

    /// The values of its lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { name, first, head } = *self;
        let all = head.unwrap_or_default().split(|byte| *byte == b'\n').filter_map(move |line| {
            let (field, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
            field.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
        });
        head.is_none().then_some(first).into_iter().chain(all)
    }

    /// Whether the list contains this entity tag, or "*", which means every one.
    fn names(&self, etag: &[u8], comparison: TagComparison) -> bool {
        self.lines().any(|line| {
            line == b"*"
                || EntityTags(line)
                    .any(|(one, weak)| one == etag && (comparison == TagComparison::Weak || !weak))
        })
    }
}

/// Iterates over the entity tags of a line, with quotes and weakness, up to the first malformed one.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        // RFC 9110 5.6.1.2: empty elements are passed over.
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let line = &self.0[start..];
        let (weak, quoted) = match line.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, line),
        };
        let end = 2 + quoted.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')?;
        let (etag, rest) = quoted.split_at(end);
        self.0 = rest;
        Some((etag, weak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::one("\"a\"", true, true)]
    #[case::weak("W/\"a\"", true, false)]
    #[case::any("*", true, true)]
    #[case::another("\"b\"", false, false)]
    #[case::without_quotes("a", false, false)]
    #[case::longer("\"ab\"", false, false)]
    #[case::second("\"b\", \"a\"", true, true)]
    #[case::without_space("\"b\",\"a\"", true, true)]
    #[case::empty_elements(",, \"b\" ,\t, \"a\" ,", true, true)]
    #[case::comma_inside("\"b,\", \"a\"", true, true)]
    #[case::inside_another("\"b, a\"", false, false)]
    #[case::weak_among_others("\"b\", W/\"a\"", true, false)]
    #[case::small_w("w/\"a\"", false, false)]
    #[case::behind_what_is_none("b, \"a\"", false, false)]
    #[case::cut("\"a", false, false)]
    #[case::empty("", false, false)]
    #[case::any_among_others("*, \"b\"", false, false)]
    fn tags_are_compared(#[case] value: &str, #[case] weak: bool, #[case] strong: bool) {
        let list = ListField::one("if-match", value.as_bytes());
        assert_eq!(list.names(b"\"a\"", TagComparison::Weak), weak);
        assert_eq!(list.names(b"\"a\"", TagComparison::Strong), strong);
    }

    #[test]
    fn a_list_may_be_spread_over_lines() {
        let head =
            b"GET / HTTP/1.1\r\nIf-Match: \"b\"\r\nHost: a\nIF-MATCH:\"a\" \nIf-Match-Not: \"c\"\r\n\r\n";
        let mut list = None;
        ListField::add(&mut list, "if-match", b"\"b\"", head);
        ListField::add(&mut list, "if-match", b"\"a\"", head);
        let list = list.unwrap();
        assert_eq!(list.lines().collect::<Vec<_>>(), [&b"\"b\""[..], b"\"a\""]);
        assert!(list.names(b"\"a\"", TagComparison::Strong));
        assert!(!list.names(b"\"c\"", TagComparison::Strong));
    }
}
