//! A series in PromQL notation, as exposition lines and table headers have it.

use std::borrow::Cow;

use annals_model::METRIC_NAME;

/// Label names and values in the text's order, the metric's name first, as `__name__`.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The labels of a whole text such as `go_gc_duration_seconds{quantile="0"}`; `None` where it is not such.
///
/// Also takes names that need quotes, `{"a.b", "c d"="e"}`. Escapes in quotes are `\\`, `\"` and `\n`; a backslash
/// before anything else stands for itself.
#[must_use]
pub fn parse_series(text: &str) -> Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    match series_prefix(text) {
        Some((pairs, "")) => Some(pairs),
        _ => None,
    }
}

/// Where the series ends that a text starts with, if it is one: what stands before is for [`parse_series`]. `None` where
/// a brace or quote is never closed.
pub(super) fn series_end(text: &str) -> Option<usize> {
    let (name, rest) = plain_name(text, true);
    let Some(inner) = rest.trim_start_matches([' ', '\t']).strip_prefix('{') else { return Some(name.len()) };
    let opened = text.len() - inner.len();
    let mut quoted = false;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => _ = bytes.next(),
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(opened + at + 1),
            _ => {}
        }
    }
    None
}

/// The metric's name in front of a series, where it needs no quotes.
pub(super) fn metric_of(series: &str) -> Option<&str> {
    let (name, _) = plain_name(series, true);
    (!name.is_empty()).then_some(name)
}

/// The series that a text starts with, and what follows it.
fn series_prefix(text: &str) -> Option<(Pairs<'_>, &str)> {
    let (name, rest) = plain_name(text, true);
    let mut pairs: Pairs<'_> = Vec::new();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.into(), name.into()));
    }
    let Some(mut rest) = rest.trim_start_matches([' ', '\t']).strip_prefix('{') else {
        return (!pairs.is_empty()).then_some((pairs, rest));
    };
    loop {
        rest = skip_space(rest);
        if let Some(after) = rest.strip_prefix('}') {
            // A series needs a name: Annals keys kinds by it.
            return pairs.first().is_some_and(|(name, _)| name == METRIC_NAME).then_some((pairs, after));
        }
        let (name, after) = if rest.starts_with('"') {
            quoted(rest)?
        } else {
            let (name, after) = plain_name(rest, false);
            (Cow::Borrowed(name), after)
        };
        if name.is_empty() {
            return None;
        }
        let is_quoted = rest.starts_with('"');
        rest = skip_space(after);
        match rest.strip_prefix('=') {
            Some(after) => {
                let (value, after) = quoted(skip_space(after))?;
                rest = after;
                match &*name {
                    METRIC_NAME => named(&mut pairs, value)?,
                    _ => pairs.push((name, value)),
                }
            }
            // A quoted text alone is the metric's name.
            None if is_quoted => named(&mut pairs, name)?,
            None => return None,
        }
        rest = skip_space(rest);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// Puts the metric's name first; `None` where there is one.
fn named<'a>(pairs: &mut Pairs<'a>, name: Cow<'a, str>) -> Option<()> {
    if pairs.iter().any(|(known, _)| known == METRIC_NAME) || name.is_empty() {
        return None;
    }
    pairs.insert(0, (METRIC_NAME.into(), name));
    Some(())
}

/// The longest plain name that a text starts with (empty where none), and what follows.
fn plain_name(text: &str, is_metric: bool) -> (&str, &str) {
    let fits = |at: usize, byte: u8| {
        byte == b'_'
            || byte.is_ascii_alphabetic()
            || (is_metric && byte == b':')
            || (at > 0 && byte.is_ascii_digit())
    };
    let end = text.bytes().enumerate().find(|&(at, byte)| !fits(at, byte)).map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

/// A text in double quotes, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut unescaped = String::new();
    let mut from = 0;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let (last, rest) = (inner.get(from..at)?, inner.get(at + 1..)?);
                if from == 0 && unescaped.is_empty() {
                    return Some((last.into(), rest));
                }
                unescaped.push_str(last);
                return Some((unescaped.into(), rest));
            }
            b'\\' => {
                let (_, escaped) = bytes.next()?;
                let stands_for = match escaped {
                    b'\\' => '\\',
                    b'"' => '"',
                    b'n' => '\n',
                    _ => continue,
                };
                unescaped.push_str(inner.get(from..at)?);
                unescaped.push(stands_for);
                from = at + 2;
            }
            _ => {}
        }
    }
    None
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<Vec<(String, String)>> {
        let own = |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
        parse_series(text).map(|pairs| pairs.into_iter().map(own).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn series_are_read_in_every_notation() {
        assert_eq!(parsed("up"), pairs(&[("__name__", "up")]));
        assert_eq!(parsed("a:b{}"), pairs(&[("__name__", "a:b")]));
        assert_eq!(
            parsed(r#"up{a="1",b = "x, \"y\" \\ \n \d",}"#),
            pairs(&[("__name__", "up"), ("a", "1"), ("b", "x, \"y\" \\ \n \\d")])
        );
        assert_eq!(
            parsed(r#"{x="1", "a.b", "c d"="é"}"#),
            pairs(&[("__name__", "a.b"), ("x", "1"), ("c d", "é")])
        );
        assert_eq!(parsed(r#"{__name__="up",x=""}"#), pairs(&[("__name__", "up"), ("x", "")]));
        for bad in [
            "",
            "{}",
            "9a",
            "up{",
            "up{a}",
            "up{a=}",
            "up{a=\"",
            "up{a=\"x\\",
            "up{a=\"1\"b=\"2\"}",
            "up x",
            "up{=\"1\"}",
            "{a=\"1\"}",
            "up{__name__=\"b\"}",
            "up{a:b=\"1\"}",
            "up{,}",
            "é",
            "up{\"\"}",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_a_label_set_prints_is_read_back(values in prop::collection::btree_map("[a-z]{1,4}", "[ -~éß\n]{1,9}", 0..4)) {
            let all = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("__name__", "up")]);
            let labels = annals_model::LabelSet::from_pairs(all).expect("valid");
            let text = labels.to_string();
            let again = annals_model::LabelSet::from_pairs(parse_series(&text).expect("a series")).expect("valid");
            prop_assert_eq!(again, labels);
        }

        #[test]
        fn no_text_panics(text in "[a{}\",=\\\\ é]{0,20}") {
            let _ = parse_series(&text);
        }
    }
}
