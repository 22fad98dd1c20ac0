//! `signals`: searches raw signals; lists, counts and groups them, and follows a writer.
//!
//! ```text
//!   filter.rs    name=value to matchers and comparisons
//!   listing.rs   signals as rows
//! ```

mod filter;
mod listing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write;
use std::time::Duration;

use annals::query::promql::{Answer, Series, Value};
use annals::{LabelSet, MINUTE_MS, Missing, TimeRange, Timestamp};

use super::query::LAST_MS;
use super::reader::Reader;
use crate::access::{self, Reading};
use crate::args::SignalsArgs;
use crate::error::{CliError, Outcome};
use crate::output::{AnswerForm, Cell, Grid, Screen, answer, words};
use filter::Filters;
use listing::Found;

/// How often a writer is looked at.
const POLL: Duration = Duration::from_secs(1);
/// So long after a signal, earlier ones are still shown when they arrive.
const LATE_MS: i64 = MINUTE_MS;
/// More points than this are a step that was written by mistake.
const POINTS_MAX: i64 = 1_000_000;

/// Searches.
pub(crate) fn signals(args: &SignalsArgs, screen: &mut Screen) -> Outcome {
    screen.show_times_in(&args.time.zone.tz);
    let search = Search {
        args,
        filters: Filters::parse(&args.filters)?,
        range: super::series::range(&args.time, LAST_MS),
    };
    let reading = access::read(&args.tenant)?;
    let reader = Reader::of(&reading, &args.operator)?;
    for finding in reading.store.findings() {
        eprintln!("warning: {finding}");
    }
    let form = screen.answer_form(args.output);
    let found = if args.count {
        search.count(&reader, form, screen)?
    } else if let Some(step_ms) = args.step {
        search.per_step(&reader, step_ms, form, screen)?
    } else if !args.by.is_empty() {
        search.group(&reader, form, screen)?
    } else {
        search.list(&reader, form, screen)?
    };
    if !found {
        search.hint(&reading);
    }
    if args.follow {
        drop((reader, reading));
        return search.follow(form, screen);
    }
    Ok(0)
}

/// What is looked for.
struct Search<'a> {
    args: &'a SignalsArgs,
    filters: Filters,
    range: TimeRange,
}

impl Search<'_> {
    /// Hands out what is found, by time, and says what could not be read.
    fn each(&self, reader: &Reader, range: TimeRange, each: &mut dyn FnMut(Found)) -> Result<(), CliError> {
        let missing = reader.signals(range, &self.filters.matchers, &mut |kinds, row| {
            let found = Found::new(kinds, row);
            if self.filters.take(found.kind.as_deref(), &found.row) {
                each(found);
            }
        })?;
        say_missing(&missing);
        Ok(())
    }

    /// The newest, or a page before them.
    fn list(&self, reader: &Reader, form: AnswerForm, screen: &mut Screen) -> Result<bool, CliError> {
        let Some(list_form) = form.of_list() else {
            return Err(CliError::usage(format_args!(
                "a list of signals cannot be written as {}",
                form.word()
            ))
            .help("--by counts them, which can be drawn"));
        };
        if self.args.limit == 0 && form == AnswerForm::Jsonl {
            // All of them: as they are read, so that no number of them fills the memory.
            let (mut any, mut written) = (false, Ok(()));
            self.each(reader, self.range, &mut |found| {
                any = true;
                if written.is_ok() {
                    written = writeln!(screen, "{}", found.json());
                }
            })?;
            return Ok(written.map(|()| any)?);
        }
        // Page 1 is what is newest.
        let page = usize::try_from(self.args.page).unwrap_or(usize::MAX);
        let keep = match self.args.limit {
            0 => usize::MAX,
            limit => limit.saturating_mul(page),
        };
        let (mut newest, mut all) = (VecDeque::new(), 0usize);
        self.each(reader, self.range, &mut |found| {
            all += 1;
            if newest.len() == keep {
                newest.pop_front();
            }
            newest.push_back(found);
        })?;
        let newest = newest.make_contiguous();
        // Of the last page what is left.
        let shown = match self.args.limit {
            0 => newest.len(),
            limit => newest.len().saturating_sub(limit * (page - 1)).min(limit),
        };
        let shown = newest.get(..shown).unwrap_or_default();
        if form == AnswerForm::Jsonl {
            shown.iter().try_for_each(|found| writeln!(screen, "{}", found.json()))?;
        } else {
            let for_people = matches!(form, AnswerForm::Table | AnswerForm::Markdown);
            if !(shown.is_empty() && for_people) {
                screen.list(&listing::grid(shown, for_people), Some(list_form))?;
            }
        }
        screen.finish()?;
        if shown.len() < all && !self.args.follow {
            let (before, rest) =
                (words::count(shown.len() as u64), words::plural(all as u64, "signal", "signals"));
            eprintln!("note: {before} of {rest}; --page {} shows those before, --limit 0 all", page + 1);
        }
        Ok(all > 0)
    }

    /// How many by kind and site.
    fn count(&self, reader: &Reader, form: AnswerForm, screen: &mut Screen) -> Result<bool, CliError> {
        let names = ["kind", "site"].map(str::to_owned);
        let counts = if self.filters.comparisons.is_empty() {
            let counted = reader.count_signals(self.range, &self.filters.matchers)?;
            say_missing(&counted.missing);
            counted
                .rows
                .into_iter()
                .map(|((kind, site), count)| (vec![kind.to_string(), site.to_string()], count))
                .collect()
        } else {
            self.counts(reader, &names)?
        };
        ranking(&names, counts, form, screen)
    }

    /// How many by some names.
    fn group(&self, reader: &Reader, form: AnswerForm, screen: &mut Screen) -> Result<bool, CliError> {
        ranking(&self.args.by, self.counts(reader, &self.args.by)?, form, screen)
    }

    fn counts(&self, reader: &Reader, names: &[String]) -> Result<BTreeMap<Vec<String>, u64>, CliError> {
        let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        self.each(reader, self.range, &mut |found| {
            *counts.entry(names.iter().map(|name| found.text(name)).collect()).or_default() += 1;
        })?;
        Ok(counts)
    }

    /// How many by some names in each span of time: an answer like that of a range query. A point stands for the span that
    /// ends with it.
    fn per_step(
        &self,
        reader: &Reader,
        step_ms: i64,
        form: AnswerForm,
        screen: &mut Screen,
    ) -> Result<bool, CliError> {
        let mut counts: BTreeMap<Vec<String>, BTreeMap<i64, u64>> = BTreeMap::new();
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        self.each(reader, self.range, &mut |found| {
            let step = found.row.time.0.saturating_add(step_ms - 1).div_euclid(step_ms);
            (first, last) = (first.min(step), last.max(step));
            let key = self.args.by.iter().map(|name| found.text(name)).collect();
            *counts.entry(key).or_default().entry(step).or_default() += 1;
        })?;
        if counts.is_empty() {
            first = last;
        }
        let points = last.saturating_sub(first).saturating_add(1).saturating_mul(counts.len() as i64);
        if points > POINTS_MAX {
            return Err(CliError::usage(format_args!(
                "that are {points} points; at most {POINTS_MAX} are counted"
            ))
            .help("a longer --step, a shorter range or fewer names makes them fewer"));
        }
        let series = counts.into_iter().map(|(key, counts)| {
            let pairs = self.args.by.iter().map(String::as_str).zip(key.iter().map(String::as_str));
            let labels = LabelSet::from_pairs(pairs.filter(|(_, value)| !value.is_empty()));
            // Between the first signal and the last, no signal is a count of zero.
            let points = (first..=last).map(|step| {
                (Timestamp(step * step_ms), counts.get(&step).map_or(0.0, |count| *count as f64))
            });
            labels.map(|labels| Series { labels, points: points.collect(), histograms: Vec::new() })
        });
        let series: Vec<Series> = series.collect::<Result<_, _>>().map_err(CliError::usage)?;
        let any = !series.is_empty();
        let value = Value::Matrix(series);
        let range = TimeRange::new(
            if self.args.time.given() { self.range.start } else { Timestamp((first - 1) * step_ms) },
            if self.args.time.given() { self.range.end } else { Timestamp(last * step_ms) },
        );
        let question = format!("signals {} by {}", self.args.filters.join(" "), self.args.by.join(", "));
        let answer = Answer { value, warnings: vec![], infos: vec![], coverage: vec![] };
        if any || !matches!(form, AnswerForm::Table | AnswerForm::Chart) {
            answer::write(screen, &answer, form, answer::Asked { question: &question, range })?;
        }
        Ok(any)
    }

    /// Shows what is written from now on, until nobody reads any more.
    fn follow(&self, form: AnswerForm, screen: &mut Screen) -> Outcome {
        screen.finish()?;
        let mut newest = access::now();
        // What was shown of the last minute, and how often: signals may be equal.
        let mut seen: Option<HashMap<String, usize>> = None;
        loop {
            let reading = access::read(&self.args.tenant)?;
            let reader = Reader::of(&reading, &self.args.operator)?;
            let since = TimeRange::new(newest.saturating_add(-LATE_MS), Timestamp::MAX);
            let mut found = Vec::new();
            self.each(&reader, since, &mut |own| found.push(own))?;
            let mut now: HashMap<String, usize> = HashMap::new();
            for own in &found {
                let line = own.json();
                let times = now.entry(line.clone()).or_default();
                *times += 1;
                newest = newest.max(own.row.time);
                // The first look shows what the list before it has shown.
                let known = seen.as_ref().map_or(usize::MAX, |seen| seen.get(&line).copied().unwrap_or(0));
                if *times <= known {
                    continue;
                }
                match form {
                    AnswerForm::Table | AnswerForm::Markdown => {
                        let line = format!("{}\n", own.line(screen.look()));
                        screen.people(&line)?;
                    }
                    _ => writeln!(screen, "{line}")?,
                }
            }
            seen = Some(now);
            screen.finish()?;
            std::thread::sleep(POLL);
        }
    }

    /// Why nothing may have been found.
    fn hint(&self, reading: &Reading) {
        let tenant = &reading.tenant;
        if let Some(unknown) = self.filters.unknown(&annals::signals::builtin()) {
            eprintln!("note: {}", words::harmless(&unknown));
        } else if tenant.signals + tenant.head_signals == 0 {
            eprintln!("note: tenant `{}` has no raw signals", tenant.id);
        } else {
            let count = words::plural(tenant.signals + tenant.head_signals, "raw signal", "raw signals");
            eprintln!("note: none of the {count} of tenant `{}` there satisfies all filters", tenant.id);
        }
    }
}

/// Counts by name, the greatest first.
fn ranking(
    names: &[String],
    counts: BTreeMap<Vec<String>, u64>,
    form: AnswerForm,
    screen: &mut Screen,
) -> Result<bool, CliError> {
    let mut counts: Vec<(Vec<String>, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut grid = Grid::new(names.iter().map(String::as_str).chain(["signals"]));
    let mut bars = Vec::new();
    for (key, count) in &counts {
        let cells = key.iter().map(|value| Cell::text(value.as_str()));
        grid.row(cells.chain([Cell::Count(*count)]).collect());
        bars.push((key.join(" "), *count as f64));
    }
    if counts.is_empty() && form == AnswerForm::Table {
        return Ok(false);
    }
    answer::write_ranking(screen, &grid, &bars, form, &format!("signals by {}", names.join(", ")))?;
    Ok(!counts.is_empty())
}

fn say_missing(missing: &[Missing]) {
    for one in missing {
        eprintln!("warning: {}", words::harmless(&one.why));
    }
}
