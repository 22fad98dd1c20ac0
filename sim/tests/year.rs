//! A slice of the year of many tenants.

use annals_sim::campaign::Size;

#[test]
fn p6_nothing_that_has_expired_stays_longer_than_a_block_spans() {
    let report = annals_sim::year::run(&Size::new(Some(40), 1, None), 12);
    assert_eq!(report.failures, Vec::<String>::new());
    let count =
        |name: &str| report.counts.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
    assert_eq!(count("days").as_deref(), Some("40"), "{report}");
    assert_ne!(count("lag-minutes").as_deref(), Some("0"), "something expired: {report}");
}
