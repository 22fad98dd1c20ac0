//! `top`: where a tenant's series come from, and which hold most.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use annals::{Budget, QueryLimits, ReadPlan, SeriesSource, Whole};

use super::query::LAST_MS;
use super::series::{range, selector};
use crate::access;
use crate::args::{Ranked, TopArgs};
use crate::error::{CliError, Outcome};
use crate::output::{AnswerForm, Cell, Grid, Screen, answer, words};

/// Values of a label that are named as examples.
const EXAMPLES: usize = 3;

/// What is known of the series that count.
#[derive(Default)]
struct Census {
    series: u64,
    metrics: BTreeMap<String, (u64, ReadPlan)>,
    /// Of each label the series that have it, and its values with their series.
    labels: BTreeMap<String, (u64, HashMap<String, u64>)>,
    by_samples: Vec<(String, &'static str, ReadPlan)>,
}

/// A ranking of one kind.
struct Ranking {
    title: String,
    grid: Grid,
    bars: Vec<(String, f64)>,
}

/// Ranks.
pub(crate) fn top(args: &TopArgs, screen: &mut Screen) -> Outcome {
    // All three are for people; programs say which one they read.
    let form = match (args.what, args.output) {
        (None, None) => AnswerForm::Table,
        (_, asked) => screen.answer_form(asked),
    };
    let matchers = args.selector.as_deref().map_or(Ok(Vec::new()), selector)?;
    let reading = access::read(&args.tenant)?;
    let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
    let range = range(&args.time, LAST_MS);
    // Counting what there is must not end where a query would.
    let budget = Budget::new(QueryLimits::NONE);
    let selected = reader.select(&matchers, range, &budget).map_err(CliError::failed)?;
    for missing in &selected.coverage().missing {
        eprintln!("warning: {}", words::harmless(&missing.why));
    }
    let mut census = Census::default();
    for index in 0..selected.len() {
        let plan = selected.plan(index, Whole::of(&|_| false));
        census.add(&selected.labels(index), selected.kind(index).name(), plan);
    }
    if census.series == 0 {
        super::query::note_where_data_is(&reading.tenant, range, "--end");
    }
    let all = [Ranked::Metrics, Ranked::Labels, Ranked::Series];
    let wanted: Vec<Ranked> = args.what.map_or(all.to_vec(), |what| vec![what]);
    let titled = matches!(form, AnswerForm::Table | AnswerForm::Markdown | AnswerForm::Chart);
    if wanted.len() > 1 && !titled {
        return Err(CliError::usage(format_args!("{} holds one ranking", form.word()))
            .help("say which: annals top metrics, annals top labels or annals top series"));
    }
    for (number, what) in wanted.iter().enumerate() {
        let ranking = census.rank(*what, args.limit);
        if titled {
            let before = if number > 0 { "\n" } else { "" };
            writeln!(screen, "{before}{}", ranking.title)?;
        }
        answer::write_ranking(screen, &ranking.grid, &ranking.bars, form, &ranking.title)?;
    }
    Ok(0)
}

impl Census {
    fn add(&mut self, labels: &annals::LabelSet, kind: &'static str, plan: ReadPlan) {
        self.series += 1;
        let metric = self.metrics.entry(labels.metric_name().to_owned()).or_default();
        *metric = (metric.0 + 1, metric.1.plus(plan));
        for (name, value) in labels.iter().filter(|(name, _)| *name != annals::METRIC_NAME) {
            let (series, values) = self.labels.entry(name.to_owned()).or_default();
            *series += 1;
            match values.get_mut(value) {
                Some(count) => *count += 1,
                None => drop(values.insert(value.to_owned(), 1)),
            }
        }
        self.by_samples.push((labels.to_string(), kind, plan));
    }

    fn rank(&self, what: Ranked, limit: usize) -> Ranking {
        match what {
            Ranked::Metrics => self.metrics(limit),
            Ranked::Labels => self.labels(limit),
            Ranked::Series => self.largest(limit),
        }
    }

    fn metrics(&self, limit: usize) -> Ranking {
        let mut metrics: Vec<_> = self.metrics.iter().collect();
        metrics.sort_by_key(|(_, (series, plan))| std::cmp::Reverse((*series, plan.samples)));
        let mut grid = Grid::new(["metric", "series", "samples", "bytes"]);
        let mut bars = Vec::new();
        for (name, (series, plan)) in metrics.iter().take(limit) {
            grid.row(vec![
                Cell::text(name.as_str()),
                Cell::Count(*series),
                Cell::Count(plan.samples + plan.windows),
                Cell::Bytes(plan.bytes),
            ]);
            bars.push(((*name).clone(), *series as f64));
        }
        let shown = counted(bars.len(), metrics.len(), "metric", "metrics");
        let series = words::plural(self.series, "series", "series");
        Ranking { title: format!("{shown} by their series, of {series} in all"), grid, bars }
    }

    fn labels(&self, limit: usize) -> Ranking {
        let mut labels: Vec<_> = self.labels.iter().collect();
        labels.sort_by_key(|(_, (series, values))| std::cmp::Reverse((values.len(), *series)));
        let mut grid = Grid::new(["label", "values", "series", "most series have"]);
        let mut bars = Vec::new();
        for (name, (series, values)) in labels.iter().take(limit) {
            let mut most: Vec<(&String, &u64)> = values.iter().collect();
            most.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let most: Vec<String> = most
                .iter()
                .take(EXAMPLES)
                .map(|(value, count)| format!("{value} ({})", words::count(**count)))
                .collect();
            grid.row(vec![
                Cell::text(name.as_str()),
                Cell::Count(values.len() as u64),
                Cell::Count(*series),
                Cell::text(most.join(", ")),
            ]);
            bars.push(((*name).clone(), values.len() as f64));
        }
        let shown = counted(bars.len(), labels.len(), "label", "labels");
        Ranking { title: format!("{shown} by their distinct values"), grid, bars }
    }

    fn largest(&self, limit: usize) -> Ranking {
        let mut largest: Vec<&(String, &str, ReadPlan)> = self.by_samples.iter().collect();
        largest.sort_by(|a, b| {
            (b.2.samples + b.2.windows, b.2.bytes)
                .cmp(&(a.2.samples + a.2.windows, a.2.bytes))
                .then(a.0.cmp(&b.0))
        });
        let mut grid = Grid::new(["series", "kind", "samples", "bytes"]);
        let mut bars = Vec::new();
        for (labels, kind, plan) in largest.iter().take(limit) {
            grid.row(vec![
                Cell::text(labels.as_str()),
                Cell::text(*kind),
                Cell::Count(plan.samples + plan.windows),
                Cell::Bytes(plan.bytes),
            ]);
            bars.push((labels.clone(), (plan.samples + plan.windows) as f64));
        }
        let shown = counted(bars.len(), largest.len(), "series", "series");
        Ranking { title: format!("{shown} by their samples"), grid, bars }
    }
}

/// `10 of 1,500 series`, or `7 labels` where that is all.
fn counted(shown: usize, all: usize, one: &str, many: &str) -> String {
    match shown == all {
        true => words::plural(all as u64, one, many),
        false => format!("{} of {}", words::count(shown as u64), words::plural(all as u64, one, many)),
    }
}
