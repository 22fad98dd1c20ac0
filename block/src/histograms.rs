//! A chunk of native histograms: each bucket is a column.
//!
//! | bytes  | field  | notes                                                                  |
//! |-------:|--------|------------------------------------------------------------------------|
//! | varint | `runs` | how many, at least one; then per run of histograms with the same layout: |
//! | varint | `len`  | how many samples, at least one; together as many as the column has stamps |
//! |      1 | `form` | 0: markers that the series has ended, nothing follows; 1: histograms     |
//! |      1 | `schema` | i8                                                                   |
//! |      8 | `zero_threshold` | f64                                                          |
//! | varint | `bounds` | how many custom bounds; 8 bytes each                                  |
//! | varint | `positive` | how many buckets; the index of each, ascending, as the difference to the one before (zigzag) |
//! | varint | `negative` | the same                                                           |
//! |      - | columns | each a length (varint) and a chunk of values as `codec/values.rs` encodes them |
//!
//! Columns of a run: the reset hints by their tags, `count`, `sum`, `zero_count`, then each positive and each negative
//! bucket. A run lists the buckets that any of its histograms has; a histogram without one has 0 there. A chunk has no
//! more than [`CELLS_MAX`] cells of columns, so that decoding one takes a bounded amount of memory.

use std::ops::Range;
use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{Histogram, HistogramSample, ResetHint};

use crate::codec::ints::{Decoding, Effort};
use crate::codec::kernel::Level;
use crate::codec::values::{self, ValueEncoder};

/// Histograms per chunk.
const CHUNK_HISTOGRAMS: usize = 256;
/// Samples times columns of a chunk.
const CELLS_MAX: usize = 1 << 20;
/// Hints, counts, sums, zero counts.
const FIELDS: usize = 4;

const MARKERS: u8 = 0;
const HISTOGRAMS: u8 = 1;

// One histogram always fits.
const _: () = assert!(FIELDS + 2 * annals_model::HISTOGRAM_BUCKETS_MAX <= CELLS_MAX);

/// How many of these samples the next chunk holds.
pub(crate) fn chunk_length(samples: &[HistogramSample]) -> usize {
    let mut length = samples.len().min(CHUNK_HISTOGRAMS);
    while length > 1 {
        let of_chunk = samples.get(..length).unwrap_or_default();
        let cells: usize = runs(of_chunk).map(|run| run.len() * (FIELDS + buckets(run).len())).sum();
        if cells <= CELLS_MAX {
            break;
        }
        length /= 2;
    }
    length
}

/// Neighbours of the same layout.
fn runs(samples: &[HistogramSample]) -> impl Iterator<Item = &[HistogramSample]> {
    samples.chunk_by(|a, b| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.schema == b.schema
                && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
                && a.custom_bounds == b.custom_bounds
        }
        _ => false,
    })
}

/// The indexes of all buckets of a run: of the positive ones, then of the negative ones, ascending.
struct Indexes(Vec<i32>, Vec<i32>);

impl Indexes {
    fn len(&self) -> usize {
        self.0.len() + self.1.len()
    }
}

fn buckets(run: &[HistogramSample]) -> Indexes {
    let side = |of: fn(&Histogram) -> &[(i32, f64)]| {
        let mut indexes: Vec<i32> = run
            .iter()
            .flatten()
            .flat_map(|histogram| of(histogram).iter().map(|(index, _)| *index))
            .collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    };
    Indexes(side(|histogram| &histogram.positive), side(|histogram| &histogram.negative))
}

/// Appends a chunk.
pub(crate) fn encode(
    samples: &[HistogramSample],
    encoder: &mut ValueEncoder,
    effort: Effort,
    out: &mut Vec<u8>,
) {
    // Columns are short: what the slowest codec gains, its tables take.
    let effort = effort.min(Effort::Warm);
    out.put_varint(runs(samples).count() as u64);
    let (mut column, mut bytes) = (Vec::new(), Vec::new());
    for run in runs(samples) {
        out.put_varint(run.len() as u64);
        let Some(Some(first)) = run.first() else {
            out.put_u8(MARKERS);
            continue;
        };
        out.put_u8(HISTOGRAMS);
        out.put_u8(first.schema as u8);
        out.put_u64(first.zero_threshold.to_bits());
        out.put_varint(first.custom_bounds.len() as u64);
        first.custom_bounds.iter().for_each(|bound| out.put_u64(bound.to_bits()));
        let indexes = buckets(run);
        for side in [&indexes.0, &indexes.1] {
            out.put_varint(side.len() as u64);
            let mut before = 0;
            for &index in side {
                out.put_varint_signed(i64::from(index) - before);
                before = i64::from(index);
            }
        }
        let mut put = |of: &mut dyn FnMut(&Histogram) -> f64| {
            column.clear();
            column.extend(run.iter().flatten().map(|histogram| of(histogram)));
            bytes.clear();
            encoder.encode(&column, effort, &mut bytes);
            out.put_blob(&bytes);
        };
        put(&mut |histogram| f64::from(histogram.reset_hint.tag()));
        put(&mut |histogram| histogram.count);
        put(&mut |histogram| histogram.sum);
        put(&mut |histogram| histogram.zero_count);
        let mut put_side = |indexes: &[i32], of: fn(&Histogram) -> &[(i32, f64)]| {
            // How far each histogram's buckets have been written.
            let mut next = vec![0usize; run.len()];
            for &index in indexes {
                let mut next = next.iter_mut();
                put(&mut |histogram| match (next.next(), of(histogram)) {
                    (Some(at), side) => match side.get(*at).filter(|(own, _)| *own == index) {
                        Some((_, count)) => {
                            *at += 1;
                            *count
                        }
                        None => 0.0,
                    },
                    (None, _) => 0.0,
                });
            }
        };
        put_side(&indexes.0, |histogram| &histogram.positive);
        put_side(&indexes.1, |histogram| &histogram.negative);
    }
}

/// Appends the samples at `positions` of a chunk of `count`; `None` where the bytes are not that. What was appended then
/// has to be taken back.
pub(crate) fn decode(
    bytes: &[u8],
    count: usize,
    positions: Range<usize>,
    decoding: &mut Decoding,
    out: &mut Vec<HistogramSample>,
) -> Option<()> {
    let mut cursor = Cursor::new(bytes);
    let (mut at, mut cells) = (0usize, 0usize);
    for _ in 0..cursor.count(2)? {
        let len = usize::try_from(cursor.varint()?).ok().filter(|&len| len > 0 && len <= count - at)?;
        let wanted = positions.start.clamp(at, at + len) - at..positions.end.clamp(at, at + len) - at;
        at += len;
        match cursor.u8()? {
            MARKERS => out.extend(wanted.map(|_| None)),
            HISTOGRAMS => decode_run(&mut cursor, len, wanted, &mut cells, decoding, out)?,
            _ => return None,
        }
    }
    (at == count && cursor.is_empty()).then_some(())
}

fn decode_run(
    cursor: &mut Cursor<'_>,
    len: usize,
    wanted: Range<usize>,
    cells: &mut usize,
    decoding: &mut Decoding,
    out: &mut Vec<HistogramSample>,
) -> Option<()> {
    let schema = cursor.u8()? as i8;
    let zero_threshold = f64::from_bits(cursor.u64()?);
    let bounds = cursor.count(8)?;
    let custom_bounds: Arc<[f64]> =
        (0..bounds).map(|_| Some(f64::from_bits(cursor.u64()?))).collect::<Option<_>>()?;
    let indexes = Indexes(read_indexes(cursor)?, read_indexes(cursor)?);
    *cells = cells.checked_add(len.checked_mul(FIELDS + indexes.len())?)?;
    if *cells > CELLS_MAX {
        return None;
    }
    let mut column = |into: &mut Vec<f64>| {
        into.clear();
        values::decode(cursor.blob()?, len, Level::widest(), decoding, wanted.clone(), into)
    };
    let mut fields: [Vec<f64>; FIELDS] = Default::default();
    for field in &mut fields {
        column(field)?;
    }
    let [hints, counts, sums, zero_counts] = &fields;
    let first = Histogram { schema, zero_threshold, custom_bounds, ..Histogram::default() };
    let mut histograms = Vec::with_capacity(counts.len());
    for (((&hint, &count), &sum), &zero_count) in hints.iter().zip(counts).zip(sums).zip(zero_counts) {
        let whole = (hint.fract() == 0.0 && (0.0..4.0).contains(&hint)).then_some(hint as u8)?;
        let reset_hint = ResetHint::from_tag(whole)?;
        histograms.push(Histogram { reset_hint, count, sum, zero_count, ..first.clone() });
    }
    let mut values = Vec::new();
    for (side, of) in [
        (&indexes.0, (|histogram| &mut histogram.positive) as fn(&mut Histogram) -> &mut Vec<(i32, f64)>),
        (&indexes.1, |histogram| &mut histogram.negative),
    ] {
        for &index in side {
            column(&mut values)?;
            for (histogram, &count) in histograms.iter_mut().zip(&values) {
                if count != 0.0 {
                    of(histogram).push((index, count));
                }
            }
        }
    }
    if histograms.iter().any(|histogram| histogram.check().is_err()) {
        return None;
    }
    out.extend(histograms.into_iter().map(|histogram| Some(Arc::new(histogram))));
    Some(())
}

fn read_indexes(cursor: &mut Cursor<'_>) -> Option<Vec<i32>> {
    // Each has a column of two bytes at least, too.
    let count = cursor.count(3)?;
    let mut before = 0i64;
    (0..count)
        .map(|_| {
            before = before.checked_add(cursor.varint_signed()?)?;
            i32::try_from(before).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::CUSTOM_BUCKETS_SCHEMA;
    use proptest::prelude::*;

    fn histogram(schema: i8, buckets: &[(i32, u32)], sum: f64, hint: u8) -> HistogramSample {
        let side = |keep: fn(i32) -> bool| -> Vec<(i32, f64)> {
            buckets.iter().filter(|(i, c)| keep(*i) && *c > 0).map(|&(i, c)| (i, f64::from(c))).collect()
        };
        let custom = schema == CUSTOM_BUCKETS_SCHEMA;
        Some(Arc::new(Histogram {
            reset_hint: ResetHint::from_tag(hint).expect("below 4"),
            schema,
            zero_threshold: if custom { 0.0 } else { 0.001 },
            zero_count: if custom { 0.0 } else { 3.0 },
            count: buckets.iter().map(|(_, count)| f64::from(*count)).sum(),
            sum,
            positive: side(|index| index >= 0),
            negative: if custom { vec![] } else { side(|index| index < 0) },
            custom_bounds: if custom { (0..40).map(f64::from).collect() } else { [].into() },
        }))
    }

    fn round_trip(samples: &[HistogramSample], positions: Range<usize>) -> Option<Vec<HistogramSample>> {
        let mut bytes = Vec::new();
        encode(samples, &mut ValueEncoder::new(), Effort::Hot, &mut bytes);
        let mut back = Vec::new();
        decode(&bytes, samples.len(), positions, &mut Decoding::default(), &mut back)?;
        Some(back)
    }

    fn same(a: &[HistogramSample], b: &[HistogramSample]) -> bool {
        let pair = |(a, b): (&HistogramSample, &HistogramSample)| match (a, b) {
            (Some(a), Some(b)) => a.equals(b) && a.reset_hint == b.reset_hint,
            (a, b) => a.is_none() && b.is_none(),
        };
        a.len() == b.len() && a.iter().zip(b).all(pair)
    }

    fn samples() -> impl Strategy<Value = Vec<HistogramSample>> {
        let schema = prop::sample::select(vec![-4i8, 0, 8, CUSTOM_BUCKETS_SCHEMA]);
        let buckets = prop::collection::btree_map(-30i32..30, 0u32..1000, 0..12);
        let one = (schema, buckets, any::<f64>(), 0u8..4, 1usize..20, any::<bool>());
        prop::collection::vec(one, 1..12).prop_map(|runs| {
            runs.into_iter()
                .flat_map(|(schema, buckets, sum, hint, len, ended)| {
                    let buckets: Vec<(i32, u32)> = buckets.into_iter().collect();
                    let one = if ended { None } else { histogram(schema, &buckets, sum, hint) };
                    std::iter::repeat_n(one, len)
                })
                .collect()
        })
    }

    #[test]
    fn growing_counters_take_a_few_bits_a_bucket() {
        let samples: Vec<HistogramSample> = (0..256u32)
            .map(|i| {
                let buckets: Vec<(i32, u32)> = (0..40).map(|b| (b, 1000 + i * (b as u32 % 7))).collect();
                histogram(3, &buckets, f64::from(i) * 2.5, 0)
            })
            .collect();
        let mut bytes = Vec::new();
        encode(&samples, &mut ValueEncoder::new(), Effort::Hot, &mut bytes);
        assert!(bytes.len() < 256 * 3, "{} bytes", bytes.len());
    }

    #[test]
    fn a_chunk_has_a_bounded_number_of_cells() {
        // No two histograms share a bucket.
        let samples: Vec<HistogramSample> = (0..256)
            .map(|i| {
                let buckets: Vec<(i32, u32)> = (i * 100..i * 100 + 100).map(|index| (index, 1)).collect();
                histogram(0, &buckets, 1.0, 0)
            })
            .collect();
        let length = chunk_length(&samples);
        assert!(length > 1 && length < 256, "{length}");
        assert!(round_trip(&samples[..length], 0..length).is_some());
        assert!(round_trip(&samples, 0..256).is_none());
    }

    proptest! {
        #[test]
        fn a_chunk_gives_back_every_bit(samples in samples(), cut in any::<(usize, usize)>()) {
            let (a, b) = (cut.0 % (samples.len() + 1), cut.1 % (samples.len() + 1));
            let positions = a.min(b)..a.max(b);
            let back = round_trip(&samples, positions.clone()).expect("what was encoded");
            prop_assert!(same(&back, &samples[positions]));
        }

        #[test]
        fn damaged_chunks_are_refused_or_hold_valid_histograms(
            samples in samples(),
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
            cut in any::<usize>(),
        ) {
            let mut bytes = Vec::new();
            encode(&samples, &mut ValueEncoder::new(), Effort::Hot, &mut bytes);
            for (at, mask) in flips {
                let at = at % bytes.len();
                bytes[at] ^= mask;
            }
            for bytes in [&bytes[..], &bytes[..cut % (bytes.len() + 1)]] {
                let mut back = Vec::new();
                let all = 0..samples.len();
                if decode(bytes, samples.len(), all, &mut Decoding::default(), &mut back).is_some() {
                    prop_assert_eq!(back.len(), samples.len());
                    prop_assert!(back.iter().flatten().all(|histogram| histogram.check().is_ok()));
                }
            }
        }
    }
}
