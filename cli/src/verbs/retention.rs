//! `retention explain`, `plan change` and `tenant cancel`: what becomes of each block, and what another plan makes of it.

use std::io::Write;

use annals::{BlockState, KeptBlock, Timestamp};

use crate::access;
use crate::args::{RetentionVerb, StoreArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};
use crate::times::print_span;

/// Does what was asked.
pub(crate) fn run(verb: &RetentionVerb, screen: &mut Screen) -> Outcome {
    match verb {
        RetentionVerb::Explain { store, tenant, output } => {
            explain(tenant.as_deref(), store, *output, screen)
        }
        RetentionVerb::ConfirmClock(store) => confirm_clock(store, screen),
    }
}

/// For each block the rule, when it goes, where it stands.
fn explain(
    tenant: Option<&str>,
    store: &StoreArgs,
    output: Option<ListForm>,
    screen: &mut Screen,
) -> Outcome {
    let root = access::directory(store);
    let opened = access::open_to_read(&root)?;
    let mut tenants = opened.tenants();
    if tenant.is_some() {
        tenants = vec![access::choose(tenants, tenant, &root)?];
    }
    let mut grid = Grid::new(["tenant", "block", "bytes", "rule", "due", "state"]);
    for tenant in &tenants {
        let Ok(retention) = opened.retention(&tenant.id) else {
            access::warn_unavailable(&tenant.id);
            continue;
        };
        for kept in retention.blocks() {
            grid.row(vec![
                Cell::text(tenant.id.as_str()),
                Cell::text(kept.block.id.to_string()),
                Cell::Bytes(kept.block.bytes),
                Cell::text(kept.rule.to_string()),
                due(&kept),
                Cell::text(state(kept.state)),
            ]);
        }
        if let Some(due) = retention.cancelled() {
            eprintln!("note: tenant {} is cancelled, and is erased at {due}", tenant.id);
        }
        if let Some((from, plan)) = retention.next_plan() {
            eprintln!("note: tenant {}: plan {} takes effect at {from}", tenant.id, plan.name);
        }
        if retention.lag_ms() > 0 {
            let lag = print_span(retention.lag_ms());
            eprintln!("note: tenant {}: blocks are due since {lag}; annals compact removes them", tenant.id);
        }
    }
    screen.list(&grid, output)?;
    Ok(0)
}

/// Says that the clock is right.
fn confirm_clock(store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let annals = access::open_to_write(&root)?;
    let confirmed = annals.confirm_clock();
    annals.close().map_err(CliError::failed)?;
    confirmed.map_err(CliError::failed)?;
    writeln!(screen, "what has expired by {} will be removed", access::now())?;
    Ok(0)
}

/// What another plan would make of each block.
pub(crate) fn preview(
    tenant: &str,
    plan: &str,
    store: &StoreArgs,
    output: Option<ListForm>,
    screen: &mut Screen,
) -> Outcome {
    let plan = access::plan(plan)?;
    let root = access::directory(store);
    let opened = access::open_to_read(&root)?;
    let tenant = access::choose(opened.tenants(), Some(tenant), &root)?.id;
    let preview = opened.retention(&tenant).map_err(CliError::failed)?.preview(&plan);
    let mut grid = Grid::new(["block", "bytes", "now", "due", "then", "due then", "state then"]);
    for (old, new) in &preview.blocks {
        grid.row(vec![
            Cell::text(old.block.id.to_string()),
            Cell::Bytes(old.block.bytes),
            Cell::text(old.rule.to_string()),
            due(old),
            Cell::text(new.rule.to_string()),
            due(new),
            Cell::text(state(new.state)),
        ]);
    }
    screen.list(&grid, output)?;
    let changed = words::size(preview.bytes_changed());
    eprintln!("note: {changed} would go on another date; {}", effect(preview.effective));
    Ok(0)
}

/// Gives a tenant another plan.
pub(crate) fn change(tenant: &str, plan: &str, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let plan = access::plan(plan)?;
    let name = plan.name.clone();
    let effective = with_tenant(tenant, store, |tenant| tenant.change_plan(plan))?;
    writeln!(screen, "tenant {tenant} gets plan {name}; {}", effect(effective))?;
    Ok(0)
}

/// Takes back a change of plan.
pub(crate) fn undo(tenant: &str, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    match with_tenant(tenant, store, annals::Tenant::undo_plan)? {
        Some(plan) => writeln!(screen, "tenant {tenant} keeps its plan; {} does not take effect", plan.name)?,
        None => return Err(CliError::failed("no change of plan waits to take effect")),
    }
    Ok(0)
}

/// Cancels a tenant, or takes that back.
pub(crate) fn cancel(tenant: &str, undo: bool, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    if !undo {
        let due = with_tenant(tenant, store, annals::Tenant::cancel)?;
        writeln!(screen, "tenant {tenant} takes no more data, and is erased at {due}")?;
        writeln!(
            screen,
            "until then it can be read and exported; annals tenant cancel {tenant} --undo takes it back"
        )?;
    } else if with_tenant(tenant, store, annals::Tenant::undo_cancel)? {
        writeln!(screen, "tenant {tenant} takes data again")?;
    } else {
        return Err(CliError::failed(format_args!("tenant {tenant} is not cancelled")));
    }
    Ok(0)
}

fn with_tenant<T>(
    name: &str,
    store: &StoreArgs,
    work: impl FnOnce(&annals::Tenant) -> Result<T, annals::TenantError>,
) -> Result<T, CliError> {
    let root = access::directory(store);
    let annals = access::open_to_write(&root)?;
    let tenant = access::choose(annals.tenants(), Some(name), &root)?.id;
    let done = annals.tenant(&tenant).and_then(|tenant| work(&tenant));
    annals.close().map_err(CliError::failed)?;
    done.map_err(CliError::failed)
}

fn effect(effective: Timestamp) -> String {
    if effective <= access::now() {
        "it takes effect at once".to_owned()
    } else {
        format!("it takes effect at {effective}, and can be undone until then with --undo")
    }
}

fn due(kept: &KeptBlock) -> Cell {
    kept.due.map_or(Cell::text("never"), Cell::Time)
}

fn state(state: BlockState) -> &'static str {
    match state {
        BlockState::Live => "live",
        BlockState::Held => "held",
        BlockState::Due => "due",
    }
}
