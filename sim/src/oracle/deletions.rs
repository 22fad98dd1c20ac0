//! Deletions: what one takes of what a tenant holds.

use annals::{
    BlockContent, Deleted, Deletion, HOUR_MS, LabelSet, SignalRow, TenantError, TimeRange, Timestamp,
};

use super::account::Account;
use super::held::{Held, Names};
use super::plans::is_in_doubt;
use super::shown::Shown;

/// A deletion, and its place among the attempts: it takes what those before it have left.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) order: u64,
    deletion: Deletion,
}

impl Taken {
    fn takes_series(&self, labels: &LabelSet) -> bool {
        let all = |name: &str| labels.get(name);
        self.deletion.metrics
            && self.deletion.matchers.iter().all(|matcher| matcher.matches(all(matcher.name())))
    }

    pub(super) fn takes_cell(&self, labels: &LabelSet, time: i64) -> bool {
        self.deletion.range.contains(Timestamp(time)) && self.takes_series(labels)
    }

    /// Fields are not looked at: what is drawn asks for kind and site alone, and a label that is none of both is empty.
    pub(super) fn takes_row(&self, row: &SignalRow) -> bool {
        let of = |name: &str| match name {
            "kind" => &*row.kind,
            "site" => row.site.as_str(),
            _ => "",
        };
        self.deletion.signals
            && self.deletion.range.contains(row.time)
            && self.deletion.matchers.iter().all(|matcher| matcher.matches(of(matcher.name())))
    }
}

impl Held {
    /// Takes out what a deletion takes.
    pub(super) fn delete(&mut self, names: &Names, taken: &Taken) {
        for (number, cells) in (0..).zip(&mut self.series) {
            if taken.takes_series(names.labels(number)) {
                cells.retain(|&time, _| !taken.deletion.range.contains(Timestamp(time)));
            }
        }
        self.rows.values_mut().for_each(|rows| rows.retain(|row| !taken.takes_row(row)));
        self.rows.retain(|_, rows| !rows.is_empty());
    }
}

impl Account {
    /// A deletion is about to be made; it comes after all attempts up to `order`.
    pub(super) fn deleting(&mut self, order: u64, deletion: Deletion) {
        self.deleting = Some(Taken { order, deletion });
    }

    /// What came of it.
    pub(super) fn deleted(
        &mut self,
        answer: &Result<Deleted, TenantError>,
        now: Timestamp,
        latest: Timestamp,
    ) {
        let Some(taken) = self.deleting.take() else { return };
        match answer {
            Ok(_) => {
                // All that was acknowledged is in blocks.
                self.settle();
                self.take(taken, now, latest);
            }
            Err(error) if is_in_doubt(error) => self.deleting = Some(taken),
            Err(_) => {}
        }
    }

    /// Whether a deletion, one in doubt included, took a cell that an attempt of that order had written.
    pub(super) fn is_taken(&self, order: u64, takes: impl Fn(&Taken) -> bool) -> bool {
        self.deletions.iter().chain(&self.deleting).any(|taken| taken.order > order && takes(taken))
    }

    /// Finds out by what an open shows whether a deletion that was in doubt took place.
    pub(super) fn resolve_deletion(&mut self, shown: &Shown, now: Timestamp, latest: Timestamp) {
        let Some(taken) = self.deleting.take() else { return };
        // What was written after it is there either way.
        let (without, with) = (self.all_worked_out(), self.all_worked_out_with(Some(&taken)));
        let fits = |held: &Held| self.compare_with(held, shown, now, latest, false).is_ok();
        match (fits(&without), fits(&with)) {
            (false, true) => self.take(taken, now, latest),
            // Nothing that is shown tells: what it would have taken may be there or not.
            (true, true) => self.loosen_taken(&without, &taken),
            (_, false) => {}
        }
    }

    /// From here on what a deletion takes is gone.
    fn take(&mut self, taken: Taken, now: Timestamp, latest: Timestamp) {
        let before = self.all_worked_out();
        self.loosen_edges(&before, &taken, now, latest);
        self.loosen_doubtful(&taken);
        self.deletions.push(taken);
        self.work_out_again();
    }

    /// Where raw metrics have expired, each window that the range touches goes whole, with cells that lie outside of it.
    fn loosen_edges(&mut self, held: &Held, taken: &Taken, now: Timestamp, latest: Timestamp) {
        let (_, raw_floor) = self.plans.floors(BlockContent::RawMetrics, now, latest);
        let range = taken.deletion.range;
        let mut edges = Vec::new();
        for (number, cells) in (0..).zip(&held.series) {
            if !taken.takes_series(self.names().labels(number)) {
                continue;
            }
            let at_edge = |&&time: &&i64| {
                let start = (time - 1).div_euclid(HOUR_MS) * HOUR_MS;
                let window = TimeRange::new(Timestamp(start), Timestamp(start + HOUR_MS));
                !range.contains(Timestamp(time)) && window.overlaps(range)
            };
            let expired = cells.range(..=raw_floor).map(|(time, _)| time);
            edges.extend(expired.filter(at_edge).map(|&time| (number, time)));
        }
        self.held_mut().loose.extend(edges);
    }

    fn loosen_taken(&mut self, held: &Held, taken: &Taken) {
        let mut cells = Vec::new();
        for (number, of) in (0..).zip(&held.series) {
            if taken.takes_series(self.names().labels(number)) {
                let range = taken.deletion.range;
                cells.extend(
                    of.keys().filter(|&&time| range.contains(Timestamp(time))).map(|&time| (number, time)),
                );
            }
        }
        let rows = held.rows.iter().filter(|(_, rows)| rows.iter().any(|row| taken.takes_row(row)));
        let rows: Vec<i64> = rows.map(|(&time, _)| time).collect();
        let held = self.held_mut();
        held.loose.extend(cells);
        held.loose_rows.extend(rows);
    }
}
