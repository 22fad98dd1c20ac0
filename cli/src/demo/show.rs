//! What the demo came to: numbers, two charts, the report's summary, and commands that work as they are pasted.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::query::promql::Value;
use annals::query::report::{ReportRequest, Scope, Span as ReportSpan};
use annals::{HOUR_MS, ReadOnly, SiteName, TenantSummary, TimeRange, Timestamp};
use jiff::tz::TimeZone;

use super::cast::{ATTACKED, COMPANIES};
use super::{Span, Written};
use crate::access;
use crate::error::CliError;
use crate::output::lines::{self, Canvas, Line};
use crate::output::words::{count, plural, size};
use crate::output::{Cell, Grid, ListForm, Screen};

/// Rows of a chart.
const CHART_ROWS: usize = 8;

/// Shows it.
pub(super) fn show(
    screen: &mut Screen,
    root: &Path,
    span: &Span,
    written: &Written,
    took: Duration,
) -> Result<(), CliError> {
    let store = access::open_to_read(root)?;
    let tenants = store.tenants();
    numbers(screen, &tenants, root, written, took)?;
    charts(screen, &store, span)?;
    let page = letter(screen, store, span, root)?;
    commands(screen, root, span, &page)?;
    Ok(())
}

fn numbers(
    screen: &mut Screen,
    tenants: &[TenantSummary],
    root: &Path,
    written: &Written,
    took: Duration,
) -> Result<(), CliError> {
    let rate = |records: u64, took: Duration| count((records as f64 / took.as_secs_f64().max(1e-9)) as u64);
    writeln!(
        screen,
        "{} and {} written in {:.1} s, background work included\n",
        plural(written.signals, "signal", "signals"),
        plural(written.samples, "sample", "samples"),
        took.as_secs_f64()
    )?;
    writeln!(screen, "  signals  {}/s acknowledged and synced", rate(written.signals, written.signals_took))?;
    writeln!(screen, "  samples  {}/s acknowledged and synced", rate(written.samples, written.samples_took))?;
    writeln!(
        screen,
        "  upkeep   {:.1} s for blocks, merges and retention",
        written.upkeep_took.as_secs_f64()
    )?;
    let blocks: u64 = tenants.iter().map(|tenant| tenant.metric_bytes + tenant.signal_bytes).sum();
    writeln!(
        screen,
        "  store    {} in {}, {} of it blocks and the rest log\n",
        size(directory_bytes(root)),
        root.display(),
        size(blocks)
    )?;
    if written.refused > 0 {
        eprintln!("warning: {} refused", plural(written.refused, "record was", "records were"));
    }
    let mut grid = Grid::new([
        "tenant",
        "plan",
        "sites",
        "signals",
        "bytes each",
        "samples",
        "bytes each",
        "metrics since",
    ]);
    let per = |bytes: u64, rows: u64| match rows {
        0 => Cell::None,
        rows => Cell::text(format!("{:.2}", bytes as f64 / rows as f64)),
    };
    for tenant in tenants {
        let company = COMPANIES.iter().find(|company| company.tenant == tenant.id.as_str());
        grid.row(vec![
            Cell::text(tenant.id.as_str()),
            Cell::text(company.map_or("", |company| company.plan)),
            Cell::Count(company.map_or(0, |company| company.sites.len() as u64)),
            Cell::Count(tenant.signals),
            per(tenant.signal_bytes, tenant.signals),
            Cell::Count(tenant.samples),
            per(tenant.metric_bytes, tenant.samples),
            tenant.earliest.map_or(Cell::None, |earliest| Cell::text(date(earliest))),
        ]);
    }
    screen.list(&grid, Some(ListForm::Table))?;
    writeln!(screen)?;
    Ok(())
}

fn charts(screen: &mut Screen, store: &ReadOnly, span: &Span) -> Result<(), CliError> {
    let (tenant, site) = ATTACKED;
    let reader = store.tenant(&access::tenant_id(tenant)?).map_err(CliError::failed)?;
    let questions = [
        ("requests per hour", format!("sum(increase(http_requests{{site=\"{site}\"}}[1h])) or vector(0)")),
        ("failed sign-ins per hour", format!("{} or vector(0)", failed_sign_ins())),
    ];
    for (what, question) in questions {
        let first = span.start.saturating_add(HOUR_MS);
        let answer = reader.query_range(&question, first, span.end, HOUR_MS).map_err(CliError::failed)?;
        let Value::Matrix(series) = &answer.value else { continue };
        let name = format!("{site}: {what}");
        let drawn: Vec<Line<'_>> =
            series.iter().map(|one| Line { name: &name, points: &one.points }).collect();
        let canvas = Canvas {
            width: screen.width().min(120),
            height: CHART_ROWS,
            colour: screen.colour(),
            zone: &TimeZone::UTC,
        };
        let text = lines::draw("", &drawn, TimeRange::new(span.start, span.end), canvas);
        screen.people(&format!("{text}\n"))?;
    }
    Ok(())
}

fn failed_sign_ins() -> String {
    format!("sum(increase(auth_attempts{{site=\"{}\",result=\"failure\"}}[1h]))", ATTACKED.1)
}

/// Writes the attacked site's report beside the store and prints its summary. Where it was written.
fn letter(screen: &mut Screen, store: ReadOnly, span: &Span, root: &Path) -> Result<PathBuf, CliError> {
    let (tenant, site) = ATTACKED;
    let site = SiteName::new(site).map_err(CliError::failed)?;
    let id = access::tenant_id(tenant)?;
    let reader = store.report_reader(&id).map_err(CliError::failed)?;
    let request = ReportRequest::new(id, Scope::Site(site), TimeZone::UTC, ReportSpan::WEEK, week_of(span)?);
    let report = reader.report(&request).map_err(CliError::failed)?;
    let mut name = root.file_name().unwrap_or_default().to_owned();
    name.push("-report.html");
    let page = root.with_file_name(name);
    std::fs::write(&page, report.to_html())
        .map_err(|error| CliError::failed(format_args!("cannot write {}: {error}", page.display())))?;
    let text = report.to_markdown();
    // Title and summary: what stands before the first section.
    for line in text.lines().take_while(|line| !line.starts_with("## ")) {
        writeln!(screen, "{line}")?;
    }
    Ok(page)
}

/// The Monday of the last full week.
fn week_of(span: &Span) -> Result<jiff::civil::Date, CliError> {
    let instant = jiff::Timestamp::from_millisecond(span.last_week.0).map_err(CliError::failed)?;
    Ok(TimeZone::UTC.to_datetime(instant).date())
}

fn commands(screen: &mut Screen, root: &Path, span: &Span, page: &Path) -> Result<(), CliError> {
    let (tenant, site) = ATTACKED;
    let data = format!("--data {}", quoted(&root.display().to_string()));
    let (start, end) = (date(span.start), date(span.end));
    writeln!(screen, "the whole report  {}", page.display())?;
    writeln!(screen, "the store         {}\n", root.display())?;
    writeln!(screen, "try")?;
    for command in [
        format!(
            "annals range '{} or vector(0)' {data} --tenant {tenant} --start {start} --end {end} --step 1h -o chart",
            failed_sign_ins()
        ),
        format!(
            "annals query 'sum by (status) (increase(http_requests{{site=\"{site}\"}}[1d]))' {data} --tenant {tenant} --at {end} -o chart"
        ),
        format!(
            "annals query 'topk(5, avg_over_time(host_cpu_percent[1d]))' {data} --tenant retailer --at {end}"
        ),
        format!("annals report {data} --tenant {tenant} --site {site}"),
        format!("annals tenant list {data}"),
        format!("annals verify {data}"),
    ] {
        writeln!(screen, "  {command}")?;
    }
    Ok(())
}

/// The day of an instant, UTC.
fn date(at: Timestamp) -> String {
    at.to_string().get(..10).unwrap_or_default().to_owned()
}

/// A path as a shell takes it.
fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => directory_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
