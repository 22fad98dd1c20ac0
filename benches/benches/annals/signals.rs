//! A block of a million raw signals of one day, requests and sign-ins of twenty sites: its size, and how fast it is listed,
//! searched and counted.

use std::sync::Arc;

use annals::schema::SignalSchema;
use annals::{
    BlockContent, BlockId, FieldValue, Lsn, LsnRange, MatchOp, Matcher, Pseudonym, SignalRow, SiteName,
    TenantNumber, TimeRange, Timestamp,
};
use annals_benches::cpu_time;
use annals_benches::sets::{Random, START};
use annals_block::{BlockIdentity, SignalBlock, SignalBlockWriter, SignalCounts};

const ROWS: u64 = 1_000_000;

/// Row `at` of a day: nine requests to one sign-in.
fn row(random: &mut Random, schema: &SignalSchema, sites: &[SiteName], at: u64) -> SignalRow {
    let kind = if at.is_multiple_of(10) { "auth.attempt" } else { "http.request" };
    let schema = schema.kind(kind).expect("built in");
    let pick = |random: &mut Random, texts: &[&str]| {
        // Skewed: the first are most of them.
        let at = random.below(texts.len() as u64).min(random.below(texts.len() as u64));
        FieldValue::Name(texts[at as usize].into())
    };
    let client = |random: &mut Random| {
        let client = random.below(3000).min(random.below(3000));
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&client.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        hash[8..].copy_from_slice(&client.wrapping_mul(0xd6e8_feb8_6659_fd93).to_le_bytes());
        FieldValue::Pseudonym(Pseudonym { hash, length: 8 + (client % 8) as u16 })
    };
    let routes: Vec<String> = (0..60).map(|route| format!("/r/{route}/:id")).collect();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let fields = schema.fields.iter().map(|field| match &*field.name {
        "method" if kind == "http.request" => Some(pick(random, &["GET", "POST", "HEAD", "PUT"])),
        "method" => Some(pick(random, &["password", "token"])),
        "result" => Some(pick(random, &["success", "failure"])),
        "status" => Some(FieldValue::Integer(
            [200, 200, 304, 404, 500][random.below(5).min(random.below(5)) as usize],
        )),
        "route" => Some(pick(random, &routes)),
        "duration" => Some(FieldValue::Integer(random.below(400).min(random.below(4000)) as i64)),
        "bytes" => Some(FieldValue::Integer(random.below(1 << 14) as i64)),
        "client" => Some(client(random)),
        _ => None,
    });
    let fields = fields.collect();
    let site = sites[random.below(20).min(random.below(20)) as usize].clone();
    let time = Timestamp(START.0 + 1 + (at * 86_390 / 1000) as i64);
    SignalRow { kind: Arc::clone(&schema.name), site, time, fields }
}

pub(crate) fn run() {
    let id = BlockId { day: START.saturating_add(1).day(), content: BlockContent::RawSignals, sequence: 1 };
    let identity = BlockIdentity { tenant: TenantNumber(1), id };
    let lsns = LsnRange { after: Lsn(0), through: Lsn(1) };
    let schema = annals::signals::builtin();
    let sites: Vec<SiteName> =
        (0..20).map(|site| SiteName::new(&format!("site-{site}.example")).expect("valid")).collect();
    let mut random = Random::new(7);
    let seconds = || cpu_time::of_thread().unwrap_or(0.0);
    let rows: Vec<SignalRow> = (0..ROWS).map(|at| row(&mut random, &schema, &sites, at)).collect();
    let started = seconds();
    let mut writer = SignalBlockWriter::new(identity, lsns, 1, schema.kinds.clone());
    rows.iter().for_each(|row| writer.add(row).expect("a row of the schema"));
    let bytes = writer.finish().expect("small enough").expect("not empty").bytes;
    println!(
        "signals: {ROWS} rows: {:.2} bytes/row, written at {:.2} M rows/s",
        bytes.len() as f64 / ROWS as f64,
        ROWS as f64 / (seconds() - started) / 1e6
    );
    let block = SignalBlock::open(annals::vfs::Sealed::new(bytes), identity, "signals").expect("our own");
    let range = TimeRange::new(Timestamp(START.0 + 3_600_000), Timestamp(START.0 + 20 * 3_600_000));
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).expect("valid");
    let searches: [(&str, Vec<Matcher>); 6] = [
        ("all", vec![]),
        ("one kind", vec![Matcher::equal("kind", "auth.attempt")]),
        ("one site", vec![Matcher::equal("site", "site-17.example")]),
        ("server errors", vec![matcher("status", MatchOp::Regex, "5..")]),
        (
            "one route's errors of one site",
            vec![
                Matcher::equal("route", "/r/55/:id"),
                Matcher::equal("status", "500"),
                Matcher::equal("site", "site-3.example"),
            ],
        ),
        ("one client", vec![matcher("client", MatchOp::Regex, "15.*")]),
    ];
    for (what, matchers) in &searches {
        let (mut listing, mut counting, mut listed, mut counted) = (f64::MAX, f64::MAX, 0, 0);
        for _ in 0..5 {
            let started = seconds();
            listed = block.scan(range, matchers).expect("undamaged").filter(Result::is_ok).count() as u64;
            listing = listing.min(seconds() - started);
            let started = seconds();
            let mut counts = SignalCounts::default();
            block.count(range, matchers, &mut counts).expect("undamaged");
            counted = counts.rows.values().sum();
            counting = counting.min(seconds() - started);
        }
        assert_eq!(listed, counted);
        let rate = |took: f64| 19.0 / 24.0 * ROWS as f64 / took / 1e6;
        println!(
            "signals: {what}: {listed} of 19 hours listed in {:.1} ms ({:.0} M rows/s searched), counted in {:.2} ms ({:.0} M rows/s)",
            listing * 1e3,
            rate(listing),
            counting * 1e3,
            rate(counting)
        );
    }
}
