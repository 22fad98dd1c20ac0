//! What the engine writes into the log: one record per batch.
//!
//! Payload of a record of kind [`BATCH`]; numbers are LEB128 (`zigzag` where signed), texts are length-prefixed:
//!
//! | field      | type    | notes                                                                        |
//! |------------|---------|------------------------------------------------------------------------------|
//! | `tenant`   | u32     | its number                                                                   |
//! | `epoch`    | number  | which numbering of series the record uses                                    |
//! | `manifest` | number  | the generation of the tenant's manifest then: no older one may be read again |
//! | `written`  | i64     | when the batch was admitted, milliseconds                                    |
//! | `site`     | text    | where it comes from                                                          |
//! | `id`       | 16      | the batch id                                                                 |
//! | `digest`   | 16      | keyed digest of what was handed in                                           |
//! | `metrics`  | blob    | series defined here and samples, see below                                   |
//! | `signals`  | blob    | admitted rows, as the `signals` crate encodes them; empty where there are none |
//!
//! `metrics`: number of the first series defined here; count; per series its kind (u8) and labels (blob, as
//! `LabelSet::as_bytes`); then the count of samples and three columns: series number and timestamp, each as a zigzag
//! difference to the sample before, and values as 8 bytes.
//!
//! A series' labels are written once per epoch, in the first record that uses it. A tenant begins an epoch at each
//! flush, after each open and after a failed commit, so that a record never depends on one that a flush has made
//! removable or that never became durable. Derived cells are logged, not derived again by a replay; the two blobs are
//! apart so that metrics can be read without what protects raw signals.

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{BatchId, LabelSet, SeriesKind, SiteName, TenantNumber, Timestamp};

/// The log's record kind for batches.
pub(crate) const BATCH: u8 = 1;

/// What a record says about its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) tenant: TenantNumber,
    pub(crate) epoch: u64,
    pub(crate) manifest: u64,
    pub(crate) written: Timestamp,
    pub(crate) site: SiteName,
    pub(crate) id: BatchId,
    pub(crate) digest: [u8; 16],
}

/// The samples of a batch and the series that they are the first to use.
#[derive(Debug, Default, Clone)]
pub(crate) struct MetricRows {
    pub(crate) first_number: u32,
    pub(crate) definitions: Vec<(LabelSet, SeriesKind)>,
    /// Series number, time, value.
    pub(crate) samples: Vec<(u32, i64, f64)>,
}

/// A decoded record; the blobs are decoded when they are needed.
#[derive(Debug)]
pub(crate) struct BatchRecord<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) metrics: &'a [u8],
    pub(crate) signals: &'a [u8],
}

pub(crate) fn encode(header: &BatchHeader, metrics: &MetricRows, signals: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + metrics.samples.len() * 12 + signals.len());
    out.put_u32(header.tenant.0);
    out.put_varint(header.epoch);
    out.put_varint(header.manifest);
    out.put_i64(header.written.0);
    out.put_text(header.site.as_str());
    out.put(&header.id.0);
    out.put(&header.digest);
    let mut blob = Vec::with_capacity(metrics.samples.len() * 11 + metrics.definitions.len() * 96 + 16);
    encode_metrics(metrics, &mut blob);
    out.put_blob(&blob);
    out.put_blob(signals);
    out
}

fn encode_metrics(metrics: &MetricRows, out: &mut Vec<u8>) {
    out.put_varint(u64::from(metrics.first_number));
    out.put_varint(metrics.definitions.len() as u64);
    for (labels, kind) in &metrics.definitions {
        out.put_u8(kind.tag());
        out.put_blob(labels.as_bytes());
    }
    out.put_varint(metrics.samples.len() as u64);
    let mut before = 0i64;
    for &(number, _, _) in &metrics.samples {
        out.put_varint_signed(i64::from(number) - before);
        before = i64::from(number);
    }
    let mut before = 0i64;
    for &(_, time, _) in &metrics.samples {
        out.put_varint_signed(time.wrapping_sub(before));
        before = time;
    }
    for &(_, _, value) in &metrics.samples {
        out.put_u64(value.to_bits());
    }
}

/// Decodes a record's header; `None` where these bytes are not one.
pub(crate) fn decode(payload: &[u8]) -> Option<BatchRecord<'_>> {
    let mut cursor = Cursor::new(payload);
    let header = BatchHeader {
        tenant: TenantNumber(cursor.u32()?),
        epoch: cursor.varint()?,
        manifest: cursor.varint()?,
        written: Timestamp(cursor.i64()?),
        site: SiteName::new(cursor.text()?).ok()?,
        id: BatchId(cursor.array()?),
        digest: cursor.array()?,
    };
    let metrics = cursor.blob()?;
    let signals = cursor.blob()?;
    cursor.is_empty().then_some(BatchRecord { header, metrics, signals })
}

/// Decodes a record's metrics.
pub(crate) fn decode_metrics(blob: &[u8]) -> Option<MetricRows> {
    let mut cursor = Cursor::new(blob);
    let first_number = u32::try_from(cursor.varint()?).ok()?;
    let count = cursor.count(2)?;
    first_number.checked_add(u32::try_from(count).ok()?)?;
    let definitions = (0..count)
        .map(|_| {
            let kind = SeriesKind::from_tag(cursor.u8()?)?;
            Some((LabelSet::from_bytes(cursor.blob()?)?, kind))
        })
        .collect::<Option<Vec<_>>>()?;
    let count = cursor.count(10)?;
    let mut samples = Vec::with_capacity(count);
    let mut before = 0i64;
    for _ in 0..count {
        before = before.checked_add(cursor.varint_signed()?)?;
        samples.push((u32::try_from(before).ok()?, 0, 0.0));
    }
    let mut before = 0i64;
    for sample in &mut samples {
        before = before.wrapping_add(cursor.varint_signed()?);
        sample.1 = before;
    }
    for sample in &mut samples {
        sample.2 = f64::from_bits(cursor.u64()?);
    }
    cursor.is_empty().then_some(MetricRows { first_number, definitions, samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> BatchHeader {
        BatchHeader {
            tenant: TenantNumber(3),
            epoch: 4,
            manifest: 8,
            written: Timestamp(5),
            site: SiteName::new("a.b").expect("valid"),
            id: BatchId([6; 16]),
            digest: [7; 16],
        }
    }

    #[test]
    fn the_bytes_are_held() {
        let labels = LabelSet::from_pairs([("__name__", "up")]).expect("valid");
        let metrics = MetricRows {
            first_number: 1,
            definitions: vec![(labels, SeriesKind::Counter)],
            samples: vec![(1, 1_000, 0.5), (0, 999, -0.0)],
        };
        let expected = [
            &b"\x03\0\0\0\x04\x08\x05\0\0\0\0\0\0\0\x03a.b"[..],
            &[6; 16],
            &[7; 16],
            b"\x27\x01\x01\x01\x0d\x08__name__\x02\0up\x02\x02\x01\xd0\x0f\x01",
            &0.5f64.to_le_bytes(),
            &(-0.0f64).to_le_bytes(),
            b"\x04rows",
        ];
        assert_eq!(encode(&header(), &metrics, b"rows"), expected.concat());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_record_round_trips_bit_for_bit(
            samples in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..40),
            signals in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let labels = LabelSet::from_pairs([("__name__", "up"), ("job", "x")]).expect("valid");
            let metrics = MetricRows {
                first_number: 9,
                definitions: vec![(labels, SeriesKind::Delta)],
                samples: samples.iter().map(|&(n, t, v)| (n, t, f64::from_bits(v))).collect(),
            };
            let bytes = encode(&header(), &metrics, &signals);
            let record = decode(&bytes).expect("whole");
            prop_assert_eq!(&record.header, &header());
            prop_assert_eq!(record.signals, &signals[..]);
            let back = decode_metrics(record.metrics).expect("whole");
            prop_assert_eq!(back.first_number, 9);
            prop_assert_eq!(back.definitions, metrics.definitions);
            let bits: Vec<_> = back.samples.iter().map(|&(n, t, v)| (n, t, v.to_bits())).collect();
            prop_assert_eq!(bits, samples);
        }

        #[test]
        fn damaged_records_never_panic(
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
            cut in any::<usize>(),
        ) {
            let labels = LabelSet::from_pairs([("__name__", "up")]).expect("valid");
            let metrics = MetricRows {
                first_number: 0,
                definitions: vec![(labels, SeriesKind::Gauge)],
                samples: vec![(0, 1, 1.0), (0, 2, 2.0)],
            };
            let mut bytes = encode(&header(), &metrics, b"rows");
            for (at, mask) in flips {
                let at = at % bytes.len();
                bytes[at] ^= mask;
            }
            bytes.truncate(cut % (bytes.len() + 1));
            if let Some(record) = decode(&bytes) {
                let _ = decode_metrics(record.metrics);
            }
        }
    }
}
