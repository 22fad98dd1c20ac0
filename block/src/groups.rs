//! The section `groups` of a block of raw signals: where each group of rows is, and how many of which kind and site are in
//! it, so that readers pass over those without what they look for, and count without reading.
//!
//! | bytes     | field    | notes                                                                                     |
//! |----------:|----------|-------------------------------------------------------------------------------------------|
//! |    varint | `count`  | then for each group:                                                                      |
//! |    varint | `rows`   | how many, 1 to [`GROUP_ROWS_MAX`]                                                         |
//! |    varint | `first`  | the first stamp, from the day's start: 1 to 86,400,000                                    |
//! |    varint | `span`   | from the first to the last                                                                |
//! |    varint | `bytes`  | its size in `rows`                                                                        |
//! |    varint | `counts` | then for each kind and site that occur together, ascending: the kind's position in the    |
//! |           |          | schemas, the site's symbol, how many rows (varints); together they are `rows`             |
//! | 4 * count | `checks` | the check of each group, with its position as ordinal                                     |

use std::collections::BTreeMap;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{DAY_MS, Day, TimeRange, Timestamp};

use crate::container::{Part, SectionKind};
use crate::rows::Row;

/// The most rows of a group that a reader accepts.
pub(crate) const GROUP_ROWS_MAX: u64 = 1 << 16;

/// Where a group is, and what is known of it without decoding.
#[derive(Debug, Clone)]
pub(crate) struct GroupEntry {
    pub(crate) rows: usize,
    pub(crate) range: TimeRange,
    pub(crate) part: Part,
    /// Ascending.
    pub(crate) counts: Box<[KindCount]>,
}

/// Rows of one kind and site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KindCount {
    /// Position in the schemas; it is there.
    pub(crate) kind: usize,
    /// The site's symbol; it is there.
    pub(crate) site: usize,
    pub(crate) rows: u64,
}

/// Lays out the section.
pub(crate) struct GroupsWriter {
    directory: Vec<u8>,
    checks: Vec<u8>,
}

impl GroupsWriter {
    /// For so many groups.
    pub(crate) fn new(groups: usize) -> GroupsWriter {
        let mut directory = Vec::new();
        directory.put_varint(groups as u64);
        GroupsWriter { directory, checks: Vec::new() }
    }

    /// Adds a group of rows that are in time order; `symbols` has the final symbol of each provisional one.
    pub(crate) fn add(&mut self, rows: &[Row], day_start: i64, bytes: usize, check: u32, symbols: &[u32]) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        self.directory.put_varint(rows.len() as u64);
        self.directory.put_varint((first.time - day_start) as u64);
        self.directory.put_varint((last.time - first.time) as u64);
        self.directory.put_varint(bytes as u64);
        let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for row in rows {
            let site = symbols.get(row.site as usize).copied().unwrap_or(0);
            *counts.entry((row.kind, site)).or_default() += 1;
        }
        self.directory.put_varint(counts.len() as u64);
        for ((kind, site), rows) in counts {
            self.directory.put_varint(u64::from(kind));
            self.directory.put_varint(u64::from(site));
            self.directory.put_varint(rows);
        }
        self.checks.put_u32(check);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.directory.put(&self.checks);
        self.directory
    }
}

/// Reads the section of a block with so many kinds and symbols; says what is wrong where it is not one.
pub(crate) fn parse_groups(
    bytes: &[u8],
    day: Day,
    rows_bytes: u64,
    kinds: usize,
    symbols: usize,
) -> Result<Vec<GroupEntry>, &'static str> {
    const SHORT: &str = "it ends within a group";
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(8).ok_or(SHORT)?;
    let mut groups: Vec<GroupEntry> = Vec::with_capacity(count);
    let (mut offset, mut before) = (0u64, 0);
    for ordinal in 0..count as u64 {
        let rows = cursor.varint().ok_or(SHORT)?;
        let first = cursor.varint().ok_or(SHORT)?;
        let span = cursor.varint().ok_or(SHORT)?;
        let bytes = cursor.varint().ok_or(SHORT)?;
        if rows == 0 || rows > GROUP_ROWS_MAX {
            return Err("a group has more rows than it may have, or none");
        }
        let last = first.checked_add(span).filter(|&last| last <= DAY_MS as u64);
        let last = last.filter(|_| first > 0 && first >= before).ok_or("a group lies outside its times")?;
        before = last;
        let counts = parse_counts(&mut cursor, rows, kinds, symbols)?;
        // Both are below a day.
        let stamp = |from_start: u64| Timestamp(day.range().start.0 + from_start as i64);
        let part = Part { kind: SectionKind::Rows, ordinal, offset, bytes: bytes as usize, check: 0 };
        let range = TimeRange::new(stamp(first - 1), stamp(last));
        groups.push(GroupEntry { rows: rows as usize, range, part, counts });
        offset = offset.checked_add(bytes).filter(|&end| end <= rows_bytes).ok_or("a group too long")?;
    }
    for group in &mut groups {
        group.part.check = cursor.u32().ok_or(SHORT)?;
    }
    if offset != rows_bytes || !cursor.is_empty() {
        return Err("groups do not fill their section");
    }
    Ok(groups)
}

fn parse_counts(
    cursor: &mut Cursor<'_>,
    rows: u64,
    kinds: usize,
    symbols: usize,
) -> Result<Box<[KindCount]>, &'static str> {
    const SHORT: &str = "it ends within a group";
    let count = cursor.count(3).ok_or(SHORT)?;
    let mut counts: Vec<KindCount> = Vec::with_capacity(count);
    let mut left = rows;
    for _ in 0..count {
        let below = |number: Option<u64>, bound: usize| {
            let number = number.and_then(|number| usize::try_from(number).ok());
            number
                .filter(|&number| number < bound)
                .ok_or("rows of a kind or site that the block does not have")
        };
        let kind = below(cursor.varint(), kinds)?;
        let site = below(cursor.varint(), symbols)?;
        let rows = cursor.varint().ok_or(SHORT)?;
        if counts.last().is_some_and(|last| (last.kind, last.site) >= (kind, site)) {
            return Err("the kinds and sites of a group do not ascend");
        }
        left = left.checked_sub(rows).filter(|_| rows > 0).ok_or("a group has other rows than it counts")?;
        counts.push(KindCount { kind, site, rows });
    }
    if left != 0 {
        return Err("a group has other rows than it counts");
    }
    Ok(counts.into())
}
