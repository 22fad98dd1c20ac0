//! The document as one HTML file: no script, no outside request, every text escaped.

use std::fmt::Write;

use super::document::{Bars, Block, Document, Grid, Heat, Name};
use super::markdown::{bars_grid, printable, trend_grid};
use super::svg;

/// What stands in the file's one `<style>`: light and dark, screen and paper. A host that shows a report in a page under a
/// content security policy allows exactly this, by its hash.
pub const STYLE: &str = concat!("\n", include_str!("style.css"));

/// The width of half of the page.
const COLUMN_PX: usize = 430;
/// About the widest that a character of a name, and of a number, gets.
const NAME_PX: usize = 8;
const CELL_PX: usize = 7;
/// The space between two columns of a table.
const SPACE_PX: usize = 12;

/// Renders a document.
pub(crate) fn render(document: &Document) -> String {
    let mut out = String::with_capacity(64 << 10);
    let title = escape(&document.title);
    let period = escape(&document.period);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}: {period}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{title}</h1>\n<p class=\"period\">{period}</p>\n<p class=\"origin\">{}</p>\n</header>\n",
        escape(&document.origin)
    );
    for notice in &document.notices {
        let _ = writeln!(out, "<p class=\"notice\">{}</p>", escape(notice));
    }
    let _ = writeln!(out, "<p class=\"lead\">{}</p>", escape(&document.summary.join(" ")));
    if !document.changed.is_empty() {
        out.push_str("<h2 class=\"changed\">What changed most</h2>\n<ol class=\"changed\">\n");
        for change in &document.changed {
            let _ = writeln!(out, "<li>{}</li>", escape(change));
        }
        out.push_str("</ol>\n");
    }
    if !document.figures.is_empty() {
        out.push_str("<dl class=\"figures\">\n");
        for figure in &document.figures {
            let _ = writeln!(
                out,
                "<div{}><dt>{}</dt><dd>{}</dd><dd class=\"note\">{}</dd>{}</div>",
                if figure.alarm { " class=\"alarm\"" } else { "" },
                figure.label,
                escape(&figure.value),
                escape(&figure.note),
                figure.usual.as_ref().map_or_else(String::new, |usual| {
                    format!("<dd class=\"note\">{}</dd>", escape(usual))
                })
            );
        }
        out.push_str("</dl>\n");
    }
    let mut charts = 0;
    for (index, section) in document.sections.iter().enumerate() {
        let _ = writeln!(
            out,
            "<section aria-labelledby=\"s{index}\">\n<h2 id=\"s{index}\">{}</h2>",
            section.heading
        );
        for block in &section.blocks {
            charts += 1;
            write_block(&mut out, block, charts);
        }
        out.push_str("</section>\n");
    }
    if !document.notes.is_empty() {
        out.push_str("<footer>\n");
        for note in &document.notes {
            let _ = writeln!(out, "<p>{}</p>", escape(note));
        }
        out.push_str("</footer>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn write_block(out: &mut String, block: &Block, id: usize) {
    let _ = match block {
        Block::Text(text) => writeln!(out, "<p>{}</p>", escape(text)),
        Block::Aside(text) => writeln!(out, "<p class=\"aside\">{}</p>", escape(text)),
        Block::Alarm(text) => writeln!(out, "<p class=\"alarm\">{}</p>", escape(text)),
        Block::Grid(grid) => {
            table(out, grid);
            Ok(())
        }
        Block::Bars(chart) => figure(out, &keys(chart), &svg::bars(chart, id), &bars_grid(chart, false)),
        Block::Stack(chart) => {
            writeln!(
                out,
                "<figure><figcaption>{}</figcaption>{}</figure>",
                escape(&chart.title),
                svg::stack(chart, id)
            )
        }
        Block::Heat(chart) => figure(out, &escape(&chart.title), &svg::heat(chart, id), &hour_grid(chart)),
        Block::Trend(chart) => {
            figure(out, &escape(&chart.title), &svg::trend(chart, id), &trend_grid(chart, false))
        }
    };
}

/// The title of a chart and the keys to its colours.
fn keys(chart: &Bars) -> String {
    let (title, noun) = (escape(&chart.title), chart.span.noun());
    let key = if chart.bad { "bad" } else { "now" };
    let usual = match chart.counts.iter().any(|counts| counts.usual.is_some()) {
        true => "<span><i class=\"usual\"></i>usual range</span>",
        false => "",
    };
    format!(
        "{title} <span class=\"keys\"><span><i class=\"{key}\"></i>{noun}</span> <span><i \
         class=\"past\"></i>{noun} before</span> {usual}</span>"
    )
}

/// A chart with its numbers behind a fold.
fn figure(out: &mut String, caption: &str, svg: &str, numbers: &Grid) -> std::fmt::Result {
    writeln!(out, "<figure><figcaption>{caption}</figcaption>{svg}")?;
    out.push_str("<details><summary>In numbers</summary>\n");
    table(out, numbers);
    writeln!(out, "</details></figure>")
}

fn hour_grid(chart: &Heat) -> Grid {
    let mut head = vec!["Hour".to_owned()];
    head.extend(chart.labels.iter().cloned());
    Grid {
        caption: String::new(),
        head,
        rows: (0..24)
            .map(|hour| super::document::GridRow {
                name: Name::Word(format!("{hour:02}:00")),
                cells: chart
                    .rows
                    .iter()
                    .map(|day| day.get(hour).copied().flatten().map_or("–".to_owned(), super::words::count))
                    .collect(),
            })
            .collect(),
    }
}

fn table(out: &mut String, grid: &Grid) {
    let wide = if width(grid) > COLUMN_PX { " wide" } else { "" };
    let _ = write!(out, "<div class=\"table{wide}\"><table>");
    if !grid.caption.is_empty() {
        let _ = write!(out, "<caption>{}</caption>", escape(&grid.caption));
    }
    out.push_str("\n<thead><tr>");
    for heading in &grid.head {
        match heading.is_empty() {
            true => out.push_str("<td></td>"),
            false => {
                let _ = write!(out, "<th scope=\"col\">{}</th>", escape(heading));
            }
        }
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &grid.rows {
        let (class, name) = match &row.name {
            Name::Word(word) => ("", escape(word)),
            Name::All(word) => (" class=\"all\"", escape(word)),
            Name::Given(given) => ("", format!("<code>{}</code>", escape(given))),
        };
        let _ = write!(out, "<tr{class}><th scope=\"row\">{name}</th>");
        for cell in &row.cells {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// About the width that a table needs to keep each row on one line.
fn width(grid: &Grid) -> usize {
    let names = grid.rows.iter().map(|row| match &row.name {
        Name::Word(word) => word.chars().count(),
        Name::All(word) => word.len(),
        Name::Given(given) => given.chars().count(),
    });
    let column = |at: usize| {
        let cells = grid.rows.iter().filter_map(|row| row.cells.get(at));
        cells.chain(grid.head.get(at + 1)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let cells = (0..grid.head.len().saturating_sub(1)).map(|at| column(at) * CELL_PX + SPACE_PX);
    names.max().unwrap_or(0) * NAME_PX + cells.sum::<usize>()
}

/// Text without markup. `://` is broken up too, so that no viewer makes a link of what a site has named.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '/' if out.ends_with(':') => out.push_str("&#47;"),
            // A number keeps its unit on the line.
            '%' if out.ends_with(' ') => {
                out.pop();
                out.push_str("\u{a0}%");
            }
            c => out.push(printable(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escape("<a href='x' onload=\"y\">&http://e\u{7}\u{202e}"),
            "&lt;a href=&#39;x&#39; onload=&quot;y&quot;&gt;&amp;http:&#47;/e\u{fffd}\u{fffd}"
        );
    }
}
