//! `report`: one site's week.

use std::io::Write;

use annals::query::report::ReportRequest;
use annals::{
    Budget, METRIC_NAME, Matcher, QueryLimits, Samples, SeriesSource, SiteName, TenantReader, TimeRange,
    Timestamp,
};
use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::access::{self, Reading};
use crate::args::{ReportArgs, ReportForm};
use crate::error::{CliError, Outcome};
use crate::output::Screen;

/// The metric that every signal counts in.
const SIGNALS: &str = "signals";

/// Writes a report.
pub(crate) fn run(args: &ReportArgs, screen: &mut Screen) -> Outcome {
    let zone = TimeZone::get(&args.tz).map_err(|_| {
        CliError::usage("there is no time zone of that name").help("write it as in Europe/Berlin, or UTC")
    })?;
    let reading = access::read(&args.tenant)?;
    let site = choose_site(&reading, args.site.as_deref())?;
    let now = access::now();
    let week_of = match (args.week, args.date) {
        (Some(monday), _) => monday,
        (None, Some(date)) => date,
        (None, None) => {
            let reader = reading.store.tenant(&reading.tenant.id).map_err(CliError::failed)?;
            let (first, last) = extent(&reader, &site)?.ok_or_else(|| {
                CliError::failed(format_args!("site `{site}` has no data"))
                    .help("annals labels site lists the sites")
            })?;
            last_week(first, last, now, &zone)?
        }
    };
    let text = render(&reading, site, week_of, zone, now, form(args))?;
    match &args.out {
        None => screen.write_all(text.as_bytes())?,
        Some(path) => {
            std::fs::write(path, text).map_err(|error| {
                CliError::failed(format_args!("cannot write {}: {error}", path.display()))
            })?;
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(0)
}

/// A report as text of a form.
pub(crate) fn render(
    reading: &Reading,
    site: SiteName,
    week_of: Date,
    zone: TimeZone,
    now: Timestamp,
    form: ReportForm,
) -> Result<String, CliError> {
    let tenant = &reading.tenant;
    let reader = reading.store.report_reader(&tenant.id).map_err(CliError::failed)?;
    let mut request = ReportRequest::new(tenant.id.clone(), site, zone.clone(), week_of);
    // Days that still take data: their counts may grow.
    let open_after =
        tenant.plan.as_ref().filter(|plan| plan.late_window_ms.is_some()).map(|plan| plan.late_floor(now));
    request.provisional_after = match open_after {
        Some(after) if after < week_end(week_of, &zone)? => Some(after),
        _ => None,
    };
    let report = reader.report(&request).map_err(CliError::failed)?;
    Ok(match form {
        ReportForm::Markdown => report.to_markdown(),
        ReportForm::Html => report.to_html(),
        ReportForm::Json => report.to_json(),
    })
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
    args.output.or_else(by_name).unwrap_or(ReportForm::Markdown)
}

fn choose_site(reading: &Reading, asked: Option<&str>) -> Result<SiteName, CliError> {
    let reader = reading.store.report_reader(&reading.tenant.id).map_err(CliError::failed)?;
    let known = reader.sites(TimeRange::ALL).map_err(CliError::failed)?;
    let name = match (asked, &known[..]) {
        (Some(asked), _) if known.iter().any(|site| site == asked) => asked,
        (Some(asked), _) => {
            let site = SiteName::new(asked).map_err(CliError::usage)?;
            let unknown = CliError::failed(format_args!(
                "tenant `{}` has no signals of site `{site}`",
                reading.tenant.id
            ));
            return Err(match annals::nearest(asked, known.iter().map(String::as_str)) {
                Some(near) => unknown.help(format_args!("did you mean `{near}`?")),
                None if known.is_empty() => unknown.help("import a log first: annals import --help"),
                None => unknown.help(format_args!("there are {}", known.join(", "))),
            });
        }
        (None, [only]) => only,
        (None, []) => {
            return Err(CliError::failed(format_args!("tenant `{}` has no signals yet", reading.tenant.id))
                .help("import a log first: annals import --help"));
        }
        (None, _) => {
            return Err(CliError::failed("the tenant has several sites; say which with --site")
                .help(format_args!("there are {}", known.join(", "))));
        }
    };
    SiteName::new(name).map_err(CliError::failed)
}

/// The first and last stamp of a site's signals.
fn extent(reader: &TenantReader, site: &SiteName) -> Result<Option<(Timestamp, Timestamp)>, CliError> {
    let budget = Budget::new(QueryLimits::default());
    let matchers = [Matcher::equal(METRIC_NAME, SIGNALS), Matcher::equal("site", site.as_str())];
    let selected = reader.select(&matchers, TimeRange::ALL, &budget).map_err(CliError::failed)?;
    let mut samples = Samples::default();
    let mut extent: Option<(i64, i64)> = None;
    for index in 0..selected.len() {
        selected.read(index, &budget, &mut samples).map_err(CliError::failed)?;
        if let (Some(&first), Some(&last)) = (samples.timestamps.first(), samples.timestamps.last()) {
            extent = Some(extent.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        }
    }
    Ok(extent.map(|(first, last)| (Timestamp(first), Timestamp(last))))
}

/// A day of the last week that is over and has data; where there is none yet, of the week that has.
fn last_week(first: Timestamp, last: Timestamp, now: Timestamp, zone: &TimeZone) -> Result<Date, CliError> {
    // A stamp at midnight belongs to the day that it ends.
    let day = local_date(Timestamp(last.0 - 1), zone)?;
    if week_end(day, zone)? <= now {
        return Ok(day);
    }
    let before = day.checked_sub(7.days()).map_err(CliError::failed)?;
    if first <= week_end(before, zone)? {
        return Ok(before);
    }
    eprintln!("note: the first week with data is not over yet");
    Ok(day)
}

fn local_date(at: Timestamp, zone: &TimeZone) -> Result<Date, CliError> {
    let instant = jiff::Timestamp::from_millisecond(at.0).map_err(CliError::failed)?;
    Ok(zone.to_datetime(instant).date())
}

/// The last stamp of the week, Monday first, that holds a day.
fn week_end(day: Date, zone: &TimeZone) -> Result<Timestamp, CliError> {
    let back = i32::from(day.weekday().since(Weekday::Monday));
    let next = day.checked_add((7 - back).days()).map_err(CliError::failed)?;
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
    fn the_last_week_is_over_and_has_data() {
        let utc = TimeZone::UTC;
        let week = |first, last, now| last_week(at(first), at(last), at(now), &utc).expect("in the calendar");
        // An old log: the week that holds its end.
        let old = week("2015-05-17T10:05:00Z", "2015-05-20T21:06:00Z", "2026-11-22T01:00:00Z");
        assert_eq!(old, date(2015, 5, 20));
        // A live site: the week before the one that is still running.
        let live = week("2026-11-02T00:01:00Z", "2026-11-22T00:00:00Z", "2026-11-22T09:00:00Z");
        assert_eq!(live, date(2026, 11, 14));
        // Monday morning, data to midnight: Sunday's week is over.
        let monday = week("2026-11-02T00:01:00Z", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z");
        assert_eq!(monday, date(2026, 11, 22));
        // A site in its first week.
        assert_eq!(
            week("2026-11-18T00:01:00Z", "2026-11-19T00:00:00Z", "2026-11-19T09:00:00Z"),
            date(2026, 11, 18)
        );
    }
}
