//! Heat maps: how often each size was seen at each time, for histograms of both kinds.
//!
//! ```text
//!      1 │      ░░▒▒░░
//!    0.5 │░░▒▒▓▓██████▓▓▒▒
//!    0.1 │████████▓▓▓▓████
//!        └──┬──────┬──────
//!         06:00  12:00
//!        ░ ▒ ▓ █ are quarters of 412
//! ```
//!
//! A row is a bucket, named by its upper bound; where there are more than rows, neighbours share one. Classic histograms
//! are series with a label `le` that hold what lies at or below it; a bucket is then the difference of two.

use std::collections::BTreeMap;

use annals::query::promql::Series;
use annals::{LabelSet, Timestamp};

use super::axes::Times;
use super::lines::Canvas;
use super::words;

/// More rows than this are not told apart.
const ROWS_MAX: usize = 16;
/// A quarter each.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Counts by bucket and time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heat {
    /// What it is of.
    pub(super) title: String,
    /// The upper bounds of the rows, ascending.
    pub(super) bounds: Vec<f64>,
    /// The counts of each row at each time; none is negative.
    pub(super) columns: BTreeMap<Timestamp, Vec<f64>>,
}

impl Heat {
    /// The heat maps of an answer that holds histograms; none where it holds numbers of another kind.
    pub(super) fn all(series: &[Series]) -> Vec<Heat> {
        let native: Vec<Heat> =
            series.iter().filter(|one| !one.histograms.is_empty()).map(of_native).collect();
        match native.is_empty() {
            false => native,
            true => of_classic(series).unwrap_or_default(),
        }
    }

    /// The greatest count of a cell.
    pub(super) fn greatest(&self) -> f64 {
        self.columns.values().flatten().copied().fold(0.0, f64::max)
    }

    /// Draws it.
    pub(super) fn draw(&self, time: &Times, canvas: Canvas<'_>) -> String {
        let labels: Vec<String> = self.bounds.iter().map(|bound| words::brief(*bound)).collect();
        let label_width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(6);
        let width = canvas.width.saturating_sub(label_width + 3).max(10);
        // What falls into one character is averaged, so that a finer step makes no darker picture.
        let mut sums = vec![vec![(0.0, 0u32); width]; self.bounds.len()];
        for (place, counts) in self.spread(time, width) {
            for (row, count) in sums.iter_mut().zip(counts) {
                for cell in row.get_mut(place.clone()).unwrap_or_default() {
                    *cell = (cell.0 + count, cell.1 + 1);
                }
            }
        }
        let means: Vec<Vec<f64>> = sums
            .into_iter()
            .map(|row| row.into_iter().map(|(sum, times)| sum / f64::from(times.max(1))).collect())
            .collect();
        let greatest = means.iter().flatten().copied().fold(0.0, f64::max);
        let mut text = String::new();
        for (label, row) in labels.iter().zip(&means).rev() {
            let cells: String = row.iter().map(|count| shade(*count, greatest)).collect();
            text += &format!("{label:>label_width$} │{}\n", cells.trim_end());
        }
        let (rule, below) = time.axis(width);
        text += &format!("{:label_width$} └{}\n", "", rule.trim_end());
        text += &format!("{:label_width$}  {}\n", "", below.trim_end());
        text += &time.below(label_width + 2, canvas.width);
        let rest = match greatest > 0.0 {
            true => format!("░ ▒ ▓ █ are quarters of {}", words::brief(greatest)),
            false => "all are empty".to_owned(),
        };
        text + &format!("{:label_width$}  {rest}\n", "")
    }

    /// Each column with the places that it takes of so many: up to the next one, but for gaps.
    pub(super) fn spread(&self, time: &Times, width: usize) -> Vec<(std::ops::Range<usize>, &Vec<f64>)> {
        let stamps: Vec<Timestamp> = self.columns.keys().copied().collect();
        let step = stamps.windows(2).filter_map(|pair| Some(pair.last()?.0 - pair.first()?.0)).min();
        let step = step.unwrap_or_else(|| time.end.saturating_sub(time.start) / 24).max(1);
        // A point stands for the step that ends with it.
        let place = |at: i64| (time.place(Timestamp(at)) * width as f64).round() as usize;
        self.columns
            .iter()
            .map(|(at, counts)| {
                let end = place(at.0).max(1).min(width);
                let start = place(at.0.saturating_sub(step)).min(end - 1);
                (start..end, counts)
            })
            .collect()
    }
}

fn shade(count: f64, greatest: f64) -> char {
    let part = if greatest > 0.0 { (count / greatest * 4.0).ceil() as usize } else { 0 };
    SHADES.get(part.min(4)).copied().unwrap_or(' ')
}

/// Of native histograms: rows are their buckets, and where these are many, runs of them.
fn of_native(series: &Series) -> Heat {
    let buckets = || {
        series.histograms.iter().flat_map(|(at, own)| {
            own.buckets().filter(|bucket| bucket.count > 0.0).map(|bucket| (*at, bucket.upper, bucket.count))
        })
    };
    let mut uppers: Vec<f64> = buckets().map(|(_, upper, _)| upper).collect();
    uppers.sort_by(f64::total_cmp);
    uppers.dedup();
    let run = uppers.len().div_ceil(ROWS_MAX).max(1);
    let bounds: Vec<f64> = uppers.chunks(run).filter_map(|run| run.last().copied()).collect();
    let mut columns: BTreeMap<Timestamp, Vec<f64>> =
        series.histograms.iter().map(|(at, _)| (*at, vec![0.0; bounds.len()])).collect();
    for (at, upper, count) in buckets() {
        let row = bounds.partition_point(|bound| *bound < upper);
        if let Some(cell) = columns.get_mut(&at).and_then(|column| column.get_mut(row)) {
            *cell += count;
        }
    }
    Heat { title: words::harmless(&series.labels.to_string()), bounds, columns }
}

/// Of series with a label `le`, where all have one.
fn of_classic(series: &[Series]) -> Option<Vec<Heat>> {
    let mut groups: BTreeMap<LabelSet, Vec<(f64, &Series)>> = BTreeMap::new();
    for one in series {
        let bound: f64 = one.labels.get("le").parse().ok()?;
        groups.entry(one.labels.filtered(|name| name != "le")).or_default().push((bound, one));
    }
    let heats = groups.into_iter().filter(|(_, buckets)| buckets.len() > 1).map(|(labels, mut buckets)| {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut columns: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
        for (row, (_, one)) in buckets.iter().enumerate() {
            for (at, value) in one.points.iter().filter(|(_, value)| value.is_finite()) {
                let column = columns.entry(*at).or_insert_with(|| vec![0.0; buckets.len()]);
                if let Some(cell) = column.get_mut(row) {
                    *cell = *value;
                }
            }
        }
        for column in columns.values_mut() {
            let mut below = 0.0;
            for cell in column.iter_mut() {
                let own = (*cell - below).max(0.0);
                below = cell.max(below);
                *cell = own;
            }
        }
        let bounds = buckets.iter().map(|(bound, _)| *bound).collect();
        Heat { title: words::harmless(&labels.to_string()), bounds, columns }
    });
    Some(heats.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::{HOUR_MS, TimeRange};
    use jiff::tz::TimeZone;

    fn classic(values: &[(&str, [f64; 3])]) -> Vec<Series> {
        let series = |(bound, values): &(&str, [f64; 3])| Series {
            labels: LabelSet::from_pairs([("le", *bound), ("site", "a")]).expect("valid"),
            points: (1..).map(|hour| Timestamp(hour * HOUR_MS)).zip(*values).collect(),
            histograms: vec![],
        };
        values.iter().map(series).collect()
    }

    fn drawn(heat: &Heat) -> String {
        let range = TimeRange::new(Timestamp(0), Timestamp(3 * HOUR_MS));
        let time = Times::of(&[], range, &TimeZone::UTC);
        heat.draw(&time, Canvas { width: 21, height: 8, colour: false, zone: &TimeZone::UTC })
    }

    #[test]
    fn a_bucket_is_what_lies_above_the_one_before_it() {
        let heats = Heat::all(&classic(&[
            ("+Inf", [8.0, 9.0, 9.0]),
            ("0.1", [4.0, 0.0, 1.0]),
            ("1", [8.0, 8.0, 5.0]),
        ]));
        let [heat] = &heats[..] else { panic!("one") };
        assert_eq!((heat.title.as_str(), &heat.bounds[..2]), (r#"{site="a"}"#, &[0.1, 1.0][..]));
        let columns: Vec<&[f64]> = heat.columns.values().map(Vec::as_slice).collect();
        assert_eq!(columns, [&[4.0, 4.0, 0.0], &[0.0, 8.0, 1.0], &[1.0, 4.0, 4.0]]);
        let text = drawn(heat);
        assert!(
            text.starts_with("  +Inf │    ░░░░▒▒▒▒\n     1 │▒▒▒▒████▒▒▒▒\n   0.1 │▒▒▒▒    ░░░░\n"),
            "{text}"
        );
        assert!(text.ends_with("quarters of 8\n"), "{text}");
    }

    #[test]
    fn numbers_of_another_kind_are_no_histogram_and_odd_ones_draw() {
        let mut series = classic(&[("1", [1.0; 3]), ("+Inf", [2.0; 3])]);
        series[0].labels = LabelSet::from_pairs([("le", "low")]).expect("valid");
        assert_eq!(Heat::all(&series), []);
        let odd = Heat::all(&classic(&[("1", [f64::NAN; 3]), ("+Inf", [f64::INFINITY, -1.0, 0.0])]));
        assert!(odd.iter().all(|heat| drawn(heat).contains("all are empty")), "{odd:?}");
    }
}
