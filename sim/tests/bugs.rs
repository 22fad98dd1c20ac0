//! Every planted bug is noticed; `cargo run --release -p annals-sim -- bugs` says by which campaign.

use annals_sim::campaign::Size;

#[test]
fn every_planted_bug_is_noticed_and_nothing_is_without_one() {
    let bugs = annals_sim::planted::CAMPAIGNS.first().expect("there is one");
    let report = (bugs.run)(&Size::new(None, 1, None));
    assert!(report.failures.is_empty(), "{report}\n{}", report.failures.join("\n"));
    assert!(report.states > 30, "{report}");
}
