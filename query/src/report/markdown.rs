//! The document as Markdown that reads well as plain text: aligned tables, bars and strips of block characters.

use std::fmt::Write;

use super::document::{Block, Days, Document, Grid, GridRow, Heat, Name};
use super::words::{change, maybe};

/// Width of the longest bar, in characters.
const BAR_CHARS: u64 = 24;
/// Levels of a strip, lowest first.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Renders a document.
pub(crate) fn render(document: &Document) -> String {
    let mut out = String::new();
    line(&mut out, &format!("# {}: week of {}", plain(&document.title), document.week));
    line(&mut out, &plain(&document.origin));
    for notice in &document.notices {
        line(&mut out, &format!("> {}", plain(notice)));
    }
    line(&mut out, &plain(&document.summary.join(" ")));
    for section in &document.sections {
        line(&mut out, &format!("## {}", section.heading));
        for block in &section.blocks {
            match block {
                Block::Text(text) | Block::Aside(text) => line(&mut out, &plain(text)),
                Block::Alarm(text) => line(&mut out, &format!("**{}**", plain(text))),
                Block::Grid(table) => grid(&mut out, table),
                Block::Days(chart) => days(&mut out, chart),
                // The table of status classes says it in plain text.
                Block::Stack(_) => {}
                Block::Heat(chart) => heat(&mut out, chart),
            }
        }
    }
    if !document.notes.is_empty() {
        line(&mut out, "---");
        line(&mut out, &plain(&document.notes.join(" ")));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// A paragraph and the empty line after it.
fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push_str("\n\n");
}

fn days(out: &mut String, chart: &Days) {
    let max = chart.counts.iter().filter_map(|day| day.week).max().unwrap_or(0);
    let head = ["Day", &chart.title, "", "Before", "Change"].map(str::to_owned).to_vec();
    let rows = chart
        .labels
        .iter()
        .zip(&chart.counts)
        .map(|(label, &counts)| GridRow {
            name: Name::Word(label.clone()),
            cells: vec![
                maybe(counts.week),
                bar(counts.week.unwrap_or(0), max),
                maybe(counts.before),
                change(counts),
            ],
        })
        .collect();
    table(out, &Grid { caption: String::new(), head, rows }, &[2]);
}

/// A bar; one character at least where there is anything.
fn bar(value: u64, max: u64) -> String {
    let chars = (u128::from(value) * u128::from(BAR_CHARS)).div_ceil(u128::from(max.max(1)));
    "█".repeat(usize::try_from(chars).unwrap_or(0))
}

fn heat(out: &mut String, chart: &Heat) {
    let max = chart.rows.iter().flatten().filter_map(|&count| count).max().unwrap_or(0);
    let width = chart.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    line(out, &format!("{}, 00 to 23 (blank: zero, ·: no data, █: {max}):", chart.title));
    out.push_str("```text\n");
    let pad = " ".repeat(width);
    let _ = writeln!(out, "{pad}  00    06    12    18    24");
    for (label, row) in chart.labels.iter().zip(&chart.rows) {
        let cells: String = row.iter().map(|&count| level(count, max)).collect();
        let _ = writeln!(out, "{label:<width$}  {}", cells.trim_end());
    }
    out.push_str("```\n\n");
}

fn level(count: Option<u64>, max: u64) -> char {
    match count {
        None => '·',
        Some(0) => ' ',
        Some(count) => {
            let of = LEVELS.len() as u128;
            let step = (u128::from(count) * of).div_ceil(u128::from(max.max(1))).clamp(1, of) - 1;
            LEVELS.get(usize::try_from(step).unwrap_or(0)).copied().unwrap_or('█')
        }
    }
}

fn grid(out: &mut String, grid: &Grid) {
    line(out, &format!("**{}**", grid.caption));
    table(out, grid, &[]);
}

/// A table with aligned columns: names to the left, numbers to the right, save the columns in `left`.
fn table(out: &mut String, grid: &Grid, left: &[usize]) {
    let rows: Vec<Vec<String>> = grid
        .rows
        .iter()
        .map(|row| {
            let name = match &row.name {
                Name::Word(word) => plain(word),
                Name::Given(given) => code(given),
            };
            std::iter::once(name).chain(row.cells.iter().map(|cell| plain(cell))).collect()
        })
        .collect();
    let head: Vec<String> = grid.head.iter().map(|heading| plain(heading)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(head.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..grid.head.len()).map(width).collect();
    let to_left = |column: usize| column == 0 || left.contains(&column);
    let mut put = |cells: &[String]| {
        for (column, &width) in widths.iter().enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            let _ = match to_left(column) {
                true => write!(out, "| {cell:<width$} "),
                false => write!(out, "| {cell:>width$} "),
            };
        }
        out.push_str("|\n");
    };
    put(&head);
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, &width)| match to_left(column) {
            true => "-".repeat(width),
            false => format!("{}:", "-".repeat(width - 1)),
        })
        .collect();
    put(&rule);
    rows.iter().for_each(|row| put(row));
    out.push('\n');
}

/// Text of ours in a paragraph or a cell. It may quote a reason or an enumeration's value: none of it is markup.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        // "< 0.1 %" stays as it is; a tag never starts with a space.
        let markup = match c {
            '<' => rest.peek() != Some(&' '),
            c => matches!(c, '|' | '`' | '*' | '_' | '[' | ']' | '~' | '\\'),
        };
        if markup {
            out.push('\\');
        }
        out.push(printable(c));
    }
    out
}

/// A name that the site chose, as a code span that it cannot leave.
fn code(name: &str) -> String {
    let safe: String = name
        .chars()
        .flat_map(|c| match c {
            '|' => vec!['\\', '|'],
            '`' => vec!['\''],
            c => vec![printable(c)],
        })
        .collect();
    format!("`{safe}`")
}

/// The character, or the replacement character where it controls the line or the direction of writing.
pub(super) fn printable(c: char) -> char {
    let turns =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if c.is_control() || turns { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_cell() {
        assert_eq!(code("a`|\n<b>\u{202e}"), "`a'\\|\u{fffd}<b>\u{fffd}`");
    }

    #[test]
    fn bars_and_levels_stay_sensible_at_the_ends() {
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(1, u64::MAX).chars().count(), 1);
        assert_eq!(bar(u64::MAX, u64::MAX).chars().count(), 24);
        assert_eq!(
            [level(None, 9), level(Some(0), 9), level(Some(1), 900), level(Some(9), 9)],
            ['·', ' ', '▁', '█']
        );
    }
}
