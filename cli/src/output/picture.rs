//! What kind of picture an answer becomes, and drawing it for a terminal.

use annals::LabelSet;
use annals::query::promql::{Sample, Series, Value};

use super::answer::Asked;
use super::axes::Times;
use super::heat::Heat;
use super::lines::{self, Canvas, Line};
use super::{Look, bars, words};

/// Rows of a chart.
const ROWS: usize = 14;
/// More heat maps than this are not read.
const HEATS_MAX: usize = 4;

/// An answer, as it is drawn.
pub(super) enum Picture<'a> {
    /// A number or a text.
    Words(String),
    /// A value per name.
    Bars {
        /// What all names share.
        title: String,
        /// Of each value.
        names: Vec<String>,
        /// The values.
        values: Vec<f64>,
    },
    /// A line per series.
    Lines {
        /// What all names share.
        title: String,
        /// Of each series.
        names: Vec<String>,
        /// The series.
        series: &'a [Series],
    },
    /// A map per histogram.
    Heats(Vec<Heat>),
}

impl Picture<'_> {
    /// The picture that suits an answer; none where there is nothing in it.
    pub(super) fn of(value: &Value) -> Option<Picture<'_>> {
        Some(match value {
            Value::Scalar(_, number) => Picture::Words(words::value(*number)),
            Value::String(text) => Picture::Words(words::harmless(text)),
            Value::Vector(samples) if samples.is_empty() => return None,
            Value::Matrix(series) if series.is_empty() => return None,
            Value::Vector(samples) => {
                let buckets = samples.iter().filter_map(|(labels, _, sample)| match sample {
                    Sample::Histogram(own) => Some((labels, own)),
                    Sample::Float(_) => None,
                });
                let buckets: Vec<_> = buckets.collect();
                if let [(labels, own)] = buckets[..] {
                    // One histogram at one instant: a bar per bucket.
                    let own: Vec<_> = own.buckets().filter(|bucket| bucket.count != 0.0).collect();
                    let name = |upper: f64| format!("≤ {}", words::brief(upper));
                    return Some(Picture::Bars {
                        title: words::harmless(&labels.to_string()),
                        names: own.iter().map(|bucket| name(bucket.upper)).collect(),
                        values: own.iter().map(|bucket| bucket.count).collect(),
                    });
                }
                let sets: Vec<&LabelSet> = samples.iter().map(|(labels, _, _)| labels).collect();
                let (title, names) = words::titles(&sets);
                // Of several histograms, what each has counted.
                let number = |sample: &Sample| match sample {
                    Sample::Float(value) => *value,
                    Sample::Histogram(own) => own.count,
                };
                let values = samples.iter().map(|(_, _, sample)| number(sample)).collect();
                Picture::Bars { title, names, values }
            }
            Value::Matrix(series) => {
                let heats = Heat::all(series);
                if !heats.is_empty() {
                    return Some(Picture::Heats(heats));
                }
                let sets: Vec<&LabelSet> = series.iter().map(|one| &one.labels).collect();
                let (title, names) = words::titles(&sets);
                Picture::Lines { title, names, series }
            }
        })
    }

    /// Draws it for a terminal.
    pub(super) fn draw(&self, asked: Asked<'_>, look: &Look) -> String {
        let question = words::one_line(asked.question);
        // What has no labels is called by its question.
        let titled = |name: &str| match name {
            words::NO_LABELS => question.clone(),
            name => name.to_owned(),
        };
        let all_titled = |names: &[String]| names.iter().map(|name| titled(name)).collect::<Vec<_>>();
        let canvas = Canvas { width: look.width, height: ROWS, colour: look.colour, zone: &look.zone };
        match self {
            Picture::Words(text) => format!("{text}\n"),
            Picture::Bars { title, names, values } => {
                bars::draw(title, &all_titled(names), values, look.width)
            }
            Picture::Lines { title, names, series } => {
                let names = all_titled(names);
                let drawn: Vec<Line<'_>> =
                    names.iter().zip(*series).map(|(name, one)| Line { name, points: &one.points }).collect();
                lines::draw(title, &drawn, asked.range, canvas)
            }
            Picture::Heats(heats) => {
                let time = Times::of(&[], asked.range, &look.zone);
                let mut text = String::new();
                for heat in heats.iter().take(HEATS_MAX) {
                    let title = titled(&heat.title);
                    text += &format!("{}\n{}", words::cut(&title, look.width), heat.draw(&time, canvas));
                }
                if heats.len() > HEATS_MAX {
                    text += &format!("and {} more\n", heats.len() - HEATS_MAX);
                }
                text
            }
        }
    }
}
