//! Sealing a day: its rollups, made of all its raw blocks, and the digest of what they were made from.
//!
//! The digest is over each series in label order: its labels, kind, count, whether its stamps are those of the series before,
//! else its stamps, values (of a histogram, its bytes) and start times where any is known. So it says what the day held,
//! whichever blocks held it, and a day that is sealed again from the same samples has the same one. Series of one host have
//! their stamps in common: what is hashed is half of what there is.

use std::borrow::Borrow;

use annals_block::{BlockIdentity, EncodedBlock, MetricBlock, RollupBlockWriter, SealWith};
use annals_model::{LsnRange, START_UNKNOWN, SeriesSamples, Timestamp, roll_up};

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
    let (mut rows, mut rollups, mut bytes) = (0u64, Vec::new(), Vec::new());
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
                put_words(&mut bytes, values.iter().map(|value| value.to_bits().to_le_bytes()));
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
        for (identity, writer) in &mut writers {
            let Some(window_ms) = identity.id.content.window_ms() else { continue };
            let added = match samples {
                SeriesSamples::Numbers(timestamps, values, starts) => {
                    rollups.clear();
                    roll_up(kind, window_ms, timestamps, values, starts, &mut rollups);
                    writer.add_series(labels, kind, &rollups)
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

/// Appends words: byte by byte this takes longer than hashing them does.
fn put_words(bytes: &mut Vec<u8>, words: impl ExactSizeIterator<Item = [u8; 8]>) {
    let before = bytes.len();
    bytes.resize(before + 8 * words.len(), 0);
    let (_, added) = bytes.split_at_mut(before);
    added.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word));
}
