//! Counts beside those of the week before, and breakdowns by free names with small counts folded away.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Counts under this are not told in breakdowns by free names, unless a request says another.
pub const FEW: u64 = 5;

/// A count of the week and of the week before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compared {
    /// Of the week; none where the week has no data at all.
    pub week: Option<u64>,
    /// Of the week before; none where that week has no data at all.
    pub before: Option<u64>,
}

impl Compared {
    /// The count of the week, zero where it has no data.
    #[must_use]
    pub fn count(self) -> u64 {
        self.week.unwrap_or(0)
    }

    /// Sums both weeks of two counts.
    #[must_use]
    pub fn plus(self, other: Compared) -> Compared {
        let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Compared { week: add(self.week, other.week), before: add(self.before, other.before) }
    }
}

/// A name of a closed enumeration and its count; never suppressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The enumeration's value.
    pub name: String,
    /// Its count.
    #[serde(flatten)]
    pub count: Compared,
}

/// The sum of the tallies of the given names.
pub(crate) fn sum_of(tallies: &[Tally], names: &[&str]) -> Compared {
    tallies
        .iter()
        .filter(|tally| names.contains(&tally.name.as_str()))
        .map(|tally| tally.count)
        .reduce(Compared::plus)
        .unwrap_or_default()
}

/// One cell of a breakdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// The column's week has no data.
    NoData,
    /// A count that may be told: zero, or not under the request's `few`.
    Count(u64),
    /// Counted in the row "other (few)": under the request's `few`, or folded to hide one that is.
    Few,
}

impl Serialize for Cell {
    /// A number, null, or the word `few`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::NoData => serializer.serialize_none(),
            Cell::Count(count) => serializer.serialize_u64(*count),
            Cell::Few => serializer.serialize_str("few"),
        }
    }
}

/// Counts by names that a site chooses, in columns.
///
/// - A count under the request's `few` is told of no name: it is part of `few`, column by column.
/// - Where `few` would hold the count of a single listed name, a second name is folded with it.
/// - Every column's cells, `few` and `rest` sum to the site's total of that column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Breakdown {
    /// What the columns count.
    pub columns: Vec<String>,
    /// The largest names, by the first column, then by the next ones.
    pub rows: Vec<BreakdownRow>,
    /// The sum of what was folded, where anything was.
    pub few: Option<Vec<Cell>>,
    /// Further names that are large enough to list, in one row.
    pub rest: Option<Rest>,
}

/// One name of a breakdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakdownRow {
    /// The name, as the site chose it: escape it wherever it is shown.
    pub name: String,
    /// One cell per column.
    pub cells: Vec<Cell>,
}

/// What a breakdown does not list name by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rest {
    /// How many names.
    pub names: u64,
    /// Their sums, one per column.
    pub cells: Vec<Cell>,
}

/// Folds counts under `least` and keeps the `rows_max` largest names.
///
/// `data` says per column whether its week has data at all.
pub(crate) fn breakdown(
    columns: &[(&str, bool)],
    counts: BTreeMap<String, Vec<u64>>,
    rows_max: usize,
    least: u64,
) -> Breakdown {
    let mut names: Vec<(String, Vec<u64>)> = counts.into_iter().collect();
    // Largest first; equal ones stay in name order.
    names.sort_by(|a, b| b.1.cmp(&a.1));
    let listed: Vec<bool> = names.iter().map(|(_, counts)| counts.iter().any(|&c| c >= least)).collect();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); names.len()];
    let mut few = Vec::new();
    for (column, &(_, data)) in columns.iter().enumerate() {
        let of = |row: usize| names.get(row).and_then(|(_, counts)| counts.get(column)).copied().unwrap_or(0);
        let folded = folded_rows(&listed, least, of);
        few.push(fold_cell(data, (0..names.len()).filter(|row| folded.contains(row)).map(of).sum()));
        for (row, cells) in cells.iter_mut().enumerate() {
            cells.push(if folded.contains(&row) { Cell::Few } else { fold_cell(data, of(row)) });
        }
    }
    let any_folded = cells.iter().flatten().any(|&cell| cell == Cell::Few);
    let mut rows: Vec<BreakdownRow> = names
        .into_iter()
        .zip(cells)
        .zip(&listed)
        .filter(|(_, listed)| **listed)
        .map(|(((name, _), cells), _)| BreakdownRow { name, cells })
        .collect();
    // One name more than fits is listed rather than hidden behind "1 more".
    let rest = (rows.len() > rows_max + 1).then(|| rows.split_off(rows_max)).map(|rest| Rest {
        names: rest.len() as u64,
        cells: (0..columns.len())
            .map(|column| {
                let cells = rest.iter().filter_map(|row| row.cells.get(column));
                let sum = cells.map(|cell| if let Cell::Count(count) = cell { *count } else { 0 }).sum();
                fold_cell(columns.get(column).is_some_and(|&(_, data)| data), sum)
            })
            .collect(),
    });
    Breakdown {
        columns: columns.iter().map(|&(name, _)| name.to_owned()).collect(),
        rows,
        few: any_folded.then_some(few),
        rest,
    }
}

fn fold_cell(data: bool, count: u64) -> Cell {
    if data || count > 0 { Cell::Count(count) } else { Cell::NoData }
}

/// The rows of one column that are folded: small counts, and a second name where one alone could be told.
fn folded_rows(listed: &[bool], least: u64, of: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut folded: Vec<usize> = (0..listed.len()).filter(|&row| (1..least).contains(&of(row))).collect();
    if let [alone] = folded[..]
        && listed.get(alone) == Some(&true)
    {
        let others = (0..listed.len()).filter(|&row| row != alone && listed.get(row) == Some(&true));
        folded.extend(others.min_by_key(|&row| (of(row), row)));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(rows: &[(&str, [u64; 2])]) -> BTreeMap<String, Vec<u64>> {
        rows.iter().map(|&(name, counts)| (name.to_owned(), counts.to_vec())).collect()
    }

    const WEEKS: [(&str, bool); 2] = [("week", true), ("before", true)];

    #[test]
    fn a_name_with_few_events_is_not_told() {
        let table = breakdown(&WEEKS, counts(&[("a", [9, 9]), ("b", [4, 1]), ("c", [1, 0])]), 10, FEW);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.few, Some(vec![Cell::Count(5), Cell::Count(1)]));
    }

    #[test]
    fn a_single_folded_count_of_a_listed_name_is_hidden_among_two() {
        let table = breakdown(&WEEKS, counts(&[("a", [9, 2]), ("b", [8, 8]), ("c", [7, 40])]), 10, FEW);
        let before: Vec<Cell> = table.rows.iter().map(|row| row.cells[1]).collect();
        assert_eq!(before, [Cell::Few, Cell::Few, Cell::Count(40)]);
        assert_eq!(table.few, Some(vec![Cell::Count(0), Cell::Count(10)]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn every_column_sums_to_its_total_and_no_small_count_shows(
            rows in prop::collection::btree_map("[a-z]{1,3}", prop::array::uniform2(0u64..12), 0..30),
            rows_max in 1usize..8,
            least in 0u64..9,
        ) {
            let rows: BTreeMap<String, Vec<u64>> =
                rows.into_iter().map(|(name, counts)| (name, counts.to_vec())).collect();
            let table = breakdown(&WEEKS, rows.clone(), rows_max, least);
            let count = |cell: &Cell| if let Cell::Count(count) = cell { *count } else { 0 };
            for column in 0..2 {
                let told: u64 = table.rows.iter().map(|row| count(&row.cells[column])).sum();
                let few = table.few.as_ref().map_or(0, |cells| count(&cells[column]));
                let rest = table.rest.as_ref().map_or(0, |rest| count(&rest.cells[column]));
                let total: u64 = rows.values().map(|counts| counts[column]).sum();
                prop_assert_eq!(told + few + rest, total);
                let small = |cell: &Cell| matches!(cell, Cell::Count(count) if (1..least).contains(count));
                prop_assert!(!table.rows.iter().any(|row| small(&row.cells[column])));
            }
        }
    }
}
