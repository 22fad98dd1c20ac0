//! Answers as the documents of the Prometheus API, written into one buffer.
//!
//! Times are the same for every series of a range, and values are mostly whole numbers: both are copied or divided into
//! digits without a formatter. The rest goes through the shortest digits that read back to the same float.

use annals::query::promql::{Answer, Sample, Series, Value};
use annals::{Bucket, FloatForm, Histogram, LabelSet, SelectedSeries, Timestamp, put_float};

use crate::reply::ApiError;

/// A document that is being written.
pub(crate) struct Json {
    out: Vec<u8>,
    whole: itoa::Buffer,
    /// The time that was written last, and its text.
    time: (i64, Vec<u8>),
    openings: Openings,
}

/// How points of a range begin, `[<time>,"`: the same for every series.
#[derive(Default)]
struct Openings {
    /// Ascending times, and where in `text` each ends.
    ends: Vec<(i64, usize)>,
    text: Vec<u8>,
}

impl Openings {
    /// The text of the `at`-th, where that is of this time.
    #[inline]
    fn get(&self, at: usize, time: i64) -> Option<&[u8]> {
        let (own, end) = *self.ends.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| *end);
        if own == time { self.text.get(start..end) } else { None }
    }
}

impl Json {
    pub(crate) fn new() -> Json {
        Json {
            out: Vec::with_capacity(1 << 10),
            whole: itoa::Buffer::new(),
            time: (0, b"0".to_vec()),
            openings: Openings::default(),
        }
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// A comma before all but the first.
    pub(crate) fn comma(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
    }

    /// A text in quotes.
    pub(crate) fn text(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        while let Some(at) = rest.iter().position(special) {
            let (plain, from) = rest.split_at(at);
            self.out.extend_from_slice(plain);
            let Some((byte, after)) = from.split_first() else { break };
            match byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                other => self.raw(&format!("\\u{other:04x}")),
            }
            rest = after;
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }

    /// A number as it is in replies: a text, as JSON has no word for what is no number.
    pub(crate) fn value(&mut self, value: f64) {
        self.out.push(b'"');
        self.number(value);
        self.out.push(b'"');
    }

    /// A number's digits as Prometheus writes them.
    #[inline]
    pub(crate) fn number(&mut self, value: f64) {
        put_float(&mut self.out, value, FloatForm::Reply);
    }

    pub(crate) fn raw_whole(&mut self, value: i64) {
        self.out.extend_from_slice(self.whole.format(value).as_bytes());
    }

    /// A time in seconds, with as many digits of its milliseconds as it needs.
    pub(crate) fn time(&mut self, time: Timestamp) {
        if time.0 != self.time.0 {
            self.time.0 = time.0;
            self.time.1.clear();
            let text = &mut self.time.1;
            if time.0 < 0 {
                text.push(b'-');
            }
            let (seconds, ms) = (time.0.unsigned_abs() / 1000, time.0.unsigned_abs() % 1000);
            text.extend_from_slice(self.whole.format(seconds).as_bytes());
            if ms > 0 {
                text.push(b'.');
                text.extend_from_slice(format!("{ms:03}").trim_end_matches('0').as_bytes());
            }
        }
        self.out.extend_from_slice(&self.time.1);
    }

    /// `[time,"value"]`
    fn point(&mut self, time: Timestamp, value: f64) {
        self.out.push(b'[');
        self.time(time);
        self.out.push(b',');
        self.value(value);
        self.out.push(b']');
    }

    /// `[time,"value"],[time,"value"]`
    fn points(&mut self, points: &[(Timestamp, f64)]) {
        // What most points take.
        self.out.reserve(points.len().saturating_mul(24));
        let mut at = 0;
        for &(time, value) in points {
            // Where a series has no point others have one.
            while self.openings.ends.get(at).is_some_and(|(own, _)| *own < time.0) {
                at += 1;
            }
            if let Some(opening) = self.openings.get(at, time.0) {
                self.out.extend_from_slice(opening);
            } else {
                let start = self.out.len();
                self.out.push(b'[');
                self.time(time);
                self.out.extend_from_slice(b",\"");
                if at == self.openings.ends.len()
                    && let Some(opening) = self.out.get(start..)
                {
                    self.openings.text.extend_from_slice(opening);
                    self.openings.ends.push((time.0, self.openings.text.len()));
                }
            }
            self.number(value);
            self.out.extend_from_slice(b"\"],");
        }
        // The last one's comma.
        self.out.pop();
    }

    pub(crate) fn labels(&mut self, labels: &LabelSet) {
        self.out.push(b'{');
        let mut first = true;
        for (name, value) in labels.iter() {
            self.comma(&mut first);
            self.text(name);
            self.out.push(b':');
            self.text(value);
        }
        self.out.push(b'}');
    }

    /// `[time,{"count":..}]`
    fn histogram_point(&mut self, time: Timestamp, histogram: &Histogram) {
        self.out.push(b'[');
        self.time(time);
        self.out.push(b',');
        self.histogram(histogram);
        self.out.push(b']');
    }

    fn histogram(&mut self, histogram: &Histogram) {
        self.raw("{\"count\":");
        self.value(histogram.count);
        self.raw(",\"sum\":");
        self.value(histogram.sum);
        let mut buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0).peekable();
        if buckets.peek().is_some() {
            self.raw(",\"buckets\":[");
            let mut first = true;
            for bucket in buckets {
                self.comma(&mut first);
                self.bucket(bucket);
            }
            self.out.push(b']');
        }
        self.out.push(b'}');
    }

    fn bucket(&mut self, bucket: Bucket) {
        self.out.push(b'[');
        // Which of its bounds belong to it.
        self.raw_whole(match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        });
        for number in [bucket.lower, bucket.upper, bucket.count] {
            self.out.push(b',');
            self.value(number);
        }
        self.out.push(b']');
    }

    fn series(&mut self, series: &Series) {
        self.raw("{\"metric\":");
        self.labels(&series.labels);
        if !series.points.is_empty() {
            self.raw(",\"values\":[");
            self.points(&series.points);
            self.out.push(b']');
        }
        if !series.histograms.is_empty() {
            self.raw(",\"histograms\":[");
            let mut first = true;
            for (time, histogram) in &series.histograms {
                self.comma(&mut first);
                self.histogram_point(*time, histogram);
            }
            self.out.push(b']');
        }
        self.out.push(b'}');
    }

    fn sample(&mut self, labels: &LabelSet, time: Timestamp, sample: &Sample) {
        self.raw("{\"metric\":");
        self.labels(labels);
        match sample {
            Sample::Float(value) => {
                self.raw(",\"value\":");
                self.point(time, *value);
            }
            Sample::Histogram(histogram) => {
                self.raw(",\"histogram\":");
                self.histogram_point(time, histogram);
            }
        }
        self.out.push(b'}');
    }

    /// A list of texts under a name, where there are any.
    fn notes(&mut self, name: &str, notes: &[String]) {
        if notes.is_empty() {
            return;
        }
        self.raw(",\"");
        self.raw(name);
        self.raw("\":[");
        let mut first = true;
        for note in notes {
            self.comma(&mut first);
            self.text(note);
        }
        self.out.push(b']');
    }
}

/// What is said beside an answer.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The document of `data.stats`.
    pub(crate) stats: Option<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl Said {
    /// Names what is not in what was found.
    pub(crate) fn warn_of(&mut self, selected: &dyn SelectedSeries) {
        self.warnings.extend(selected.coverage().missing.iter().map(|missing| missing.why.clone()));
    }
}

/// The reply to a query, `at` the time of an instant one.
pub(crate) fn answer(
    answer: &Answer,
    at: Timestamp,
    said: &Said,
    bytes_max: usize,
) -> Result<Vec<u8>, ApiError> {
    let mut json = Json::new();
    json.raw("{\"status\":\"success\",\"data\":{\"resultType\":\"");
    json.raw(match &answer.value {
        Value::Scalar(..) => "scalar",
        Value::String(_) => "string",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
    });
    json.raw("\",\"result\":");
    match &answer.value {
        Value::Scalar(time, value) => json.point(*time, *value),
        Value::String(text) => {
            json.raw("[");
            json.time(at);
            json.raw(",");
            json.text(text);
            json.raw("]");
        }
        Value::Vector(samples) => {
            json.list(samples, bytes_max, |json, (labels, time, sample)| json.sample(labels, *time, sample))?;
        }
        Value::Matrix(series) => json.list(series, bytes_max, Json::series)?,
    }
    if let Some(stats) = &said.stats {
        json.raw(",\"stats\":");
        json.raw(stats);
    }
    json.raw("}");
    json.end(said);
    Ok(json.finish())
}

impl Json {
    /// A list that must not pass a size.
    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        bytes_max: usize,
        mut write: impl FnMut(&mut Json, T),
    ) -> Result<(), ApiError> {
        self.out.push(b'[');
        let mut first = true;
        for item in items {
            self.comma(&mut first);
            write(self, item);
            if self.len() > bytes_max {
                return Err(too_long(bytes_max));
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// What is said beside, and the end of the document.
    pub(crate) fn end(&mut self, said: &Said) {
        self.notes("warnings", &said.warnings);
        self.notes("infos", &said.infos);
        self.raw("}");
    }
}

/// An answer that passes its size.
pub(crate) fn too_long(bytes_max: usize) -> ApiError {
    let what = format!("the answer is over the limit of {bytes_max} bytes; narrow its matchers or its range");
    ApiError::execution(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_they_need() {
        for (ms, text) in
            [(0, "0"), (1_435_781_430_781, "1435781430.781"), (1_500, "1.5"), (-1, "-0.001"), (10, "0.01")]
        {
            let mut json = Json::new();
            json.time(Timestamp(ms));
            assert_eq!(json.finish(), text.as_bytes());
        }
    }

    #[test]
    fn texts_are_read_back_as_they_were() {
        for text in ["", "a", "\"\\\n\r\t\u{0}\u{1f}", "ü \u{2028} 😀", "</script>"] {
            let mut json = Json::new();
            json.text(text);
            assert_eq!(serde_json::from_slice::<String>(&json.finish()).expect("JSON"), text);
        }
    }
}
