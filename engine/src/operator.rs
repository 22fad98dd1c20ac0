//! Reading as somebody who is not the tenant.

use std::sync::Arc;

use annals_model::schema::KindSchema;
use annals_model::{
    Budget, Matcher, Missing, QueryLimits, SelectedSeries, SeriesSource, SignalRow, SourceError, TenantId,
    TimeRange, Timestamp,
};
use annals_query::promql::{Answer, Explanation, Expr, QueryError, QueryOptions, Times};
use annals_query::report::{Report, ReportError, ReportRequest, Scope};

use crate::audit::{AuditError, AuditLog, Operator};
use crate::reader::{CountedSignals, ReportReader, TenantReader};

/// Reads one tenant's metrics and raw signals for an [`Operator`]. Each call is written into the audit log before it reads;
/// where that fails, nothing is read. It cannot be turned into a reader that does not write.
#[derive(Clone)]
pub struct OperatorReader {
    reader: TenantReader,
    operator: Operator,
    audit: Arc<AuditLog>,
}

/// Why an operator got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError<E> {
    /// It could not be written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It is written down, and could not be answered.
    #[error(transparent)]
    Read(E),
}

impl OperatorReader {
    pub(crate) fn new(reader: TenantReader, operator: Operator, audit: Arc<AuditLog>) -> OperatorReader {
        OperatorReader { reader, operator, audit }
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        self.reader.id()
    }

    /// The same reader with other limits and options for each of its queries.
    #[must_use]
    pub fn with(self, limits: QueryLimits, options: QueryOptions) -> OperatorReader {
        OperatorReader { reader: self.reader.with_limits(limits).with_options(options), ..self }
    }

    /// What one query may use, its time running from now on.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.reader.budget()
    }

    /// [`TenantReader::answer`].
    pub fn answer(
        &self,
        expr: &Expr,
        times: Times,
        budget: &Budget,
    ) -> Result<Answer, OperatorError<QueryError>> {
        match times {
            Times::Instant(time) => self.write("query", &format!("{expr} at {time}"))?,
            Times::Range { start, end, step_ms } => {
                self.write("range", &format!("{expr} from {start} to {end} every {step_ms} ms"))?;
            }
        }
        self.reader.answer(expr, times, budget).map_err(OperatorError::Read)
    }

    /// [`TenantReader::query`].
    pub fn query(&self, expression: &str, time: Timestamp) -> Result<Answer, OperatorError<QueryError>> {
        self.write("query", &format!("{expression} at {time}"))?;
        self.reader.query(expression, time).map_err(OperatorError::Read)
    }

    /// [`TenantReader::query_range`].
    pub fn query_range(
        &self,
        expression: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Answer, OperatorError<QueryError>> {
        self.write("range", &format!("{expression} from {start} to {end} every {step_ms} ms"))?;
        self.reader.query_range(expression, start, end, step_ms).map_err(OperatorError::Read)
    }

    /// [`TenantReader::explain`].
    pub fn explain(
        &self,
        expression: &str,
        times: Times,
        analyze: bool,
    ) -> Result<Explanation, OperatorError<QueryError>> {
        self.write("explain", expression)?;
        self.reader.explain(expression, times, analyze).map_err(OperatorError::Read)
    }

    /// [`TenantReader::scan_signals`].
    pub fn scan_signals(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        each: &mut dyn FnMut(&SignalRow),
    ) -> Result<Vec<Missing>, AuditError> {
        self.write("signals", &selection(range, matchers))?;
        Ok(self.reader.scan_signals(range, matchers, each))
    }

    /// [`TenantReader::scan_signals_with_kinds`].
    pub fn scan_signals_with_kinds(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        each: &mut dyn FnMut(&[Arc<KindSchema>], &SignalRow),
    ) -> Result<Vec<Missing>, AuditError> {
        self.write("signals", &selection(range, matchers))?;
        Ok(self.reader.scan_signals_with_kinds(range, matchers, each))
    }

    /// [`TenantReader::count_signals`].
    pub fn count_signals(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
    ) -> Result<CountedSignals, AuditError> {
        self.write("count", &selection(range, matchers))?;
        Ok(self.reader.count_signals(range, matchers))
    }

    /// [`ReportReader::report`].
    pub fn report(&self, request: &ReportRequest) -> Result<Report, OperatorError<ReportError>> {
        let sites = match &request.scope {
            Scope::Site(site) => site.as_str(),
            Scope::Tenant => "all sites",
        };
        self.write("report", &format!("{sites}, the {} of {}", request.span.noun(), request.of))?;
        ReportReader::new(self.reader.clone()).report(request).map_err(OperatorError::Read)
    }

    /// [`ReportReader::sites`].
    pub fn sites(&self, range: TimeRange) -> Result<Vec<String>, OperatorError<SourceError>> {
        self.write("sites", &selection(range, &[]))?;
        ReportReader::new(self.reader.clone()).sites(range).map_err(OperatorError::Read)
    }

    /// Writes down that something of the tenant is looked at which this reader does not read itself, as what is kept of it
    /// and until when. A host does so before it shows it.
    pub fn note(&self, what: &str) -> Result<(), AuditError> {
        self.write("note", what)
    }

    fn write(&self, action: &str, what: &str) -> Result<(), AuditError> {
        self.audit.write(&self.operator, self.reader.id(), action, what)
    }
}

/// Series, labels and samples as they are, not as answers of queries. Each selection is written down before it is made.
impl SeriesSource for OperatorReader {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let written = self.write("series", &selection(range, matchers));
        written.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        self.reader.select(matchers, range, budget)
    }

    fn select_labels<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let written = self.write("series", &selection(range, matchers));
        written.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        self.reader.select_labels(matchers, range, budget)
    }
}

impl std::fmt::Debug for OperatorReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorReader({}, {:?})", self.reader.id(), self.operator)
    }
}

fn selection(range: TimeRange, matchers: &[Matcher]) -> String {
    let matchers: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}} {range}", matchers.join(", "))
}
