//! Buffers that each thread keeps from read to read, so that decoding a chunk allocates nothing, and what it decoded last
//! of what neighbouring chunks share.

use std::cell::Cell;

use annals_model::Samples;

use crate::aggregates::Page;
use crate::codec::ints::Decoding;
use crate::windows::WindowColumns;

/// Columns of timestamps that a thread keeps: those that the chunks of one series and the next share.
const COLUMNS_KEPT: u64 = 16;
/// Pages of aggregates that a thread keeps, of 4 KiB: those of the blocks of some months that chunks of one series and the
/// next share.
const PAGES_KEPT: u64 = 128;

/// What decoding a chunk needs besides its output.
pub(crate) struct Scratch {
    /// The chunk's bytes: checked and decoded as this copy, never in place.
    pub(crate) copy: Vec<u8>,
    /// What decoders keep.
    pub(crate) decoding: Decoding,
    /// Columns of timestamps.
    pub(crate) columns: Kept<Vec<i64>>,
    /// Columns of start times.
    pub(crate) starts: Kept<Vec<i64>>,
    /// Pages of aggregates.
    pub(crate) pages: Kept<Page>,
    /// Columns of windows.
    pub(crate) windows: WindowColumns,
    /// Samples that an aggregate is made from.
    pub(crate) samples: Samples,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            copy: Vec::new(),
            decoding: Decoding::default(),
            columns: Kept::new(COLUMNS_KEPT),
            starts: Kept::new(COLUMNS_KEPT),
            pages: Kept::new(PAGES_KEPT),
            windows: WindowColumns::default(),
            samples: Samples::default(),
        }
    }
}

/// A place in an opened block: the number that the block drew when it was opened, and an ordinal.
pub(crate) type BlockPlace = (u64, u64);

/// What a thread decoded last, each in the slot that its place says; it was checked then.
pub(crate) struct Kept<T> {
    count: u64,
    slots: Vec<Slot<T>>,
}

#[derive(Default)]
struct Slot<T> {
    kept: Option<BlockPlace>,
    value: T,
    /// What was asked for last and not kept.
    missed: Option<BlockPlace>,
}

impl<T: Default> Kept<T> {
    fn new(count: u64) -> Kept<T> {
        Kept { count, slots: Vec::new() }
    }

    fn slot(&mut self, place: BlockPlace) -> Option<&mut Slot<T>> {
        // Neighbours in a block are in slots of their own, and so are blocks that were opened one after another.
        let at = (place.0.wrapping_add(place.1) % self.count) as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, Slot::default);
        }
        self.slots.get_mut(at)
    }

    /// What is at that place: as it was kept, or as `decode` makes it.
    pub(crate) fn get<E>(
        &mut self,
        place: BlockPlace,
        decode: impl FnOnce(&mut T) -> Result<(), E>,
    ) -> Result<Option<&T>, E> {
        let Some(Slot { kept, value, .. }) = self.slot(place) else { return Ok(None) };
        if *kept != Some(place) {
            *kept = None;
            decode(value)?;
            *kept = Some(place);
        }
        Ok(Some(value))
    }

    /// Whether what is at that place is not kept, and was not asked for just before either.
    pub(crate) fn is_first_miss(&mut self, place: BlockPlace) -> bool {
        self.slot(place).is_some_and(|slot| {
            slot.kept != Some(place) && slot.missed.replace(place).is_none_or(|missed| missed != place)
        })
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
