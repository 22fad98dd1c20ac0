//! A file, a pipe, or either of them packed by gzip, as lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use annals::signals::read::LineSplitter;
use flate2::bufread::MultiGzDecoder;

use crate::error::CliError;
use crate::output::words;

/// The name of standard input.
const STANDARD_INPUT: &str = "-";
/// What every gzip file starts with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bytes that are read at a time; the first such piece is what a format is guessed from.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of a file's end that tell a dialect.
const END_BYTES: u64 = 1024;

/// An open input.
pub(super) struct Source {
    path: PathBuf,
    input: Box<dyn BufRead>,
    packed: bool,
    /// Bytes of the file, packed where it is packed.
    bytes: Option<u64>,
    /// Bytes of the file that were read so far.
    position: Arc<AtomicU64>,
}

/// Counts what is read of the file itself.
struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Source {
    /// Opens a file, or standard input where the path is `-`.
    pub(super) fn open(path: &Path) -> Result<Source, CliError> {
        let (raw, bytes): (Box<dyn Read>, Option<u64>) = if path.as_os_str() == STANDARD_INPUT {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
            let meta = file.metadata().map_err(|error| cannot_read(path, &error))?;
            if meta.is_dir() {
                return Err(CliError::failed(format_args!("{} is a directory", path.display()))
                    .help("name the files in it, as in DIR/*.log"));
            }
            (Box::new(file), meta.is_file().then_some(meta.len()))
        };
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: raw, position: position.clone() };
        let mut plain = BufReader::with_capacity(PIECE_BYTES, counted);
        let packed = fill(&mut plain).map_err(|error| cannot_read(path, &error))?.starts_with(&GZIP_MAGIC);
        let input: Box<dyn BufRead> = match packed {
            true => Box::new(BufReader::with_capacity(PIECE_BYTES, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Source { path: path.to_owned(), input, packed, bytes, position })
    }

    /// The file's size, where it has one.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The first bytes, unpacked; they are read again by [`Source::lines`].
    pub(super) fn peek(&mut self) -> Result<&[u8], CliError> {
        fill(&mut self.input).map_err(|error| cannot_read(&self.path, &error))
    }

    /// The last bytes, of a file that is not packed.
    pub(super) fn end(&self) -> Option<Vec<u8>> {
        if self.packed {
            return None;
        }
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.bytes?.saturating_sub(END_BYTES))).ok()?;
        let mut end = Vec::new();
        file.take(END_BYTES).read_to_end(&mut end).ok()?;
        Some(end)
    }

    /// Hands on every line, and whether a line end followed it, until that says no. `progress` is told now and then
    /// how many bytes of the file were read, and the rate in words.
    pub(super) fn lines(
        &mut self,
        line_bytes_max: usize,
        each: &mut dyn FnMut(&[u8], bool) -> bool,
        progress: &mut dyn FnMut(u64, String),
    ) -> Result<(), CliError> {
        let mut splitter = LineSplitter::new(line_bytes_max);
        let (started, mut lines, mut wanted) = (Instant::now(), 0u64, true);
        while wanted {
            let piece = fill(&mut self.input).map_err(|error| {
                let broken = CliError::failed(format_args!(
                    "cannot read {} after line {lines}: {error}",
                    self.path.display()
                ));
                broken.help("what was read before is imported; repair the file and import it again")
            })?;
            let count = piece.len();
            if count == 0 {
                break;
            }
            splitter.feed(piece, &mut |line| {
                if wanted {
                    lines += 1;
                    wanted = each(line, true);
                }
            });
            self.input.consume(count);
            let rate = lines as f64 / started.elapsed().as_secs_f64().max(1e-3);
            progress(self.position.load(Ordering::Relaxed), format!("{} lines/s", words::count(rate as u64)));
        }
        if wanted {
            splitter.finish(&mut |line| {
                each(line, false);
            });
        }
        Ok(())
    }
}

/// What is buffered, filled where it is empty; an interrupted read is tried again.
fn fill(input: &mut dyn BufRead) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    input.fill_buf()
}

fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format_args!("cannot read {}: {error}", path.display()))
}
