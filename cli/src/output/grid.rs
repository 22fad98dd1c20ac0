//! A listing: named columns and rows of typed cells, and the forms of it that are text for programs.

use std::borrow::Cow;
use std::io::{self, Write};

use annals::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{ListForm, Look, table, words};

/// Rows of typed cells under named columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grid {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// One cell. Tables print it for people, the other forms exactly.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A text, from anywhere.
    Text(String),
    /// A count.
    Count(u64),
    /// A whole number.
    Integer(i64),
    /// A size in bytes.
    Bytes(u64),
    /// A sample's value.
    Value(f64),
    /// An instant.
    Time(Timestamp),
    /// Yes or no.
    Flag(bool),
    /// Nothing there.
    None,
}

impl Grid {
    /// A listing without rows.
    pub(crate) fn new<N: Into<String>>(columns: impl IntoIterator<Item = N>) -> Grid {
        Grid { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row: a cell per column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The columns' names.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, a cell per column each.
    pub(super) fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// Writes it in a form that is text.
    pub(crate) fn write(&self, out: &mut dyn Write, form: ListForm, look: &Look) -> io::Result<()> {
        match form {
            ListForm::Table => out.write_all(table::of(self, look).as_bytes()),
            ListForm::Csv => self.write_rows(out, write_csv_row),
            ListForm::Tsv => self.write_rows(out, write_tsv_row),
            ListForm::Json => self.write_json(out),
            ListForm::Jsonl => {
                let names = self.json_names();
                self.rows.iter().try_for_each(|row| {
                    write_object(out, &names, row)?;
                    out.write_all(b"\n")
                })
            }
            ListForm::Markdown => self.write_markdown(out, look),
            ListForm::Parquet => Err(io::Error::other("it is no text")),
        }
    }

    fn write_rows(
        &self,
        out: &mut dyn Write,
        write_row: fn(&mut dyn Write, &[Cow<'_, str>]) -> io::Result<()>,
    ) -> io::Result<()> {
        write_row(out, &self.columns.iter().map(|name| Cow::Borrowed(name.as_str())).collect::<Vec<_>>())?;
        self.rows.iter().try_for_each(|row| write_row(out, &row.iter().map(Cell::exact).collect::<Vec<_>>()))
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(out, "[]");
        }
        let names = self.json_names();
        for (number, row) in self.rows.iter().enumerate() {
            out.write_all(if number == 0 { b"[\n  " } else { b",\n  " })?;
            write_object(out, &names, row)?;
        }
        writeln!(out, "\n]")
    }

    /// The columns' names as JSON, with the colon.
    fn json_names(&self) -> Vec<String> {
        self.columns.iter().map(|name| format!("{}:", Value::from(name.as_str()))).collect()
    }

    fn write_markdown(&self, out: &mut dyn Write, look: &Look) -> io::Result<()> {
        let escape = |text: String| words::harmless(&text).replace('\\', "\\\\").replace('|', "\\|");
        let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        writeln!(out, "{}", line(self.columns.iter().cloned().map(escape).collect()))?;
        let rule = |index: usize| if self.is_numeric(index) { "---:" } else { "---" }.to_owned();
        writeln!(out, "{}", line((0..self.columns.len()).map(rule).collect()))?;
        self.rows.iter().try_for_each(|row| {
            writeln!(out, "{}", line(row.iter().map(|cell| escape(cell.for_people(&look.zone))).collect()))
        })
    }

    /// The cells of a column.
    pub(super) fn cells(&self, column: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(column))
    }

    /// Whether a column holds numbers, and nothing else that is there.
    pub(super) fn is_numeric(&self, column: usize) -> bool {
        let mut there = self.cells(column).filter(|cell| **cell != Cell::None).peekable();
        there.peek().is_some() && there.all(Cell::is_number)
    }
}

impl Cell {
    /// A text cell.
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    fn is_number(&self) -> bool {
        matches!(self, Cell::Count(_) | Cell::Integer(_) | Cell::Bytes(_) | Cell::Value(_))
    }

    pub(super) fn for_people(&self, zone: &TimeZone) -> String {
        match self {
            Cell::Text(text) => words::harmless(text),
            Cell::Count(count) => words::count(*count),
            Cell::Bytes(bytes) => words::size(*bytes),
            Cell::Time(time) => words::time(*time, zone),
            other => other.exact().into_owned(),
        }
    }

    /// The cell as programs read it.
    pub(super) fn exact(&self) -> Cow<'_, str> {
        match self {
            Cell::Text(text) => Cow::Borrowed(text),
            Cell::Count(count) | Cell::Bytes(count) => Cow::Owned(count.to_string()),
            Cell::Integer(number) => Cow::Owned(number.to_string()),
            Cell::Value(value) => Cow::Owned(words::value(*value)),
            Cell::Time(time) => Cow::Owned(time.to_string()),
            Cell::Flag(flag) => Cow::Borrowed(if *flag { "yes" } else { "no" }),
            Cell::None => Cow::Borrowed(""),
        }
    }

    /// Writes the cell as a JSON value.
    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Cell::Count(count) | Cell::Bytes(count) => write!(out, "{count}"),
            Cell::Integer(number) => write!(out, "{number}"),
            Cell::Value(value) => out.write_all(json_number(*value).as_bytes()),
            Cell::Flag(flag) => write!(out, "{flag}"),
            Cell::None => out.write_all(b"null"),
            Cell::Time(time) => write!(out, "\"{time}\""),
            Cell::Text(text) => serde_json::to_writer(out, text).map_err(io::Error::from),
        }
    }
}

/// Writes a row as a JSON object, its fields in the columns' order.
fn write_object(out: &mut dyn Write, names: &[String], row: &[Cell]) -> io::Result<()> {
    for (number, (name, cell)) in names.iter().zip(row).enumerate() {
        out.write_all(if number == 0 { b"{" } else { b"," })?;
        out.write_all(name.as_bytes())?;
        cell.write_json(out)?;
    }
    out.write_all(b"}")
}

/// A JSON number in its shortest form, or where JSON has none (`NaN`, `+Inf`, `-Inf`) its name as a string.
pub(crate) fn json_number(value: f64) -> String {
    let text = words::value(value);
    if value.is_finite() { text } else { format!("\"{text}\"") }
}

/// Writes a row as RFC 4180 has it; quotes only where they are needed.
fn write_csv_row(out: &mut dyn Write, cells: &[Cow<'_, str>]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

/// Writes a row with tabs between its cells. A tab or a line end within one is written out, as PostgreSQL does.
fn write_tsv_row(out: &mut dyn Write, cells: &[Cow<'_, str>]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.write_all(b"\t")?;
        }
        if cell.contains(['\\', '\t', '\n', '\r']) {
            let cell = cell.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
            out.write_all(cell.replace('\r', "\\r").as_bytes())?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: ListForm) -> String {
        let mut grid = Grid::new(["name", "count", "value"]);
        grid.row(vec![Cell::text("a,\"b\"|\u{1b}"), Cell::Count(1_234), Cell::Value(f64::NAN)]);
        grid.row(vec![Cell::text("c"), Cell::None, Cell::Value(0.1)]);
        let mut out = Vec::new();
        grid.write(&mut out, form, &Look::plain(60)).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(written(ListForm::Csv), "name,count,value\n\"a,\"\"b\"\"|\u{1b}\",1234,NaN\nc,,0.1\n");
    }

    #[test]
    fn tsv_writes_out_what_would_be_taken_for_its_own() {
        let mut grid = Grid::new(["a", "b"]);
        grid.row(vec![Cell::text("x\ty\n"), Cell::text("\\,\"")]);
        let mut out = Vec::new();
        grid.write(&mut out, ListForm::Tsv, &Look::plain(60)).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), "a\tb\nx\\ty\\n\t\\\\,\"\n");
    }

    #[test]
    fn json_lines_keep_types_and_order() {
        let lines = written(ListForm::Jsonl);
        let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("json");
        assert_eq!(first["count"], 1234);
        assert_eq!(first["value"], "NaN");
        assert_eq!(lines.lines().nth(1), Some(r#"{"name":"c","count":null,"value":0.1}"#));
    }

    #[test]
    fn tables_and_markdown_hold_no_control_characters() {
        for form in [ListForm::Table, ListForm::Markdown] {
            let text = written(form);
            assert!(!text.contains('\u{1b}'), "{text:?}");
            assert!(text.contains("1,234"), "{text:?}");
        }
        assert!(written(ListForm::Markdown).contains("\\|"));
    }
}
