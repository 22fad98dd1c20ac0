//! `report`: a day, week or month of a site or of a whole tenant; or of each site of each tenant.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals::query::report::{Report, ReportRequest, Scope, Span};
use annals::{
    Budget, METRIC_NAME, Matcher, Piece, Pieces, QueryLimits, ReadOnly, ReportReader, SeriesSource, SiteName,
    TenantId, TimeRange, Timestamp, Whole,
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::reader::{Reader, Reports};
use crate::access;
use crate::args::{ReportArgs, ReportForm, ReportPeriod};
use crate::error::{CliError, Outcome};
use crate::output::Screen;
use crate::output::words::plural;

/// The metric that every signal counts in.
const SIGNALS: &str = "signals";
/// Reports that failed are told one by one up to this number.
const FAILED_TOLD: usize = 10;

/// Writes a report, or one for each site.
pub(crate) fn run(args: &ReportArgs, screen: &mut Screen) -> Outcome {
    let span = span(args);
    if let Some(out) = &args.out {
        access::refuse_within(out, &access::directory(&args.tenant.store))?;
    }
    let asked = args.week.or(args.month).or(args.day).or(args.date);
    if let (true, Some(directory)) = (args.each, &args.out) {
        return each(args, directory, span, asked);
    }
    let reading = access::read(&args.tenant)?;
    let reports = Reports::open(&reading.store, &reading.tenant.id, &args.operator)?;
    let scope = match args.all_sites {
        true => Scope::Tenant,
        false => Scope::Site(choose_site(&reports, args.site.as_deref())?),
    };
    let of = match asked {
        Some(day) => day,
        None => {
            let reader = Reader::of(&reading, &args.operator)?;
            let (first, last) = extent(reader.source(), &scope)?.ok_or_else(|| {
                CliError::failed("there is no data yet").help("import a log first: annals import --help")
            })?;
            last_period(span, first, last, access::now(), &args.tz)?
        }
    };
    let request = ReportRequest::new(reading.tenant.id.clone(), scope, args.tz.clone(), span, of);
    let text = text(&reports.report(&request)?, form(args));
    match &args.out {
        None => screen.write_all(text.as_bytes())?,
        Some(path) => {
            write(path, &text)?;
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(0)
}

/// A report as text of a form.
fn text(report: &Report, form: ReportForm) -> String {
    match form {
        ReportForm::Markdown => report.to_markdown(),
        ReportForm::Html => report.to_html(),
        ReportForm::Json => report.to_json(),
    }
}

fn span(args: &ReportArgs) -> Span {
    let week = Span::Week { starts_on: args.week_start.weekday() };
    match (args.week, args.month, args.day, args.period) {
        (Some(_), ..) => week,
        (_, Some(_), ..) => Span::Month,
        (_, _, Some(_), _) => Span::Day,
        (_, _, _, ReportPeriod::Day) => Span::Day,
        (_, _, _, ReportPeriod::Week) => week,
        (_, _, _, ReportPeriod::Month) => Span::Month,
    }
}

/// The form that is meant: what was asked for, else what the file's name says.
fn form(args: &ReportArgs) -> ReportForm {
    let by_name = || {
        let ending = args.out.as_ref()?.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "html" | "htm" => Some(ReportForm::Html),
            "json" => Some(ReportForm::Json),
            _ => None,
        }
    };
    let otherwise = if args.each { ReportForm::Html } else { ReportForm::Markdown };
    args.output.or_else(by_name).unwrap_or(otherwise)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text)
        .map_err(|error| CliError::failed(format_args!("cannot write {}: {error}", path.display())))
}

/// Reports that are to be made, of neighbours in the order of names.
struct Due {
    tenant: usize,
    sites: Vec<SiteName>,
}

/// Writes a report for each site that has data in what the report reads, in parallel.
fn each(args: &ReportArgs, directory: &Path, span: Span, asked: Option<Date>) -> Outcome {
    let root = access::directory(&args.tenant.store);
    let store = access::open_to_read(&root)?;
    let mut tenants = store.tenants();
    if args.tenant.tenant.is_some() {
        tenants = vec![access::choose(tenants, args.tenant.tenant.as_deref(), &root)?];
    }
    let ids: Vec<TenantId> = tenants.into_iter().map(|tenant| tenant.id).collect();
    let of = match asked {
        Some(day) => day,
        None => last_of_all(args, &store, &ids, span)?,
    };
    let (mut readers, mut due, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        let request = ReportRequest::new(id.clone(), Scope::Tenant, args.tz.clone(), span, of);
        let (_, range) = request.selection().map_err(CliError::failed)?;
        // A tenant that cannot be read keeps nobody else from a report.
        match Reports::open(&store, &id, &args.operator).and_then(|reports| {
            let sites = reports.sites(range)?;
            std::fs::create_dir_all(directory.join(id.as_str())).map_err(|error| {
                CliError::failed(format_args!("cannot make {}: {error}", directory.display()))
            })?;
            Ok((reports, sites))
        }) {
            Ok((reports, sites)) => {
                let tenant = readers.len();
                readers.push(reports);
                let names: Vec<SiteName> = sites.iter().filter_map(|site| SiteName::new(site).ok()).collect();
                // Few sites keep all threads busy, too.
                let at_a_time = names.len().div_ceil(threads()).clamp(1, ReportReader::SITES_TOGETHER);
                due.extend(names.chunks(at_a_time).map(|sites| Due { tenant, sites: sites.to_vec() }));
            }
            Err(error) => failed.push(format!("tenant {id}: {error}")),
        }
    }
    let form = form(args);
    let make = |due: &Due| -> Vec<String> {
        let Some(reader) = readers.get(due.tenant) else { return Vec::new() };
        let like = ReportRequest::new(reader.tenant().clone(), Scope::Tenant, args.tz.clone(), span, of);
        let made = due.sites.iter().zip(reader.site_reports(&like, &due.sites));
        let failed = made.filter_map(|(site, report)| {
            let path = path(directory, reader.tenant(), site, form);
            let error = report.and_then(|report| write(&path, &text(&report, form))).err()?;
            Some(format!("{}, {site}: {error}", reader.tenant()))
        });
        failed.collect()
    };
    let began = std::time::Instant::now();
    failed.extend(in_parallel(&due, &make));
    for line in failed.iter().take(FAILED_TOLD) {
        eprintln!("{line}");
    }
    eprintln!(
        "{} of the {} from {} on in {}, {} failed, {:.1} s",
        plural(sites_of(&due), "report", "reports"),
        span.noun(),
        span.first(of).map_err(CliError::failed)?,
        directory.display(),
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    Ok(u8::from(!failed.is_empty()))
}

/// Where a site's report goes. Names of tenants and sites hold nothing that a path would follow.
fn path(directory: &Path, tenant: &TenantId, site: &SiteName, form: ReportForm) -> std::path::PathBuf {
    let ending = match form {
        ReportForm::Markdown => "md",
        ReportForm::Html => "html",
        ReportForm::Json => "json",
    };
    directory.join(tenant.as_str()).join(format!("{site}.{ending}"))
}

fn sites_of(due: &[Due]) -> u64 {
    due.iter().map(|due| due.sites.len() as u64).sum()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does all of it on as many threads as there are processors, and shows how far it is. What failed, in order.
fn in_parallel(due: &[Due], make: &(dyn Fn(&Due) -> Vec<String> + Sync)) -> Vec<String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let bar = ProgressBar::new(sites_of(due));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} reports, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    std::thread::scope(|scope| {
        for _ in 0..threads().min(due.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(some) = due.get(index) else { return };
                    let lines = make(some);
                    if let Ok(mut failed) = failed.lock() {
                        failed.insert(index, lines);
                    }
                    bar.inc(some.sites.len() as u64);
                }
            });
        }
    });
    bar.finish_and_clear();
    failed.into_inner().unwrap_or_default().into_values().flatten().collect()
}

fn choose_site(reports: &Reports, asked: Option<&str>) -> Result<SiteName, CliError> {
    let known = reports.sites(TimeRange::ALL)?;
    let name = match (asked, &known[..]) {
        (Some(asked), _) if known.iter().any(|site| site == asked) => asked,
        (Some(asked), _) => {
            let site = SiteName::new(asked).map_err(CliError::usage)?;
            let unknown = CliError::failed(format_args!(
                "tenant `{}` has no signals of site `{site}`",
                reports.tenant()
            ));
            return Err(match annals::nearest(asked, known.iter().map(String::as_str)) {
                Some(near) => unknown.help(format_args!("did you mean `{near}`?")),
                None if known.is_empty() => unknown.help("import a log first: annals import --help"),
                None => unknown.help(format_args!("there are {}", known.join(", "))),
            });
        }
        (None, [only]) => only,
        (None, []) => {
            return Err(CliError::failed(format_args!("tenant `{}` has no signals yet", reports.tenant()))
                .help("import a log first: annals import --help"));
        }
        (None, _) => {
            return Err(CliError::failed("the tenant has several sites; say which with --site")
                .help(format_args!("there are {}", known.join(", "))));
        }
    };
    SiteName::new(name).map_err(CliError::failed)
}

/// The first and last stamp of the signals of a site, or of all.
fn extent(source: &dyn SeriesSource, scope: &Scope) -> Result<Option<(Timestamp, Timestamp)>, CliError> {
    let budget = Budget::new(QueryLimits::default());
    let mut matchers = vec![Matcher::equal(METRIC_NAME, SIGNALS)];
    if let Scope::Site(site) = scope {
        matchers.push(Matcher::equal("site", site.as_str()));
    }
    let selected = source.select(&matchers, TimeRange::ALL, &budget).map_err(CliError::failed)?;
    let mut pieces = Pieces::default();
    let mut extent: Option<(i64, i64)> = None;
    for index in 0..selected.len() {
        selected.read_pieces(index, Whole::of(&|_| true), &budget, &mut pieces).map_err(CliError::failed)?;
        let stamps = |piece: &Piece| match piece {
            Piece::Whole(run) => Some((run.first_time, run.last_time)),
            Piece::Samples(range) => {
                let stamps = pieces.samples.timestamps.get(range.clone())?;
                Some((*stamps.first()?, *stamps.last()?))
            }
        };
        for (first, last) in pieces.pieces.iter().filter_map(stamps) {
            extent = Some(extent.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        }
    }
    Ok(extent.map(|(first, last)| (Timestamp(first), Timestamp(last))))
}

/// A day of the last period that is over and has data, whichever tenant's.
fn last_of_all(args: &ReportArgs, store: &ReadOnly, ids: &[TenantId], span: Span) -> Result<Date, CliError> {
    let mut all: Option<(Timestamp, Timestamp)> = None;
    for id in ids {
        // One that cannot be read is told later.
        let Ok(reader) = Reader::open(store, id, &args.operator) else { continue };
        if let Some((first, last)) = extent(reader.source(), &Scope::Tenant)? {
            all = Some(all.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        }
    }
    let (first, last) = all.ok_or_else(|| {
        CliError::failed("no tenant has signals yet").help("import a log first: annals import --help")
    })?;
    last_period(span, first, last, access::now(), &args.tz)
}

/// A day of the last period that is over and has data; where there is none yet, of the period that has.
fn last_period(
    span: Span,
    first: Timestamp,
    last: Timestamp,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Date, CliError> {
    // A stamp at midnight belongs to the day that it ends.
    let day = span.first(local_date(Timestamp(last.0 - 1), zone)?).map_err(CliError::failed)?;
    if end(span, day, zone)? <= now {
        return Ok(day);
    }
    let before = span.shift(day, -1).map_err(CliError::failed)?;
    if first <= end(span, before, zone)? {
        return Ok(before);
    }
    eprintln!("note: the first {} with data is not over yet", span.noun());
    Ok(day)
}

fn local_date(at: Timestamp, zone: &TimeZone) -> Result<Date, CliError> {
    let instant = jiff::Timestamp::from_millisecond(at.0).map_err(CliError::failed)?;
    Ok(zone.to_datetime(instant).date())
}

/// The last stamp of the period that starts with a day.
fn end(span: Span, first: Date, zone: &TimeZone) -> Result<Timestamp, CliError> {
    let next = span.shift(first, 1).map_err(CliError::failed)?;
    let midnight = next.to_zoned(zone.clone()).map_err(CliError::failed)?;
    Ok(Timestamp(midnight.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    #[test]
    fn the_last_period_is_over_and_has_data() {
        let utc = TimeZone::UTC;
        let of = |span, first, last, now| {
            last_period(span, at(first), at(last), at(now), &utc).expect("in the calendar")
        };
        let week = |first, last, now| of(Span::WEEK, first, last, now);
        // An old log: the week that holds its end.
        let old = week("2015-05-17T10:05:00Z", "2015-05-20T21:06:00Z", "2026-11-22T01:00:00Z");
        assert_eq!(old, date(2015, 5, 18));
        // A live site: the week before the one that is still running.
        let live = ["2026-11-02T00:01:00Z", "2026-11-22T00:00:00Z", "2026-11-22T09:00:00Z"];
        assert_eq!(week(live[0], live[1], live[2]), date(2026, 11, 9));
        // The same in days, and in months that are not over yet.
        assert_eq!(of(Span::Day, live[0], live[1], live[2]), date(2026, 11, 21));
        assert_eq!(of(Span::Month, live[0], live[1], live[2]), date(2026, 11, 1));
        assert_eq!(of(Span::Month, "2026-10-31T23:59:00Z", live[1], live[2]), date(2026, 10, 1));
        // Monday morning, data to midnight: Sunday's week is over.
        let monday = week("2026-11-02T00:01:00Z", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z");
        assert_eq!(monday, date(2026, 11, 16));
        // A site in its first week.
        assert_eq!(
            week("2026-11-18T00:01:00Z", "2026-11-19T00:00:00Z", "2026-11-19T09:00:00Z"),
            date(2026, 11, 16)
        );
    }
}
