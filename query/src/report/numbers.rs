//! Counts beside those of the period before and of the usual range, and breakdowns by free names that tell no small count.
//!
//! What a breakdown tells of a name is zero, "few", or a multiple of the request's `few`, rounded down. So neither a
//! column's total nor a second report, of a longer, shorter or shifted period, gives a small count away: the difference
//! of two numbers that are told leaves several counts possible. Whoever has many reports that overlap can narrow them
//! down further; a host that hands out such reports raises `few`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Counts under this are not told in breakdowns by free names, unless a request says another.
pub const FEW: u64 = 5;

/// A count of the period, beside the period before and the usual range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compared {
    /// Of the period; none where the period has no data at all.
    pub count: Option<u64>,
    /// Of the period before; none where that has no data at all.
    pub before: Option<u64>,
    /// Of the eight periods before; none where not one of them has data on each of its days.
    pub usual: Option<Usual>,
}

/// The least and the greatest count of several periods before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usual {
    /// The least count.
    pub least: u64,
    /// The greatest count.
    pub most: u64,
    /// How many periods it is the range of.
    pub periods: u64,
}

impl Usual {
    /// The range of some counts; `None` where there are none.
    pub(crate) fn of(counts: impl Iterator<Item = u64>) -> Option<Usual> {
        counts.fold(None, |range: Option<Usual>, count| {
            let range = range.unwrap_or(Usual { least: count, most: count, periods: 0 });
            Some(Usual {
                least: range.least.min(count),
                most: range.most.max(count),
                periods: range.periods + 1,
            })
        })
    }
}

impl Compared {
    /// The count of the period, zero where it has no data.
    #[must_use]
    pub fn count(self) -> u64 {
        self.count.unwrap_or(0)
    }

    /// Whether nothing was counted, in the period and in the one before.
    pub(crate) fn is_nothing(self) -> bool {
        self.count() == 0 && self.before.unwrap_or(0) == 0
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

/// One cell of a breakdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// The column's period has no data.
    NoData,
    /// Of a name zero or a multiple of the request's `few`, rounded down; of a total the exact count.
    Count(u64),
    /// More than zero, under the request's `few`; or zero where that alone would give another away.
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
/// - A count under the request's `few` is told of no name, and all others are rounded down to a multiple of it.
/// - Every column's cells and `other` sum to the site's total of that column, which is exact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Breakdown {
    /// What the columns count.
    pub columns: Vec<String>,
    /// The largest names, by the first column, then by the next ones.
    pub rows: Vec<BreakdownRow>,
    /// What is told of no name: small counts, what rounding took, names that are not listed.
    pub other: Vec<Cell>,
    /// Names that are large enough to be listed, and are not.
    pub names_more: u64,
}

/// One name of a breakdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakdownRow {
    /// The name, as the site chose it: escape it wherever it is shown.
    pub name: String,
    /// One cell per column.
    pub cells: Vec<Cell>,
}

impl Breakdown {
    /// Whether anything was counted.
    pub(crate) fn is_nothing(&self) -> bool {
        self.rows.is_empty() && !self.other.iter().any(|cell| matches!(cell, Cell::Count(1..)))
    }
}

/// What may be told of a count of a free name.
pub(crate) fn told(count: u64, least: u64) -> Cell {
    match count {
        0 => Cell::Count(0),
        small if small < least => Cell::Few,
        count => Cell::Count(count - count % least.max(1)),
    }
}

/// Folds counts under `least` and keeps the `rows_max` largest names.
///
/// `columns` says per column whether its period has data at all.
pub(crate) fn breakdown(
    columns: &[(&str, bool)],
    counts: BTreeMap<String, Vec<u64>>,
    rows_max: usize,
    least: u64,
) -> Breakdown {
    let totals: Vec<u64> = (0..columns.len())
        .map(|column| counts.values().filter_map(|counts| counts.get(column)).sum())
        .collect();
    let shown = |count: u64, data: bool| if data || count > 0 { told(count, least) } else { Cell::NoData };
    let mut rows: Vec<BreakdownRow> = counts
        .into_iter()
        .filter(|(_, counts)| counts.iter().any(|&count| count >= least.max(1)))
        .map(|(name, counts)| {
            let cells = counts.iter().zip(columns).map(|(&count, &(_, data))| shown(count, data)).collect();
            BreakdownRow { name, cells }
        })
        .collect();
    // By what is told, so that the order tells no more; equal ones stay in name order.
    let size = |row: &BreakdownRow| -> Vec<u64> { row.cells.iter().copied().map(count_of).collect() };
    rows.sort_by_cached_key(|row| std::cmp::Reverse(size(row)));
    // One name more than fits is listed rather than hidden behind "1 more".
    let listed = if rows.len() > rows_max + 1 { rows_max } else { rows.len() };
    let names_more = (rows.len() - listed) as u64;
    rows.truncate(listed);
    let mut other = Vec::new();
    for (column, (&total, &(_, data))) in totals.iter().zip(columns).enumerate() {
        let cells = || rows.iter().filter_map(|row| row.cells.get(column).copied());
        let rest = total - cells().map(count_of).sum::<u64>();
        // A single small count and nothing that was rounded: all names that have none might have it.
        let alone = cells().filter(|&cell| cell == Cell::Few).count() == 1
            && cells().all(|cell| matches!(cell, Cell::Few | Cell::Count(0)));
        if alone {
            let zeros = rows.iter_mut().filter_map(|row| row.cells.get_mut(column));
            zeros.for_each(|cell| *cell = Cell::Few);
        }
        other.push(if data || rest > 0 { Cell::Count(rest) } else { Cell::NoData });
    }
    let columns = columns.iter().map(|&(name, _)| name.to_owned()).collect();
    Breakdown { columns, rows, other, names_more }
}

/// What a cell adds to its column.
fn count_of(cell: Cell) -> u64 {
    if let Cell::Count(count) = cell { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(rows: &[(&str, [u64; 2])]) -> BTreeMap<String, Vec<u64>> {
        rows.iter().map(|&(name, counts)| (name.to_owned(), counts.to_vec())).collect()
    }

    const PERIODS: [(&str, bool); 2] = [("week", true), ("before", true)];

    #[test]
    fn a_name_with_few_events_is_not_told() {
        let table = breakdown(&PERIODS, counts(&[("a", [9, 9]), ("b", [4, 1]), ("c", [1, 0])]), 10, FEW);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0].cells, [Cell::Count(5), Cell::Count(5)]);
        assert_eq!(table.other, [Cell::Count(9), Cell::Count(5)]);
    }

    #[test]
    fn a_single_small_count_hides_among_the_names_that_have_none() {
        let table = breakdown(&PERIODS, counts(&[("a", [9, 2]), ("b", [8, 0]), ("c", [7, 0])]), 10, FEW);
        assert!(table.rows.iter().all(|row| row.cells[1] == Cell::Few), "{table:?}");
        assert_eq!(table.other, [Cell::Count(9), Cell::Count(2)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn every_column_sums_to_its_total_and_no_small_count_shows(
            rows in prop::collection::btree_map("[a-z]{1,3}", prop::array::uniform2(0u64..40), 0..30),
            rows_max in 1usize..8,
            least in 0u64..9,
        ) {
            let rows: BTreeMap<String, Vec<u64>> =
                rows.into_iter().map(|(name, counts)| (name, counts.to_vec())).collect();
            let table = breakdown(&PERIODS, rows.clone(), rows_max, least);
            for column in 0..2 {
                let told: u64 = table.rows.iter().map(|row| count_of(row.cells[column])).sum();
                let total: u64 = rows.values().map(|counts| counts[column]).sum();
                prop_assert_eq!(told + count_of(table.other[column]), total);
                for row in &table.rows {
                    let count = count_of(row.cells[column]);
                    prop_assert!(count.is_multiple_of(least.max(1)) && count <= rows[&row.name][column]);
                }
            }
        }
    }

    /// One period within another, as a day within a week or a week within one that is shifted and longer: what is told of
    /// a name of both leaves at least two possible counts of what lies between, where that is small.
    #[test]
    fn no_difference_of_two_reports_gives_a_small_count_away() {
        for least in 3..8 {
            let told = |count| told(count, least);
            for (outer, inner) in (0..60).flat_map(|outer| (0..=outer).map(move |inner| (outer, inner))) {
                if !(1..least).contains(&(outer - inner)) {
                    continue;
                }
                let told_alike = |count: u64| {
                    let near = count.saturating_sub(least)..count + least;
                    near.filter(move |&other| told(other) == told(count))
                };
                let possible: std::collections::BTreeSet<u64> = told_alike(outer)
                    .flat_map(|outer| told_alike(inner).filter_map(move |inner| outer.checked_sub(inner)))
                    .collect();
                assert!(possible.len() > 1, "{outer} and {inner} under {least}: {possible:?}");
            }
        }
    }
}
