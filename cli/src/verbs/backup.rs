//! `backup take`, `list`, `verify` and `prune`; `restore`.

use std::io::Write;
use std::path::Path;

use annals::vfs::{SystemClock, SystemEntropy};
use annals::{
    At, BackupError, FileKeyStore, KeyStore, Options, RestoreError, RestoreInto, RestoreTenant, TenantError,
};

use jiff::tz::TimeZone;

use crate::access;
use crate::args::{BackupVerb, RestoreArgs, StoreArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};

/// The exit code of damage.
const DAMAGE_FOUND: u8 = 3;

/// Does what was asked.
pub(crate) fn run(verb: &BackupVerb, screen: &mut Screen) -> Outcome {
    match verb {
        BackupVerb::Take { directory, store } => take(directory, store, screen),
        BackupVerb::List { directory, output } => list(directory, *output, screen),
        BackupVerb::Verify { directory } => verify(directory, screen),
        BackupVerb::Prune { directory, keep, keys, store } => {
            prune(directory, *keep, keys.as_deref(), store, screen)
        }
    }
}

/// Takes a snapshot.
fn take(directory: &Path, store: &StoreArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let clock = SystemClock::default();
    let taken = annals::backup(&*access::vfs(), &clock, &root, directory).map_err(failed)?;
    let tenants = words::plural(taken.tenants as u64, "tenant", "tenants");
    let files = words::plural(taken.files, "file", "files");
    writeln!(
        screen,
        "took     snapshot {} of {tenants} as of {}: {files} of {}",
        taken.number,
        taken.taken,
        words::size(taken.bytes)
    )?;
    let written = words::plural(taken.written, "file", "files");
    let linked = words::plural(taken.linked, "block", "blocks");
    writeln!(
        screen,
        "new      {written} of {} written, {linked} got a second name",
        words::size(taken.written_bytes)
    )?;
    if taken.continues {
        writeln!(screen, "instants any since the snapshot before can be restored")?;
    }
    for fault in &taken.faults {
        eprintln!("warning: {}", words::harmless(fault));
    }
    if taken.faults.is_empty() {
        return Ok(0);
    }
    eprintln!("note: everything else is in the snapshot; annals verify names what is damaged in the store");
    Ok(DAMAGE_FOUND)
}

/// Lists the snapshots of a backup.
fn list(directory: &Path, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let snapshots = annals::snapshots(&*access::vfs(), directory).map_err(failed)?;
    let mut grid = Grid::new([
        "snapshot",
        "taken",
        "any instant since",
        "tenants",
        "files",
        "bytes",
        "new bytes",
        "state",
    ]);
    for snapshot in &snapshots {
        let state = match (&snapshot.damaged, snapshot.faults.len()) {
            (Some(why), _) => format!("cannot be used: {why}"),
            (None, 0) => "whole".to_owned(),
            (None, faults) => {
                format!("{} of the store in it", words::plural(faults as u64, "fault", "faults"))
            }
        };
        grid.row(vec![
            Cell::Count(snapshot.number),
            if snapshot.damaged.is_some() { Cell::None } else { Cell::Time(snapshot.taken) },
            snapshot.since.map_or(Cell::None, Cell::Time),
            Cell::Count(snapshot.tenants.len() as u64),
            Cell::Count(snapshot.files),
            Cell::Bytes(snapshot.bytes),
            Cell::Bytes(snapshot.new_bytes),
            Cell::text(state),
        ]);
    }
    screen.list(&grid, output)?;
    Ok(0)
}

/// Reads all of a backup and names what is damaged.
fn verify(directory: &Path, screen: &mut Screen) -> Outcome {
    let check = annals::verify_backup(&*access::vfs(), directory).map_err(failed)?;
    for finding in &check.findings {
        let snapshots: Vec<String> = finding.snapshots.iter().map(u64::to_string).collect();
        writeln!(screen, "{}", words::harmless(&finding.path.display().to_string()))?;
        writeln!(screen, "  damage  {}", words::harmless(&finding.what))?;
        writeln!(screen, "  needed  by snapshot {}", snapshots.join(", "))?;
    }
    for (number, fault) in &check.faults {
        writeln!(screen, "snapshot {number}")?;
        writeln!(screen, "  note    {}", words::harmless(fault))?;
    }
    let files = words::plural(check.files, "file", "files");
    let of = words::plural(check.snapshots, "snapshot", "snapshots");
    let read = format!("{files} of {of}, {}", words::size(check.bytes));
    if check.findings.is_empty() {
        writeln!(screen, "no damage in {read}")?;
        return Ok(0);
    }
    writeln!(screen, "{} in {read}", words::plural(check.findings.len() as u64, "finding", "findings"))?;
    Ok(DAMAGE_FOUND)
}

/// Removes old snapshots and files of erased tenants.
fn prune(
    directory: &Path,
    keep: usize,
    keys: Option<&Path>,
    store: &StoreArgs,
    screen: &mut Screen,
) -> Outcome {
    let vfs = access::vfs();
    let keys = keys.map_or_else(|| access::directory(store).join("keys"), Path::to_path_buf);
    if let Err(error) = vfs.list(&keys) {
        let unknown = CliError::usage(format_args!("cannot read the keys {}: {error}", keys.display()));
        return Err(
            unknown.help("they say which tenants were erased: name the store with --data, or --keys DIR")
        );
    }
    let store = FileKeyStore::new(vfs.clone(), &keys, &keys);
    let clock = SystemClock::default();
    let pruned = annals::prune_backup(&*vfs, &clock, directory, keep, Some(&store)).map_err(failed)?;
    for number in &pruned.snapshots {
        writeln!(screen, "removed  snapshot {number}")?;
    }
    for tenant in &pruned.erased {
        writeln!(screen, "removed  tenant {tenant}, which was erased, from every snapshot")?;
    }
    writeln!(screen, "removed  {} that no snapshot needs", words::plural(pruned.files, "file", "files"))?;
    Ok(0)
}

/// Makes a store of a snapshot.
pub(crate) fn restore(args: &RestoreArgs, screen: &mut Screen) -> Outcome {
    let (vfs, root, options) = (access::vfs(), access::directory(&args.store), Options::default());
    if let Some(keys) = &args.keys
        && let Err(error) = vfs.list(keys)
    {
        return Err(CliError::usage(format_args!("cannot read the keys {}: {error}", keys.display())));
    }
    let at = match (args.snapshot, args.at) {
        (Some(number), _) => At::Snapshot(number),
        (None, Some(at)) => At::Instant(at.resolve(access::now(), &TimeZone::UTC)),
        (None, None) => At::Newest,
    };
    let keys = args.keys.as_ref().map(|keys| FileKeyStore::new(vfs.clone(), keys, keys));
    let keys = keys.as_ref().map(|keys| keys as &dyn KeyStore);
    let restored = match &args.tenant {
        None => {
            let (clock, entropy) = (SystemClock::default(), SystemEntropy::default());
            let into = RestoreInto { root: &root, options: &options };
            annals::restore(&vfs, &clock, &entropy, &args.directory, at, keys, into)
        }
        Some(tenant) => {
            let id = access::tenant_id(tenant)?;
            let name = args.name.as_deref().map_or(Ok(id.clone()), access::tenant_id)?;
            let annals = access::open_to_write(&root)?;
            let wanted = RestoreTenant { directory: &args.directory, at, keys, tenant: &id, name: &name };
            let restored = annals.restore_tenant(&wanted);
            annals.close().map_err(CliError::failed)?;
            restored
        }
    };
    let restored = restored.map_err(|error| match (error, args.keys.is_some()) {
        (RestoreError::Backup(error), _) => failed(error),
        (error @ RestoreError::Nobody { .. }, false) => CliError::failed(error).help(
            "--keys DIR names the keys of the store that the backup is of: its keys/, or a copy of that",
        ),
        (error @ RestoreError::Tenant(TenantError::Exists(_)), _) => {
            CliError::failed(error).help("--as NAME restores it under another name")
        }
        (error, _) => CliError::failed(error),
    })?;
    let tenants = words::plural(restored.tenants.len() as u64, "tenant", "tenants");
    writeln!(screen, "restored {tenants} of snapshot {} to {}", restored.snapshot, root.display())?;
    let blocks = words::plural(restored.blocks, "block", "blocks");
    writeln!(
        screen,
        "blocks   {blocks} of {}, and {} made of the log",
        words::size(restored.bytes),
        restored.from_log
    )?;
    for tenant in &restored.erased {
        writeln!(screen, "erased   tenant {tenant} does not come back: its key is destroyed")?;
    }
    for (tenant, why) in &restored.left_out {
        eprintln!("warning: tenant {tenant} is not there: {}", words::harmless(why));
    }
    for fault in &restored.faults {
        eprintln!("warning: {}", words::harmless(fault));
    }
    Ok(if restored.left_out.is_empty() && restored.faults.is_empty() { 0 } else { DAMAGE_FOUND })
}

fn failed(error: BackupError) -> CliError {
    let advice = match &error {
        BackupError::NoStore { .. } => "name it with --data DIR or ANNALS_DATA",
        BackupError::Catalogue(_) | BackupError::Log(_) => "annals verify names what is damaged in the store",
        _ => return CliError::failed(error),
    };
    CliError::failed(error).help(advice)
}
