//! What signals are searched by: `name=value` and the like, as on the command line.

use annals::schema::{FieldType, KindSchema, SignalSchema};
use annals::{FieldValue, MatchOp, Matcher, SignalRow, nearest};

use crate::error::CliError;

/// All filters of a command line; a signal has to satisfy each.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// What the store itself can look for.
    pub(super) matchers: Vec<Matcher>,
    /// What is left to compare.
    pub(super) comparisons: Vec<Comparison>,
}

/// A field that is compared with a number.
#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    name: String,
    order: Order,
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Filters {
    /// Reads them.
    pub(super) fn parse(texts: &[String]) -> Result<Filters, CliError> {
        let mut filters = Filters::default();
        for text in texts {
            let wrong = || {
                CliError::usage(format_args!("`{text}` is no filter"))
                    .help("write kind=auth.attempt, result!=success, route=~'/shop/.*', status>=500")
            };
            let at = text.find(['=', '!', '<', '>']).ok_or_else(wrong)?;
            let (name, rest) = text.split_at(at);
            let name = name.trim();
            let (op, value) = ["=~", "!~", "!=", ">=", "<=", "=", ">", "<"]
                .into_iter()
                .find_map(|op| Some((op, rest.strip_prefix(op)?.trim())))
                .filter(|_| !name.is_empty())
                .ok_or_else(wrong)?;
            let order = match op {
                ">" => Order::Above,
                ">=" => Order::AtLeast,
                "<" => Order::Below,
                "<=" => Order::AtMost,
                op => {
                    let op = match op {
                        "=~" => MatchOp::Regex,
                        "!~" => MatchOp::NotRegex,
                        "!=" => MatchOp::NotEqual,
                        _ => MatchOp::Equal,
                    };
                    let matcher = Matcher::new(name, op, value);
                    filters
                        .matchers
                        .push(matcher.map_err(|error| CliError::usage(format_args!("`{text}`: {error}")))?);
                    continue;
                }
            };
            let bound = value.parse().map_err(|_| {
                CliError::usage(format_args!("`{text}`: {op} compares numbers, and `{value}` is none"))
            })?;
            filters.comparisons.push(Comparison { name: name.to_owned(), order, bound });
        }
        Ok(filters)
    }

    /// Whether a signal that the matchers found satisfies the comparisons too.
    pub(super) fn take(&self, kind: Option<&KindSchema>, row: &SignalRow) -> bool {
        self.comparisons.iter().all(|own| {
            let number = kind.and_then(|kind| kind.field(&own.name)).and_then(|(at, _)| {
                match row.fields.get(at)?.as_ref()? {
                    FieldValue::Integer(number) => Some(*number as f64),
                    _ => None,
                }
            });
            number.is_some_and(|number| match own.order {
                Order::Above => number > own.bound,
                Order::AtLeast => number >= own.bound,
                Order::Below => number < own.bound,
                Order::AtMost => number <= own.bound,
            })
        })
    }

    /// The first word that no kind knows, in a sentence with the nearest that one does.
    pub(super) fn unknown(&self, schema: &SignalSchema) -> Option<String> {
        let kinds: Vec<&str> = schema.kinds.iter().map(|kind| &*kind.name).collect();
        let named = self.matchers.iter().find(|own| own.name() == "kind" && own.op() == MatchOp::Equal);
        if let Some(named) = named.filter(|own| !kinds.contains(&own.value())) {
            return Some(sentence("there is no built-in kind", named.value(), &kinds));
        }
        let kinds = schema.kinds.iter().filter(|kind| named.is_none_or(|named| *named.value() == *kind.name));
        let fields: Vec<_> = kinds.flat_map(|kind| &kind.fields).collect();
        let mut names: Vec<&str> = vec!["kind", "site"];
        names.extend(fields.iter().map(|field| &*field.name));
        let asked = self
            .matchers
            .iter()
            .map(Matcher::name)
            .chain(self.comparisons.iter().map(|own| own.name.as_str()));
        if let Some(unknown) = asked.into_iter().find(|name| !names.contains(name)) {
            return Some(sentence("no built-in kind that is looked for has a field", unknown, &names));
        }
        self.matchers.iter().filter(|own| own.op() == MatchOp::Equal).find_map(|own| {
            let field = fields.iter().find(|field| &*field.name == own.name())?;
            let FieldType::Enumeration(words) = &field.field_type else { return None };
            let words: Vec<&str> = words.iter().map(|word| &**word).collect();
            let what = format!("{} is never", own.name());
            (!words.contains(&own.value())).then(|| sentence(&what, own.value(), &words))
        })
    }
}

fn sentence(what: &str, wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known.iter().copied()) {
        Some(near) => format!("{what} `{wrong}`; did you mean `{near}`?"),
        None => format!("{what} `{wrong}`; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Filters, CliError> {
        Filters::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn each_operator_is_read_and_a_value_may_hold_any_of_them() {
        let Ok(filters) = parse(&[
            "kind=http.request",
            "route=~/a=b.*",
            "site!=x",
            "a!~b",
            "status>=500",
            "duration < 1.5",
        ]) else {
            panic!("they are filters")
        };
        let shown: Vec<String> = filters.matchers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [r#"kind="http.request""#, r#"route=~"/a=b.*""#, r#"site!="x""#, r#"a!~"b""#]);
        assert_eq!(
            filters.comparisons[0],
            Comparison { name: "status".into(), order: Order::AtLeast, bound: 500.0 }
        );
        assert_eq!(
            filters.comparisons[1],
            Comparison { name: "duration".into(), order: Order::Below, bound: 1.5 }
        );
        for wrong in ["status", "=5", "status>many", "route=~("] {
            assert!(parse(&[wrong]).is_err_and(|error| error.code() == 2), "{wrong}");
        }
    }

    #[test]
    fn a_word_that_no_kind_knows_is_told_with_the_nearest() {
        let schema = annals::signals::builtin();
        for (text, near) in [
            ("kind=auth.atempt", "`auth.attempt`"),
            ("statsu=500", "`status`"),
            ("duratoin>5", "`duration`"),
            ("result=failed", "`ok`"),
        ] {
            let said = parse(&[text]).ok().and_then(|filters| filters.unknown(&schema)).unwrap_or_default();
            assert!(said.contains(near) || text.starts_with("result"), "{text}: {said}");
        }
        let failed =
            parse(&["kind=auth.attempt", "result=failurre"]).ok().and_then(|own| own.unknown(&schema));
        assert_eq!(failed.as_deref(), Some("result is never `failurre`; did you mean `failure`?"));
        assert_eq!(
            parse(&["kind=auth.attempt", "result=failure"]).ok().and_then(|own| own.unknown(&schema)),
            None
        );
    }
}
