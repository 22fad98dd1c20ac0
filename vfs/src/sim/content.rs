//! The bytes of a simulated file, in pages that copies share.
//!
//! A copy costs one reference count; a write after it copies the touched pages only. So a snapshot of a disk is
//! cheap, and a preallocated file of zeros is one page, many times.

use std::io::{self, ErrorKind};
use std::sync::{Arc, LazyLock};

/// Bytes per shared page.
const PAGE_BYTES: usize = 4096;
/// The largest file: keeps a wrong offset from taking the machine's memory.
const FILE_BYTES_MAX: u64 = 1 << 32;

type Page = Arc<[u8; PAGE_BYTES]>;

static ZERO_PAGE: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE_BYTES]));

/// The bytes of a file.
///
/// - `pages` covers exactly `len` bytes; what the last page holds past `len` is zero. Kept by [`Content::grow`].
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pages: Arc<Vec<Page>>,
    len: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The end of a write, where a file may reach that far.
    pub(super) fn end_of(offset: u64, count: usize) -> io::Result<u64> {
        let end = offset.checked_add(count as u64).ok_or(ErrorKind::InvalidInput)?;
        if end > FILE_BYTES_MAX { Err(ErrorKind::FileTooLarge.into()) } else { Ok(end) }
    }

    /// Makes the file at least `len` bytes long, with zeros.
    pub(super) fn grow(&mut self, len: u64) {
        if len > self.len {
            let count = usize::try_from(len.div_ceil(PAGE_BYTES as u64)).expect("at most FILE_BYTES_MAX");
            if count > self.pages.len() {
                Arc::make_mut(&mut self.pages).resize(count, Arc::clone(&ZERO_PAGE));
            }
            self.len = len;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Content::default();
    }

    /// Writes within the bounds that [`Content::end_of`] has checked.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        self.grow(offset + bytes.len() as u64);
        let pages = Arc::make_mut(&mut self.pages);
        let mut rest = bytes;
        let mut at = usize::try_from(offset).expect("at most FILE_BYTES_MAX");
        while !rest.is_empty() {
            let (page, within) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let count = rest.len().min(PAGE_BYTES - within);
            Arc::make_mut(&mut pages[page])[within..within + count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            at += count;
        }
    }

    /// Reads until `into` is full or the file ends; returns how many bytes were read.
    pub(super) fn read(&self, into: &mut [u8], offset: u64) -> usize {
        let available = usize::try_from(self.len.saturating_sub(offset)).expect("at most FILE_BYTES_MAX");
        let count = into.len().min(available);
        let mut filled = 0;
        while filled < count {
            let at = usize::try_from(offset).expect("below the length") + filled;
            let (page, within) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let part = (count - filled).min(PAGE_BYTES - within);
            into[filled..filled + part].copy_from_slice(&self.pages[page][within..within + part]);
            filled += part;
        }
        count
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("at most FILE_BYTES_MAX")];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Flips bits of one byte; `false` where the file is not that long.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) -> bool {
        let mut byte = [0];
        if self.read(&mut byte, offset) == 0 {
            return false;
        }
        self.write(&[byte[0] ^ mask], offset);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimEntropy;

    #[test]
    fn pages_read_as_one_run_of_bytes_and_copies_do_not_change() {
        let entropy = SimEntropy::new(5);
        let (mut content, mut model) = (Content::default(), Vec::new());
        for _ in 0..300 {
            let at = (entropy.next_u64() % 20_000) as usize;
            let bytes = vec![entropy.next_u64() as u8; (entropy.next_u64() % 9_000) as usize];
            let before = (content.clone(), model.clone());
            if !bytes.is_empty() {
                model.resize(model.len().max(at + bytes.len()), 0);
                model[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            content.write(&bytes, at as u64);
            assert_eq!(content.to_vec(), model);
            assert_eq!(before.0.to_vec(), before.1);
            let mut part = [7; 5_000];
            let from = (entropy.next_u64() % 30_000) as usize;
            let count = content.read(&mut part, from as u64);
            assert_eq!(part[..count], model[from.min(model.len())..(from + 5_000).min(model.len())]);
        }
    }

    #[test]
    fn an_absurd_offset_is_refused_not_allocated() {
        assert_eq!(Content::end_of(u64::MAX, 2).expect_err("overflows").kind(), ErrorKind::InvalidInput);
        assert_eq!(Content::end_of(1 << 40, 1).expect_err("too large").kind(), ErrorKind::FileTooLarge);
    }
}
