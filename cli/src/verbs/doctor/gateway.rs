//! `doctor --url`: looks at a gateway from outside, by what it says of itself.

use annals_gateway::Visitor;

use super::{MERGES_MANY, SEALS_MANY, Visit};
use crate::access;
use crate::args::DoctorArgs;
use crate::error::CliError;
use crate::output::words;
use crate::times::print_span;

/// A part of all that is refused or fails beyond which it is told, in percent.
const REFUSED_PERCENT: f64 = 1.0;
/// Fewer are told of nobody.
const REFUSED_FEW: f64 = 10.0;
const ON_ITS_MACHINE: &str = "`annals doctor` on its machine looks closer";

/// The variable that holds a token.
const TOKEN_VARIABLE: &str = "ANNALS_TOKEN";

/// Looks at the gateway; says what was looked at.
pub(super) fn look(visit: &mut Visit, url: &str, args: &DoctorArgs) -> Result<String, CliError> {
    let token = std::env::var(TOKEN_VARIABLE).ok();
    let visitor = Visitor::new(url, token, args.trust.as_deref()).map_err(CliError::usage)?;
    let healthy = match visitor.get("/-/healthy") {
        Ok(page) => page,
        Err(error) => {
            let advice = "is `annals serve` running, and is this where it listens? its log says why it ended";
            visit.odd("gateway", format!("it cannot be asked: {error}"), advice);
            return Ok("it was not seen".to_owned());
        }
    };
    if healthy.status != 200 || !healthy.text.contains("Annals") {
        let what = format!("what answers there is no gateway: /-/healthy has status {}", healthy.status);
        visit.odd("gateway", what, "look whether a proxy is in front, and what it hands on");
        return Ok("it was not seen".to_owned());
    }
    let ready = visitor.get("/-/ready").map_err(CliError::failed)?;
    if ready.status != 200 {
        let advice = match ready.text.contains("stopping") {
            true => "it ends by itself; whoever started it starts it again",
            false => "its log says what failed; once the disk is well, a restart opens the log anew",
        };
        visit.odd("gateway", format!("it is not ready: {}", ready.text.trim()), advice);
    }
    let page = visitor.get("/metrics").map_err(CliError::failed)?;
    if page.status != 200 {
        return Ok(format!(
            "it is there; its numbers are for its own machine and for an operator's token in {TOKEN_VARIABLE}"
        ));
    }
    let numbers = Numbers(&page.text);
    numbers.versions(visit);
    numbers.store(visit);
    numbers.traffic(visit);
    let now = access::now().0;
    let up_ms = now - (numbers.sum("annals_gateway_start_seconds", "") * 1e3) as i64;
    let tenants = numbers.sum("annals_tenants", "state=\"open\"");
    Ok(format!(
        "{}, {} since it was started {} ago",
        words::plural(tenants as u64, "tenant", "tenants"),
        words::plural(numbers.sum("annals_gateway_requests_total", "") as u64, "request", "requests"),
        print_span(up_ms.max(0) / 1000 * 1000),
    ))
}

/// What a gateway says of itself, as OpenMetrics.
struct Numbers<'a>(&'a str);

impl Numbers<'_> {
    /// Labels and values of a metric.
    fn all(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some(())?;
            Some((labels, value.parse().ok()?))
        })
    }

    /// The sum of a metric's values whose labels hold a text.
    fn sum(&self, name: &str, label: &str) -> f64 {
        self.all(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    fn versions(&self, visit: &mut Visit) {
        let own = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        let found = self.all("annals_gateway_build_info").next();
        if let Some((labels, _)) = found.filter(|(labels, _)| !labels.contains(&own)) {
            let what = format!("it is {}, and this command is {own}", labels.trim_matches(['{', '}']));
            visit.odd("version", what, "restart it, if it was to be replaced");
        }
        let started_ms = self.sum("annals_gateway_start_seconds", "") * 1e3;
        if started_ms > access::now().0 as f64 + 60e3 {
            let what = "by this clock it will be started only later: signed requests are refused until then";
            visit.odd("clock", what, "set the clocks right, then restart it");
        }
    }

    fn store(&self, visit: &mut Visit) {
        let one_of = |count: f64, one, many| words::plural(count as u64, one, many);
        let unavailable = self.sum("annals_tenants", "state=\"unavailable\"");
        if unavailable > 0.0 {
            let what = format!("{} unavailable", one_of(unavailable, "tenant is", "tenants are"));
            visit.odd("damage", what, ON_ITS_MACHINE);
        }
        let damaged = self.sum("annals_damaged_blocks", "");
        if damaged > 0.0 {
            let what = format!("{} damaged", one_of(damaged, "block is", "blocks are"));
            visit.odd("damage", what, "`annals verify` on its machine names them");
        }
        let troubles = self.sum("annals_troubles", "");
        if troubles > 0.0 {
            let what = format!("the store has {}", one_of(troubles, "trouble", "troubles"));
            visit.odd("damage", what, ON_ITS_MACHINE);
        }
        let files = self.sum("annals_quarantine_files", "");
        if files > 0.0 {
            let what = format!("{} in quarantine", one_of(files, "file lies", "files lie"));
            visit.odd("quarantine", what, "`annals verify` on its machine names them and when they go");
        }
        for (name, what) in [
            ("annals_log_failures_total", "commits of the log failed"),
            ("annals_work_failed_total", "pieces of background work failed, and are tried again"),
        ] {
            let failed = self.sum(name, "");
            if failed > 0.0 {
                visit.odd("disk", format!("{failed} {what}"), "its log says why; look at disk and space");
            }
        }
        let lag_s = self.sum("annals_retention_lag_seconds", "");
        if lag_s > 0.0 {
            let what = format!("blocks are due since {}", print_span((lag_s as i64).saturating_mul(1000)));
            visit.odd("lag", what, "background work does not keep up, or the clock has jumped");
        }
        let (merges, seals) = (self.sum("annals_merges_due", ""), self.sum("annals_seals_due", ""));
        if merges > MERGES_MANY as f64 || seals > SEALS_MANY as f64 {
            let what = format!("{merges} merges are owed, and {seals} days are not sealed");
            visit.odd("lag", what, "background work does not keep up with what is written");
        }
    }

    fn traffic(&self, visit: &mut Visit) {
        let refused = self.sum("annals_gateway_connections_refused_total", "");
        if refused > 0.0 {
            let what = format!("{refused} connections were closed at once, for want of a place");
            visit.odd(
                "limits",
                what,
                "`limits.connections` in its configuration, or clients that keep too many",
            );
        }
        let requests = self.sum("annals_gateway_requests_total", "");
        for (class, about, what, advice) in [
            ("status=\"5", "errors", "failed in the gateway (5xx)", "its log has a line for each"),
            (
                "status=\"429",
                "limits",
                "were told to come back later (429)",
                "`[tenant]` in its configuration",
            ),
            (
                "status=\"401",
                "access",
                "showed no valid credential (401)",
                "look who asks; tokens end and are revoked",
            ),
        ] {
            let count = self.sum("annals_gateway_requests_total", class);
            if count > REFUSED_FEW && count * 100.0 > requests * REFUSED_PERCENT {
                visit.odd(about, format!("{count} of {requests} requests {what}"), advice);
            }
        }
        let refused = "annals_gateway_signatures_refused_total";
        let clocks = self.sum(refused, "reason=\"stale\"") + self.sum(refused, "reason=\"future\"");
        if clocks > REFUSED_FEW {
            let what = format!("{clocks} signed requests were refused for their time");
            visit.odd("clock", what, "look at the clocks of the sites, and at its own");
        }
        let (accepted, refused) =
            (self.sum("annals_records_accepted_total", ""), self.sum("annals_records_refused_total", ""));
        if refused > REFUSED_FEW && refused * 100.0 > accepted * REFUSED_PERCENT {
            let most = self.all("annals_records_refused_total").max_by(|(_, a), (_, b)| a.total_cmp(b));
            let reason = most.map_or("", |(labels, _)| labels.trim_matches(['{', '}']));
            let what = format!("{refused} records were refused beside {accepted}, most for {reason}");
            visit.odd("intake", what, "the page shows them by site and field under `Ingest`");
        }
    }
}
