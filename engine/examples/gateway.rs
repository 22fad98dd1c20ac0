//! What a gateway does: open, create a tenant, write a batch of signals and read the verdicts, write it again as a
//! retry, query, report.
//!
//! `cargo run -p annals --example gateway [DIR]` keeps the store in DIR, otherwise in a directory that is removed.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use annals::query::report::{ReportRequest, Scope, Span};
use annals::vfs::{Clock, Entropy, RealVfs, SystemClock, SystemEntropy};
use annals::{
    Annals, BatchId, MINUTE_MS, Options, Plan, Signal, SignalBatch, SiteName, TenantError, TenantId,
    Timestamp, Verdict,
};

fn main() -> Result<(), Box<dyn Error>> {
    let kept = std::env::args_os().nth(1).map(PathBuf::from);
    let root = kept
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("annals-gateway-{}", std::process::id())));
    let outcome = run(root.clone());
    if kept.is_none() {
        std::fs::remove_dir_all(root)?;
    }
    outcome
}

pub(crate) fn run(root: PathBuf) -> Result<(), Box<dyn Error>> {
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    let now = Timestamp(clock.now_ms());
    let store = Annals::open(Arc::new(RealVfs), clock.clone(), entropy.clone(), &root, Options::default())?;
    for finding in &store.recovery().findings {
        eprintln!("recovery: {finding}");
    }

    let acme = TenantId::new("acme")?;
    let plan = Plan::built_in("professional").ok_or("a built-in plan")?;
    let tenant = match store.create_tenant(&acme, plan) {
        Err(TenantError::Exists(_)) => store.tenant(&acme)?,
        other => other?,
    };

    // A site's plugin sends what it has gathered, under an id that it keeps until the batch is acknowledged.
    let site = SiteName::new("shop.example")?;
    let mut id = [0; 16];
    entropy.fill(&mut id)?;
    let attempt = |minutes_ago: i64, result: &str| {
        Signal::new("auth.attempt", now.saturating_add(-minutes_ago * MINUTE_MS))
            .with("result", result)
            .with("method", "password")
            .with("user", "ada@example.com") // becomes a keyed hash on admission
    };
    let batch = SignalBatch {
        id: BatchId(id),
        site: site.clone(),
        signals: vec![
            attempt(3, "failure"),
            attempt(2, "failure"),
            attempt(1, "success"),
            attempt(1, "maybe"), // no such result: this record is refused, its neighbours are not
        ],
    };
    let acknowledgement = tenant.write_signals(&batch)?.wait()?;
    println!("{} accepted, {:?}", acknowledgement.accepted(), acknowledgement.durability);
    for (index, verdict) in acknowledgement.verdicts().enumerate() {
        if let Verdict::Refused(refusal) = verdict {
            println!("record {index} refused: {refusal}");
        }
    }

    // The answer was lost on the way, the plugin sends again: nothing is counted twice.
    let retry = tenant.write_signals(&batch)?.wait()?;
    println!("retry: duplicate = {}", retry.duplicate);

    let expression = "sum by (result) (increase(auth_attempts[1h]))";
    let answer = tenant.reader().query(expression, now.saturating_add(MINUTE_MS))?;
    println!("{expression}\n{:?}", answer.value);

    let zone = jiff::tz::TimeZone::UTC;
    let today = jiff::Timestamp::from_millisecond(now.0)?.to_zoned(zone.clone()).date();
    let report = tenant.report_reader().report(&ReportRequest::new(
        acme,
        Scope::Site(site),
        zone,
        Span::WEEK,
        today,
    ))?;
    println!("{}", report.to_markdown());
    store.close()?;
    Ok(())
}
