//! The index of a block of a million series: how long it takes to write, to read, and to look something up.

use annals::{BlockContent, BlockId, ChunkAge, Lsn, LsnRange, MatchOp, Matcher, SeriesKind, TenantNumber};
use annals_benches::cpu_time;
use annals_benches::sets::{START, hicard};
use annals_block::{BlockIdentity, MetricBlock, MetricBlockWriter};

pub(crate) fn run() {
    let day = START.saturating_add(1).day();
    let id = BlockId { day, content: BlockContent::RawMetrics, sequence: 1 };
    let identity = BlockIdentity { tenant: TenantNumber(1), id };
    let mut labels: Vec<_> = (0..hicard::SERIES).map(hicard::labels).collect();
    labels.sort();
    let stamps = [START.0 + 1];
    let seconds = || cpu_time::of_thread().unwrap_or(0.0);
    let started = seconds();
    let lsns = LsnRange { after: Lsn(0), through: Lsn(1) };
    let mut writer = MetricBlockWriter::new(identity, lsns, 0, ChunkAge::Fresh);
    for labels in &labels {
        writer.add_series(labels, SeriesKind::Gauge, &stamps, &[1.0], &[]).expect("valid series");
    }
    let bytes = writer.finish().expect("small enough").expect("not empty").bytes;
    println!(
        "index: a million series of one sample: {:.1} bytes/series, written in {:.0} ms",
        bytes.len() as f64 / labels.len() as f64,
        (seconds() - started) * 1e3
    );
    let bytes = annals::vfs::Sealed::new(bytes);
    let started = seconds();
    for _ in 0..1000 {
        MetricBlock::open(bytes.clone(), identity, "index").expect("our own");
    }
    println!("index: opened a thousand times in {:.1} ms", (seconds() - started) * 1e3);
    let block = MetricBlock::open(bytes, identity, "index").expect("our own");
    let find = |what: &str, matchers: &[Matcher]| {
        let (mut best, mut found) = (f64::MAX, 0);
        for _ in 0..5 {
            let started = seconds();
            found = block.find(matchers).expect("undamaged").len();
            best = best.min(seconds() - started);
        }
        println!("index: {what}: {found} series in {:.3} ms", best * 1e3);
    };
    let started = seconds();
    let name = Matcher::equal("__name__", "container_cpu_usage");
    block.find(std::slice::from_ref(&name)).expect("undamaged");
    println!("index: the first look-up reads the index: {:.0} ms", (seconds() - started) * 1e3);
    let started = seconds();
    block.labels(7).expect("there");
    println!("index: the first series reads the table: {:.0} ms", (seconds() - started) * 1e3);
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).expect("valid");
    find("one pod", &[Matcher::equal("pod", labels[500_000].get("pod"))]);
    find("one namespace", &[name.clone(), Matcher::equal("namespace", "ns-7")]);
    find(
        "one namespace and one container",
        &[Matcher::equal("namespace", "ns-7"), Matcher::equal("container", "log")],
    );
    find("pods of a prefix", &[matcher("pod", MatchOp::Regex, "pod-1.*")]);
    find(
        "pods of an alternation",
        &[matcher("pod", MatchOp::Regex, &format!("{}|pod-0", labels[3].get("pod")))],
    );
    find("pods by an expression without a prefix", &[matcher("pod", MatchOp::Regex, ".*00")]);
    find("all but one namespace", &[matcher("namespace", MatchOp::NotEqual, "ns-7")]);
    let started = seconds();
    let mut bytes = 0;
    for ordinal in (0..block.series_count()).step_by(10) {
        bytes += block.labels(ordinal).expect("there").as_bytes().len();
    }
    assert!(bytes > 0);
    println!("index: labels of 100,000 series in {:.0} ms", (seconds() - started) * 1e3);
}
