//! How fast a block is scanned by one thread: samples decoded and folded, and whole chunks by their aggregates.

use annals::{
    BlockContent, BlockId, ChunkAge, Lsn, LsnRange, Piece, Pieces, Samples, TenantNumber, TimeRange, Whole,
};
use annals_benches::cpu_time;
use annals_benches::series::{SETS, Series};
use annals_benches::sets::START;
use annals_block::{BlockIdentity, MetricBlock, MetricBlockWriter};

/// Seconds that a scan runs at least.
const SECONDS_MIN: f64 = 0.5;

pub(crate) fn run() {
    for (name, make) in SETS.iter().filter(|(name, _)| matches!(*name, "cpu" | "node_exporter")) {
        let Some(mut series) = make() else {
            println!("scan: SKIPPED {name}: its files are not there");
            continue;
        };
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        for (form, age) in [("hot", ChunkAge::Fresh), ("warm", ChunkAge::Merged), ("cold", ChunkAge::Old)] {
            let block = block(&series, age, name);
            let count = block.meta().rows as f64;
            let mut samples = Samples::default();
            let decoded = per_second(count, || {
                let mut all = (0.0, f64::INFINITY, f64::NEG_INFINITY);
                for ordinal in 0..block.series_count() {
                    samples.clear();
                    block.read(ordinal, TimeRange::ALL, &mut samples).expect("undamaged");
                    all = fold(all, &samples.values);
                }
                all.0
            });
            let alone = per_second(count, || {
                let mut all = (0.0, f64::INFINITY, f64::NEG_INFINITY);
                for ordinal in 0..block.series_count() {
                    samples.clear_values();
                    let mut damage = |_, error| panic!("{error}");
                    block.read_values_lossy(ordinal, TimeRange::ALL, &mut samples, &mut damage);
                    all = fold(all, &samples.values);
                }
                all.0
            });
            let mut pieces = Pieces::default();
            let whole = per_second(count, || {
                let (mut sum, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
                for ordinal in 0..block.series_count() {
                    pieces.clear();
                    let mut damage = |_, error| panic!("{error}");
                    block.read_pieces(
                        ordinal,
                        TimeRange::ALL,
                        Whole::of(&|_| true),
                        &mut pieces,
                        &mut damage,
                    );
                    for piece in &pieces.pieces {
                        if let Piece::Whole(all) = piece {
                            (sum, min, max) = (sum + all.sum, f64::min(min, all.min), f64::max(max, all.max));
                        }
                    }
                }
                sum + min + max
            });
            println!(
                "scan: {name:<14} {form}: sum, min, max over decoded values {:.2} G samples/s; with their timestamps {:.2}; by whole chunks {:.0}",
                alone / 1e9,
                decoded / 1e9,
                whole / 1e9
            );
        }
    }
}

fn block(series: &[Series], age: ChunkAge, name: &str) -> MetricBlock {
    let day = START.saturating_add(1).day();
    let id = BlockId { day, content: BlockContent::RawMetrics, sequence: 1 };
    let identity = BlockIdentity { tenant: TenantNumber(1), id };
    let mut writer = MetricBlockWriter::new(identity, LsnRange { after: Lsn(0), through: Lsn(1) }, 0, age);
    for one in series {
        writer.add_series(&one.labels, one.kind, &one.timestamps, &one.values, &[]).expect("valid series");
    }
    let bytes = writer.finish().expect("small enough").expect("not empty").bytes;
    MetricBlock::open(annals::vfs::Sealed::new(bytes), identity, name).expect("our own")
}

/// Sum, least and greatest, in eight lanes: one running value waits for each operation before the next.
fn fold((sum, min, max): (f64, f64, f64), values: &[f64]) -> (f64, f64, f64) {
    let (mut sums, mut mins, mut maxs) = ([0.0; 8], [min; 8], [max; 8]);
    let (groups, rest) = values.as_chunks::<8>();
    for group in groups {
        for lane in 0..8 {
            sums[lane] += group[lane];
            mins[lane] = if group[lane] < mins[lane] { group[lane] } else { mins[lane] };
            maxs[lane] = if group[lane] > maxs[lane] { group[lane] } else { maxs[lane] };
        }
    }
    (
        sum + sums.iter().chain(rest).sum::<f64>(),
        mins.iter().chain(rest).copied().fold(min, f64::min),
        maxs.iter().chain(rest).copied().fold(max, f64::max),
    )
}

/// The best of several passes, by the CPU time of this thread.
fn per_second(samples: f64, mut pass: impl FnMut() -> f64) -> f64 {
    let (mut best, mut all) = (f64::MAX, 0.0);
    while all < SECONDS_MIN {
        let started = cpu_time::of_thread().unwrap_or(0.0);
        assert!(std::hint::black_box(pass()).is_finite());
        let seconds = cpu_time::of_thread().unwrap_or(0.0) - started;
        (best, all) = (f64::min(best, seconds), all + seconds.max(1e-6));
    }
    samples / best
}
