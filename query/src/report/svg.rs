//! Charts as inline SVG: drawn in whole units, coloured by classes of `style.css`, described in words.

use std::fmt::Write;

use super::document::{Bars, Heat, Stack, Trend};
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
/// More steps than this have room for every third label only, and for no numbers.
const NAMED_STEPS_MAX: usize = 8;
/// Layers of a stack that have a colour of their own.
const TONES: u64 = 5;

/// Bars per step, the period before as a paler bar beside each, the usual range as a line over it.
pub(crate) fn bars(chart: &Bars, id: usize) -> String {
    let all =
        chart.counts.iter().flat_map(|step| [step.count, step.before, step.usual.map(|usual| usual.most)]);
    let max = all.flatten().max().unwrap_or(0);
    let steps = chart.counts.len().max(1) as u64;
    let slot = WIDTH / steps;
    let tone = if chart.bad { "bad" } else { "now" };
    let mut body = String::new();
    for (index, (label, step)) in chart.labels.iter().zip(&chart.counts).enumerate() {
        let left = slot * index as u64;
        let (middle, wide, narrow) = (left + slot / 2, slot * 44 / 100, (slot * 20 / 100).max(2));
        let x = left + (slot.saturating_sub(wide + narrow + 2)) / 2;
        bar(&mut body, tone, x, wide, step.count.unwrap_or(0), max);
        bar(&mut body, "past", x + wide + 2, narrow, step.before.unwrap_or(0), max);
        if let Some(usual) = step.usual {
            let (top, base) = (y_of(usual.most, max), y_of(usual.least, max));
            let x = x + wide + narrow + 4;
            let _ = write!(
                body,
                "<path class=\"usual\" d=\"M{} {top}h4m-2 0V{base}m-2 0h4\"/>",
                x.saturating_sub(1)
            );
        }
        let label = label_of(label, index, chart.labels.len());
        let provisional = chart.provisional.get(index) == Some(&true);
        let star = if provisional && !label.is_empty() { "*" } else { "" };
        text(&mut body, "day", middle, TOP + BARS + 16, &format!("{label}{star}"));
        if steps > NAMED_STEPS_MAX as u64 {
            if step.count.is_none() {
                text(&mut body, "none", middle, TOP + BARS - 3, "·");
            }
            continue;
        }
        match step.count {
            Some(value) => text(&mut body, "value", x + wide / 2, y_of(value, max) - 7, &compact(value)),
            None => text(&mut body, "none", middle, y_of(step.before.unwrap_or(0), max) - 7, "no data"),
        }
    }
    axis(&mut body);
    if steps > NAMED_STEPS_MAX as u64 {
        let _ = write!(body, "<text class=\"key\" x=\"0\" y=\"{}\">{}</text>", TOP - 8, compact(max));
    }
    let noun = chart.span.noun();
    let words: Vec<String> = chart
        .labels
        .iter()
        .zip(&chart.counts)
        .map(|(label, step)| format!("{label}: {}, {noun} before {}", maybe(step.count), maybe(step.before)))
        .collect();
    frame(id, &chart.title, &words.join("; "), WIDTH, TOP + BARS + BOTTOM, &body)
}

/// A bar per day over a long time, those of the period in colour.
pub(crate) fn trend(chart: &Trend, id: usize) -> String {
    let days: Vec<Option<u64>> = chart.rows.iter().flat_map(|row| row.counts.iter().copied()).collect();
    let max = days.iter().filter_map(|&count| count).max().unwrap_or(0);
    let number = days.len().max(1) as u64;
    // In tenths of a unit, so that some hundred days keep their places.
    let slot = WIDTH * 10 / number;
    let place = |index: usize| (slot * index as u64 + slot / 2) / 10;
    let (mut past, mut now, mut void) = (String::new(), String::new(), String::new());
    let first = days.len().saturating_sub(chart.period_days);
    for (index, &count) in days.iter().enumerate() {
        let path = match count {
            None => &mut void,
            Some(_) if index < first => &mut past,
            Some(_) => &mut now,
        };
        let (x, tall) = (place(index), if count.is_none() { 4 } else { height(count.unwrap_or(0), max) });
        if tall > 0 {
            let _ = write!(path, "M{x} {}v-{tall}", TOP + BARS);
        }
    }
    let wide = (slot * 7 / 100).max(1);
    let tone = if chart.bad { "bad" } else { "now" };
    let mut body = String::new();
    for (class, path) in [("past", &past), (tone, &now), ("void", &void)] {
        if !path.is_empty() {
            let _ = write!(body, "<path class=\"days {class}\" stroke-width=\"{wide}\" d=\"{path}\"/>");
        }
    }
    axis(&mut body);
    let _ = write!(body, "<text class=\"key\" x=\"0\" y=\"{}\">most: {}</text>", TOP - 8, count(max));
    let mut day = 0;
    let (mut words, every) = (Vec::new(), chart.rows.len().div_ceil(5).max(1));
    for (index, row) in chart.rows.iter().enumerate() {
        // Counted from the period, which always has its label; an end of the axis has no room for a second.
        if (chart.rows.len() - 1 - index).is_multiple_of(every) {
            let _ = write!(
                body,
                "<text class=\"key\" x=\"{}\" y=\"{}\"{}>{}</text>",
                (slot * day / 10).min(WIDTH),
                TOP + BARS + 16,
                if index + 1 == chart.rows.len() && row.counts.len() < 7 {
                    " text-anchor=\"end\""
                } else {
                    ""
                },
                escape(&row.label)
            );
        }
        day += row.counts.len() as u64;
        let counts = || row.counts.iter().filter_map(|&count| count);
        let sum = counts().next().map(|_| counts().fold(0, u64::saturating_add));
        words.push(format!("from {}: {}", row.label, maybe(sum)));
    }
    frame(id, &chart.title, &words.join("; "), WIDTH, TOP + BARS + BOTTOM, &body)
}

/// One bar per step, in layers that fill it by their share.
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
            let few = chart.labels.len() <= NAMED_STEPS_MAX;
            text(&mut body, "none", left + slot / 2, TOP + BARS - 7, if few { words } else { "·" });
            parts.push(words.to_owned());
        }
        let name = label_of(label, day, chart.labels.len());
        text(&mut body, "day", left + slot / 2, TOP + BARS + 16, name);
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

/// The label of a step: of many steps only each third's, `4` of `Mon 4 May` or `09` of `09:00`.
fn label_of(label: &str, index: usize, steps: usize) -> &str {
    if steps <= NAMED_STEPS_MAX {
        return short(label);
    }
    match index % 3 {
        0 => label.split(' ').nth(1).or_else(|| label.split(':').next()).unwrap_or(label),
        _ => "",
    }
}

/// Where a bar of this height ends.
fn y_of(value: u64, max: u64) -> u64 {
    TOP + BARS - height(value, max)
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
