//! Ordinary metrics of a fleet of hosts: gauges that wander and counters that grow, once a minute.

use annals::{
    BatchId, HOUR_MS, LabelSet, METRIC_NAME, MINUTE_MS, SampleBatch, SeriesKind, SiteName, Timestamp,
};

use super::dice::Dice;

/// A metric of every host.
struct Metric {
    name: &'static str,
    kind: SeriesKind,
    /// A gauge's middle; a counter's growth per minute.
    level: f64,
    /// How far a step goes.
    swing: f64,
    /// Values are multiples of this.
    grain: f64,
}

const fn metric(name: &'static str, kind: SeriesKind, level: f64, swing: f64, grain: f64) -> Metric {
    Metric { name, kind, level, swing, grain }
}

const METRICS: [Metric; 10] = [
    metric("host_cpu_percent", SeriesKind::Gauge, 35.0, 2.0, 1.0),
    metric("host_load1", SeriesKind::Gauge, 1.8, 0.2, 0.01),
    metric("host_memory_used_bytes", SeriesKind::Gauge, 9.0e9, 4.0e5, 4096.0),
    metric("host_disk_used_bytes", SeriesKind::Gauge, 2.1e11, 8.0e4, 4096.0),
    metric("host_queue_length", SeriesKind::Gauge, 12.0, 1.5, 1.0),
    metric("host_temperature_celsius", SeriesKind::Gauge, 47.0, 0.3, 0.1),
    metric("host_open_files", SeriesKind::Gauge, 2_300.0, 15.0, 1.0),
    metric("host_network_receive_bytes_total", SeriesKind::Counter, 4.0e6, 8.0e5, 1.0),
    metric("host_network_transmit_bytes_total", SeriesKind::Counter, 9.0e6, 2.0e6, 1.0),
    metric("host_requests_total", SeriesKind::Counter, 900.0, 120.0, 1.0),
];

/// The fleet and its present values.
pub(crate) struct Hosts {
    dice: Dice,
    series: Vec<(LabelSet, &'static Metric, f64)>,
}

impl Hosts {
    /// A fleet of so many hosts.
    pub(crate) fn new(seed: u64, count: usize) -> Hosts {
        let mut dice = Dice::of(seed, 0xf1ee7, 0);
        let mut series = Vec::with_capacity(count * METRICS.len());
        for host in 0..count {
            let (name, region) = (format!("web-{host:02}"), ["eu-1", "eu-2", "us-1"][host % 3]);
            for metric in &METRICS {
                let labels = [(METRIC_NAME, metric.name), ("host", name.as_str()), ("region", region)];
                let Ok(labels) = LabelSet::from_pairs(labels) else { continue };
                let start = match metric.kind {
                    SeriesKind::Gauge => metric.level * (0.7 + 0.6 * dice.unit()),
                    _ => metric.level * 1_000.0 * dice.unit(),
                };
                series.push((labels, metric, start));
            }
        }
        Hosts { dice, series }
    }

    /// The samples of the hour that starts at `start`: a scrape a minute, the last one at its end.
    pub(crate) fn hour(&mut self, id: BatchId, site: SiteName, start: Timestamp) -> SampleBatch {
        let mut batch = SampleBatch::new(id, site);
        batch.samples.reserve(self.series.len() * 60);
        for (labels, metric, now) in &mut self.series {
            let index = batch.series(labels.clone(), metric.kind);
            for minute in 1..=HOUR_MS / MINUTE_MS {
                match metric.kind {
                    SeriesKind::Gauge => {
                        // Wanders, and is drawn back to its middle.
                        *now += metric.swing * self.dice.normal() + (metric.level - *now) * 0.01;
                        *now = now.max(0.0);
                    }
                    _ => {
                        *now += (metric.level + metric.swing * self.dice.normal()).max(0.0);
                    }
                }
                // Divided, not multiplied: 0.1 * 471 is not what 47.1 reads as.
                let per_unit = (1.0 / metric.grain).round();
                let value = match metric.grain < 1.0 {
                    true => (*now * per_unit).round() / per_unit,
                    false => (*now / metric.grain).round() * metric.grain,
                };
                batch.push(index, start.saturating_add(minute * MINUTE_MS), value);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_holds_a_sample_a_minute_and_counters_only_grow() {
        let site = SiteName::new("fleet").expect("valid");
        let mut hosts = Hosts::new(1, 3);
        let (first, second) = (
            hosts.hour(BatchId([0; 16]), site.clone(), Timestamp(0)),
            hosts.hour(BatchId([1; 16]), site, Timestamp(HOUR_MS)),
        );
        assert_eq!((first.series.len(), first.samples.len()), (30, 30 * 60));
        let values = |batch: &SampleBatch, series: u32| -> Vec<f64> {
            batch.samples.iter().filter(|(of, _, _)| *of == series).map(|(_, _, value)| *value).collect()
        };
        for (index, (_, kind)) in first.series.iter().enumerate() {
            let both = [values(&first, index as u32), values(&second, index as u32)].concat();
            assert!(both.iter().all(|value| value.is_finite() && *value >= 0.0));
            assert!(*kind != SeriesKind::Counter || both.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
