//! Sealing a day: its rollups, made of all its raw blocks, and the digest of what they were made from.
//!
//! The digest is over each series in label order: its labels, kind, count, whether its stamps are those of the series before,
//! else its stamps, values (of a histogram, its bytes) and start times where any is known. So it says what the day held,
//! whichever blocks held it, and a day that is sealed again from the same samples has the same one. Series of one host have
//! their stamps in common, and counts are small numbers: half of what there is is hashed, or a sixteenth. Values are behind
//! how many bytes each takes: 1, 2 or 4 where all are whole numbers that these hold, else 8, the double's.

use std::borrow::Borrow;

use annals_block::{BlockIdentity, EncodedBlock, MetricBlock, RollupBlockWriter, SealWith};
use annals_model::{LsnRange, Rollup, START_UNKNOWN, SeriesSamples, Timestamp, roll_up, roll_up_further};

use crate::merge::{MergeError, Series, each_series, lineage};

/// A block of rollups that is to be made.
pub struct RollupOutput<'a> {
    /// Its name; its content says which tier.
    pub identity: BlockIdentity,
    /// What it is sealed with.
    pub seal: Option<SealWith<'a>>,
}

/// What a day came to.
#[derive(Debug)]
pub struct SealedDay {
    /// A block for each output, in their order; none where there were no samples.
    pub blocks: Vec<EncodedBlock>,
    /// The records that it was made of.
    pub lsns: LsnRange,
    /// Samples, one per series and stamp.
    pub rows: u64,
}

/// Rolls up the raw blocks of a day, given in LSN order; hands the bytes of what they hold to `digest`, in pieces.
///
/// Holds one series of all inputs in memory at a time, and the outputs.
pub fn seal_day(
    inputs: &[impl Borrow<MetricBlock>],
    outputs: Vec<RollupOutput<'_>>,
    digest: &mut dyn FnMut(&[u8]),
) -> Result<Option<SealedDay>, MergeError> {
    let inputs: Vec<&MetricBlock> = inputs.iter().map(Borrow::borrow).collect();
    let Some(first) = inputs.first() else { return Ok(None) };
    let Some((lsns, _)) = lineage(inputs.iter().map(|block| block.meta()), first.meta().id)? else {
        return Ok(None);
    };
    let mut writers: Vec<(BlockIdentity, RollupBlockWriter)> = outputs
        .into_iter()
        .map(|RollupOutput { identity, seal }| {
            let writer = RollupBlockWriter::new(identity, lsns);
            (
                identity,
                match seal {
                    Some(seal) => writer.seal_with(seal),
                    None => writer,
                },
            )
        })
        .collect();
    let (mut rows, mut bytes) = (0u64, Vec::new());
    let (mut finer, mut rollups): (Vec<Rollup>, Vec<Rollup>) = (Vec::new(), Vec::new());
    let mut stamps_before: Vec<i64> = Vec::new();
    each_series(&inputs, Timestamp::MIN, |Series { labels, kind, samples }| {
        let timestamps = samples.timestamps();
        rows += timestamps.len() as u64;
        bytes.clear();
        bytes.extend((labels.as_bytes().len() as u64).to_le_bytes());
        bytes.extend(labels.as_bytes());
        bytes.push(kind.tag());
        bytes.extend((timestamps.len() as u64).to_le_bytes());
        bytes.push(u8::from(timestamps == stamps_before));
        if timestamps != stamps_before {
            put_words(&mut bytes, timestamps.iter().map(|stamp| stamp.to_le_bytes()));
            stamps_before.clear();
            stamps_before.extend_from_slice(timestamps);
        }
        match samples {
            SeriesSamples::Numbers(_, values, _) => {
                put_values(&mut bytes, values);
            }
            SeriesSamples::Histograms(samples) => {
                for histogram in &samples.histograms {
                    bytes.push(u8::from(histogram.is_some()));
                    histogram.iter().for_each(|histogram| histogram.put(&mut bytes));
                }
            }
        }
        let starts = samples.start_times();
        if starts.iter().any(|&start| start != START_UNKNOWN) {
            put_words(&mut bytes, starts.iter().map(|start| start.to_le_bytes()));
        }
        digest(&bytes);
        let mut finer_ms = None;
        for (identity, writer) in &mut writers {
            let Some(window_ms) = identity.id.content.window_ms() else { continue };
            let added = match samples {
                SeriesSamples::Numbers(timestamps, values, starts) => {
                    rollups.clear();
                    let divides = finer_ms.is_some_and(|finer_ms| window_ms % finer_ms == 0);
                    if !(divides && roll_up_further(kind, window_ms, &finer, &mut rollups)) {
                        roll_up(kind, window_ms, timestamps, values, starts, &mut rollups);
                    }
                    let added = writer.add_series(labels, kind, &rollups);
                    finer_ms = Some(window_ms);
                    std::mem::swap(&mut finer, &mut rollups);
                    added
                }
                SeriesSamples::Histograms(samples) => {
                    writer.add_histograms(labels, kind, &samples.thinned(kind, window_ms))
                }
            };
            added.map_err(|source| MergeError::Write { block: identity.id, source })?;
        }
        Ok(())
    })?;
    let finish = |(identity, writer): (BlockIdentity, RollupBlockWriter)| {
        writer.finish().map_err(|source| MergeError::Write { block: identity.id, source })
    };
    let blocks: Vec<Option<EncodedBlock>> = writers.into_iter().map(finish).collect::<Result<_, _>>()?;
    Ok((rows > 0).then(|| SealedDay { blocks: blocks.into_iter().flatten().collect(), lsns, rows }))
}

/// Appends values, each in as many bytes as the widest takes, behind how many that are.
fn put_values(bytes: &mut Vec<u8>, values: &[f64]) {
    let before = bytes.len();
    for (width, put) in
        [(1, put_whole::<1> as fn(&mut Vec<u8>, &[f64]) -> bool), (2, put_whole::<2>), (4, put_whole::<4>)]
    {
        bytes.push(width);
        if put(bytes, values) {
            return;
        }
        bytes.truncate(before);
    }
    bytes.push(8);
    put_words(bytes, values.iter().map(|value| value.to_bits().to_le_bytes()));
}

/// Appends whole numbers, each in so many bytes; false where one is not whole or takes more: then some may be there.
fn put_whole<const BYTES: usize>(bytes: &mut Vec<u8>, values: &[f64]) -> bool {
    /// Added to a whole number of fewer bits than 52, it leaves the number in the low bits of a double.
    const SHIFT: f64 = ((1u64 << 52) + (1 << 51)) as f64;
    let bound = (1u64 << (8 * BYTES - 1)) as f64;
    values.chunks(256).all(|values| {
        // No branch, so that it is done several values at a time. Of -0.0 the bits are others, NaN is within no bound.
        let mut fit = true;
        let words = values.iter().map(|&value| {
            let shifted = value + SHIFT;
            fit &= (shifted - SHIFT).to_bits() == value.to_bits() && value >= -bound && value < bound;
            let [word @ .., _, _, _, _] = shifted.to_bits().to_le_bytes();
            std::array::from_fn(|at| word.get(at).copied().unwrap_or(0))
        });
        put_words::<BYTES>(bytes, words);
        fit
    })
}

/// Appends words: byte by byte this takes longer than hashing them does.
fn put_words<const BYTES: usize>(bytes: &mut Vec<u8>, words: impl ExactSizeIterator<Item = [u8; BYTES]>) {
    let before = bytes.len();
    bytes.resize(before + BYTES * words.len(), 0);
    let (_, added) = bytes.split_at_mut(before);
    added.chunks_exact_mut(BYTES).zip(words).for_each(|(to, word)| to.copy_from_slice(&word));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_wide_as_the_widest_and_none_is_changed() {
        let cases: [(&[f64], u8, &[u8]); 9] = [
            (&[], 1, &[]),
            (&[0.0, 1.0, -128.0, 127.0], 1, &[0, 1, 0x80, 0x7f]),
            (&[128.0, -1.0], 2, &[0x80, 0, 0xff, 0xff]),
            (&[32_768.0], 4, &[0, 0x80, 0, 0]),
            (&[-2_147_483_648.0], 4, &[0, 0, 0, 0x80]),
            (&[2_147_483_648.0], 8, &2_147_483_648f64.to_le_bytes()),
            (&[0.5], 8, &0.5f64.to_le_bytes()),
            (&[-0.0], 8, &(-0.0f64).to_le_bytes()),
            (&[f64::NAN], 8, &f64::NAN.to_le_bytes()),
        ];
        for (values, width, expected) in cases {
            let mut bytes = Vec::new();
            put_values(&mut bytes, values);
            assert_eq!((bytes[0], &bytes[1..]), (width, expected), "{values:?}");
        }
        for one in [f64::INFINITY, 1e300, -1e-300, f64::from_bits(1)] {
            let mut bytes = Vec::new();
            put_values(&mut bytes, &[1.0, one]);
            assert_eq!((bytes.len(), bytes[0]), (17, 8));
        }
    }
}
