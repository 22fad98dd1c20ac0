//! `delete`: samples and signals go, by a selector and a range of time.

use std::io::Write;

use annals::{Budget, Deletion, QueryLimits, Samples, SeriesSource};

use super::query::LAST_MS;
use super::series::{range, selector};
use crate::access;
use crate::args::DeleteArgs;
use crate::error::{CliError, Outcome};
use crate::output::{Screen, words};

/// Deletes, or says what would be.
pub(crate) fn delete(args: &DeleteArgs, screen: &mut Screen) -> Outcome {
    let deletion = Deletion {
        matchers: selector(&args.selector)?,
        range: range(&args.time, LAST_MS),
        metrics: !args.signals,
        signals: !args.metrics,
    };
    if !args.yes {
        let found = find(args, &deletion)?;
        return Err(CliError::usage(format_args!("{found} would be deleted for ever"))
            .help("the same with --yes deletes them; it cannot be undone"));
    }
    let root = access::directory(&args.tenant.store);
    let annals = access::open_to_write(&root)?;
    let tenant = access::choose(annals.tenants(), args.tenant.tenant.as_deref(), &root)?.id;
    let deleted = annals.tenant(&tenant).and_then(|tenant| tenant.delete(&deletion));
    let mut worked = Ok(());
    while deleted.is_ok() && worked.is_ok() {
        match annals.maintenance_step() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => worked = Err(error),
        }
    }
    annals.close().map_err(CliError::failed)?;
    let deleted = deleted.map_err(CliError::failed)?;
    writeln!(
        screen,
        "deleted {} samples, {} signals, {} windows of rollups; {} written anew",
        deleted.samples,
        deleted.signals,
        deleted.windows,
        words::plural(deleted.blocks as u64, "block", "blocks"),
    )?;
    if let Some(due) = deleted.due {
        writeln!(
            screen,
            "hidden now; no byte of it is left by {due}, or as soon as the store's work is done"
        )?;
    }
    worked.map_err(CliError::failed)?;
    Ok(0)
}

/// What there is to delete, in words.
fn find(args: &DeleteArgs, deletion: &Deletion) -> Result<String, CliError> {
    let reading = access::read(&args.tenant)?;
    let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
    let (mut series, mut samples, mut signals) = (0, 0, 0);
    if deletion.metrics {
        let budget = Budget::new(QueryLimits { samples_max: u64::MAX, ..QueryLimits::default() });
        let found = reader.select(&deletion.matchers, deletion.range, &budget).map_err(CliError::failed)?;
        series = found.len();
        let mut read = Samples::default();
        for index in 0..series {
            found.read(index, &budget, &mut read).map_err(CliError::failed)?;
            samples += read.values.len();
        }
    }
    if deletion.signals {
        let missing = reader.scan_signals(deletion.range, &deletion.matchers, &mut |_| signals += 1);
        missing.iter().for_each(|missing| eprintln!("warning: {}", missing.why));
    }
    if series + signals == 0 {
        return Err(CliError::failed(format_args!(
            "nothing of tenant {} is found by that",
            reading.tenant.id
        ))
        .help("annals series and annals signals show what there is"));
    }
    Ok(format!("{samples} samples of {series} series and {signals} signals of tenant {}", reading.tenant.id))
}
