//! Pictures as SVG: a file by itself, without script or request, light and dark, with its content in words.
//!
//! ```text
//!   question                                  ┐ top
//!   ┌──────────────────────────────────────┐  ┘
//! 5 │ grid lines at round values           │
//! 0 └──────┬───────────────┬───────────────┘
//!        round times of the zone
//!   ■ name  min max last                       a row per line
//! ```

use std::fmt::Write;

use annals::query::promql::Series;
use annals::{TimeRange, Timestamp};
use jiff::tz::TimeZone;

use super::answer::Asked;
use super::axes::{Axis, Times};
use super::heat::Heat;
use super::lines::{self, LINES_MAX, Line};
use super::picture::Picture;
use super::{bars, words};

/// The picture's width, and the room that axes and title take of it.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 44.0;
/// A plot's height.
const PLOT: f64 = 280.0;
/// Of a line of text.
const ROW: f64 = 20.0;
/// Rows that the value axis is made for.
const AXIS_ROWS: usize = 14;
/// Letters that fit beside the picture's edges.
const LETTERS: usize = 112;
/// Colours by class, light and dark: told apart also by those who do not see red and green apart.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:13px}.m{fill:#666}\
.e{text-anchor:end}.c{text-anchor:middle}.g{stroke:#ddd}.a{stroke:#888}.b{fill:#fff}\
.l{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.k0{stroke:#0969da;fill:#0969da}.k1{stroke:#d1242f;fill:#d1242f}.k2{stroke:#1a7f37;fill:#1a7f37}\
.k3{stroke:#8250df;fill:#8250df}.k4{stroke:#bf5b04;fill:#bf5b04}.k5{stroke:#0e8a8a;fill:#0e8a8a}\
.k6{stroke:#bf3989;fill:#bf3989}.k7{stroke:#6e7781;fill:#6e7781}.l{fill:none}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.m{fill:#aaa}.g{stroke:#333}.a{stroke:#777}.b{fill:#16181d}\
.k0{stroke:#6cb2ff;fill:#6cb2ff}.k1{stroke:#ff8182;fill:#ff8182}.k2{stroke:#5fd07a;fill:#5fd07a}\
.k3{stroke:#c297ff;fill:#c297ff}.k4{stroke:#f0a35e;fill:#f0a35e}.k5{stroke:#4fd1d1;fill:#4fd1d1}\
.k6{stroke:#ff80c8;fill:#ff80c8}.k7{stroke:#a8b1bb;fill:#a8b1bb}.l{fill:none}}";

/// Draws an answer; nothing of it where it is empty.
pub(super) fn draw(picture: Option<&Picture<'_>>, asked: Asked<'_>, zone: &TimeZone) -> String {
    let question = words::one_line(asked.question);
    let mut body = String::new();
    let height = match picture {
        None => note(&mut body, "no data"),
        Some(Picture::Words(text)) => note(&mut body, text),
        Some(Picture::Bars { names, values, .. }) => draw_bars(&mut body, names, values),
        Some(Picture::Lines { names, series, .. }) => draw_lines(&mut body, names, series, asked.range, zone),
        Some(Picture::Heats(heats)) => {
            let mut top = TOP;
            for heat in heats {
                top = draw_heat(&mut body, heat, asked.range, zone, top);
            }
            top
        }
    };
    let title = escape(&question);
    let shown = escape(&words::cut(&question, LETTERS));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"b\" width=\"100%\" height=\"100%\"/>\n<text class=\"t\" x=\"14\" y=\"24\">{shown}</text>\n{body}</svg>\n"
    )
}

fn note(body: &mut String, text: &str) -> f64 {
    let text = escape(&words::cut(text, LETTERS));
    let _ = writeln!(body, "<text class=\"m\" x=\"14\" y=\"{}\">{text}</text>", TOP + 14.0);
    TOP + 34.0
}

fn draw_lines(
    body: &mut String,
    names: &[String],
    series: &[Series],
    range: TimeRange,
    zone: &TimeZone,
) -> f64 {
    let all: Vec<Line<'_>> =
        names.iter().zip(series).map(|(name, one)| Line { name, points: &one.points }).collect();
    let shown = all.get(..all.len().min(LINES_MAX)).unwrap_or_default();
    let (axis, time) = (Axis::over(shown, AXIS_ROWS), Times::of(shown, range, zone));
    for tick in axis.ticks() {
        let y = TOP + (1.0 - axis.place(tick)) * PLOT;
        let _ = writeln!(
            body,
            "<path class=\"g\" d=\"M{LEFT} {y:.1}H{}\"/><text class=\"m e\" x=\"{}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            words::brief(tick)
        );
    }
    let bottom = time_axis(body, &time, TOP + PLOT);
    for (number, line) in shown.iter().enumerate() {
        let (path, alone) = path(line, &axis, &time);
        let _ = writeln!(body, "<path class=\"l k{number}\" d=\"{path}\"/>");
        for (x, y) in alone {
            let _ = writeln!(body, "<circle class=\"k{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>");
        }
    }
    let mut y = bottom + ROW;
    for (number, line) in shown.iter().enumerate() {
        let name = escape(&words::cut(line.name, LETTERS - 45));
        let numbers = lines::summary(line.points).replace("  ", ", ");
        let _ = writeln!(
            body,
            "<rect class=\"k{number}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"2\"/>\
             <text x=\"{}\" y=\"{y:.1}\">{name} <tspan class=\"m\" dx=\"10\">{numbers}</tspan></text>",
            y - 9.5,
            LEFT + 18.0,
        );
        y += ROW;
    }
    let odd = shown.iter().flat_map(|line| line.points).filter(|(_, value)| !value.is_finite()).count();
    for more in [
        (all.len() > shown.len()).then(|| format!("and {} more", all.len() - shown.len())),
        (odd > 0).then(|| format!("{odd} points are not finite numbers and are not drawn")),
    ]
    .into_iter()
    .flatten()
    {
        let _ = writeln!(body, "<text class=\"m\" x=\"{LEFT}\" y=\"{y:.1}\">{more}</text>");
        y += ROW;
    }
    y
}

/// A line as path, broken where there is a gap, and the points that have none beside them.
fn path(line: &Line<'_>, axis: &Axis, time: &Times) -> (String, Vec<(f64, f64)>) {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut before: Option<Timestamp> = None;
    for &(at, value) in line.points {
        if !value.is_finite() {
            before = None;
            continue;
        }
        let point = (LEFT + time.place(at) * (WIDTH - LEFT - RIGHT), TOP + (1.0 - axis.place(value)) * PLOT);
        let joined = before.is_some_and(|before| at.0.saturating_sub(before.0) <= time.gap_ms);
        match runs.last_mut() {
            Some(run) if joined => run.push(point),
            _ => runs.push(vec![point]),
        }
        before = Some(at);
    }
    let alone = runs.iter().filter(|run| run.len() == 1).flatten().copied().collect();
    let mut path = String::new();
    for run in runs.iter().filter(|run| run.len() > 1) {
        for (number, (x, y)) in run.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if number == 0 { 'M' } else { 'L' });
        }
    }
    (path, alone)
}

/// The rule with its labels; where what lies beneath begins.
fn time_axis(body: &mut String, time: &Times, y: f64) -> f64 {
    let width = WIDTH - LEFT - RIGHT;
    let _ = writeln!(body, "<path class=\"a\" d=\"M{LEFT} {y:.1}h{width}\"/>");
    for (tick, label) in time.ticks(9) {
        let x = LEFT + time.place(tick) * width;
        let _ = writeln!(
            body,
            "<path class=\"a\" d=\"M{x:.1} {y:.1}v5\"/><text class=\"m c\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
            y + 18.0
        );
    }
    let _ = writeln!(body, "<text class=\"m\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>", y + 38.0, time.words());
    y + 44.0
}

fn draw_bars(body: &mut String, names: &[String], values: &[f64]) -> f64 {
    let shown = names.len().min(bars::BARS_MAX);
    let finite = || values.iter().take(shown).copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let letters = names.iter().take(shown).map(|name| name.chars().count()).max().unwrap_or(0).min(44);
    // Room for names by the width of an average letter, and for the longest value behind its bar.
    let left = 24.0 + letters as f64 * 7.2;
    let room = WIDTH - left - RIGHT - 110.0;
    let span = high / 2.0 - low / 2.0;
    let zero = if span > 0.0 { left + room * (-low / 2.0 / span) } else { left };
    let mut y = TOP;
    for (name, value) in names.iter().zip(values).take(shown) {
        let length = if value.is_finite() && span > 0.0 { value / 2.0 / span * room } else { 0.0 };
        let (x, width) = (zero + length.min(0.0), length.abs());
        let name = escape(&words::cut(name, 44));
        let _ = writeln!(
            body,
            "<text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>\
             <rect class=\"k0\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\"/>\
             <text class=\"m\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 8.0,
            y + 11.0,
            y + 1.0,
            x + width + 7.0,
            y + 11.0,
            words::value(*value)
        );
        y += ROW;
    }
    let _ = writeln!(body, "<path class=\"a\" d=\"M{zero:.1} {TOP}V{y:.1}\"/>");
    if names.len() > shown {
        y += ROW;
        let _ =
            writeln!(body, "<text class=\"m\" x=\"14\" y=\"{y:.1}\">and {} more</text>", names.len() - shown);
    }
    y + 16.0
}

fn draw_heat(body: &mut String, heat: &Heat, range: TimeRange, zone: &TimeZone, top: f64) -> f64 {
    /// Places that columns are drawn at.
    const PLACES: usize = 383;
    let (time, greatest) = (Times::of(&[], range, zone), heat.greatest());
    let place = (WIDTH - LEFT - RIGHT) / PLACES as f64;
    let mut top = top;
    if heat.title != words::NO_LABELS {
        let title = escape(&words::cut(&heat.title, LETTERS));
        let _ = writeln!(body, "<text x=\"14\" y=\"{:.1}\">{title}</text>", top + 6.0);
        top += ROW;
    }
    let rows = heat.bounds.len() as f64;
    for (number, bound) in heat.bounds.iter().enumerate() {
        let y = top + (rows - 1.0 - number as f64) * ROW + 14.0;
        let bound = words::brief(*bound);
        let _ = writeln!(body, "<text class=\"m e\" x=\"{}\" y=\"{y:.1}\">{bound}</text>", LEFT - 8.0);
    }
    for (places, counts) in heat.spread(&time, PLACES) {
        let (x, width) = (LEFT + places.start as f64 * place, places.len() as f64 * place);
        for (number, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let y = top + (rows - 1.0 - number as f64) * ROW;
            let _ = writeln!(
                body,
                "<rect class=\"k0\" stroke-width=\"0\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" \
                 fill-opacity=\"{:.2}\"/>",
                ROW - 1.0,
                // The least that is there is seen.
                0.08 + 0.92 * count / greatest
            );
        }
    }
    let bottom = time_axis(body, &time, top + rows * ROW);
    let _ = writeln!(
        body,
        "<text class=\"m e\" x=\"{}\" y=\"{:.1}\">darkest: {}</text>",
        WIDTH - RIGHT,
        bottom - 6.0,
        words::brief(greatest)
    );
    bottom + ROW
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::query::promql::Value;
    use annals::{HOUR_MS, LabelSet};

    fn page(value: &Value) -> String {
        let range = TimeRange::new(Timestamp(0), Timestamp(5 * HOUR_MS));
        draw(Picture::of(value).as_ref(), Asked { question: "a < \"b\"", range }, &TimeZone::UTC)
    }

    fn series(name: &str, values: &[f64]) -> Series {
        let labels = LabelSet::from_pairs([("__name__", name)]).expect("valid");
        let points = (1..).map(|hour| Timestamp(hour * HOUR_MS)).zip(values.iter().copied()).collect();
        Series { labels, points, histograms: vec![] }
    }

    #[test]
    fn a_gap_breaks_the_path_and_a_point_alone_is_a_dot() {
        let page = page(&Value::Matrix(vec![series("m", &[1.0, 2.0, f64::NAN, 3.0])]));
        assert_eq!((page.matches('M').count() > 0, page.matches("<circle").count()), (true, 1), "{page}");
        assert!(page.contains("1 points are not finite"), "{page}");
    }

    #[test]
    fn odd_values_make_no_odd_numbers_and_text_is_escaped() {
        for values in
            [&[][..], &[f64::MAX, f64::MIN], &[f64::INFINITY], &[0.0, 0.0], &[1e-310], &[-5.0, -5.0]]
        {
            let lines = page(&Value::Matrix(vec![series("m", values)]));
            let vector = values
                .iter()
                .map(|value| (LabelSet::empty(), Timestamp(0), annals::query::promql::Sample::Float(*value)));
            let bars = page(&Value::Vector(vector.collect()));
            for page in [lines, bars] {
                let drawn = page.split_once("</style>").expect("a style").1;
                assert!(
                    !drawn.contains("=\"NaN") && !drawn.contains("=\"inf") && !drawn.contains("=\"-inf"),
                    "{page}"
                );
                assert!(page.contains("<title>a &lt; &quot;b&quot;</title>"), "{page}");
                assert_eq!(page.matches("<text").count(), page.matches("</text>").count());
            }
        }
    }
}
