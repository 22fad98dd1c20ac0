//! Standard output: data, in the form that was asked for, and nothing else.
//!
//! ```text
//!   Screen      where output goes: terminal or pipe, its width, colours or none
//!   Grid        rows and columns of a listing: table, csv, json, jsonl, markdown      grid.rs
//!   answers     what queries return, in the same forms and as charts                  answer.rs
//!   charts      lines in braille, bars                                                lines.rs, axes.rs, bars.rs
//!   words       numbers, sizes and names as people read them                          words.rs
//! ```
//!
//! Progress, warnings and advice go to standard error.

pub(crate) mod answer;
mod axes;
pub(crate) mod bars;
pub(crate) mod grid;
pub(crate) mod lines;
pub(crate) mod words;

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;

pub(crate) use grid::{Cell, Grid};

/// The forms of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListForm {
    /// Columns fitted to the terminal (default on a terminal)
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON document
    Json,
    /// One JSON object per line (default in a pipe)
    Jsonl,
    /// A Markdown table
    Markdown,
}

/// The forms of an answer to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerForm {
    /// Columns fitted to the terminal (default on a terminal)
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON document in the form of the Prometheus HTTP API
    Json,
    /// One JSON object per sample and line (default in a pipe)
    Jsonl,
    /// A Markdown table
    Markdown,
    /// Lines in braille for a range, bars for an instant
    Chart,
}

/// The width that output has where there is no terminal to ask.
const WIDTH_DEFAULT: usize = 100;
/// Narrower than this, charts and tables do not help.
const WIDTH_MIN: usize = 40;

/// Where data goes. It is flushed by [`Screen::finish`]; after an error nothing more is written.
pub(crate) struct Screen {
    out: BufWriter<io::Stdout>,
    terminal: bool,
    width: usize,
    colour: bool,
}

impl Screen {
    /// Standard output as it is. `COLUMNS` gives the width of a pipe, `NO_COLOR` takes colours away.
    pub(crate) fn stdout() -> Screen {
        let terminal = io::stdout().is_terminal();
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
        let measured = if terminal { comfy_table::Table::new().width().map(usize::from) } else { columns };
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen {
            out: BufWriter::new(io::stdout()),
            terminal,
            width: measured.filter(|&width| width > 0).unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN),
            colour: terminal && !no_colour,
        }
    }

    /// Columns that a line has room for.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether colours may be used.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Whether a person reads along.
    pub(crate) fn terminal(&self) -> bool {
        self.terminal
    }

    /// The form of a listing: what was asked for, else what suits the reader.
    pub(crate) fn list_form(&self, asked: Option<ListForm>) -> ListForm {
        asked.unwrap_or(if self.terminal { ListForm::Table } else { ListForm::Jsonl })
    }

    /// The form of an answer: what was asked for, else what suits the reader.
    pub(crate) fn answer_form(&self, asked: Option<AnswerForm>) -> AnswerForm {
        asked.unwrap_or(if self.terminal { AnswerForm::Table } else { AnswerForm::Jsonl })
    }

    /// Writes a listing.
    pub(crate) fn list(&mut self, grid: &Grid, asked: Option<ListForm>) -> io::Result<()> {
        let (form, width) = (self.list_form(asked), self.table_width());
        grid.write(&mut self.out, form, width)
    }

    /// The width that tables are fitted to: only a person's eyes need that.
    pub(crate) fn table_width(&self) -> Option<usize> {
        self.terminal.then_some(self.width)
    }

    /// Writes what is still buffered.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
