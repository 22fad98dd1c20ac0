//! A listing: named columns and rows of typed cells, written as table, csv, json, jsonl or Markdown.

use std::io::{self, Write};

use annals::Timestamp;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};
use serde_json::Value;

use super::{ListForm, words};

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

    /// Writes it in a form; tables are fitted to the width where there is one.
    pub(crate) fn write(&self, out: &mut dyn Write, form: ListForm, width: Option<usize>) -> io::Result<()> {
        match form {
            ListForm::Table => self.write_table(out, width),
            ListForm::Csv => self.write_csv(out),
            ListForm::Json => {
                let rows: Vec<String> =
                    self.rows.iter().map(|row| format!("  {}", self.object(row))).collect();
                match rows[..] {
                    [] => writeln!(out, "[]"),
                    _ => writeln!(out, "[\n{}\n]", rows.join(",\n")),
                }
            }
            ListForm::Jsonl => self.rows.iter().try_for_each(|row| writeln!(out, "{}", self.object(row))),
            ListForm::Markdown => self.write_markdown(out),
        }
    }

    fn write_table(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
        if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        table.set_header(self.columns.iter().map(|name| words::harmless(name)).collect::<Vec<_>>());
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::for_people).collect::<Vec<_>>());
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            if self.is_numeric(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if self.cells(index).any(|cell| matches!(cell, Cell::Time(_))) {
                // A time that is broken over two lines is not read as one.
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        write_csv_row(out, self.columns.iter().map(String::as_str))?;
        self.rows.iter().try_for_each(|row| {
            let cells: Vec<String> = row.iter().map(Cell::exact).collect();
            write_csv_row(out, cells.iter().map(String::as_str))
        })
    }

    fn write_markdown(&self, out: &mut dyn Write) -> io::Result<()> {
        let escape = |text: String| words::harmless(&text).replace('\\', "\\\\").replace('|', "\\|");
        let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        writeln!(out, "{}", line(self.columns.iter().cloned().map(escape).collect()))?;
        let rule = |index: usize| if self.is_numeric(index) { "---:" } else { "---" }.to_owned();
        writeln!(out, "{}", line((0..self.columns.len()).map(rule).collect()))?;
        self.rows.iter().try_for_each(|row| {
            writeln!(out, "{}", line(row.iter().map(|cell| escape(cell.for_people())).collect()))
        })
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().filter_map(move |row| row.get(column))
    }

    /// Whether a column holds numbers, and nothing else that is there.
    fn is_numeric(&self, column: usize) -> bool {
        let mut there = self.cells(column).filter(|cell| **cell != Cell::None).peekable();
        there.peek().is_some() && there.all(Cell::is_number)
    }

    /// A row as a JSON object, its fields in the columns' order.
    fn object(&self, row: &[Cell]) -> String {
        let field =
            |(name, cell): (&String, &Cell)| format!("{}:{}", Value::from(name.as_str()), cell.json());
        let fields: Vec<String> = self.columns.iter().zip(row).map(field).collect();
        format!("{{{}}}", fields.join(","))
    }
}

impl Cell {
    /// A text cell.
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    fn is_number(&self) -> bool {
        matches!(self, Cell::Count(_) | Cell::Bytes(_) | Cell::Value(_))
    }

    fn for_people(&self) -> String {
        match self {
            Cell::Text(text) => words::harmless(text),
            Cell::Count(count) => words::count(*count),
            Cell::Bytes(bytes) => words::size(*bytes),
            // Shorter, and still sorted and unmistakably UTC.
            Cell::Time(time) => time.to_string().replacen('T', " ", 1).replace(":00Z", "Z"),
            other => other.exact(),
        }
    }

    fn exact(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) | Cell::Bytes(count) => count.to_string(),
            Cell::Value(value) => words::value(*value),
            Cell::Time(time) => time.to_string(),
            Cell::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Cell::None => String::new(),
        }
    }

    /// The cell as a JSON value.
    fn json(&self) -> String {
        match self {
            Cell::Count(count) | Cell::Bytes(count) => count.to_string(),
            Cell::Value(value) => json_number(*value),
            Cell::Flag(flag) => flag.to_string(),
            Cell::None => "null".to_owned(),
            Cell::Text(_) | Cell::Time(_) => Value::String(self.exact()).to_string(),
        }
    }
}

/// A JSON number in its shortest form, or where JSON has none (`NaN`, `+Inf`, `-Inf`) its name as a string.
pub(crate) fn json_number(value: f64) -> String {
    let text = words::value(value);
    if value.is_finite() { text } else { format!("\"{text}\"") }
}

/// Writes a row as RFC 4180 has it; quotes only where they are needed.
pub(crate) fn write_csv_row<'a>(out: &mut dyn Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    for (index, cell) in cells.enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: ListForm) -> String {
        let mut grid = Grid::new(["name", "count", "value"]);
        grid.row(vec![Cell::text("a,\"b\"|\u{1b}"), Cell::Count(1_234), Cell::Value(f64::NAN)]);
        grid.row(vec![Cell::text("c"), Cell::None, Cell::Value(0.1)]);
        let mut out = Vec::new();
        grid.write(&mut out, form, Some(60)).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(written(ListForm::Csv), "name,count,value\n\"a,\"\"b\"\"|\u{1b}\",1234,NaN\nc,,0.1\n");
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
