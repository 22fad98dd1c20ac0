//! `plan list` and `show`: the built-in plans, and those of files.

use annals::{Keep, Plan, Resolution};

use crate::access;
use crate::args::PlanVerb;
use crate::error::Outcome;
use crate::output::{Cell, Grid, ListForm, Screen};
use crate::times::print_span;
use crate::verbs::retention;

/// Does what was asked.
pub(crate) fn run(verb: &PlanVerb, screen: &mut Screen) -> Outcome {
    match verb {
        PlanVerb::List { output } => list(*output, screen),
        PlanVerb::Show { name, output } => show(name, *output, screen),
        PlanVerb::Change { tenant, plan: Some(plan), preview: true, store, output, .. } => {
            retention::preview(tenant, plan, store, *output, screen)
        }
        PlanVerb::Change { tenant, plan: Some(plan), store, .. } => {
            retention::change(tenant, plan, store, screen)
        }
        PlanVerb::Change { tenant, plan: None, undo, store, .. } => {
            debug_assert!(*undo, "required by the command line");
            retention::undo(tenant, store, screen)
        }
    }
}

/// Lists the built-in plans.
fn list(output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let mut grid = Grid::new(["plan", "raw signals", "raw metrics", "5m", "1h", "late window", "rights"]);
    for plan in Plan::BUILT_IN.into_iter().filter_map(Plan::built_in) {
        let tier = |resolution| {
            let found = plan.tiers.iter().find(|tier| tier.resolution == resolution);
            Cell::text(found.map_or("-".to_owned(), |tier| keep(tier.keep)))
        };
        grid.row(vec![
            Cell::text(plan.name.as_str()),
            Cell::text(keep(plan.signals_keep)),
            tier(Resolution::Raw),
            tier(Resolution::FiveMinutes),
            tier(Resolution::Hour),
            Cell::text(late(&plan)),
            Cell::text(rights(&plan)),
        ]);
    }
    screen.list(&grid, output)?;
    Ok(0)
}

/// Shows one plan, a line per rule.
fn show(name: &str, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let plan = access::plan(name)?;
    let mut grid = Grid::new(["rule", "value"]);
    let mut rule = |name: &str, value: Cell| grid.row(vec![Cell::text(name), value]);
    rule("plan", Cell::text(plan.name.as_str()));
    rule("raw signals are kept", Cell::text(keep(plan.signals_keep)));
    for tier in &plan.tiers {
        let name = match tier.resolution {
            Resolution::Raw => "raw metrics are kept",
            Resolution::FiveMinutes => "5-minute metrics are kept",
            Resolution::Hour => "hourly metrics are kept",
        };
        rule(name, Cell::text(keep(tier.keep)));
    }
    rule(
        "data for a day is taken until",
        Cell::text(match plan.late_window_ms {
            Some(_) => format!("{} after its end", late(&plan)),
            None => "any time".to_owned(),
        }),
    );
    rule("after cancellation it is kept, at most", Cell::text(keep(Keep::Days(plan.cancelled_keep_days))));
    rule("a stamp may lie ahead by", Cell::text(print_span(plan.limits.future_max_ms)));
    rule("series at one time, at most", Cell::Count(plan.limits.series_max as u64));
    rule("records per batch, at most", Cell::Count(plan.limits.batch_records_max as u64));
    rule("may take its data out", Cell::Flag(plan.rights.export));
    rule("may write metrics of its own", Cell::Flag(plan.rights.open_metrics));
    rule("may write into sealed days", Cell::Flag(plan.rights.backfill));
    screen.list(&grid, output)?;
    Ok(0)
}

fn keep(keep: Keep) -> String {
    match keep {
        Keep::Days(days) => format!("{days} d"),
        Keep::Forever => "for ever".to_owned(),
    }
}

fn late(plan: &Plan) -> String {
    plan.late_window_ms.map_or("open".to_owned(), print_span)
}

fn rights(plan: &Plan) -> String {
    let rights = &plan.rights;
    let names: Vec<&str> =
        [(rights.export, "export"), (rights.open_metrics, "open_metrics"), (rights.backfill, "backfill")]
            .into_iter()
            .filter_map(|(has, name)| has.then_some(name))
            .collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}
