//! `audit show` and `audit verify`: what operators read, and whether that was changed.

use std::io::Write;

use annals::{AuditTrail, audit_trail};

use crate::access;
use crate::args::{AuditVerb, StoreArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};

/// Does what was asked.
pub(crate) fn run(verb: &AuditVerb, screen: &mut Screen) -> Outcome {
    match verb {
        AuditVerb::Show { store, tenant, output } => show(tenant.as_deref(), store, *output, screen),
        AuditVerb::Verify { store, head } => verify(head.as_deref(), store, screen),
    }
}

/// Lists the entries.
fn show(tenant: Option<&str>, store: &StoreArgs, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let trail = read(store)?;
    let mut grid = Grid::new(["number", "time", "tenant", "operator", "reason", "action", "what"]);
    for entry in trail.entries.iter().filter(|entry| tenant.is_none_or(|tenant| entry.tenant == tenant)) {
        grid.row(vec![
            Cell::Count(entry.number),
            Cell::Time(entry.time),
            Cell::Text(entry.tenant.clone()),
            Cell::Text(entry.operator.clone()),
            Cell::Text(entry.reason.clone()),
            Cell::Text(entry.action.clone()),
            Cell::Text(entry.what.clone()),
        ]);
    }
    screen.list(&grid, output)?;
    for finding in &trail.findings {
        eprintln!("warning: {finding}");
    }
    Ok(0)
}

/// Checks the chain.
fn verify(head: Option<&str>, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let trail = read(store)?;
    for finding in &trail.findings {
        writeln!(screen, "changed  {finding}")?;
    }
    for note in &trail.notes {
        writeln!(screen, "note     {note}")?;
    }
    let lost = head.is_some_and(|head| !trail.hashes.iter().any(|hash| hash == head.trim()));
    if lost {
        writeln!(
            screen,
            "lost     no entry has the hash that was given: it was changed, or the end was cut off"
        )?;
    }
    let entries = words::plural(trail.entries.len() as u64, "entry", "entries");
    if !trail.findings.is_empty() || lost {
        writeln!(screen, "The audit log is not as it was written: {entries} can be read.")?;
        return Ok(3);
    }
    writeln!(screen, "{entries}, each as it was written")?;
    if let Some(last) = trail.hashes.last() {
        writeln!(screen, "last     {last}")?;
    }
    Ok(0)
}

fn read(store: &StoreArgs) -> Result<AuditTrail, CliError> {
    let root = access::directory(store);
    access::must_exist(&root)?;
    audit_trail(&*access::vfs(), &root).map_err(CliError::failed)
}
