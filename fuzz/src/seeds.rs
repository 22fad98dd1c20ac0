//! Valid inputs of each target, made by the encoders themselves.

use std::path::Path;
use std::sync::Arc;

use annals::signals::{Admitter, NameTable, PseudonymKey, builtin, encode_rows};
use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{
    Annals, Background, BatchId, BlockContent, Encryption, LabelSet, Options, Plan, SampleBatch, SeriesKind,
    Signal, SignalBatch, SiteName, TenantId, Timestamp,
};
use annals_block::fuzzing;

pub(crate) const NOW: i64 = 1_790_000_000_000;

/// A small store on a simulated disk: two tenants, blocks of both contents, a log. Not sealed: mutations would not get
/// behind the cipher.
pub(crate) fn store() -> SimVfs {
    store_with(Encryption::None)
}

/// The same, sealed.
pub(crate) fn sealed_store() -> SimVfs {
    store_with(Encryption::Files)
}

fn store_with(encryption: Encryption) -> SimVfs {
    let vfs = SimVfs::new();
    let (clock, entropy) = (Arc::new(SimClock::new(NOW)), Arc::new(SimEntropy::new(3)));
    let options =
        Options { background: Background::Steps, log_bytes_max: 1 << 20, encryption, ..Options::default() };
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
            // Some know when their process began, which was started anew on the way.
            let start = [0, NOW - 500_000, NOW - step / 20 * 200_000 - 300_000][series as usize % 3];
            let time = Timestamp(NOW - step * 10_000);
            batch.push_since(index, time, (step * series) as f64 / 8.0, Timestamp(start));
        }
    }
    let latency = LabelSet::from_pairs([("__name__", "latency")]).expect("valid");
    let index = batch.series(latency, SeriesKind::Histogram);
    for (step, histogram) in (0i64..).zip(crate::targets::codecs::histograms(20)) {
        let (time, start) = (Timestamp(NOW - step * 10_000), Timestamp(NOW - 1_000_000));
        batch.push_histogram_since(index, time, histogram, start);
    }
    batch
}

/// The files of [`store`] whose path holds `part`.
pub(crate) fn files(part: &str) -> Vec<Vec<u8>> {
    files_of(&store(), part)
}

/// The files of [`sealed_store`] whose path holds `part`.
pub(crate) fn sealed_files(part: &str) -> Vec<Vec<u8>> {
    files_of(&sealed_store(), part)
}

/// The files of a machine whose path holds `part`.
pub(crate) fn files_of(vfs: &SimVfs, part: &str) -> Vec<Vec<u8>> {
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

/// The id of a store's root, as its catalogue states it.
pub(crate) fn root_id(vfs: &SimVfs) -> [u8; 16] {
    let path = vfs.paths().into_iter().rfind(|path| path.to_string_lossy().contains("/catalog-"));
    let bytes = vfs.read_file(path.expect("a store has a catalogue")).expect("there");
    *bytes[20..].first_chunk().expect("longer than a header")
}

/// Records of the log: kind, then payload.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let vfs = store();
    let mut found = Vec::new();
    let mut each = |record: annals_wal::Record<'_>| found.push([&[record.kind], record.payload].concat());
    let (root_id, after) = (root_id(&vfs), annals_wal::Lsn(0));
    annals_wal::read(&vfs, Path::new("/data/wal"), &root_id, after, annals_wal::Tail::AllValid, &mut each)
        .expect("a sound log");
    found
}

/// Blocks of metrics: as they are, and with plain sections, whose bytes mean something each.
pub(crate) fn metric_blocks() -> Vec<Vec<u8>> {
    blocks(BlockContent::RawMetrics)
}

/// The same for signals.
pub(crate) fn signal_blocks() -> Vec<Vec<u8>> {
    blocks(BlockContent::RawSignals)
}

fn blocks(content: BlockContent) -> Vec<Vec<u8>> {
    let of_content =
        |bytes: &Vec<u8>| fuzzing::identity(bytes).is_some_and(|identity| identity.id.content == content);
    let packed: Vec<Vec<u8>> = files(".blk").into_iter().filter(of_content).collect();
    let plain: Vec<Vec<u8>> = packed.iter().map(|bytes| fuzzing::unpacked(bytes)).collect();
    [plain, packed].concat()
}

/// The sections of all blocks, by name, decompressed.
pub(crate) fn sections() -> Vec<(&'static str, Vec<u8>)> {
    files(".blk").iter().flat_map(|bytes| fuzzing::sections(bytes)).collect()
}

pub(crate) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
