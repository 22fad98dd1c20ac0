//! `stats`: a store in numbers.

use std::io::Write;

use annals::{BlockTotals, Metrics, TenantMetrics};

use crate::access;
use crate::args::StatsArgs;
use crate::error::Outcome;
use crate::output::{Cell, Grid, ListForm, Screen};
use crate::times::print_span;

/// Shows a store's numbers, as far as they can be known beside its writer.
pub(crate) fn stats(args: &StatsArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(&args.store);
    let store = access::open_to_read(&root)?;
    access::warn_of_unavailable(&store.tenants());
    let metrics = store.metrics();
    if args.openmetrics {
        screen.write_all(metrics.to_openmetrics().as_bytes())?;
        return Ok(0);
    }
    let form = screen.list_form(args.output);
    if form == ListForm::Table {
        screen.list(&of_store(&metrics), Some(form))?;
        writeln!(screen)?;
    }
    screen.list(&of_tenants(&metrics.tenants), Some(form))?;
    Ok(0)
}

fn of_store(metrics: &Metrics) -> Grid {
    let mut grid = Grid::new(["what", "value"]);
    let facts = [
        ("tenants", Cell::Count(metrics.tenants.len() as u64)),
        ("tenants unavailable", Cell::Count(metrics.tenants_unavailable)),
        ("log segments", Cell::Count(metrics.log_segments)),
        ("log", Cell::Bytes(metrics.log_file_bytes)),
        ("files in quarantine", Cell::Count(metrics.quarantine_files)),
        ("quarantine", Cell::Bytes(metrics.quarantine_bytes)),
    ];
    for (what, value) in facts {
        grid.row(vec![Cell::text(what), value]);
    }
    grid
}

fn of_tenants(tenants: &[TenantMetrics]) -> Grid {
    let mut grid = Grid::new([
        "tenant",
        "series in memory",
        "samples in the log",
        "signals in the log",
        "blocks",
        "bytes",
        "merges due",
        "seals due",
        "overdue",
        "under old keys",
    ]);
    for tenant in tenants {
        let sum = |of: fn(&BlockTotals) -> u64| tenant.blocks.iter().map(|(_, totals)| of(totals)).sum();
        grid.row(vec![
            Cell::text(tenant.id.as_str()),
            Cell::Count(tenant.head_series),
            Cell::Count(tenant.head_samples),
            Cell::Count(tenant.head_signals),
            Cell::Count(sum(|own| own.blocks)),
            Cell::Bytes(sum(|own| own.bytes)),
            Cell::Count(tenant.merges_due),
            Cell::Count(tenant.seals_due),
            match i64::try_from(tenant.retention_lag_ms) {
                Ok(lag) if lag > 0 => Cell::text(print_span(lag)),
                _ => Cell::None,
            },
            if tenant.old_keys > 0 { Cell::Bytes(tenant.old_key_bytes) } else { Cell::None },
        ]);
    }
    grid
}
