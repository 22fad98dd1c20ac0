//! Columnar blocks: one file holds one tenant's samples or signals of one UTC day, and never changes.
//!
//! ```text
//!   MetricBlockWriter ─► EncodedBlock ─► (published by the caller) ─► MetricBlock
//!   RollupBlockWriter ─►   bytes, meta                            ─► RollupBlock
//!   SignalBlockWriter ─►                                          ─► SignalBlock
//!
//!   header │ data: stamps, values, aggregates / rows │ index: columns, symbols, labels, series, pages / groups │ footer
//! ```
//!
//! - The frame (`container.rs`): identity, feature bits, sections, and a check over every byte. Each check
//!   covers tenant, block and position, so that intact bytes in the wrong place are refused as damage is.
//! - Codecs (`codec/`) give back every value bit for bit: NaN payloads, stale markers and -0.0 included.
//! - Reading takes the file's bytes as they are mapped: opening touches header and footer only. Each chunk is
//!   copied out, checked and decoded from the copy, each time.
//! - Where the host gives keys, every part is compressed, then sealed (`sealing.rs`): `seal_with` for a writer, `unlock`
//!   for a reader. Without keys a sealed block opens, tells what its footer says, and can be checked for rot.
//! - Nothing here opens files, reads clocks or starts threads. The same input gives the same bytes.
//!
//! ```
//! use annals_block::{BlockIdentity, MetricBlock, MetricBlockWriter};
//! use annals_model::{BlockContent, BlockId, ChunkAge, Day, LabelSet, Lsn, LsnRange, Matcher, Samples, SeriesKind,
//!     TenantNumber, TimeRange};
//! use annals_vfs::Sealed;
//!
//! let id = BlockId { day: Day(0), content: BlockContent::RawMetrics, sequence: 1 };
//! let identity = BlockIdentity { tenant: TenantNumber(7), id };
//! let lsns = LsnRange { after: Lsn(0), through: Lsn(9) };
//! let mut writer = MetricBlockWriter::new(identity, lsns, 0, ChunkAge::Fresh);
//! let up = LabelSet::from_pairs([("__name__", "up"), ("job", "web")])?;
//! writer.add_series(&up, SeriesKind::Gauge, &[1_000, 2_000], &[1.0, 0.0], &[])?;
//! let encoded = writer.finish()?.ok_or("no series")?;
//!
//! let block = MetricBlock::open(Sealed::new(encoded.bytes), identity, "an example")?;
//! let found = block.find(&[Matcher::equal("job", "web")])?;
//! let mut samples = Samples::default();
//! for ordinal in found {
//!     block.read(ordinal, TimeRange::ALL, &mut samples)?;
//! }
//! assert_eq!((samples.timestamps, samples.values), (vec![1_000, 2_000], vec![1.0, 0.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod aggregates;
mod codec;
mod columns;
mod container;
mod error;
#[cfg(test)]
mod forged;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod histogram_series;
mod histograms;
mod labels;
mod metric_block;
mod metric_writer;
mod pieces;
mod rollup_block;
mod row_reader;
mod rows;
mod schemas;
mod scratch;
#[cfg(test)]
mod sealed_tests;
mod sealing;
mod series;
mod series_index;
mod signal_block;
mod signal_scan;
mod signal_writer;
mod squeeze;
mod symbols;
#[cfg(test)]
mod testing;
mod windows;

pub use container::{EncodedBlock, MAGIC};
pub use error::{BlockError, BlockIdentity, CodecUse, Corruption, Damage, SectionInfo, WriteError};
pub use metric_block::MetricBlock;
pub use metric_writer::MetricBlockWriter;
pub use rollup_block::{RollupBlock, RollupBlockWriter};
pub use sealing::{SALT_BYTES, SealWith};
pub use series_index::SeriesIndex;
pub use signal_block::SignalBlock;
pub use signal_scan::{LostRows, SignalCounts, SignalScan};
pub use signal_writer::SignalBlockWriter;

/// Hashes without randomness: tables are only looked up in, never iterated into output unsorted.
#[derive(Clone)]
struct FixedHash(foldhash::quality::FixedState);

impl Default for FixedHash {
    fn default() -> FixedHash {
        FixedHash(foldhash::quality::FixedState::with_seed(0x616e_6e61_6c73))
    }
}

impl std::hash::BuildHasher for FixedHash {
    type Hasher = <foldhash::quality::FixedState as std::hash::BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}
