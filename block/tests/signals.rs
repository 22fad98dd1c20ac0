//! Blocks of raw signals, through the public door.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_block::{BlockError, EncodedBlock, SignalBlock, SignalBlockWriter, SignalCounts, WriteError};
use annals_model::schema::{FieldSchema, FieldType, KindSchema, MetricSchema};
use annals_model::{
    BlockContent, DAY_MS, FieldValue, MatchOp, Matcher, Pseudonym, SignalRow, SiteName, TimeRange, Timestamp,
};
use annals_vfs::Sealed;
use common::{DAY, LSNS, Rng, assert_golden, identity, other_identities};
use proptest::prelude::*;

fn day_start() -> i64 {
    DAY.range().start.0
}

fn kinds() -> Vec<Arc<KindSchema>> {
    let field = |name: &str, field_type, required| FieldSchema { name: name.into(), field_type, required };
    let texts = |all: &[&str]| all.iter().map(|&text| text.into()).collect::<Vec<Arc<str>>>();
    let request = KindSchema {
        name: "http.request".into(),
        fields: vec![
            field("method", FieldType::Enumeration(texts(&["GET", "POST", "other"])), true),
            field("status", FieldType::HttpStatus, true),
            field("route", FieldType::Name { bytes_max: 64, values_max: 200 }, false),
            field("duration", FieldType::Duration { max_ms: 86_400_000 }, false),
            field("client", FieldType::Pseudonym, false),
        ],
        metrics: vec![
            MetricSchema::Count { name: "http_requests".into(), labels: vec![0, 1, 2] },
            MetricSchema::Durations {
                name: "http_response_seconds".into(),
                labels: vec![0],
                field: 3,
                bounds_ms: vec![5, 10, 250],
            },
        ],
    };
    let edited = KindSchema {
        name: "file.edited".into(),
        fields: vec![
            field("size", FieldType::SizeDelta, true),
            field("flags", FieldType::Flags(texts(&["executable", "new"])), false),
            field("change", FieldType::ChangeDigest, false),
            field("line", FieldType::Integer { min: i64::MIN, max: i64::MAX }, false),
        ],
        metrics: vec![],
    };
    let beat = KindSchema { name: "beat".into(), fields: vec![], metrics: vec![] };
    vec![Arc::new(request), Arc::new(edited), Arc::new(beat)]
}

fn pseudonym(rng: &mut Rng) -> Pseudonym {
    let which = rng.below(20);
    let mut own = Rng(which);
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&own.next().to_le_bytes());
    hash[8..].copy_from_slice(&own.next().to_le_bytes());
    Pseudonym { hash, length: if rng.below(30) == 0 { u16::MAX } else { which as u16 } }
}

fn random_value(rng: &mut Rng, field_type: &FieldType) -> FieldValue {
    match field_type {
        FieldType::Enumeration(names) => {
            FieldValue::Name(Arc::clone(&names[rng.below(names.len() as u64) as usize]))
        }
        FieldType::Name { .. } => FieldValue::Name(format!("/r/{}", rng.below(30)).into()),
        FieldType::HttpStatus => FieldValue::Integer([200, 200, 200, 404, 500][rng.below(5) as usize]),
        FieldType::Duration { .. } => FieldValue::Integer((rng.next() >> (48 + rng.below(16))) as i64),
        FieldType::Integer { .. } | FieldType::SizeDelta => {
            FieldValue::Integer(rng.next() as i64 >> rng.below(64))
        }
        FieldType::Flags(_) => FieldValue::Flags(rng.next() >> rng.below(64)),
        FieldType::Pseudonym => FieldValue::Pseudonym(pseudonym(rng)),
        FieldType::ChangeDigest => FieldValue::Change { before: pseudonym(rng), after: pseudonym(rng) },
    }
}

fn random_rows(rng: &mut Rng, count: usize) -> Vec<SignalRow> {
    let kinds = kinds();
    let span = 1 + rng.below(DAY_MS as u64);
    (0..count)
        .map(|_| {
            let kind = &kinds[rng.below(3) as usize];
            let fields = kind
                .fields
                .iter()
                .map(|field| {
                    (field.required || rng.below(3) > 0).then(|| random_value(rng, &field.field_type))
                })
                .collect();
            SignalRow {
                kind: Arc::clone(&kind.name),
                site: SiteName::new(["shop", "blog", "a.example"][rng.below(3) as usize]).expect("valid"),
                time: Timestamp(day_start() + 1 + rng.below(span) as i64),
                fields,
            }
        })
        .collect()
}

fn write(rows: &[SignalRow]) -> EncodedBlock {
    let mut writer = SignalBlockWriter::new(identity(BlockContent::RawSignals), LSNS, 1, kinds());
    rows.iter().for_each(|row| writer.add(row).expect("valid"));
    writer.finish().expect("small").expect("not empty")
}

fn open(bytes: &[u8]) -> Result<SignalBlock, BlockError> {
    SignalBlock::open(Sealed::new(bytes.to_vec()), identity(BlockContent::RawSignals), "test.blk")
}

/// The rows that matchers find, which are as many as are counted.
fn scan(block: &SignalBlock, range: TimeRange, matchers: &[Matcher]) -> Result<Vec<SignalRow>, BlockError> {
    let rows: Vec<SignalRow> =
        block.scan(range, matchers)?.collect::<Result<_, _>>().map_err(|lost| lost.error)?;
    let mut counted = SignalCounts::default();
    block.count(range, matchers, &mut counted)?;
    assert!(counted.lost.is_empty());
    let mut expected = BTreeMap::new();
    for row in &rows {
        *expected.entry((row.kind.clone(), row.site.clone())).or_default() += 1;
    }
    assert_eq!(counted.rows, expected);
    Ok(rows)
}

/// A few matchers: of kinds, of sites, of fields that some kinds have and of one that none has.
fn random_matchers(rng: &mut Rng) -> Vec<Matcher> {
    let some = [
        ("kind", "http.request"),
        ("kind", "http.request|beat"),
        ("kind", "none"),
        ("site", "blog"),
        ("site", "[a-m].*"),
        ("status", "200"),
        ("status", "[45].."),
        ("route", "/r/1.*"),
        ("route", ""),
        ("method", "GET|other"),
        ("duration", "[0-9]{1,3}"),
        ("client", "[0-7].*"),
        ("flags", "executable,new"),
        ("flags", ".*new"),
        ("change", "[0-7].*"),
        ("change", ".*[.][.][0-7].*"),
        ("size", "-.*"),
        ("line", ".*7"),
        ("nobody", ".*"),
        ("nobody", ".+"),
    ];
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let one = |rng: &mut Rng| {
        let (name, value) = some[rng.below(some.len() as u64) as usize];
        Matcher::new(name, ops[rng.below(4) as usize], value).expect("valid")
    };
    (0..rng.below(4)).map(|_| one(rng)).collect()
}

fn sorted(rows: &[SignalRow]) -> Vec<SignalRow> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.time);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_come_back_by_time_then_arrival(seed in any::<u64>(), count in 1usize..300, long in 0u8..8) {
        let mut rng = Rng(seed);
        let rows = random_rows(&mut rng, if long == 0 { count * 40 } else { count });
        let encoded = write(&rows);
        let block = open(&encoded.bytes).expect("our own");
        prop_assert_eq!(block.meta(), &encoded.meta);
        prop_assert_eq!(encoded.meta.check, crc32fast::hash(&encoded.bytes));
        prop_assert_eq!(encoded.meta.rows, rows.len() as u64);
        prop_assert_eq!(block.kinds().expect("undamaged"), kinds());
        prop_assert!(block.verify().is_empty());
        let rows = sorted(&rows);
        let (first, last) = (rows[0].time, rows[rows.len() - 1].time);
        prop_assert_eq!(encoded.meta.time, TimeRange::new(Timestamp(first.0 - 1), last));
        prop_assert!(scan(&block, TimeRange::ALL, &[]).expect("undamaged") == rows);
        for _ in 0..24 {
            let (a, b) = (rng.below(rows.len() as u64) as usize, rng.below(rows.len() as u64) as usize);
            let range = TimeRange::new(rows[a.min(b)].time, rows[a.max(b)].time);
            let matchers = random_matchers(&mut rng);
            let schemas = kinds();
            let schema = |row: &SignalRow| schemas.iter().find(|kind| kind.name == row.kind).expect("a kind");
            let expected: Vec<SignalRow> = rows
                .iter()
                .filter(|row| range.contains(row.time) && row.matches(schema(row), &matchers))
                .cloned()
                .collect();
            prop_assert!(scan(&block, range, &matchers).expect("undamaged") == expected, "{:?}", matchers);
            prop_assert!(block.rows_in(range).expect("undamaged") >= expected.len() as u64);
        }
    }

    #[test]
    fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&bytes).is_err());
    }
}

fn small_block() -> (Vec<u8>, Vec<SignalRow>) {
    let rows = random_rows(&mut Rng(11), 30);
    (write(&rows).bytes, sorted(&rows))
}

#[test]
fn every_bit_flip_is_seen_and_nothing_wrong_is_read() {
    let (bytes, rows) = small_block();
    let mut damaged = bytes.clone();
    for bit in 0..bytes.len() * 8 {
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(block) = open(&damaged) {
            assert!(!block.verify().is_empty(), "bit {bit} of {}", bytes.len() * 8);
            if let Ok(read) = scan(&block, TimeRange::ALL, &[]) {
                assert!(read == rows, "bit {bit}");
            }
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_and_every_longer_file_is_refused() {
    let (bytes, _) = small_block();
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "cut at {length}");
    }
    assert!(open(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn a_block_of_another_tenant_day_or_sequence_is_refused_as_such() {
    let (bytes, _) = small_block();
    for wrong in other_identities(identity(BlockContent::RawSignals)) {
        let error = SignalBlock::open(Sealed::new(bytes.clone()), wrong, "x").expect_err("swapped");
        assert!(matches!(error, BlockError::WrongIdentity { .. }));
    }
}

#[test]
fn a_damaged_group_loses_its_own_rows_only() {
    let rows = random_rows(&mut Rng(5), 10_000);
    let mut bytes = write(&rows).bytes;
    let sections = open(&bytes).expect("our own").sections();
    let data = sections.iter().find(|section| section.name == "rows").expect("there");
    bytes[(data.offset + data.bytes / 2) as usize] ^= 4;
    let block = open(&bytes).expect("frame intact");
    assert!(scan(&block, TimeRange::ALL, &[]).is_err());
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for row in block.scan(TimeRange::ALL, &[]).expect("the index is whole") {
        match row {
            Ok(row) => kept.push(row),
            Err(damaged) => lost.push((damaged.range, damaged.rows)),
        }
    }
    assert_eq!((kept.len(), lost.len(), lost[0].1), (10_000 - 4096, 1, 4096));
    let range = lost[0].0;
    // What needs no look at rows is counted all the same; what does says what it could not look at.
    let count = |matchers: &[Matcher]| {
        let mut counts = SignalCounts::default();
        block.count(TimeRange::ALL, matchers, &mut counts).expect("the index is whole");
        (counts.rows.values().sum::<u64>(), counts.lost.len())
    };
    assert_eq!(count(&[]), (10_000, 0));
    assert_eq!(count(&[Matcher::equal("status", "200")]).1, 1);
    // A group may begin or end within an instant: compare what is surely outside of it.
    let outside = |row: &&SignalRow| row.time <= range.start || row.time > range.end;
    let sorted = sorted(&rows);
    assert!(kept.iter().filter(outside).eq(sorted.iter().filter(outside)));
}

#[test]
fn what_would_break_a_block_is_refused_and_leaves_no_trace() {
    let mut writer = SignalBlockWriter::new(identity(BlockContent::RawSignals), LSNS, 1, kinds());
    let good = SignalRow {
        kind: "http.request".into(),
        site: SiteName::new("shop").expect("valid"),
        time: Timestamp(day_start() + DAY_MS),
        fields: vec![
            Some(FieldValue::Name("GET".into())),
            Some(FieldValue::Integer(200)),
            Some(FieldValue::Name("/secret".into())),
            None,
            None,
        ],
    };
    let mut typed = good.clone();
    typed.fields[3] = Some(FieldValue::Flags(1));
    assert!(matches!(writer.add(&typed), Err(WriteError::FieldType { field, .. }) if &*field == "duration"));
    let mut counted = good.clone();
    counted.fields.pop();
    assert!(matches!(writer.add(&counted), Err(WriteError::FieldCount { fields: 4, expected: 5, .. })));
    let unknown = SignalRow { kind: "x".into(), ..good.clone() };
    assert!(matches!(writer.add(&unknown), Err(WriteError::UnknownKind { row: 0 })));
    let early = SignalRow { time: Timestamp(day_start()), ..good.clone() };
    assert!(matches!(writer.add(&early), Err(WriteError::OutsideDay { .. })));
    let mut plain = good.clone();
    plain.fields[2] = None;
    writer.add(&plain).expect("valid");
    let encoded = writer.finish().expect("small").expect("one row");
    assert_eq!(encoded.meta.rows, 1);
    assert!(!encoded.bytes.windows(7).any(|window| window == b"/secret"));
    let block = open(&encoded.bytes).expect("our own");
    assert_eq!(scan(&block, TimeRange::ALL, &[]), Ok(vec![plain]));

    let twice = [kinds(), kinds()].concat();
    let mut repeated = SignalBlockWriter::new(identity(BlockContent::RawSignals), LSNS, 1, twice);
    assert!(matches!(repeated.add(&good), Err(WriteError::RepeatedKind { .. })));
    let mut wrong = SignalBlockWriter::new(identity(BlockContent::RawMetrics), LSNS, 1, kinds());
    assert!(matches!(wrong.add(&good), Err(WriteError::WrongContent { .. })));
    assert_eq!(wrong.finish(), Ok(None));
}

#[test]
fn the_bytes_of_a_small_block_do_not_change() {
    let (bytes, rows) = small_block();
    assert_golden("signals-v1.blk", &bytes);
    let stored =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/signals-v1.blk")).expect("there");
    let block = open(&stored).expect("opens for ever");
    assert!(scan(&block, TimeRange::ALL, &[]) == Ok(rows));
}
