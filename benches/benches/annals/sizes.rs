//! Whole blocks: bytes a sample with timestamps, index and all, by section, at each age.

use annals::{BlockContent, BlockId, ChunkAge, Lsn, LsnRange, TenantNumber, TimeRange};
use annals_benches::cpu_time;
use annals_benches::series::{SETS, Series};
use annals_benches::sets::START;
use annals_block::{BlockIdentity, EncodedBlock, MetricBlock, MetricBlockWriter};

pub(crate) fn run() {
    for (name, make) in SETS {
        let Some(mut series) = make() else {
            println!("sizes: SKIPPED {name}: its files are not there");
            continue;
        };
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        for (form, age) in [("fresh", ChunkAge::Fresh), ("merged", ChunkAge::Merged), ("old", ChunkAge::Old)]
        {
            measure(name, form, age, &series);
        }
    }
}

fn measure(name: &str, form: &str, age: ChunkAge, series: &[Series]) {
    let id = BlockId { day: START.saturating_add(1).day(), content: BlockContent::RawMetrics, sequence: 1 };
    let identity = BlockIdentity { tenant: TenantNumber(1), id };
    let samples: usize = series.iter().map(|one| one.values.len()).sum();
    let seconds = || cpu_time::of_thread().unwrap_or(0.0);
    let started = seconds();
    let mut writer = MetricBlockWriter::new(identity, LsnRange { after: Lsn(0), through: Lsn(1) }, 0, age);
    for one in series {
        writer.add_series(&one.labels, one.kind, &one.timestamps, &one.values, &[]).expect("valid series");
    }
    let EncodedBlock { bytes, .. } = writer.finish().expect("small enough").expect("not empty");
    let encode_s = seconds() - started;
    let file_bytes = bytes.len();
    let block = MetricBlock::open(annals::vfs::Sealed::new(bytes), identity, name).expect("our own");
    let mut read = annals::Samples::default();
    let mut best = f64::MAX;
    let passes = 1 + 20_000_000 / samples;
    for _ in 0..3 {
        let started = seconds();
        for ordinal in (0..passes).flat_map(|_| 0..block.series_count()) {
            read.clear();
            block.read(ordinal, TimeRange::ALL, &mut read).expect("undamaged");
        }
        best = best.min((seconds() - started) / passes as f64);
    }
    println!(
        "sizes: {name:<14} {form:<7} {:.3} bytes/sample all-in; write {:.0} M samples/s, read with timestamps {:.0} M samples/s",
        file_bytes as f64 / samples as f64,
        samples as f64 / encode_s / 1e6,
        samples as f64 / best / 1e6
    );
    let sections: Vec<String> = block.sections().iter().map(|s| format!("{} {}", s.name, s.bytes)).collect();
    println!("sizes:   {}", sections.join(", "));
    let codecs = block.codecs().expect("undamaged");
    let codecs: Vec<String> = codecs
        .iter()
        .map(|c| format!("{} x{} {:.3}", c.codec, c.chunks, c.bytes as f64 / c.samples as f64))
        .collect();
    println!("sizes:   {}", codecs.join(", "));
}
