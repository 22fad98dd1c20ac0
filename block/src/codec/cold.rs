//! pco, for what is kept long and read seldom: the smallest form of most columns, and the slowest to decode.
//!
//! The bytes are one chunk of one page in pco's wrapped format (versioned by its header byte): of whole numbers inside a
//! run, or of doubles as a form of values of its own.

use pco::data_types::Number;
use pco::metadata::DeltaEncoding;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

/// Higher levels take twice the time and save a hundredth.
const LEVEL: usize = 8;
/// pco's own head: fewer numbers are never smaller this way.
pub(crate) const COLD_COUNT_MIN: usize = 128;
/// A hostile chunk must not take memory for a window that no chunk of ours can look back over.
const WINDOW_LOG_MAX: u32 = 16;

/// The numbers in pco's form; `None` where it has none.
pub(crate) fn encode<T: Number>(numbers: &[T]) -> Option<Vec<u8>> {
    if numbers.len() < COLD_COUNT_MIN {
        return None;
    }
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_paging_spec(PagingSpec::Exact(vec![numbers.len()]));
    let file = FileCompressor::default();
    let mut out = file.write_header(Vec::new()).ok()?;
    let mut chunk = file.chunk_compressor(numbers, &config).ok()?;
    out = chunk.write_meta(out).ok()?;
    chunk.write_page(0, out).ok()
}

/// Fills `out` from pco's form; `None` where the bytes are not exactly that.
pub(crate) fn decode<T: Number>(bytes: &[u8], out: &mut [T]) -> Option<()> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    if let DeltaEncoding::Lookback { config, .. } = &chunk.meta().delta_encoding
        && config.window_n_log > WINDOW_LOG_MAX
    {
        return None;
    }
    let mut page = chunk.page_decompressor(rest, out.len()).ok()?;
    let progress = page.read(out).ok()?;
    (progress.finished && progress.n_processed == out.len() && page.into_src().is_empty()).then_some(())
}
