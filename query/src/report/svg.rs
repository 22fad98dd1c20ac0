//! Charts as inline SVG: drawn in whole units, coloured by classes of `style.css`, described in words.

use std::fmt::Write;

use super::document::{Days, Heat, Stack};
use super::html::escape;
use super::words::{compact, count, maybe, share};

/// Drawing width of a chart: that of a column of the page, so that text keeps its size.
const WIDTH: u64 = 420;
/// Height of the bars.
const BARS: u64 = 112;
/// Room over the bars for their labels.
const TOP: u64 = 26;
/// Room under the bars for the days.
const BOTTOM: u64 = 24;
/// Layers of a stack that have a colour of their own.
const TONES: u64 = 5;

/// Bars per day, the week before as a paler bar beside each.
pub(crate) fn days(chart: &Days, id: usize) -> String {
    let max = chart.counts.iter().flat_map(|day| [day.week, day.before]).flatten().max().unwrap_or(0);
    let slot = WIDTH / chart.counts.len().max(1) as u64;
    let tone = if chart.bad { "bad" } else { "now" };
    let mut body = String::new();
    for (index, (label, day)) in chart.labels.iter().zip(&chart.counts).enumerate() {
        let left = slot * index as u64;
        let (middle, wide, narrow) = (left + slot / 2, slot * 44 / 100, slot * 20 / 100);
        let x = left + (slot - wide - narrow - 2) / 2;
        bar(&mut body, tone, x, wide, day.week.unwrap_or(0), max);
        bar(&mut body, "past", x + wide + 2, narrow, day.before.unwrap_or(0), max);
        let top = TOP + BARS - height(day.week.unwrap_or(0), max) - 7;
        match day.week {
            Some(value) => text(&mut body, "value", x + wide / 2, top, &compact(value)),
            None => {
                let top = TOP + BARS - height(day.before.unwrap_or(0), max) - 7;
                text(&mut body, "none", middle, top, "no data");
            }
        }
        text(&mut body, "day", middle, TOP + BARS + 16, short(label));
    }
    axis(&mut body);
    let words: Vec<String> = chart
        .labels
        .iter()
        .zip(&chart.counts)
        .map(|(label, day)| format!("{label}: {}, week before {}", maybe(day.week), maybe(day.before)))
        .collect();
    frame(id, &chart.title, &words.join("; "), WIDTH, TOP + BARS + BOTTOM, &body)
}

/// One bar per day, in layers that fill it by their share.
pub(crate) fn stack(chart: &Stack, id: usize) -> String {
    let totals: Vec<u64> = (0..chart.labels.len())
        .map(|day| chart.layers.iter().filter_map(|(_, days)| days.get(day).copied().flatten()).sum())
        .collect();
    let slot = WIDTH / chart.labels.len().max(1) as u64;
    let (mut body, mut words) = (String::new(), Vec::new());
    for (day, (label, &total)) in chart.labels.iter().zip(&totals).enumerate() {
        let left = slot * day as u64;
        let (x, wide) = (left + slot * 16 / 100, slot * 68 / 100);
        let mut base = TOP + BARS;
        let mut parts = Vec::new();
        for (layer, (name, days)) in chart.layers.iter().enumerate() {
            let value = days.get(day).copied().flatten().unwrap_or(0);
            if value == 0 {
                continue;
            }
            let tall = height(value, total).min(base - TOP);
            base -= tall;
            let tone = (layer as u64).min(TONES - 1);
            let _ = write!(
                body,
                "<rect class=\"tone{tone}\" x=\"{x}\" y=\"{base}\" width=\"{wide}\" height=\"{tall}\"/>"
            );
            parts.push(format!("{name} {}", share(value, total)));
        }
        if total == 0 {
            let known = chart.layers.iter().any(|(_, days)| days.get(day).is_some_and(Option::is_some));
            let words = if known { "none" } else { "no data" };
            text(&mut body, "none", left + slot / 2, TOP + BARS - 7, words);
            parts.push(words.to_owned());
        }
        text(&mut body, "day", left + slot / 2, TOP + BARS + 16, short(label));
        words.push(format!("{label}: {}", parts.join(", ")));
    }
    axis(&mut body);
    let mut at = 0;
    for (layer, (name, days)) in chart.layers.iter().enumerate() {
        if days.iter().flatten().all(|&count| count == 0) {
            continue;
        }
        let tone = (layer as u64).min(TONES - 1);
        let _ = write!(
            body,
            "<rect class=\"tone{tone}\" x=\"{at}\" y=\"4\" width=\"10\" height=\"10\" rx=\"2\"/>"
        );
        let _ = write!(body, "<text class=\"key\" x=\"{}\" y=\"13\">{}</text>", at + 15, escape(name));
        at += 62;
    }
    frame(id, &chart.title, &words.join("; "), WIDTH, TOP + BARS + BOTTOM, &body)
}

/// A cell per hour and day, darker for more.
pub(crate) fn heat(chart: &Heat, id: usize) -> String {
    const CELL: u64 = 15;
    const LEFT: u64 = 58;
    const HEAD: u64 = 18;
    let max = chart.rows.iter().flatten().filter_map(|&count| count).max().unwrap_or(0);
    let mut body = String::new();
    for hour in (0..24).step_by(6) {
        let x = LEFT + CELL * hour;
        let _ = write!(body, "<text class=\"key\" x=\"{x}\" y=\"12\">{hour:02}:00</text>");
    }
    let mut words = Vec::new();
    for (row, (label, hours)) in chart.labels.iter().zip(&chart.rows).enumerate() {
        let y = HEAD + CELL * row as u64;
        let _ = write!(body, "<text class=\"key\" x=\"0\" y=\"{}\">{}</text>", y + 11, escape(short(label)));
        for (hour, &value) in hours.iter().enumerate() {
            let x = LEFT + CELL * hour as u64;
            let class = match value {
                None => "void".to_owned(),
                Some(0) => "h0".to_owned(),
                Some(value) => format!("h{}", (u128::from(value) * 6).div_ceil(u128::from(max)).clamp(1, 6)),
            };
            let size = CELL - 2;
            let _ = write!(
                body,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{size}\" height=\"{size}\" rx=\"2\">\
                 <title>{}, {hour:02}:00: {}</title></rect>",
                escape(label),
                maybe(value)
            );
        }
        let top = hours.iter().enumerate().filter_map(|(hour, value)| Some((value.as_ref()?, hour)));
        words.push(match top.max_by_key(|&(value, hour)| (value, std::cmp::Reverse(hour))) {
            None => format!("{label}: no data"),
            Some((0, _)) => format!("{label}: none"),
            Some((value, hour)) => format!("{label}: most at {hour:02}:00 ({})", count(*value)),
        });
    }
    // The key: from one to the most.
    let y = HEAD + CELL * chart.rows.len() as u64 + 8;
    let mut x = 0;
    let mut key = |body: &mut String, class: &str, label: &str, wide: u64| {
        let _ =
            write!(body, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" rx=\"2\"/>");
        let _ = write!(body, "<text class=\"key\" x=\"{}\" y=\"{}\">{label}</text>", x + 17, y + 10);
        x += wide;
    };
    key(&mut body, "void", "no data", 70);
    key(&mut body, "h0", "none", 54);
    // With few steps between one and the most, the lower keys would say the same.
    for level in [1u64, 3].into_iter().filter(|level| max / 6 * level > 1) {
        let upper = u64::try_from(u128::from(max) * u128::from(level) / 6).unwrap_or(max);
        key(&mut body, &format!("h{level}"), &format!("to {}", compact(upper)), 74);
    }
    key(&mut body, "h6", &format!("to {}", compact(max)), 74);
    frame(id, &chart.title, &words.join("; "), WIDTH, y + 16, &body)
}

fn frame(id: usize, title: &str, words: &str, width: u64, height: u64, body: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"t{id} d{id}\">\
         <title id=\"t{id}\">{}</title><desc id=\"d{id}\">{}</desc>{body}</svg>",
        escape(title),
        escape(words)
    )
}

fn axis(body: &mut String) {
    let y = TOP + BARS;
    let _ = write!(body, "<line class=\"axis\" x1=\"0\" y1=\"{y}\" x2=\"{WIDTH}\" y2=\"{y}\"/>");
}

fn bar(body: &mut String, class: &str, x: u64, wide: u64, value: u64, max: u64) {
    if value > 0 {
        let tall = height(value, max);
        let y = TOP + BARS - tall;
        let _ = write!(
            body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{tall}\" rx=\"1\"/>"
        );
    }
}

/// `Mon 4` of `Mon 4 May`.
fn short(label: &str) -> &str {
    label.rsplit_once(' ').map_or(label, |(day, _)| day)
}

/// The height of a bar: at least two units where there is anything, so that one is not lost beside thousands.
fn height(value: u64, max: u64) -> u64 {
    if value == 0 || max == 0 {
        return 0;
    }
    let tall = u128::from(value) * u128::from(BARS) / u128::from(max);
    u64::try_from(tall).unwrap_or(BARS).clamp(2, BARS)
}

fn text(body: &mut String, class: &str, x: u64, y: u64, words: &str) {
    let _ = write!(body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(words));
}
