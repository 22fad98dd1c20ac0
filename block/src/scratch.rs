//! Buffers that each thread keeps from read to read, so that decoding a chunk allocates nothing.

use std::cell::Cell;

use crate::codec::ints::Decoding;

/// What decoding a chunk needs besides its output.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The chunk's bytes: checked and decoded as this copy, never in place.
    pub(crate) copy: Vec<u8>,
    /// The stamps of the chunk.
    pub(crate) stamps: Vec<i64>,
    /// What decoders keep.
    pub(crate) decoding: Decoding,
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
