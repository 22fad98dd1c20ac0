//! A short slice of the campaigns on real kernels. `cargo run --release -p annals-sim -- kill`, and `calls`, `tmpfs`,
//! `ext4`, `xfs`, `mapped`, run them in full.

use std::io::Write as _;
use std::path::Path;

use annals_sim::campaign::{Report, Size};
use annals_sim::kernel::power::Kind;
use annals_sim::kernel::{calls, kill, mapped, power, space};

/// The program that becomes the child.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_annals-sim"))
}

fn size(count: u64) -> Size {
    Size::new(Some(count), 1, None)
}

/// Nothing failed, and what could not run says so in plain sight.
fn holds(report: &Report) {
    let _ = writeln!(std::io::stderr(), "{report}");
    assert_eq!(report.failures, [""; 0], "{report}");
    assert!(report.states > 0 || report.skipped.is_some(), "{report}");
}

fn count(report: &Report, name: &str) -> u64 {
    let value = report.counts.iter().find(|(count, _)| *count == name).map(|(_, value)| value.parse());
    value.and_then(Result::ok).unwrap_or_else(|| panic!("{report} counts {name}"))
}

#[test]
fn nothing_acknowledged_is_lost_or_counted_twice_by_sigkill() {
    let report = kill::run_with(program(), &size(40));
    holds(&report);
    assert!(count(&report, "acknowledged") > 0, "the writers never got anywhere: {report}");
    assert!(report.skipped.is_some() || count(&report, "at_calls") > 0, "{report}");
}

#[test]
fn a_failing_system_call_ends_in_an_error_that_says_where_and_loses_nothing() {
    let report = calls::run_with(program(), &size(24));
    holds(&report);
    assert!(report.skipped.is_some() || count(&report, "refused") > 0, "{report}");
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room() {
    let report = space::run_with(program(), &size(8));
    holds(&report);
    assert!(report.skipped.is_some() || count(&report, "refused") > 0, "{report}");
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut_of_ext4() {
    holds(&power::run_with(program(), Kind::Ext4, &size(8)));
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut_of_xfs() {
    holds(&power::run_with(program(), Kind::Xfs, &size(6)));
}

#[test]
fn a_block_that_is_cut_under_a_reader_never_gives_a_wrong_answer() {
    holds(&mapped::run_with(program()));
}
