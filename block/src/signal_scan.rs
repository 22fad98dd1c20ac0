//! Finding rows in a block of raw signals: groups that cannot have any are passed over, of the others only the columns are
//! decoded that matchers look at, and whole rows are made of those that are wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_model::schema::KindSchema;
use annals_model::{Matcher, SignalRow, SiteName, TimeRange, Timestamp};

use crate::container::SectionKind;
use crate::error::BlockError;
use crate::groups::{GroupEntry, KindCount};
use crate::row_reader::{Column, Group, RowReader, symbol_of};
use crate::scratch::{Scratch, with_scratch};
use crate::signal_block::{Index, SignalBlock};

/// A group of rows that cannot be served.
#[derive(Debug, Clone)]
pub struct LostRows {
    /// The times, within the range that was asked for, of which rows may be missing.
    pub range: TimeRange,
    /// How many rows the group has.
    pub rows: u64,
    /// What is wrong with it.
    pub error: BlockError,
}

/// Rows by kind and site, and what could not be counted.
#[derive(Debug, Clone, Default)]
pub struct SignalCounts {
    /// How many rows of a kind and a site.
    pub rows: BTreeMap<(Arc<str>, SiteName), u64>,
    /// Groups that are damaged.
    pub lost: Vec<LostRows>,
}

/// The rows of a block that are wanted, by time, rows of one instant in order of arrival. A damaged group is an item by
/// itself; what follows it comes all the same.
#[derive(Debug)]
pub struct SignalScan<'a> {
    pub(crate) search: Search<'a>,
    /// The groups that are still to be read.
    pub(crate) groups: std::slice::Iter<'a, GroupEntry>,
    pub(crate) rows: std::vec::IntoIter<SignalRow>,
}

/// What is looked for in a block.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    block: &'a SignalBlock,
    index: &'a Index,
    range: TimeRange,
    /// Per kind of the block: the positions of fields that matchers look at; nothing where no row of it can match.
    kinds: Vec<Option<Vec<(usize, &'a Matcher)>>>,
    sites: Vec<&'a Matcher>,
}

impl Iterator for SignalScan<'_> {
    type Item = Result<SignalRow, LostRows>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            let search = &self.search;
            let entry = self.groups.find(|entry| search.may_have(entry))?;
            match search.read(entry, Search::rows) {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(lost) => return Some(Err(lost)),
            }
        }
    }
}

impl<'a> Search<'a> {
    /// Looks at the schemas once for all groups.
    pub(crate) fn new(
        block: &'a SignalBlock,
        index: &'a Index,
        range: TimeRange,
        matchers: &'a [Matcher],
    ) -> Search<'a> {
        let of_kind = |kind: &Arc<KindSchema>| {
            let mut fields = Vec::new();
            for matcher in matchers {
                match (matcher.name(), kind.field(matcher.name())) {
                    ("kind", _) if matcher.matches(&kind.name) => {}
                    ("kind", _) => return None,
                    ("site", _) => {}
                    (_, Some((at, _))) => fields.push((at, matcher)),
                    (_, None) if matcher.matches_empty() => {}
                    (_, None) => return None,
                }
            }
            Some(fields)
        };
        let kinds = index.kinds.iter().map(of_kind).collect();
        let sites = matchers.iter().filter(|matcher| matcher.name() == "site").collect();
        Search { block, index, range, kinds, sites }
    }

    /// Whether a group can have a row that is wanted.
    fn may_have(&self, entry: &GroupEntry) -> bool {
        entry.range.overlaps(self.range) && entry.counts.iter().any(|count| self.wants(count))
    }

    fn wants(&self, count: &KindCount) -> bool {
        self.kinds.get(count.kind).is_some_and(Option::is_some) && self.wants_site(count.site as i64)
    }

    fn wants_site(&self, symbol: i64) -> bool {
        self.sites.iter().all(|matcher| matcher.matches(symbol_of(&self.index.symbols, symbol)))
    }

    /// Adds the rows of a block that are wanted to what was counted. A group is decoded only where times or fields
    /// divide it.
    pub(crate) fn count(&self, counts: &mut SignalCounts) {
        let mut add = |kind: usize, site: usize, rows: u64| {
            let kind = self.index.kinds.get(kind).map(|kind| Arc::clone(&kind.name));
            // Both are there: `read` and the index look.
            if let Some(key) = kind.zip(self.index.sites.get(&site).cloned()) {
                *counts.rows.entry(key).or_default() += rows;
            }
        };
        for entry in self.index.groups.iter().filter(|entry| self.may_have(entry)) {
            let is_whole = entry.range.intersect(self.range) == entry.range;
            let tests = |kind: usize| self.kinds.get(kind).and_then(Option::as_ref);
            let is_known = |count: &KindCount| tests(count.kind).is_none_or(Vec::is_empty);
            if is_whole && entry.counts.iter().all(is_known) {
                let wanted = entry.counts.iter().filter(|count| self.wants(count));
                wanted.for_each(|count| add(count.kind, count.site, count.rows));
                continue;
            }
            match self.read(entry, |_, _, group, kept| Some(tally(&group, &kept))) {
                Ok(tally) => tally.into_iter().for_each(|((kind, site), rows)| add(kind, site, rows)),
                Err(lost) => counts.lost.push(lost),
            }
        }
    }

    /// Reads a group and makes something of the rows that are wanted.
    fn read<T>(
        &self,
        entry: &GroupEntry,
        make: impl FnOnce(&Self, &mut RowReader<'_>, Group<'_>, Vec<bool>) -> Option<T>,
    ) -> Result<T, LostRows> {
        let (block, index) = (self.block, self.index);
        let read = |scratch: &mut Scratch| {
            let what = "it is not a group of rows";
            let corrupt = |what| block.container.corrupt(SectionKind::Rows, Some(entry.part.ordinal), what);
            let Scratch { copy, decoding, .. } = scratch;
            block.container.copy_part(entry.part, copy)?;
            let mut reader = RowReader {
                rows: entry.rows,
                day_start: block.meta().id.day.range().start.0,
                kinds: &index.kinds,
                symbols: &index.symbols,
                decoding,
            };
            let group = reader.group(copy).ok_or_else(|| corrupt(what))?;
            let ends = group.times.first().copied().zip(group.times.last().copied());
            if ends != Some((entry.range.start.0 + 1, entry.range.end.0)) || !group.times.is_sorted() {
                return Err(corrupt("its rows are not in the times of the groups section"));
            }
            let is_known =
                |&symbol: &i64| usize::try_from(symbol).is_ok_and(|at| index.sites.contains_key(&at));
            if !group.site_symbols.iter().all(is_known) {
                return Err(corrupt("a site that the groups section does not know"));
            }
            let kept = self.keep(&mut reader, &group).ok_or_else(|| corrupt(what))?;
            make(self, &mut reader, group, kept).ok_or_else(|| corrupt(what))
        };
        with_scratch(read).map_err(|error| LostRows {
            range: entry.range.intersect(self.range),
            rows: entry.rows as u64,
            error,
        })
    }

    /// Which rows are wanted. `None` where a column that a matcher looks at does not decode.
    fn keep(&self, reader: &mut RowReader<'_>, group: &Group<'_>) -> Option<Vec<bool>> {
        let sites: Vec<bool> = group.site_symbols.iter().map(|&symbol| self.wants_site(symbol)).collect();
        let wants = |kind: i64| self.kinds.get(kind as usize).is_some_and(Option::is_some);
        let rows = group.times.iter().zip(&group.kinds).zip(&group.sites);
        let mut kept: Vec<bool> = rows
            .map(|((&time, &kind), &at)| {
                wants(kind) && sites.get(at as usize) == Some(&true) && self.range.contains(Timestamp(time))
            })
            .collect();
        for (number, (tests, (rows, fields))) in (0i64..).zip(self.kinds.iter().zip(&group.of_kind)) {
            let Some(tests) = tests.as_ref().filter(|tests| !tests.is_empty() && *rows > 0) else { continue };
            let schema = self.index.kinds.get(number as usize)?;
            let positions =
                || (0..).zip(&group.kinds).filter(move |(_, kind)| **kind == number).map(|(row, _)| row);
            let mut of_kind: Vec<bool> =
                positions().filter_map(|row: usize| kept.get(row).copied()).collect();
            for &(at, matcher) in tests {
                let field_type = &schema.fields.get(at)?.field_type;
                let column = reader.column(fields.get(at)?, *rows, field_type)?;
                column.keep_matching(matcher, field_type, &self.index.symbols, &mut of_kind);
            }
            for (row, is_kept) in positions().zip(of_kind) {
                *kept.get_mut(row)? = is_kept;
            }
        }
        Some(kept)
    }

    /// The rows that are wanted, in order.
    fn rows(&self, reader: &mut RowReader<'_>, group: Group<'_>, kept: Vec<bool>) -> Option<Vec<SignalRow>> {
        let sites: Vec<SiteName> = group
            .site_symbols
            .iter()
            .map(|&symbol| self.index.sites.get(&usize::try_from(symbol).ok()?).cloned())
            .collect::<Option<_>>()?;
        let mut found = Vec::with_capacity(kept.iter().filter(|kept| **kept).count());
        for (number, (schema, (rows, fields))) in (0i64..).zip(self.index.kinds.iter().zip(&group.of_kind)) {
            let positions =
                || (0..).zip(&group.kinds).filter(|(_, kind)| **kind == number).map(|(row, _)| row);
            let is_kept = |row: usize| kept.get(row) == Some(&true);
            if !positions().any(is_kept) {
                continue;
            }
            let mut columns = Vec::with_capacity(schema.fields.len());
            for (field, bytes) in schema.fields.iter().zip(fields) {
                columns.push(reader.column(bytes, *rows, &field.field_type)?);
            }
            let mut ranks: Vec<_> = columns.iter().map(Column::ranks).collect();
            for row in positions() {
                let ranks = ranks.iter_mut().map(|ranks| ranks.next().flatten());
                if !is_kept(row) {
                    ranks.for_each(drop);
                    continue;
                }
                let value =
                    |(column, rank): (&Column<'_>, Option<usize>)| column.value(rank?, &self.index.symbols);
                let fields = columns.iter().zip(ranks).map(value).collect();
                let site = sites.get(usize::try_from(*group.sites.get(row)?).ok()?)?.clone();
                let (kind, time) = (Arc::clone(&schema.name), Timestamp(*group.times.get(row)?));
                found.push((row, SignalRow { kind, site, time, fields }));
            }
        }
        found.sort_unstable_by_key(|(row, _)| *row);
        Some(found.into_iter().map(|(_, row)| row).collect())
    }

    /// Whether all of a group decodes, and is what the groups section says of it.
    pub(crate) fn verify(&self, entry: &GroupEntry) -> Result<(), LostRows> {
        let counted = self.read(entry, |search, reader, group, kept| {
            let counted = tally(&group, &kept);
            search.rows(reader, group, kept).map(|_| counted)
        })?;
        let is_same = counted.len() == entry.counts.len()
            && entry.counts.iter().all(|count| counted.get(&(count.kind, count.site)) == Some(&count.rows));
        if is_same {
            return Ok(());
        }
        let what = "its rows are not of the kinds and sites of the groups section";
        let error = self.block.container.corrupt(SectionKind::Rows, Some(entry.part.ordinal), what);
        Err(LostRows { range: entry.range, rows: entry.rows as u64, error })
    }
}

/// How many rows are kept, by kind and site.
fn tally(group: &Group<'_>, kept: &[bool]) -> BTreeMap<(usize, usize), u64> {
    let mut tally = BTreeMap::new();
    let mut last: Option<((i64, i64), u64)> = None;
    let mut add = |((kind, at), rows): ((i64, i64), u64)| {
        let site = group.site_symbols.get(at as usize).copied().unwrap_or(0);
        *tally.entry((kind as usize, site as usize)).or_default() += rows;
    };
    for ((&kind, &at), _) in group.kinds.iter().zip(&group.sites).zip(kept).filter(|(_, kept)| **kept) {
        match &mut last {
            Some((key, rows)) if *key == (kind, at) => *rows += 1,
            _ => {
                if let Some(run) = last.replace(((kind, at), 1)) {
                    add(run);
                }
            }
        }
    }
    last.into_iter().for_each(&mut add);
    tally
}
