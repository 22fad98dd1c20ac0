//! Start times in blocks, through the public door.

mod common;

use std::sync::Arc;

use annals_block::{
    BlockError, EncodedBlock, MetricBlock, MetricBlockWriter, RollupBlock, RollupBlockWriter, WriteError,
};
use annals_model::{
    Aggregate, BlockContent, ChunkAge, HOUR_MS, Histogram, HistogramSamples, LabelSet, Piece, Pieces,
    Samples, SeriesKind, TimeRange, Timestamp, Whole, roll_up,
};
use annals_vfs::Sealed;
use common::{DAY, LSNS, Rng, assert_golden, identity, other_identities};

const RAW: BlockContent = BlockContent::RawMetrics;
const HOURS: BlockContent = BlockContent::Rollup1h;

fn labels(index: usize) -> LabelSet {
    LabelSet::from_pairs([("__name__", "c".to_owned()), ("n", format!("{index:03}"))]).expect("valid")
}

/// A series of numbers with start times.
struct Series {
    kind: SeriesKind,
    samples: Samples,
}

/// How the samples of a series say when they began to count.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Unknown,
    OfProcesses,
    SampleBefore,
    Anything,
    /// Only in the second half of its samples.
    Late,
}

const HOW: [How; 5] = [How::Unknown, How::OfProcesses, How::SampleBefore, How::Anything, How::Late];

fn starts(rng: &mut Rng, how: How, stamps: &[i64]) -> Vec<i64> {
    let mut process = DAY.range().start.0 - 5_000_000;
    let start = |(at, &stamp): (usize, &i64)| {
        if rng.below(200) == 0 {
            process = stamp - 1;
        }
        match how {
            How::Unknown => 0,
            How::OfProcesses => process,
            How::SampleBefore => at.checked_sub(1).map_or(0, |before| stamps[before]),
            How::Anything => [0, i64::MIN, i64::MAX, rng.next() as i64][rng.below(4) as usize],
            How::Late if at < stamps.len() / 2 => 0,
            How::Late => process,
        }
    };
    stamps.iter().enumerate().map(start).collect()
}

fn series(rng: &mut Rng, count: usize, how: How) -> Series {
    let mut at = DAY.range().start.0;
    let timestamps: Vec<i64> = (0..count)
        .map(|_| {
            at += 1 + rng.below(20_000) as i64;
            at
        })
        .collect();
    let values = timestamps.iter().map(|_| rng.below(500) as f64).collect();
    let start_times = starts(rng, how, &timestamps);
    let kind = [SeriesKind::Counter, SeriesKind::Gauge][rng.below(2) as usize];
    Series { kind, samples: Samples { timestamps, values, start_times, ..Samples::default() } }
}

fn write(all: &[Series], age: ChunkAge) -> EncodedBlock {
    let mut writer = MetricBlockWriter::new(identity(RAW), LSNS, 0, age);
    for (index, Series { kind, samples }) in all.iter().enumerate() {
        let Samples { timestamps, values, start_times, .. } = samples;
        writer.add_series(&labels(index), *kind, timestamps, values, start_times).expect("valid");
    }
    writer.finish().expect("small").expect("not empty")
}

fn open(bytes: &[u8]) -> Result<MetricBlock, BlockError> {
    MetricBlock::open(Sealed::new(bytes.to_vec()), identity(RAW), "a test")
}

/// Samples in a range: time, value's bits, start.
fn within(samples: &Samples, range: TimeRange) -> Vec<(i64, u64, i64)> {
    let start = |at: usize| samples.start_times.get(at).copied().unwrap_or(0);
    let all = samples.timestamps.iter().zip(&samples.values).enumerate();
    let rows = all.map(|(at, (&time, value))| (time, value.to_bits(), start(at)));
    rows.filter(|row| range.contains(Timestamp(row.0))).collect()
}

#[test]
fn starts_come_back_in_every_range_among_series_that_have_none() {
    let mut rng = Rng(3);
    for age in [ChunkAge::Fresh, ChunkAge::Merged, ChunkAge::Old] {
        let all: Vec<Series> = HOW.iter().map(|&how| series(&mut rng, 3_000, how)).collect();
        let encoded = write(&all, age);
        let block = open(&encoded.bytes).expect("opens");
        assert_eq!(block.verify(), []);
        for (ordinal, one) in (0..).zip(&all) {
            let (first, last) = (one.samples.timestamps[7], one.samples.timestamps[2_990]);
            for range in [TimeRange::ALL, TimeRange::new(Timestamp(first), Timestamp(last))] {
                let (mut read, mut lossy) = (Samples::default(), Samples::default());
                block.read(ordinal, range, &mut read).expect("sound");
                block.read_lossy(ordinal, range, &mut lossy, &mut |_, error| panic!("{error}"));
                assert_eq!(within(&read, TimeRange::ALL), within(&one.samples, range));
                assert_eq!((&read.timestamps, &read.start_times), (&lossy.timestamps, &lossy.start_times));
                let mut values = Samples::default();
                block.read_values_lossy(ordinal, range, &mut values, &mut |_, error| panic!("{error}"));
                assert_eq!((&values.values, &values.start_times), (&read.values, &read.start_times));
                assert!(read.start_times.is_empty() || read.start_times.len() == read.values.len());
            }
            assert_eq!(one.samples.start_times.iter().all(|&start| start == 0), {
                let mut read = Samples::default();
                block.read(ordinal, TimeRange::ALL, &mut read).expect("sound");
                read.start_times.is_empty()
            });
        }
    }
}

#[test]
fn a_chunk_that_is_taken_whole_knows_where_counting_began() {
    let mut rng = Rng(8);
    let all: Vec<Series> = HOW.iter().map(|&how| series(&mut rng, 2_500, how)).collect();
    let block = open(&write(&all, ChunkAge::Fresh).bytes).expect("opens");
    let mut wholes = 0;
    for (ordinal, Series { kind, samples }) in (0..).zip(&all) {
        let mut pieces = Pieces::default();
        let mut none = |_, error| panic!("{error}");
        block.read_pieces(ordinal, TimeRange::ALL, Whole::of(&|_| true), &mut pieces, &mut none);
        let mut next = 0;
        for piece in &pieces.pieces {
            let at = |time: i64| samples.timestamps.partition_point(|&stamp| stamp <= time);
            match piece {
                Piece::Whole(all) => {
                    let own = next..at(all.last_time);
                    let expected = Aggregate::of(
                        *kind,
                        &samples.timestamps[own.clone()],
                        &samples.values[own.clone()],
                        &samples.start_times[own.clone()],
                    );
                    assert_eq!(Some(all), expected.as_ref());
                    (next, wholes) = (own.end, wholes + 1);
                }
                Piece::Samples(range) => {
                    let own = next..next + range.len();
                    assert_eq!(pieces.samples.timestamps[range.clone()], samples.timestamps[own.clone()]);
                    assert_eq!(pieces.samples.start_times[range.clone()], samples.start_times[own.clone()]);
                    next = own.end;
                }
            }
        }
        assert_eq!(next, samples.timestamps.len());
    }
    assert!(wholes > 8, "{wholes}");
}

#[test]
fn series_of_one_process_share_its_start() {
    let mut rng = Rng(5);
    let begun = DAY.range().start.0 - 1;
    let one = |_| {
        let mut one = series(&mut rng, 1_000, How::Unknown);
        one.samples.start_times = vec![begun; 1_000];
        one
    };
    let all: Vec<Series> = (0..200).map(one).collect();
    let sections = open(&write(&all, ChunkAge::Fresh).bytes).expect("opens").sections();
    let size = |name: &str| sections.iter().find(|section| section.name == name).expect("there").bytes;
    assert!(size("starts") + size("begun") < 40, "{} and {}", size("starts"), size("begun"));
}

#[test]
fn blocks_without_starts_have_nothing_of_them() {
    let all = [series(&mut Rng(1), 50, How::Unknown), series(&mut Rng(2), 50, How::Unknown)];
    let with_zeros = write(&all, ChunkAge::Fresh);
    let mut writer = MetricBlockWriter::new(identity(RAW), LSNS, 0, ChunkAge::Fresh);
    for (index, Series { kind, samples }) in all.iter().enumerate() {
        writer.add_series(&labels(index), *kind, &samples.timestamps, &samples.values, &[]).expect("valid");
    }
    assert_eq!(writer.finish().expect("small"), Some(with_zeros.clone()));
    let block = open(&with_zeros.bytes).expect("opens");
    assert!(block.sections().iter().all(|section| !["starts", "begun"].contains(&section.name)));
    // The required features are in the header; starts are bit 2.
    assert_eq!(with_zeros.bytes[16] & 4, 0);
    assert_eq!(write(&[series(&mut Rng(1), 50, How::Late)], ChunkAge::Fresh).bytes[16] & 4, 4);
}

#[test]
fn a_column_of_another_length_is_refused() {
    let mut writer = MetricBlockWriter::new(identity(RAW), LSNS, 0, ChunkAge::Fresh);
    let (first, kind) = (DAY.range().start.0 + 1, SeriesKind::Counter);
    let refused = writer.add_series(&labels(0), kind, &[first, first + 1], &[1.0, 2.0], &[5]);
    assert_eq!(refused, Err(WriteError::Starts { ordinal: 0, values: 2, starts: 1 }));
}

#[test]
fn every_flipped_bit_is_seen_and_no_other_start_is_read() {
    let mut rng = Rng(4);
    let all: Vec<Series> = HOW.iter().map(|&how| series(&mut rng, 20, how)).collect();
    let bytes = write(&all, ChunkAge::Merged).bytes;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(block) = open(&damaged) else { continue };
        assert!(!block.verify().is_empty(), "bit {bit} is not seen");
        for (ordinal, one) in (0..).zip(&all) {
            let mut read = Samples::default();
            if block.read(ordinal, TimeRange::ALL, &mut read).is_ok() {
                let all = TimeRange::ALL;
                assert_eq!(within(&read, all), within(&one.samples, all), "bit {bit}");
            }
        }
    }
}

#[test]
fn a_block_of_another_identity_is_refused() {
    let bytes = write(&[series(&mut Rng(1), 5, How::OfProcesses)], ChunkAge::Fresh).bytes;
    for other in other_identities(identity(RAW)) {
        let opened = MetricBlock::open(Sealed::new(bytes.clone()), other, "a test");
        assert!(matches!(opened, Err(BlockError::WrongIdentity { .. })), "{other:?}");
    }
}

fn histograms(rng: &mut Rng, count: usize, how: How) -> HistogramSamples {
    let numbers = series(rng, count, how).samples;
    let mut out = HistogramSamples::default();
    for (at, (&time, &value)) in numbers.timestamps.iter().zip(&numbers.values).enumerate() {
        let own = Histogram { count: value, sum: value, positive: vec![(1, value)], ..Histogram::default() };
        out.push(time, (at % 11 > 0).then(|| Arc::new(own.compacted())), numbers.start_times[at]);
    }
    out
}

#[test]
fn histograms_keep_their_starts_in_samples_and_in_what_thinning_leaves() {
    let mut rng = Rng(6);
    let all: Vec<HistogramSamples> = HOW.iter().map(|&how| histograms(&mut rng, 700, how)).collect();
    let mut raw = MetricBlockWriter::new(identity(RAW), LSNS, 0, ChunkAge::Fresh);
    let mut hours = RollupBlockWriter::new(identity(HOURS), LSNS);
    let kind = SeriesKind::Histogram;
    let thinned: Vec<HistogramSamples> = all.iter().map(|one| one.thinned(kind, HOUR_MS)).collect();
    for (index, (one, thinned)) in all.iter().zip(&thinned).enumerate() {
        raw.add_histograms(&labels(index), kind, one).expect("added");
        hours.add_histograms(&labels(index), kind, thinned).expect("added");
    }
    let raw = open(&raw.finish().expect("small").expect("a block").bytes).expect("opens");
    let hours = hours.finish().expect("small").expect("a block").bytes;
    let hours = RollupBlock::open(Sealed::new(hours), identity(HOURS), "a test").expect("opens");
    assert_eq!((raw.verify(), hours.verify()), (vec![], vec![]));
    let rows = |samples: &HistogramSamples| -> Vec<(i64, Option<f64>, i64)> {
        samples.iter().map(|(time, own, start)| (time, own.as_ref().map(|own| own.count), start)).collect()
    };
    for (ordinal, (one, thinned)) in (0..).zip(all.iter().zip(&thinned)) {
        let (mut read, mut left) = (HistogramSamples::default(), HistogramSamples::default());
        raw.read_histograms(ordinal, TimeRange::ALL, &mut read).expect("sound");
        hours.read_histograms_lossy(ordinal, TimeRange::ALL, &mut left, &mut |_, error| panic!("{error}"));
        assert_eq!((rows(&read), rows(&left)), (rows(one), rows(thinned)));
    }
}

#[test]
fn windows_keep_the_starts_of_their_ends_and_whether_any_overlap() {
    let mut rng = Rng(7);
    let mut writer = RollupBlockWriter::new(identity(HOURS), LSNS);
    let mut due = Vec::new();
    // Any number of milliseconds is more than the engine lets in.
    for (index, how) in HOW.into_iter().filter(|&how| how != How::Anything).enumerate() {
        let Series { samples, .. } = series(&mut rng, 900, how);
        let Samples { timestamps, values, mut start_times, .. } = samples;
        if how == How::Late {
            start_times[700] = timestamps[650];
        }
        let mut windows = Vec::new();
        roll_up(SeriesKind::Counter, HOUR_MS, &timestamps, &values, &start_times, &mut windows);
        writer.add_series(&labels(index), SeriesKind::Counter, &windows).expect("added");
        due.push(windows);
    }
    assert!(due.iter().flatten().any(|window| window.all.is_some_and(|all| all.overlaps)));
    let bytes = writer.finish().expect("small").expect("a block").bytes;
    assert_eq!(bytes[16] & 4, 4);
    let block = RollupBlock::open(Sealed::new(bytes), identity(HOURS), "a test").expect("opens");
    assert_eq!(block.verify(), []);
    for (ordinal, due) in (0..).zip(&due) {
        let mut read = Vec::new();
        block.read_lossy(ordinal, TimeRange::ALL, &mut read, &mut |_, error| panic!("{error}"));
        assert_eq!(&read, due);
    }
}

#[test]
fn the_bytes_of_small_blocks_do_not_change() {
    let mut rng = Rng(2);
    let all: Vec<Series> = HOW.iter().map(|&how| series(&mut rng, 12, how)).collect();
    assert_golden("starts-v1.blk", &write(&all, ChunkAge::Fresh).bytes);
    let mut writer = RollupBlockWriter::new(identity(HOURS), LSNS);
    let Samples { timestamps, values, start_times, .. } = series(&mut rng, 400, How::OfProcesses).samples;
    let mut windows = Vec::new();
    roll_up(SeriesKind::Counter, HOUR_MS, &timestamps, &values, &start_times, &mut windows);
    writer.add_series(&labels(0), SeriesKind::Counter, &windows).expect("added");
    assert_golden("starts-1h-v1.blk", &writer.finish().expect("small").expect("a block").bytes);
}
