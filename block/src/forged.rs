//! Blocks whose checks fit but whose content does not: no reader may panic, hang or take memory for them.

use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::schema::{FieldSchema, FieldType, KindSchema, MetricSchema};
use annals_model::{
    BlockContent, BlockId, ChunkAge, Day, FieldValue, LabelSet, Lsn, LsnRange, MatchOp, Matcher, Pseudonym,
    Samples, SeriesKind, SignalRow, SiteName, TenantNumber, TimeRange, Timestamp,
};
use annals_vfs::Sealed;

use crate::container::{Container, SectionKind};
use crate::schemas::encode_schemas;
use crate::testing::Rng;
use crate::{
    BlockIdentity, MetricBlock, MetricBlockWriter, SignalBlock, SignalBlockWriter, SignalCounts, WriteError,
};

const FORGERIES: u64 = 150;

fn identity(content: BlockContent) -> BlockIdentity {
    BlockIdentity { tenant: TenantNumber(9), id: BlockId { day: Day(20), content, sequence: 1 } }
}

const LSNS: LsnRange = LsnRange { after: Lsn(0), through: Lsn(1) };

/// Changes a few bytes, or cuts, or inserts, or repeats.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.next() % 3 {
        let at = (rng.next() % (bytes.len() as u64 + 1)) as usize;
        let byte = [0, 1, 0x7f, 0x80, 0xff, rng.next() as u8][(rng.next() % 6) as usize];
        match rng.next() % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 => bytes.extend_from_within(at..),
            _ => {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
        }
    }
}

fn metric_block() -> Vec<u8> {
    let mut writer = MetricBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 0, ChunkAge::Fresh);
    let start = Day(20).range().start.0;
    for series in 0..40i64 {
        let labels =
            [("a", format!("{:02}", series / 2)), ("b", (series % 2).to_string()), ("c", "x".into())];
        let labels = LabelSet::from_pairs(labels.iter().map(|(n, v)| (*n, v))).expect("valid");
        let jitter = if series % 2 == 0 { 1 } else { series };
        let stamps: Vec<i64> = (1..=3 + series * 40).map(|i| start + i * 1000 + i % jitter).collect();
        let values: Vec<f64> = stamps.iter().map(|t| ((t ^ series) % 100) as f64 / 4.0).collect();
        let has_starts = |_: &&i64| series % 3 == 0;
        let starts: Vec<i64> =
            stamps.iter().filter(has_starts).map(|t| start - series + t / 50_000).collect();
        writer.add_series(&labels, SeriesKind::Gauge, &stamps, &values, &starts).expect("valid");
    }
    writer.finish().expect("small").expect("not empty").bytes
}

fn use_metrics(bytes: Vec<u8>) {
    let Ok(block) = MetricBlock::open(Sealed::new(bytes), identity(BlockContent::RawMetrics), "forged")
    else {
        return;
    };
    for (name, op, value) in [
        ("a", MatchOp::Regex, "0.*"),
        ("b", MatchOp::NotEqual, "1"),
        ("b", MatchOp::Equal, "2"),
        ("z", MatchOp::Equal, ""),
    ] {
        let _ = block.find(&[Matcher::new(name, op, value).expect("valid")]);
    }
    let _ = (block.label_names().map(|all| all.len()), block.label_values("b").map(|all| all.len()));
    let _ = (block.codecs(), block.column_count(), block.verify());
    for ordinal in 0..60 {
        let mut samples = Samples::default();
        let range = TimeRange::new(Timestamp(0), Day(20).range().end);
        block.read_lossy(ordinal, range, &mut samples, &mut |_, _| ());
        let Samples { timestamps, values, start_times, .. } = samples;
        assert_eq!(timestamps.len(), values.len());
        assert!(start_times.is_empty() || start_times.len() == values.len());
        let _ = (block.labels(ordinal), block.kind(ordinal), block.samples_in(ordinal, TimeRange::ALL));
    }
}

#[test]
fn forged_metric_indexes_never_panic() {
    let bytes = metric_block();
    let content = BlockContent::RawMetrics;
    let container = Container::open(Sealed::new(bytes), identity(content), content, "ours").expect("ours");
    let mut rng = Rng(1);
    let kinds = [
        SectionKind::Columns,
        SectionKind::Symbols,
        SectionKind::Labels,
        SectionKind::Series,
        SectionKind::Checks,
        SectionKind::Values,
        SectionKind::Stamps,
        SectionKind::Aggregates,
        SectionKind::Pages,
        SectionKind::Starts,
        SectionKind::Begun,
    ];
    for kind in kinds {
        for _ in 0..FORGERIES {
            use_metrics(container.forge(kind, |bytes| damage(&mut rng, bytes)));
        }
    }
}

fn signal_block() -> Vec<u8> {
    let field = |name: &str, field_type| FieldSchema { name: name.into(), field_type, required: false };
    let names: Vec<Arc<str>> = vec!["up".into(), "down".into()];
    let kind = KindSchema {
        name: "k".into(),
        fields: vec![
            field("e", FieldType::Enumeration(names.clone())),
            field("i", FieldType::Integer { min: 0, max: 9 }),
            field("f", FieldType::Flags(names.clone())),
            field("p", FieldType::Pseudonym),
            field("c", FieldType::ChangeDigest),
        ],
        metrics: vec![MetricSchema::Durations {
            name: "m".into(),
            labels: vec![0],
            field: 1,
            bounds_ms: vec![1, 2],
        }],
    };
    let beat = KindSchema { name: "b".into(), fields: vec![], metrics: vec![] };
    let kinds = vec![Arc::new(kind), Arc::new(beat)];
    let mut writer = SignalBlockWriter::new(identity(BlockContent::RawSignals), LSNS, 0, kinds);
    let mut rng = Rng(4);
    for at in 0..300i64 {
        let pseudonym = Pseudonym { hash: [(rng.next() % 9) as u8; 16], length: 3 };
        let fields = vec![
            Some(FieldValue::Name(names[(rng.next() % 2) as usize].clone())),
            (at % 3 > 0).then_some(FieldValue::Integer(at % 10)),
            Some(FieldValue::Flags(at as u64 % 4)),
            Some(FieldValue::Pseudonym(pseudonym)),
            (at % 5 == 0).then_some(FieldValue::Change { before: pseudonym, after: pseudonym }),
        ];
        let beat = at % 4 == 0;
        let row = SignalRow {
            kind: if beat { "b" } else { "k" }.into(),
            site: SiteName::new(if at % 7 == 0 { "shop" } else { "blog" }).expect("valid"),
            time: Timestamp(Day(20).range().start.0 + 1 + at * 1001),
            fields: if beat { vec![] } else { fields },
        };
        writer.add(&row).expect("valid");
    }
    writer.finish().expect("small").expect("not empty").bytes
}

fn use_signals(bytes: Vec<u8>) {
    let Ok(block) = SignalBlock::open(Sealed::new(bytes), identity(BlockContent::RawSignals), "forged")
    else {
        return;
    };
    let _ = (block.kinds().map(<[_]>::len), block.rows_in(TimeRange::ALL), block.verify());
    let matchers = [Matcher::equal("kind", "k"), Matcher::equal("site", "shop")];
    for matchers in [&matchers[..], &[]] {
        let _ = block.scan(TimeRange::ALL, matchers).map(Iterator::count);
        let _ = block.count(TimeRange::ALL, matchers, &mut SignalCounts::default());
    }
}

#[test]
fn forged_signal_indexes_never_panic() {
    let content = BlockContent::RawSignals;
    let sealed = Sealed::new(signal_block());
    let container = Container::open(sealed, identity(content), content, "ours").expect("ours");
    let mut rng = Rng(2);
    for kind in [SectionKind::Schemas, SectionKind::Symbols, SectionKind::Groups, SectionKind::Rows] {
        for _ in 0..FORGERIES {
            use_signals(container.forge(kind, |bytes| damage(&mut rng, bytes)));
        }
    }
}

/// Data whose parts are checked by themselves: the directory's checks are made to fit as well.
#[test]
fn forged_data_never_panics() {
    let content = BlockContent::RawSignals;
    let ours = signal_block();
    let container =
        Container::open(Sealed::new(ours.clone()), identity(content), content, "ours").expect("ours");
    let mut rng = Rng(3);
    for _ in 0..FORGERIES * 3 {
        // One group: its bytes may change but not their number, and its check ends the directory.
        let forged = container.forge(SectionKind::Rows, |bytes| {
            for _ in 0..1 + rng.next() % 4 {
                let at = (rng.next() % bytes.len() as u64) as usize;
                bytes[at] = [0, 0x7f, 0x80, 0xff, rng.next() as u8][(rng.next() % 5) as usize];
            }
        });
        let damaged =
            Container::open(Sealed::new(forged), identity(content), content, "x").expect("checks fit");
        let rows = damaged.section(SectionKind::Rows).expect("checks fit");
        let check = damaged.part_check(SectionKind::Rows, 0, &rows);
        use_signals(damaged.forge(SectionKind::Groups, |bytes| {
            let end = bytes.len();
            bytes[end - 4..].copy_from_slice(&check.to_le_bytes());
        }));
    }
    use_signals(ours);

    let content = BlockContent::RawMetrics;
    let mut writer = MetricBlockWriter::new(identity(content), LSNS, 0, ChunkAge::Merged);
    let start = Day(20).range().start.0;
    let stamps: Vec<i64> = (1..900).map(|i| start + i * 700 + i % 3).collect();
    let values: Vec<f64> =
        stamps.iter().map(|t| if t % 97 == 0 { f64::NAN } else { (t % 100) as f64 }).collect();
    let labels = LabelSet::from_pairs([("a", "b")]).expect("valid");
    writer.add_series(&labels, SeriesKind::Gauge, &stamps, &values, &[]).expect("valid");
    let ours = writer.finish().expect("small").expect("not empty").bytes;
    let container = Container::open(Sealed::new(ours), identity(content), content, "ours").expect("ours");
    // One chunk, one column and one page: their checks are all there is in `checks`, and the end of the others.
    for (data, directory) in [
        (SectionKind::Values, SectionKind::Checks),
        (SectionKind::Stamps, SectionKind::Columns),
        (SectionKind::Aggregates, SectionKind::Pages),
    ] {
        for _ in 0..FORGERIES * 3 {
            let forged = container.forge(data, |bytes| {
                for _ in 0..1 + rng.next() % 4 {
                    let at = (rng.next() % bytes.len() as u64) as usize;
                    bytes[at] = [0, 0x7f, 0x80, 0xff, rng.next() as u8][(rng.next() % 5) as usize];
                }
            });
            let damaged =
                Container::open(Sealed::new(forged), identity(content), content, "x").expect("checks fit");
            let check = damaged.part_check(data, 0, &damaged.section(data).expect("checks fit"));
            use_metrics(damaged.forge(directory, |bytes| {
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&check.to_le_bytes());
            }));
        }
    }
}

/// Checks that fit, tables that can be read, and a series that its labels do not find.
#[test]
fn postings_that_are_not_those_of_the_series_are_damage() {
    let content = BlockContent::RawMetrics;
    let mut writer = MetricBlockWriter::new(identity(content), LSNS, 0, ChunkAge::Fresh);
    for value in ["b", "c"] {
        let labels = LabelSet::from_pairs([("a", value)]).expect("valid");
        writer
            .add_series(&labels, SeriesKind::Gauge, &[Day(20).range().start.0 + 1], &[1.0], &[])
            .expect("valid");
    }
    let ours = writer.finish().expect("small").expect("not empty").bytes;
    let container = Container::open(Sealed::new(ours), identity(content), content, "ours").expect("ours");
    // The last posting: one run, which starts after a gap of one and is one series long.
    let forged = container.forge(SectionKind::Labels, |bytes| {
        assert_eq!(bytes[bytes.len() - 3..], [3, 1, 0]);
        let gap = bytes.len() - 2;
        bytes[gap] = 0;
    });
    let block = MetricBlock::open(Sealed::new(forged), identity(content), "forged").expect("checks fit");
    let found = block.verify();
    assert!(
        matches!(&found[..], [one] if one.what == "its postings are not those of the series"),
        "{found:?}"
    );
    assert_eq!(found[0].section, "labels");
}

/// Each takes a few bytes of the file and would take a thousand times as many in memory.
#[test]
fn what_unfolds_beyond_its_file_is_refused_before_memory_is_taken() {
    let content = BlockContent::RawMetrics;
    let open = |bytes| MetricBlock::open(Sealed::new(bytes), identity(content), "forged");
    let container =
        Container::open(Sealed::new(metric_block()), identity(content), content, "ours").expect("ours");

    // Ten thousand symbols of 2 KB, each sharing all but six digits with the one before.
    let shared = container.forge(SectionKind::Symbols, |bytes| {
        bytes.clear();
        bytes.put_varint(10_000);
        for number in 0..10_000 {
            let text = format!("{}{number:06}", "x".repeat(2_000));
            bytes.put_varint(if number == 0 { 0 } else { 2_000 });
            bytes.put_blob(if number == 0 { text.as_bytes() } else { &text.as_bytes()[2_000..] });
        }
    });
    let found = open(shared).expect("the frame fits").find(&[]).expect_err("refused").to_string();
    assert!(found.contains("symbols are longer than allowed"), "{found}");

    // A zstd frame of nothing but zeros.
    let plain = vec![0u8; 64 << 20];
    let frame = crate::squeeze::Squeezer::new().repeats(&plain).expect("memory for a frame");
    assert!(frame.len() < 8 << 10, "what it takes in the file: {}", frame.len());
    let packed = container.forge_packed(SectionKind::Labels, &frame, plain.len());
    let found = open(packed).expect_err("refused").to_string();
    assert!(found.contains("a section that no version of the format has"), "{found}");

    // A footer that counts more series than the table has bytes for: a set of them would take half a gigabyte.
    let mut counted = container.forge(SectionKind::Series, |_| ());
    let end = counted.len();
    counted[end - 32..end - 24].copy_from_slice(&u64::from(u32::MAX).to_le_bytes());
    let counted = refooted(&container, counted);
    let found = open(counted).expect_err("refused").to_string();
    assert!(found.contains("more series than its table has room for"), "{found}");
}

/// The same block with the footer's check recomputed.
fn refooted(container: &Container, mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len();
    let footer_bytes = Cursor::new(&bytes[end - 12..]).u32().expect("a trailer") as usize + 12;
    let check = container.footer_check(&bytes[end - footer_bytes..end - 8]);
    bytes[end - 8..end - 4].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// Each row takes memory for every field of its kind: a kind of ten thousand absent fields is refused.
#[test]
fn kinds_of_too_many_fields_are_refused_by_writer_and_reader() {
    let field = |number: usize| FieldSchema {
        name: format!("f{number}").into(),
        field_type: FieldType::HttpStatus,
        required: false,
    };
    let kind =
        |fields| KindSchema { name: "k".into(), fields: (0..fields).map(field).collect(), metrics: vec![] };
    let row = |fields: usize| SignalRow {
        kind: "k".into(),
        site: SiteName::new("shop").expect("valid"),
        time: Timestamp(Day(20).range().start.0 + 1),
        fields: vec![None; fields],
    };
    let identity = identity(BlockContent::RawSignals);
    let write = |fields| {
        let mut writer = SignalBlockWriter::new(identity, LSNS, 0, vec![Arc::new(kind(fields))]);
        writer.add(&row(fields)).and_then(|()| writer.finish())
    };
    let ours = write(64).expect("as many as are allowed").expect("not empty").bytes;
    let refused = write(65).expect_err("one too many");
    assert_eq!(refused, WriteError::TooMany { what: "fields of a kind", max: 64 });
    let container =
        Container::open(Sealed::new(ours), identity, BlockContent::RawSignals, "ours").expect("ours");
    let forged =
        container.forge(SectionKind::Schemas, |bytes| *bytes = encode_schemas(&[Arc::new(kind(65))]));
    let block = SignalBlock::open(Sealed::new(forged), identity, "forged").expect("the frame fits");
    let found = block.kinds().map(<[_]>::len).expect_err("refused").to_string();
    assert!(found.contains("a schema cannot be read"), "{found}");
}

/// Labels of two kilobytes that hardly differ: the index would compress by more than a reader believes.
#[test]
fn an_index_that_hardly_differs_is_written_so_that_it_can_be_read() {
    let mut writer = MetricBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 0, ChunkAge::Fresh);
    let stamps = [Day(20).range().start.0 + 1];
    for series in 0..2_000 {
        let value = format!("{}{series:06}{}", "x".repeat(1_000), "y".repeat(1_000));
        let labels = LabelSet::from_pairs([("a", value)]).expect("valid");
        writer.add_series(&labels, SeriesKind::Gauge, &stamps, &[1.0], &[]).expect("valid");
    }
    let bytes = writer.finish().expect("small").expect("not empty").bytes;
    let block =
        MetricBlock::open(Sealed::new(bytes), identity(BlockContent::RawMetrics), "ours").expect("a block");
    assert_eq!(block.verify(), []);
    assert_eq!(block.label_values("a").expect("readable").len(), 2_000);
}

/// A block of one series with one chunk of 1024 samples per value given, all of equal size.
fn chunks_of(tenant: TenantNumber, values: &[f64]) -> (BlockIdentity, Vec<u8>) {
    let identity = BlockIdentity { tenant, ..identity(BlockContent::RawMetrics) };
    let mut writer = MetricBlockWriter::new(identity, LSNS, 0, ChunkAge::Fresh);
    let start = Day(20).range().start.0;
    let stamps: Vec<i64> = (1..=1024 * values.len() as i64).map(|i| start + i).collect();
    let values: Vec<f64> = values.iter().flat_map(|&value| [value; 1024]).collect();
    let labels = LabelSet::from_pairs([("a", "b")]).expect("valid");
    writer.add_series(&labels, SeriesKind::Gauge, &stamps, &values, &[]).expect("valid");
    (identity, writer.finish().expect("small").expect("not empty").bytes)
}

#[test]
fn intact_chunks_of_another_tenant_or_place_do_not_pass() {
    let (ours, our_bytes) = chunks_of(TenantNumber(1), &[5.0, 7.0]);
    let (theirs, their_bytes) = chunks_of(TenantNumber(2), &[5.0, 7.0]);
    let content = BlockContent::RawMetrics;
    let our = Container::open(Sealed::new(our_bytes), ours, content, "ours").expect("ours");
    let their = Container::open(Sealed::new(their_bytes), theirs, content, "theirs").expect("theirs");
    let read = |bytes| {
        let block = MetricBlock::open(Sealed::new(bytes), ours, "x").expect("the frame fits");
        let (mut samples, mut lost) = (Samples::default(), 0);
        block.read_lossy(0, TimeRange::ALL, &mut samples, &mut |_, _| lost += 1);
        (samples.values.len(), lost)
    };
    assert_eq!(read(our.forge(SectionKind::Checks, |_| ())), (2048, 0));
    let theirs = their.section(SectionKind::Checks).expect("theirs");
    assert_eq!(read(our.forge(SectionKind::Checks, |checks| checks.clone_from(&theirs))), (0, 2));
    // Both chunks with their checks in each other's place.
    let swapped = our.forge(SectionKind::Values, |values| {
        let half = values.len() / 2;
        values.rotate_left(half);
    });
    let swapped = Container::open(Sealed::new(swapped), ours, content, "x").expect("the frame fits");
    assert_eq!(read(swapped.forge(SectionKind::Checks, |checks| checks.rotate_left(4))), (0, 2));
}

/// Checks that fit, pages that can be read, and an aggregate that is not that of its chunk.
#[test]
fn an_aggregate_that_is_not_that_of_its_chunk_is_damage() {
    let ours = block_of_values(&[1.0, 5.0, 2.0]);
    let theirs = block_of_values(&[1.0, 6.0, 2.0]);
    assert!(open(&ours).verify().is_empty());
    let part = |kind: SectionKind| container_of(&theirs).section(kind).expect("sound");
    let (aggregates, pages) = (part(SectionKind::Aggregates), part(SectionKind::Pages));
    let forged = container_of(&ours).forge(SectionKind::Aggregates, |bytes| *bytes = aggregates);
    let forged = container_of(&forged).forge(SectionKind::Pages, |bytes| *bytes = pages);
    let found = open(&forged).verify();
    assert!(found.iter().any(|damage| damage.to_string().contains("aggregate")), "{found:?}");
}

fn block_of_values(values: &[f64]) -> Vec<u8> {
    let content = BlockContent::RawMetrics;
    let mut writer = MetricBlockWriter::new(identity(content), LSNS, 0, ChunkAge::Fresh);
    let start = identity(content).id.day.range().start.0;
    let stamps: Vec<i64> = (1..=values.len() as i64).map(|i| start + i).collect();
    let labels = LabelSet::from_pairs([("a", "b")]).expect("valid");
    writer.add_series(&labels, SeriesKind::Gauge, &stamps, values, &[]).expect("valid");
    writer.finish().expect("small").expect("not empty").bytes
}

fn container_of(bytes: &[u8]) -> Container {
    let content = BlockContent::RawMetrics;
    Container::open(Sealed::new(bytes.to_vec()), identity(content), content, "a block")
        .expect("a sound frame")
}

fn open(bytes: &[u8]) -> MetricBlock {
    MetricBlock::open(Sealed::new(bytes.to_vec()), identity(BlockContent::RawMetrics), "a block")
        .expect("a sound frame")
}
