//! How fast samples of known series become durable.

use std::time::Instant;

use annals::{BatchId, RefBatch, SampleBatch, SeriesKind, SeriesRef, SiteName, Tenant, Ticket, Timestamp};
use annals_benches::cpu_time::Stopwatch;
use annals_benches::sets::{Cpu, START, STEP_MS};

use crate::host::{IN_FLIGHT, create};

const STEPS: i64 = 1_500;

/// In which order eight batches come that were sent at one time.
const MIXED: [i64; 8] = [1, 0, 3, 4, 2, 7, 5, 6];

/// The set `cpu` through the public API, synced, 4,000 samples a batch: by labels, by reference, and as several
/// connections bring them, a little out of order.
pub(crate) fn run() {
    let cpu = Cpu::new();
    let series: Vec<_> = cpu.labels.iter().map(|labels| (labels.clone(), SeriesKind::Gauge)).collect();
    let mut batch = SampleBatch { series, ..SampleBatch::new(batch_id(0), site()) };
    let in_order = |step| step;
    measure(
        "labels",
        in_order,
        |_| (),
        |tenant, (), step, samples| {
            batch.id = batch_id(step);
            batch.samples.clear();
            batch.samples.extend_from_slice(samples);
            tenant.write_samples(&batch).expect("queued")
        },
    );
    let references = |tenant: &Tenant| -> Vec<SeriesRef> {
        cpu.labels.iter().map(|labels| tenant.series_ref(labels, SeriesKind::Gauge)).collect()
    };
    let by_reference = |tenant: &Tenant, series: &Vec<SeriesRef>, step, samples: &[_]| {
        let batch = RefBatch { id: batch_id(step), site: site(), series, samples };
        tenant.write_refs(&batch).expect("queued")
    };
    measure("reference", in_order, references, by_reference);
    let mixed = |step: i64| step - step % 8 + MIXED[(step % 8) as usize];
    measure("reference, out of order", mixed, references, by_reference);
}

fn measure<T>(
    by: &str,
    place: impl Fn(i64) -> i64,
    prepare: impl Fn(&Tenant) -> T,
    mut write: impl FnMut(&Tenant, &T, i64, &[(u32, Timestamp, f64)]) -> Ticket,
) {
    let root = tempfile::tempdir().expect("a directory");
    let (store, tenant) = create(root.path());
    let prepared = prepare(&tenant);
    let mut set = Cpu::new();
    let (mut values, mut samples) = (Vec::new(), Vec::new());
    let mut tickets = std::collections::VecDeque::new();
    let settle = |ticket: Ticket| {
        let acknowledgement = ticket.wait().expect("written");
        assert!(acknowledgement.refused.is_empty(), "{:?}", acknowledgement.refused.first());
    };
    let (mut cpu, wall) = (Stopwatch::start(), Instant::now());
    for step in 0..STEPS {
        cpu.uncounted(|| {
            set.step(&mut values);
            let time = START.saturating_add(place(step) * STEP_MS);
            samples.clear();
            samples.extend((0u32..).zip(&values).map(|(index, &value)| (index, time, value)));
        });
        if tickets.len() >= IN_FLIGHT
            && let Some(oldest) = tickets.pop_front()
        {
            settle(oldest);
        }
        tickets.push_back(write(&tenant, &prepared, step, &samples));
    }
    tickets.into_iter().for_each(settle);
    let count = STEPS as f64 * samples.len() as f64;
    let batch = samples.len();
    print!(
        "ingest: set=cpu by={by} batch={batch} synced samples/s={:.0}",
        count / wall.elapsed().as_secs_f64()
    );
    cpu.seconds().into_iter().for_each(|seconds| print!(" samples/s/core={:.0}", count / seconds));
    println!();
    assert_eq!(tenant.summary().head_samples + tenant.summary().samples, count as u64);
    store.close().expect("closed");
}

fn batch_id(step: i64) -> BatchId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&step.to_le_bytes());
    BatchId(id)
}

fn site() -> SiteName {
    SiteName::new("bench").expect("valid")
}
