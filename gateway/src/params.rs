//! Parameters of a request: of its address, and of a form in its body, which go first.

use std::sync::Arc;

use annals::query::promql;
use annals::{TimeRange, Timestamp};
use axum::extract::{FromRequest, Request};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;

use crate::app::Gateway;
use crate::body::read_body;
use crate::reply::ApiError;

/// A form is as long at most, as is a query.
const FORM_BYTES_MAX: usize = 1 << 20;
/// As many parameters at most.
const PARAMETERS_MAX: usize = 1_000;

/// What clients written in Go send for the beginning and the end of time, which RFC 3339 cannot say.
const TIMES_OF_GO: [(&str, Timestamp); 2] =
    [("-292273086-05-16T16:47:06Z", Timestamp::MIN), ("292277025-08-18T07:12:54.999999999Z", Timestamp::MAX)];

/// The parameters of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of the address alone.
    pub(crate) fn of_query(query: &str) -> Params {
        Params(decoded(query.as_bytes()))
    }

    /// The first of that name, where it is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A time; `None` where it is not given.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = parse_time(text).ok_or_else(|| {
            ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"))
        })?;
        Ok(Some(time))
    }

    /// A duration in milliseconds; `None` where it is not given.
    pub(crate) fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid duration"));
        Ok(Some(parse_duration_ms(text).ok_or_else(wrong)?))
    }

    /// How many results at most; `None` for all.
    pub(crate) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        let wrong =
            || ApiError::parameter("limit", format_args!("cannot parse {text:?} to a number of at least 0"));
        let limit: usize = text.parse().map_err(|_| wrong())?;
        Ok(Some(limit).filter(|limit| *limit > 0))
    }

    /// The range of `start` and `end`, both included; all of time where they are not given.
    pub(crate) fn range(&self) -> Result<TimeRange, ApiError> {
        let start = self.time("start")?.unwrap_or(Timestamp::MIN);
        let end = self.time("end")?.unwrap_or(Timestamp::MAX);
        if end < start {
            return Err(ApiError::bad_data("end timestamp must not be before start time"));
        }
        Ok(TimeRange::new(start.saturating_add(-1), end))
    }

    /// The selectors of `match[]`, an empty list where there are none.
    pub(crate) fn selectors(&self) -> Result<Vec<Vec<annals::Matcher>>, ApiError> {
        self.all("match[]").map(selector).collect()
    }
}

/// The matchers of a selector.
fn selector(text: &str) -> Result<Vec<annals::Matcher>, ApiError> {
    let expr =
        promql::parse(text).map_err(|error| ApiError::parameter("match[]", parse_error(&error, text)))?;
    match expr.kind {
        promql::ExprKind::Selector(selector) => {
            Ok(selector.matchers.into_iter().map(|matcher| matcher.item).collect())
        }
        _ => Err(ApiError::parameter("match[]", "it must be a selector, such as up{job=\"a\"}")),
    }
}

/// An error of parsing as Prometheus writes it: place first.
pub(crate) fn parse_error(error: &promql::PromqlError, text: &str) -> String {
    let (line, column) = error.span.line_and_column(text);
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{line}:{column}: parse error: {}{hint}", error.message)
}

/// Unix seconds, with a fraction or without, or RFC 3339.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        // Saturates: clients have their own ideas of when time began and will end.
        return seconds.is_finite().then(|| Timestamp((seconds * 1e3).round() as i64));
    }
    if let Some((_, time)) = TIMES_OF_GO.into_iter().find(|(known, _)| *known == text) {
        return Some(time);
    }
    text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_millisecond()))
}

/// Seconds, or a duration as in PromQL.
pub(crate) fn parse_duration_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1e3).round();
        return (ms.abs() < 9.2e18).then_some(ms as i64);
    }
    let expr = promql::parse(text).ok()?;
    match expr.kind {
        promql::ExprKind::Number(number) => Some((number.value * 1e3).round() as i64),
        _ => None,
    }
}

fn decoded(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text)
        .take(PARAMETERS_MAX)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

impl FromRequest<Arc<Gateway>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Params, ApiError> {
        let (parts, body) = request.into_parts();
        let mut all = Vec::new();
        let form = parts.headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok());
        if parts.method == Method::POST
            && form.is_some_and(|own| own.starts_with("application/x-www-form-urlencoded"))
        {
            all = decoded(&read_body(gateway, body, FORM_BYTES_MAX).await?);
        }
        all.extend(decoded(parts.uri.query().unwrap_or_default().as_bytes()));
        Ok(Params(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_written_out() {
        assert_eq!(parse_time("1435781430.781"), Some(Timestamp(1_435_781_430_781)));
        assert_eq!(parse_time("2015-07-01T20:10:30.781Z"), Some(Timestamp(1_435_781_430_781)));
        assert_eq!(parse_time("2015-07-01T22:10:30+02:00"), Some(Timestamp(1_435_781_430_000)));
        for wrong in ["", "now", "NaN", "inf", "2015-13-01T00:00:00Z"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_seconds_or_written_out() {
        assert_eq!(parse_duration_ms("15"), Some(15_000));
        assert_eq!(parse_duration_ms("0.5"), Some(500));
        assert_eq!(parse_duration_ms("1h30m"), Some(5_400_000));
        for wrong in ["", "abc", "up", "NaN", "1e300", "5m + 1m"] {
            assert_eq!(parse_duration_ms(wrong), None, "{wrong}");
        }
    }
}
