//! Scripts of `load`, `eval` and what to expect, in the language of Prometheus' promqltest.
//!
//! ```text
//! load 5m
//!   requests_total{path="/a"}  0+10x4        # 0 10 20 30 40, every five minutes from time zero
//!
//! eval instant at 20m increase(requests_total[10m])
//!   {path="/a"} 20
//! ```
//!
//! Samples lie in memory. Numbers are compared to 1e-6. An instant evaluation must also hold as the middle step of a
//! range, and, where its value depends on samples alone, with `@` on every selector.

mod load;
mod notation;
mod verdict;

use super::{Expr, parse};
use load::Store;
use notation::{Cell, duration_ms, series_line};

/// What became of a script's evaluations.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many gave what they should.
    pub passed: usize,
    /// Those that did not, in the order of the script.
    pub failures: Vec<Failure>,
}

/// An evaluation that did not give what it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("line {line}: {query}: {why}")]
pub struct Failure {
    /// Where it stands, from 1.
    pub line: usize,
    /// What was asked.
    pub query: String,
    /// What was found and what was wanted.
    pub why: String,
}

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// When an evaluation looks.
#[derive(Debug, Clone, Copy)]
enum When {
    Instant(i64),
    /// First step, last step, step.
    Range(i64, i64, i64),
}

/// What an evaluation should give.
#[derive(Debug, Default)]
struct Expected {
    fail: Option<Text>,
    ordered: bool,
    warnings: Vec<Text>,
    infos: Vec<Text>,
    no_warn: bool,
    no_info: bool,
    string: Option<String>,
    scalar: Option<f64>,
    /// First step, last step and step of an expected range vector.
    window: Option<(i64, i64, i64)>,
    series: Vec<(annals_model::LabelSet, Vec<Cell>)>,
}

/// What an error or annotation should say.
#[derive(Debug)]
enum Text {
    Any,
    Contains(String),
    Matches(annals_model::Matcher),
}

impl Text {
    /// What stands behind `expect fail`, `expect warn`, `expect info`.
    fn read(rest: &str) -> Result<Text, String> {
        let rest = rest.trim();
        if let Some(text) = rest.strip_prefix("msg:") {
            return Ok(Text::Contains(text.trim().to_owned()));
        }
        match rest.strip_prefix("regex:") {
            None if rest.is_empty() => Ok(Text::Any),
            None => Err(format!("expected `msg:` or `regex:`, found {rest:?}")),
            Some(pattern) => {
                let pattern = format!("(?s:.*)(?:{})(?s:.*)", pattern.trim());
                let matcher = annals_model::Matcher::new("text", annals_model::MatchOp::Regex, &pattern);
                matcher.map(Text::Matches).map_err(|error| error.to_string())
            }
        }
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Text::Any => true,
            Text::Contains(part) => text.contains(part.as_str()),
            Text::Matches(matcher) => matcher.matches(text),
        }
    }
}

/// Runs a script.
pub fn run(text: &str) -> Result<Report, ScriptError> {
    let mut report = Report::default();
    let mut store = Store::default();
    let mut lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line)).peekable();
    while let Some((number, line)) = lines.next() {
        let at = |message: String| ScriptError { line: number, message };
        let word = line.split_whitespace().next().unwrap_or_default();
        let mut block = Vec::new();
        if word == "load" || word == "load_with_nhcb" || word.starts_with("eval") {
            while let Some((number, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
                if !line.starts_with('#') {
                    block.push((number, line));
                }
            }
        }
        match word {
            "clear" => store = Store::default(),
            "load" | "load_with_nhcb" => {
                let step =
                    line.split_whitespace().nth(1).ok_or_else(|| at("load needs a step".to_owned()))?;
                let step = duration_ms(step).map_err(at)?;
                store.load(&block, step, word == "load_with_nhcb")?;
            }
            "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => {
                let (when, query) = command(line).map_err(at)?;
                let mut expected = Expected::default();
                match word {
                    "eval_fail" => expected.fail = Some(Text::Any),
                    "eval_warn" => expected.warnings.push(Text::Any),
                    "eval_info" => expected.infos.push(Text::Any),
                    "eval_ordered" => expected.ordered = true,
                    _ => {}
                }
                for (number, line) in block {
                    expectation(&mut expected, line)
                        .map_err(|message| ScriptError { line: number, message })?;
                }
                match evaluate(&store, when, query, &expected) {
                    Ok(()) => report.passed += 1,
                    Err(why) => {
                        report.failures.push(Failure { line: number, query: query.to_owned(), why });
                    }
                }
            }
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => return Err(at(format!("expected load, clear or eval, found {word:?}"))),
        }
    }
    Ok(report)
}

/// `eval instant at <t> <query>` or `eval range from <a> to <b> step <c> <query>`.
fn command(line: &str) -> Result<(When, &str), String> {
    let mut rest = line;
    let mut next = || {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        word
    };
    next();
    let mut expect = |wanted: &[&str]| -> Result<(), String> {
        for &wanted in wanted {
            let found = next();
            if found != wanted {
                return Err(format!("expected `{wanted}`, found {found:?}"));
            }
        }
        Ok(())
    };
    let when = if line.split_whitespace().nth(1) == Some("instant") {
        expect(&["instant", "at"])?;
        When::Instant(duration_ms(next())?)
    } else {
        expect(&["range", "from"])?;
        let mut time = |wanted: Option<&str>| {
            let time = duration_ms(next())?;
            match wanted {
                Some(wanted) if next() != wanted => Err(format!("expected `{wanted}`")),
                _ => Ok(time),
            }
        };
        When::Range(time(Some("to"))?, time(Some("step"))?, time(None)?)
    };
    Ok((when, rest.trim()))
}

fn expectation(expected: &mut Expected, line: &str) -> Result<(), String> {
    for (old, wrap) in [
        ("expected_fail_message", Text::Contains as fn(String) -> Text),
        ("expected_fail_regexp", |pattern| Text::read(&format!("regex:{pattern}")).unwrap_or(Text::Any)),
    ] {
        if let Some(rest) = line.strip_prefix(old) {
            expected.fail = Some(wrap(rest.trim().to_owned()));
            return Ok(());
        }
    }
    if let Some(rest) = line.strip_prefix("expect ") {
        let rest = rest.trim();
        let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match word {
            "fail" => expected.fail = Some(Text::read(tail)?),
            "ordered" => expected.ordered = true,
            "warn" => expected.warnings.push(Text::read(tail)?),
            "info" => expected.infos.push(Text::read(tail)?),
            "no_warn" => expected.no_warn = true,
            "no_info" => expected.no_info = true,
            "string" => {
                let text = parse(tail.trim()).ok().and_then(|expr| match expr.kind {
                    super::ExprKind::Text(text) => Some(text),
                    _ => None,
                });
                expected.string = Some(text.ok_or_else(|| format!("{tail:?} is no string"))?);
            }
            "range" => {
                let words: Vec<&str> = tail.split_whitespace().collect();
                let ["vector", "from", start, "to", end, "step", step] = words.as_slice() else {
                    return Err("expected `vector from <time> to <time> step <duration>`".to_owned());
                };
                expected.window = Some((duration_ms(start)?, duration_ms(end)?, duration_ms(step)?));
            }
            other => return Err(format!("nothing can be expected by {other:?}")),
        }
        return Ok(());
    }
    if let Ok(value) = line.parse::<f64>() {
        expected.scalar = Some(value);
        return Ok(());
    }
    let (labels, rest) = series_line(line)?;
    expected.series.push((labels, notation::cells(rest)?));
    Ok(())
}

fn evaluate(store: &Store, when: When, query: &str, expected: &Expected) -> Result<(), String> {
    let expr: Expr = match (parse(query), &expected.fail) {
        (Err(error), Some(text)) if text.holds(&error.message) => return Ok(()),
        (Err(error), _) => return Err(format!("does not parse: {error}")),
        (Ok(expr), _) => expr,
    };
    verdict::holds(&store.source, when, &expr, query, expected)?;
    match when {
        When::Instant(time) => verdict::holds_otherwise(&store.source, time, &expr, query, expected),
        When::Range(..) => Ok(()),
    }
}
