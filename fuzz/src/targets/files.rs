//! Files of a store, each put into a store that is then opened, verified, queried and written.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use annals::vfs::{Sealed, SimClock, SimEntropy, SimVfs};
use annals::{
    Annals, Background, BlockContent, Options, QueryLimits, ReadOnly, TimeRange, Timestamp, inspect, verify,
};
use annals_block::{BlockIdentity, MetricBlock, SignalBlock, SignalCounts, fuzzing};
use annals_wal::{Durability, Place, Wal};

use crate::seeds;

/// The store that damaged files are put into.
static STORE: LazyLock<SimVfs> = LazyLock::new(seeds::store);
/// The store that damaged keys are put into.
static SEALED: LazyLock<SimVfs> = LazyLock::new(seeds::sealed_store);

/// No store of a few kilobytes has more rows; more would be memory taken for nothing.
const ROWS_MAX: usize = 1 << 20;

/// Puts `bytes` in place of the newest file whose path holds `part`, and reads everything: alone, then as the writer.
fn in_store(part: &str, bytes: &[u8]) {
    in_store_of(&STORE, part, bytes);
}

fn in_store_of(store: &SimVfs, part: &str, bytes: &[u8]) {
    let vfs = store.snapshot();
    let Some(path) = vfs.paths().into_iter().rfind(|path| path.to_string_lossy().contains(part)) else {
        return;
    };
    vfs.write_file(&path, bytes).expect("the directory is there");
    let vfs: Arc<SimVfs> = Arc::new(vfs);
    let _ = inspect(vfs.clone(), &path);
    let _ = verify(vfs.clone(), Path::new("/data"));
    let clock = Arc::new(SimClock::new(seeds::NOW));
    if let Ok(store) = ReadOnly::open(vfs.clone(), clock.clone(), Path::new("/data")) {
        for tenant in store.tenants() {
            if let Ok(reader) = store.tenant(&tenant.id) {
                read_all(reader.with_limits(limits()));
            }
        }
    }
    open_and_read(&vfs, bytes);
}

pub(super) fn limits() -> QueryLimits {
    QueryLimits { memory_bytes_max: 64 << 20, ..QueryLimits::default() }
}

pub(super) fn read_all(reader: annals::TenantReader) {
    let _ = reader.query("sum by (host) ({__name__!=\"\"})", Timestamp(seeds::NOW));
    let mut rows = 0;
    reader.scan_signals(TimeRange::ALL, &[], &mut |_| rows += 1);
    assert!(rows < ROWS_MAX, "a small file became {rows} rows");
}

/// Reads as the writer; in some of the cases also makes blocks of what the log held, which takes longer than all else.
fn open_and_read(vfs: &SimVfs, bytes: &[u8]) {
    let goes_on = crc32fast::hash(bytes).is_multiple_of(8);
    let (clock, entropy) = (Arc::new(SimClock::new(seeds::NOW)), Arc::new(SimEntropy::new(5)));
    let options = Options { background: Background::Steps, log_bytes_max: 1 << 20, ..Options::default() };
    let opened = Annals::open(Arc::new(vfs.clone()), clock, entropy, Path::new("/data"), options);
    let Ok(store) = opened else { return };
    for summary in store.tenants() {
        let Ok(tenant) = store.tenant(&summary.id) else { continue };
        read_all(tenant.reader().with_limits(limits()));
        if goes_on {
            let _ = tenant.flush();
        }
    }
    while goes_on && matches!(store.maintenance_step(), Ok(Some(_))) {}
}

pub(super) fn wal_segment(bytes: &[u8]) {
    in_store("/wal/", bytes);
}

pub(super) fn manifest(bytes: &[u8]) {
    in_store("/t/1/manifest-", bytes);
}

pub(super) fn catalogue(bytes: &[u8]) {
    in_store("/catalog-", bytes);
}

pub(super) fn key_file(bytes: &[u8]) {
    in_store_of(&SEALED, "/keys/", bytes);
}

pub(super) fn data_keys(bytes: &[u8]) {
    in_store_of(&SEALED, "/t/1/keys-", bytes);
}

pub(super) fn block_in_store(bytes: &[u8]) {
    in_store(".blk", bytes);
}

/// The identity that a block's bytes state, so that a mutated one is not refused for it.
fn identity(bytes: &[u8], content: BlockContent) -> Option<BlockIdentity> {
    let mut identity = fuzzing::identity(bytes)?;
    identity.id.content = content;
    Some(identity)
}

pub(super) fn metric_block(bytes: &[u8]) {
    let Some(identity) = identity(bytes, BlockContent::RawMetrics) else { return };
    let Ok(block) = MetricBlock::open(Sealed::new(bytes.to_vec()), identity, "fuzzed") else { return };
    let sound = block.verify().is_empty();
    let all = block.find(&[]).map(|found| found.len());
    assert!(!sound || all.as_ref().is_ok_and(|all| *all == u64::from(block.series_count())));
    let (mut numbers, mut samples) = (annals::Samples::default(), 0);
    let mut histograms = annals::HistogramSamples::default();
    for ordinal in 0..block.series_count().min(256) {
        let labels = block.labels(ordinal);
        numbers.clear();
        histograms.clear();
        if block.samples_in(ordinal, TimeRange::ALL).is_ok_and(|samples| samples > 1 << 20) {
            continue;
        }
        let read = if block.kind(ordinal).is_ok_and(annals::SeriesKind::is_histogram) {
            let read = block.read_histograms(ordinal, TimeRange::ALL, &mut histograms);
            histograms.append_to(&mut numbers);
            read
        } else {
            block.read(ordinal, TimeRange::ALL, &mut numbers)
        };
        let annals::Samples { timestamps, values, start_times, .. } = &numbers;
        assert!(start_times.is_empty() || start_times.len() == values.len(), "each value has its start");
        assert_eq!(timestamps.len(), values.len(), "each timestamp has its value");
        assert!(!sound || read.is_ok() && labels.is_ok(), "what verify calls sound can be read");
        samples += timestamps.len() as u64;
        if let (Ok(labels), true) = (labels, sound) {
            let matchers: Vec<_> =
                labels.iter().map(|(name, value)| annals::Matcher::equal(name, value)).collect();
            let found = block.find(&matchers).expect("what verify calls sound can be searched");
            assert!(found.contains(ordinal), "a series is found by its own labels");
        }
    }
    assert!(!sound || block.series_count() > 256 || samples == block.meta().rows);
    let _ = (block.codecs(), block.column_count(), block.sections());
}

pub(super) fn signal_block(bytes: &[u8]) {
    let Some(identity) = identity(bytes, BlockContent::RawSignals) else { return };
    let Ok(block) = SignalBlock::open(Sealed::new(bytes.to_vec()), identity, "fuzzed") else { return };
    let sound = block.verify().is_empty();
    let Ok(scan) = block.scan(TimeRange::ALL, &[]) else {
        assert!(!sound);
        return;
    };
    let rows: Vec<_> = scan.flatten().collect();
    assert!(!sound || rows.len() as u64 == block.meta().rows);
    // What matchers find is what they find among all rows, and as many as are counted.
    let matchers = [
        annals::Matcher::equal("kind", "http.request"),
        annals::Matcher::new("status", annals::MatchOp::NotRegex, "2..").expect("a fixed expression"),
    ];
    let kinds = block.kinds().expect("read before");
    let kind = |row: &annals::SignalRow| {
        kinds.iter().find(|kind| kind.name == row.kind).expect("a kind of the block")
    };
    let expected: Vec<_> = rows.into_iter().filter(|row| row.matches(kind(row), &matchers)).collect();
    let found: Vec<_> = block.scan(TimeRange::ALL, &matchers).expect("read before").flatten().collect();
    let mut counts = SignalCounts::default();
    block.count(TimeRange::ALL, &matchers, &mut counts).expect("read before");
    if sound {
        assert_eq!(found, expected);
        assert_eq!(counts.rows.values().sum::<u64>(), expected.len() as u64);
    }
}

/// A record of the log whose checks fit: what the engine wrote into it is what is arbitrary.
pub(super) fn record(bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let vfs = STORE.snapshot();
    let root_id = seeds::root_id(&vfs);
    let place = Place {
        directory: "/data/wal".into(),
        temporary: "/data/tmp".into(),
        quarantine: "/data/quarantine".into(),
        root_id,
    };
    let options = annals_wal::Options {
        first_segment_bytes: 64 << 10,
        segment_bytes_max: 128 << 10,
        log_bytes_max: 1 << 20,
        record_bytes_max: 128 << 10,
        ..annals_wal::Options::default()
    };
    let floor = annals_wal::Lsn(0);
    let opened = Wal::open(Arc::new(vfs.clone()), &SimEntropy::new(9), place, &options, floor, &mut |_| {});
    let (wal, _) = opened.expect("the log of a sound store opens");
    wal.enqueue(bytes[0] % 3, bytes[1..].to_vec()).expect("small enough");
    wal.commit(Durability::Synced).expect("a disk without faults");
    wal.close().expect("a disk without faults");
    drop(wal);
    let clock = Arc::new(SimClock::new(seeds::NOW));
    if let Ok(store) = ReadOnly::open(Arc::new(vfs.clone()), clock, Path::new("/data")) {
        for tenant in store.tenants() {
            if let Ok(reader) = store.tenant(&tenant.id) {
                read_all(reader.with_limits(limits()));
            }
        }
    }
    open_and_read(&vfs, bytes);
}
