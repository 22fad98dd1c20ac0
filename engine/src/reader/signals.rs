//! Raw signals of a tenant: found and counted in its blocks and heads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use annals_block::{LostRows, SignalBlock, SignalCounts, SignalScan};
use annals_model::schema::KindSchema;
use annals_model::{Matcher, Missing, SignalRow, SiteName, TimeRange, Timestamp};
use annals_vfs::planted::{Bug, planted};

use super::{Source, TenantReader};
use crate::view::View;

/// How many raw signals of a kind and a site there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedSignals {
    /// By kind and site; none is zero.
    pub rows: BTreeMap<(Arc<str>, SiteName), u64>,
    /// What could not be counted.
    pub missing: Vec<Missing>,
}

/// What was seen of a tenant's raw signals at one moment.
struct Seen {
    /// Keeps the blocks from being removed.
    view: View,
    /// The times that are still to be seen.
    visible: TimeRange,
    /// Rows that are in no block, of these times, by time.
    rows: Vec<SignalRow>,
    missing: Vec<Missing>,
    /// By day; of a day, those with older data first.
    blocks: Vec<Arc<SignalBlock>>,
}

impl TenantReader {
    /// Hands out the raw signals in a range that satisfy all matchers ([`SignalRow::matches`] says how), by time, those of
    /// one instant in order of arrival. Returns what could not be read.
    ///
    /// ```
    /// # fn failures(reader: &annals::TenantReader) -> Result<(), annals::InvalidMatcher> {
    /// use annals::{MatchOp, Matcher, TimeRange};
    /// let failures = [
    ///     Matcher::equal("kind", "auth.attempt"),
    ///     Matcher::equal("result", "failure"),
    ///     Matcher::new("site", MatchOp::Regex, "shop.*")?,
    /// ];
    /// let missing = reader.scan_signals(TimeRange::ALL, &failures, &mut |row| println!("{} {}", row.time, row.site));
    /// missing.iter().for_each(|missing| eprintln!("{}", missing.why));
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_signals(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        each: &mut dyn FnMut(&SignalRow),
    ) -> Vec<Missing> {
        self.scan_signals_with_kinds(range, matchers, &mut |_, row| each(row))
    }

    /// The same, each with kinds among which its own is: as its block describes it, which may hold kinds that this host does
    /// not know.
    pub fn scan_signals_with_kinds(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        each: &mut dyn FnMut(&[Arc<KindSchema>], &SignalRow),
    ) -> Vec<Missing> {
        let Seen { view: _pinned, visible, rows, mut missing, blocks } = self.see_signals(range, matchers);
        let (mut rows, known) = (rows.into_iter().peekable(), self.schema_kinds());
        // Day by day: a day's rows come from several blocks and the head.
        for of_day in blocks.chunk_by(|a, b| a.meta().id.day == b.meta().id.day) {
            let end = of_day.first().map_or(Timestamp::MIN, |block| block.meta().id.day.end());
            let mut scans = Vec::with_capacity(of_day.len());
            let mut kinds = Vec::with_capacity(of_day.len());
            for block in of_day {
                match block.scan(visible, matchers).and_then(|scan| Ok((scan, block.kinds()?))) {
                    Ok((scan, of_block)) => {
                        scans.push(scan);
                        kinds.push(of_block);
                    }
                    Err(error) => missing.push(Missing {
                        range: block.meta().time.intersect(visible),
                        why: error.to_string(),
                    }),
                }
            }
            merge(scans, &mut missing, &mut |at, row| {
                // At one instant, what is in no block came later.
                while let Some(of_head) = rows.next_if(|of_head| of_head.time < row.time) {
                    each(known, &of_head);
                }
                each(kinds.get(at).copied().unwrap_or_default(), row);
            });
            while let Some(of_head) = rows.next_if(|of_head| of_head.time <= end) {
                each(known, &of_head);
            }
        }
        rows.for_each(|row| each(known, &row));
        told(missing)
    }

    /// Counts the same signals, by kind and site. Whole groups of rows are counted without reading them, unless a matcher
    /// looks at their fields.
    pub fn count_signals(&self, range: TimeRange, matchers: &[Matcher]) -> CountedSignals {
        let Seen { view: _pinned, visible, rows, mut missing, blocks } = self.see_signals(range, matchers);
        let mut counts = SignalCounts::default();
        for row in rows {
            *counts.rows.entry((row.kind, row.site)).or_default() += 1;
        }
        for block in blocks {
            if let Err(error) = block.count(visible, matchers, &mut counts) {
                let range = block.meta().time.intersect(visible);
                missing.push(Missing { range, why: error.to_string() });
            }
        }
        missing.extend(counts.lost.into_iter().map(lost));
        CountedSignals { rows: counts.rows, missing: told(missing) }
    }

    fn see_signals(&self, range: TimeRange, matchers: &[Matcher]) -> Seen {
        let now = Timestamp(self.clock.now_ms());
        let is_wanted = |visible: TimeRange, row: &SignalRow| {
            visible.contains(row.time)
                && self.schema.kind(&row.kind).is_some_and(|kind| row.matches(kind, matchers))
        };
        let visible = |view: &View| TimeRange::new(range.start.max(view.signals_floor), range.end);
        let (view, mut rows) = match &self.source {
            Source::Snapshot(view, erasable) => (erasable.see(view), Vec::new()),
            Source::Live(tenant) => {
                let data = tenant.data.read();
                let view = data.view(now);
                let visible = visible(&view);
                let live = data.live.iter().flat_map(|head| head.rows());
                let rows: Vec<SignalRow> = live.filter(|row| is_wanted(visible, row)).cloned().collect();
                (view, rows)
            }
        };
        let visible = visible(&view);
        let of_heads = view.heads.iter().flat_map(|head| head.rows());
        rows.extend(of_heads.filter(|row| is_wanted(visible, row)).cloned());
        rows.sort_by_key(|row| row.time);
        let mut missing: Vec<Missing> =
            view.missing.iter().filter(|missing| missing.range.overlaps(visible)).cloned().collect();
        let mut entries: Vec<_> = view.signal_blocks().filter(|b| b.meta.time.overlaps(visible)).collect();
        entries.sort_by_key(|block| (block.meta.id.day, block.meta.lsns.through));
        let mut blocks = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.signals() {
                Ok(block) => blocks.push(block),
                Err(whole) => missing.push(whole),
            }
        }
        Seen { view, visible, rows, missing, blocks }
    }
}

/// Hands out the rows of some blocks by time, each with its block's position, of one instant those of the block first that stands first.
fn merge(
    mut scans: Vec<SignalScan<'_>>,
    missing: &mut Vec<Missing>,
    each: &mut dyn FnMut(usize, &SignalRow),
) {
    let mut next_of = |scan: &mut SignalScan<'_>| {
        loop {
            match scan.next() {
                Some(Err(damaged)) => missing.push(lost(damaged)),
                Some(Ok(row)) => return Some(row),
                None => return None,
            }
        }
    };
    let mut heap = BinaryHeap::with_capacity(scans.len());
    let mut firsts = Vec::with_capacity(scans.len());
    for (at, scan) in scans.iter_mut().enumerate() {
        let first = next_of(scan);
        heap.extend(first.as_ref().map(|row| Reverse((row.time, at))));
        firsts.push(first);
    }
    while let Some(Reverse((_, at))) = heap.pop() {
        let (Some(scan), Some(first)) = (scans.get_mut(at), firsts.get_mut(at)) else { continue };
        if let Some(row) = std::mem::replace(first, next_of(scan)) {
            each(at, &row);
        }
        heap.extend(first.as_ref().map(|row| Reverse((row.time, at))));
    }
}

fn lost(rows: LostRows) -> Missing {
    Missing { range: rows.range, why: rows.error.to_string() }
}

fn told(missing: Vec<Missing>) -> Vec<Missing> {
    if planted(Bug::DamageNotReported) { Vec::new() } else { missing }
}
