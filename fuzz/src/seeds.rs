//! Valid inputs of each target, made by the encoders themselves.

use std::path::Path;
use std::sync::Arc;

use annals::signals::{Admitter, NameTable, PseudonymKey, builtin, encode_rows};
use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{
    Annals, Background, BatchId, LabelSet, Options, Plan, SampleBatch, SeriesKind, Signal, SignalBatch,
    SiteName, TenantId, Timestamp,
};

pub(crate) const NOW: i64 = 1_790_000_000_000;

/// A small store on a simulated disk: two tenants, blocks of both contents, a log.
pub(crate) fn store() -> SimVfs {
    let vfs = SimVfs::new();
    let (clock, entropy) = (Arc::new(SimClock::new(NOW)), Arc::new(SimEntropy::new(3)));
    let options = Options { background: Background::Steps, log_bytes_max: 1 << 20, ..Options::default() };
    let store = Annals::open(Arc::new(vfs.clone()), clock, entropy, Path::new("/data"), options)
        .expect("a new store opens");
    for name in ["one", "two"] {
        let id = TenantId::new(name).expect("valid");
        let tenant = store.create_tenant(&id, Plan::built_in("archive").expect("built in")).expect("created");
        for batch in 0..3u8 {
            let signals = SignalBatch { id: BatchId([batch; 16]), site: site(), signals: signals() };
            tenant.write_signals(&signals).and_then(|ticket| ticket.wait()).expect("written");
            tenant.write_samples(&samples(batch + 100)).and_then(|ticket| ticket.wait()).expect("written");
            if batch == 1 {
                tenant.flush().expect("flushed");
            }
        }
    }
    store.close().expect("closed");
    vfs
}

fn site() -> SiteName {
    SiteName::new("shop.example").expect("valid")
}

fn signals() -> Vec<Signal> {
    let at = |ms: i64| Timestamp(NOW - ms);
    vec![
        Signal::new("auth.attempt", at(1))
            .with("result", "failure")
            .with("method", "password")
            .with("user", "ada"),
        Signal::new("http.request", at(61_000))
            .with("method", "GET")
            .with("status", 404)
            .with("route", "/blog/:rest")
            .with("duration", 120),
        Signal::new("wp.cron", at(5)).with("hook", "backup.daily").with("result", "late").with("lateness", 9),
        Signal::new("mail.sent", at(0)).with("result", "sent"),
    ]
}

fn samples(id: u8) -> SampleBatch {
    let mut batch = SampleBatch::new(BatchId([id; 16]), site());
    for series in 0..4 {
        let pairs = [("__name__", "cpu".to_owned()), ("host", format!("h{series}"))];
        let index = batch.series(LabelSet::from_pairs(pairs).expect("valid"), SeriesKind::Gauge);
        for step in 0..40 {
            batch.push(index, Timestamp(NOW - step * 10_000), (step * series) as f64 / 8.0);
        }
    }
    batch
}

/// The files of [`store`] whose path holds `part`.
pub(crate) fn files(part: &str) -> Vec<Vec<u8>> {
    let vfs = store();
    let found = vfs.paths().into_iter().filter(|path| path.to_string_lossy().contains(part));
    found.map(|path| trimmed(vfs.read_file(path).expect("there"))).collect()
}

/// Without the zeros of preallocated space, which are not worth mutating.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 64);
    bytes.truncate(used.max(4096 + 64));
    bytes
}

/// Rows as the log holds them.
pub(crate) fn rows() -> Vec<Vec<u8>> {
    let (schema, key, names, site) = (builtin(), PseudonymKey::new(&[7; 32]), NameTable::default(), site());
    let mut admitter = Admitter::new(&schema, &key, &names, &site);
    let rows: Vec<_> = signals().iter().map(|signal| admitter.admit(signal).expect("admitted")).collect();
    let mut bytes = Vec::new();
    encode_rows(&schema, &rows, &mut bytes);
    vec![bytes]
}

pub(crate) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
