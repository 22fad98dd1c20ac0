//! Standard output: data, in the form that was asked for, and nothing else.
//!
//! ```text
//!   Screen      where output goes, and what whoever looks at it can be shown: Look    plain.rs
//!   Grid        rows and columns of a listing, in every form of a list                grid.rs, table.rs, parquet.rs
//!   answers     what queries return, in the same forms, as text for scrapers, as      answer.rs, json.rs, prom.rs
//!               pictures
//!   pictures    lines in braille, bars, heat maps; the same as SVG                    picture.rs, lines.rs, bars.rs,
//!                                                                                     heat.rs, axes.rs, svg.rs
//!   words       numbers, sizes, times and names as people read them                   words.rs
//! ```
//!
//! Progress, warnings and advice go to standard error. What people look at is fitted to their terminal, in their zone;
//! what programs read is exact, in UTC, and the same everywhere.

pub(crate) mod answer;
mod axes;
pub(crate) mod bars;
pub(crate) mod grid;
mod heat;
mod json;
pub(crate) mod lines;
mod parquet;
mod picture;
mod plain;
mod prom;
mod svg;
mod table;
pub(crate) mod words;

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use jiff::tz::TimeZone;

use crate::error::CliError;

pub(crate) use grid::{Cell, Grid};

/// The forms of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListForm {
    /// Columns fitted to the terminal (default on a terminal)
    Table,
    /// Comma-separated values with a header
    Csv,
    /// The same with tabs between; tabs, line ends and `\` in values are written out
    Tsv,
    /// One JSON document
    Json,
    /// One JSON object per line (default in a pipe)
    Jsonl,
    /// A Markdown table
    Markdown,
    /// A Parquet file, for DuckDB, pandas and the like
    Parquet,
}

/// The forms of an answer to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerForm {
    /// Columns fitted to the terminal (default on a terminal)
    Table,
    /// Comma-separated values with a header
    Csv,
    /// The same with tabs between; tabs, line ends and `\` in values are written out
    Tsv,
    /// One JSON document in the form of the Prometheus HTTP API
    Json,
    /// One JSON object per sample and line (default in a pipe)
    Jsonl,
    /// A Markdown table
    Markdown,
    /// Prometheus' text format, with timestamps
    Prom,
    /// A Parquet file, for DuckDB, pandas and the like
    Parquet,
    /// Lines in braille for a range, bars for an instant, a heat map for histograms
    Chart,
    /// The same as an SVG picture
    Svg,
}

impl AnswerForm {
    /// Whether several answers can follow each other.
    pub(crate) fn takes_several(self) -> bool {
        !matches!(self, AnswerForm::Parquet | AnswerForm::Svg)
    }

    /// The form of a listing that it is.
    pub(crate) fn of_list(self) -> Option<ListForm> {
        Some(match self {
            AnswerForm::Table => ListForm::Table,
            AnswerForm::Csv => ListForm::Csv,
            AnswerForm::Tsv => ListForm::Tsv,
            AnswerForm::Json => ListForm::Json,
            AnswerForm::Jsonl => ListForm::Jsonl,
            AnswerForm::Markdown => ListForm::Markdown,
            AnswerForm::Parquet => ListForm::Parquet,
            AnswerForm::Prom | AnswerForm::Chart | AnswerForm::Svg => return None,
        })
    }

    /// Its name on the command line.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The width that output has where there is no terminal to ask.
const WIDTH_DEFAULT: usize = 100;
/// Narrower than this, charts and tables do not help.
const WIDTH_MIN: usize = 24;

/// What whoever looks at the output can be shown.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Whether a person reads along.
    pub(crate) terminal: bool,
    /// Columns that a line has room for.
    pub(crate) width: usize,
    /// Whether colours may be used.
    pub(crate) colour: bool,
    /// Whether more than ASCII can be shown.
    pub(crate) utf8: bool,
    /// The zone of times that people read.
    pub(crate) zone: TimeZone,
}

impl Look {
    /// The width that tables are fitted to: only a person's eyes need that.
    pub(crate) fn table_width(&self) -> Option<usize> {
        self.terminal.then_some(self.width)
    }

    /// A pipe of that width.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Look {
        Look { terminal: false, width, colour: false, utf8: true, zone: TimeZone::UTC }
    }
}

/// Where data goes. It is flushed by [`Screen::finish`]; after an error nothing more is written.
pub(crate) struct Screen {
    out: BufWriter<io::Stdout>,
    look: Look,
}

impl Screen {
    /// Standard output as it is. `COLUMNS` gives the width of a pipe, `NO_COLOR` takes colours away, and a locale without
    /// UTF-8 everything that is not ASCII.
    pub(crate) fn stdout() -> Screen {
        let terminal = io::stdout().is_terminal();
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let columns = text("COLUMNS").and_then(|text| text.parse::<usize>().ok());
        let measured = if terminal { comfy_table::Table::new().width().map(usize::from) } else { columns };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text);
        // Where nothing is said, as in most containers, the terminal is nearly always one that can.
        let utf8 = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        let dumb = text("TERM").is_some_and(|term| term == "dumb");
        Screen {
            out: BufWriter::with_capacity(1 << 16, io::stdout()),
            look: Look {
                terminal,
                width: measured.filter(|&width| width > 0).unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN),
                colour: terminal && !dumb && text("NO_COLOR").is_none(),
                utf8,
                zone: TimeZone::UTC,
            },
        }
    }

    /// What can be shown.
    pub(crate) fn look(&self) -> &Look {
        &self.look
    }

    /// Columns that a line has room for.
    pub(crate) fn width(&self) -> usize {
        self.look.width
    }

    /// Whether colours may be used.
    pub(crate) fn colour(&self) -> bool {
        self.look.colour
    }

    /// Whether a person reads along.
    pub(crate) fn terminal(&self) -> bool {
        self.look.terminal
    }

    /// Shows times that people read in a zone.
    pub(crate) fn show_times_in(&mut self, zone: &TimeZone) {
        self.look.zone = zone.clone();
    }

    /// The form of a listing: what was asked for, else what suits the reader.
    pub(crate) fn list_form(&self, asked: Option<ListForm>) -> ListForm {
        asked.unwrap_or(if self.look.terminal { ListForm::Table } else { ListForm::Jsonl })
    }

    /// The form of an answer: what was asked for, else what suits the reader.
    pub(crate) fn answer_form(&self, asked: Option<AnswerForm>) -> AnswerForm {
        asked.unwrap_or(if self.look.terminal { AnswerForm::Table } else { AnswerForm::Jsonl })
    }

    /// Writes a listing.
    pub(crate) fn list(&mut self, grid: &Grid, asked: Option<ListForm>) -> Result<(), CliError> {
        match self.list_form(asked) {
            ListForm::Table => Ok(self.people(&table::of(grid, &self.look))?),
            ListForm::Parquet => self.bytes(&parquet::of(grid)?, "parquet"),
            form => Ok(grid.write(&mut self.out, form, &self.look)?),
        }
    }

    /// Writes text for people: where the terminal has only ASCII, in that.
    pub(crate) fn people(&mut self, text: &str) -> io::Result<()> {
        match self.look.utf8 {
            true => self.out.write_all(text.as_bytes()),
            false => self.out.write_all(plain::ascii(text).as_bytes()),
        }
    }

    /// Writes what is no text, and so is not for a terminal.
    fn bytes(&mut self, bytes: &[u8], form: &str) -> Result<(), CliError> {
        if self.look.terminal {
            return Err(CliError::usage(format_args!("{form} is not shown on a terminal"))
                .help(format_args!("send it to a file: .. -o {form} > answer.{form}")));
        }
        Ok(self.out.write_all(bytes)?)
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
