//! The questions of a command line, a file or standard input, and the hints where an answer is empty.

use std::io::Read;

use annals::query::promql::{parse, selectors};
use annals::{Budget, METRIC_NAME, MatchOp, Matcher, QueryLimits, SeriesSource, TimeRange, nearest};

use crate::args::Question;
use crate::error::CliError;
use crate::output::words;

/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";
/// More questions than this in one file are a mistake.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// So much of a name is repeated in a sentence.
const TEXT_SHOWN: usize = 60;

/// The questions that are meant; at least one.
pub(crate) fn read(question: &Question) -> Result<Vec<String>, CliError> {
    let (name, text) = match (&question.expression, &question.file) {
        (Some(expression), _) if expression != STANDARD_INPUT => return Ok(vec![expression.clone()]),
        (None, Some(file)) if file.as_os_str() != STANDARD_INPUT => {
            let open = std::fs::File::open(file);
            (file.display().to_string(), open.and_then(|file| all_of(&mut { file })))
        }
        _ => ("standard input".to_owned(), all_of(&mut std::io::stdin())),
    };
    let text = text.map_err(|error| CliError::failed(format_args!("cannot read {name}: {error}")))?;
    let questions = split(&text);
    if questions.is_empty() {
        return Err(CliError::usage(format_args!("there is no question in {name}"))
            .help("write PromQL, with `;` between questions"));
    }
    Ok(questions)
}

fn all_of(reader: &mut dyn Read) -> std::io::Result<String> {
    let mut text = String::new();
    reader.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Cuts a text at each `;` that stands neither in a string nor in a comment. What holds nothing but comments is left out.
pub(crate) fn split(text: &str) -> Vec<String> {
    let (mut questions, mut own, mut said) = (Vec::new(), String::new(), false);
    let (mut quote, mut comment, mut escaped) = (None, false, false);
    for letter in text.chars() {
        match letter {
            '\n' => comment = false,
            _ if comment => {}
            _ if escaped => escaped = false,
            '\\' if quote.is_some_and(|quote| quote != '`') => escaped = true,
            _ if quote == Some(letter) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' | '`' => quote = Some(letter),
            '#' => comment = true,
            ';' => {
                if std::mem::take(&mut said) {
                    questions.push(own.trim().to_owned());
                }
                own.clear();
                continue;
            }
            _ => {}
        }
        said |= !letter.is_whitespace() && !comment;
        own.push(letter);
    }
    if said {
        questions.push(own.trim().to_owned());
    }
    questions
}

/// Where the last question of a text begins.
pub(crate) fn last_start(text: &str) -> usize {
    let ends = text.match_indices(';').map(|(at, _)| at + 1);
    // A `;` cuts where what is before it and after it are told apart.
    let cuts = |at: &usize| {
        let before = text.get(..*at - 1).unwrap_or_default();
        split(&format!("{before};x")).len() > split(before).len()
    };
    ends.rev().find(cuts).unwrap_or(0)
}

/// The first name in a question that the tenant does not know, in a sentence with the nearest that it does.
pub(crate) fn unknown_name(reader: &dyn SeriesSource, expression: &str) -> Option<String> {
    let expr = parse(expression).ok()?;
    let budget = Budget::new(QueryLimits::default());
    for selector in selectors(&expr) {
        let is_fixed = |matcher: &&Matcher| matcher.op() == MatchOp::Equal && !matcher.value().is_empty();
        let fixed: Vec<&Matcher> = selector.matchers.iter().map(|own| &own.item).filter(is_fixed).collect();
        let of_metric: Vec<Matcher> =
            fixed.iter().filter(|own| own.name() == METRIC_NAME).map(|own| (*own).clone()).collect();
        if let Some(metric) = of_metric.first() {
            let all = reader.select_labels(&[], TimeRange::ALL, &budget).ok()?;
            let known = all.label_values(METRIC_NAME);
            if !known.iter().any(|name| name == metric.value()) {
                let is = format!("there is no metric `{}`", shown(metric.value()));
                return Some(sentence(&is, metric.value(), &known));
            }
        }
        let of_it = reader.select_labels(&of_metric, TimeRange::ALL, &budget).ok()?;
        for own in fixed.iter().filter(|own| own.name() != METRIC_NAME) {
            let what = of_metric
                .first()
                .map_or("no series".to_owned(), |metric| format!("no series of `{}`", shown(metric.value())));
            let known = of_it.label_values(own.name());
            if known.is_empty() {
                let names = of_it.label_names();
                let is = format!("{what} has the label `{}`", shown(own.name()));
                return Some(sentence(&is, own.name(), &names));
            }
            if !known.iter().any(|value| value == own.value()) {
                let is = format!("{what} has {}=\"{}\"", shown(own.name()), shown(own.value()));
                return Some(sentence(&is, own.value(), &known));
            }
        }
    }
    None
}

/// A name or value of a question as a sentence repeats it: it may be of any length, and hold anything.
fn shown(text: &str) -> String {
    words::cut(&words::harmless(text), TEXT_SHOWN)
}

fn sentence(what: &str, wrong: &str, known: &[String]) -> String {
    match nearest(wrong, known.iter().map(String::as_str)) {
        Some(near) => format!("{what}; did you mean `{near}`?"),
        None => format!("{what}; `annals series` lists what there is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_cut_where_no_string_and_no_comment_is() {
        let text = "up; # first; still a comment\nsum(x{a=\"1;2\", b='\\';', c=`\\`});;\n# the end;\n";
        assert_eq!(split(text), ["up", "# first; still a comment\nsum(x{a=\"1;2\", b='\\';', c=`\\`})"]);
        assert_eq!(split(" ;; # nothing\n"), Vec::<String>::new());
    }
}
