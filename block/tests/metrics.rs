//! Blocks of metric samples, through the public door.

mod common;

use annals_block::{BlockError, EncodedBlock, MetricBlock, MetricBlockWriter, WriteError};
use annals_model::{
    Aggregate, BlockContent, ChunkAge, DAY_MS, LabelSet, MatchOp, Matcher, Piece, Pieces, STALE_NAN_BITS,
    Samples, SeriesKind, TimeRange, Timestamp, Whole,
};
use annals_vfs::Sealed;
use common::{DAY, LSNS, Rng, assert_golden, identity, other_identities};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Series {
    labels: LabelSet,
    kind: SeriesKind,
    stamps: Vec<i64>,
    values: Vec<f64>,
}

const KINDS: [SeriesKind; 3] = [SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta];

fn day_start() -> i64 {
    DAY.range().start.0
}

fn write(series: &[Series], age: ChunkAge) -> EncodedBlock {
    let mut writer = MetricBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 2, age);
    for one in series {
        writer.add_series(&one.labels, one.kind, &one.stamps, &one.values, &[]).expect("valid");
    }
    writer.finish().expect("small").expect("not empty")
}

fn open(bytes: &[u8]) -> Result<MetricBlock, BlockError> {
    MetricBlock::open(Sealed::new(bytes.to_vec()), identity(BlockContent::RawMetrics), "test.blk")
}

/// Random series: few label names and values, so that postings overlap; shared and own timestamps.
fn random_series(rng: &mut Rng, count: u64, samples_max: u64) -> Vec<Series> {
    let mut shared: Vec<Vec<i64>> = Vec::new();
    let mut series: Vec<Series> = (0..count)
        .map(|_| {
            let mut pairs: Vec<(String, String)> = (0..rng.below(4))
                .map(|_| {
                    (format!("l{}", rng.below(4)), ["", "a", "b", "ab", "é"][rng.below(5) as usize].into())
                })
                .collect();
            if rng.below(3) > 0 {
                pairs.push(("id".to_owned(), rng.below(9).to_string()));
            }
            let mut seen = Vec::new();
            let distinct: Vec<_> = pairs
                .into_iter()
                .filter(|(name, _)| {
                    let new = !seen.contains(name);
                    seen.push(name.clone());
                    new
                })
                .collect();
            let length = 1 + rng.below(samples_max) as usize;
            let stamps = match shared.first() {
                Some(first) if rng.below(3) > 0 => first.clone(),
                _ => {
                    let step = 1 + rng.below(DAY_MS as u64 / length as u64);
                    let jitter = 1 + rng.below(step);
                    (0..length as u64)
                        .map(|i| day_start() + (i * step + 1 + rng.below(jitter)) as i64)
                        .collect()
                }
            };
            let stamps: Vec<i64> = stamps.into_iter().filter(|&t| t <= day_start() + DAY_MS).collect();
            shared.push(stamps.clone());
            let mut last = 0.0;
            let (shape, has_stale) = (rng.below(4), rng.below(3) == 0);
            let values = stamps
                .iter()
                .map(|_| {
                    last = match shape {
                        0 => f64::from_bits(rng.next()),
                        1 => last + rng.below(10) as f64,
                        2 => rng.below(100) as f64 / 10.0,
                        _ => last,
                    };
                    if has_stale && rng.below(60) == 0 { f64::from_bits(STALE_NAN_BITS) } else { last }
                })
                .collect();
            let labels = LabelSet::from_pairs(distinct).expect("valid");
            Series { labels, kind: KINDS[rng.below(3) as usize], stamps, values }
        })
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series.dedup_by(|a, b| a.labels == b.labels);
    series
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn assert_reads(block: &MetricBlock, ordinal: u32, one: &Series, range: TimeRange) {
    let inside = |t: i64| range.contains(Timestamp(t));
    let expected: Vec<(i64, u64)> = one
        .stamps
        .iter()
        .zip(&one.values)
        .filter(|&(&t, _)| inside(t))
        .map(|(&t, value)| (t, value.to_bits()))
        .collect();
    let mut samples = Samples { timestamps: vec![-1], values: vec![0.25], ..Samples::default() };
    block.read(ordinal, range, &mut samples).expect("undamaged");
    let Samples { timestamps: mut stamps, mut values, start_times, .. } = samples;
    assert_eq!(start_times, [0i64; 0], "none is known");
    assert_eq!((stamps.remove(0), values.remove(0)), (-1, 0.25), "reading appends");
    let read: Vec<(i64, u64)> = stamps.iter().copied().zip(bits(&values)).collect();
    assert_eq!(read, expected);
    assert_eq!(stamps.len(), values.len());
    assert!(block.samples_in(ordinal, range).expect("undamaged") >= expected.len() as u64);
    let mut lossy = Samples::default();
    let mut none = |_, error| panic!("undamaged, but {error}");
    block.read_lossy(ordinal, range, &mut lossy, &mut none);
    assert_eq!((lossy.timestamps, bits(&lossy.values)), (stamps, bits(&values)));
}

/// Pieces give back every sample that no aggregate stands for, and aggregates are those of the samples that they stand
/// for.
fn assert_pieces(block: &MetricBlock, ordinal: u32, one: &Series, range: TimeRange, cuts: &[i64]) -> usize {
    let mut pieces = Pieces::default();
    let whole = |time: TimeRange| !cuts.iter().any(|&cut| time.start.0 < cut && cut < time.end.0);
    let mut none = |_, error| panic!("undamaged, but {error}");
    block.read_pieces(ordinal, range, Whole::of(&whole), &mut pieces, &mut none);
    let at = |time: i64| one.stamps.partition_point(|&stamp| stamp < time);
    let (mut next, mut wholes) = (one.stamps.partition_point(|&t| t <= range.start.0), 0);
    for piece in &pieces.pieces {
        match piece {
            Piece::Samples(positions) => {
                let length = positions.len();
                let stamps = &pieces.samples.timestamps[positions.clone()];
                let values = &pieces.samples.values[positions.clone()];
                assert_eq!(stamps, &one.stamps[next..next + length]);
                assert_eq!(bits(values), bits(&one.values[next..next + length]));
                next += length;
            }
            Piece::Whole(all) => {
                wholes += 1;
                assert_eq!(at(all.first_time), next);
                let end = at(all.last_time) + 1;
                let expected = Aggregate::of(one.kind, &one.stamps[next..end], &one.values[next..end], &[]);
                assert_eq!(Some(all), expected.as_ref());
                assert!(whole(TimeRange::new(Timestamp(all.first_time - 1), Timestamp(all.last_time))));
                next = end;
            }
        }
    }
    assert_eq!(next, one.stamps.partition_point(|&t| t <= range.end.0));
    let plan = block.plan_pieces(ordinal, range, Whole::of(&whole)).expect("undamaged");
    let samples = plan.samples + plan.chunks_skipped;
    assert!(samples >= wholes as u64);
    wholes
}

fn random_matcher(rng: &mut Rng) -> Matcher {
    let name = ["l0", "l1", "l2", "l3", "id", "missing"][rng.below(6) as usize];
    let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][rng.below(4) as usize];
    let value =
        ["", "a", "b", "a.*", ".+", ".*", "a|b", "[0-4]?", "é", "3", "ab?", "(?i)A.*", "é|3|x", "[ab]b"]
            [rng.below(14) as usize];
    Matcher::new(name, op, value).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whole_blocks_round_trip_bit_for_bit(seed in any::<u64>(), count in 1u64..12, age in 0usize..3) {
        let mut rng = Rng(seed);
        let series = random_series(&mut rng, count, 2500);
        let encoded = write(&series, [ChunkAge::Fresh, ChunkAge::Merged, ChunkAge::Old][age]);
        let block = open(&encoded.bytes).expect("our own");
        prop_assert_eq!(block.meta(), &encoded.meta);
        prop_assert_eq!(encoded.meta.check, crc32fast::hash(&encoded.bytes));
        prop_assert_eq!(encoded.meta.bytes, encoded.bytes.len() as u64);
        prop_assert_eq!(encoded.meta.series, series.len() as u64);
        prop_assert_eq!(encoded.meta.rows, series.iter().map(|one| one.stamps.len() as u64).sum::<u64>());
        let first = series.iter().map(|one| one.stamps[0]).min().expect("some");
        let last = series.iter().map(|one| *one.stamps.last().expect("some")).max().expect("some");
        prop_assert_eq!(encoded.meta.time, TimeRange::new(Timestamp(first - 1), Timestamp(last)));
        prop_assert!(block.verify().is_empty());
        let total: u64 = block.sections().iter().map(|section| section.bytes).sum();
        prop_assert_eq!(total, encoded.meta.bytes);
        for (ordinal, one) in (0u32..).zip(&series) {
            prop_assert_eq!(&block.labels(ordinal).expect("there"), &one.labels);
            prop_assert_eq!(block.kind(ordinal).expect("there"), one.kind);
            assert_reads(&block, ordinal, one, TimeRange::ALL);
            let (a, b) = (rng.below(DAY_MS as u64) as i64, rng.below(DAY_MS as u64) as i64);
            let range = TimeRange::new(Timestamp(day_start() + a.min(b)), Timestamp(day_start() + a.max(b)));
            assert_reads(&block, ordinal, one, range);
            let at = one.stamps[rng.below(one.stamps.len() as u64) as usize];
            assert_reads(&block, ordinal, one, TimeRange::new(Timestamp(at - 1), Timestamp(at)));
            assert_reads(&block, ordinal, one, TimeRange::new(Timestamp(at), Timestamp(at)));
            let finite = one.values.iter().all(|value| value.is_finite() && value.abs() < 1e290);
            prop_assert!(!finite || assert_pieces(&block, ordinal, one, TimeRange::ALL, &[]) > 0);
            assert_pieces(&block, ordinal, one, range, &[]);
            assert_pieces(&block, ordinal, one, TimeRange::ALL, &[a, at]);
        }
    }

    #[test]
    fn matchers_find_what_a_filter_over_all_series_finds(seed in any::<u64>(), count in 1u64..60) {
        let mut rng = Rng(seed);
        let series = random_series(&mut rng, count, 2);
        let block = open(&write(&series, ChunkAge::Fresh).bytes).expect("our own");
        for _ in 0..30 {
            let matchers: Vec<Matcher> = (0..rng.below(4)).map(|_| random_matcher(&mut rng)).collect();
            let found: Vec<u32> = block.find(&matchers).expect("undamaged").into_iter().collect();
            let expected: Vec<u32> = (0u32..)
                .zip(&series)
                .filter(|(_, one)| matchers.iter().all(|m| m.matches(one.labels.get(m.name()))))
                .map(|(ordinal, _)| ordinal)
                .collect();
            prop_assert_eq!(found, expected, "{:?}", matchers);
        }
        let mut names: Vec<&str> = series.iter().flat_map(|one| one.labels.iter().map(|(n, _)| n)).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(block.label_names().expect("undamaged"), names.clone());
        for name in names.into_iter().chain(["missing"]) {
            let mut values: Vec<&str> = series.iter().map(|one| one.labels.get(name)).collect();
            values.retain(|value| !value.is_empty());
            values.sort_unstable();
            values.dedup();
            prop_assert_eq!(block.label_values(name).expect("undamaged"), values);
        }
    }

    #[test]
    fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&bytes).is_err());
        let mut framed = small_block();
        let length = framed.len();
        for (at, byte) in (0..).zip(&bytes).map(|(at, byte)| (length / 3 + at, byte)) {
            if let Some(slot) = framed.get_mut(at) { *slot = *byte; }
        }
        use_all(&framed);
    }
}

fn small_series() -> Vec<Series> {
    let stamps: Vec<i64> = (1..=40).map(|i| day_start() + i * 15_000).collect();
    let jittered: Vec<i64> = stamps.iter().enumerate().map(|(i, t)| t + (i as i64 * 7 % 5)).collect();
    let series = |pairs: &[(&str, &str)], kind, stamps: &[i64], value: &dyn Fn(usize) -> f64| Series {
        labels: LabelSet::from_pairs(pairs.iter().copied()).expect("valid"),
        kind,
        stamps: stamps.to_vec(),
        values: (0..stamps.len()).map(value).collect(),
    };
    let mut all = vec![
        series(&[("__name__", "up"), ("job", "web")], SeriesKind::Gauge, &stamps, &|_| 1.0),
        series(&[("__name__", "up"), ("job", "db")], SeriesKind::Gauge, &stamps, &|i| {
            if i == 9 { f64::from_bits(STALE_NAN_BITS) } else { 1.0 }
        }),
        series(&[("__name__", "requests_total"), ("job", "web")], SeriesKind::Counter, &jittered, &|i| {
            (i * i) as f64
        }),
        series(&[("__name__", "temperature"), ("room", "é")], SeriesKind::Gauge, &jittered, &|i| {
            20.0 + (i % 7) as f64 / 10.0
        }),
        series(&[("__name__", "ratio")], SeriesKind::Delta, &stamps[..3], &|i| (i as f64 + 1.0).sqrt()),
    ];
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

fn small_block() -> Vec<u8> {
    write(&small_series(), ChunkAge::Fresh).bytes
}

/// Calls everything on bytes that may be damaged; returns whether damage was seen by any call.
fn use_all(bytes: &[u8]) -> bool {
    let Ok(block) = open(bytes) else { return true };
    let mut damaged = !block.verify().is_empty();
    let mut samples = Samples::default();
    damaged |= block.find(&[Matcher::new("job", MatchOp::Regex, "w.*").expect("valid")]).is_err();
    damaged |= block.label_names().is_err() || block.label_values("job").is_err() || block.codecs().is_err();
    for ordinal in 0..block.series_count().min(50) {
        let _ = block.labels(ordinal);
        let _ = block.kind(ordinal);
        damaged |= block.read(ordinal, TimeRange::ALL, &mut samples).is_err();
        block.read_lossy(ordinal, TimeRange::ALL, &mut samples, &mut |_, _| damaged = true);
    }
    damaged
}

/// Reads what a damaged block still gives: every sample must be one of the original's.
fn assert_nothing_wrong_is_read(bytes: &[u8], series: &[Series]) {
    let Ok(block) = open(bytes) else { return };
    for (ordinal, one) in (0u32..).zip(series) {
        if let Ok(labels) = block.labels(ordinal) {
            assert_eq!(labels, one.labels);
        }
        let mut samples = Samples::default();
        block.read_lossy(ordinal, TimeRange::ALL, &mut samples, &mut |_, _| ());
        let Samples { timestamps: stamps, values, .. } = samples;
        let original: Vec<(i64, u64)> = one.stamps.iter().copied().zip(bits(&one.values)).collect();
        assert!(stamps.into_iter().zip(bits(&values)).all(|sample| original.contains(&sample)));
    }
    if let Ok(found) = block.find(&[Matcher::equal("job", "web")]) {
        let expected = (0u32..).zip(series).filter(|(_, one)| one.labels.get("job") == "web");
        assert!(found.into_iter().eq(expected.map(|(ordinal, _)| ordinal)));
    }
}

#[test]
fn every_bit_flip_is_seen_and_nothing_wrong_is_read() {
    let (bytes, series) = (small_block(), small_series());
    assert!(!use_all(&bytes));
    let mut damaged = bytes.clone();
    for bit in 0..bytes.len() * 8 {
        damaged[bit / 8] ^= 1 << (bit % 8);
        let refused = match open(&damaged) {
            Err(_) => true,
            Ok(block) => !block.verify().is_empty(),
        };
        assert!(refused, "bit {bit} of {}", bytes.len() * 8);
        assert_nothing_wrong_is_read(&damaged, &series);
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_and_every_longer_file_is_refused() {
    let bytes = small_block();
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "cut at {length}");
    }
    for extra in [1usize, 8, 64] {
        assert!(open(&[bytes.as_slice(), &vec![0; extra]].concat()).is_err());
    }
    assert!(open(&[bytes.as_slice(), bytes.as_slice()].concat()).is_err());
}

#[test]
fn a_block_of_another_tenant_day_or_sequence_is_refused_as_such() {
    let bytes = small_block();
    let right = identity(BlockContent::RawMetrics);
    for wrong in other_identities(right) {
        let error = MetricBlock::open(Sealed::new(bytes.clone()), wrong, "x").expect_err("swapped");
        assert!(
            matches!(error, BlockError::WrongIdentity { expected, found, .. } if expected == wrong && found == right)
        );
    }
}

#[test]
fn intact_chunks_of_another_block_or_place_do_not_pass() {
    let series = small_series();
    let ours = small_block();
    let mut other = identity(BlockContent::RawMetrics);
    other.tenant.0 += 1;
    let mut writer = MetricBlockWriter::new(other, LSNS, 2, ChunkAge::Fresh);
    for one in &series {
        writer.add_series(&one.labels, one.kind, &one.stamps, &one.values, &[]).expect("valid");
    }
    let theirs = writer.finish().expect("small").expect("not empty").bytes;
    let block = open(&ours).expect("our own");
    for section in block.sections() {
        let range = section.offset as usize..(section.offset + section.bytes) as usize;
        let mut spliced = ours.clone();
        spliced[range.clone()].copy_from_slice(&theirs[range]);
        if spliced == ours {
            continue;
        }
        assert!(use_all(&spliced), "{} of another tenant", section.name);
    }
}

#[test]
fn a_damaged_chunk_loses_its_own_samples_only() {
    let stamps: Vec<i64> = (1..=5000).map(|i| day_start() + i * 10_000).collect();
    let mut rng = Rng(1);
    let values: Vec<f64> = stamps.iter().map(|_| rng.below(1000) as f64).collect();
    let labels = LabelSet::from_pairs([("__name__", "x")]).expect("valid");
    let one = Series { labels, kind: SeriesKind::Gauge, stamps, values };
    let mut bytes = write(std::slice::from_ref(&one), ChunkAge::Fresh).bytes;
    let sections = open(&bytes).expect("our own").sections();
    let chunks = sections.iter().find(|section| section.name == "values").expect("there");
    bytes[(chunks.offset + chunks.bytes / 2) as usize] ^= 0x10;
    let block = open(&bytes).expect("header and footer are intact");
    let (mut samples, mut lost) = (Samples::default(), Vec::new());
    block.read_lossy(0, TimeRange::ALL, &mut samples, &mut |range, error| lost.push((range, error)));
    let Samples { timestamps: stamps, values, .. } = samples;
    let [(range, BlockError::Corrupt { at, .. })] = lost.as_slice() else { panic!("one chunk: {lost:?}") };
    assert_eq!((at.section, at.ordinal), ("values", Some(2)));
    let kept: Vec<(i64, f64)> = one
        .stamps
        .iter()
        .copied()
        .zip(one.values.iter().copied())
        .filter(|&(t, _)| !range.contains(Timestamp(t)))
        .collect();
    assert_eq!(kept.len(), 5000 - 1024);
    assert_eq!(stamps.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>(), kept);
    let mut samples = Samples::default();
    assert!(block.read(0, TimeRange::ALL, &mut samples).is_err());
    let lengths = (samples.timestamps.len(), samples.values.len());
    assert_eq!(lengths, (2048, 2048), "nothing of the damaged chunk");
    let before = TimeRange::new(Timestamp::MIN, range.start);
    assert!(block.read(0, before, &mut samples).is_ok(), "chunks outside are not touched");
    let found = block.verify();
    let [one] = found.as_slice() else { panic!("one damaged place is one finding: {found:?}") };
    assert_eq!((one.section, one.chunk, one.series, one.series_count), ("values", Some(2), Some(0), 1));
    assert_eq!((one.range, one.rows), (Some(*range), Some(1024)));
}

#[test]
fn newer_versions_and_unknown_features_are_left_alone() {
    let reseal = |mut bytes: Vec<u8>| {
        let check = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&check.to_le_bytes());
        bytes
    };
    let mut newer = small_block();
    newer[8] = 2;
    let error = open(&reseal(newer)).expect_err("newer");
    assert!(matches!(error, BlockError::VersionTooNew { found: 2, newest_known: 1, .. }));
    let mut featured = small_block();
    featured[17] = 0x80;
    let error = open(&reseal(featured)).expect_err("unknown feature");
    assert!(matches!(error, BlockError::UnknownFeature { bits: 0x8000, .. }));
    let mut optional = small_block();
    optional[20] = 1;
    assert!(open(&reseal(optional)).is_ok());
}

#[test]
fn what_would_break_a_block_is_refused() {
    let mut writer = MetricBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 0, ChunkAge::Fresh);
    let labels = |name| LabelSet::from_pairs([("__name__", name)]).expect("valid");
    let (first, last) = (day_start() + 1, day_start() + DAY_MS);
    let kind = SeriesKind::Gauge;
    let mut add =
        |name, stamps: &[i64], values: &[f64]| writer.add_series(&labels(name), kind, stamps, values, &[]);
    assert!(matches!(add("b", &[], &[]), Err(WriteError::Lengths { .. })));
    assert!(matches!(add("b", &[first], &[]), Err(WriteError::Lengths { .. })));
    assert!(matches!(add("b", &[first, first], &[0.0; 2]), Err(WriteError::TimeOrder { position: 1, .. })));
    assert!(matches!(add("b", &[last, first], &[0.0; 2]), Err(WriteError::TimeOrder { position: 1, .. })));
    assert!(matches!(add("b", &[first - 1], &[0.0]), Err(WriteError::OutsideDay { .. })));
    assert!(matches!(add("b", &[first, last + 1], &[0.0; 2]), Err(WriteError::OutsideDay { .. })));
    assert_eq!(add("b", &[first, last], &[1.0, 2.0]), Ok(()));
    assert!(matches!(add("b", &[first], &[0.0]), Err(WriteError::SeriesOrder { ordinal: 1 })));
    assert!(matches!(add("a", &[first], &[0.0]), Err(WriteError::SeriesOrder { ordinal: 1 })));
    let encoded = writer.finish().expect("small").expect("one series");
    assert_eq!((encoded.meta.series, encoded.meta.rows), (1, 2));
    assert!(open(&encoded.bytes).expect("our own").verify().is_empty());
    let mut wrong = MetricBlockWriter::new(identity(BlockContent::RawSignals), LSNS, 0, ChunkAge::Fresh);
    let refused = wrong.add_series(&labels("a"), kind, &[first], &[0.0], &[]);
    assert!(matches!(refused, Err(WriteError::WrongContent { .. })));
    assert_eq!(wrong.finish(), Ok(None));
}

#[test]
fn a_series_that_is_not_there_is_an_error() {
    let block = open(&small_block()).expect("our own");
    assert!(matches!(block.labels(5), Err(BlockError::NoSuchSeries { ordinal: 5, count: 5, .. })));
    assert!(block.read(u32::MAX, TimeRange::ALL, &mut Samples::default()).is_err());
}

#[test]
fn columns_are_stored_once() {
    let stamps: Vec<i64> = (1..=3000).map(|i| day_start() + i * 10_007 + i % 3).collect();
    let series: Vec<Series> = (0..50)
        .map(|i| Series {
            labels: LabelSet::from_pairs([("n", format!("{i:02}"))]).expect("valid"),
            kind: SeriesKind::Gauge,
            stamps: stamps.clone(),
            values: vec![f64::from(i); stamps.len()],
        })
        .collect();
    let block = open(&write(&series, ChunkAge::Fresh).bytes).expect("our own");
    assert_eq!(block.column_count(), Ok(3));
}

#[test]
fn many_threads_read_one_block() {
    let series = small_series();
    let block = open(&small_block()).expect("our own");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (ordinal, one) in (0u32..).zip(&series) {
                    assert_reads(&block, ordinal, one, TimeRange::ALL);
                    assert_eq!(block.labels(ordinal).as_ref(), Ok(&one.labels));
                }
            });
        }
    });
}

#[test]
fn a_read_inside_of_another_read_works() {
    let mut bytes = small_block();
    let sections = open(&bytes).expect("our own").sections();
    let chunks = sections.iter().find(|section| section.name == "values").expect("there");
    bytes[chunks.offset as usize] ^= 1;
    let (damaged, intact) = (open(&bytes).expect("frame intact"), open(&small_block()).expect("our own"));
    let mut inner = Samples::default();
    damaged.read_lossy(0, TimeRange::ALL, &mut Samples::default(), &mut |range, _| {
        intact.read(0, range, &mut inner).expect("undamaged");
    });
    assert_eq!(inner.timestamps, small_series()[0].stamps);
}

#[test]
fn the_bytes_of_a_small_block_do_not_change() {
    assert_golden("metrics-v1.blk", &small_block());
    let bytes =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/metrics-v1.blk")).expect("there");
    let block = open(&bytes).expect("opens for ever");
    for (ordinal, one) in (0u32..).zip(&small_series()) {
        assert_reads(&block, ordinal, one, TimeRange::ALL);
    }
}
