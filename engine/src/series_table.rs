//! Which number stands for which series in the current epoch.

use std::hash::BuildHasher;

use annals_model::{LabelSet, SeriesKind};
use hashbrown::HashTable;

/// Numbers from 0 upward, in the order in which series were first used.
#[derive(Default)]
pub(crate) struct SeriesTable {
    series: Vec<(LabelSet, SeriesKind)>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl SeriesTable {
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn find(&self, labels: &LabelSet) -> Option<u32> {
        let hash = self.hasher.hash_one(labels.as_bytes());
        self.numbers.find(hash, |&number| self.is(number, labels)).copied()
    }

    /// The series' number, a new one where it has none.
    pub(crate) fn number(&mut self, labels: &LabelSet, kind: SeriesKind) -> u32 {
        let hash = self.hasher.hash_one(labels.as_bytes());
        if let Some(&number) = self.numbers.find(hash, |&number| self.is(number, labels)) {
            return number;
        }
        // Limits keep a tenant's series far below 2^32.
        let number = self.series.len() as u32;
        self.series.push((labels.clone(), kind));
        let (series, hasher) = (&self.series, &self.hasher);
        self.numbers.insert_unique(hash, number, |&number| {
            series.get(number as usize).map_or(0, |(labels, _)| hasher.hash_one(labels.as_bytes()))
        });
        number
    }

    /// Series from `first` on, which a record is about to define.
    pub(crate) fn since(&self, first: usize) -> Vec<(LabelSet, SeriesKind)> {
        self.series.get(first..).unwrap_or_default().to_vec()
    }

    /// Forgets series from `first` on: the record that was to define them was not queued.
    pub(crate) fn truncate(&mut self, first: usize) {
        for number in first..self.series.len() {
            let Some((labels, _)) = self.series.get(number) else { break };
            let hash = self.hasher.hash_one(labels.as_bytes());
            if let Ok(entry) = self.numbers.find_entry(hash, |&n| n as usize == number) {
                entry.remove();
            }
        }
        self.series.truncate(first);
    }

    fn is(&self, number: u32, labels: &LabelSet) -> bool {
        self.series.get(number as usize).is_some_and(|(held, _)| held == labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_series_get_new_numbers() {
        let labels = |i: usize| LabelSet::from_pairs([("__name__", format!("m{i}"))]).expect("valid");
        let mut table = SeriesTable::default();
        for i in 0..100 {
            assert_eq!(table.number(&labels(i), SeriesKind::Gauge), i as u32);
        }
        table.truncate(40);
        assert_eq!(table.find(&labels(39)), Some(39));
        assert_eq!(table.find(&labels(40)), None);
        assert_eq!(table.number(&labels(77), SeriesKind::Gauge), 40);
        assert_eq!(table.since(40), [(labels(77), SeriesKind::Gauge)]);
        assert_eq!(table.number(&labels(3), SeriesKind::Gauge), 3);
    }
}
