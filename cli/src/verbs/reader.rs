//! Who reads: the tenant, or an operator, whose every question is written down before it is answered.

use std::sync::Arc;

use annals::query::promql::{Answer, Explanation, QueryError, Times};
use annals::query::report::{Report, ReportRequest};
use annals::schema::KindSchema;
use annals::{
    CountedSignals, LimitExceeded, Matcher, Missing, Operator, OperatorError, OperatorReader, ReadOnly,
    ReportReader, SeriesSource, SignalRow, SiteName, TenantId, TenantReader, TimeRange,
};

use crate::access::Reading;
use crate::args::OperatorArgs;
use crate::error::CliError;

/// Reads one tenant.
pub(crate) enum Reader {
    /// As the tenant.
    Tenant(TenantReader),
    /// As an operator.
    Operator(OperatorReader),
}

impl Reader {
    /// The reader that was asked for.
    pub(crate) fn of(reading: &Reading, who: &OperatorArgs) -> Result<Reader, CliError> {
        Reader::open(&reading.store, &reading.tenant.id, who)
    }

    /// The same for a tenant of a store.
    pub(crate) fn open(store: &ReadOnly, tenant: &TenantId, who: &OperatorArgs) -> Result<Reader, CliError> {
        match operator(who)? {
            None => store.tenant(tenant).map(Reader::Tenant),
            Some(operator) => store.operator_reader(tenant, operator).map(Reader::Operator),
        }
        .map_err(CliError::failed)
    }

    /// Series and samples as they are.
    pub(crate) fn source(&self) -> &dyn SeriesSource {
        match self {
            Reader::Tenant(reader) => reader,
            Reader::Operator(reader) => reader,
        }
    }

    /// Answers a question.
    pub(crate) fn ask(&self, expression: &str, times: Times) -> Result<Answer, CliError> {
        let answer = match (self, times) {
            (Reader::Tenant(reader), Times::Instant(at)) => {
                reader.query(expression, at).map_err(OperatorError::Read)
            }
            (Reader::Tenant(reader), Times::Range { start, end, step_ms }) => {
                reader.query_range(expression, start, end, step_ms).map_err(OperatorError::Read)
            }
            (Reader::Operator(reader), Times::Instant(at)) => reader.query(expression, at),
            (Reader::Operator(reader), Times::Range { start, end, step_ms }) => {
                reader.query_range(expression, start, end, step_ms)
            }
        };
        answer.map_err(|error| read_error(error, expression))
    }

    /// Says how a question is answered.
    pub(crate) fn explain(
        &self,
        expression: &str,
        times: Times,
        analyze: bool,
    ) -> Result<Explanation, CliError> {
        let explained = match self {
            Reader::Tenant(reader) => reader.explain(expression, times, analyze).map_err(OperatorError::Read),
            Reader::Operator(reader) => reader.explain(expression, times, analyze),
        };
        explained.map_err(|error| read_error(error, expression))
    }

    /// Hands out raw signals by time, each with kinds among which its own is.
    pub(crate) fn signals(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        each: &mut dyn FnMut(&[Arc<KindSchema>], &SignalRow),
    ) -> Result<Vec<Missing>, CliError> {
        match self {
            Reader::Tenant(reader) => Ok(reader.scan_signals_with_kinds(range, matchers, each)),
            Reader::Operator(reader) => {
                reader.scan_signals_with_kinds(range, matchers, each).map_err(CliError::failed)
            }
        }
    }

    /// Counts raw signals by kind and site.
    pub(crate) fn count_signals(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> Result<CountedSignals, CliError> {
        match self {
            Reader::Tenant(reader) => Ok(reader.count_signals(range, matchers)),
            Reader::Operator(reader) => reader.count_signals(range, matchers).map_err(CliError::failed),
        }
    }

    /// What may be looked up besides, to help with a question: nothing that would have to be written down.
    pub(crate) fn helper(&self) -> Option<&TenantReader> {
        match self {
            Reader::Tenant(reader) => Some(reader),
            Reader::Operator(_) => None,
        }
    }
}

/// Reads reports of one tenant.
pub(crate) enum Reports {
    /// As the tenant: aggregates only.
    Tenant(ReportReader),
    /// As an operator.
    Operator(OperatorReader),
}

impl Reports {
    /// The reader that was asked for.
    pub(crate) fn open(store: &ReadOnly, tenant: &TenantId, who: &OperatorArgs) -> Result<Reports, CliError> {
        match operator(who)? {
            None => store.report_reader(tenant).map(Reports::Tenant),
            Some(operator) => store.operator_reader(tenant, operator).map(Reports::Operator),
        }
        .map_err(CliError::failed)
    }

    /// The tenant.
    pub(crate) fn tenant(&self) -> &TenantId {
        match self {
            Reports::Tenant(reader) => reader.id(),
            Reports::Operator(reader) => reader.id(),
        }
    }

    /// Makes a report.
    pub(crate) fn report(&self, request: &ReportRequest) -> Result<Report, CliError> {
        match self {
            Reports::Tenant(reader) => reader.report(request).map_err(CliError::failed),
            Reports::Operator(reader) => reader.report(request).map_err(CliError::failed),
        }
    }

    /// Makes a report of each of these sites; `like` says all but the site.
    pub(crate) fn site_reports(
        &self,
        like: &ReportRequest,
        sites: &[SiteName],
    ) -> Vec<Result<Report, CliError>> {
        match self {
            Reports::Tenant(reader) => reader
                .site_reports(like, sites)
                .into_iter()
                .map(|made| made.map_err(CliError::failed))
                .collect(),
            // Each is written down by itself.
            Reports::Operator(_) => sites.iter().map(|site| self.report(&like.of_site(site))).collect(),
        }
    }

    /// The sites that sent signals in a range.
    pub(crate) fn sites(&self, range: TimeRange) -> Result<Vec<String>, CliError> {
        match self {
            Reports::Tenant(reader) => reader.sites(range).map_err(CliError::failed),
            Reports::Operator(reader) => reader.sites(range).map_err(CliError::failed),
        }
    }
}

/// The operator who reads, where it is not the tenant.
pub(crate) fn operator(who: &OperatorArgs) -> Result<Option<Operator>, CliError> {
    let (Some(name), Some(reason)) = (&who.operator, &who.reason) else { return Ok(None) };
    Operator::new(name, reason).map(Some).map_err(CliError::usage)
}

fn read_error(error: OperatorError<QueryError>, expression: &str) -> CliError {
    match error {
        OperatorError::Read(QueryError::Promql(error)) => CliError::Rendered(error.render(expression)),
        OperatorError::Read(QueryError::Times(what)) => CliError::usage(what),
        OperatorError::Read(QueryError::Limit(limit @ LimitExceeded::Over { what: "steps", .. })) => {
            CliError::failed(limit).help("a longer --step, or a shorter range")
        }
        other => CliError::failed(other),
    }
}
