//! What stands in for zstd under miri, which cannot call C: runs of equal bytes as a count and the byte. It has the
//! shape of the functions that are used, grows what does not repeat, and refuses what it did not write. No file ever
//! holds its output.

use std::io::{self, ErrorKind};
use std::marker::PhantomData;

use zstd::zstd_safe::CParameter;

/// In place of zstd's compressor.
pub(super) struct Compressor<'a>(PhantomData<&'a ()>);

/// In place of zstd's decompressor.
pub(super) struct Decompressor<'a>(PhantomData<&'a ()>);

impl Compressor<'_> {
    pub(super) fn new(_level: i32) -> io::Result<Self> {
        Ok(Compressor(PhantomData))
    }

    pub(super) fn set_parameter(&mut self, _parameter: CParameter) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn compress(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        for run in bytes.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255)) {
            frame.push(run.len() as u8);
            frame.extend(run.first());
        }
        Ok(frame)
    }
}

impl Decompressor<'_> {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Decompressor(PhantomData))
    }

    pub(super) fn decompress_to_buffer(&mut self, frame: &[u8], into: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        for run in frame.chunks(2) {
            let &[count, byte] = run else { return Err(ErrorKind::InvalidData.into()) };
            let end = written + usize::from(count);
            into.get_mut(written..end).ok_or(ErrorKind::InvalidData)?.fill(byte);
            written = end;
        }
        Ok(written)
    }
}
