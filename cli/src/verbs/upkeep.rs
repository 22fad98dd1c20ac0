//! `compact` and `inspect`: a store's files.

use std::io::Write;

use annals::{BlockMeta, Done, TenantSummary};

use crate::access;
use crate::args::{InspectArgs, StoreArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};

/// The exit code of damage.
const DAMAGE_FOUND: u8 = 3;

/// Flushes and merges everything.
pub(crate) fn compact(store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let annals = access::open_to_write(&root)?;
    for finding in &annals.recovery().findings {
        eprintln!("warning: {finding}");
    }
    access::warn_of_unavailable(&annals.tenants());
    let before = Size::of(&annals.tenants());
    let settled = annals.settle();
    let after = Size::of(&annals.tenants());
    annals.close().map_err(CliError::failed)?;
    let done = settled.map_err(|error| {
        CliError::failed(error)
            .help(format_args!("annals verify --data {} names what is damaged", root.display()))
    })?;
    let (mut flushed, mut merged, mut sealed, mut dropped) = (0, 0, 0, 0);
    for step in &done {
        match step {
            Done::Flushed { tenant, blocks } => {
                flushed += blocks.len();
                for block in blocks {
                    writeln!(screen, "flushed  {tenant}  {}", describe(block))?;
                }
            }
            Done::Merged { tenant, inputs, output } => {
                merged += inputs.len();
                let output = output.as_ref().map_or("nothing: all of it had expired".to_owned(), describe);
                writeln!(
                    screen,
                    "merged   {tenant}  {} into {output}",
                    words::plural(inputs.len() as u64, "block", "blocks")
                )?;
            }
            Done::Sealed { tenant, day, blocks } => {
                sealed += 1;
                for block in blocks {
                    writeln!(screen, "sealed   {tenant}  {day}: {}", describe(block))?;
                }
            }
            Done::PlanChanged { tenant, plan } => writeln!(screen, "plan     {tenant}  {plan} took effect")?,
            Done::Dropped { tenant, blocks } => {
                dropped += blocks.len();
                for block in blocks {
                    writeln!(screen, "dropped  {tenant}  {} (expired)", block.id)?;
                }
            }
            Done::Deleted { tenant, since } => {
                writeln!(screen, "deleted  {tenant}  nothing is left of what was deleted at {since}")?;
            }
            Done::Cancelled { tenant, .. } => writeln!(screen, "ended    {tenant}  it was cancelled")?,
            Done::KeysRetired { tenant, keys } => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                writeln!(screen, "keys     {tenant}  destroyed {}: nothing needs them", keys.join(", "))?;
            }
            Done::Erased { tenant, receipt } => writeln!(screen, "erased   {tenant}  {}", receipt.display())?,
            _ => {}
        }
    }
    writeln!(
        screen,
        "{} flushed, {merged} merged, {} sealed, {dropped} dropped; {} in {} before, {} in {} after",
        words::plural(flushed as u64, "block", "blocks"),
        words::plural(sealed, "day", "days"),
        words::size(before.bytes),
        words::plural(before.blocks, "block", "blocks"),
        words::size(after.bytes),
        words::plural(after.blocks, "block", "blocks"),
    )?;
    Ok(0)
}

struct Size {
    blocks: u64,
    bytes: u64,
}

impl Size {
    fn of(tenants: &[TenantSummary]) -> Size {
        Size {
            blocks: tenants.iter().map(blocks_of).sum(),
            bytes: tenants
                .iter()
                .map(|tenant| tenant.metric_bytes + tenant.rollup_bytes + tenant.signal_bytes)
                .sum(),
        }
    }
}

fn blocks_of(tenant: &TenantSummary) -> u64 {
    (tenant.metric_blocks + tenant.rollup_blocks + tenant.signal_blocks) as u64
}

fn describe(block: &BlockMeta) -> String {
    let what = match block.id.content {
        annals::BlockContent::RawMetrics => words::plural(block.rows, "sample", "samples"),
        annals::BlockContent::Rollup5m | annals::BlockContent::Rollup1h => {
            words::plural(block.rows, "window", "windows")
        }
        annals::BlockContent::RawSignals => words::plural(block.rows, "signal", "signals"),
    };
    format!("{}: {what}, {}", block.id, words::size(block.bytes))
}

/// Shows what one file holds.
pub(crate) fn inspect(args: &InspectArgs, screen: &mut Screen) -> Outcome {
    let inspection = annals::inspect(access::vfs(), &args.file).map_err(CliError::failed)?;
    let form = screen.list_form(args.output);
    for finding in &inspection.findings {
        eprintln!("damage: {}", words::harmless(finding));
    }
    let code = if inspection.findings.is_empty() { 0 } else { DAMAGE_FOUND };
    if form == ListForm::Json || form == ListForm::Jsonl || form == ListForm::Csv {
        // One list is what those forms can hold: the facts, then each table under its title.
        let mut grid = Grid::new(["section", "name", "value"]);
        for (name, value) in &inspection.facts {
            grid.row(vec![Cell::text("facts"), Cell::text(name.as_str()), Cell::text(value.as_str())]);
        }
        for table in &inspection.tables {
            for (number, row) in table.rows.iter().enumerate() {
                for (column, value) in table.columns.iter().zip(row) {
                    let name = format!("{number}.{column}");
                    grid.row(vec![
                        Cell::text(table.title.as_str()),
                        Cell::text(name),
                        Cell::text(value.as_str()),
                    ]);
                }
            }
        }
        screen.list(&grid, Some(form))?;
        return Ok(code);
    }
    writeln!(screen, "{}", words::harmless(&inspection.title))?;
    let mut facts = Grid::new(["what", "value"]);
    for (name, value) in &inspection.facts {
        facts.row(vec![Cell::text(name.as_str()), Cell::text(value.as_str())]);
    }
    screen.list(&facts, Some(form))?;
    for table in &inspection.tables {
        writeln!(screen, "\n{}", words::harmless(&table.title))?;
        let mut grid = Grid::new(table.columns.iter().map(String::as_str).collect::<Vec<_>>());
        for row in &table.rows {
            grid.row(row.iter().map(|cell| Cell::text(cell.as_str())).collect());
        }
        screen.list(&grid, Some(form))?;
    }
    Ok(code)
}
