//! Reading a tenant: the capabilities that a host hands out.
//!
//! [`TenantReader`] sees metrics and raw signals; [`ReportReader`] sees reports, which are made of aggregates, and has
//! no way to name a raw signal.

use std::sync::Arc;
use std::time::Duration;

use annals_model::schema::{KindSchema, SignalSchema};
use annals_model::{
    Budget, Matcher, QueryLimits, SelectedSeries, SeriesSource, SiteName, SourceError, TenantId, TimeRange,
    Timestamp,
};
use annals_query::promql::{self, Answer, Explanation, Expr, QueryError, QueryOptions, Times};
use annals_query::report::{self, Report, ReportError, ReportRequest, SnapshotDay};
use annals_vfs::Clock;

mod signals;

pub use signals::CountedSignals;

use crate::counters::{Counters, nanos};
use crate::head::{Candidates, Head};
use crate::read_only::Erasable;
use crate::tenant::TenantShared;
use crate::view::{Copied, Selected, View, Wanted, copy_matching};

/// A query that takes longer is counted and traced by itself.
const SLOW_QUERY: Duration = Duration::from_secs(1);

/// Reads one tenant's metrics and raw signals. Cheap to clone; never waits for a writer.
#[derive(Clone)]
pub struct TenantReader {
    id: TenantId,
    clock: Arc<dyn Clock>,
    limits: QueryLimits,
    schema: Arc<SignalSchema>,
    options: QueryOptions,
    counters: Arc<Counters>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// Of a store that is open for writing: each selection sees what is acknowledged then.
    Live(Arc<TenantShared>),
    /// Of a store that was opened read-only: what was there then, unless the tenant was erased since.
    Snapshot(Arc<View>, Arc<Erasable>),
}

impl TenantReader {
    pub(crate) fn live(
        clock: Arc<dyn Clock>,
        schema: Arc<SignalSchema>,
        tenant: Arc<TenantShared>,
        counters: Arc<Counters>,
    ) -> TenantReader {
        let id = tenant.id.clone();
        TenantReader {
            id,
            clock,
            limits: QueryLimits::default(),
            options: QueryOptions::default(),
            schema,
            counters,
            source: Source::Live(tenant),
        }
    }

    pub(crate) fn snapshot(
        clock: Arc<dyn Clock>,
        schema: Arc<SignalSchema>,
        id: TenantId,
        view: View,
        erasable: Arc<Erasable>,
    ) -> TenantReader {
        let source = Source::Snapshot(Arc::new(view), erasable);
        TenantReader {
            id,
            clock,
            limits: QueryLimits::default(),
            options: QueryOptions::default(),
            schema,
            counters: Arc::default(),
            source,
        }
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// The kinds of signals that the host knows.
    pub(crate) fn schema_kinds(&self) -> &[Arc<KindSchema>] {
        &self.schema.kinds
    }

    /// The same reader with other limits for each of its queries.
    #[must_use]
    pub fn with_limits(self, limits: QueryLimits) -> TenantReader {
        TenantReader { limits, ..self }
    }

    /// The same reader with other options for each of its queries, as how many threads read series at the same time.
    #[must_use]
    pub fn with_options(self, options: QueryOptions) -> TenantReader {
        TenantReader { options, ..self }
    }

    /// What one query may use, its time running from now on.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let clock = self.clock.clone();
        // Not the wall clock, whose jumps would end queries or let them run for ever. Saturates after ages.
        let now_ms = move || i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX);
        Budget::new(self.limits).with_clock(Box::new(now_ms))
    }

    /// Evaluates a PromQL expression at one instant.
    pub fn query(&self, expression: &str, time: Timestamp) -> Result<Answer, QueryError> {
        self.answer(&self.parsed(expression)?, Times::Instant(time), &self.budget())
    }

    /// Evaluates a PromQL expression at `start`, then every `step_ms` up to `end`.
    pub fn query_range(
        &self,
        expression: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Answer, QueryError> {
        self.answer(&self.parsed(expression)?, Times::Range { start, end, step_ms }, &self.budget())
    }

    /// A query that cannot be read has failed, too.
    fn parsed(&self, expression: &str) -> Result<Expr, QueryError> {
        Ok(promql::parse(expression).inspect_err(|_| self.counters.queries_failed.add(1))?)
    }

    /// Evaluates a PromQL expression that was parsed before, within a budget by which it can be cancelled.
    pub fn answer(&self, expr: &Expr, times: Times, budget: &Budget) -> Result<Answer, QueryError> {
        let _span = tracing::debug_span!("query", tenant = self.id.as_str()).entered();
        let (since, counters) = (self.clock.monotonic(), &self.counters);
        let answer = match times {
            Times::Instant(time) => promql::instant(self, expr, time, &self.options, budget),
            Times::Range { start, end, step_ms } => {
                promql::range(self, expr, start, end, step_ms, &self.options, budget)
            }
        };
        let took = self.clock.monotonic().saturating_sub(since);
        if answer.is_ok() { &counters.queries } else { &counters.queries_failed }.add(1);
        counters.query_samples.add(budget.samples());
        counters.query_nanos.add(nanos(took));
        if took >= SLOW_QUERY {
            counters.queries_slow.add(1);
            let (samples, took_ms) = (budget.samples(), took.as_secs_f64() * 1e3);
            tracing::warn!(samples, took_ms, answered = answer.is_ok(), "slow query");
        }
        answer
    }

    /// Explains how a PromQL expression is answered; with `analyze`, which evaluates it too, what each part takes.
    pub fn explain(&self, expression: &str, times: Times, analyze: bool) -> Result<Explanation, QueryError> {
        let expr = promql::parse(expression)?;
        // Saturates after 584 years.
        let clock = || u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        let clock = analyze.then_some(&clock as &dyn Fn() -> u64);
        promql::explain(self, &expr, times, &self.options, &self.budget(), clock)
    }
}

impl TenantReader {
    /// Selects series, and says what the UTC days of the range are at that moment.
    fn look(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        wanted: Wanted,
        budget: &Budget,
    ) -> Result<(Selected, Vec<SnapshotDay>), SourceError> {
        let now = Timestamp(self.clock.now_ms());
        let (view, live) = match &self.source {
            Source::Snapshot(view, erasable) => (erasable.see(view), Vec::new()),
            Source::Live(tenant) => {
                // Which series match is found before the head is kept from taking records.
                let tables: Vec<_> = tenant.data.read().live.iter().map(Head::searchable).collect();
                let search = |(table, series): &(_, usize)| Head::search(table, *series, matchers);
                let candidates: Vec<Candidates> = tables.iter().map(search).collect();
                // Both under one look: a flush in between would show data twice or not at all.
                let data = tenant.data.read();
                let view = data.view(now);
                let needed = view.tiers.needed(range);
                let live = data
                    .live
                    .iter()
                    .map(|head| copy_matching(head, matchers, (needed, wanted), &candidates, budget))
                    .collect::<Result<Vec<Copied>, _>>()?;
                (view, live)
            }
        };
        let days = view.tiers.days(view.blocks.iter().map(|block| &block.meta)).states(range, now);
        let mut selecting = view.select(matchers, range, wanted, budget)?;
        for copied in live {
            selecting.add_copied(copied);
        }
        Ok((selecting.finish(budget)?, days))
    }
}

impl SeriesSource for TenantReader {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let (selected, _) = self.look(matchers, range, Wanted::Samples, budget)?;
        Ok(Box::new(selected))
    }

    fn select_labels<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let (selected, _) = self.look(matchers, range, Wanted::Labels, budget)?;
        Ok(Box::new(selected))
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
///     reports.scan_signals(annals::TimeRange::ALL, &[], &mut |_| {});
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ReportReader {
    reader: TenantReader,
}

impl ReportReader {
    /// [`ReportReader::site_reports`] makes those of so many sites of one look: threads that share work take this much.
    pub const SITES_TOGETHER: usize = 32;

    pub(crate) fn new(reader: TenantReader) -> ReportReader {
        ReportReader { reader }
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        self.reader.id()
    }

    /// A day, week or month of a site, or of all sites. It is made of one look at the data, which its snapshot names: the
    /// same request on the same snapshot gives the same bytes.
    pub fn report(&self, request: &ReportRequest) -> Result<Report, ReportError> {
        let budget = self.reader.budget();
        let (matchers, range) = request.selection()?;
        let (selected, days) = self
            .reader
            .look(&matchers, range, Wanted::Samples, &budget)
            .map_err(|error| ReportError::Exact(error.into()))?;
        report::build(request, &selected, &days, &budget)
    }

    /// What [`ReportReader::report`] makes of each of these sites, in their order; `like` says all but the site.
    ///
    /// Sites beside each other in the order of their names cost far less so than one by one.
    pub fn site_reports(&self, like: &ReportRequest, sites: &[SiteName]) -> Vec<Result<Report, ReportError>> {
        let alone = |site: &SiteName| self.report(&like.of_site(site));
        let groups =
            sites.chunks(ReportReader::SITES_TOGETHER).map(|sites| match self.together(like, sites) {
                // What is missing is told of the site that misses it.
                Ok(reports) if reports.iter().all(|report| report.coverage.missing.is_empty()) => {
                    reports.into_iter().map(Ok).collect()
                }
                // One site's trouble, or that all of them are too much, is not that of each.
                _ => sites.iter().map(alone).collect::<Vec<_>>(),
            });
        groups.flatten().collect()
    }

    /// A report of each of few sites, of one look at the data.
    fn together(&self, like: &ReportRequest, sites: &[SiteName]) -> Result<Vec<Report>, ReportError> {
        let budget = self.reader.budget();
        let (matchers, range) = like.selection_of_sites(sites)?;
        let looked = self.reader.look(&matchers, range, Wanted::Samples, &budget);
        let (selected, days) = looked.map_err(|error| ReportError::Exact(error.into()))?;
        report::build_sites(like, sites, &selected, &days, &budget)
    }

    /// The sites that have had signals in a range.
    pub fn sites(&self, range: TimeRange) -> Result<Vec<String>, SourceError> {
        let matchers = [Matcher::equal(annals_model::METRIC_NAME, "signals")];
        let selected = self.reader.select_labels(&matchers, range, &self.reader.budget())?;
        Ok(selected.label_values("site"))
    }
}
