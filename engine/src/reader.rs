//! Reading a tenant: the capabilities that a host hands out.
//!
//! [`TenantReader`] sees metrics and raw signals; [`ReportReader`] sees reports, which are made of aggregates, and has
//! no way to name a raw signal.

use std::sync::Arc;

use annals_model::{
    Budget, Matcher, Missing, QueryLimits, SelectedSeries, SeriesSource, SignalRow, SiteName, SourceError,
    TenantId, TimeRange, Timestamp,
};
use annals_query::promql::{self, Answer, QueryError, QueryOptions};
use annals_query::report::{self, Report, ReportError, ReportRequest};
use annals_vfs::Clock;
use annals_vfs::planted::{Bug, planted};

use crate::head::{Candidates, Head};
use crate::tenant::TenantShared;
use crate::view::{Copied, View, copy_matching};

/// Reads one tenant's metrics and raw signals. Cheap to clone; never waits for a writer.
#[derive(Clone)]
pub struct TenantReader {
    id: TenantId,
    clock: Arc<dyn Clock>,
    limits: QueryLimits,
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// Of a store that is open for writing: each selection sees what is acknowledged then.
    Live(Arc<TenantShared>),
    /// Of a store that was opened read-only: what was there then.
    Snapshot(Arc<View>),
}

impl TenantReader {
    pub(crate) fn live(clock: Arc<dyn Clock>, tenant: Arc<TenantShared>) -> TenantReader {
        let id = tenant.id.clone();
        TenantReader { id, clock, limits: QueryLimits::default(), source: Source::Live(tenant) }
    }

    pub(crate) fn snapshot(clock: Arc<dyn Clock>, id: TenantId, view: View) -> TenantReader {
        let source = Source::Snapshot(Arc::new(view));
        TenantReader { id, clock, limits: QueryLimits::default(), source }
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// The same reader with other limits for each of its queries.
    #[must_use]
    pub fn with_limits(self, limits: QueryLimits) -> TenantReader {
        TenantReader { limits, ..self }
    }

    /// Evaluates a PromQL expression at one instant.
    pub fn query(&self, expression: &str, time: Timestamp) -> Result<Answer, QueryError> {
        let expr = promql::parse(expression)?;
        promql::instant(self, &expr, time, &QueryOptions::default(), &Budget::new(self.limits))
    }

    /// Evaluates a PromQL expression at `start`, then every `step_ms` up to `end`.
    pub fn query_range(
        &self,
        expression: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Answer, QueryError> {
        let expr = promql::parse(expression)?;
        let budget = Budget::new(self.limits);
        promql::range(self, &expr, start, end, step_ms, &QueryOptions::default(), &budget)
    }

    /// Hands out the raw signals in a range, day by day and in each day by time, of one kind and site where given.
    /// Returns what could not be read.
    pub fn scan_signals(
        &self,
        range: TimeRange,
        kind: Option<&str>,
        site: Option<&SiteName>,
        each: &mut dyn FnMut(&SignalRow),
    ) -> Vec<Missing> {
        let now = Timestamp(self.clock.now_ms());
        let (view, mut rows) = match &self.source {
            Source::Snapshot(view) => ((**view).clone(), Vec::new()),
            Source::Live(tenant) => {
                let data = tenant.data.read();
                (data.view(now), data.live.iter().flat_map(|head| head.rows().iter().cloned()).collect())
            }
        };
        let visible = TimeRange::new(range.start.max(view.signals_floor), range.end);
        rows.extend(view.heads.iter().flat_map(|head| head.rows().iter().cloned()));
        rows.retain(|row: &SignalRow| {
            visible.contains(row.time)
                && kind.is_none_or(|kind| *row.kind == *kind)
                && site.is_none_or(|site| row.site == *site)
        });
        let mut missing: Vec<Missing> =
            view.missing.iter().filter(|missing| missing.range.overlaps(visible)).cloned().collect();
        let mut blocks: Vec<_> = view.signal_blocks().filter(|b| b.meta.time.overlaps(visible)).collect();
        blocks.sort_by_key(|block| (block.meta.id.day, block.meta.lsns.through));
        let mut blocks = blocks.into_iter().peekable();
        rows.sort_by_key(|row| row.time);
        // Day by day: a day's rows come from several blocks and the head.
        while let Some(block) = blocks.next() {
            let day = block.meta.id.day;
            let mut day_rows = Vec::new();
            let mut scan = |block: &crate::open_block::OpenBlock| match block.signals() {
                Ok(signals) => {
                    let mut take = |row: &SignalRow| day_rows.push(row.clone());
                    signals.scan_lossy(visible, kind, site, &mut take, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                }
                Err(whole) => missing.push(whole),
            };
            scan(block);
            while let Some(next) = blocks.next_if(|next| next.meta.id.day == day) {
                scan(next);
            }
            let of_head = rows.partition_point(|row| row.time <= day.end());
            day_rows.extend(rows.drain(..of_head));
            day_rows.sort_by_key(|row| row.time);
            day_rows.iter().for_each(&mut *each);
        }
        rows.iter().for_each(each);
        if planted(Bug::DamageNotReported) {
            missing.clear();
        }
        missing
    }
}

impl SeriesSource for TenantReader {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let now = Timestamp(self.clock.now_ms());
        let (view, live) = match &self.source {
            Source::Snapshot(view) => ((**view).clone(), Vec::new()),
            Source::Live(tenant) => {
                // Which series match is found before the head is kept from taking records.
                let tables: Vec<_> = tenant.data.read().live.iter().map(Head::searchable).collect();
                let search = |(table, series): &(_, usize)| Head::search(table, *series, matchers);
                let candidates: Vec<Candidates> = tables.iter().map(search).collect();
                // Both under one look: a flush in between would show data twice or not at all.
                let data = tenant.data.read();
                let view = data.view(now);
                let visible = view.visible(range);
                let live = data
                    .live
                    .iter()
                    .map(|head| copy_matching(head, matchers, visible, &candidates, budget))
                    .collect::<Result<Vec<Copied>, _>>()?;
                (view, live)
            }
        };
        let mut selecting = view.select(matchers, range, budget)?;
        for copied in live {
            selecting.add_copied(copied, budget)?;
        }
        Ok(Box::new(selecting.finish()))
    }
}

impl std::fmt::Debug for TenantReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TenantReader({})", self.id)
    }
}

/// Makes reports of one tenant. It cannot name a raw signal:
///
/// ```compile_fail
/// fn leak(reports: &annals::ReportReader) {
///     reports.scan_signals(annals::TimeRange::ALL, None, None, &mut |_| {});
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ReportReader {
    reader: TenantReader,
}

impl ReportReader {
    pub(crate) fn new(reader: TenantReader) -> ReportReader {
        ReportReader { reader }
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        self.reader.id()
    }

    /// One site's week. The same request on the same data gives the same bytes.
    pub fn report(&self, request: &ReportRequest) -> Result<Report, ReportError> {
        report::build(&self.reader, request, &Budget::new(self.reader.limits))
    }

    /// The sites that have had signals in a range.
    pub fn sites(&self, range: TimeRange) -> Result<Vec<String>, SourceError> {
        let matchers = [Matcher::equal(annals_model::METRIC_NAME, "signals")];
        self.reader.label_values("site", &matchers, range, &Budget::new(self.reader.limits))
    }
}
