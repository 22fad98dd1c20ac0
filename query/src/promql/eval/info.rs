//! `info`: labels of info series (`target_info` and the like) on the series of the same instance and job.
//!
//! Info series are looked at where the selector within the first argument looks: under its `@` and its offsets, and
//! those of the subqueries around it. Of several info series of one name and target, the one with the latest sample counts.

use annals_model::{LabelSet, METRIC_NAME, Matcher, Samples, TimeRange, Timestamp, is_stale};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{Charge, Column, Grid, Vector};
use super::labels::Labels;
use super::{Evaluator, not_evaluated};
use crate::promql::ast::{Expr, ExprKind, Selector, TimeShift};
use crate::promql::error::{PromqlError, QueryError, Spanned};

/// The labels that say which target a series is about.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Name of the info metric and target.
type Target = (String, [String; 2]);

/// Samples of one info series that counts at some steps.
struct InfoSeries {
    labels: LabelSet,
    /// Per step, the time of its latest sample.
    seen: Vec<Option<i64>>,
}

fn target(labels: &LabelSet) -> [String; 2] {
    IDENTIFYING.map(|name| labels.get(name).to_owned())
}

impl<'a> Evaluator<'a> {
    pub(super) fn info(
        &self,
        argument: &Expr,
        wanted: Option<&Expr>,
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let (span, mut selector) = match wanted.map(|wanted| (wanted.span, &wanted.unparen().kind)) {
            None => (
                expr.span,
                Selector { name: None, matchers: Vec::new(), time: TimeShift::default(), extended: None },
            ),
            Some((span, ExprKind::Selector(selector))) => (span, selector.clone()),
            Some((span, _)) => return Err(not_evaluated(span, "this second argument of info")),
        };
        let (of_name, of_labels): (Vec<_>, Vec<_>) =
            selector.matchers.iter().cloned().partition(|matcher| matcher.item.name() == METRIC_NAME);
        if of_name.is_empty() {
            let item = Matcher::equal(METRIC_NAME, "target_info");
            selector.matchers.push(Spanned { span, item });
        }
        let names: Vec<Matcher> = selector.matchers.iter().map(|matcher| matcher.item.clone()).collect();
        let is_info = |labels: &LabelSet| {
            let mut of_name = names.iter().filter(|matcher| matcher.name() == METRIC_NAME);
            of_name.all(|matcher| matcher.matches(labels.metric_name()))
        };
        let mut vector = self.vector(argument, grid)?;
        let mut targets: Vec<[String; 2]> = Vec::new();
        for column in &mut vector.columns {
            let labels = column.labels.settle();
            if is_info(&labels) {
                continue;
            }
            let target = target(&labels);
            if target.iter().any(|value| !value.is_empty()) && !targets.contains(&target) {
                targets.push(target);
            }
        }
        let mut charge = Charge::none(self.budget);
        let found = self.info_series(argument, &selector, &targets, grid, &mut charge)?;
        let labels_wanted: Vec<&Matcher> = of_labels.iter().map(|matcher| &matcher.item).collect();
        let needs_match = labels_wanted.iter().any(|matcher| !matcher.matches_empty());
        let mut out = Vector::new(self.budget);
        for column in vector.columns {
            if is_info(&column.labels.get()) {
                out.push(column)?;
                continue;
            }
            self.enriched(column, &found, (&labels_wanted, needs_match), expr, grid, &mut out)?;
        }
        out.columns = super::merged(out.columns, expr.span)?;
        Ok(out)
    }

    /// The info series of some targets, and when each was last seen at each step.
    fn info_series(
        &self,
        argument: &Expr,
        selector: &Selector,
        targets: &[[String; 2]],
        grid: Grid,
        charge: &mut Charge<'a>,
    ) -> Result<HashMap<Target, Vec<InfoSeries>, FixedState>, QueryError> {
        let mut found: HashMap<Target, Vec<InfoSeries>, FixedState> =
            HashMap::with_hasher(FixedState::default());
        if targets.is_empty() {
            return Ok(found);
        }
        let mut shifts = Vec::new();
        shifts_of(argument, &mut shifts);
        let mut times = Vec::with_capacity(grid.count);
        charge.add(grid.count.saturating_mul(8))?;
        for step in 0..grid.count {
            let mut time = grid.time(step);
            for shift in &shifts {
                time = self.shifted(shift, Grid::instant(time))?.0.start;
            }
            times.push(time);
        }
        let lookback_ms = self.options.lookback_ms;
        let (Some(&first), Some(&last)) = (times.iter().min(), times.iter().max()) else { return Ok(found) };
        let range = TimeRange::new(Timestamp(first.saturating_sub(lookback_ms)), Timestamp(last));
        let selected = self.select(selector, argument.span, range)?;
        let mut samples = Samples::default();
        for index in 0..selected.len() {
            let labels = selected.labels(index);
            let target = target(&labels);
            if !targets.contains(&target) {
                continue;
            }
            self.read(&*selected, index, argument.span, &mut samples)?;
            if samples.histograms.iter().any(Option::is_some) {
                return Err(PromqlError::new(argument.span, "info sample should be float").into());
            }
            let seen = |&now: &i64| {
                let at = samples.timestamps.partition_point(|&time| time <= now).checked_sub(1)?;
                let (&time, &value) = (samples.timestamps.get(at)?, samples.values.get(at)?);
                (time > now.saturating_sub(lookback_ms) && !is_stale(value)).then_some(time)
            };
            charge.add(grid.count.saturating_mul(16))?;
            let series = InfoSeries { labels: labels.clone(), seen: times.iter().map(seen).collect() };
            found.entry((labels.metric_name().to_owned(), target)).or_default().push(series);
        }
        Ok(found)
    }

    /// A series with the labels of its info series, which can be others at other steps.
    fn enriched(
        &self,
        column: Column<'a>,
        found: &HashMap<Target, Vec<InfoSeries>, FixedState>,
        (wanted, needs_match): (&[&Matcher], bool),
        expr: &Expr,
        grid: Grid,
        out: &mut Vector<'a>,
    ) -> Result<(), QueryError> {
        let labels = column.labels.get();
        let own = target(&labels);
        let mut metrics: Vec<(&str, &Vec<InfoSeries>)> = found
            .iter()
            .filter(|((_, target), _)| *target == own)
            .map(|((name, _), series)| (name.as_str(), series))
            .collect();
        metrics.sort_unstable_by_key(|(name, _)| *name);
        // Per step, which series of each metric counts; steps of one choice share their labels.
        let mut choices: Vec<(Vec<Option<usize>>, Vec<usize>)> = Vec::new();
        for step in (0..grid.count).filter(|&step| column.holds(step)) {
            let mut choice = Vec::with_capacity(metrics.len());
            for (_, series) in &metrics {
                let seen = |one: &InfoSeries| one.seen.get(step).copied().flatten();
                let newest = series.iter().filter_map(seen).max();
                let mut newest_ones =
                    series.iter().enumerate().filter(|(_, one)| newest.is_some() && seen(one) == newest);
                let first = newest_ones.next();
                if let (Some((_, a)), Some((_, b))) = (first, newest_ones.next()) {
                    let message = format!(
                        "found duplicate series for info metric: existing {} @ {}, new {} @ {}",
                        a.labels,
                        newest.unwrap_or_default(),
                        b.labels,
                        newest.unwrap_or_default()
                    );
                    return Err(PromqlError::new(expr.span, message).into());
                }
                choice.push(first.map(|(index, _)| index));
            }
            match choices.iter_mut().find(|(own, _)| *own == choice) {
                Some((_, steps)) => steps.push(step),
                None => choices.push((choice, vec![step])),
            }
        }
        for (choice, steps) in choices {
            if needs_match && choice.iter().all(Option::is_none) {
                continue;
            }
            let mut added: Vec<(&str, &str)> = Vec::new();
            for ((_, series), chosen) in metrics.iter().zip(choice) {
                let Some(one) = chosen.and_then(|index| series.get(index)) else { continue };
                for (name, value) in one.labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
                    if !wanted.is_empty() && !wanted.iter().any(|matcher| matcher.name() == name) {
                        continue;
                    }
                    if added.iter().any(|(own, held)| *own == name && *held != value) {
                        return Err(PromqlError::new(expr.span, format!("conflicting label: {name}")).into());
                    }
                    if labels.get(name).is_empty() && !added.contains(&(name, value)) {
                        added.push((name, value));
                    }
                }
            }
            let labels = LabelSet::from_pairs(labels.iter().chain(added))
                .map_err(|error| PromqlError::new(expr.span, error.to_string()))?;
            let mut copy = Column { labels: Labels::Own(labels), ..column.clone() };
            (0..grid.count).filter(|step| !steps.contains(step)).for_each(|step| copy.clear(step));
            out.push(copy)?;
        }
        Ok(())
    }
}

/// The shifts of time on the way to the first selector, outermost first; whether there is one.
fn shifts_of<'e>(expr: &'e Expr, shifts: &mut Vec<&'e TimeShift>) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => false,
        ExprKind::Selector(selector) | ExprKind::Matrix(selector, _) => {
            shifts.push(&selector.time);
            true
        }
        ExprKind::Subquery(subquery) => {
            shifts.push(&subquery.time);
            let found = shifts_of(&subquery.expr, shifts);
            if !found {
                shifts.pop();
            }
            found
        }
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => shifts_of(inner, shifts),
        ExprKind::Binary(binary) => shifts_of(&binary.left, shifts) || shifts_of(&binary.right, shifts),
        ExprKind::Aggregate(aggregate) => {
            aggregate.parameter.as_ref().is_some_and(|parameter| shifts_of(parameter, shifts))
                || shifts_of(&aggregate.expr, shifts)
        }
        ExprKind::Call(_, arguments) => arguments.iter().any(|argument| shifts_of(argument, shifts)),
    }
}
