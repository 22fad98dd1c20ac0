//! `tenant erase`, `receipt verify` and `receipt key`.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use annals::{Annals, Done, Erasure, PublicKey, Receipt, TenantSummary};

use crate::access;
use crate::args::{ReceiptVerb, StoreArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Screen, words};

/// Does what was asked.
pub(crate) fn run(verb: &ReceiptVerb, screen: &mut Screen) -> Outcome {
    match verb {
        ReceiptVerb::Verify { file, key } => verify(file, key, screen),
        ReceiptVerb::Key(store) => key(store, screen),
    }
}

/// Erases a tenant, and removes its bytes as far as that goes now.
pub(crate) fn erase(name: &str, yes: bool, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let tenant = access::choose(access::open_to_read(&root)?.tenants(), Some(name), &root)?;
    if !yes {
        return Err(CliError::usage(format_args!("{} would be gone for ever", told(&tenant)))
            .help(format_args!("annals tenant erase {} --yes erases it; it cannot be undone", tenant.id)));
    }
    let annals = access::open_to_write(&root)?;
    let started = Instant::now();
    let erased = annals.erase_tenant(&tenant.id);
    let took = started.elapsed();
    let removed = erased.as_ref().map(|erasure| remove(&annals, erasure)).unwrap_or(Ok(false));
    let key = annals.receipt_key();
    annals.close().map_err(CliError::failed)?;
    let erasure = erased.map_err(CliError::failed)?;
    writeln!(screen, "erased   {}", told(&tenant))?;
    writeln!(screen, "hidden   and its key destroyed in {:.1} ms", took.as_secs_f64() * 1e3)?;
    match removed {
        Ok(true) => {
            writeln!(screen, "removed  nothing of it is left")?;
            writeln!(screen, "receipt  {}", erasure.receipt.display())?;
            if let Ok(key) = key {
                writeln!(screen, "check    annals receipt verify {} --key {key}", erasure.receipt.display())?;
            }
        }
        waits => {
            writeln!(
                screen,
                "removal  by {}, by whoever has the store open; then {} is written",
                erasure.due,
                erasure.receipt.display()
            )?;
            waits.map_err(CliError::failed)?;
        }
    }
    Ok(0)
}

/// Works until the tenant is gone; whether it is.
fn remove(annals: &Annals, erasure: &Erasure) -> Result<bool, annals::MaintenanceError> {
    while annals.erasures().iter().any(|other| other.number == erasure.number) {
        match annals.maintenance_step()? {
            Some(Done::Erased { .. }) | None => break,
            Some(_) => {}
        }
    }
    Ok(annals.erasures().iter().all(|other| other.number != erasure.number))
}

fn told(tenant: &TenantSummary) -> String {
    let blocks = tenant.metric_blocks + tenant.rollup_blocks + tenant.signal_blocks;
    let bytes = tenant.metric_bytes + tenant.rollup_bytes + tenant.signal_bytes;
    format!(
        "tenant {}: {} samples, {} signals, {} of {}",
        tenant.id,
        tenant.samples + tenant.head_samples,
        tenant.signals + tenant.head_signals,
        words::plural(blocks as u64, "block", "blocks"),
        words::size(bytes),
    )
}

/// Checks a receipt.
fn verify(file: &Path, key: &str, screen: &mut Screen) -> Outcome {
    let text = std::fs::read_to_string(key).unwrap_or_else(|_| key.to_owned());
    let key: PublicKey = text.parse().map_err(|what| CliError::usage(format_args!("--key {key}: {what}")))?;
    let bytes = std::fs::read(file)
        .map_err(|error| CliError::failed(format_args!("cannot read {}: {error}", file.display())))?;
    let receipt = Receipt::verify(&bytes, &key)
        .map_err(|error| CliError::failed(format_args!("{}: {error}", file.display())))?;
    writeln!(screen, "tenant {} (number {}) was erased", receipt.tenant, receipt.number)?;
    writeln!(screen, "hidden          {}", receipt.hidden)?;
    writeln!(screen, "keys destroyed  {}", receipt.keys_destroyed)?;
    let blocks = words::plural(receipt.blocks as u64, "block", "blocks");
    writeln!(screen, "bytes removed   {}, {blocks}", receipt.bytes_removed)?;
    if !receipt.sealed {
        writeln!(screen, "It was not sealed: who has an old copy of its files can read it.")?;
    }
    writeln!(screen, "The signature is good.")?;
    Ok(0)
}

/// Prints the key by which receipts are checked.
fn key(store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let annals = access::open_to_write(&access::directory(store))?;
    let key = annals.receipt_key();
    annals.close().map_err(CliError::failed)?;
    writeln!(screen, "{}", key.map_err(CliError::failed)?)?;
    Ok(0)
}
