//! Series of histograms in blocks, through the public door.

mod common;

use std::sync::Arc;

use annals_block::{
    BlockError, EncodedBlock, MetricBlock, MetricBlockWriter, RollupBlock, RollupBlockWriter, WriteError,
};
use annals_model::{
    BlockContent, ChunkAge, Histogram, HistogramSamples, LabelSet, Matcher, Samples, SeriesKind, TimeRange,
    Timestamp,
};
use annals_vfs::Sealed;
use common::{DAY, LSNS, Rng, assert_golden, identity, other_identities};

fn labels(name: &str) -> LabelSet {
    LabelSet::from_pairs([("__name__", name)]).expect("valid")
}

/// Histograms whose buckets, bounds and counts change on the way, and markers.
fn samples(rng: &mut Rng, count: usize) -> HistogramSamples {
    let mut out = HistogramSamples::default();
    let mut time = DAY.range().start.0;
    let (mut schema, mut counts) = (2i8, [0u64; 6]);
    for _ in 0..count {
        time += 1 + rng.below(30_000) as i64;
        if rng.below(40) == 0 {
            schema = [-53, 0, 2, 8][rng.below(4) as usize];
        }
        counts.iter_mut().for_each(|count| *count += rng.below(4));
        let positive: Vec<(i32, f64)> = (0..).zip(counts.map(|count| count as f64)).collect();
        let custom = schema == -53;
        let histogram = Histogram {
            schema,
            count: counts.iter().sum::<u64>() as f64,
            sum: f64::from_bits(rng.next()),
            positive,
            negative: if custom { vec![] } else { vec![(-7, 1.5)] },
            custom_bounds: if custom { [0.1, 0.2, 0.4, 0.8, 1.6].into() } else { [].into() },
            ..Histogram::default()
        };
        out.push(time, (rng.below(50) > 0).then(|| Arc::new(histogram.compacted())), 0);
    }
    out
}

fn same(a: &HistogramSamples, b: &HistogramSamples) -> bool {
    let equal = |pair: (Option<&Arc<Histogram>>, Option<&Arc<Histogram>>)| match pair {
        (Some(a), Some(b)) => a.equals(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    a.timestamps == b.timestamps
        && a.histograms.iter().zip(&b.histograms).all(|(a, b)| equal((a.as_ref(), b.as_ref())))
}

fn block(rng: &mut Rng, count: usize, age: ChunkAge) -> (EncodedBlock, HistogramSamples, HistogramSamples) {
    let mut writer = MetricBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 0, age);
    let (levels, events) = (samples(rng, count), samples(rng, count));
    writer.add_histograms(&labels("a"), SeriesKind::Histogram, &levels).expect("added");
    let values: Vec<f64> = (0..count).map(|i| i as f64).collect();
    writer.add_series(&labels("b"), SeriesKind::Counter, &levels.timestamps, &values, &[]).expect("added");
    writer.add_histograms(&labels("c"), SeriesKind::DeltaHistogram, &events).expect("added");
    (writer.finish().expect("finished").expect("a block"), levels, events)
}

fn open(bytes: &[u8]) -> Result<MetricBlock, BlockError> {
    MetricBlock::open(Sealed::new(bytes.to_vec()), identity(BlockContent::RawMetrics), "a test")
}

#[test]
fn histograms_among_numbers_come_back_bit_for_bit_in_every_range() {
    let mut rng = Rng(5);
    for (count, age) in [(1, ChunkAge::Fresh), (300, ChunkAge::Merged), (1_200, ChunkAge::Old)] {
        let (encoded, levels, events) = block(&mut rng, count, age);
        let block = open(&encoded.bytes).expect("opens");
        assert_eq!(block.verify(), []);
        assert_eq!(encoded.meta.rows, 3 * count as u64);
        let ends = |samples: &HistogramSamples| {
            let (first, last) = (samples.timestamps[0], samples.timestamps[count - 1]);
            TimeRange::new(Timestamp(first + (last - first) / 3), Timestamp(first + (last - first) / 2))
        };
        for (ordinal, expected) in [(0, &levels), (2, &events)] {
            for range in [TimeRange::ALL, ends(expected)] {
                let (mut read, mut due) = (HistogramSamples::default(), HistogramSamples::default());
                block.read_histograms(ordinal, range, &mut read).expect("read");
                due.extend_from(expected, range);
                assert!(same(&read, &due), "{count}: series {ordinal} in {range:?}");
            }
        }
        let mut numbers = Samples::default();
        block.read(1, TimeRange::ALL, &mut numbers).expect("read");
        assert_eq!((numbers.timestamps, numbers.values.len()), (levels.timestamps, count));
        assert_eq!(block.find(&[Matcher::equal("__name__", "c")]).expect("found").min(), Some(2));
    }
}

#[test]
fn every_flipped_bit_is_seen_and_no_other_histogram_is_read() {
    let (encoded, levels, events) = block(&mut Rng(9), 20, ChunkAge::Fresh);
    for bit in 0..encoded.bytes.len() * 8 {
        let mut bytes = encoded.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(block) = open(&bytes) else { continue };
        assert!(!block.verify().is_empty(), "bit {bit} is not seen");
        for (ordinal, expected) in [(0, &levels), (2, &events)] {
            let mut read = HistogramSamples::default();
            if block.read_histograms(ordinal, TimeRange::ALL, &mut read).is_ok() {
                assert!(same(&read, expected), "bit {bit}");
            }
        }
    }
}

#[test]
fn a_damaged_chunk_loses_its_own_histograms_only() {
    let (encoded, levels, _) = block(&mut Rng(1), 1_000, ChunkAge::Merged);
    let sound = open(&encoded.bytes).expect("opens");
    let at = sound.sections().iter().find(|section| section.name == "values").expect("there").offset;
    let mut bytes = encoded.bytes.clone();
    bytes[at as usize + 10] ^= 4;
    let block = open(&bytes).expect("opens");
    let (mut read, mut lost) = (HistogramSamples::default(), Vec::new());
    block.read_histograms_lossy(0, TimeRange::ALL, &mut read, &mut |range, _| lost.push(range));
    let [range] = lost[..] else { panic!("{lost:?}") };
    assert!(!read.timestamps.is_empty() && read.timestamps.len() < levels.timestamps.len());
    assert!(read.timestamps.iter().all(|&time| !range.contains(Timestamp(time))));
    let named = levels.timestamps.iter().filter(|time| range.contains(Timestamp(**time))).count();
    assert_eq!(read.timestamps.len() + named, levels.timestamps.len(), "what is gone is named");
}

#[test]
fn rollups_keep_what_thinning_leaves() {
    let identity = identity(BlockContent::Rollup1h);
    let mut writer = RollupBlockWriter::new(identity, LSNS);
    let samples = samples(&mut Rng(3), 500);
    let thinned = samples.thinned(SeriesKind::Histogram, 3_600_000);
    writer.add_histograms(&labels("a"), SeriesKind::Histogram, &thinned).expect("added");
    let encoded = writer.finish().expect("finished").expect("a block");
    let block = RollupBlock::open(Sealed::new(encoded.bytes), identity, "a test").expect("opens");
    assert_eq!(block.verify(), []);
    let mut read = HistogramSamples::default();
    block.read_histograms_lossy(0, TimeRange::ALL, &mut read, &mut |_, error| panic!("{error}"));
    assert!(same(&read, &thinned));
}

#[test]
fn numbers_and_histograms_do_not_pass_for_each_other() {
    let mut writer = MetricBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 0, ChunkAge::Fresh);
    let samples = samples(&mut Rng(4), 3);
    let as_numbers =
        writer.add_series(&labels("a"), SeriesKind::Histogram, &samples.timestamps, &[1.0; 3], &[]);
    assert_eq!(as_numbers, Err(WriteError::WrongKind { kind: "histogram" }));
    let as_histograms = writer.add_histograms(&labels("a"), SeriesKind::Gauge, &samples);
    assert_eq!(as_histograms, Err(WriteError::WrongKind { kind: "gauge" }));
    writer.add_histograms(&labels("a"), SeriesKind::Histogram, &samples).expect("added");
    let block = open(&writer.finish().expect("finished").expect("a block").bytes).expect("opens");
    let mut numbers = Samples::default();
    assert!(block.read(0, TimeRange::ALL, &mut numbers).is_err() && numbers.values.is_empty());
}

#[test]
fn a_block_of_another_identity_is_refused() {
    let (encoded, ..) = block(&mut Rng(6), 5, ChunkAge::Fresh);
    for other in other_identities(identity(BlockContent::RawMetrics)) {
        let opened = MetricBlock::open(Sealed::new(encoded.bytes.clone()), other, "a test");
        assert!(matches!(opened, Err(BlockError::WrongIdentity { .. })), "{other:?}");
    }
}

#[test]
fn the_bytes_of_a_small_block_do_not_change() {
    let (encoded, ..) = block(&mut Rng(2), 12, ChunkAge::Fresh);
    assert_golden("histograms-v1.blk", &encoded.bytes);
}
