//! Tables for people, fitted to the width of their terminal.
//!
//! Cells wrap within their columns. Where there is no room for that, each row becomes a block of lines, a line per column.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};

use super::{Cell, Grid, Look, words};

/// A column narrower than this is not read any more.
const COLUMN_MIN: usize = 9;

/// The table.
pub(super) fn of(grid: &Grid, look: &Look) -> String {
    let columns: Vec<String> = grid.columns().iter().map(|name| words::harmless(name)).collect();
    let rows: Vec<Vec<String>> =
        grid.rows().iter().map(|row| row.iter().map(|cell| cell.for_people(&look.zone)).collect()).collect();
    if look.table_width().is_some_and(|width| is_too_wide(&columns, &rows, width)) {
        return blocks(&columns, &rows);
    }
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    if let Some(width) = look.table_width().and_then(|width| u16::try_from(width).ok()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(columns);
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if grid.is_numeric(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if grid.is_numeric(index) || grid.cells(index).any(|cell| matches!(cell, Cell::Time(_))) {
            // A time or a number that is broken over two lines is not read as one.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Whether columns would be squeezed below what can be read.
fn is_too_wide(columns: &[String], rows: &[Vec<String>], width: usize) -> bool {
    let least = columns.iter().enumerate().map(|(index, name)| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.chain([name.chars().count()]).max().unwrap_or(0).min(COLUMN_MIN) + 2
    });
    least.sum::<usize>() > width
}

fn blocks(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = columns.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        if !text.is_empty() {
            text.push('\n');
        }
        for (name, cell) in columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
            let pad = " ".repeat(width - name.chars().count());
            text += &format!("{name}{pad}  {cell}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::Timestamp;

    fn grid() -> Grid {
        let mut grid = Grid::new(["site", "route", "since", "requests"]);
        for route in ["/", "/a/rather/long/route/that/takes/much/room/and/then/some/more"] {
            grid.row(vec![
                Cell::text("shop.example"),
                Cell::text(route),
                Cell::Time(Timestamp(0)),
                Cell::Count(1_234_567),
            ]);
        }
        grid
    }

    fn shown(width: usize) -> String {
        of(&grid(), &Look { terminal: true, ..Look::plain(width) })
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_while_there_is_room_for_columns() {
        for width in 60..140 {
            let text = shown(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}\n{text}");
            assert_eq!(text.matches("1970-01-01 00:00Z").count(), 2, "a time is in one piece\n{text}");
        }
    }

    #[test]
    fn a_narrow_terminal_gets_a_line_per_column() {
        let text = shown(40);
        assert!(
            text.starts_with("site      shop.example\nroute     /\nsince     1970-01-01 00:00Z\n"),
            "{text}"
        );
        assert_eq!(text.matches("\n\nsite").count(), 1, "{text}");
    }
}
