//! Background work of days: the rollups of one large tenant's day, and the days of ten thousand small tenants.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use annals::vfs::{RealVfs, SimClock, SystemEntropy};
use annals::{
    Annals, Background, BatchId, DAY_MS, Done, HOUR_MS, Keep, Options, Plan, Resolution, SampleBatch,
    SiteName, Tenant, TenantId, Tier,
};
use annals_benches::cpu_time;
use annals_benches::memory;
use annals_benches::sets::{Cpu, START};

use crate::host::{SMALL_SERIES, next_batches, open, open_with, small_series, tenant_id, write};

const DAY_STEPS: i64 = 8_640;

/// A day of the set `cpu` of a tenant whose plan has all tiers, step by step once its late window has passed.
pub(crate) fn sealing() {
    let root = tempfile::tempdir().expect("a directory");
    let store = open(root.path());
    let plan = Plan::built_in("enterprise").expect("built in");
    let tenant = store.create_tenant(&tenant_id(), plan).expect("created");
    // A day's stamps come after its start.
    let (mut cpu, mut step) = (Cpu::new(), 1);
    while step <= DAY_STEPS {
        write(&tenant, next_batches(&mut cpu, step, 360));
        step += 360;
    }
    tenant.flush().expect("flushed");
    drop(tenant);
    store.close().expect("closed");
    let store = open_with(root.path(), 2, Background::Steps);
    loop {
        let (started, cpu) = (Instant::now(), cpu_time::of_thread());
        let Some(done) = store.maintenance_step().expect("done") else { break };
        let seconds = started.elapsed().as_secs_f64();
        let what = match &done {
            Done::Merged { inputs, .. } => format!("merged blocks={}", inputs.len()),
            Done::Sealed { blocks, .. } => {
                let windows: u64 = blocks.iter().map(|block| block.rows).sum();
                let bytes: Vec<u64> = blocks.iter().map(|block| block.bytes).collect();
                format!("sealed tiers={} windows={windows} bytes={bytes:?}", blocks.len())
            }
            _ => continue,
        };
        print!("sealing: set=cpu samples={} {what} s={seconds:.3}", DAY_STEPS * 4_000);
        let on_core = cpu_time::of_thread().zip(cpu).map(|(after, before)| after - before);
        println!("{}", on_core.map_or(String::new(), |seconds| format!(" core-s={seconds:.3}")));
    }
    store.close().expect("closed");
}

const TENANTS: usize = 10_000;
const DAYS: i64 = 4;

/// Days of many small tenants, whose data expires after one: each is written, flushed, sealed, and swept.
pub(crate) fn small_tenants() {
    let asked = std::env::args().find_map(|argument| argument.strip_prefix("--tenants=")?.parse().ok());
    let tenants = asked.unwrap_or(TENANTS);
    let root = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(SimClock::new(START.0 + 2 * HOUR_MS));
    let store = open_by(root.path(), &clock);
    let tier = |resolution| Tier { resolution, keep: Keep::Days(1) };
    let plan = Plan {
        name: "small".to_owned(),
        signals_keep: Keep::Days(1),
        tiers: vec![tier(Resolution::Raw), tier(Resolution::Hour)],
        late_window_ms: Some(2 * HOUR_MS),
        ..Plan::built_in("enterprise").expect("built in")
    };
    let started = Instant::now();
    let handles: Vec<Tenant> = (0..tenants)
        .map(|number| {
            let id = TenantId::new(&format!("tenant-{number}")).expect("valid");
            store.create_tenant(&id, plan.clone()).expect("created")
        })
        .collect();
    println!("days: tenants={tenants} created s={:.1}", started.elapsed().as_secs_f64());
    let series = small_series();
    for day in 0..DAYS {
        let started = Instant::now();
        let time = START.saturating_add(day * DAY_MS + HOUR_MS);
        for tenant in &handles {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&day.to_le_bytes());
            let samples = (0..SMALL_SERIES as u32).map(|series| (series, time, f64::from(series))).collect();
            let batch = SampleBatch::new(BatchId(id), SiteName::new("bench").expect("valid"));
            write(tenant, vec![SampleBatch { series: series.clone(), samples, ..batch }]);
        }
        let written = started.elapsed();
        clock.advance_ms(DAY_MS as u64);
        let (mut flushed, mut sealed, mut dropped, mut steps) = (0, 0, 0, 0);
        while let Some(done) = store.maintenance_step().expect("done") {
            steps += 1;
            match done {
                Done::Flushed { .. } => flushed += 1,
                Done::Sealed { .. } => sealed += 1,
                Done::Dropped { .. } => dropped += 1,
                _ => {}
            }
        }
        let lag_ms = handles.iter().map(|tenant| tenant.retention().lag_ms()).max().unwrap_or(0);
        println!(
            "days: tenants={tenants} series={SMALL_SERIES} day={day} written-s={:.1} worked-s={:.1} steps={steps} \
             flushed={flushed} sealed={sealed} dropped={dropped} lag-ms={lag_ms}{}",
            written.as_secs_f64(),
            (started.elapsed() - written).as_secs_f64(),
            memory::peak_bytes().map_or(String::new(), |bytes| format!(" peak-mib={}", bytes >> 20)),
        );
    }
    drop(handles);
    store.close().expect("closed");
    let started = Instant::now();
    let store = open_by(root.path(), &clock);
    println!("days: tenants={tenants} opened again s={:.2}", started.elapsed().as_secs_f64());
    store.close().expect("closed");
}

fn open_by(root: &Path, clock: &Arc<SimClock>) -> Annals {
    let entropy = Arc::new(SystemEntropy::default());
    Annals::open(Arc::new(RealVfs), clock.clone(), entropy, root, Options::default()).expect("opened")
}
