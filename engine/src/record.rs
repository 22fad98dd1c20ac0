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
//! | `metrics_key` | number | the data key that `metrics` is sealed with; 0 where the tenant is not sealed |
//! | `signals_key` | number | the data key that `signals` is sealed with; 0 also where there are none |
//! | `salt`     | 16      | drawn when the writer opened; not there where nothing is sealed              |
//! | `counter`  | u64     | of the writer's records, never twice with one `salt`; not there without it   |
//! | `metrics`  | blob    | the batch, series defined here and samples, see below; sealed                |
//! | `signals`  | blob    | admitted rows, as the `signals` crate encodes them, sealed; empty where there are none |
//!
//! `metrics`: the batch's site (text), id (16) and keyed digest (16); number of the first series defined here; count; per
//! series its kind (u8) and labels (blob, as `LabelSet::as_bytes`); then the count of samples and three columns: series
//! number and timestamp, each as a zigzag difference to the sample before, and values as 8 bytes. Where there are histograms
//! their count follows, at least one, and for each: series number and timestamp as above, 1 and the histogram
//! (`Histogram::put`), or 0 for a marker that the series has ended. Where samples know when what they count began, a count of
//! histograms of 0 stands for none of them, and starts follow, first those of samples, then those of histograms: the count of
//! runs, and for each how many have this start, and the start, as a zigzag difference to that of the run before.
//!
//! A series' labels are written once per epoch, in the first record that uses it. A tenant begins an epoch at each
//! flush, after each open and after a failed commit, so that a record never depends on one that a flush has made
//! removable or that never became durable. Derived cells are logged, not derived again by a replay; the two blobs are
//! apart so that metrics can be read without what protects raw signals.
//!
//! Each blob is sealed under a key derived from its class' data key with `salt`; the nonce is `counter`; all of the
//! record before the blobs is authenticated with each. The counter is the writer's own and not the LSN: so records are
//! sealed before they are queued, outside of the lock that orders them, and one that is refused and encoded again gets
//! another. A record carries all that opening it takes, and may be copied to any segment as it is.

use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{
    BatchId, Histogram, HistogramSample, KeyId, LabelSet, NONCE_BYTES, START_UNKNOWN, SeriesKind, SiteName,
    TenantNumber, Timestamp,
};

use crate::keys::{Class, TenantKeys};
use crate::seal::Numbered;

use crate::series_table::SeriesTable;

/// The log's record kind for batches.
pub(crate) const BATCH: u8 = 1;

/// What a record says plainly of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) tenant: TenantNumber,
    pub(crate) epoch: u64,
    pub(crate) manifest: u64,
    pub(crate) written: Timestamp,
}

/// Which batch a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchName {
    pub(crate) site: SiteName,
    pub(crate) id: BatchId,
    pub(crate) digest: [u8; 16],
}

/// Bytes of the salt of a writer.
pub(crate) const LOG_SALT_BYTES: usize = 16;
/// What the keys of records are derived for.
const LOG_INFO: &[u8] = b"annals log record 1";

/// What one writer seals a tenant's records with. Derived when the tenant is opened.
pub(crate) struct RecordSealer {
    salt: [u8; LOG_SALT_BYTES],
    /// Of metrics and of signals; `None` where the tenant is not sealed.
    sealers: Option<(Numbered, Numbered)>,
}

impl RecordSealer {
    /// `salt` is random, of this writer alone.
    pub(crate) fn new(keys: &TenantKeys, salt: [u8; LOG_SALT_BYTES]) -> RecordSealer {
        let sealers = keys
            .metrics()
            .zip(keys.signals())
            .map(|(metrics, signals)| (metrics.numbered(&salt, LOG_INFO), signals.numbered(&salt, LOG_INFO)));
        RecordSealer { salt, sealers }
    }
}

/// What opens a tenant's records: the sealers of the last writer seen, whose records come one after the other.
#[derive(Default)]
pub(crate) struct RecordOpener {
    metrics: Option<Known>,
    signals: Option<Known>,
}

struct Known {
    salt: [u8; LOG_SALT_BYTES],
    numbered: Numbered,
}

/// A record that was opened.
#[derive(Debug)]
pub(crate) struct OpenRecord {
    pub(crate) batch: BatchName,
    pub(crate) metrics: MetricRows,
    /// Encoded rows; empty where there are none.
    pub(crate) signals: Vec<u8>,
}

/// Why a record that is whole in the log gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFault {
    /// The tenant's keys do not have the one that it is sealed with.
    NoKey,
    /// It is not what was sealed, or does not decode.
    Corrupt,
}

/// The samples of a batch and the series that they are the first to use.
#[derive(Debug, Default, Clone)]
pub(crate) struct MetricRows {
    pub(crate) first_number: u32,
    pub(crate) definitions: Vec<(LabelSet, SeriesKind)>,
    pub(crate) samples: Vec<NumberedSample>,
    pub(crate) histograms: Vec<NumberedHistogram>,
    /// Of the samples, then of the histograms; empty where none is known.
    pub(crate) starts: Vec<i64>,
}

impl MetricRows {
    /// Whether nothing is defined and nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.definitions.is_empty() && self.samples.is_empty() && self.histograms.is_empty()
    }

    /// Leaves the definitions alone: later records may use these series.
    pub(crate) fn clear_samples(&mut self) {
        self.samples.clear();
        self.histograms.clear();
        self.starts.clear();
    }
}

/// Series number, time, value.
pub(crate) type NumberedSample = (u32, i64, f64);
/// Series number, time, histogram.
pub(crate) type NumberedHistogram = (u32, i64, HistogramSample);

/// A decoded record; the blobs are opened and decoded when they are needed.
#[derive(Debug)]
pub(crate) struct BatchRecord<'a> {
    pub(crate) header: BatchHeader,
    metrics_key: KeyId,
    signals_key: KeyId,
    salt: [u8; LOG_SALT_BYTES],
    counter: u64,
    /// All before the blobs.
    before: &'a [u8],
    metrics: &'a [u8],
    signals: &'a [u8],
}

/// Encodes a record. `metrics` is what [`encode_metrics`] made; `counter` was never used before with the sealer's salt.
pub(crate) fn encode(
    header: &BatchHeader,
    batch: &BatchName,
    metrics: &[u8],
    mut signals: Vec<u8>,
    sealer: &RecordSealer,
    counter: u64,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + metrics.len() + signals.len());
    out.put_u32(header.tenant.0);
    out.put_varint(header.epoch);
    out.put_varint(header.manifest);
    out.put_i64(header.written.0);
    let mut blob = Vec::with_capacity(metrics.len() + 128);
    blob.put_text(batch.site.as_str());
    blob.put(&batch.id.0);
    blob.put(&batch.digest);
    blob.put(metrics);
    match &sealer.sealers {
        None => {
            out.put_varint(0);
            out.put_varint(0);
        }
        Some((of_metrics, of_signals)) => {
            let signals_key = if signals.is_empty() { KeyId::NONE } else { of_signals.id };
            out.put_varint(u64::from(of_metrics.id.0));
            out.put_varint(u64::from(signals_key.0));
            out.put(&sealer.salt);
            out.put_u64(counter);
            of_metrics.sealer.seal(nonce(counter), &out, &mut blob, 0);
            if !signals.is_empty() {
                of_signals.sealer.seal(nonce(counter), &out, &mut signals, 0);
            }
        }
    }
    out.put_blob(&blob);
    out.put_blob(&signals);
    out
}

fn nonce(counter: u64) -> [u8; NONCE_BYTES] {
    let [a, b, c, d, e, f, g, h] = counter.to_le_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// Encodes samples, and the series of the table from `first` on, which they are the first to use.
pub(crate) fn encode_metrics(
    table: &SeriesTable,
    first: usize,
    samples: &[NumberedSample],
    histograms: &[NumberedHistogram],
    starts: &[i64],
) -> Vec<u8> {
    let definitions = first as u32..table.len() as u32;
    let mut out = Vec::with_capacity(samples.len() * 12 + definitions.len() * 96 + 16);
    out.put_varint(first as u64);
    out.put_varint(definitions.len() as u64);
    for number in definitions {
        // What is defined now has a kind.
        out.put_u8(table.kind(number).map_or(0, SeriesKind::tag));
        let pairs = table.label_bytes(number);
        out.put_varint(pairs.clone().map(<[u8]>::len).sum::<usize>() as u64);
        pairs.for_each(|pair| out.put(pair));
    }
    out.put_varint(samples.len() as u64);
    let mut before = 0i64;
    for &(number, _, _) in samples {
        out.put_varint_signed(i64::from(number) - before);
        before = i64::from(number);
    }
    let mut before = 0i64;
    for &(_, time, _) in samples {
        out.put_varint_signed(time.wrapping_sub(before));
        before = time;
    }
    for &(_, _, value) in samples {
        out.put_u64(value.to_bits());
    }
    if !histograms.is_empty() || !starts.is_empty() {
        out.put_varint(histograms.len() as u64);
    }
    let mut before = (0i64, 0i64);
    for (number, time, histogram) in histograms {
        out.put_varint_signed(i64::from(*number) - before.0);
        out.put_varint_signed(time.wrapping_sub(before.1));
        before = (i64::from(*number), *time);
        out.put_u8(u8::from(histogram.is_some()));
        histogram.iter().for_each(|histogram| histogram.put(&mut out));
    }
    if !starts.is_empty() {
        let runs = || starts.chunk_by(|a, b| a == b);
        out.put_varint(runs().count() as u64);
        let mut before = 0i64;
        for run in runs() {
            let start = run.first().copied().unwrap_or(START_UNKNOWN);
            out.put_varint(run.len() as u64);
            out.put_varint_signed(start.wrapping_sub(before));
            before = start;
        }
    }
    out
}

/// Decodes a record's header; `None` where these bytes are not one.
pub(crate) fn decode(payload: &[u8]) -> Option<BatchRecord<'_>> {
    let mut cursor = Cursor::new(payload);
    let header = BatchHeader {
        tenant: TenantNumber(cursor.u32()?),
        epoch: cursor.varint()?,
        manifest: cursor.varint()?,
        written: Timestamp(cursor.i64()?),
    };
    let mut key = || Some(KeyId(u32::try_from(cursor.varint()?).ok()?));
    let (metrics_key, signals_key) = (key()?, key()?);
    let (salt, counter) = match metrics_key {
        KeyId::NONE if signals_key != KeyId::NONE => return None,
        KeyId::NONE => ([0; LOG_SALT_BYTES], 0),
        _ => (cursor.array()?, cursor.u64()?),
    };
    let before = payload.get(..cursor.offset())?;
    let (metrics, signals) = (cursor.blob()?, cursor.blob()?);
    if metrics_key != KeyId::NONE && (signals_key == KeyId::NONE) != signals.is_empty() {
        return None;
    }
    let record = BatchRecord { header, metrics_key, signals_key, salt, counter, before, metrics, signals };
    cursor.is_empty().then_some(record)
}

impl BatchRecord<'_> {
    /// Opens the record with its tenant's keys and decodes it.
    pub(crate) fn open(
        &self,
        keys: &TenantKeys,
        opener: &mut RecordOpener,
    ) -> Result<OpenRecord, RecordFault> {
        let metrics = self.open_blob(keys.metrics(), self.metrics_key, &mut opener.metrics, self.metrics)?;
        let (batch, metrics) = decode_metrics(&metrics).ok_or(RecordFault::Corrupt)?;
        let signals = match self.signals {
            [] => Vec::new(),
            sealed => self.open_blob(keys.signals(), self.signals_key, &mut opener.signals, sealed)?,
        };
        Ok(OpenRecord { batch, metrics, signals })
    }

    fn open_blob(
        &self,
        keys: Option<&impl Class>,
        key: KeyId,
        known: &mut Option<Known>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, RecordFault> {
        let mut bytes = sealed.to_vec();
        match (keys, key) {
            (None, KeyId::NONE) => return Ok(bytes),
            (None, _) => return Err(RecordFault::NoKey),
            // All records of a sealed tenant are sealed: nobody with its keys wrote this one.
            (Some(_), KeyId::NONE) => return Err(RecordFault::Corrupt),
            (Some(keys), _) => {
                let fits = |known: &Known| known.salt == self.salt && known.numbered.id == key;
                if !known.as_ref().is_some_and(fits) {
                    let sealer = keys.keys().sealer(key, &self.salt, LOG_INFO).ok_or(RecordFault::NoKey)?;
                    *known = Some(Known { salt: self.salt, numbered: Numbered { id: key, sealer } });
                }
            }
        }
        let sealer = known.as_ref().map(|known| &known.numbered.sealer).ok_or(RecordFault::NoKey)?;
        if sealer.open(nonce(self.counter), self.before, &mut bytes) {
            Ok(bytes)
        } else {
            Err(RecordFault::Corrupt)
        }
    }
}

/// Decodes a record's metrics.
fn decode_metrics(blob: &[u8]) -> Option<(BatchName, MetricRows)> {
    let mut cursor = Cursor::new(blob);
    let batch = BatchName {
        site: SiteName::new(cursor.text()?).ok()?,
        id: BatchId(cursor.array()?),
        digest: cursor.array()?,
    };
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
    let histograms = if cursor.is_empty() { Vec::new() } else { decode_histograms(&mut cursor)? };
    let records = samples.len() + histograms.len();
    let starts = if cursor.is_empty() { Vec::new() } else { decode_starts(&mut cursor, records)? };
    let rows = MetricRows { first_number, definitions, samples, histograms, starts };
    cursor.is_empty().then_some((batch, rows))
}

fn decode_histograms(cursor: &mut Cursor<'_>) -> Option<Vec<NumberedHistogram>> {
    let count = cursor.count(3)?;
    // None are named only where starts follow.
    if count == 0 && cursor.is_empty() {
        return None;
    }
    let mut before = (0i64, 0i64);
    (0..count)
        .map(|_| {
            let number = before.0.checked_add(cursor.varint_signed()?)?;
            let time = before.1.wrapping_add(cursor.varint_signed()?);
            before = (number, time);
            let histogram = match cursor.u8()? {
                0 => None,
                1 => Some(Arc::new(Histogram::read(cursor)?)),
                _ => return None,
            };
            Some((u32::try_from(number).ok()?, time, histogram))
        })
        .collect()
}

/// The starts of so many records.
fn decode_starts(cursor: &mut Cursor<'_>, records: usize) -> Option<Vec<i64>> {
    let mut starts = Vec::with_capacity(records);
    let mut start = START_UNKNOWN;
    for _ in 0..cursor.count(2)? {
        let run = usize::try_from(cursor.varint()?).ok()?;
        start = start.wrapping_add(cursor.varint_signed()?);
        if run == 0 || run > records - starts.len() {
            return None;
        }
        starts.extend(std::iter::repeat_n(start, run));
    }
    (starts.len() == records && records > 0).then_some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> BatchHeader {
        BatchHeader { tenant: TenantNumber(3), epoch: 4, manifest: 8, written: Timestamp(5) }
    }

    fn name() -> BatchName {
        BatchName { site: SiteName::new("a.b").expect("valid"), id: BatchId([6; 16]), digest: [7; 16] }
    }

    fn plain() -> (TenantKeys, RecordSealer) {
        let keys = TenantKeys::of_tests(false);
        let sealer = RecordSealer::new(&keys, [0; LOG_SALT_BYTES]);
        (keys, sealer)
    }

    /// Samples, and one series, which has number 9.
    fn metrics(samples: &[(u32, i64, f64)]) -> Vec<u8> {
        let labels = LabelSet::from_pairs([("__name__", "up"), ("job", "x")]).expect("valid");
        let mut table = SeriesTable::new();
        table.define(9, &labels, SeriesKind::Delta);
        encode_metrics(&table, 9, samples, &[], &[])
    }

    #[test]
    fn the_bytes_are_held() {
        let labels = LabelSet::from_pairs([("__name__", "up")]).expect("valid");
        let mut table = SeriesTable::new();
        table.define(0, &LabelSet::empty(), SeriesKind::Gauge);
        table.number(&labels, SeriesKind::Counter, false);
        let metrics = encode_metrics(&table, 1, &[(1, 1_000, 0.5), (0, 999, -0.0)], &[], &[]);
        let expected = [
            &b"\x03\0\0\0\x04\x08\x05\0\0\0\0\0\0\0\0\0\x4b\x03a.b"[..],
            &[6; 16],
            &[7; 16],
            b"\x01\x01\x01\x0d\x08__name__\x02\0up\x02\x02\x01\xd0\x0f\x01",
            &0.5f64.to_le_bytes(),
            &(-0.0f64).to_le_bytes(),
            b"\x04rows",
        ];
        let (_, sealer) = plain();
        assert_eq!(encode(&header(), &name(), &metrics, b"rows".to_vec(), &sealer, 9), expected.concat());
    }

    #[test]
    fn every_flipped_bit_of_a_sealed_record_is_noticed() {
        let keys = TenantKeys::of_tests(true);
        let sealer = RecordSealer::new(&keys, [4; LOG_SALT_BYTES]);
        let whole = encode(&header(), &name(), &metrics(&[(9, 1, 2.0)]), b"rows".to_vec(), &sealer, 77);
        let open = |bytes: &[u8]| {
            decode(bytes).map_or(Err(RecordFault::Corrupt), |record| {
                record.open(&keys, &mut RecordOpener::default()).map(|opened| (record.header, opened))
            })
        };
        let (found, opened) = open(&whole).expect("ours");
        assert_eq!((found, &opened.batch, &opened.signals[..]), (header(), &name(), &b"rows"[..]));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert!(open(&damaged).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn records_of_other_keys_and_plain_ones_are_told_apart() {
        let keys = TenantKeys::of_tests(true);
        let (plain_keys, plain_sealer) = plain();
        let sealer = RecordSealer::new(&keys, [4; LOG_SALT_BYTES]);
        let sealed = encode(&header(), &name(), &metrics(&[]), Vec::new(), &sealer, 1);
        let clear = encode(&header(), &name(), &metrics(&[]), Vec::new(), &plain_sealer, 1);
        let open = |bytes: &[u8], keys: &TenantKeys| {
            decode(bytes).expect("whole").open(keys, &mut RecordOpener::default()).map(|_| ())
        };
        assert_eq!(open(&sealed, &keys), Ok(()));
        assert_eq!(open(&sealed, &plain_keys), Err(RecordFault::NoKey));
        assert_eq!(open(&clear, &keys), Err(RecordFault::Corrupt), "nobody with the keys wrote it");
        assert_eq!(open(&clear, &plain_keys), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_record_round_trips_bit_for_bit(
            samples in prop::collection::vec(
                (any::<u32>(), any::<i64>(), any::<u64>(), prop_oneof![Just(0i64), Just(7), any::<i64>()]),
                0..40,
            ),
            known in any::<bool>(),
            signals in prop::collection::vec(any::<u8>(), 0..40),
            sealed in any::<bool>(),
        ) {
            let keys = TenantKeys::of_tests(sealed);
            let sealer = RecordSealer::new(&keys, [1; LOG_SALT_BYTES]);
            let labels = LabelSet::from_pairs([("__name__", "up"), ("job", "x")]).expect("valid");
            let mut table = SeriesTable::new();
            table.define(9, &labels, SeriesKind::Delta);
            let numbered: Vec<_> = samples.iter().map(|&(n, t, v, _)| (n, t, f64::from_bits(v))).collect();
            let starts: Vec<i64> = samples.iter().map(|sample| sample.3).filter(|_| known).collect();
            let metrics = encode_metrics(&table, 9, &numbered, &[], &starts);
            let bytes = encode(&header(), &name(), &metrics, signals.clone(), &sealer, 5);
            let record = decode(&bytes).expect("whole");
            prop_assert_eq!(&record.header, &header());
            let opened = record.open(&keys, &mut RecordOpener::default()).expect("ours");
            prop_assert_eq!((&opened.batch, &opened.signals), (&name(), &signals));
            let back = opened.metrics;
            prop_assert_eq!(back.first_number, 9);
            prop_assert_eq!(back.definitions, vec![(labels, SeriesKind::Delta)]);
            let bits: Vec<_> = back.samples.iter().map(|&(n, t, v)| (n, t, v.to_bits())).collect();
            prop_assert_eq!(bits, samples.iter().map(|&(n, t, v, _)| (n, t, v)).collect::<Vec<_>>());
            prop_assert_eq!(back.starts, starts);
        }

        #[test]
        fn damaged_records_never_panic(
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
            cut in any::<usize>(),
            sealed in any::<bool>(),
        ) {
            let keys = TenantKeys::of_tests(sealed);
            let sealer = RecordSealer::new(&keys, [1; LOG_SALT_BYTES]);
            let labels = LabelSet::from_pairs([("__name__", "up")]).expect("valid");
            let mut table = SeriesTable::new();
            table.define(0, &labels, SeriesKind::Gauge);
            let metrics = encode_metrics(&table, 0, &[(0, 1, 1.0), (0, 2, 2.0)], &[], &[1, 1]);
            let mut bytes = encode(&header(), &name(), &metrics, b"rows".to_vec(), &sealer, 5);
            for (at, mask) in flips {
                let at = at % bytes.len();
                bytes[at] ^= mask;
            }
            for bytes in [&bytes[..], &bytes[..cut % (bytes.len() + 1)]] {
                if let Some(record) = decode(bytes) {
                    let _ = record.open(&keys, &mut RecordOpener::default());
                }
            }
        }
    }
}
