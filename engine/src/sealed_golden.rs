//! A sealed block of metrics, stored for ever: real keys, a real cipher, and every section that a block has.

use annals_block::{BlockIdentity, EncodedBlock, MetricBlock, MetricBlockWriter};
use annals_model::{
    BlockContent, BlockId, ChunkAge, Day, LabelSet, Lsn, LsnRange, Samples, SeriesKind, TenantNumber,
    TimeRange,
};
use annals_vfs::{Sealed, SimEntropy};

use crate::keys::TenantKeys;

const IDENTITY: BlockIdentity = BlockIdentity {
    tenant: TenantNumber(5),
    id: BlockId { day: Day(16_572), content: BlockContent::RawMetrics, sequence: 42 },
};

fn block() -> EncodedBlock {
    let seal = TenantKeys::of_tests(true).seal_block(BlockContent::RawMetrics, &SimEntropy::new(3));
    let seal = seal.expect("drawn").expect("sealed");
    let lsns = LsnRange { after: Lsn(3), through: Lsn(9) };
    let mut writer = MetricBlockWriter::new(IDENTITY, lsns, 1, ChunkAge::Merged).seal_with(seal.with());
    let start = IDENTITY.id.day.range().start.0;
    for (name, values) in [("a", vec![1.0, 2.5, -0.0]), ("b", (0..300).map(f64::from).collect())] {
        let labels = LabelSet::from_pairs([("__name__", name), ("job", "web")]).expect("valid");
        let stamps: Vec<i64> = (1..=values.len() as i64).map(|i| start + i * 10_000).collect();
        writer.add_series(&labels, SeriesKind::Gauge, &stamps, &values, &[]).expect("valid");
    }
    writer.finish().expect("small").expect("not empty")
}

#[test]
fn a_sealed_block_is_written_as_it_was_and_opens_for_ever() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/metrics-sealed-v1.blk");
    let encoded = block();
    if std::env::var_os("ANNALS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &encoded.bytes).expect("writable");
    }
    let stored = std::fs::read(&path).expect("golden files are part of the repository");
    assert!(stored == encoded.bytes, "a new format needs a new version, and this file must still open");
    let keys = TenantKeys::of_tests(true).of_blocks(BlockContent::RawMetrics).expect("sealed");
    let opened =
        MetricBlock::open(Sealed::new(stored), IDENTITY, "golden").and_then(|b| b.unlock(Some(&*keys)));
    let opened = opened.expect("ours");
    assert_eq!(opened.verify(), vec![]);
    let mut samples = Samples::default();
    opened.read(1, TimeRange::ALL, &mut samples).expect("sound");
    assert_eq!(samples.values, (0..300).map(f64::from).collect::<Vec<_>>());
    assert_eq!(opened.labels(0).expect("sound").get("__name__"), "a");
}
