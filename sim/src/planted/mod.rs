//! Planted bugs: each is switched on in turn, and a short slice of the campaigns must notice it.
//!
//! First they run without a bug: what fails then shows nothing. A bug that none of them notices is a hole in the
//! campaigns, and a failure of this one. The bugs are a list in
//! `annals::vfs::planted`, made from what other stores got wrong, and from each bug of this one that got past the
//! campaigns once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals::vfs::planted::{Bug, plant};

use crate::campaign::{Campaign, Report, Size};

mod checks;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[Campaign {
    name: "bugs",
    about: "deliberate bugs, one by one: a short slice of the other campaigns must notice each",
    run: bugs,
}];

/// What looks for a bug, in this order, and how many states of it: first a little of everything, then more. Crashes are
/// looked at with many cuts of few points, and at last with few cuts of many points.
const SLICES: &[(&str, u64)] = &[
    ("crash", 500),
    ("errors", 500),
    ("space", 100),
    ("damage", 300),
    ("crash", 3_000),
    ("errors", 2_500),
    ("space", 400),
    ("damage", 4_000),
    ("seeds", 400),
    ("crash", 12_000),
    ("double", 2_000),
    ("sequences", 4_000),
];

/// Plants each bug and runs the slices until one fails.
fn bugs(size: &Size) -> Report {
    let mut report = Report::new("bugs");
    quiet(|| {
        if let Some(campaign) = noticed() {
            report.failures.push(format!("{campaign} fails without any bug"));
            return;
        }
        for &bug in Bug::ALL.iter().take(size.count.map_or(usize::MAX, |count| count as usize)) {
            if size.is_over() {
                break;
            }
            report.states += 1;
            match noticed_by(bug) {
                Some(campaign) => {
                    match report.counts.iter_mut().find(|(name, _)| *name == campaign) {
                        Some((_, count)) => {
                            *count = (count.parse::<u64>().unwrap_or_default() + 1).to_string();
                        }
                        None => report.count(campaign, 1),
                    }
                    println!("{bug:?} is noticed by {campaign}");
                }
                None => report.failures.push(format!("{bug:?} is noticed by no campaign")),
            }
        }
    });
    report
}

/// The first campaign that fails while a bug is planted.
fn noticed_by(bug: Bug) -> Option<&'static str> {
    plant(Some(bug));
    let noticed = noticed();
    plant(None);
    noticed
}

/// The first campaign that fails.
fn noticed() -> Option<&'static str> {
    if checks::failing().is_some() {
        return Some("checks");
    }
    SLICES.iter().find_map(|&(name, states)| {
        let campaign = crate::campaigns().find(|campaign| campaign.name == name)?;
        let run = || (campaign.run)(&Size::new(Some(states), 1, None).to_first_failure());
        let failed = catch_unwind(AssertUnwindSafe(run)).map_or(true, |report| !report.failures.is_empty());
        failed.then_some(name)
    })
}

/// Runs something whose panics are expected: they are not told.
fn quiet(work: impl FnOnce()) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    work();
    std::panic::set_hook(told);
}
