//! Bars for an instant vector: a name, a bar in eighths of a column, the value.

use super::words;

/// A part of a column, in eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// More bars than this are not read.
pub(super) const BARS_MAX: usize = 60;

/// Draws a bar per value. Values without a length (`NaN`, `±Inf`) have none; bars below zero go left of the axis.
pub(crate) fn draw(title: &str, names: &[String], values: &[f64], width: usize) -> String {
    if values.is_empty() {
        return "nothing to draw\n".to_owned();
    }
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    // An axis at zero, and room on either side of it as far as values go.
    let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let longest = names.iter().take(BARS_MAX).map(|name| name.chars().count()).max().unwrap_or(0);
    let names_width = longest.min(width / 2);
    let texts: Vec<String> = values.iter().map(|value| words::value(*value)).collect();
    let texts_width = texts.iter().map(String::len).max().unwrap_or(0);
    let room = width.saturating_sub(names_width + texts_width + 4).max(8);
    // Halved first: the span of the largest numbers is not finite.
    let span = high / 2.0 - low / 2.0;
    let left = if span > 0.0 { ((-low / 2.0 / span) * room as f64).round() as usize } else { 0 };
    let right = room - left;
    let mut text = String::new();
    if !title.is_empty() && names.len() > 1 {
        text += &format!("{title}\n");
    }
    for ((name, value), shown) in names.iter().zip(values).zip(&texts).take(BARS_MAX) {
        let name = words::cut(name, names_width);
        let pad = " ".repeat(names_width.saturating_sub(name.chars().count()));
        let (below, above) = match value.is_finite() && span > 0.0 {
            true if *value < 0.0 => (((value / low) * left as f64).round() as usize, String::new()),
            true => (0, bar(value / high * right as f64)),
            false => (0, String::new()),
        };
        let axis = if left > 0 {
            format!("{}{}│", " ".repeat(left.saturating_sub(below)), "█".repeat(below.min(left)))
        } else {
            "│".to_owned()
        };
        text += &format!("{name}{pad} {axis}{above} {shown}\n");
    }
    if names.len() > BARS_MAX {
        text += &format!("and {} more; try topk({BARS_MAX}, …)\n", names.len() - BARS_MAX);
    }
    text
}

/// A bar of a length in columns; one that is not zero is at least an eighth long.
fn bar(columns: f64) -> String {
    if columns.is_nan() {
        return String::new();
    }
    let eighths = (columns * 8.0).round() as usize;
    let eighths = if columns > 0.0 { eighths.max(1) } else { eighths };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS.get(eighths % 8).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_largest_value() {
        let names = ["a", "bb", "c"].map(str::to_owned);
        let text = draw("", &names, &[10.0, 20.0, 0.0], 40);
        let expected = format!("a  │{} 10\nbb │{} 20\nc  │ 0\n", "█".repeat(16), "█".repeat(32));
        assert_eq!(text, expected);
    }

    #[test]
    fn odd_values_draw_without_panic_within_the_width() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN, 1e-300, -5.0];
        let names: Vec<String> = odd.iter().map(|value| format!("{value:e}")).collect();
        for width in [0, 20, 40, 200] {
            for line in draw("t", &names, &odd, width).lines() {
                assert!(line.chars().count() <= width.max(60), "{line}");
            }
        }
        assert_eq!(draw("", &[], &[], 80), "nothing to draw\n");
        draw("", &names[..1], &odd[..1], 80);
        draw("", &["x".to_owned()], &[0.0], 80);
    }
}
