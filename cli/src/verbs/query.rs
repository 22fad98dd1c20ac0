//! `query` and `range`: PromQL answers, and where the data is when there is none.

use annals::query::promql::{Answer, QueryError};
use annals::{Operator, OperatorError, TenantSummary, TimeRange, Timestamp};

use crate::access;
use crate::args::{OperatorArgs, QueryArgs, RangeArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Screen, answer};
use crate::times::{print_span, round_step};

/// How far back an instant query looks, as in Prometheus.
const LOOKBACK_MS: i64 = 5 * annals::MINUTE_MS;
/// The range where none is given.
const LAST_MS: i64 = annals::HOUR_MS;
/// About as many points as a chart can show.
const POINTS: i64 = 250;

/// Answers for one instant.
pub(crate) fn instant(args: &QueryArgs, screen: &mut Screen) -> Outcome {
    let now = access::now();
    let at = args.at.resolve(now);
    let reading = access::read(&args.tenant)?;
    let found = match operator(&args.operator)? {
        None => {
            let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
            reader.query(&args.expression, at).map_err(OperatorError::Read)
        }
        Some(operator) => {
            let reader = reading.store.operator_reader(&reading.tenant.id, operator);
            reader.map_err(CliError::failed)?.query(&args.expression, at)
        }
    };
    let found = found.map_err(|error| read_error(error, &args.expression))?;
    say(&found, &args.expression, reading.store.findings());
    if answer::is_empty(&found.value) {
        let seen = TimeRange::new(at.saturating_add(-LOOKBACK_MS), at);
        note_where_data_is(&reading.tenant, seen, "--at");
    }
    let range = TimeRange::new(at.saturating_add(-LOOKBACK_MS), at);
    answer::write(screen, &found, screen.answer_form(args.output), range)?;
    Ok(0)
}

/// Answers for every step of a range.
pub(crate) fn range(args: &RangeArgs, screen: &mut Screen) -> Outcome {
    let (start, end) = args.time.resolve(access::now(), LAST_MS);
    if start > end {
        return Err(CliError::usage(format_args!("the range ends before it starts: {start} to {end}"))
            .help("swap --start and --end"));
    }
    let length_ms = end.0.saturating_sub(start.0);
    let step_ms = args.step.unwrap_or_else(|| round_step(length_ms, POINTS));
    // Steps that nobody chose fall on round times, so that two calls show the same points.
    let start = match args.step {
        Some(_) => start,
        None => Timestamp(start.0.saturating_add(step_ms - 1).div_euclid(step_ms).saturating_mul(step_ms))
            .min(end),
    };
    let reading = access::read(&args.tenant)?;
    let found = match operator(&args.operator)? {
        None => {
            let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
            reader.query_range(&args.expression, start, end, step_ms).map_err(OperatorError::Read)
        }
        Some(operator) => {
            let reader = reading.store.operator_reader(&reading.tenant.id, operator);
            reader.map_err(CliError::failed)?.query_range(&args.expression, start, end, step_ms)
        }
    };
    let found = found.map_err(|error| read_error(error, &args.expression))?;
    say(&found, &args.expression, reading.store.findings());
    if answer::is_empty(&found.value) {
        note_where_data_is(&reading.tenant, TimeRange::new(start.saturating_add(-LOOKBACK_MS), end), "--end");
    } else if args.step.is_none() && screen.terminal() {
        eprintln!("note: a point every {}; another with --step", print_span(step_ms));
    }
    answer::write(screen, &found, screen.answer_form(args.output), TimeRange::new(start, end))?;
    Ok(0)
}

/// Who reads, where it is not the tenant.
fn operator(args: &OperatorArgs) -> Result<Option<Operator>, CliError> {
    let (Some(name), Some(reason)) = (&args.operator, &args.reason) else { return Ok(None) };
    Operator::new(name, reason).map(Some).map_err(CliError::usage)
}

fn read_error(error: OperatorError<QueryError>, expression: &str) -> CliError {
    match error {
        OperatorError::Read(error) => query_error(error, expression),
        unwritten => CliError::failed(unwritten),
    }
}

/// An error of a query, with the place in it where that is known.
pub(crate) fn query_error(error: QueryError, expression: &str) -> CliError {
    match error {
        QueryError::Promql(error) => CliError::Rendered(error.render(expression)),
        QueryError::Times(what) => CliError::usage(what),
        other => CliError::failed(other),
    }
}

/// Says what an answer lacks, on standard error.
fn say(answer: &Answer, expression: &str, findings: &[String]) {
    for finding in findings {
        eprintln!("warning: {finding}");
    }
    for warning in &answer.warnings {
        eprintln!("warning: {}", warning.render(expression));
    }
    for info in &answer.infos {
        eprintln!("note: {}", info.render(expression));
    }
}

/// Where an answer is empty: says where the tenant's data is, and which flag leads there.
pub(crate) fn note_where_data_is(tenant: &TenantSummary, seen: TimeRange, flag: &str) {
    let name = &tenant.id;
    match (tenant.earliest, tenant.latest) {
        (Some(_), Some(latest)) if latest <= seen.start => {
            // The next full minute is easier to type and misses nothing.
            let minute = annals::MINUTE_MS;
            let round =
                Timestamp(latest.0.saturating_add(minute - 1).div_euclid(minute).saturating_mul(minute));
            eprintln!(
                "note: nothing there: the data of tenant `{name}` ends at {latest}; try {flag} {round}"
            );
        }
        (Some(earliest), Some(_)) if earliest > seen.end => {
            eprintln!(
                "note: nothing there: the data of tenant `{name}` starts at {earliest}; try a later {flag}"
            );
        }
        (Some(earliest), Some(latest)) => {
            eprintln!(
                "note: no series there satisfies the query; tenant `{name}` has data from {earliest} to {latest}, \
                 and `annals series` lists it"
            );
        }
        _ => eprintln!(
            "note: tenant `{name}` has no metrics yet; `annals import --help` shows how to get some"
        ),
    }
}
