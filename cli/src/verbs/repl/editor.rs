//! The line that is being written: what can follow, colours, and whether it is finished.

use std::borrow::Cow;

use annals::query::promql::{FUNCTIONS, Wanted, complete, function, parse};
use annals::{METRIC_NAME, Matcher, SelectedSeries, SeriesSource, TenantReader, TimeRange};
use clap::ValueEnum;
use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::COMMANDS;
use crate::access::Reading;
use crate::output::AnswerForm;
use crate::verbs::questions;
use crate::verbs::reader::Reader;

/// Aggregations, which are no functions.
const AGGREGATIONS: [&str; 14] = [
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
];
/// What stands between operands.
const OPERATORS: [&str; 12] = [
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "offset",
    "on",
    "or",
    "unless",
    "without",
    "@",
];
/// Lengths of time that people ask about.
const DURATIONS: [&str; 9] = ["1m", "5m", "15m", "1h", "6h", "12h", "1d", "7d", "30d"];

/// What the line knows.
pub(super) struct Line {
    reader: Option<TenantReader>,
    tenants: Vec<String>,
    colour: bool,
}

impl Line {
    pub(super) fn new(reader: Reader, reading: &Reading, colour: bool) -> Line {
        let tenants = reading.store.tenants().iter().map(|tenant| tenant.id.to_string()).collect();
        Line { reader: reader.helper().cloned(), tenants, colour }
    }

    fn values(&self, label: &str, matchers: &[Matcher]) -> Vec<String> {
        self.of_found(matchers, |found| found.label_values(label))
    }

    fn names(&self, matchers: &[Matcher]) -> Vec<String> {
        let mut names = self.of_found(matchers, |found| found.label_names());
        names.retain(|name| name != METRIC_NAME);
        names
    }

    fn of_found(&self, matchers: &[Matcher], of: impl Fn(&dyn SelectedSeries) -> Vec<String>) -> Vec<String> {
        let Some(reader) = &self.reader else { return Vec::new() };
        let found = reader.select_labels(matchers, TimeRange::ALL, &reader.budget());
        found.map(|found| of(&*found)).unwrap_or_default()
    }

    /// What can stand at a place, and where it begins.
    fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = line.get(..at).unwrap_or(line);
        // Of several questions, the one at hand; of a command, what follows it.
        let start = questions::last_start(before);
        let own = before.get(start..).unwrap_or_default();
        let skipped = own.len() - own.trim_start().len();
        let (start, own) = (start + skipped, own.trim_start());
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        if let Some((name, rest)) = own.split_once(char::is_whitespace).filter(|_| own.starts_with('.')) {
            let place = at - rest.trim_start().len();
            let known = match name {
                ".tenant" => self.tenants.clone(),
                ".mode" => AnswerForm::value_variants().iter().map(|form| form.word()).collect(),
                ".timer" => words(&["on", "off"]),
                ".labels" => self.names(&[]),
                ".metrics" => self.values(METRIC_NAME, &[]),
                ".explain" | ".watch" => {
                    let (word, found) = self.in_question(rest);
                    return (at - rest.len() + word, found);
                }
                _ => Vec::new(),
            };
            return (place, starting(known, rest.trim_start()));
        }
        if own.starts_with('.') {
            return (start, starting(COMMANDS.iter().map(|(name, ..)| (*name).to_owned()).collect(), own));
        }
        let (word, found) = self.in_question(own);
        (start + word, found)
    }

    fn in_question(&self, text: &str) -> (usize, Vec<String>) {
        let place = complete(text, text.len());
        let known = match place.wanted {
            Wanted::Expression => {
                let functions = FUNCTIONS.iter().map(|function| function.name).chain(AGGREGATIONS);
                let mut all = self.values(METRIC_NAME, &[]);
                all.extend(functions.map(|name| format!("{name}(")));
                all
            }
            Wanted::Operator => OPERATORS.map(str::to_owned).to_vec(),
            Wanted::LabelName(matchers) => self.names(&matchers),
            Wanted::LabelValue(label, matchers) => self.values(&label, &matchers),
            Wanted::GroupingLabel => self.names(&[]),
            Wanted::Duration => DURATIONS.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        (place.word.start, starting(known, text.get(place.word.start..).unwrap_or_default()))
    }
}

fn starting(mut known: Vec<String>, word: &str) -> Vec<String> {
    known.retain(|one| one.starts_with(word));
    known.sort();
    known
}

/// Whether Enter asks: what is written parses, is wrong before its end, or ends with an empty line.
pub(super) fn is_finished(text: &str) -> bool {
    let last = text.get(questions::last_start(text)..).unwrap_or_default();
    let own = last.trim();
    if own.is_empty() || own.starts_with('.') || text.ends_with("\n\n") {
        return true;
    }
    match parse(last) {
        Ok(_) => true,
        Err(error) => error.span.start < last.trim_end().len() && !opens_string(own),
    }
}

/// Whether a string is open at the end.
fn opens_string(text: &str) -> bool {
    // One that is closed does not take what follows.
    questions::split(&format!("{text};x")).len() < 2
}

impl Helper for Line {}

impl Hinter for Line {
    type Hint = String;
}

impl Completer for Line {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

impl Validator for Line {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_finished(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Highlighter for Line {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.colour { Cow::Owned(coloured(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.colour && kind != CmdKind::MoveCursor
    }
}

/// Strings green, numbers and lengths of time cyan, functions blue, words of the language magenta, comments grey.
fn coloured(line: &str) -> String {
    let mut text = String::with_capacity(line.len() * 2);
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let word = |part: &str| {
            part.find(|c: char| !(c.is_alphanumeric() || "_:.".contains(c))).unwrap_or(part.len())
        };
        let (length, colour) = match first {
            '"' | '\'' | '`' => {
                let mut escaped = false;
                let end = rest.char_indices().skip(1).find(|&(_, letter)| {
                    let closes = letter == first && !escaped;
                    escaped = letter == '\\' && !escaped && first != '`';
                    closes
                });
                (end.map_or(rest.len(), |(at, _)| at + 1), 32)
            }
            '#' => (rest.find('\n').unwrap_or(rest.len()), 90),
            '0'..='9' => (word(rest), 36),
            _ if first.is_alphabetic() || first == '_' || first == '.' => {
                let length = word(rest).max(first.len_utf8());
                let own = rest.get(..length).unwrap_or_default();
                let colour = match own {
                    own if own.starts_with('.') || OPERATORS.contains(&own) => 35,
                    own if function(own).is_some() || AGGREGATIONS.contains(&own) => 34,
                    _ => 0,
                };
                (length, colour)
            }
            _ => (first.len_utf8(), 0),
        };
        let (own, after) = rest.split_at(length);
        match colour {
            0 => text.push_str(own),
            colour => text += &format!("\u{1b}[{colour}m{own}\u{1b}[0m"),
        }
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_goes_on_while_something_is_missing_at_its_end() {
        for open in ["sum(", "sum by (status) (", "up +", "up{", "up{a=\"b", "1; sum(rate(up[5m])"] {
            assert!(!is_finished(open), "{open}");
        }
        // Wrong in the middle, finished, a command, or given up by an empty line.
        for done in ["up", "sum(up)", "up up", "sum)(", ".mode chart", "", "up;", "sum(\n\n"] {
            assert!(is_finished(done), "{done}");
        }
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        for line in
            ["sum by (a) (rate(up{b=\"c\\\"d\"}[5m])) > 1e3 # x", "é\"ü", ".mode chart", "`\\`x`", "up{a='"]
        {
            let mut plain = coloured(line);
            for colour in ["\u{1b}[0m", "\u{1b}[32m", "\u{1b}[34m", "\u{1b}[35m", "\u{1b}[36m", "\u{1b}[90m"]
            {
                plain = plain.replace(colour, "");
            }
            assert_eq!(plain, line);
        }
        assert!(coloured("sum(up)").starts_with("\u{1b}[34msum\u{1b}[0m(up"));
    }
}
