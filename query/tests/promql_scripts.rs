//! The reference scripts of Prometheus' promqltest language, run through `parse`, `instant` and `range`.
//!
//! The scripts lie beside the repository, in `../shared/promql/testdata`; without them the tests say SKIPPED. Every
//! instant evaluation must also hold as the middle step of a range query, and, where its value depends on samples
//! alone, with `@` on every selector. Each file has a floor of passed evaluations, below which its test fails.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use annals_model::{Budget, LabelSet, STALE_NAN_BITS, SeriesKind, Timestamp};
use annals_query::promql::testing::MemorySource;
use annals_query::promql::{
    At, Expr, ExprKind, QueryOptions, Selector, TimeShift, Value, instant, parse, range,
};

/// File, passed evaluations that it must at least have.
const FLOORS: [(&str, usize); 21] = [
    ("aggregators", 58),
    ("at_modifier", 41),
    ("collision", 1),
    ("duration_expression", 30),
    ("extended_vectors", 7),
    ("fill-modifier", 23),
    ("functions", 194),
    ("histograms", 39),
    ("info", 1),
    ("limit", 2),
    ("literals", 13),
    ("name_label_dropping", 16),
    ("native_histograms", 6),
    ("operators", 76),
    ("range_queries", 10),
    ("selectors", 16),
    ("staleness", 10),
    ("start_timestamps", 6),
    ("subquery", 15),
    ("trig_functions", 15),
    ("type_and_unit", 29),
];

#[derive(Default)]
struct Tally {
    passed: usize,
    unsupported: usize,
    failures: Vec<String>,
}

fn testdata() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/promql/testdata");
    path.is_dir().then_some(path)
}

#[test]
fn reference_scripts_pass_as_often_as_measured() {
    let Some(directory) = testdata() else {
        let _ =
            writeln!(std::io::stderr(), "SKIPPED reference scripts: ../shared/promql/testdata is missing");
        return;
    };
    let mut report = String::new();
    let mut below = Vec::new();
    let mut all = Tally::default();
    for (name, floor) in FLOORS {
        let text = std::fs::read_to_string(directory.join(format!("{name}.test"))).expect("script");
        let tally = run(&text);
        let total = tally.passed + tally.unsupported + tally.failures.len();
        writeln!(
            report,
            "{name:22} {:4}/{total:<4} passed, {:4} not supported, {:3} failed",
            tally.passed,
            tally.unsupported,
            tally.failures.len()
        )
        .expect("a string takes text");
        if tally.passed < floor {
            below.push(format!("{name}: {} passed, at least {floor} must", tally.passed));
        }
        for failure in &tally.failures {
            writeln!(report, "    {failure}").expect("a string takes text");
        }
        all.passed += tally.passed;
        all.unsupported += tally.unsupported;
        all.failures.extend(tally.failures);
    }
    println!(
        "{report}all: {} passed, {} not supported, {} failed",
        all.passed,
        all.unsupported,
        all.failures.len()
    );
    assert!(below.is_empty(), "{}\n{report}", below.join("\n"));
}

/// A script's samples, and the metrics of which some are not floats.
#[derive(Default)]
struct Store {
    source: MemorySource,
    not_floats: BTreeSet<String>,
}

/// What one evaluation should give.
#[derive(Default)]
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
    series: Vec<(LabelSet, Vec<Option<f64>>)>,
    histograms: bool,
}

/// What an error or annotation should say.
enum Text {
    Any,
    Contains(String),
    Matches(String),
}

impl Text {
    fn holds(&self, text: &str) -> bool {
        match self {
            Text::Any => true,
            Text::Contains(part) => text.contains(part.as_str()),
            Text::Matches(pattern) => {
                let matcher = annals_model::Matcher::new(
                    "m",
                    annals_model::MatchOp::Regex,
                    &format!(".*(?:{pattern}).*"),
                );
                matcher.expect("pattern").matches(text)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum When {
    Instant(i64),
    Range(i64, i64, i64),
}

fn run(text: &str) -> Tally {
    let mut tally = Tally::default();
    let mut store = Store::default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut at = 0;
    while at < lines.len() {
        let (number, line) = (at + 1, lines[at]);
        at += 1;
        let word = line.split_whitespace().next().unwrap_or_default();
        let block = |at: &mut usize| {
            let start = *at;
            while *at < lines.len() && !lines[*at].is_empty() {
                *at += 1;
            }
            lines[start..*at].iter().filter(|line| !line.starts_with('#')).copied().collect::<Vec<_>>()
        };
        match word {
            "clear" => store = Store::default(),
            "load" | "load_with_nhcb" => {
                let step = duration(line.split_whitespace().nth(1).expect("step"));
                for series in block(&mut at) {
                    load(&mut store, series, step, word == "load_with_nhcb");
                }
            }
            _ if word.starts_with("eval") => {
                let mut expected = Expected::default();
                if word == "eval_fail" {
                    expected.fail = Some(Text::Any);
                }
                let (when, query) = command(line);
                for line in block(&mut at) {
                    expectation(&mut expected, line);
                }
                match evaluate(&store, when, query, &expected) {
                    Ok(()) => tally.passed += 1,
                    Err(Failed::Unsupported) => tally.unsupported += 1,
                    Err(Failed::Wrong(why)) => tally.failures.push(format!("line {number}: {query}: {why}")),
                }
            }
            _ => assert!(line.is_empty() || line.starts_with('#'), "line {number}: {line}"),
        }
    }
    tally
}

/// `eval instant at <t> <query>` or `eval range from <a> to <b> step <c> <query>`.
fn command(line: &str) -> (When, &str) {
    let mut rest = line;
    let mut next = || {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        word
    };
    next();
    let when = if next() == "instant" {
        next();
        When::Instant(duration(next()))
    } else {
        next();
        let start = duration(next());
        next();
        let end = duration(next());
        next();
        When::Range(start, end, duration(next()))
    };
    (when, rest.trim())
}

/// A duration in milliseconds; a bare number counts seconds.
fn duration(text: &str) -> i64 {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds * 1000.0).round() as i64;
    }
    let (sign, mut rest) =
        text.strip_prefix('-').map_or((1, text.trim_start_matches('+')), |rest| (-1, rest));
    let mut ms = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).expect("a unit");
        let count: i64 = rest[..digits].parse().expect("a count");
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        ms += count
            * match &rest[..unit] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                other => panic!("unit {other}"),
            };
        rest = &rest[unit..];
    }
    sign * ms
}

/// Labels and the rest of the line, through the parser of queries: a series is written as a selector.
fn labels_and_rest(line: &str) -> (LabelSet, &str) {
    let mut quoted = None;
    let mut in_braces = false;
    let mut end = line.len();
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
            (None, '@') => {
                end = at;
                break;
            }
            (None, c) if !in_braces && c.is_whitespace() => {
                let next = line[at..].trim_start();
                if !next.starts_with('{') || next.starts_with("{{") {
                    end = at;
                    break;
                }
            }
            _ => {}
        }
    }
    let (labels, rest) = line.split_at(end);
    if labels.trim() == "{}" {
        return (LabelSet::empty(), rest);
    }
    let expr =
        parse(labels).or_else(|_| parse(&format!("x{labels}"))).unwrap_or_else(|e| panic!("{labels}: {e}"));
    let ExprKind::Selector(selector) = expr.kind else { panic!("{labels} is no series") };
    let invented = labels.trim_start().starts_with('{') && selector.name.as_deref() == Some("x");
    let pairs = selector.matchers.iter().map(|m| (m.item.name().to_owned(), m.item.value().to_owned()));
    let pairs = pairs.filter(|(name, _)| !(invented && name == "__name__"));
    (LabelSet::from_pairs(pairs).expect("labels"), rest)
}

/// The values of a series in the notation of the scripts; `None` where there is no float.
fn values(text: &str, histograms: &mut bool) -> Vec<Option<f64>> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            *histograms = true;
            let end = rest.find("}}").expect("}}") + 2;
            rest = rest[end..].trim_start_matches(|c: char| !c.is_whitespace() && c != '{').trim_start();
            out.push(None);
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = rest[end..].trim_start();
        if let Some(count) = word.strip_prefix("_x") {
            out.extend(vec![None; count.parse().expect("count")]);
        } else if word == "_" {
            out.push(None);
        } else if word == "stale" {
            out.push(Some(f64::from_bits(STALE_NAN_BITS)));
        } else if let Some((base, count)) = word.split_once('x') {
            let count: usize = count.parse().expect("count");
            let split = base
                .char_indices()
                .skip(1)
                .find(|&(at, c)| matches!(c, '+' | '-') && !matches!(base.as_bytes()[at - 1], b'e' | b'E'));
            let (start, step) = match split {
                Some((at, _)) => (number(&base[..at]), number(&base[at..])),
                None => (number(base), 0.0),
            };
            let mut value = start;
            for _ in 0..=count {
                out.push(Some(value));
                value += step;
            }
        } else {
            out.push(Some(number(word)));
        }
    }
    out
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn load(store: &mut Store, line: &str, step: i64, twin: bool) {
    let (labels, rest) = labels_and_rest(line);
    let name = labels.metric_name().to_owned();
    if twin {
        // The histogram that the buckets also make.
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        store.not_floats.extend(base.map(str::to_owned));
    }
    if rest.starts_with("@st") {
        store.not_floats.insert(name);
        return;
    }
    let mut histograms = false;
    let values = values(rest, &mut histograms);
    if histograms {
        store.not_floats.insert(name.clone());
    }
    let counter = ["_total", "_count", "_sum", "_bucket"].iter().any(|ending| name.ends_with(ending));
    let kind = if counter { SeriesKind::Counter } else { SeriesKind::Gauge };
    let samples: Vec<(i64, f64)> = values
        .into_iter()
        .enumerate()
        .filter_map(|(index, value)| value.map(|value| (index as i64 * step, value)))
        .collect();
    store.source.add_set(labels, kind, &samples);
}

fn text_of(rest: &str) -> Text {
    let rest = rest.trim();
    if let Some(text) = rest.strip_prefix("msg:") {
        Text::Contains(text.trim().to_owned())
    } else if let Some(text) = rest.strip_prefix("regex:") {
        Text::Matches(text.trim().to_owned())
    } else {
        Text::Any
    }
}

fn expectation(expected: &mut Expected, line: &str) {
    if let Some(rest) = line.strip_prefix("expect ") {
        let rest = rest.trim();
        let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match word {
            "fail" => expected.fail = Some(text_of(tail)),
            "ordered" => expected.ordered = true,
            "warn" => expected.warnings.push(text_of(tail)),
            "info" => expected.infos.push(text_of(tail)),
            "no_warn" => expected.no_warn = true,
            "no_info" => expected.no_info = true,
            "string" => {
                let text = tail.trim();
                expected.string = Some(text[1..text.len() - 1].to_owned());
            }
            "range" => {
                let words: Vec<&str> = tail.split_whitespace().collect();
                expected.window = Some((duration(words[2]), duration(words[4]), duration(words[6])));
            }
            other => panic!("expect {other}"),
        }
        return;
    }
    if let Ok(value) = line.parse::<f64>() {
        expected.scalar = Some(value);
        return;
    }
    let (labels, rest) = labels_and_rest(line);
    let values = values(rest, &mut expected.histograms);
    expected.histograms |= line.contains("{count:");
    expected.series.push((labels, values));
}

enum Failed {
    Unsupported,
    Wrong(String),
}

fn wrong(why: impl Into<String>) -> Failed {
    Failed::Wrong(why.into())
}

fn evaluate(store: &Store, when: When, query: &str, expected: &Expected) -> Result<(), Failed> {
    let names: BTreeSet<&str> =
        query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').collect();
    let nameless = (query.contains("({") || query.contains("{__name__")) && !store.not_floats.is_empty();
    let of_native = |text: &Text| matches!(text, Text::Contains(part) if part.contains("native histogram"));
    let touches = expected.histograms
        || nameless
        || expected.warnings.iter().any(of_native)
        || store.not_floats.iter().any(|name| names.contains(name.as_str()));
    let result = once(store, when, query, expected);
    let refused = matches!(&result, Err(Failed::Wrong(why)) if why.contains("is not evaluated"));
    match result {
        Err(_) if touches || refused => Err(Failed::Unsupported),
        other => other,
    }
}

fn once(store: &Store, when: When, query: &str, expected: &Expected) -> Result<(), Failed> {
    let expr = match (parse(query), &expected.fail) {
        (Err(error), Some(text)) if text.holds(&error.message) => return Ok(()),
        (Err(error), _) => return Err(wrong(format!("does not parse: {error}"))),
        (Ok(expr), _) => expr,
    };
    check_answer(store, when, &expr, query, expected)?;
    let When::Instant(time) = when else { return Ok(()) };
    if expected.fail.is_some() || expected.window.is_some() || expected.string.is_some() {
        return Ok(());
    }
    let text = expr.to_string();
    if depends_on_samples_alone(&text) && expected.scalar.is_none() {
        let mut fixed = expr.clone();
        fix_time(&mut fixed, time);
        for moved in [time + 7_777, time - 1_000_000] {
            check_answer(store, When::Instant(moved), &fixed, query, expected)
                .map_err(|failed| also(failed, "with @ on every selector"))?;
        }
    }
    let of_the_query = ["start()", "end()", "step()", "range()"].iter().any(|call| text.contains(call));
    if expected.ordered || of_the_query || text.contains("sort") {
        return Ok(());
    }
    let (source, options, budget) = (&store.source, QueryOptions::default(), Budget::default());
    let (start, end) = (Timestamp(time - 60_000), Timestamp(time + 60_000));
    let answer = range(source, &expr, start, end, 60_000, &options, &budget)
        .map_err(|error| also(wrong(error.to_string()), "as a range query"))?;
    let Value::Matrix(series) = answer.value else { return Err(wrong("a range query gave no matrix")) };
    let at = |points: &[(Timestamp, f64)]| points.iter().find(|point| point.0.0 == time).map(|point| point.1);
    let found: Vec<(LabelSet, f64)> =
        series.into_iter().filter_map(|series| at(&series.points).map(|v| (series.labels, v))).collect();
    match expected.scalar {
        Some(scalar) => compare(&found, &[(LabelSet::empty(), scalar)], false),
        None => compare(&found, &instant_series(expected)?, false),
    }
    .map_err(|failed| also(failed, "as a range query"))
}

fn also(failed: Failed, how: &str) -> Failed {
    match failed {
        Failed::Wrong(why) => Failed::Wrong(format!("{how}: {why}")),
        Failed::Unsupported => Failed::Unsupported,
    }
}

fn depends_on_samples_alone(text: &str) -> bool {
    let of_time = [
        "time()",
        "timestamp(",
        "predict_linear(",
        "minute(",
        "hour(",
        "month(",
        "year(",
        "day",
        "start()",
        "end()",
        "step()",
        "range()",
    ];
    !of_time.iter().any(|call| text.contains(call))
}

/// Puts `@ time` on every selector and subquery that has none, but not within subqueries.
fn fix_time(expr: &mut Expr, time: i64) {
    let fix = |shift: &mut TimeShift| {
        shift.at.get_or_insert(At::Time(time));
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Selector(Selector { time: shift, .. })
        | ExprKind::Matrix(Selector { time: shift, .. }, _) => {
            fix(shift);
        }
        ExprKind::Subquery(subquery) => fix(&mut subquery.time),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => fix_time(inner, time),
        ExprKind::Binary(binary) => {
            fix_time(&mut binary.left, time);
            fix_time(&mut binary.right, time);
        }
        ExprKind::Aggregate(aggregate) => {
            fix_time(&mut aggregate.expr, time);
            aggregate.parameter.iter_mut().for_each(|parameter| fix_time(parameter, time));
        }
        ExprKind::Call(_, arguments) => arguments.iter_mut().for_each(|argument| fix_time(argument, time)),
    }
}

fn check_answer(
    store: &Store,
    when: When,
    expr: &Expr,
    query: &str,
    expected: &Expected,
) -> Result<(), Failed> {
    let (source, options, budget) = (&store.source, QueryOptions::default(), Budget::default());
    let result = match when {
        When::Instant(time) => instant(source, expr, Timestamp(time), &options, &budget),
        When::Range(start, end, step) => {
            range(source, expr, Timestamp(start), Timestamp(end), step, &options, &budget)
        }
    };
    let answer = match (result, &expected.fail) {
        (Err(error), Some(text)) if text.holds(&error.to_string()) => return Ok(()),
        (Err(error), _) => return Err(wrong(error.to_string())),
        (Ok(_), Some(_)) => return Err(wrong("should fail")),
        (Ok(answer), None) => answer,
    };
    let said = |list: &[annals_query::promql::Annotation], class: &str| -> Vec<String> {
        list.iter().map(|note| format!("PromQL {class}: {}", note.render(query))).collect()
    };
    annotations(&said(&answer.warnings, "warning"), &expected.warnings, expected.no_warn)?;
    annotations(&said(&answer.infos, "info"), &expected.infos, expected.no_info)?;
    match (answer.value, when) {
        (Value::String(text), _) => {
            if expected.string.as_deref() == Some(&text) {
                Ok(())
            } else {
                Err(wrong(format!("string {text:?}")))
            }
        }
        (Value::Scalar(_, value), _) => match expected.scalar {
            Some(scalar) if near(value, scalar) => Ok(()),
            other => Err(wrong(format!("scalar {value}, not {other:?}"))),
        },
        (Value::Vector(samples), _) => {
            let found: Vec<(LabelSet, f64)> = samples.into_iter().map(|(labels, _, v)| (labels, v)).collect();
            compare(&found, &instant_series(expected)?, expected.ordered)
        }
        (Value::Matrix(series), when) => {
            let (start, end, step) = match (when, expected.window) {
                (When::Range(start, end, step), _) | (_, Some((start, end, step))) => (start, end, step),
                _ => return Err(wrong("a matrix")),
            };
            let steps: Vec<i64> = (0..).map(|i| start + i * step).take_while(|&time| time <= end).collect();
            let mut found = Vec::new();
            for own in series {
                for (time, value) in own.points {
                    let Some(index) = steps.iter().position(|&step| step == time.0) else {
                        return Err(wrong(format!("a point at {}", time.0)));
                    };
                    found.push((own.labels.clone(), index, value));
                }
            }
            let mut wanted = Vec::new();
            for (labels, values) in &expected.series {
                for (index, value) in values.iter().enumerate().take(steps.len()) {
                    wanted.extend(value.map(|value| (labels.clone(), index, value)));
                }
            }
            compare_points(&found, &wanted)
        }
    }
}

fn annotations(found: &[String], wanted: &[Text], none: bool) -> Result<(), Failed> {
    if none && !found.is_empty() {
        return Err(wrong(format!("remarks {found:?}")));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = wanted.iter().any(|text| !found.iter().any(|own| text.holds(own)));
    let surplus = found.iter().any(|own| !wanted.iter().any(|text| text.holds(own)));
    if missing || surplus { Err(wrong(format!("remarks {found:?}"))) } else { Ok(()) }
}

fn instant_series(expected: &Expected) -> Result<Vec<(LabelSet, f64)>, Failed> {
    let value = |values: &[Option<f64>]| values.first().copied().flatten();
    expected
        .series
        .iter()
        .map(|(labels, values)| {
            Ok((labels.clone(), value(values).ok_or_else(|| wrong("histograms expected"))?))
        })
        .collect()
}

fn near(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    a == b || (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn compare(found: &[(LabelSet, f64)], wanted: &[(LabelSet, f64)], ordered: bool) -> Result<(), Failed> {
    let indexed = |list: &[(LabelSet, f64)]| -> Vec<(LabelSet, usize, f64)> {
        list.iter()
            .enumerate()
            .map(|(index, (labels, value))| (labels.clone(), if ordered { index } else { 0 }, *value))
            .collect()
    };
    compare_points(&indexed(found), &indexed(wanted))
}

fn compare_points(found: &[(LabelSet, usize, f64)], wanted: &[(LabelSet, usize, f64)]) -> Result<(), Failed> {
    let same = found.len() == wanted.len()
        && wanted.iter().all(|(labels, index, value)| {
            found.iter().any(|own| own.0 == *labels && own.1 == *index && near(own.2, *value))
        });
    if same { Ok(()) } else { Err(wrong(format!("found {found:?}, wanted {wanted:?}"))) }
}
