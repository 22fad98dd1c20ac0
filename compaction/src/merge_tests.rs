//! Merges against a naive model, and what damage does to them.

use std::collections::BTreeMap;

use annals_block::{BlockIdentity, EncodedBlock, MetricBlock, MetricBlockWriter};
use annals_model::{
    BlockContent, BlockId, ChunkAge, Day, LabelSet, Lsn, LsnRange, METRIC_NAME, Samples, SeriesKind,
    TenantNumber, TimeRange, Timestamp,
};
use annals_vfs::Sealed;
use proptest::prelude::*;

use crate::{MergeError, merge_metrics};

const DAY: Day = Day(20_000);

fn identity(sequence: u64) -> BlockIdentity {
    let id = BlockId { day: DAY, content: BlockContent::RawMetrics, sequence };
    BlockIdentity { tenant: TenantNumber(3), id }
}

fn open(encoded: &EncodedBlock) -> MetricBlock {
    let identity = BlockIdentity { tenant: TenantNumber(3), id: encoded.meta.id };
    MetricBlock::open(Sealed::new(encoded.bytes.clone()), identity, "a test's block").expect("intact")
}

/// Series by name and host, with the bits of samples and their starts by stamp.
type Content = BTreeMap<(LabelSet, SeriesKind), BTreeMap<i64, (u64, i64)>>;

/// Series number, minute of the day, value, start. Every third series is a gauge, a counter, a delta.
type Write = (u8, u16, i32, i64);

fn kind(series: u8) -> SeriesKind {
    match series % 3 {
        0 => SeriesKind::Gauge,
        1 => SeriesKind::Counter,
        _ => SeriesKind::Delta,
    }
}

fn labels(series: u8) -> LabelSet {
    let name = ["level", "count_total", "events"][usize::from(series % 3)];
    LabelSet::from_pairs([(METRIC_NAME, name.to_owned()), ("host", format!("h{}", series / 3))])
        .expect("valid")
}

fn stamp(minute: u16) -> i64 {
    DAY.range().start.0 + i64::from(minute % 1440 + 1) * 60_000
}

/// What is there after writes, one after the other.
fn oracle<'a>(writes: impl IntoIterator<Item = &'a Write>) -> Content {
    let mut content = Content::new();
    for &(series, minute, value, start) in writes {
        let samples = content.entry((labels(series), kind(series))).or_default();
        let value = f64::from(value);
        let held = samples.entry(stamp(minute)).or_insert((0f64.to_bits(), 0));
        *held = match kind(series) {
            SeriesKind::Delta => ((f64::from_bits(held.0) + value).to_bits(), 0),
            _ => (value.to_bits(), start),
        };
    }
    content
}

fn encode(sequence: u64, content: &Content) -> Option<EncodedBlock> {
    let lsns = LsnRange { after: Lsn(sequence * 10), through: Lsn(sequence * 10 + 10) };
    let mut writer = MetricBlockWriter::new(identity(sequence), lsns, 0, ChunkAge::Fresh);
    for ((labels, kind), samples) in content {
        let stamps: Vec<i64> = samples.keys().copied().collect();
        let values: Vec<f64> = samples.values().map(|&(bits, _)| f64::from_bits(bits)).collect();
        let starts: Vec<i64> = samples.values().map(|&(_, start)| start).collect();
        writer.add_series(labels, *kind, &stamps, &values, &starts).expect("in order");
    }
    writer.finish().expect("within limits")
}

fn content(block: &MetricBlock) -> Content {
    let mut content = Content::new();
    for ordinal in 0..block.series_count() {
        let mut read = Samples::default();
        block.read(ordinal, TimeRange::ALL, &mut read).expect("intact");
        read.start_times.resize(read.values.len(), 0);
        let held = read.values.into_iter().map(f64::to_bits).zip(read.start_times);
        let samples = read.timestamps.into_iter().zip(held).collect();
        let key = (block.labels(ordinal).expect("intact"), block.kind(ordinal).expect("intact"));
        assert!(content.insert(key, samples).is_none(), "a series appears twice");
    }
    content
}

fn merge(sequence: u64, blocks: &[MetricBlock]) -> Option<EncodedBlock> {
    merge_metrics(blocks, identity(sequence), Timestamp::MIN, ChunkAge::Merged, None).expect("mergeable")
}

fn writes() -> impl Strategy<Value = Vec<Vec<Write>>> {
    let write = (0..9u8, 0..40u16, -50..50i32, prop::sample::select(vec![0i64, 0, 7, 1_727_999_999_999]));
    prop::collection::vec(prop::collection::vec(write, 1..60), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_holds_what_all_writes_in_order_leave(flushes in writes()) {
        let blocks: Vec<_> =
            flushes.iter().zip(1..).map(|(flush, at)| open(&encode(at, &oracle(flush)).expect("some"))).collect();
        let merged = merge(99, &blocks).expect("some");
        let expected = oracle(flushes.iter().flatten());
        prop_assert_eq!(merged.meta.rows, expected.values().map(|samples| samples.len() as u64).sum::<u64>());
        prop_assert_eq!(merged.meta.lsns, LsnRange { after: Lsn(10), through: Lsn(10 * blocks.len() as u64 + 10) });
        prop_assert_eq!(merged.meta.level, 1);
        prop_assert_eq!(content(&open(&merged)), expected);
    }

    #[test]
    fn merging_neighbours_in_any_order_gives_the_same(flushes in writes(), order in any::<u64>()) {
        let mut blocks: Vec<_> =
            flushes.iter().zip(1..).map(|(flush, at)| open(&encode(at, &oracle(flush)).expect("some"))).collect();
        let all_at_once = merge(98, &blocks).expect("some");
        let mut order = order;
        for sequence in 100.. {
            if blocks.len() == 1 {
                break;
            }
            let at = (order % (blocks.len() as u64 - 1)) as usize;
            order /= 3;
            let merged = open(&merge(sequence, &blocks[at..at + 2]).expect("some"));
            blocks.splice(at..at + 2, [merged]);
        }
        prop_assert_eq!(content(&blocks[0]), content(&open(&all_at_once)));
        prop_assert_eq!(blocks[0].meta().time, open(&all_at_once).meta().time);
    }

    #[test]
    fn samples_at_or_below_the_floor_are_left_out(flushes in writes(), minute in 0..45u16) {
        let blocks: Vec<_> =
            flushes.iter().zip(1..).map(|(flush, at)| open(&encode(at, &oracle(flush)).expect("some"))).collect();
        let floor = Timestamp(stamp(minute));
        let mut expected = oracle(flushes.iter().flatten());
        expected.values_mut().for_each(|samples| samples.retain(|&stamp, _| stamp > floor.0));
        expected.retain(|_, samples| !samples.is_empty());
        let merged = merge_metrics(&blocks, identity(99), floor, ChunkAge::Merged, None).expect("mergeable");
        prop_assert_eq!(merged.is_none(), expected.is_empty());
        prop_assert_eq!(merged.map(|merged| content(&open(&merged))).unwrap_or_default(), expected);
    }
}

#[test]
fn bits_survive_a_merge() {
    let odd =
        [f64::from_bits(annals_model::STALE_NAN_BITS), f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE];
    let samples =
        odd.iter().enumerate().map(|(at, value)| (stamp(at as u16), (value.to_bits(), 0))).collect();
    let with_odd = Content::from([((labels(0), SeriesKind::Gauge), samples)]);
    let blocks = [encode(1, &oracle(&[(0, 2, 7, 0), (0, 9, 9, 5)])), encode(2, &with_odd)];
    let blocks = blocks.map(|encoded| open(&encoded.expect("some")));
    let mut expected = with_odd;
    expected.values_mut().for_each(|samples| {
        samples.insert(stamp(9), (9f64.to_bits(), 5));
    });
    assert_eq!(content(&open(&merge(3, &blocks).expect("some"))), expected);
}

#[test]
fn no_flipped_bit_of_an_input_vanishes_into_a_merge() {
    let (a, b) = (
        encode(1, &oracle(&[(0, 1, 1, 0), (1, 1, 2, 5), (2, 5, 3, 0)])),
        encode(2, &oracle(&[(2, 5, 4, 0)])),
    );
    let (a, b) = (a.expect("some"), b.expect("some"));
    let expected = content(&open(&merge(3, &[open(&a), open(&b)]).expect("some")));
    let (mut refused_open, mut refused_merge, mut harmless) = (0, 0, 0);
    for at in 0..a.bytes.len() * 8 {
        let mut bytes = a.bytes.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let Ok(damaged) = MetricBlock::open(Sealed::new(bytes), identity(1), "a test's block") else {
            refused_open += 1;
            continue;
        };
        match merge_metrics(&[damaged, open(&b)], identity(3), Timestamp::MIN, ChunkAge::Merged, None) {
            Ok(merged) => {
                // A part that a merge does not read, such as the label index: nothing is lost by it.
                assert_eq!(content(&open(&merged.expect("some"))), expected, "bit {at}");
                harmless += 1;
            }
            Err(MergeError::Damaged { block, .. }) => {
                assert_eq!(block, a.meta.id);
                refused_merge += 1;
            }
            Err(other) => panic!("bit {at}: {other}"),
        }
    }
    assert!(refused_open > 0 && refused_merge > 0, "{refused_open} {refused_merge} {harmless}");
}

#[test]
fn blocks_of_another_day_or_out_of_order_are_refused() {
    let blocks: Vec<_> =
        (1..4).map(|at| open(&encode(at, &oracle(&[(0, 1, 1, 0)])).expect("some"))).collect();
    let refused =
        merge_metrics(&[&blocks[1], &blocks[0]], identity(9), Timestamp::MIN, ChunkAge::Merged, None);
    assert_eq!(refused.err(), Some(MergeError::NotMergeable { block: blocks[0].meta().id }));
    let mut other_day = identity(9);
    other_day.id.day = Day(DAY.0 + 1);
    let refused = merge_metrics(&[&blocks[0]], other_day, Timestamp::MIN, ChunkAge::Merged, None);
    assert_eq!(refused.err(), Some(MergeError::NotMergeable { block: blocks[0].meta().id }));
    let none: [MetricBlock; 0] = [];
    assert_eq!(merge_metrics(&none, identity(9), Timestamp::MIN, ChunkAge::Merged, None), Ok(None));
}

#[test]
fn a_series_that_changes_its_kind_is_refused_by_place() {
    let samples = BTreeMap::from([(stamp(1), (1f64.to_bits(), 0))]);
    let as_gauge = Content::from([((labels(0), SeriesKind::Gauge), samples.clone())]);
    let mut as_delta = Content::from([((labels(0), SeriesKind::Delta), samples.clone())]);
    as_delta.insert((labels(1), SeriesKind::Counter), samples);
    let blocks = [encode(1, &as_gauge), encode(2, &as_delta)].map(|encoded| open(&encoded.expect("some")));
    let refused = merge_metrics(&blocks, identity(9), Timestamp::MIN, ChunkAge::Merged, None)
        .expect_err("kinds conflict");
    // `count_total` sorts before `level`.
    assert_eq!(refused, MergeError::KindConflict { block: blocks[1].meta().id, series: 1 });
}
