//! The engine as a host runs it: a store on the real disk with one tenant, and batches of which several are on their way.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use annals::vfs::{RealVfs, SimClock, SystemEntropy};
use annals::{
    Annals, Background, BatchId, DAY_MS, Encryption, HOUR_MS, LabelSet, METRIC_NAME, Options, Plan,
    SampleBatch, SeriesKind, SiteName, Tenant, TenantId, Ticket,
};
use annals_benches::sets::{Cpu, START, STEP_MS};

/// Series that a small tenant has.
pub(crate) const SMALL_SERIES: usize = 300;

/// Batches on their way at the same time, as a gateway would have them.
pub(crate) const IN_FLIGHT: usize = 8;

pub(crate) fn tenant_id() -> TenantId {
    TenantId::new("bench").expect("valid")
}

/// Two hours after the end of the sets' day.
pub(crate) fn open(root: &Path) -> Annals {
    open_after(root, 0)
}

/// The same, so many days later. Sealed, unless the command line says `--plain`.
pub(crate) fn open_after(root: &Path, days: i64) -> Annals {
    open_with(root, days, Background::Threads)
}

/// The same, with background work by threads of its own or step by step.
pub(crate) fn open_with(root: &Path, days: i64, background: Background) -> Annals {
    let now = START.saturating_add((1 + days) * DAY_MS + 2 * HOUR_MS);
    let (clock, entropy) = (Arc::new(SimClock::new(now.0)), Arc::new(SystemEntropy::default()));
    let plain = std::env::args().any(|argument| argument == "--plain");
    let encryption = if plain { Encryption::None } else { Encryption::Files };
    let options = Options { encryption, background, ..Options::default() };
    Annals::open(Arc::new(RealVfs), clock, entropy, root, options).expect("opened")
}

/// A new store with a tenant whose data never expires.
pub(crate) fn create(root: &Path) -> (Annals, Tenant) {
    let store = open(root);
    let plan = Plan::built_in("archive").expect("built in");
    let tenant = store.create_tenant(&tenant_id(), plan).expect("created");
    (store, tenant)
}

/// The gauges of a small tenant.
pub(crate) fn small_series() -> Vec<(LabelSet, SeriesKind)> {
    (0..SMALL_SERIES)
        .map(|number| {
            let number = number.to_string();
            let labels = LabelSet::from_pairs([(METRIC_NAME, "m"), ("series", number.as_str())]);
            (labels.expect("valid"), SeriesKind::Gauge)
        })
        .collect()
}

pub(crate) fn next_batches(cpu: &mut Cpu, first: i64, steps: i64) -> Vec<SampleBatch> {
    let series: Vec<_> = cpu.labels.iter().map(|labels| (labels.clone(), SeriesKind::Gauge)).collect();
    let site = SiteName::new("bench").expect("valid");
    let mut values = Vec::new();
    (first..first + steps)
        .map(|step| {
            cpu.step(&mut values);
            let mut id = [0; 16];
            id[..8].copy_from_slice(&step.to_le_bytes());
            let time = START.saturating_add(step * STEP_MS);
            let samples =
                values.iter().enumerate().map(|(index, &value)| (index as u32, time, value)).collect();
            SampleBatch { series: series.clone(), samples, ..SampleBatch::new(BatchId(id), site.clone()) }
        })
        .collect()
}

/// Writes batches with several on their way, and waits for every acknowledgement.
pub(crate) fn write(tenant: &Tenant, batches: Vec<SampleBatch>) {
    let mut tickets: VecDeque<Ticket> = VecDeque::new();
    let settle = |ticket: Ticket| {
        let acknowledgement = ticket.wait().expect("written");
        assert!(acknowledgement.refused.is_empty(), "{:?}", acknowledgement.refused.first());
    };
    for batch in batches {
        if tickets.len() >= IN_FLIGHT
            && let Some(oldest) = tickets.pop_front()
        {
            settle(oldest);
        }
        tickets.push_back(tenant.write_samples(&batch).expect("queued"));
    }
    tickets.into_iter().for_each(settle);
}
