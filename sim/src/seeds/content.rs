//! What batches hold.

use annals::{
    BatchId, DAY_MS, HOUR_MS, LabelSet, Plan, STALE_NAN_BITS, START_UNKNOWN, SampleBatch, SeriesKind, Signal,
    SignalBatch, SiteName, Timestamp,
};

use super::config::Shape;
use super::draw::Draws;
use crate::oracle::{Content, histogram_of, start_of};

/// Numbers of batches lie below this: each has stamps of its own, in milliseconds modulo this.
pub(super) const BATCHES: i64 = 1 << 14;

/// A batch. Its number, unlike that of any other batch of the run, makes its stamps and its id.
pub(super) fn content(draws: &Draws, shape: &Shape, plan: &Plan, number: u64, now: Timestamp) -> Content {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let id = BatchId(id);
    let site = SiteName::new(draws.one_of(&["host", "shop.example"])).expect("valid");
    let limit = plan.limits.batch_records_max as u64;
    let records = if draws.percent(shape.full_percent) {
        // Where the limit is the product's own, a large batch stands for it.
        if limit > 10_000 { 600 } else { limit + draws.below(2) }
    } else {
        draws.within(0, shape.records_max).min(limit)
    };
    let stamps = Stamps { draws, shape, plan, now, number: number as i64 };
    if !plan.rights.open_metrics && !draws.percent(shape.invalid_percent)
        || draws.percent(shape.signals_percent)
    {
        let signals = (0..records).map(|_| signal(draws, shape, stamps.own())).collect();
        return Content::Signals(SignalBatch { id, site, signals });
    }
    let mut batch = SampleBatch::new(id, site);
    if records == 0 {
        return Content::Samples(batch);
    }
    // By this one it is found.
    let number = number.to_string();
    let mark = batch.series(labels(&[("__name__", "mark"), ("batch", &number)]), SeriesKind::Gauge);
    push_number(&mut batch, mark, SeriesKind::Gauge, stamps.own(), value(draws, shape));
    if draws.percent(shape.fat_percent) {
        for i in 0..8u8 {
            let long = format!("{number}-{i}-{}", "x".repeat(900));
            let fat = batch.series(labels(&[("__name__", "fat"), ("long", &long)]), SeriesKind::Gauge);
            batch.push(fat, stamps.own(), 1.0);
        }
    }
    while ((batch.samples.len() + batch.histograms.len()) as u64) < records {
        let which = draws.below(shape.series);
        let (name, kind) = match which % 8 {
            0 | 5 => ("gauge", SeriesKind::Gauge),
            1 | 6 => ("counter", SeriesKind::Counter),
            2 | 7 => ("delta", SeriesKind::Delta),
            3 => ("histogram", SeriesKind::Histogram),
            _ => ("delta_histogram", SeriesKind::DeltaHistogram),
        };
        let of = labels(&[("__name__", name), ("series", &which.to_string())]);
        let known = batch.series.iter().position(|(labels, _)| *labels == of);
        let series = known.map_or_else(|| batch.series(of, kind), |at| at as u32);
        let time = if draws.percent(shape.contested_percent) { stamps.shared() } else { stamps.own() };
        if kind.is_histogram() {
            push_histogram(draws, shape, &mut batch, series, kind, time);
            continue;
        }
        let value = match kind {
            // Whole and small: sums of these are exact, in whatever order they are added.
            SeriesKind::Delta if !draws.percent(shape.invalid_percent) => draws.below(1 << 20) as f64,
            SeriesKind::Delta => f64::NAN,
            _ => value(draws, shape),
        };
        let series = if draws.percent(shape.invalid_percent) { u32::MAX } else { series };
        push_number(&mut batch, series, kind, time, value);
        if draws.percent(5) {
            // The same again: of levels the later counts, deltas add up.
            let again = if kind == SeriesKind::Delta { 1.0 } else { -value };
            push_number(&mut batch, series, kind, time, again);
        }
    }
    if !batch.series.iter().any(|(_, kind)| kind.is_delta()) && draws.percent(shape.unnamed_percent) {
        batch.id = BatchId::NONE;
    }
    Content::Samples(batch)
}

/// A number that knows its start, or does not.
fn push_number(batch: &mut SampleBatch, series: u32, kind: SeriesKind, time: Timestamp, value: f64) {
    match start_of(kind, time.0, value) {
        START_UNKNOWN => batch.push(series, time, value),
        start => batch.push_since(series, time, value, Timestamp(start)),
    }
}

/// A histogram that stands for a number, the marker of the series' end, or what is refused.
fn push_histogram(
    draws: &Draws,
    shape: &Shape,
    batch: &mut SampleBatch,
    series: u32,
    kind: SeriesKind,
    time: Timestamp,
) {
    if draws.percent(shape.odd_percent) {
        let bits = if draws.percent(80) { STALE_NAN_BITS } else { draws.next() };
        batch.push(series, time, f64::from_bits(bits));
        return;
    }
    let mut histogram = histogram_of(kind, draws.below(1 << 20) as f64);
    if draws.percent(shape.invalid_percent) {
        histogram.sum = f64::INFINITY;
        histogram.count = -1.0;
    }
    let series = if draws.percent(shape.invalid_percent) { u32::MAX } else { series };
    if draws.percent(5) {
        batch.push_histogram(series, time, histogram_of(kind, 1.0));
    }
    let start = start_of(kind, time.0, histogram.count);
    batch.push_histogram_since(series, time, histogram, Timestamp(start));
}

/// A batch of other content under the same id.
pub(super) fn altered(content: &Content) -> Content {
    let mut content = content.clone();
    match &mut content {
        Content::Samples(batch) => match batch.samples.last_mut() {
            Some((_, _, value)) => *value = f64::from_bits(value.to_bits() ^ 1),
            None => batch.samples.push((0, Timestamp(0), 0.0)),
        },
        Content::Signals(batch) => match batch.signals.last_mut() {
            Some(signal) => signal.time.0 ^= 1,
            None => batch.signals.push(Signal::new("auth.attempt", Timestamp(0))),
        },
    }
    content
}

struct Stamps<'a> {
    draws: &'a Draws,
    shape: &'a Shape,
    plan: &'a Plan,
    now: Timestamp,
    number: i64,
}

impl Stamps<'_> {
    /// A stamp that no other batch has.
    fn own(&self) -> Timestamp {
        let time = self.any();
        Timestamp(time.div_euclid(BATCHES) * BATCHES + self.number % BATCHES)
    }

    /// A stamp that other batches have too.
    fn shared(&self) -> Timestamp {
        Timestamp(self.any().div_euclid(HOUR_MS) * HOUR_MS + 1)
    }

    fn any(&self) -> i64 {
        let now = self.now.0;
        if self.draws.percent(self.shape.outside_percent) {
            return match self.draws.below(4) {
                0 => now + self.draws.below(2 * HOUR_MS as u64) as i64,
                1 => now - self.draws.below(3 * DAY_MS as u64) as i64,
                2 => now - self.draws.below(100 * DAY_MS as u64) as i64,
                _ => now + self.plan.limits.future_max_ms - self.draws.below(100) as i64,
            };
        }
        let earliest = self.plan.late_floor(self.now).max(self.plan.raw_keep().floor(self.now)).0;
        // A day ago at most, and not before what is sealed; own stamps are rounded down.
        let span = now.saturating_sub(earliest.saturating_add(BATCHES)).clamp(1, 26 * HOUR_MS);
        now - self.draws.below(span as u64) as i64
    }
}

fn signal(draws: &Draws, shape: &Shape, time: Timestamp) -> Signal {
    if draws.percent(shape.invalid_percent) {
        return match draws.below(3) {
            0 => Signal::new("no.such.kind", time),
            1 => Signal::new("auth.attempt", time).with("result", "perhaps").with("method", "key"),
            _ => Signal::new("mail.sent", time),
        };
    }
    match draws.below(8) {
        0..=3 => Signal::new("auth.attempt", time)
            .with("result", draws.one_of(&["success", "failure", "blocked"]))
            .with("method", draws.one_of(&["password", "key"])),
        4 | 5 => Signal::new("mail.sent", time).with("result", draws.one_of(&["sent", "failed"])),
        6 => Signal::new("file.edited", time)
            .with("area", draws.one_of(&["core", "plugin"]))
            .with("size", draws.below(1 << 30) as i64),
        // Seconds that add up exactly.
        _ => Signal::new("http.request", time)
            .with("method", "GET")
            .with("status", draws.one_of(&[200i64, 404]))
            .with("duration", draws.below(80) as i64 * 125),
    }
}

fn value(draws: &Draws, shape: &Shape) -> f64 {
    if draws.percent(shape.odd_percent) {
        return f64::from_bits(match draws.below(6) {
            0 => STALE_NAN_BITS,
            1 => 0x7ff8_0000_dead_0000 | draws.below(1 << 16),
            2 => 0x7ff0_0000_0000_0001,
            3 => f64::NEG_INFINITY.to_bits(),
            4 => (-0.0f64).to_bits(),
            _ => draws.next(),
        });
    }
    draws.below(1_000) as f64 / 8.0
}

fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied()).expect("valid")
}
