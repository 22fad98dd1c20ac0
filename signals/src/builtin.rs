//! The seven kinds that every tenant has, and the metrics derived from them.
//!
//! | kind             | fields (`*` required)                                      | metrics                                                        |
//! |------------------|------------------------------------------------------------|----------------------------------------------------------------|
//! | `http.request`   | `method`*, `status`*, `route`, `duration`, `bytes`, `client` | `http_requests{method,status,route}`, `http_response_seconds_{bucket,sum,count}{method,route}` |
//! | `auth.attempt`   | `result`*, `method`*, `user`, `client`                     | `auth_attempts{result,method}`                                 |
//! | `wp.cron`        | `hook`*, `result`*, `lateness`, `duration`                 | `cron_runs{hook,result}`                                       |
//! | `mail.sent`      | `result`*, `class`                                         | `mails{result}`                                                |
//! | `error.raised`   | `severity`*, `origin`, `digest`                            | `errors{severity}`                                             |
//! | `config.changed` | `option`*, `change`, `actor`                               | `config_changes{option}`                                       |
//! | `file.edited`    | `area`*, `size`, `flags`, `actor`                          | `file_edits{area}`                                             |
//!
//! A field is required where a metric would lose its meaning without it; a route is not, because not every
//! request has one. A stored row holds its values by position in this order, so the order of fields never changes
//! and new fields go to the end of their kind.

use std::sync::Arc;

use annals_model::DAY_MS;
use annals_model::schema::{FieldSchema, FieldType, KindSchema, MetricSchema, SignalSchema};

/// The methods that `http.request` knows, as PromQL users write them; `other` holds the rest.
pub(crate) const HTTP_METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "other"];

/// Bounds of the response time buckets: 5 ms to 10 s.
const RESPONSE_BOUNDS_MS: [i64; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// Response sizes up to 1 PiB: more is a broken log.
pub(crate) const RESPONSE_BYTES_MAX: i64 = 1 << 50;

/// The schema of the seven built-in kinds.
#[must_use]
pub fn builtin() -> SignalSchema {
    let kinds = [
        kind(
            "http.request",
            vec![
                required("method", enumeration(&HTTP_METHODS)),
                required("status", FieldType::HttpStatus),
                optional("route", FieldType::Name { bytes_max: 64, values_max: 200 }),
                optional("duration", FieldType::Duration { max_ms: DAY_MS }),
                optional("bytes", FieldType::Integer { min: 0, max: RESPONSE_BYTES_MAX }),
                optional("client", FieldType::Pseudonym),
            ],
            vec![
                count("http_requests", &[0, 1, 2]),
                MetricSchema::Durations {
                    name: "http_response_seconds".into(),
                    labels: vec![0, 2],
                    field: 3,
                    bounds_ms: RESPONSE_BOUNDS_MS.to_vec(),
                },
            ],
        ),
        kind(
            "auth.attempt",
            vec![
                required("result", enumeration(&["success", "failure", "blocked"])),
                required("method", enumeration(&["password", "key", "sso", "token", "other"])),
                optional("user", FieldType::Pseudonym),
                optional("client", FieldType::Pseudonym),
            ],
            vec![count("auth_attempts", &[0, 1])],
        ),
        kind(
            "wp.cron",
            vec![
                required("hook", FieldType::Name { bytes_max: 128, values_max: 500 }),
                required("result", enumeration(&["ok", "failed", "missed", "late"])),
                optional("lateness", FieldType::Duration { max_ms: 366 * DAY_MS }),
                optional("duration", FieldType::Duration { max_ms: 31 * DAY_MS }),
            ],
            vec![count("cron_runs", &[0, 1])],
        ),
        kind(
            "mail.sent",
            vec![
                required("result", enumeration(&["sent", "failed", "deferred"])),
                optional("class", FieldType::Name { bytes_max: 32, values_max: 50 }),
            ],
            vec![count("mails", &[0])],
        ),
        kind(
            "error.raised",
            vec![
                required("severity", enumeration(&["notice", "warning", "error", "critical", "fatal"])),
                optional("origin", FieldType::Name { bytes_max: 64, values_max: 200 }),
                optional("digest", FieldType::Pseudonym),
            ],
            vec![count("errors", &[0])],
        ),
        kind(
            "config.changed",
            vec![
                required("option", FieldType::Name { bytes_max: 128, values_max: 500 }),
                optional("change", FieldType::ChangeDigest),
                optional("actor", FieldType::Pseudonym),
            ],
            vec![count("config_changes", &[0])],
        ),
        kind(
            "file.edited",
            vec![
                required("area", enumeration(&["core", "plugin", "theme", "upload", "other"])),
                optional("size", FieldType::SizeDelta),
                optional("flags", FieldType::Flags(names(&["executable", "obfuscated", "new", "removed"]))),
                optional("actor", FieldType::Pseudonym),
            ],
            vec![count("file_edits", &[0])],
        ),
    ];
    SignalSchema { kinds: kinds.into_iter().map(Arc::new).collect() }
}

fn kind(name: &str, fields: Vec<FieldSchema>, metrics: Vec<MetricSchema>) -> KindSchema {
    KindSchema { name: name.into(), fields, metrics }
}

fn required(name: &str, field_type: FieldType) -> FieldSchema {
    FieldSchema { name: name.into(), field_type, required: true }
}

fn optional(name: &str, field_type: FieldType) -> FieldSchema {
    FieldSchema { name: name.into(), field_type, required: false }
}

fn names(words: &[&str]) -> Vec<Arc<str>> {
    words.iter().map(|&word| word.into()).collect()
}

fn enumeration(words: &[&str]) -> FieldType {
    FieldType::Enumeration(names(words))
}

fn count(name: &str, labels: &[usize]) -> MetricSchema {
    MetricSchema::Count { name: name.into(), labels: labels.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line per field and metric: what stored rows and dashboards depend on.
    fn listing(schema: &SignalSchema) -> String {
        let mut lines = String::new();
        for kind in &schema.kinds {
            lines += &format!("{}\n", kind.name);
            for field in &kind.fields {
                let mark = if field.required { "*" } else { "" };
                let words = match &field.field_type {
                    FieldType::Enumeration(words) => format!("one of {}", words.join(" ")),
                    FieldType::Flags(words) => format!("any of {}", words.join(" ")),
                    FieldType::Name { bytes_max, values_max } => {
                        format!("name <= {bytes_max}, {values_max} values")
                    }
                    FieldType::Integer { min, max } => format!("{min}..={max}"),
                    FieldType::Duration { max_ms } => format!("ms <= {max_ms}"),
                    other => format!("{other:?}"),
                };
                lines += &format!("  {}{mark}: {words}\n", field.name);
            }
            for metric in &kind.metrics {
                let (name, labels, rest) = match metric {
                    MetricSchema::Count { name, labels } => (name, labels, String::new()),
                    MetricSchema::Durations { name, labels, field, bounds_ms } => {
                        (name, labels, format!(" of {} in {bounds_ms:?}", kind.fields[*field].name))
                    }
                };
                let labels: Vec<_> = labels.iter().map(|&at| &*kind.fields[at].name).collect();
                lines += &format!("  -> {name}{{{}}}{rest}\n", labels.join(","));
            }
        }
        lines
    }

    #[test]
    fn the_seven_kinds_and_their_metrics_are_these() {
        assert_eq!(
            listing(&builtin()),
            "\
http.request
  method*: one of GET POST HEAD PUT DELETE PATCH OPTIONS CONNECT TRACE other
  status*: HttpStatus
  route: name <= 64, 200 values
  duration: ms <= 86400000
  bytes: 0..=1125899906842624
  client: Pseudonym
  -> http_requests{method,status,route}
  -> http_response_seconds{method,route} of duration in [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]
auth.attempt
  result*: one of success failure blocked
  method*: one of password key sso token other
  user: Pseudonym
  client: Pseudonym
  -> auth_attempts{result,method}
wp.cron
  hook*: name <= 128, 500 values
  result*: one of ok failed missed late
  lateness: ms <= 31622400000
  duration: ms <= 2678400000
  -> cron_runs{hook,result}
mail.sent
  result*: one of sent failed deferred
  class: name <= 32, 50 values
  -> mails{result}
error.raised
  severity*: one of notice warning error critical fatal
  origin: name <= 64, 200 values
  digest: Pseudonym
  -> errors{severity}
config.changed
  option*: name <= 128, 500 values
  change: ChangeDigest
  actor: Pseudonym
  -> config_changes{option}
file.edited
  area*: one of core plugin theme upload other
  size: SizeDelta
  flags: any of executable obfuscated new removed
  actor: Pseudonym
  -> file_edits{area}
"
        );
    }
}
