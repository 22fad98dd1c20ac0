//! Signal merges against a sorted list, and what damage does to them.

use std::sync::Arc;

use annals_block::{BlockIdentity, EncodedBlock, SignalBlock, SignalBlockWriter};
use annals_model::schema::{FieldSchema, FieldType, KindSchema, MetricSchema};
use annals_model::{
    BlockContent, BlockId, Day, FieldValue, Lsn, LsnRange, Pseudonym, SignalRow, SiteName, TenantNumber,
    TimeRange, Timestamp,
};
use annals_vfs::Sealed;
use proptest::prelude::*;

use crate::{MergeError, merge_signals};

const DAY: Day = Day(20_000);

fn identity(sequence: u64) -> BlockIdentity {
    let id = BlockId { day: DAY, content: BlockContent::RawSignals, sequence };
    BlockIdentity { tenant: TenantNumber(3), id }
}

fn kind(name: &str) -> Arc<KindSchema> {
    let field = |name: &str, field_type| FieldSchema { name: name.into(), field_type, required: false };
    let fields = match name {
        "auth.attempt" => vec![
            field("result", FieldType::Enumeration(vec!["success".into(), "failure".into()])),
            field("user", FieldType::Pseudonym),
        ],
        _ => vec![field("size", FieldType::SizeDelta)],
    };
    Arc::new(KindSchema { name: name.into(), fields, metrics: Vec::new() })
}

/// Which kind, which second of the day, a number to tell rows apart.
type Event = (bool, u32, u8);

fn row(&(is_auth, second, number): &Event) -> SignalRow {
    let fields = if is_auth {
        let user = Pseudonym { hash: [number; 16], length: u16::from(number) };
        let result = if number % 2 == 0 { "success" } else { "failure" };
        vec![Some(FieldValue::Name(result.into())), (number > 9).then_some(FieldValue::Pseudonym(user))]
    } else {
        vec![Some(FieldValue::Integer(i64::from(number) - 100))]
    };
    SignalRow {
        kind: if is_auth { "auth.attempt" } else { "file.edited" }.into(),
        site: SiteName::new(&format!("host-{}", number % 3)).expect("valid"),
        time: Timestamp(DAY.range().start.0 + i64::from(second) * 1_000 + 1),
        fields,
    }
}

fn encode(sequence: u64, rows: &[SignalRow], kinds: Vec<Arc<KindSchema>>) -> EncodedBlock {
    let lsns = LsnRange { after: Lsn(sequence * 10), through: Lsn(sequence * 10 + 10) };
    let mut writer = SignalBlockWriter::new(identity(sequence), lsns, 0, kinds);
    rows.iter().for_each(|row| writer.add(row).expect("valid"));
    writer.finish().expect("within limits").expect("some rows")
}

fn open(encoded: &EncodedBlock) -> SignalBlock {
    let identity = BlockIdentity { tenant: TenantNumber(3), id: encoded.meta.id };
    SignalBlock::open(Sealed::new(encoded.bytes.clone()), identity, "a test's block").expect("intact")
}

fn rows(block: &SignalBlock) -> Vec<SignalRow> {
    block.scan(TimeRange::ALL, &[]).expect("intact").map(|row| row.expect("intact")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_holds_every_row_by_time_and_then_by_order_of_writing(
        flushes in prop::collection::vec(
            prop::collection::vec((any::<bool>(), 0..50u32, any::<u8>()), 1..40),
            1..6,
        ),
        floor in 0..60u32,
    ) {
        let kinds = || vec![kind("auth.attempt"), kind("file.edited")];
        let flushes: Vec<Vec<SignalRow>> =
            flushes.iter().map(|flush| flush.iter().map(row).collect()).collect();
        let blocks: Vec<_> =
            flushes.iter().zip(1..).map(|(rows, at)| open(&encode(at, rows, kinds()))).collect();
        let mut expected = flushes.concat();
        expected.sort_by_key(|row| row.time);
        let merged = merge_signals(&blocks, identity(99), Timestamp::MIN, None).expect("mergeable").expect("some");
        prop_assert_eq!(merged.meta.rows, expected.len() as u64);
        prop_assert_eq!((merged.meta.level, merged.meta.lsns.after), (1, Lsn(10)));
        prop_assert_eq!(&rows(&open(&merged)), &expected);

        // Neighbours first gives the same.
        let (left, right) = blocks.split_at(blocks.len() / 2);
        let halves: Vec<_> = [(left, 100), (right, 101)]
            .into_iter()
            .filter_map(|(half, at)| merge_signals(half, identity(at), Timestamp::MIN, None).expect("mergeable"))
            .map(|half| open(&half))
            .collect();
        let merged = merge_signals(&halves, identity(102), Timestamp::MIN, None).expect("mergeable").expect("some");
        prop_assert_eq!(&rows(&open(&merged)), &expected);

        let floor = Timestamp(DAY.range().start.0 + i64::from(floor) * 1_000 + 1);
        expected.retain(|row| row.time > floor);
        let merged = merge_signals(&blocks, identity(99), floor, None).expect("mergeable");
        prop_assert_eq!(merged.map(|merged| rows(&open(&merged))).unwrap_or_default(), expected);
    }
}

#[test]
fn no_flipped_bit_of_an_input_vanishes_into_a_merge() {
    let kinds = || vec![kind("auth.attempt"), kind("file.edited")];
    let a = encode(1, &[row(&(true, 1, 40)), row(&(false, 2, 3))], kinds());
    let b = encode(2, &[row(&(true, 1, 7))], kinds());
    let expected =
        merge_signals(&[open(&a), open(&b)], identity(3), Timestamp::MIN, None).expect("mergeable");
    let expected = rows(&open(&expected.expect("some")));
    for at in 0..a.bytes.len() * 8 {
        let mut bytes = a.bytes.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let Ok(damaged) = SignalBlock::open(Sealed::new(bytes), identity(1), "a test's block") else {
            continue;
        };
        match merge_signals(&[damaged, open(&b)], identity(3), Timestamp::MIN, None) {
            Ok(merged) => assert_eq!(rows(&open(&merged.expect("some"))), expected, "bit {at}"),
            Err(MergeError::Damaged { block, .. }) => assert_eq!(block, a.meta.id),
            Err(other) => panic!("bit {at}: {other}"),
        }
    }
}

#[test]
fn a_kind_whose_fields_changed_is_refused_by_name_and_other_metrics_are_not() {
    let a = open(&encode(1, &[row(&(false, 1, 1))], vec![kind("file.edited")]));
    let metrics = vec![MetricSchema::Count { name: "edits".into(), labels: Vec::new() }];
    let derived = Arc::new(KindSchema { metrics, ..(*kind("file.edited")).clone() });
    let b = open(&encode(2, &[row(&(false, 2, 2))], vec![kind("auth.attempt"), Arc::clone(&derived)]));
    let merged =
        merge_signals(&[&a, &b], identity(9), Timestamp::MIN, None).expect("mergeable").expect("some");
    assert_eq!(open(&merged).kinds().expect("intact"), [derived, kind("auth.attempt")]);

    let mut changed = (*kind("file.edited")).clone();
    changed.fields[0].required = true;
    let c = open(&encode(3, &[row(&(false, 3, 3))], vec![Arc::new(changed)]));
    let refused =
        merge_signals(&[&a, &b, &c], identity(9), Timestamp::MIN, None).expect_err("fields conflict");
    assert_eq!(refused, MergeError::SchemaConflict { block: c.meta().id, kind: "file.edited".into() });
    let refused = merge_signals(&[&b, &a], identity(9), Timestamp::MIN, None);
    assert_eq!(refused.err(), Some(MergeError::NotMergeable { block: a.meta().id }));
}
