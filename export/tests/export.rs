//! What an export promises, on a simulated disk: everything, once, the same bytes again, and whole or not at all.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use annals::vfs::{SimCalls, SimClock, SimCut, SimEntropy, SimError, SimFault, SimVfs};
use annals::*;
use annals_export::{Content, ExportError, Exported, Format, Manifest, Request, VerifyError};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// 2026-09-21T14:13:20Z.
const NOW: i64 = 1_790_000_000_000;
const ALL: [Format; 3] = [Format::Parquet, Format::OpenMetrics, Format::JsonLines];

struct Machine {
    vfs: SimVfs,
    clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
}

impl Machine {
    fn new() -> Machine {
        let (clock, entropy) = (Arc::new(SimClock::new(NOW)), Arc::new(SimEntropy::new(1)));
        Machine { vfs: SimVfs::new(), clock, entropy }
    }

    fn open(&self) -> Annals {
        let options = Options { background: Background::Steps, log_bytes_max: 8 << 20, ..Options::default() };
        let vfs = Arc::new(self.vfs.clone());
        Annals::open(vfs, self.clock.clone(), self.entropy.clone(), "/data".as_ref(), options).expect("opens")
    }

    fn reader(&self) -> Result<ExportReader, TenantError> {
        let vfs = Arc::new(self.vfs.clone());
        ReadOnly::open(vfs, self.clock.clone(), "/data".as_ref()).expect("opens").export(&acme())
    }

    fn export_to(&self, directory: &str, formats: &[Format]) -> Result<Exported, ExportError> {
        let request = Request { directory: directory.as_ref(), formats };
        annals_export::export(&self.reader().expect("allowed"), &self.vfs, &request, &mut |_| {})
    }

    fn export(&self, directory: &str) -> Manifest {
        self.export_to(directory, &ALL).expect("exported").manifest
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.vfs.read_file(path).expect("there")).expect("text")
    }

    /// The rows of a Parquet file, by column.
    fn rows(&self, path: &str) -> Vec<BTreeMap<String, Field>> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&self.vfs.read_file(path).expect("there")).expect("written");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let rows = reader.get_row_iter(None).expect("rows");
        rows.map(|row| {
            let row = row.expect("a row");
            row.get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect()
        })
        .collect()
    }

    fn maintain(&self, store: &Annals) {
        for _ in 0..1_000 {
            if store.maintenance_step().expect("maintenance works").is_none() {
                return;
            }
        }
        panic!("maintenance never ends");
    }
}

fn acme() -> TenantId {
    TenantId::new("acme").expect("valid")
}

fn plan(name: &str) -> Plan {
    Plan::built_in(name).expect("built in")
}

fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied()).expect("valid")
}

fn batch(number: u8) -> SampleBatch {
    SampleBatch::new(BatchId([number; 16]), SiteName::new("host").expect("valid"))
}

fn histogram(count: f64) -> Histogram {
    Histogram { count, sum: 0.5, positive: vec![(1, count - 1.0), (4, 1.0)], ..Histogram::default() }
}

/// Every kind of series and two kinds of signals, over two days; a label that is named like a column; the end of a series.
fn fill(tenant: &Tenant) {
    let mut samples = batch(1);
    for (labels, kind) in [
        (labels(&[("__name__", "load"), ("host", "a"), ("value", "x")]), SeriesKind::Gauge),
        (labels(&[("__name__", "hits_total"), ("host", "b\"\\\n")]), SeriesKind::Counter),
        (labels(&[("__name__", "events"), ("host", "a")]), SeriesKind::Delta),
        (labels(&[("__name__", "took"), ("host", "a")]), SeriesKind::Histogram),
    ] {
        samples.series.push((labels, kind));
    }
    for (step, value) in [0.25, 1e300, -0.0, f64::NAN, f64::INFINITY].into_iter().enumerate() {
        let time = Timestamp(NOW - DAY_MS + step as i64 * 10_001);
        samples.push(0, time, value);
        // Its process began two days ago; of the last two samples nobody said it.
        let start = if step < 3 { NOW - 2 * DAY_MS } else { START_UNKNOWN };
        samples.push_since(1, time, step as f64 * 3.0, Timestamp(start));
        samples.push(2, Timestamp(NOW + step as i64 * 60_000), 2.0);
        samples.push_histogram_since(3, time, histogram(step as f64 + 3.0), Timestamp(start));
    }
    samples.push(0, Timestamp(NOW - DAY_MS + 60_000), f64::from_bits(STALE_NAN_BITS));
    let answer = tenant.write_samples(&samples).expect("taken").wait().expect("durable");
    assert_eq!(answer.refused, vec![]);
    let signals = vec![
        Signal::new("auth.attempt", Timestamp(NOW))
            .with("result", "failure")
            .with("method", "password")
            .with("user", "jane"),
        Signal::new("http.request", Timestamp(NOW + 1))
            .with("method", "GET")
            .with("status", 404)
            .with("duration", 12),
        Signal::new("auth.attempt", Timestamp(NOW + 2)).with("result", "success").with("method", "key"),
    ];
    let site = SiteName::new("shop.example").expect("valid");
    let signals = SignalBatch { id: BatchId([9; 16]), site, signals };
    let answer = tenant.write_signals(&signals).expect("taken").wait().expect("durable");
    assert_eq!(answer.refused, vec![]);
}

fn filled(machine: &Machine, plan_name: &str) -> Annals {
    let store = machine.open();
    fill(&store.create_tenant(&acme(), plan(plan_name)).expect("created"));
    store.commit_step();
    store
}

#[test]
fn an_export_has_every_sample_histogram_and_signal_in_every_format() {
    let machine = Machine::new();
    let store = filled(&machine, "archive");
    store.settle().expect("settled");
    let manifest = machine.export("/out");
    assert_eq!((manifest.tenant.as_str(), manifest.plan.as_str()), ("acme", "archive"));
    assert_eq!(manifest.label_columns["value"], "label_value");
    assert_eq!((manifest.missing.len(), manifest.left_out.len()), (0, 0), "{manifest:?}");
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "metrics/2026-09-20.parquet",
            "metrics/2026-09-20.om",
            "metrics/2026-09-20.jsonl",
            "histograms/2026-09-20.parquet",
            "histograms/2026-09-20.jsonl",
            "metrics/2026-09-21.parquet",
            "metrics/2026-09-21.om",
            "metrics/2026-09-21.jsonl",
            "signals/auth.attempt/2026-09-21.parquet",
            "signals/auth.attempt/2026-09-21.jsonl",
            "signals/http.request/2026-09-21.parquet",
            "signals/http.request/2026-09-21.jsonl",
        ]
    );
    assert_eq!(manifest.rows(Content::Signals), 3);

    // Bit for bit, in the order of metrics and labels.
    let rows = machine.rows("/out/metrics/2026-09-20.parquet");
    let value = |row: &BTreeMap<String, Field>| match &row["value"] {
        Field::Double(value) => Some(value.to_bits()),
        Field::Null => None,
        other => panic!("{other}"),
    };
    let loads: Vec<_> = rows.iter().filter(|row| row["metric"] == Field::Str("load".to_owned())).collect();
    let written = [0.25, 1e300, -0.0, f64::NAN, f64::INFINITY].map(|value: f64| Some(value.to_bits()));
    assert_eq!(loads.iter().map(|row| value(row)).collect::<Vec<_>>(), [&written[..], &[None]].concat());
    assert_eq!(loads[0]["label_value"], Field::Str("x".to_owned()));
    assert_eq!(loads[0]["timestamp"], Field::TimestampMillis(NOW - DAY_MS));
    assert_eq!(rows[0]["metric"], Field::Str("hits_total".to_owned()));
    assert_eq!(
        (&rows[0]["host"], &rows[0]["label_value"]),
        (&Field::Str("b\"\\\n".to_owned()), &Field::Null)
    );
    assert_eq!(rows[0]["series_kind"], Field::Str("counter".to_owned()));
    let begun = Field::TimestampMillis(NOW - 2 * DAY_MS);
    assert_eq!((&rows[0]["start_time"], &rows[4]["start_time"]), (&begun, &Field::Null));
    assert!(loads.iter().all(|row| row["start_time"] == Field::Null));

    let histograms = machine.rows("/out/histograms/2026-09-20.parquet");
    assert_eq!(histograms.len(), 5);
    assert_eq!((&histograms[0]["start_time"], &histograms[4]["start_time"]), (&begun, &Field::Null));
    assert_eq!(histograms[4]["count"], Field::Double(7.0));
    assert_eq!(histograms[4]["positive_index"].to_string(), "[1, 4]");
    assert_eq!(histograms[4]["positive_count"].to_string(), "[6.0, 1.0]");
    assert_eq!(histograms[4]["negative_count"].to_string(), "[]");

    let attempts = machine.rows("/out/signals/auth.attempt/2026-09-21.parquet");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["result"], Field::Str("failure".to_owned()));
    assert_eq!((&attempts[0]["user_length"], &attempts[1]["user"]), (&Field::Long(4), &Field::Null));
    assert!(matches!(&attempts[0]["user"], Field::Str(hash) if hash.len() == 32));
    let requests = machine.rows("/out/signals/http.request/2026-09-21.parquet");
    assert_eq!((&requests[0]["status"], &requests[0]["duration"]), (&Field::Long(404), &Field::Long(12)));

    let text = machine.text("/out/metrics/2026-09-20.om");
    assert_eq!(
        text.lines().take(2).collect::<Vec<_>>(),
        ["# TYPE hits counter", r#"hits_total{host="b\"\\\n"} 0 1789913600"#]
    );
    assert!(text.contains("\nload{host=\"a\",value=\"x\"} 0.25 1789913600\n"), "{text}");
    assert!(text.ends_with("\n# EOF\n") && !text.contains("took"), "{text}");
    let open_metrics = manifest.files.iter().find(|file| file.name.ends_with("20.om")).expect("there");
    assert_eq!((open_metrics.rows, open_metrics.left_out["marks of a series' end"]), (10, 1));
    let lines = machine.text("/out/metrics/2026-09-20.jsonl");
    assert!(lines.contains(
        r#""kind":"gauge","values":[0.25,1e300,-0,"NaN","+Inf",null],"timestamps":[1789913600000,"#
    ));
    assert!(
        lines.contains(&format!(r#","start_times":[{0},{0},{0},null,null]}}"#, NOW - 2 * DAY_MS)),
        "{lines}"
    );
    let lines = machine.text("/out/histograms/2026-09-20.jsonl");
    assert_eq!(lines.matches(&format!(r#","start_time":{}}}"#, NOW - 2 * DAY_MS)).count(), 3, "{lines}");
    let lines = machine.text("/out/signals/auth.attempt/2026-09-21.jsonl");
    assert!(lines.starts_with(
        r#"{"kind":"auth.attempt","method":"password","result":"failure","site":"shop.example","#
    ));
}

#[test]
fn what_no_asked_format_can_hold_is_said_to_be_left_out() {
    let machine = Machine::new();
    drop(filled(&machine, "archive"));
    let manifest = machine.export_to("/out", &[Format::OpenMetrics]).expect("exported").manifest;
    let left_out: Vec<_> = manifest.left_out.iter().map(|(what, rows)| (what.as_str(), *rows)).collect();
    assert_eq!(left_out, [("histograms", 5), ("signals", 3)]);
}

#[test]
fn the_same_data_gives_the_same_bytes_wherever_it_lies() {
    let machine = Machine::new();
    drop(filled(&machine, "archive"));
    let in_log = machine.export_to("/one", &ALL).expect("exported");
    let again = machine.export_to("/two", &ALL).expect("exported");
    assert_eq!(in_log.sha256, again.sha256);
    machine.open().settle().expect("settled");
    let in_blocks = machine.export("/three");
    assert_eq!(in_blocks.files, in_log.manifest.files);
    assert!(in_blocks.generation > in_log.manifest.generation);
    assert_eq!((in_blocks.unflushed_samples, in_log.manifest.unflushed_signals), (0, 3));
}

#[test]
fn an_export_is_of_one_moment_beside_a_writer() {
    let machine = Machine::new();
    let store = filled(&machine, "archive");
    let reader = machine.reader().expect("allowed");
    let before = machine.export("/before");
    // Everything moves under the reader: new data, new blocks, old blocks gone.
    let mut more = batch(2);
    more.series.push((labels(&[("__name__", "load"), ("host", "a"), ("value", "x")]), SeriesKind::Gauge));
    more.push(0, Timestamp(NOW - DAY_MS), 99.0);
    let tenant = store.tenant(&acme()).expect("there");
    tenant.write_samples(&more).expect("taken").wait().expect("durable");
    store.settle().expect("settled");
    let request = Request { directory: "/after".as_ref(), formats: &ALL };
    let after =
        annals_export::export(&reader, &machine.vfs, &request, &mut |_| {}).expect("exported").manifest;
    assert_eq!(after, before);
    assert_ne!(machine.export("/new").files, before.files);
}

#[test]
fn only_a_plan_with_the_right_lets_data_out() {
    let machine = Machine::new();
    let _store = filled_signals(&machine, "professional");
    let refused = machine.reader().expect_err("no right");
    assert!(matches!(&refused, TenantError::NoRight { right: "export", plan, .. } if plan == "professional"));
    let text = refused.to_string();
    assert!(text.contains("`professional`") && text.contains("`export`"), "{text}");
}

fn filled_signals(machine: &Machine, plan_name: &str) -> Annals {
    let store = machine.open();
    let tenant = store.create_tenant(&acme(), plan(plan_name)).expect("created");
    let site = SiteName::new("shop.example").expect("valid");
    let signals = (0..50)
        .map(|n| Signal::new("mail.sent", Timestamp(NOW + n * 60_000)).with("result", "sent"))
        .collect();
    let batch = SignalBatch { id: BatchId([5; 16]), site, signals };
    machine.clock.set_ms(NOW + 3_600_000);
    tenant.write_signals(&batch).expect("taken").wait().expect("durable");
    store
}

#[test]
fn a_cancelled_tenant_is_exported_and_an_erased_one_is_not() {
    let machine = Machine::new();
    let store = filled(&machine, "enterprise");
    store.tenant(&acme()).expect("there").cancel().expect("cancelled");
    assert!(machine.export("/cancelled").rows(Content::Samples) > 0);
    let reader = machine.reader().expect("allowed");
    store.erase_tenant(&acme()).expect("erased");
    let request = Request { directory: "/erased".as_ref(), formats: &ALL };
    let error = annals_export::export(&reader, &machine.vfs, &request, &mut |_| {}).expect_err("gone");
    assert!(matches!(error, ExportError::Tenant(TenantError::Unknown(_))), "{error}");
    assert!(!machine.vfs.exists("/erased"));
}

#[test]
fn days_whose_samples_have_expired_come_as_windows_and_never_as_samples() {
    let machine = Machine::new();
    let store = filled(&machine, "enterprise");
    machine.clock.set_ms(NOW + 3 * DAY_MS);
    machine.maintain(&store);
    let raw = machine.export("/raw");
    let sum = |path: &str, column: &str, metric: &str| -> f64 {
        let rows = machine.rows(path);
        let of_metric = rows.iter().filter(|row| row["metric"] == Field::Str(metric.to_owned()));
        of_metric.map(|row| if let Field::Double(value) = row[column] { value } else { 0.0 }).sum()
    };
    let events = sum("/raw/metrics/2026-09-21.parquet", "value", "events");
    assert_eq!(events, 10.0);
    for (days, folder, resolution) in [(100, "5m", "5m"), (500, "1h", "1h")] {
        machine.clock.set_ms(NOW + days * DAY_MS);
        machine.maintain(&store);
        let directory = format!("/{folder}");
        let manifest = machine.export(&directory);
        assert!(manifest.files.iter().all(|file| file.resolution == resolution), "{manifest:?}");
        assert_eq!((manifest.rows(Content::Samples), manifest.rows(Content::Signals)), (0, 0));
        let windows = format!("{directory}/windows-{folder}/2026-09-21.parquet");
        assert_eq!(sum(&windows, "sum", "events"), events);
        let histograms = machine.rows(&format!("{directory}/histograms-{folder}/2026-09-20.parquet"));
        assert_eq!(histograms.last().expect("left")["count"], Field::Double(7.0));
        let of_load = machine.rows(&format!("{directory}/windows-{folder}/2026-09-20.parquet"));
        let of_load =
            of_load.iter().find(|row| row["metric"] == Field::Str("load".to_owned())).expect("there");
        assert_eq!((&of_load["count"], &of_load["first"]), (&Field::Long(5), &Field::Double(0.25)));
        assert_eq!(of_load["ended_at"], Field::TimestampMillis(NOW - DAY_MS + 60_000));
        let lines = machine.text(&format!("{directory}/windows-{folder}/2026-09-21.jsonl"));
        assert!(lines.contains(r#""kind":"delta","end":"#) && lines.contains(r#""sum":"#), "{lines}");
    }
    assert!(raw.rows(Content::Samples) > 0);
    machine.clock.set_ms(NOW + 1_200 * DAY_MS);
    assert_eq!(machine.export("/nothing").files, []);
}

#[test]
fn a_damaged_block_is_named_and_the_rest_exported() {
    let machine = Machine::new();
    let store = filled(&machine, "archive");
    store.settle().expect("settled");
    drop(store);
    let whole = machine.export("/whole");
    let is_of_day = |path: &Path| path.to_string_lossy().contains("/b/20260920-raw");
    let block = machine.vfs.paths().into_iter().find(|path| is_of_day(path)).expect("there");
    let bytes = machine.vfs.read_file(&block).expect("there").len() as u64;
    for offset in (0..bytes).step_by(37) {
        machine.vfs.corrupt(&block, offset, 0x40).expect("flipped");
        let directory = format!("/damaged-{offset}");
        let damaged = machine.export(&directory);
        machine.vfs.corrupt(&block, offset, 0x40).expect("flipped back");
        let rows =
            |manifest: &Manifest| (manifest.rows(Content::Samples), manifest.rows(Content::Histograms));
        if damaged.missing.is_empty() {
            assert_eq!(damaged.files, whole.files, "offset {offset}: something is not there and not named");
        } else {
            assert!(damaged.missing.iter().all(|part| part.why.contains("20260920-raw")), "{damaged:?}");
            assert!(rows(&damaged) <= rows(&whole));
        }
        // The other day, signals and all.
        assert!(whole.files.iter().filter(|f| f.name.contains("09-21")).all(|f| damaged.files.contains(f)));
        let verified = annals_export::verify(&machine.vfs, directory.as_ref()).expect("an export");
        assert_eq!(verified.problems, []);
    }
}

#[test]
fn a_failure_at_any_call_leaves_nothing_that_is_taken_for_an_export() {
    let machine = Machine::new();
    drop(filled(&machine, "archive"));
    let reader = machine.reader().expect("allowed");
    let request = Request { directory: "/out".as_ref(), formats: &ALL };
    let mut failures = 0;
    for at in 0.. {
        machine.vfs.fail(SimFault::once(SimCalls::Mutating, at, SimError::NoSpace));
        let outcome = annals_export::export(&reader, &machine.vfs, &request, &mut |_| {});
        machine.vfs.clear_faults();
        if outcome.is_ok() {
            break;
        }
        failures += 1;
        assert!(!machine.vfs.exists("/out"), "call {at} leaves {:?}", machine.vfs.paths());
    }
    assert!(failures > 20, "{failures} calls failed");
    let verified = annals_export::verify(&machine.vfs, "/out".as_ref()).expect("an export");
    assert_eq!(verified.problems, []);
}

#[test]
fn a_power_cut_at_any_call_leaves_an_export_that_is_whole_or_has_no_manifest() {
    let machine = Machine::new();
    drop(filled(&machine, "archive"));
    let (mut cuts, mut whole) = (0, false);
    for at in 0.. {
        let disk = machine.vfs.snapshot();
        let reader = ReadOnly::open(Arc::new(disk.clone()), machine.clock.clone(), "/data".as_ref());
        let reader = reader.expect("opens").export(&acme()).expect("allowed");
        disk.set_crash_at(disk.calls() + at);
        let request = Request { directory: "/out".as_ref(), formats: &[Format::JsonLines] };
        let outcome = annals_export::export(&reader, &disk, &request, &mut |_| {});
        drop(reader);
        let crashed = disk.crashed();
        for cut in SimCut::all(at) {
            let left = disk.snapshot();
            left.power_cut(cut);
            match annals_export::verify(&left, "/out".as_ref()) {
                Ok(verified) => {
                    assert_eq!(verified.problems, [], "call {at}, {cut:?}");
                    whole = true;
                }
                Err(VerifyError::NoManifest { .. }) => {
                    assert!(outcome.is_err(), "call {at}, {cut:?}: it was said to be whole");
                }
                Err(other) => panic!("call {at}, {cut:?}: {other}"),
            }
        }
        if !crashed {
            assert!(outcome.is_ok() && whole);
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 20, "{cuts} cuts");
}

#[test]
fn an_export_is_not_mixed_with_what_is_there() {
    let machine = Machine::new();
    drop(filled(&machine, "archive"));
    machine.export("/out");
    assert!(matches!(machine.export_to("/out", &ALL), Err(ExportError::Exists { .. })));
    machine.vfs.make_dirs(["/other"]);
    machine.export_to("/other", &ALL).expect("an empty directory is taken");
    machine.vfs.make_dirs(["/used"]);
    machine.vfs.write_file("/used/notes.txt", b"mine").expect("written");
    assert!(matches!(machine.export_to("/used", &ALL), Err(ExportError::NotEmpty { .. })));
    assert_eq!(machine.vfs.read_file("/used/notes.txt").expect("there"), b"mine");
}

#[test]
fn every_changed_missing_or_foreign_file_of_an_export_is_named() {
    let machine = Machine::new();
    drop(filled(&machine, "archive"));
    let manifest = machine.export("/out");
    let problems = |disk: &SimVfs| -> Vec<(String, String)> {
        let verified = annals_export::verify(disk, "/out".as_ref()).expect("an export");
        verified.problems.into_iter().map(|problem| (problem.name, problem.what)).collect()
    };
    assert_eq!(problems(&machine.vfs), []);
    for file in &manifest.files {
        let disk = machine.vfs.snapshot();
        let path = format!("/out/{}", file.name);
        disk.corrupt(&path, file.bytes / 2, 1).expect("flipped");
        assert_eq!(
            problems(&disk),
            [(file.name.clone(), "its bytes are not those that were written".to_owned())]
        );
        disk.write_file(&path, b"short").expect("written");
        assert!(problems(&disk)[0].1.contains("it has 5 bytes"));
    }
    let disk = machine.vfs.snapshot();
    disk.write_file("/out/metrics/more.parquet", b"x").expect("written");
    assert_eq!(
        problems(&disk),
        [("metrics/more.parquet".to_owned(), "the manifest does not name it".to_owned())]
    );

    // A manifest may say anything.
    let text = machine.text("/out/manifest.json");
    let name = &manifest.files[0].name;
    for (from, to, what) in [
        (name.as_str(), "../data/LOCK", "not in the directory"),
        (name.as_str(), "/data/LOCK", "not in the directory"),
        (name.as_str(), "nowhere", "it is missing"),
    ] {
        let disk = machine.vfs.snapshot();
        disk.write_file("/out/manifest.json", text.replace(from, to).as_bytes()).expect("written");
        assert!(problems(&disk).iter().any(|(_, told)| told.contains(what)), "{to}");
    }
    for changed in
        [text.replace("\"annals_export\": 1", "\"annals_export\": 2"), "{}".to_owned(), "[1".to_owned()]
    {
        let disk = machine.vfs.snapshot();
        disk.write_file("/out/manifest.json", changed.as_bytes()).expect("written");
        let error = annals_export::verify(&disk, "/out".as_ref()).expect_err("none");
        assert!(matches!(error, VerifyError::Manifest { .. }), "{error}");
    }
}
