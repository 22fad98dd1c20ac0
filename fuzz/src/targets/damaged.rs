//! One file of a store is damaged, then the store is used: nothing panics, and what is not exact is named.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{Annals, Background, Options, verify};

use super::oracle::{Attempt, Fate, Found, Machine, TENANTS, id, samples};
use crate::model::Choices;
use crate::seeds::NOW;

const ROOT: &str = "/data";

/// A store that was closed, its files, and what each tenant answered.
static SOUND: LazyLock<(SimVfs, Vec<PathBuf>, Vec<Found>)> = LazyLock::new(|| {
    let mut machine = Machine::new();
    let store = machine.open().expect("a disk without faults");
    for round in 0..8 {
        let tenant = round % TENANTS.len();
        let batch = machine.batch(5 + round, round, 7 + round as u64);
        machine.attempts.push(Attempt { tenant, batch, fate: Fate::Refused });
        machine.write(&store, round);
        if round == 3 {
            store.settle().expect("a disk without faults");
        }
    }
    let tenants = TENANTS.map(|name| store.tenant(&id(name)).expect("open"));
    let answers = tenants.iter().map(|tenant| samples(tenant).expect("whole")).collect();
    drop(tenants);
    store.close().expect("a disk without faults");
    let files = machine.vfs.paths().into_iter().filter(|path| !path.ends_with("lock")).collect();
    (machine.vfs, files, answers)
});

pub(super) fn damaged_store_ops(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let (sound, files, answers) = &*SOUND;
    let vfs = sound.snapshot();
    let path = &files[choices.below(files.len())];
    damage(&vfs, path, &mut choices);
    let unsealed = lost_its_seal(sound, &vfs, path);
    let verified = verify(Arc::new(vfs.clone()), Path::new(ROOT));
    let named_at_rest = verified.as_ref().map_or(true, |verified| !verified.findings.is_empty());
    let Ok(store) = open(&vfs) else {
        assert!(named_at_rest, "{}: a store that does not open is no sound one", path.display());
        return;
    };
    let report = store.recovery().clone();
    let named_at_open = !report.findings.is_empty()
        || !report.unavailable.is_empty()
        || !report.quarantined.is_empty()
        || report.tail_bytes_discarded > 0;
    for (number, name) in TENANTS.iter().enumerate() {
        let Ok(tenant) = store.tenant(&id(name)) else {
            assert!(named_at_open && named_at_rest, "{}: tenant {name} is gone unsaid", path.display());
            continue;
        };
        match samples(&tenant) {
            Some(found) if found == answers[number] => {}
            // The one thing that cannot be told: where the log's last frame is gone too, its last records look like
            // writes that a power cut tore before they were acknowledged.
            Some(found) if unsealed && is_older(&found, &answers[number]) => {}
            // An answer that says itself that it is not whole, or fails.
            None => assert!(named_at_rest, "{}: verify does not see what a query sees", path.display()),
            Some(found) => assert!(
                named_at_open && named_at_rest,
                "{}: tenant {name} answers {found:?} instead of {:?}, unsaid",
                path.display(),
                answers[number]
            ),
        }
    }
    use_it(&vfs, store, &mut choices);
}

/// Whether the last frame of a segment is not what it was.
fn lost_its_seal(sound: &SimVfs, damaged: &SimVfs, path: &Path) -> bool {
    const FRAME_BYTES: usize = 32;
    let (before, after) = (sound.read_file(path).expect("there"), damaged.read_file(path).expect("there"));
    let end = before.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1).next_multiple_of(8);
    let seal = end.saturating_sub(FRAME_BYTES)..end;
    path.starts_with("/data/wal") && after.get(seal.clone()) != before.get(seal)
}

/// Whether a tenant answers what it did before its last writes: stamps ascend from write to write.
fn is_older(found: &Found, whole: &Found) -> bool {
    found.gauges.iter().eq(whole.gauges.iter().take(found.gauges.len())) && found.events < whole.events
}

fn open(vfs: &SimVfs) -> Result<Annals, annals::OpenError> {
    let options = Options { background: Background::Steps, log_bytes_max: 512 << 10, ..Options::default() };
    let (clock, entropy) = (Arc::new(SimClock::new(NOW)), Arc::new(SimEntropy::new(77)));
    Annals::open(Arc::new(vfs.clone()), clock, entropy, Path::new(ROOT), options)
}

/// Writes, flushes and merges beside the damage; what is acknowledged is there after the next open.
fn use_it(vfs: &SimVfs, store: Annals, choices: &mut Choices<'_>) {
    let mut machine = Machine::new();
    let mut written = Vec::new();
    // Beyond the numbers of the batches that the store has.
    for _ in 0..100 {
        let batch = machine.batch(1, 0, 0);
        machine.attempts.push(Attempt { tenant: 0, batch, fate: Fate::Refused });
    }
    for _ in 0..4 {
        let number = choices.below(TENANTS.len());
        let Ok(tenant) = store.tenant(&id(TENANTS[number])) else { continue };
        let batch = machine.batch(3, choices.below(4), 3);
        machine.attempts.push(Attempt { tenant: number, batch: batch.clone(), fate: Fate::Refused });
        if tenant.write_samples(&batch).and_then(|ticket| ticket.wait()).is_ok() {
            written.push((number, batch));
        }
        if choices.below(2) == 0 {
            let _ = tenant.flush();
        } else {
            let _ = store.maintenance_step();
        }
    }
    let _ = store.settle();
    vfs.power_cut(annals::vfs::SimCut::Nothing);
    drop(store);
    let store = open(vfs).expect("it opened before");
    for (number, batch) in written {
        let tenant = store.tenant(&id(TENANTS[number])).expect("it was open before");
        let again = tenant.write_samples(&batch).and_then(|ticket| ticket.wait());
        assert!(again.is_ok_and(|again| again.duplicate), "what was acknowledged is known");
        if let Some(found) = samples(&tenant) {
            let own = batch.samples.iter().filter(|sample| sample.0 == 0);
            for (_, time, value) in own {
                assert_eq!(
                    found.gauges.get(&time.0),
                    Some(&value.to_bits()),
                    "what was acknowledged is there"
                );
            }
        }
    }
}

fn damage(vfs: &SimVfs, path: &Path, choices: &mut Choices<'_>) {
    let mut bytes = vfs.read_file(path).expect("there");
    // Most of a segment is zeros: offsets are drawn from what is used, and now and then from all.
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let within = if choices.below(8) == 0 { bytes.len() } else { used };
    let at = usize::from(choices.u16()) * within.max(1) / (1 << 16);
    match choices.below(5) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << choices.below(8);
            }
        }
        1 => bytes.truncate(at),
        2 => {
            let sector = at / 512 * 512;
            bytes.iter_mut().skip(sector).take(512).for_each(|byte| *byte = 0);
        }
        3 => {
            for byte in bytes.iter_mut().skip(at).take(16) {
                *byte = choices.byte();
            }
        }
        _ => {
            let length = 1 + choices.below(64);
            let copy: Vec<u8> = bytes.iter().skip(at).take(length).copied().collect();
            let to = usize::from(choices.u16()) * within.max(1) / (1 << 16);
            for (byte, new) in bytes.iter_mut().skip(to).zip(copy) {
                *byte = new;
            }
        }
    }
    vfs.write_file(path, &bytes).expect("there");
}

/// A damage of each kind in each of the first files.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    (0..12u8)
        .flat_map(|file| (0..5u8).map(move |kind| vec![file, 1, 17 * file, 40 * kind, kind, 3, 1, 0, 1, 1]))
        .collect()
}
