//! What goes in comes out, bit for bit: any bytes are a content, which is encoded and decoded again.

use std::path::Path;
use std::sync::Arc;

use annals::signals::{Admitter, NameTable, PseudonymKey, builtin, decode_rows, encode_rows};
use annals::vfs::{Sealed, SimClock, SimEntropy, SimVfs};
use annals::{
    Annals, Background, BatchId, BlockContent, BlockId, ChunkAge, DAY_MS, LabelSet, Lsn, LsnRange, Matcher,
    Options, Plan, SampleBatch, Samples, SeriesKind, Signal, SiteName, TenantId, TenantNumber, TimeRange,
    Timestamp,
};
use annals_block::{BlockIdentity, MetricBlock, MetricBlockWriter, SignalBlock, SignalBlockWriter, fuzzing};

use crate::model::Choices;
use crate::seeds::NOW;

const LSNS: LsnRange = LsnRange { after: Lsn(3), through: Lsn(9) };
const KINDS: [SeriesKind; 3] = [SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta];

fn age(choices: &mut Choices<'_>) -> ChunkAge {
    [ChunkAge::Fresh, ChunkAge::Merged, ChunkAge::Old][choices.below(3)]
}

fn identity(content: BlockContent) -> BlockIdentity {
    BlockIdentity { tenant: TenantNumber(4), id: BlockId { day: Timestamp(NOW).day(), content, sequence: 2 } }
}

/// Labels, kind, stamps, bits of values, starts.
type Written = (LabelSet, SeriesKind, Vec<i64>, Vec<u64>, Vec<i64>);

/// A run of values as programs write them: some pattern, repeated with changes.
fn run(choices: &mut Choices<'_>) -> Vec<u64> {
    let mut values = Vec::new();
    while !choices.is_empty() && values.len() < 5_000 {
        let (start, step) = (choices.bits(), choices.bits());
        let repeats = match choices.byte() {
            short @ 0..200 => usize::from(short % 8),
            long => usize::from(long - 199) * 8,
        };
        let mut value = start;
        for _ in 0..=repeats {
            values.push(value);
            value = value.wrapping_add(step);
        }
    }
    values
}

pub(super) fn codec(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let age = age(&mut choices);
    let bits = run(&mut choices);
    if bits.is_empty() {
        return;
    }
    let values: Vec<f64> = bits.iter().map(|&bits| f64::from_bits(bits)).collect();
    let chunk = fuzzing::encode_values(&values, age);
    let back = fuzzing::decode_values(&chunk, values.len()).expect("our own chunk");
    assert!(back.iter().map(|value| value.to_bits()).eq(bits.iter().copied()), "values keep their bits");
    assert!(chunk.len() <= bits.len() * 8 + 16, "no chunk is larger than its values");
    let numbers: Vec<i64> = bits.iter().map(|&bits| bits as i64).collect();
    let run = fuzzing::encode_numbers(&numbers, age);
    assert_eq!(fuzzing::decode_numbers(&run, numbers.len()), Some((numbers, 0)));
}

pub(super) fn rows(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let (schema, key, names) = (builtin(), PseudonymKey::new(&[7; 32]), NameTable::default());
    let site = SiteName::new("shop.example").expect("valid");
    let day = Timestamp(NOW).day();
    let mut admitter = Admitter::new(&schema, &key, &names, &site);
    let mut rows = Vec::new();
    while !choices.is_empty() && rows.len() < 500 {
        let kind = &schema.kinds[choices.below(schema.kinds.len())];
        // In its day and after its start, wherever the choices put it.
        let offset = i64::from(choices.u16()) * 1_318 + 1;
        let mut signal = Signal::new(&kind.name, Timestamp(day.range().start.0 + offset));
        for field in &kind.fields {
            if let Some(value) = value(&field.field_type, field.required, &mut choices) {
                signal = signal.with(&field.name, value);
            }
        }
        // What is refused is not stored.
        if let Ok(row) = admitter.admit(&signal) {
            rows.push(row);
        }
    }
    let mut encoded = Vec::new();
    encode_rows(&schema, &rows, &mut encoded);
    assert_eq!(decode_rows(&schema, &encoded).expect("our own rows"), rows);
    if rows.is_empty() {
        return;
    }
    let identity = identity(BlockContent::RawSignals);
    let mut writer = SignalBlockWriter::new(identity, LSNS, 0, schema.kinds.clone());
    rows.iter().for_each(|row| writer.add(row).expect("admitted rows follow the schema"));
    let block = writer.finish().expect("a block").expect("with rows");
    let block = SignalBlock::open(Sealed::new(block.bytes), identity, "our own").expect("a block");
    assert_eq!(block.verify(), []);
    let scan = block.scan(TimeRange::ALL, &[]).expect("a sound block");
    let found: Vec<_> = scan.map(|row| row.expect("a sound group")).collect();
    rows.sort_by_key(|row| row.time);
    assert_eq!(found, rows, "by time, equal ones in order of arrival");
}

fn value(
    field: &annals::schema::FieldType,
    required: bool,
    choices: &mut Choices<'_>,
) -> Option<annals::SignalValue> {
    use annals::SignalValue;
    use annals::schema::FieldType;
    const TEXTS: [&str; 6] = ["a", "backup.daily", "/blog/:rest", "ada", "x1", "long-name-of-something"];
    if !required && choices.below(3) == 0 {
        return None;
    }
    let text = SignalValue::from(TEXTS[choices.below(TEXTS.len())]);
    Some(match field {
        FieldType::Enumeration(names) => SignalValue::from(&*names[choices.below(names.len())]),
        FieldType::Integer { min, max } => {
            let span = max.abs_diff(*min).saturating_add(1);
            SignalValue::from(min.saturating_add_unsigned(choices.bits() % span))
        }
        FieldType::Duration { max_ms } => SignalValue::from((choices.bits() % (*max_ms as u64 + 1)) as i64),
        FieldType::HttpStatus => SignalValue::from(100 + (choices.bits() % 500) as i64),
        FieldType::SizeDelta => SignalValue::from(i64::from(choices.u16() as i16)),
        FieldType::Flags(names) => {
            let bits = choices.u16();
            let set = names.iter().take(16).enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            SignalValue::Flags(set.map(|(_, name)| name.clone()).collect())
        }
        FieldType::ChangeDigest => {
            SignalValue::Change { before: TEXTS[choices.below(TEXTS.len())].into(), after: "b".into() }
        }
        FieldType::Name { .. } | FieldType::Pseudonym => text,
    })
}

pub(super) fn block(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let identity = identity(BlockContent::RawMetrics);
    let start = identity.id.day.range().start.0;
    let mut writer = MetricBlockWriter::new(identity, LSNS, 1, age(&mut choices));
    let count = 1 + choices.below(12);
    let share = choices.0.len() / count;
    let mut written: Vec<Written> = Vec::new();
    for index in 0..count {
        let (own, rest) = choices.0.split_at(share);
        choices = Choices(rest);
        let mut own = Choices(own);
        let pairs = [
            ("__name__", ["up", "cpu", "é"][own.below(3)].to_owned()),
            ("index", format!("{index:02}")),
            ("value", ["x".repeat(own.below(200)), "y".to_owned()][own.below(2)].clone()),
        ];
        let kept = pairs.iter().filter(|(_, value)| !value.is_empty());
        let labels = LabelSet::from_pairs(kept.map(|(name, value)| (*name, value.as_str()))).expect("valid");
        let kind = KINDS[own.below(3)];
        let (first, gap) = (i64::from(own.u16()), 1 + i64::from(own.byte()) * 100);
        let values = run(&mut own);
        let stamp = |position: usize| start + 1 + first + position as i64 * gap;
        let stamps: Vec<i64> =
            (0..values.len()).map(stamp).take_while(|&stamp| stamp <= start + DAY_MS).collect();
        let values = values[..stamps.len()].to_vec();
        // None, that of the process, that of the sample before, any.
        let (how, begun) = (own.below(4), own.bits() as i64);
        let start_of = |position: usize| match how {
            1 => begun,
            2 => stamps[position.saturating_sub(1)],
            _ => begun.wrapping_mul(position as i64),
        };
        let starts = (0..values.len()).filter(|_| how > 0).map(start_of).collect();
        if !values.is_empty() {
            written.push((labels, kind, stamps, values, starts));
        }
    }
    written.sort_by(|a, b| a.0.cmp(&b.0));
    for (labels, kind, stamps, bits, starts) in &written {
        let values: Vec<f64> = bits.iter().map(|&bits| f64::from_bits(bits)).collect();
        writer.add_series(labels, *kind, stamps, &values, starts).expect("in label order, in the day");
    }
    let Some(encoded) = writer.finish().expect("a block") else {
        assert!(written.is_empty());
        return;
    };
    let mut repaired = encoded.bytes.clone();
    fuzzing::repair(&mut repaired);
    assert!(repaired == encoded.bytes, "a sound block needs no repair");
    let block = MetricBlock::open(Sealed::new(encoded.bytes), identity, "our own").expect("a block");
    assert_eq!((block.verify(), block.meta()), (vec![], &encoded.meta));
    for (ordinal, (labels, kind, stamps, bits, starts)) in (0u32..).zip(&written) {
        assert_eq!(&block.labels(ordinal).expect("sound"), labels);
        assert_eq!(&block.kind(ordinal).expect("sound"), kind);
        let matchers: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        assert_eq!(block.find(&matchers).expect("sound").iter().collect::<Vec<_>>(), [ordinal]);
        let middle =
            TimeRange::new(Timestamp(stamps[stamps.len() / 3]), Timestamp(stamps[stamps.len() * 2 / 3]));
        for range in [TimeRange::ALL, middle] {
            let mut read = Samples::default();
            block.read(ordinal, range, &mut read).expect("sound");
            let within = |position: &usize| range.contains(Timestamp(stamps[*position]));
            let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or(0);
            let expected =
                (0..stamps.len()).filter(within).map(|at| (stamps[at], bits[at], start(starts, at)));
            let found = (0..read.values.len())
                .map(|at| (read.timestamps[at], read.values[at].to_bits(), start(&read.start_times, at)));
            assert!(found.eq(expected));
        }
    }
    assert_eq!(block.series_count() as usize, written.len());
}

/// A batch becomes a record, a crash ends the process, a replay reads the record.
pub(super) fn record(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let vfs = SimVfs::new();
    let open = |seed| {
        let options =
            Options { background: Background::Steps, log_bytes_max: 512 << 10, ..Options::default() };
        let (clock, entropy) = (Arc::new(SimClock::new(NOW)), Arc::new(SimEntropy::new(seed)));
        Annals::open(Arc::new(vfs.clone()), clock, entropy, Path::new("/data"), options)
            .expect("a sound disk")
    };
    let store = open(1);
    let id = TenantId::new("one").expect("valid");
    let tenant = store.create_tenant(&id, Plan::built_in("archive").expect("built in")).expect("created");
    let mut expected = std::collections::BTreeMap::new();
    for batch in 0..1 + choices.below(3) as u8 {
        let mut samples = SampleBatch::new(BatchId([batch; 16]), SiteName::new("host").expect("valid"));
        for series in 0..1 + choices.below(3) {
            let name = ["g", "h", "i"][series];
            let labels = LabelSet::from_pairs([("__name__", name)]).expect("valid");
            samples.series(labels, SeriesKind::Gauge);
        }
        for _ in 0..choices.below(20) {
            let (series, time) =
                (choices.below(samples.series.len()) as u32, NOW - i64::from(choices.u16()) * 1_000);
            let bits = choices.bits();
            let start = [0, 7, time - 1, NOW][choices.below(4)];
            samples.push_since(series, Timestamp(time), f64::from_bits(bits), Timestamp(start));
            expected.insert((series, time), (bits, start));
        }
        let taken = tenant.write_samples(&samples).and_then(|ticket| ticket.wait()).expect("a sound disk");
        assert_eq!(taken.refused, []);
    }
    vfs.power_cut(annals::vfs::SimCut::Nothing);
    drop((tenant, store));
    let store = open(2);
    let reader = store.tenant(&id).expect("a sound disk").reader();
    let mut found = std::collections::BTreeMap::new();
    for (series, name) in (0u32..).zip(["g", "h", "i"]) {
        let stored = super::oracle::stored(&reader, name).expect("a sound disk answers whole");
        found.extend(stored.into_iter().map(|(time, bits)| ((series, time), bits)));
    }
    assert_eq!(found, expected, "the last write of an instant wins, with its bits");
}

/// Choices of some variety.
pub(super) fn choices() -> Vec<Vec<u8>> {
    let mut random = crate::Random::new(11);
    (1..=6).map(|size| (0..size * 60).map(|_| random.next_u64() as u8).collect()).collect()
}
