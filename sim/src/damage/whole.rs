//! Damaged stores, opened by the real engine: what is served is exact or said to be incomplete, the other tenant knows
//! nothing of it and takes writes, and a repair leaves a store that verifies.

use std::path::Path;
use std::sync::Arc;

use annals::query::promql::Value;
use annals::vfs::SimVfs;
use annals::{
    BatchId, Encryption, HOUR_MS, LabelSet, SampleBatch, SeriesKind, SiteName, TenantId, TenantReader,
    TimeRange, Timestamp,
};

use super::change::{Change, Dice, Fill};
use super::store::{Content, Fixed, ROOT, TENANTS, build};
use super::{Tally, guarded};
use crate::campaign::{Report, Size};
use crate::world::{Machine, NOW};

/// Stores of a full run.
const STORES: u64 = 4_000;

/// Damages stores at random, one file each.
pub fn run(size: &Size, report: &mut Report) {
    let stores = [Encryption::Files, Encryption::None].map(|encryption| build(Content::SMALL, encryption));
    let small = &stores[0];
    let expected = TENANTS.map(|name| {
        let store = small.machine.open_read_only().expect("whole");
        let shown = shown(&store.tenant(&tenant(name)).expect("there"));
        assert!(shown.told.is_empty(), "{:?}", shown.told);
        (shown.samples, shown.signals)
    });
    let files = stores
        .each_ref()
        .map(|store| store.files("").into_iter().filter(|path| !path.ends_with("LOCK")).collect::<Vec<_>>());
    let mut tally = Tally::default();
    for number in 0..size.count.unwrap_or(STORES) {
        if size.is_over() {
            break;
        }
        let seed = size.from.wrapping_add(number);
        let mut dice = Dice::new(seed);
        // One store in four is not sealed.
        let which = usize::from(seed.is_multiple_of(4));
        let (small, files) = (&stores[which], &files[which]);
        let path = &files[dice.below(files.len() as u64) as usize];
        let bytes = small.read(path);
        let length = bytes.len() as u64;
        let change = match dice.below(6) {
            0 => Change::Cut(dice.below(length)),
            1 => Change::Sector(dice.below(length.div_ceil(512)), Fill::Random(seed)),
            2 => Change::Append(1 + dice.below(5_000), Fill::Ones),
            3 => Change::Garble(seed),
            _ => Change::Flip(dice.below(length * 8)),
        };
        let name = format!("seed {seed}: {}: {change}", path.display());
        tally.case(guarded(&name, || damaged(small, path, &change.apply(&bytes), &expected)));
    }
    tally.add_to(report, "stores");
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("valid")
}

/// What a reader is shown.
struct Shown {
    samples: u64,
    signals: u64,
    /// What it is told to be missing.
    told: Vec<String>,
}

fn shown(reader: &TenantReader) -> Shown {
    let at = Timestamp(NOW + HOUR_MS);
    let answer = reader.query("sum(count_over_time({__name__=~\"shape_.*\"}[2d]))", at).expect("answered");
    let samples = match answer.value {
        Value::Vector(vector) => vector.first().and_then(|one| one.2.float()).map_or(0, |value| value as u64),
        _ => 0,
    };
    let mut signals = 0;
    let missing = reader.scan_signals(TimeRange::ALL, &[], &mut |_| signals += 1);
    let told = answer.warnings.iter().map(|warning| warning.text.to_string());
    Shown { samples, signals, told: told.chain(missing.into_iter().map(|missing| missing.why)).collect() }
}

fn fork(small: &Fixed, path: &Path, bytes: &[u8]) -> Result<Machine, String> {
    let machine = small.machine.fork();
    machine.vfs.write_file(path, bytes).map_err(|error| error.to_string())?;
    Ok(machine)
}

fn damaged(small: &Fixed, path: &Path, bytes: &[u8], expected: &[(u64, u64); 2]) -> Result<(), String> {
    let machine = fork(small, path, bytes)?;
    let hurt = TENANTS.iter().position(|_| path.starts_with(Path::new(ROOT).join("t/1")));
    let of_tenant = |number: usize| {
        path.starts_with(Path::new(ROOT).join(format!("t/{}", number + 1)))
            || path.to_string_lossy().contains(&format!("/keys/{}-", number + 1))
    };
    let shared = !of_tenant(0) && !of_tenant(1);
    let _ = hurt;
    // Beside nobody, for reading.
    if let Ok(store) = machine.open_read_only() {
        for (number, name) in TENANTS.iter().enumerate() {
            let Ok(reader) = store.tenant(&tenant(name)) else {
                if of_tenant(number) {
                    continue;
                }
                return Err(format!("tenant {name} is unavailable, whose files are whole"));
            };
            let shown = shown(&reader);
            check(&shown, expected[number], of_tenant(number) || shared, name)?;
        }
    } else if !shared {
        return Err("the store does not open for reading".to_owned());
    }
    // As its writer: the other tenant takes writes.
    match machine.open() {
        Ok(store) => {
            for (number, name) in TENANTS.iter().enumerate() {
                match store.tenant(&tenant(name)) {
                    Ok(tenant) => {
                        let shown = shown(&tenant.reader());
                        check(&shown, expected[number], of_tenant(number) || shared, name)?;
                        let written = tenant.write_samples(&one_sample()).map(|ticket| ticket.wait());
                        if !matches!(written, Ok(Ok(_))) {
                            return Err(format!("tenant {name} takes no writes: {written:?}"));
                        }
                    }
                    Err(_) if of_tenant(number) => {}
                    Err(error) => return Err(format!("another tenant's file: {error}")),
                }
            }
            store.close().map_err(|error| error.to_string())?;
        }
        Err(error) if !shared => {
            return Err(format!("one tenant's file, and the store does not open: {error}"));
        }
        Err(_) => {}
    }
    repaired(small, path, bytes)
}

fn check(shown: &Shown, expected: (u64, u64), may_miss: bool, name: &str) -> Result<(), String> {
    let exact = (shown.samples, shown.signals) == expected;
    let missing = shown.samples <= expected.0 && shown.signals <= expected.1 && !shown.told.is_empty();
    if exact || may_miss && missing {
        return Ok(());
    }
    Err(format!(
        "tenant {name} is shown {} samples and {} signals of {expected:?}, and told {:?}",
        shown.samples, shown.signals, shown.told
    ))
}

fn one_sample() -> SampleBatch {
    let mut batch = SampleBatch::new(BatchId([0xaa; 16]), SiteName::new("host").expect("valid"));
    batch.series.push((LabelSet::from_pairs([("__name__", "later")]).expect("valid"), SeriesKind::Gauge));
    batch.push(0, Timestamp(NOW), 1.0);
    batch
}

/// After a repair nothing is found that a repair could have mended, and no byte is gone.
fn repaired(small: &Fixed, path: &Path, bytes: &[u8]) -> Result<(), String> {
    let machine = fork(small, path, bytes)?;
    let vfs = Arc::new(machine.vfs.clone());
    let (clock, entropy) = (machine.clock.clone(), machine.entropy.clone());
    let before = annals::verify(vfs.clone(), ROOT.as_ref()).map_err(|error| error.to_string())?;
    let done = match annals::repair(vfs, clock, entropy, ROOT.as_ref(), machine.options.clone()) {
        Ok(done) => done,
        Err(error) => return Err(format!("the repair failed: {error}")),
    };
    if before.findings.is_empty() {
        return Ok(());
    }
    let beyond =
        |text: &str| ["manifest-", "catalog-", ".key", "keys-"].iter().any(|part| text.contains(part));
    for finding in &done.after.findings {
        if !beyond(&finding.path.to_string_lossy()) {
            return Err(format!("left after a repair: {finding:?}"));
        }
    }
    let set_aside = done.steps.iter().any(|step| step.to.is_some());
    if set_aside && !holds(&machine.vfs, bytes) {
        return Err("the damaged bytes are gone".to_owned());
    }
    Ok(())
}

fn holds(vfs: &SimVfs, bytes: &[u8]) -> bool {
    vfs.paths().iter().any(|path| vfs.read_file(path).is_ok_and(|found| found == bytes))
}
