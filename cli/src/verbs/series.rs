//! `series` and `labels`: what there is to ask about.

use annals::query::promql::{ExprKind, parse};
use annals::{Budget, LabelSet, Matcher, Missing, QueryLimits, SeriesKind, SeriesSource, TimeRange};

use super::query::LAST_MS;
use crate::access;
use crate::args::{LabelsArgs, RangeOfTime, SeriesArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, Screen};

/// Lists series.
pub(crate) fn series(args: &SeriesArgs, screen: &mut Screen) -> Outcome {
    let selectors: Vec<Vec<Matcher>> = match args.selectors.is_empty() {
        true => vec![Vec::new()],
        false => args.selectors.iter().map(|text| selector(text)).collect::<Result<_, _>>()?,
    };
    let reading = access::read(&args.tenant)?;
    let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
    let budget = Budget::new(QueryLimits::default());
    let mut found: Vec<(LabelSet, SeriesKind)> = Vec::new();
    for matchers in &selectors {
        let selected =
            reader.select_labels(matchers, range(&args.time, LAST_MS), &budget).map_err(CliError::failed)?;
        found.extend((0..selected.len()).map(|index| (selected.labels(index), selected.kind(index))));
        warn_of(&selected.coverage().missing);
    }
    found.sort();
    found.dedup();
    let mut grid = Grid::new(["series", "kind"]);
    for (labels, kind) in &found {
        grid.row(vec![Cell::text(labels.to_string()), Cell::text(kind.name())]);
    }
    if found.is_empty() {
        super::query::note_where_data_is(&reading.tenant, range(&args.time, LAST_MS), "--end");
    }
    screen.list(&grid, args.output)?;
    Ok(0)
}

fn warn_of(missing: &[Missing]) {
    missing.iter().for_each(|missing| eprintln!("warning: {}", missing.why));
}

/// Lists label names, or the values of one.
pub(crate) fn labels(args: &LabelsArgs, screen: &mut Screen) -> Outcome {
    let matchers = args.selector.as_deref().map_or(Ok(Vec::new()), selector)?;
    let reading = access::read(&args.tenant)?;
    let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
    let (budget, range) = (Budget::new(QueryLimits::default()), range(&args.time, LAST_MS));
    let selected = reader.select_labels(&matchers, range, &budget).map_err(CliError::failed)?;
    warn_of(&selected.coverage().missing);
    let (column, found) = match &args.name {
        None => ("label", selected.label_names()),
        Some(name) => ("value", selected.label_values(name)),
    };
    if let (true, Some(name)) = (found.is_empty(), &args.name) {
        let names = selected.label_names();
        match annals::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => eprintln!("note: no series has that label; did you mean `{near}`?"),
            None if names.is_empty() => super::query::note_where_data_is(&reading.tenant, range, "--end"),
            None => eprintln!("note: no series has that label; there are {}", names.join(", ")),
        }
    }
    let mut grid = Grid::new([column]);
    for one in found {
        grid.row(vec![Cell::text(one)]);
    }
    screen.list(&grid, args.output)?;
    Ok(0)
}

/// All of time where no bound was given; `last_ms` before the end where only that is.
pub(crate) fn range(time: &RangeOfTime, last_ms: i64) -> TimeRange {
    if !time.given() {
        return TimeRange::ALL;
    }
    let (start, end) = time.resolve(access::now(), last_ms);
    TimeRange::new(start, end)
}

/// The matchers of a PromQL selector.
pub(crate) fn selector(text: &str) -> Result<Vec<Matcher>, CliError> {
    let expr = parse(text).map_err(|error| CliError::Rendered(error.render(text)))?;
    match expr.kind {
        ExprKind::Selector(selector) => {
            Ok(selector.matchers.into_iter().map(|matcher| matcher.item).collect())
        }
        _ => Err(CliError::usage("only a selector is possible here, such as http_requests{status=\"200\"}")),
    }
}
