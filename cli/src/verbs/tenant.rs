//! `tenant create`, `derive`, `signals`, `list` and `show`.

use std::collections::BTreeSet;
use std::io::Write;

use annals::{TenantError, TenantSummary};

use super::query::LAST_MS;
use super::series::range;
use crate::access;
use crate::args::{RangeOfTime, StoreArgs, TenantVerb};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};

/// Does what was asked.
pub(crate) fn run(verb: &TenantVerb, screen: &mut Screen) -> Outcome {
    match verb {
        TenantVerb::Create { name, plan, store } => create(name, plan, store, screen),
        TenantVerb::Cancel { name, undo, store } => super::retention::cancel(name, *undo, store, screen),
        TenantVerb::Erase { name, yes, store } => super::receipt::erase(name, *yes, store, screen),
        TenantVerb::Export(args) => super::export::export(args, screen),
        TenantVerb::Derive { name, metric, time, store } => derive(name, metric, time, store, screen),
        TenantVerb::Signals { name, off, on, store, output } => {
            signals(name, (off, on), store, *output, screen)
        }
        TenantVerb::List { store, output } => list(store, *output, screen),
        TenantVerb::Show { name, store, output } => show(name.as_deref(), store, *output, screen),
    }
}

/// Creates a tenant, and the store where there is none.
fn create(name: &str, plan: &str, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    // Both before anything is created.
    let (id, plan) = (access::tenant_id(name)?, access::plan(plan)?);
    let root = access::directory(store);
    let annals = access::create_or_open(&root)?;
    let created = annals.create_tenant(&id, plan).map(drop);
    annals.close().map_err(CliError::failed)?;
    created.map_err(|error| match error {
        TenantError::Exists(_) => {
            CliError::failed(&error).help(format_args!("annals tenant show {id} shows it"))
        }
        other => CliError::failed(other),
    })?;
    writeln!(screen, "created tenant {id} in {}", root.display())?;
    Ok(0)
}

/// Lists all tenants.
fn list(store: &StoreArgs, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let opened = access::open_to_read(&root)?;
    for finding in opened.findings() {
        eprintln!("warning: {finding}");
    }
    let tenants = opened.tenants();
    if tenants.is_empty() {
        eprintln!(
            "note: the store has no tenant yet; make one: annals tenant create NAME --plan archive --data {}",
            root.display()
        );
    }
    let mut grid =
        Grid::new(["tenant", "plan", "signals", "samples", "blocks", "bytes", "earliest", "latest", "state"]);
    for tenant in &tenants {
        grid.row(vec![
            Cell::text(tenant.id.as_str()),
            plan_name(tenant),
            Cell::Count(tenant.signals + tenant.head_signals),
            Cell::Count(tenant.samples + tenant.head_samples),
            Cell::Count((tenant.metric_blocks + tenant.rollup_blocks + tenant.signal_blocks) as u64),
            Cell::Bytes(tenant.metric_bytes + tenant.rollup_bytes + tenant.signal_bytes),
            tenant.earliest.map_or(Cell::None, Cell::Time),
            tenant.latest.map_or(Cell::None, Cell::Time),
            state(tenant),
        ]);
    }
    screen.list(&grid, output)?;
    Ok(0)
}

/// Shows one tenant, a line per fact.
fn show(name: Option<&str>, store: &StoreArgs, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let tenant = access::choose(access::open_to_read(&root)?.tenants(), name, &root)?;
    let per = |bytes: u64, rows: u64| match rows {
        0 => Cell::None,
        rows => Cell::Value((bytes as f64 / rows as f64 * 1000.0).round() / 1000.0),
    };
    let facts = [
        ("tenant", Cell::text(tenant.id.as_str())),
        ("directory number", Cell::Count(u64::from(tenant.number.0))),
        ("state", state(&tenant)),
        ("plan", plan_name(&tenant)),
        ("created", Cell::Time(tenant.created)),
        ("metrics from", tenant.earliest.map_or(Cell::None, Cell::Time)),
        ("metrics to", tenant.latest.map_or(Cell::None, Cell::Time)),
        ("samples in blocks", Cell::Count(tenant.samples)),
        ("samples in the log", Cell::Count(tenant.head_samples)),
        ("metric blocks", Cell::Count(tenant.metric_blocks as u64)),
        ("metric block bytes", Cell::Bytes(tenant.metric_bytes)),
        ("bytes per sample", per(tenant.metric_bytes, tenant.samples)),
        ("rollup blocks", Cell::Count(tenant.rollup_blocks as u64)),
        ("rollup block bytes", Cell::Bytes(tenant.rollup_bytes)),
        ("signals in blocks", Cell::Count(tenant.signals)),
        ("signals in the log", Cell::Count(tenant.head_signals)),
        ("signal blocks", Cell::Count(tenant.signal_blocks as u64)),
        ("signal block bytes", Cell::Bytes(tenant.signal_bytes)),
        ("bytes per signal", per(tenant.signal_bytes, tenant.signals)),
    ];
    let mut grid = Grid::new(["what", "value"]);
    for (what, value) in facts {
        grid.row(vec![Cell::text(what), value]);
    }
    screen.list(&grid, output)?;
    Ok(0)
}

/// Switches signal kinds off and on; lists them where none is named.
fn signals(
    name: &str,
    (off, on): (&[String], &[String]),
    store: &StoreArgs,
    output: Option<ListForm>,
    screen: &mut Screen,
) -> Outcome {
    let root = access::directory(store);
    if off.is_empty() && on.is_empty() {
        let tenant = access::choose(access::open_to_read(&root)?.tenants(), Some(name), &root)?;
        if let Some(why) = &tenant.unavailable {
            return Err(CliError::failed(format_args!("tenant {} is unavailable: {why}", tenant.id)));
        }
        let schema = annals::signals::builtin();
        let built_in = schema.kinds.iter().map(|kind| kind.name.to_string());
        let kinds: BTreeSet<String> = built_in.chain(tenant.kinds_off.iter().cloned()).collect();
        let mut grid = Grid::new(["kind", "state"]);
        for kind in kinds {
            let state = if tenant.kinds_off.contains(&kind) { "off" } else { "on" };
            grid.row(vec![Cell::Text(kind), Cell::text(state)]);
        }
        screen.list(&grid, output)?;
        return Ok(0);
    }
    let annals = access::open_to_write(&root)?;
    let tenant = access::choose(annals.tenants(), Some(name), &root)?.id;
    let asked = off.iter().map(|kind| (kind, false)).chain(on.iter().map(|kind| (kind, true)));
    let switched = annals.tenant(&tenant).and_then(|handle| {
        asked.map(|(kind, on)| Ok((kind, on, handle.switch_kind(kind, on)?))).collect::<Result<Vec<_>, _>>()
    });
    annals.close().map_err(CliError::failed)?;
    for (kind, on, changed) in switched.map_err(CliError::failed)? {
        let (state, already) = (if on { "on" } else { "off" }, if changed { "" } else { ", as it was" });
        writeln!(screen, "signals of kind {kind} are {state} for tenant {tenant}{already}")?;
    }
    Ok(0)
}

/// Derives metrics of signals of before.
fn derive(
    name: &str,
    metrics: &[String],
    time: &RangeOfTime,
    store: &StoreArgs,
    screen: &mut Screen,
) -> Outcome {
    let root = access::directory(store);
    let annals = access::open_to_write(&root)?;
    let tenant = access::choose(annals.tenants(), Some(name), &root)?.id;
    let metrics: Vec<&str> = metrics.iter().map(String::as_str).collect();
    let derived =
        annals.tenant(&tenant).and_then(|tenant| tenant.derive_back(range(time, LAST_MS), &metrics));
    annals.close().map_err(CliError::failed)?;
    let derived = derived.map_err(|error| match error {
        TenantError::UnknownMetric { metrics: known, .. } => {
            let nearest =
                metrics.iter().find_map(|&metric| annals::nearest(metric, known.iter().map(String::as_str)));
            let unknown = CliError::usage(format_args!("no signals are derived to {}", metrics.join(", ")));
            unknown.help(match nearest {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("there are {}", known.join(", ")),
            })
        }
        error => CliError::failed(error),
    })?;
    for missing in &derived.missing {
        eprintln!("warning: {}", missing.why);
    }
    for (day, why) in &derived.left_out {
        eprintln!("warning: {day} is left as it is: {why}");
    }
    writeln!(
        screen,
        "derived  {} from {} of tenant {tenant}{}",
        words::plural(derived.samples, "new sample", "new samples"),
        words::plural(derived.signals, "signal", "signals"),
        match (derived.days.first(), derived.days.last()) {
            (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
            (Some(day), _) => format!(", {day}"),
            _ => String::new(),
        },
    )?;
    Ok(if derived.missing.is_empty() { 0 } else { 3 })
}

fn plan_name(tenant: &TenantSummary) -> Cell {
    tenant.plan.as_ref().map_or(Cell::None, |plan| Cell::text(plan.name.as_str()))
}

fn state(tenant: &TenantSummary) -> Cell {
    Cell::text(match &tenant.unavailable {
        None => tenant.cancelled.map_or("ok".to_owned(), |due| format!("cancelled, erased at {due}")),
        Some(why) => format!("unavailable: {why}"),
    })
}
