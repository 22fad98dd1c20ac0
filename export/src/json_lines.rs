//! JSON lines: a series' samples in one object per line, as VictoriaMetrics imports them, with the kind beside; a window, a
//! histogram or a signal in one object per line.
//!
//! ```json
//! {"metric":{"__name__":"hits","site":"www"},"kind":"delta","values":[1,4],"timestamps":[1431857100000,1431857160000]}
//! {"metric":{"__name__":"hits","site":"www"},"kind":"delta","resolution_ms":3600000,"end":1431860400000,"count":9,"sum":31}
//! {"metric":{"__name__":"took"},"kind":"histogram","timestamp":1431857100000,"histogram":{"count":3,"sum":0.4,"schema":2}}
//! {"timestamp":1431857103000,"kind":"auth.attempt","site":"www","result":"failure","user":"9b0e..","user_length":5}
//! ```
//!
//! What is no JSON number is a text: `"NaN"`, `"+Inf"`, `"-Inf"`; `null` is the mark of a series' end. Where samples know when
//! what they count began, `start_times` stand beside `timestamps`, or a `start_time`; `null` is one that is not known.

use std::collections::BTreeMap;
use std::io::Write;

use annals::schema::KindSchema;
use annals::{Histogram, Rollup, START_UNKNOWN, Samples, SignalRow, is_stale};
use serde_json::{Map, Value};

use crate::error::ExportError;
use crate::output::Output;
use crate::parquet::{Cell, cells, field_names, reset_word};
use crate::sheet::{Rows, Series, Sheet};
use crate::text::Number;

/// A longer run of samples is cut, so that a line stays short.
const LINE_SAMPLES: usize = 1_000;

/// A file of JSON lines.
pub(crate) struct JsonLines {
    output: Output,
}

impl JsonLines {
    pub(crate) fn new(output: Output) -> JsonLines {
        JsonLines { output }
    }

    fn line(&mut self, line: &str) -> Result<(), ExportError> {
        let written = self.output.write_all(line.as_bytes()).and_then(|()| self.output.write_all(b"\n"));
        written.map_err(ExportError::io("write", self.output.draft()))
    }
}

impl Sheet for JsonLines {
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError> {
        match rows {
            Rows::Samples(series, samples) => {
                let start = beginning(series);
                let values = samples.values.chunks(LINE_SAMPLES);
                let lines = values.zip(samples.timestamps.chunks(LINE_SAMPLES));
                for (at, (values, stamps)) in (0..).step_by(LINE_SAMPLES).zip(lines) {
                    let begun = samples.start_times.get(at..at + values.len()).unwrap_or_default();
                    let begun = starts(begun);
                    let values: Vec<String> = values.iter().map(|value| number(*value)).collect();
                    let stamps: Vec<String> = stamps.iter().map(ToString::to_string).collect();
                    let (values, stamps) = (values.join(","), stamps.join(","));
                    self.line(&format!("{start},\"values\":[{values}],\"timestamps\":[{stamps}]{begun}}}"))?;
                }
                Ok(())
            }
            Rows::Histograms(series, samples) => {
                let start = beginning(series);
                histograms(samples).try_for_each(|(time, own, begun)| {
                    let begun = match begun {
                        START_UNKNOWN => String::new(),
                        begun => format!(",\"start_time\":{begun}"),
                    };
                    self.line(&format!("{start},\"timestamp\":{time},\"histogram\":{own}{begun}}}"))
                })
            }
            Rows::Windows(series, windows) => {
                let start = beginning(series);
                windows.iter().try_for_each(|own| self.line(&format!("{start}{}}}", window(own))))
            }
            Rows::Signal(kind, row) => self.line(&signal(kind, row).to_string()),
        }
    }

    fn finish(self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        Ok((self.output, BTreeMap::new()))
    }
}

/// What all lines of a series begin with.
fn beginning(series: &Series) -> String {
    let labels = series.labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    let labels = Value::Object(labels.collect::<Map<_, _>>());
    format!("{{\"metric\":{labels},\"kind\":\"{}\"", series.kind.name())
}

/// A value as JSON.
fn number(value: f64) -> String {
    match () {
        () if is_stale(value) => "null".to_owned(),
        () if value.is_finite() => Number(value).to_string(),
        () => format!("\"{}\"", Number(value)),
    }
}

/// The field of starts of a line's samples, where any is known.
fn starts(begun: &[i64]) -> String {
    if begun.iter().all(|&start| start == START_UNKNOWN) {
        return String::new();
    }
    let start = |start: &i64| if *start == START_UNKNOWN { "null".to_owned() } else { start.to_string() };
    format!(",\"start_times\":[{}]", begun.iter().map(start).collect::<Vec<_>>().join(","))
}

/// Time, histogram, start.
fn histograms(samples: &Samples) -> impl Iterator<Item = (i64, String, i64)> + '_ {
    let own = samples.timestamps.iter().zip(&samples.histograms).enumerate();
    own.map(|(at, (time, own))| {
        let text = own.as_ref().map_or_else(|| "null".to_owned(), |own| histogram(own));
        (*time, text, samples.start_times.get(at).copied().unwrap_or(START_UNKNOWN))
    })
}

fn histogram(own: &Histogram) -> String {
    let buckets = |side: &[(i32, f64)]| {
        let pairs: Vec<String> =
            side.iter().map(|(index, count)| format!("[{index},{}]", number(*count))).collect();
        pairs.join(",")
    };
    let bounds: Vec<String> = own.custom_bounds.iter().map(|bound| number(*bound)).collect();
    format!(
        "{{\"count\":{},\"sum\":{},\"schema\":{},\"zero_threshold\":{},\"zero_count\":{},\"reset\":\"{}\",\
         \"positive\":[{}],\"negative\":[{}],\"custom_bounds\":[{}]}}",
        number(own.count),
        number(own.sum),
        own.schema,
        number(own.zero_threshold),
        number(own.zero_count),
        reset_word(own.reset_hint),
        buckets(&own.positive),
        buckets(&own.negative),
        bounds.join(","),
    )
}

fn window(own: &Rollup) -> String {
    let mut text = format!(",\"end\":{}", own.end);
    if let Some(all) = &own.all {
        let numbers = [
            ("sum", all.sum),
            ("sum_low", all.sum_low),
            ("min", all.min),
            ("max", all.max),
            ("first", all.first),
            ("last", all.last),
            ("correction", all.correction),
        ];
        text.push_str(&format!(",\"count\":{},\"resets\":{}", all.count, all.resets));
        text.push_str(&format!(",\"first_time\":{},\"last_time\":{}", all.first_time, all.last_time));
        numbers.iter().for_each(|(name, value)| text.push_str(&format!(",\"{name}\":{}", number(*value))));
    }
    let begun = own.all.as_ref().map_or([START_UNKNOWN; 2], |all| [all.first_start, all.last_start]);
    for (name, start) in ["first_start", "last_start"].iter().zip(begun).filter(|own| own.1 != START_UNKNOWN)
    {
        text.push_str(&format!(",\"{name}\":{start}"));
    }
    if let Some(at) = own.stale_at {
        text.push_str(&format!(",\"ended_at\":{at}"));
    }
    text
}

fn signal(kind: &KindSchema, row: &SignalRow) -> Value {
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), row.time.0.into());
    line.insert("kind".to_owned(), (*row.kind).into());
    line.insert("site".to_owned(), row.site.as_str().into());
    for (name, cell) in field_names(kind).into_iter().zip(cells(kind, row)) {
        let value = match cell {
            Cell::Nothing => continue,
            Cell::Integer(own) => own.into(),
            Cell::Text(own) => (*own).into(),
            Cell::Texts(own) => own.iter().map(|flag| Value::from(&**flag)).collect(),
        };
        line.insert(name, value);
    }
    Value::Object(line)
}
