//! Reading around what a device cannot read.
//!
//! One bad sector must not make a whole file useless: what can be read is read, what cannot is filled with
//! [`UNREADABLE`] bytes and named. Only for files whose contents carry checks of their own.
//!
//! A device that can read nothing, or a cable that is out, is no bad sector: what would be lost then is everything, and
//! the error is the answer.

use std::io;
use std::ops::Range;

use crate::File;

/// What stands where the device gave nothing. Not zero: zeros mean "never written" in our files.
pub const UNREADABLE: u8 = 0xdb;
/// The unit in which kernels read: a bad sector costs so much.
const PAGE_BYTES: u64 = 4096;
/// More pages than this that fail in one read are no bad sectors.
const PAGES_LOST_MAX: usize = 8;
/// How often a read that fails is tried in all: a loose cable is not a bad sector.
const TRIES: usize = 3;
const EIO: i32 = 5;
const EBADMSG: i32 = 74;
const EUCLEAN: i32 = 117;

/// Whether an error says that the device or the file system cannot give back what was written, as opposed to one that
/// says that this process may not, or not now.
#[must_use]
pub fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EIO | EBADMSG | EUCLEAN))
}

/// As [`File::read_at`], but pages that stay unreadable are filled with [`UNREADABLE`] bytes and added to `unreadable`,
/// as ranges of the file. An error where that is all of it, or more than some pages.
pub fn read_around(
    file: &dyn File,
    into: &mut [u8],
    offset: u64,
    unreadable: &mut Vec<Range<u64>>,
) -> io::Result<usize> {
    match file.read_at(into, offset) {
        Err(error) if is_unreadable(&error) => {}
        read => return read,
    }
    let left = file.len()?.saturating_sub(offset);
    let count = usize::try_from(left).map_or(into.len(), |left| left.min(into.len()));
    let (mut at, mut pages, mut lost) = (0, 0, 0);
    while at < count {
        let start = offset + at as u64;
        let page = PAGE_BYTES - start % PAGE_BYTES;
        let end = usize::try_from(page).map_or(count, |page| count.min(at + page));
        let Some(part) = into.get_mut(at..end) else { break };
        pages += 1;
        if let Some(error) = read_page(file, part, start)? {
            lost += 1;
            if lost > PAGES_LOST_MAX || end == count && lost == pages {
                return Err(error);
            }
            part.fill(UNREADABLE);
            add(unreadable, start..start + part.len() as u64);
        }
        at = end;
    }
    Ok(count)
}

/// Says why it could not be read, if the device cannot.
fn read_page(file: &dyn File, into: &mut [u8], offset: u64) -> io::Result<Option<io::Error>> {
    let mut failed = None;
    for _ in 0..TRIES {
        match file.read_at(into, offset) {
            Ok(read) if read == into.len() => return Ok(None),
            // Another process has cut it meanwhile.
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if is_unreadable(&error) => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Ok(failed)
}

/// Ranges that meet become one; a range is noted once however often it is read.
fn add(ranges: &mut Vec<Range<u64>>, new: Range<u64>) {
    if ranges.iter().any(|range| range.start <= new.start && new.end <= range.end) {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end == new.start => last.end = new.end,
        _ => ranges.push(new),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A file of ascending bytes with pages that cannot be read, or only after some tries.
    struct Bad {
        length: u64,
        pages: Range<u64>,
        failures: AtomicUsize,
        error: i32,
    }

    impl File for Bad {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            let count = into.len().min((self.length.saturating_sub(offset)) as usize);
            let bad = self.pages.start * PAGE_BYTES..self.pages.end * PAGE_BYTES;
            if offset < bad.end && offset + count as u64 > bad.start {
                let before = self.failures.load(Ordering::Relaxed);
                if before > 0 {
                    self.failures.store(before - 1, Ordering::Relaxed);
                    return Err(io::Error::from_raw_os_error(self.error));
                }
            }
            (offset..).zip(&mut into[..count]).for_each(|(at, byte)| *byte = at as u8);
            Ok(count)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(ErrorKind::Unsupported.into())
        }

        fn allocate(&self, _: u64) -> io::Result<()> {
            Err(ErrorKind::Unsupported.into())
        }

        fn sync(&self) -> io::Result<()> {
            Err(ErrorKind::Unsupported.into())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.length)
        }
    }

    fn read(failures: usize, error: i32) -> io::Result<(Vec<u8>, Vec<Range<u64>>)> {
        let file = Bad { length: 12_345, pages: 1..2, failures: failures.into(), error };
        let (mut bytes, mut unreadable) = (vec![0; 20_000], Vec::new());
        let count = read_around(&file, &mut bytes, 100, &mut unreadable)?;
        bytes.truncate(count);
        Ok((bytes, unreadable))
    }

    #[test]
    fn only_the_page_that_cannot_be_read_is_lost() {
        let (bytes, unreadable) = read(usize::MAX, EIO).expect("read around");
        assert_eq!(unreadable, vec![PAGE_BYTES..2 * PAGE_BYTES]);
        assert_eq!(bytes.len(), 12_245);
        for (at, byte) in (100..).zip(bytes) {
            let expected = if (PAGE_BYTES..2 * PAGE_BYTES).contains(&at) { UNREADABLE } else { at as u8 };
            assert_eq!(byte, expected, "byte {at}");
        }
    }

    #[test]
    fn a_read_that_fails_for_a_moment_loses_nothing() {
        let (bytes, unreadable) = read(3, EIO).expect("read");
        assert_eq!(unreadable, vec![]);
        assert!((100..).zip(bytes).all(|(at, byte)| byte == (at as u64) as u8));
    }

    #[test]
    fn a_device_that_can_read_nothing_is_no_bad_sector() {
        let read = |length: u64, pages: Range<u64>| {
            let file = Bad { length, pages, failures: usize::MAX.into(), error: EIO };
            read_around(&file, &mut vec![0; length as usize], 0, &mut Vec::new())
        };
        assert_eq!(read(8 * PAGE_BYTES, 0..7).expect("a page is left"), 8 * PAGE_BYTES as usize);
        assert_eq!(read(8 * PAGE_BYTES, 0..8).expect_err("no page is left").raw_os_error(), Some(EIO));
        assert_eq!(read(64 * PAGE_BYTES, 3..12).expect_err("too many").raw_os_error(), Some(EIO));
        assert_eq!(read(64 * PAGE_BYTES, 3..11).expect("some"), 64 * PAGE_BYTES as usize);
    }

    #[test]
    fn an_error_that_says_nothing_of_the_device_is_the_answer() {
        const ENOMEM: i32 = 12;
        assert_eq!(read(usize::MAX, ENOMEM).expect_err("no memory").raw_os_error(), Some(ENOMEM));
    }
}
