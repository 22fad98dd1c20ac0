//! The document as Markdown that reads well as plain text: aligned tables, bars and strips of block characters.

use std::fmt::Write;

use super::document::{Bars, Block, Document, Grid, GridRow, Heat, Name, Trend};
use super::words::{self, change, count, maybe};

/// Width of the longest bar, in characters.
const BAR_CHARS: u64 = 24;
/// Levels of a strip, lowest first.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Renders a document.
pub(crate) fn render(document: &Document) -> String {
    let mut out = String::new();
    line(&mut out, &format!("# {}: {}", plain(&document.title), words::uncapital(&document.period)));
    line(&mut out, &plain(&document.origin));
    for notice in &document.notices {
        line(&mut out, &format!("> {}", plain(notice)));
    }
    line(&mut out, &plain(&document.summary.join(" ")));
    if !document.changed.is_empty() {
        line(&mut out, "What changed most:");
        for (index, change) in document.changed.iter().enumerate() {
            let _ = writeln!(out, "{}. {}", index + 1, plain(change));
        }
        out.push('\n');
    }
    for section in &document.sections {
        line(&mut out, &format!("## {}", section.heading));
        for block in &section.blocks {
            match block {
                Block::Text(text) | Block::Aside(text) => line(&mut out, &plain(text)),
                Block::Alarm(text) => line(&mut out, &format!("**{}**", plain(text))),
                Block::Grid(table) => grid(&mut out, table),
                Block::Bars(chart) => table(&mut out, &bars_grid(chart, true), &[2]),
                // The table of status classes says it in plain text.
                Block::Stack(_) => {}
                Block::Heat(chart) => heat(&mut out, chart),
                Block::Trend(chart) => trend(&mut out, chart),
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

/// The numbers of a chart of bars; with the bars where asked.
pub(super) fn bars_grid(chart: &Bars, drawn: bool) -> Grid {
    let max = chart.counts.iter().filter_map(|step| step.count).max().unwrap_or(0);
    let has_usual = chart.counts.iter().any(|counts| counts.usual.is_some());
    let step = if chart.span == super::Span::Day { "Hour" } else { "Day" };
    let mut head = [step, &chart.title, "Before", "Change"].map(str::to_owned).to_vec();
    if drawn {
        head.insert(2, String::new());
    }
    if has_usual {
        head.push("Usual".to_owned());
    }
    let rows = chart.labels.iter().zip(&chart.counts).zip(&chart.provisional);
    let rows = rows.map(|((label, &counts), provisional)| {
        let mut cells = vec![maybe(counts.count), maybe(counts.before), change(counts)];
        if drawn {
            cells.insert(1, bar(counts.count.unwrap_or(0), max));
        }
        if has_usual {
            cells.push(words::usual(counts.usual));
        }
        GridRow { name: Name::Word(format!("{label}{}", if *provisional { " *" } else { "" })), cells }
    });
    Grid { caption: String::new(), head, rows: rows.collect() }
}

/// A trend in rows of days, each with its sum, its least and its greatest day; with a strip of its days where asked.
pub(super) fn trend_grid(chart: &Trend, strip: bool) -> Grid {
    let max = chart.rows.iter().flat_map(|row| &row.counts).filter_map(|&count| count).max().unwrap_or(0);
    let mut head = ["From", "Sum", "Least a day", "Most a day"].map(str::to_owned).to_vec();
    if strip {
        head.push("Days".to_owned());
    }
    let rows = chart.rows.iter().map(|row| {
        let counts = || row.counts.iter().filter_map(|&count| count);
        let sum = counts().next().map(|_| counts().fold(0, u64::saturating_add));
        let of = |value: Option<u64>| value.map_or_else(|| "no data".to_owned(), count);
        let mut cells = vec![of(sum), of(counts().min()), of(counts().max())];
        if strip {
            cells.push(row.counts.iter().map(|&count| level(count, max)).map(visible).collect());
        }
        GridRow { name: Name::Word(row.label.clone()), cells }
    });
    Grid { caption: String::new(), head, rows: rows.collect() }
}

/// A level that is seen between others that are.
fn visible(level: char) -> char {
    if level == ' ' { '_' } else { level }
}

fn trend(out: &mut String, chart: &Trend) {
    line(out, &format!("**{}** (_: zero, ·: no data)", chart.title));
    table(out, &trend_grid(chart, true), &[4]);
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
                Name::All(word) => plain(word),
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
