//! Small checks of what no crash, error or random damage shows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use annals::{
    Annals, BatchId, DAY_MS, Options, Plan, Signal, SignalBatch, SiteName, Tenant, TenantId, Ticket,
    TimeRange, Timestamp,
};

use crate::world::{Machine, NOW};

/// Whether something holds; `None` where it could not even be tried.
type Check = fn() -> Option<bool>;

/// The first check that does not hold.
pub(super) fn failing() -> Option<&'static str> {
    let checks: [(&str, Check); 5] = [
        ("salts differ", salts_differ),
        ("a damaged record costs itself", a_damaged_record_costs_itself),
        ("an older manifest is not taken", an_older_manifest_is_not_taken),
        ("a day expires at its instant", a_day_expires_at_its_instant),
        ("a full disk lets go of what has expired", a_full_disk_lets_go),
    ];
    checks.into_iter().find(|(_, holds)| holds() != Some(true)).map(|(name, _)| name)
}

/// Where a segment's header has its salt; see `wal/src/header.rs`.
const SALT: std::ops::Range<usize> = 40..56;

/// Continues one disk twice: segments of one name, made by two processes, must differ in their salts.
fn salts_differ() -> Option<bool> {
    let machine = Machine::new(Options::default());
    drop(machine.open());
    let (one, other) = (salts(&machine.fork())?, salts(&machine.fork())?);
    let mut common = one.iter().filter_map(|(path, salt)| Some((salt, other.get(path)?))).peekable();
    Some(common.peek().is_some() && common.all(|(one, other)| one != other))
}

/// The salts of all segments once a process has made one ready.
fn salts(machine: &Machine) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
    let store = machine.open().ok()?;
    while let Ok(Some(_)) = store.maintenance_step() {}
    segments(machine)
        .into_iter()
        .map(|path| {
            let bytes = machine.vfs.read_file(&path).ok()?;
            Some((path, bytes.get(SALT)?.to_vec()))
        })
        .collect()
}

fn segments(machine: &Machine) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    machine.vfs.paths().into_iter().filter(is_segment).collect()
}

/// A flipped bit in one of ten records leaves nine.
fn a_damaged_record_costs_itself() -> Option<bool> {
    let (machine, store, tenant) = started()?;
    for n in 0..10 {
        write(&tenant, n, NOW)?;
    }
    drop(tenant);
    store.close().ok()?;
    let segment = segments(&machine).pop()?;
    // In the middle of what was written.
    let bytes = machine.vfs.read_file(&segment).ok()?;
    let used = bytes.iter().rposition(|byte| *byte != 0)? as u64;
    machine.vfs.corrupt(&segment, 4096 + (used - 4096) / 2, 4).ok()?;
    let store = machine.open().ok()?;
    Some(rows(&store.tenant(&id()).ok()?) >= 9)
}

/// Where the newest manifest is beyond use, the tenant is unavailable, although an older one is there.
fn an_older_manifest_is_not_taken() -> Option<bool> {
    let (machine, store, tenant) = started()?;
    let manifest = |generation: u64| PathBuf::from(format!("/data/t/1/manifest-{generation:08}"));
    let first = machine.vfs.read_file(manifest(1)).ok()?;
    write(&tenant, 1, NOW)?;
    tenant.flush().ok()?;
    drop((tenant, store));
    machine.vfs.write_file(manifest(1), &first).ok()?;
    let whole = machine.vfs.read_file(manifest(2)).ok()?;
    machine.vfs.write_file(manifest(2), &vec![0x5a; whole.len()]).ok()?;
    let store = machine.open().ok()?;
    Some(store.tenant(&id()).is_err())
}

/// At the very instant at which a day expires, nothing of it is shown.
fn a_day_expires_at_its_instant() -> Option<bool> {
    let (machine, _store, tenant) = started()?;
    write(&tenant, 1, NOW)?;
    let due = Timestamp(NOW).day().end().0 + DAY_MS;
    machine.clock.set_ms(due - 1);
    let before = rows(&tenant);
    machine.clock.set_ms(due);
    Some((before, rows(&tenant)) == (1, 0))
}

/// Where not as much as a manifest fits, expired blocks leave all the same.
fn a_full_disk_lets_go() -> Option<bool> {
    let (machine, store, tenant) = started()?;
    write(&tenant, 1, NOW)?;
    tenant.flush().ok()?;
    while let Ok(Some(_)) = store.maintenance_step() {}
    machine.clock.advance_ms(40 * DAY_MS as u64);
    let paths = machine.vfs.paths();
    let used: u64 =
        paths.iter().filter_map(|path| machine.vfs.read_file(path).ok()).map(|b| b.len() as u64 + 256).sum();
    machine.vfs.set_space(used + 4096);
    while let Ok(Some(_)) = store.maintenance_step() {}
    let summary = tenant.summary();
    Some((summary.metric_blocks, summary.signal_blocks) == (0, 0))
}

fn id() -> TenantId {
    TenantId::new("acme").expect("valid")
}

fn started() -> Option<(Machine, Annals, Tenant)> {
    let machine = Machine::new(Options::default());
    let store = machine.open().ok()?;
    let tenant = store.create_tenant(&id(), Plan::built_in("starter")?).ok()?;
    Some((machine, store, tenant))
}

fn write(tenant: &Tenant, number: u8, time: i64) -> Option<()> {
    let signal =
        Signal::new("auth.attempt", Timestamp(time)).with("result", "failure").with("method", "password");
    let site = SiteName::new("shop.example").ok()?;
    let batch = SignalBatch { id: BatchId([number; 16]), site, signals: vec![signal] };
    tenant.write_signals(&batch).and_then(Ticket::wait).ok().map(|_| ())
}

fn rows(tenant: &Tenant) -> usize {
    let mut rows = 0;
    tenant.reader().scan_signals(TimeRange::ALL, &[], &mut |_| rows += 1);
    rows
}
