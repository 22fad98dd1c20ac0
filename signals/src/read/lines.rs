//! Cutting a stream of chunks into lines, with bounded memory.

/// Cuts chunks at `\n`; a `\r` before it and a byte order mark at the start are not part of a line.
///
/// Of a line over the cap, `cap + 1` bytes are handed on: enough for a reader to see that it is over.
///
/// ```
/// use annals_signals::read::LineSplitter;
/// let (mut splitter, mut lines) = (LineSplitter::new(4), Vec::new());
/// for chunk in [&b"ab\ncd"[..], b"e\r\n\nfghi", b"jkl\nm"] {
///     splitter.feed(chunk, &mut |line| lines.push(line.to_vec()));
/// }
/// splitter.finish(&mut |line| lines.push(line.to_vec()));
/// assert_eq!(lines, [&b"ab"[..], b"cde", b"", b"fghij", b"m"]);
/// ```
#[derive(Debug)]
pub struct LineSplitter {
    cap: usize,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    is_first: bool,
}

impl LineSplitter {
    /// A splitter for lines of at most `line_bytes_max`.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> LineSplitter {
        LineSplitter { cap: line_bytes_max, partial: Vec::new(), is_first: true }
    }

    /// Takes the next bytes and hands on the lines that end in them.
    pub fn feed(&mut self, chunk: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let piece = chunk.get(start..end).unwrap_or_default();
            start = end + 1;
            if self.partial.is_empty() {
                self.hand_on(piece, each);
            } else {
                self.keep(piece);
                let line = std::mem::take(&mut self.partial);
                self.hand_on(&line, each);
                self.partial = line;
                self.partial.clear();
            }
        }
        // What follows the last line end is the start of the next line.
        self.keep(chunk.get(start..).unwrap_or_default());
    }

    /// Hands on a last line that has no line end.
    pub fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            self.hand_on(&line, each);
        }
    }

    /// Keeps one byte more than the cap at the most, and one for a `\r`.
    fn keep(&mut self, piece: &[u8]) {
        let room = self.cap.saturating_add(2).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    fn hand_on(&mut self, line: &[u8], each: &mut dyn FnMut(&[u8])) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        self.is_first = false;
        each(line.get(..self.cap.saturating_add(1)).unwrap_or(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_chunks_end(
            text in "[ab\n]{0,60}",
            cuts in prop::collection::vec(0usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut splitter, mut lines) = (LineSplitter::new(8), Vec::new());
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                splitter.feed(&text.as_bytes()[from..cut], &mut |line| lines.push(line.to_vec()));
                from = cut;
            }
            splitter.finish(&mut |line| lines.push(line.to_vec()));
            let expected: Vec<Vec<u8>> =
                text.lines().map(|line| line.bytes().take(9).collect()).collect();
            prop_assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once() {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::new(8);
        splitter.feed(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", &mut |line| lines.push(line.to_vec()));
        assert_eq!(lines, [b"a".to_vec(), b"\xef\xbb\xbfb".to_vec()]);
    }
}
