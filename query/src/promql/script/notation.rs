//! Series as scripts write them: `name{labels} 0+10x5 _ {{schema:0 sum:5 count:4 buckets:[1 2 1]}} stale`.

use annals_model::{CUSTOM_BUCKETS_SCHEMA, Histogram, LabelSet, METRIC_NAME, ResetHint};

use crate::promql::ast::ExprKind;
use crate::promql::parse;

/// The most values that one `x` may repeat.
const REPEAT_MAX: usize = 1_000_000;

/// The most values of a series, but for those of its last `x`.
const CELLS_MAX: usize = 1_000_000;

/// A value of a series.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Nothing,
    Stale,
    Float(f64),
    /// The histogram, and whether its reset hint was written.
    Histogram(Box<Histogram>, bool),
}

/// A duration in milliseconds; a bare number counts seconds.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no duration");
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return if ms.abs() < 9e18 { Ok(ms as i64) } else { Err(wrong()) };
    }
    let (negative, rest) =
        text.strip_prefix('-').map_or((false, text.trim_start_matches('+')), |rest| (true, rest));
    let (mut ms, mut rest) = (0i64, rest);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_ms = crate::promql::lexer::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let part = count.parse::<i64>().ok().and_then(|count| count.checked_mul(unit_ms));
        ms = part.and_then(|part| ms.checked_add(part)).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(if negative { -ms } else { ms })
}

/// Labels and the rest of the line, through the parser of queries: a series is written as a selector.
pub(super) fn series_line(line: &str) -> Result<(LabelSet, &str), String> {
    let (mut quoted, mut in_braces, mut end) = (None, false, line.len());
    for (at, c) in line.char_indices() {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quoted = Some(c),
            (None, '{') => in_braces = true,
            (None, '}') => {
                end = at + 1;
                break;
            }
            (None, c) if !in_braces && (c.is_whitespace() || c == '@') => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (text, rest) = line.split_at(end);
    if text == "{}" {
        return Ok((LabelSet::empty(), rest));
    }
    // A name is invented for labels that alone would be a selector of everything.
    let (expr, invented) = match parse(text) {
        Ok(expr) => (expr, false),
        Err(error) => (parse(&format!("x{text}")).map_err(|_| error.to_string())?, true),
    };
    let ExprKind::Selector(selector) = expr.kind else { return Err(format!("{text:?} is no series")) };
    let pairs = selector.matchers.iter().map(|matcher| (matcher.item.name(), matcher.item.value()));
    let pairs = pairs.filter(|(name, _)| !(invented && *name == METRIC_NAME));
    Ok((LabelSet::from_pairs(pairs).map_err(|error| error.to_string())?, rest))
}

/// The values of a series.
pub(super) fn cells(text: &str) -> Result<Vec<Cell>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if out.len() > CELLS_MAX {
            return Err(format!("a series has over {CELLS_MAX} values"));
        }
        if let Some(body) = rest.strip_prefix("{{") {
            rest = histograms(body, &mut out)?;
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail.trim_start();
        if let Some(count) = word.strip_prefix("_x") {
            out.extend(std::iter::repeat_n(Cell::Nothing, repeat(count)?));
        } else if word == "_" {
            out.push(Cell::Nothing);
        } else if word == "stale" {
            out.push(Cell::Stale);
        } else {
            progression(word, number, &mut |value| out.push(Cell::Float(value)))?;
        }
    }
    Ok(out)
}

/// The start times of a series, relative to its samples, in milliseconds.
pub(super) fn start_cells(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        if let Some(count) = word.strip_prefix("_x") {
            out.extend(std::iter::repeat_n(None, repeat(count)?));
        } else if word == "_" {
            out.push(None);
        } else {
            let ms = |text: &str| duration_ms(text).map(|ms| ms as f64);
            progression(word, ms, &mut |value| out.push(Some(value)))?;
        }
    }
    Ok(out)
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn repeat(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count <= REPEAT_MAX).ok_or_else(|| format!("{text:?} is no count"))
}

/// `a`, `axN` (N more of it), `a+bxN`, `a-bxN`.
fn progression(
    word: &str,
    read: impl Fn(&str) -> Result<f64, String>,
    push: &mut dyn FnMut(f64),
) -> Result<(), String> {
    let Some((base, count)) = word.split_once('x').filter(|(_, count)| count.parse::<usize>().is_ok()) else {
        push(read(word)?);
        return Ok(());
    };
    let bytes = base.as_bytes();
    let in_exponent = |at: usize| {
        let digit =
            at.checked_sub(2).and_then(|at| bytes.get(at)).is_some_and(|b| b.is_ascii_digit() || *b == b'.');
        digit && matches!(bytes.get(at - 1), Some(b'e' | b'E'))
    };
    let split = base.char_indices().skip(1).find(|&(at, c)| matches!(c, '+' | '-') && !in_exponent(at));
    let (mut value, step) = match split {
        Some((at, _)) => {
            let (start, step) = base.split_at(at);
            (read(start)?, read(step)?)
        }
        None => (read(base)?, 0.0),
    };
    for _ in 0..=repeat(count)? {
        push(value);
        value += step;
    }
    Ok(())
}

/// Histograms after their first `{{`; returns what follows them.
fn histograms<'t>(body: &'t str, out: &mut Vec<Cell>) -> Result<&'t str, String> {
    let (mut own, hinted, mut rest) = one_histogram(body)?;
    let mut step = None;
    for (sign, factor) in [('+', 1.0), ('-', -1.0)] {
        if let Some(body) = rest.strip_prefix(sign).and_then(|rest| rest.strip_prefix("{{")) {
            let (delta, _, tail) = one_histogram(body)?;
            step = Some((delta, factor));
            rest = tail;
        }
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, tail) = rest.split_at(end);
    let count = match word.strip_prefix('x') {
        Some(count) => repeat(count)?,
        None if word.is_empty() => 0,
        None => return Err(format!("unexpected {word:?} after a histogram")),
    };
    for _ in 0..=count {
        out.push(Cell::Histogram(Box::new(own.clone()), hinted));
        if let Some((delta, factor)) = &step {
            let hint = own.reset_hint;
            let sum = if *factor > 0.0 { own.plus(delta) } else { own.minus(delta) };
            (own, _) = sum.map_err(|error| error.to_string())?;
            own.reset_hint = hint;
        }
    }
    Ok(tail.trim_start())
}

/// `key:value ...}}`: the histogram, whether its hint was written, and what follows.
fn one_histogram(body: &str) -> Result<(Histogram, bool, &str), String> {
    let (inner, rest) = body.split_once("}}").ok_or("a histogram ends with `}}`")?;
    let mut own = Histogram::default();
    let (mut hinted, mut offset, mut negative_offset) = (false, 0i32, 0i32);
    let (mut positive, mut negative): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut inner = inner.trim_start();
    while !inner.is_empty() {
        let (key, tail) = inner.split_once(':').ok_or_else(|| format!("{inner:?} has no value"))?;
        let tail = tail.trim_start();
        let (value, tail) = match tail.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or("a list ends with `]`")?,
            None => tail.split_at(tail.find(char::is_whitespace).unwrap_or(tail.len())),
        };
        let list = || value.split_whitespace().map(number).collect::<Result<Vec<f64>, String>>();
        let whole = || value.parse::<i32>().map_err(|_| format!("{value:?} is no whole number"));
        match key {
            "schema" => own.schema = i8::try_from(whole()?).map_err(|_| format!("schema {value}"))?,
            "sum" => own.sum = number(value)?,
            "count" => own.count = number(value)?,
            "z_bucket" => own.zero_count = number(value)?,
            "z_bucket_w" => own.zero_threshold = number(value)?,
            "custom_values" => own.custom_bounds = list()?.into(),
            "buckets" => positive = list()?,
            "n_buckets" => negative = list()?,
            "offset" => offset = whole()?,
            "n_offset" => negative_offset = whole()?,
            "counter_reset_hint" => {
                hinted = true;
                own.reset_hint = match value {
                    "unknown" => ResetHint::Unknown,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    other => return Err(format!("unknown counter_reset_hint {other:?}")),
                };
            }
            other => return Err(format!("a histogram has no {other:?}")),
        }
        inner = tail.trim_start();
    }
    own.positive = (0i32..).map(|index| index.saturating_add(offset)).zip(positive).collect();
    own.negative = (0i32..).map(|index| index.saturating_add(negative_offset)).zip(negative).collect();
    let mut own = own.compacted();
    if own.schema == CUSTOM_BUCKETS_SCHEMA {
        // Counts beyond the last bound cannot be told apart.
        own.positive
            .retain(|(index, _)| usize::try_from(*index).is_ok_and(|at| at <= own.custom_bounds.len()));
    }
    own.check().map_err(|error| error.to_string())?;
    Ok((own, hinted, rest))
}
