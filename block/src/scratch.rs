//! Buffers that each thread keeps from read to read, so that decoding a chunk allocates nothing, and what it decoded last
//! of what neighbouring chunks share.

use std::cell::Cell;

use crate::aggregates::Page;
use crate::codec::ints::Decoding;

/// Columns of timestamps that a thread keeps: those that the chunks of one series and the next share.
const COLUMNS_KEPT: usize = 12;

/// What decoding a chunk needs besides its output.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The chunk's bytes: checked and decoded as this copy, never in place.
    pub(crate) copy: Vec<u8>,
    /// What decoders keep.
    pub(crate) decoding: Decoding,
    pub(crate) columns: KeptColumns,
    /// Of start times.
    pub(crate) starts: KeptColumns,
    pub(crate) page: KeptPage,
}

/// A place in an opened block: the number that the block drew when it was opened, and an ordinal.
pub(crate) type BlockPlace = (u64, u64);

/// The columns that were decoded last; each was checked then.
#[derive(Default)]
pub(crate) struct KeptColumns {
    kept: Vec<(Option<BlockPlace>, Vec<i64>)>,
    oldest: usize,
}

impl KeptColumns {
    /// The column of that place: as it was kept, or as `decode` makes it.
    pub(crate) fn get<E>(
        &mut self,
        place: BlockPlace,
        decode: impl FnOnce(&mut Vec<i64>) -> Result<(), E>,
    ) -> Result<&[i64], E> {
        let at = match self.kept.iter().position(|(kept, _)| *kept == Some(place)) {
            Some(at) => at,
            None => {
                if self.kept.len() < COLUMNS_KEPT {
                    self.kept.push((None, Vec::new()));
                    self.oldest = self.kept.len() - 1;
                }
                let at = self.oldest;
                self.oldest = (at + 1) % COLUMNS_KEPT;
                if let Some((kept, stamps)) = self.kept.get_mut(at) {
                    *kept = None;
                    decode(stamps)?;
                    *kept = Some(place);
                }
                at
            }
        };
        Ok(self.kept.get(at).map_or(&[], |(_, stamps)| stamps))
    }
}

/// The page of aggregates that was decoded last; it was checked then.
#[derive(Default)]
pub(crate) struct KeptPage {
    kept: Option<BlockPlace>,
    page: Page,
}

impl KeptPage {
    /// The page of that place: as it was kept, or as `decode` makes it.
    pub(crate) fn get<E>(
        &mut self,
        place: BlockPlace,
        decode: impl FnOnce(&mut Page) -> Result<(), E>,
    ) -> Result<&Page, E> {
        if self.kept != Some(place) {
            self.kept = None;
            decode(&mut self.page)?;
            self.kept = Some(place);
        }
        Ok(&self.page)
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs `work` with this thread's buffers. A read inside of another read gets buffers of its own.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}
