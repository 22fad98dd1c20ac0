//! zstd, with contexts that are kept and output sizes that are known before.
//!
//! A frame never decides how much memory is taken: the reader says how many bytes it expects, and anything
//! else is damage.

#[cfg(miri)]
use stand_in::{Compressor, Decompressor};
#[cfg(not(miri))]
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy};

#[cfg(miri)]
mod stand_in;

/// Level for index sections and packed chunks: denser ones cost more than they save there.
const LEVEL: i32 = 3;

/// Compresses; kept by a writer for its blocks' chunks and sections.
pub(crate) struct Squeezer {
    /// Finds repeats.
    repeats: Option<Compressor<'static>>,
    /// Codes single bytes. In noise over few symbols, even repeats of 7 are common and cost more than the
    /// symbols that they stand for: a table of 64 positions finds few of those, but still finds runs.
    symbols: Option<Compressor<'static>>,
}

impl Squeezer {
    /// A squeezer; where zstd has no memory for one, nothing is compressed.
    pub(crate) fn new() -> Squeezer {
        let symbols = || {
            let mut compressor = Compressor::new(1).ok()?;
            compressor.set_parameter(CParameter::MinMatch(7)).ok()?;
            compressor.set_parameter(CParameter::Strategy(Strategy::ZSTD_fast)).ok()?;
            compressor.set_parameter(CParameter::HashLog(6)).ok()?;
            Some(compressor)
        };
        Squeezer { repeats: Compressor::new(LEVEL).ok(), symbols: symbols() }
    }

    /// The frame of bytes that may repeat each other.
    pub(crate) fn repeats(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.repeats.as_mut()?.compress(bytes).ok()
    }

    /// The frame of bytes that are independent draws of unequal frequency.
    pub(crate) fn symbols(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.symbols.as_mut()?.compress(bytes).ok()
    }
}

/// Decompresses; kept by a thread.
#[derive(Default)]
pub(crate) struct Unsqueezer {
    context: Option<Decompressor<'static>>,
    plain: Vec<u8>,
}

impl Unsqueezer {
    /// The content of a frame, where it is exactly `count` bytes. The caller bounds `count`.
    pub(crate) fn exactly(&mut self, frame: &[u8], count: usize) -> Option<&[u8]> {
        if self.context.is_none() {
            self.context = Some(Decompressor::new().ok()?);
        }
        if self.plain.len() < count {
            self.plain.resize(count, 0);
        }
        let into = self.plain.get_mut(..count)?;
        let written = self.context.as_mut()?.decompress_to_buffer(frame, into).ok()?;
        (written == count).then_some(())?;
        self.plain.get(..count)
    }

    /// Like [`Unsqueezer::exactly`], as a vector.
    pub(crate) fn take(mut self, frame: &[u8], count: usize) -> Option<Vec<u8>> {
        self.exactly(frame, count)?;
        Some(self.plain)
    }
}
