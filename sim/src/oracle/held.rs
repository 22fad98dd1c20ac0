//! What a tenant holds, as the oracle works it out: a map of cells and a list of rows, nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use annals::{LabelSet, SeriesKind, SignalRow, merge_values};

use super::batch::Effects;

/// A cell's place: series number and stamp.
pub(super) type Place = (u32, i64);

/// Numbers for label sets, so that cells are cheap to name.
#[derive(Debug, Default)]
pub(super) struct Names {
    // Looked up, never iterated: its order shows nowhere.
    numbers: HashMap<LabelSet, u32>,
    all: Vec<(LabelSet, SeriesKind)>,
}

impl Names {
    pub(super) fn number(&mut self, labels: &LabelSet, kind: SeriesKind) -> u32 {
        if let Some(&number) = self.numbers.get(labels) {
            return number;
        }
        let number = u32::try_from(self.all.len()).expect("a simulation has few series");
        self.numbers.insert(labels.clone(), number);
        self.all.push((labels.clone(), kind));
        number
    }

    pub(super) fn find(&self, labels: &LabelSet) -> Option<u32> {
        self.numbers.get(labels).copied()
    }

    pub(super) fn labels(&self, number: u32) -> &LabelSet {
        &self.all[number as usize].0
    }

    pub(super) fn kind(&self, number: u32) -> SeriesKind {
        self.all[number as usize].1
    }
}

/// Effects with their series numbered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Numbered {
    pub(super) cells: Vec<(Place, f64)>,
    pub(super) rows: Vec<SignalRow>,
}

impl Numbered {
    pub(super) fn new(names: &mut Names, effects: Effects) -> Numbered {
        let cells = effects
            .cells
            .iter()
            .map(|cell| ((names.number(&cell.labels, cell.kind), cell.time), cell.value))
            .collect();
        Numbered { cells, rows: effects.rows }
    }
}

/// What a tenant holds, expired data included.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// By series number; bits of values by stamp.
    pub(super) series: Vec<BTreeMap<i64, u64>>,
    /// By stamp, in log order.
    pub(super) rows: BTreeMap<i64, Vec<SignalRow>>,
    /// Cells that may be there or not, with this value or another.
    pub(super) loose: BTreeSet<Place>,
    /// Stamps at which raw signals may be there or not.
    pub(super) loose_rows: BTreeSet<i64>,
}

impl Held {
    /// Adds a batch that is later in the log than all added before.
    pub(super) fn add(&mut self, names: &Names, effects: &Numbered) {
        for &((number, time), value) in &effects.cells {
            let at = number as usize;
            if self.series.len() <= at {
                self.series.resize_with(at + 1, BTreeMap::new);
            }
            self.series[at]
                .entry(time)
                .and_modify(|bits| {
                    *bits = merge_values(names.kind(number), f64::from_bits(*bits), value).to_bits();
                })
                .or_insert(value.to_bits());
        }
        for row in &effects.rows {
            self.rows.entry(row.time.0).or_default().push(row.clone());
        }
    }

    /// What a batch adds may be there or not.
    pub(super) fn loosen<'a>(&mut self, effects: impl Iterator<Item = &'a Numbered>) {
        for effects in effects {
            self.loose.extend(effects.cells.iter().map(|(place, _)| *place));
            self.loose_rows.extend(effects.rows.iter().map(|row| row.time.0));
        }
    }
}
