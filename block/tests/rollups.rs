//! Blocks of rollups, through the public door.

mod common;

use annals_block::{BlockError, EncodedBlock, MetricBlock, RollupBlock, RollupBlockWriter, WriteError};
use annals_model::{
    BlockContent, DAY_MS, LabelSet, Matcher, Rollup, STALE_NAN_BITS, SeriesKind, TimeRange, Timestamp,
    roll_up,
};
use annals_vfs::Sealed;
use common::{DAY, LSNS, Rng, assert_golden, identity, other_identities};

const TIERS: [BlockContent; 2] = [BlockContent::Rollup5m, BlockContent::Rollup1h];

struct Series {
    labels: LabelSet,
    kind: SeriesKind,
    rollups: Vec<Rollup>,
}

/// Series of every kind, regular and not, with NaN, infinities and markers of the series' end.
fn series(rng: &mut Rng, content: BlockContent, count: u64) -> Vec<Series> {
    let window_ms = content.window_ms().expect("a tier");
    let kinds = [SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta];
    (0..count)
        .map(|number| {
            let kind = kinds[(number % 3) as usize];
            let labels = format!("{number:05}");
            let labels = LabelSet::from_pairs([("__name__", "m"), ("n", labels.as_str())]).expect("valid");
            let (step, odd) = (1 + rng.below(3_600_000), rng.below(3) == 0);
            let (mut stamps, mut values) = (Vec::new(), Vec::new());
            let mut at = DAY.range().start.0;
            while at < DAY.end().0 && stamps.len() < 400 {
                at += 1 + rng.below(step) as i64;
                stamps.push(at.min(DAY.end().0));
                values.push(match rng.below(12) {
                    0 if odd && kind != SeriesKind::Delta => f64::from_bits(STALE_NAN_BITS),
                    1 if odd && kind != SeriesKind::Delta => f64::NAN,
                    2 if odd => -0.0,
                    3 if odd && kind == SeriesKind::Gauge => f64::INFINITY,
                    _ => rng.below(1 << 20) as f64 / 8.0,
                });
            }
            stamps.dedup();
            values.truncate(stamps.len());
            let mut rollups = Vec::new();
            roll_up(kind, window_ms, &stamps, &values, &[], &mut rollups);
            Series { labels, kind, rollups }
        })
        .collect()
}

fn write(content: BlockContent, series: &[Series]) -> EncodedBlock {
    let mut writer = RollupBlockWriter::new(identity(content), LSNS);
    for one in series {
        writer.add_series(&one.labels, one.kind, &one.rollups).expect("valid");
    }
    writer.finish().expect("small").expect("not empty")
}

fn open(content: BlockContent, bytes: &[u8]) -> Result<RollupBlock, BlockError> {
    RollupBlock::open(Sealed::new(bytes.to_vec()), identity(content), "test.blk")
}

/// By bits: NaN is no other NaN, and -0.0 is not 0.0.
fn bits(rollups: &[Rollup]) -> Vec<String> {
    let bits = |window: &Rollup| {
        let all = window.all.map(|all| {
            let values = [all.sum, all.sum_low, all.min, all.max, all.first, all.last, all.correction];
            (all.count, all.first_time, all.last_time, all.resets, values.map(f64::to_bits))
        });
        format!("{} {:?} {all:?}", window.end, window.stale_at)
    };
    rollups.iter().map(bits).collect()
}

fn read(block: &RollupBlock, ordinal: u32, range: TimeRange) -> (Vec<Rollup>, Vec<TimeRange>) {
    let (mut rollups, mut damaged) = (Vec::new(), Vec::new());
    block.read_lossy(ordinal, range, &mut rollups, &mut |range, _| damaged.push(range));
    (rollups, damaged)
}

#[test]
fn windows_come_back_bit_for_bit() {
    let mut rng = Rng(7);
    for content in TIERS {
        let series = series(&mut rng, content, 60);
        let encoded = write(content, &series);
        assert_eq!(encoded, write(content, &series), "the same input gives the same bytes");
        let block = open(content, &encoded.bytes).expect("ours");
        assert_eq!(block.verify(), []);
        assert_eq!(*block.meta(), encoded.meta);
        assert_eq!(encoded.meta.rows, series.iter().map(|one| one.rollups.len() as u64).sum::<u64>());
        for (ordinal, one) in (0..).zip(&series) {
            assert_eq!(block.labels(ordinal).expect("whole"), one.labels);
            assert_eq!(block.kind(ordinal).expect("whole"), one.kind);
            let found = block.find(&[Matcher::equal("n", one.labels.get("n"))]).expect("whole");
            assert_eq!(found.iter().collect::<Vec<_>>(), [ordinal]);
            let (all, damaged) = read(&block, ordinal, TimeRange::ALL);
            assert_eq!((bits(&all), damaged.len()), (bits(&one.rollups), 0));
            let start = DAY.range().start.0 + rng.below(DAY_MS as u64) as i64;
            let range = TimeRange::new(Timestamp(start), Timestamp(start + 4_000_000));
            let within: Vec<Rollup> =
                one.rollups.iter().copied().filter(|window| range.contains(Timestamp(window.end))).collect();
            assert_eq!(bits(&read(&block, ordinal, range).0), bits(&within));
        }
    }
}

#[test]
fn rollups_cannot_be_read_as_samples_nor_samples_as_rollups() {
    let encoded = write(BlockContent::Rollup1h, &series(&mut Rng(1), BlockContent::Rollup1h, 3));
    let as_raw = MetricBlock::open(Sealed::new(encoded.bytes.clone()), identity(BlockContent::Rollup1h), "x");
    assert!(matches!(as_raw, Err(BlockError::Corrupt { .. })), "{as_raw:?}");
    let other_tier = open(BlockContent::Rollup5m, &encoded.bytes);
    assert!(matches!(other_tier, Err(BlockError::WrongIdentity { .. })), "{other_tier:?}");
    for other in other_identities(identity(BlockContent::Rollup1h)) {
        assert!(RollupBlock::open(Sealed::new(encoded.bytes.clone()), other, "x").is_err(), "{other:?}");
    }
}

#[test]
fn windows_of_another_tier_are_refused() {
    let labels = LabelSet::from_pairs([("__name__", "m")]).expect("valid");
    let mut rollups = Vec::new();
    let stamp = DAY.range().start.0 + 1;
    roll_up(SeriesKind::Gauge, 300_000, &[stamp], &[1.0], &[], &mut rollups);
    let mut writer = RollupBlockWriter::new(identity(BlockContent::Rollup1h), LSNS);
    let refused = writer.add_series(&labels, SeriesKind::Gauge, &rollups);
    assert!(matches!(refused, Err(WriteError::OutsideDay { .. })), "{refused:?}");
    assert_eq!(writer.finish().expect("nothing"), None);
}

#[test]
fn every_flipped_bit_is_found() {
    let series = series(&mut Rng(3), BlockContent::Rollup1h, 4);
    let encoded = write(BlockContent::Rollup1h, &series);
    for at in 0..encoded.bytes.len() {
        let mut bytes = encoded.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let Ok(block) = open(BlockContent::Rollup1h, &bytes) else { continue };
        assert!(!block.verify().is_empty() || *block.meta() != encoded.meta, "byte {at}");
        for (ordinal, one) in (0..block.series_count().min(4)).zip(&series) {
            let (found, damaged) = read(&block, ordinal, TimeRange::ALL);
            assert!(!damaged.is_empty() || bits(&found) == bits(&one.rollups), "byte {at}");
        }
    }
}

#[test]
fn the_bytes_are_held() {
    for content in TIERS {
        let encoded = write(content, &series(&mut Rng(11), content, 12));
        assert_golden(&format!("rollups-{}-v1.blk", content.word()), &encoded.bytes);
    }
}
