//! Line charts in braille: two by four dots per character, with axes that carry labels.
//!
//! ```text
//! http_requests{site="shop"}
//!   1500 ┤      ⢀⡠⠤⠤⣀
//!   1000 ┤  ⣀⠤⠒⠉    ⠉⠒⢄
//!    500 ┤⠔⠉            ⠑⠢
//!      0 ┼────┬───────┬───────
//!           06:00   12:00
//! ```
//!
//! With colours several series share one chart; without, each has a chart of its own, so that no line is taken
//! for another. A gap in the data is a gap in the line; what is not a finite number is not drawn, and said.

use annals::{TimeRange, Timestamp};
use jiff::tz::TimeZone;

use super::axes::{Axis, Times};
use super::words;

/// More lines than this are not told apart.
pub(super) const LINES_MAX: usize = 8;
/// One per line: terminal colours that read on dark and on light.
const COLOURS: [u8; LINES_MAX] = [34, 31, 32, 35, 36, 33, 94, 91];
/// Rows of a chart that stands among others.
const SMALL_ROWS: usize = 5;
/// A braille character without dots.
const BRAILLE: u32 = 0x2800;

/// One line of a chart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// Times ascending, and values.
    pub(crate) points: &'a [(Timestamp, f64)],
}

/// What there is to draw on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canvas<'a> {
    /// Columns in all.
    pub(crate) width: usize,
    /// Rows of the plot.
    pub(crate) height: usize,
    /// Whether colours may be used.
    pub(crate) colour: bool,
    /// The zone of the time axis.
    pub(crate) zone: &'a TimeZone,
}

/// Draws lines over a range of time.
pub(crate) fn draw(title: &str, lines: &[Line<'_>], range: TimeRange, canvas: Canvas<'_>) -> String {
    let shown = &lines[..lines.len().min(LINES_MAX)];
    let mut text = String::new();
    match shown {
        [] => return "nothing to draw\n".to_owned(),
        [only] => {
            text += &format!("{}\n", words::cut(only.name, canvas.width));
            text += &plot(shown, range, canvas, true);
        }
        _ if canvas.colour => {
            if !title.is_empty() {
                text += &format!("{}\n", words::cut(title, canvas.width));
            }
            text += &plot(shown, range, canvas, true);
            for (line, colour) in shown.iter().zip(COLOURS) {
                let name = words::cut(line.name, canvas.width.saturating_sub(40).max(12));
                text += &format!("  \u{1b}[{colour}m━━\u{1b}[0m {name}  {}\n", summary(line.points));
            }
        }
        _ => {
            if !title.is_empty() {
                text += &format!("{}\n", words::cut(title, canvas.width));
            }
            for (index, line) in shown.iter().enumerate() {
                let name = words::cut(line.name, canvas.width.saturating_sub(40).max(12));
                text += &format!("{name}  {}\n", summary(line.points));
                let small = Canvas { height: SMALL_ROWS.min(canvas.height), ..canvas };
                text += &plot(std::slice::from_ref(line), range, small, index + 1 == shown.len());
            }
        }
    }
    if lines.len() > shown.len() {
        text += &format!("and {} more; try topk({LINES_MAX}, …)\n", lines.len() - shown.len());
    }
    let odd = shown.iter().flat_map(|line| line.points).filter(|(_, value)| !value.is_finite()).count();
    if odd > 0 {
        text += &format!("{odd} points are not finite numbers and are not drawn\n");
    }
    text
}

/// The least, the greatest and the last of a line.
pub(super) fn summary(points: &[(Timestamp, f64)]) -> String {
    let finite = || points.iter().map(|&(_, value)| value).filter(|value| value.is_finite());
    let last = points.last().map_or(f64::NAN, |&(_, value)| value);
    if finite().next().is_none() {
        return format!("last {}", words::brief(last));
    }
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    format!("min {}  max {}  last {}", words::brief(low), words::brief(high), words::brief(last))
}

/// The plot with its axes; the times beneath it only where `times` says so.
fn plot(lines: &[Line<'_>], range: TimeRange, canvas: Canvas<'_>, times: bool) -> String {
    let rows = canvas.height.max(2);
    let axis = Axis::over(lines, rows);
    let mut labels: Vec<String> = vec![String::new(); rows];
    for tick in axis.ticks() {
        let row = ((1.0 - axis.place(tick)) * (rows - 1) as f64).round() as usize;
        if let Some(label) = labels.get_mut(row) {
            *label = words::brief(tick);
        }
    }
    let label_width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(6);
    let columns = canvas.width.saturating_sub(label_width + 3).max(10);
    let time = Times::of(lines, range, canvas.zone);
    let mut dots = Dots::new(columns, rows);
    for (index, line) in lines.iter().enumerate() {
        dots.trace(line.points, &time, &axis, index);
    }
    let mut text = String::new();
    for (row, label) in labels.iter().enumerate() {
        let mark = if label.is_empty() { '│' } else { '┤' };
        text += &format!("{label:>label_width$} {mark}{}\n", dots.row(row, canvas.colour && lines.len() > 1));
    }
    let (rule, below) = time.axis(columns);
    text += &format!("{:label_width$} └{}\n", "", rule.trim_end());
    if times {
        text += &format!("{:label_width$}  {}\n", "", below.trim_end());
        text += &time.below(label_width + 2, canvas.width);
    }
    text
}

/// The plot's dots, and which line each character belongs to.
struct Dots {
    columns: usize,
    rows: usize,
    bits: Vec<u8>,
    owner: Vec<usize>,
}

impl Dots {
    fn new(columns: usize, rows: usize) -> Dots {
        Dots { columns, rows, bits: vec![0; columns * rows], owner: vec![0; columns * rows] }
    }

    fn set(&mut self, x: usize, y: usize, line: usize) {
        // Dots of a braille character by column and row.
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let at = y / 4 * self.columns + x / 2;
        if let (Some(bits), Some(owner)) = (self.bits.get_mut(at), self.owner.get_mut(at)) {
            *bits |= BITS[x % 2][y % 4];
            *owner = line;
        }
    }

    /// Joins the points of a line; neighbours that are too far apart, or not finite, are not joined.
    fn trace(&mut self, points: &[(Timestamp, f64)], time: &Times, axis: &Axis, line: usize) {
        let (right, bottom) = ((self.columns * 2 - 1) as f64, (self.rows * 4 - 1) as f64);
        let mut before: Option<(Timestamp, i64, i64)> = None;
        for &(at, value) in points {
            if !value.is_finite() {
                before = None;
                continue;
            }
            let x = (time.place(at) * right).round() as i64;
            let y = ((1.0 - axis.place(value)) * bottom).round() as i64;
            match before {
                Some((then, x0, y0)) if at.0.saturating_sub(then.0) <= time.gap_ms => {
                    // As many dots as the longer side is long.
                    let steps = (x - x0).abs().max((y - y0).abs()).max(1);
                    for step in 0..=steps {
                        let along =
                            |a: i64, b: i64| a + ((b - a) as f64 * step as f64 / steps as f64).round() as i64;
                        self.set(along(x0, x) as usize, along(y0, y) as usize, line);
                    }
                }
                _ => self.set(x as usize, y as usize, line),
            }
            before = Some((at, x, y));
        }
    }

    fn row(&self, row: usize, colour: bool) -> String {
        let cells = row * self.columns..(row + 1) * self.columns;
        let (bits, owners) = (self.bits.get(cells.clone()), self.owner.get(cells));
        let mut text = String::new();
        for (&bits, &owner) in bits.unwrap_or_default().iter().zip(owners.unwrap_or_default()) {
            let letter = match bits {
                0 => ' ',
                bits => char::from_u32(BRAILLE + u32::from(bits)).unwrap_or(' '),
            };
            match COLOURS.get(owner) {
                Some(code) if colour && letter != ' ' => text += &format!("\u{1b}[{code}m{letter}\u{1b}[0m"),
                _ => text.push(letter),
            }
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::{DAY_MS, HOUR_MS};

    const PLAIN: Canvas<'_> = Canvas { width: 50, height: 6, colour: false, zone: &TimeZone::UTC };

    fn hours(values: &[f64]) -> Vec<(Timestamp, f64)> {
        values
            .iter()
            .enumerate()
            .map(|(hour, &value)| (Timestamp((hour as i64 + 1) * HOUR_MS), value))
            .collect()
    }

    fn day() -> TimeRange {
        TimeRange::new(Timestamp(0), Timestamp(DAY_MS))
    }

    #[test]
    fn a_rise_is_drawn_from_lower_left_to_upper_right() {
        let points = hours(&(0..24).map(f64::from).collect::<Vec<_>>());
        let text = draw("", &[Line { name: "up", points: &points }], day(), PLAIN);
        // The picture itself: the first row that holds dots lies right of the last.
        let rows: Vec<&str> = text.lines().skip(1).take(6).collect();
        let first_dot = |row: &str| row.chars().position(|c| (0x2801..=0x28ff).contains(&(c as u32)));
        let places: Vec<usize> = rows.iter().filter_map(|row| first_dot(row)).collect();
        assert!(places.len() >= 4 && places.windows(2).all(|pair| pair[0] > pair[1]), "{text}");
        assert!(text.contains("12:00") && text.contains("1970-01-02 00:00Z"), "{text}");
    }

    #[test]
    fn odd_series_draw_without_panic_and_within_the_width() {
        let series: [&[f64]; 9] = [
            &[],
            &[5.0],
            &[5.0, 5.0, 5.0],
            &[0.0, 0.0],
            &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY],
            &[f64::MAX, f64::MIN, 0.0],
            &[1e-310, 2e-310],
            &[-3.0, -2.0, -7.0],
            &[1e15, 1e15 + 1.0],
        ];
        for values in series {
            let points = hours(values);
            for range in [day(), TimeRange::new(Timestamp(5), Timestamp(5)), TimeRange::ALL] {
                for width in [0, 12, 50, 240] {
                    let text =
                        draw("", &[Line { name: "odd", points: &points }], range, Canvas { width, ..PLAIN });
                    for line in text.lines().filter(|line| line.contains(['│', '┤', '└'])) {
                        assert!(line.chars().count() <= width.max(30), "{line}");
                    }
                }
            }
        }
        assert_eq!(draw("", &[], day(), PLAIN), "nothing to draw\n");
    }

    #[test]
    fn a_gap_in_the_data_is_a_gap_in_the_line() {
        let mut points = hours(&[1.0; 24]);
        points.drain(8..16);
        let text = draw("", &[Line { name: "gap", points: &points }], day(), PLAIN);
        let row = text
            .lines()
            .find(|line| line.contains('⠉') || line.contains('⠒') || line.contains('⣀') || line.contains('⠤'))
            .expect("a line");
        let plot: String = row.chars().skip(8).collect();
        assert!(plot.trim().contains("      "), "{text}");
    }

    #[test]
    fn without_colours_each_series_has_its_own_chart() {
        let (a, b) = (hours(&[1.0, 2.0]), hours(&[30.0, 20.0]));
        let lines = [Line { name: "a", points: &a }, Line { name: "b", points: &b }];
        let text = draw("both", &lines, day(), PLAIN);
        assert!(!text.contains('\u{1b}'));
        assert_eq!(text.matches('└').count(), 2);
        let coloured = draw("both", &lines, day(), Canvas { colour: true, ..PLAIN });
        assert_eq!(coloured.matches('└').count(), 1);
        assert!(coloured.contains("━━"));
        let many: Vec<Line<'_>> = (0..11).map(|_| lines[0]).collect();
        assert!(draw("many", &many, day(), PLAIN).contains("and 3 more"));
    }
}
