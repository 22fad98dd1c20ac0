//! Planted bugs: each is switched on in turn, and a short slice of the campaigns must notice it.
//!
//! A slice that notices one must not fail without it: what fails then shows nothing. A bug that none of them notices is a
//! hole in the campaigns, and a failure of this one. The bugs are a list in
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
/// looked at with many cuts of few points, and where they are many with few cuts of many points.
const SLICES: [(&str, u64); 13] = [
    ("crash", 500),
    ("errors", 500),
    ("space", 100),
    ("damage", 300),
    ("seeds", 400),
    ("rollups", 600),
    ("crash", 12_000),
    ("errors", 2_500),
    ("space", 400),
    ("damage", 4_000),
    ("crash", 3_000),
    ("double", 2_000),
    ("sequences", 4_000),
];

/// Plants each bug and runs the slices until one fails.
fn bugs(size: &Size) -> Report {
    let mut report = Report::new("bugs");
    quiet(|| {
        if checks::failing().is_some() {
            report.failures.push("checks fail without any bug".to_owned());
            return;
        }
        let mut sound = [None; SLICES.len()];
        for &bug in Bug::ALL.iter().take(size.count.map_or(usize::MAX, |count| count as usize)) {
            if size.is_over() {
                break;
            }
            report.states += 1;
            match noticed_by(bug, &mut sound) {
                Ok(campaign) => {
                    match report.counts.iter_mut().find(|(name, _)| *name == campaign) {
                        Some((_, count)) => {
                            *count = (count.parse::<u64>().unwrap_or_default() + 1).to_string();
                        }
                        None => report.count(campaign, 1),
                    }
                    println!("{bug:?} is noticed by {campaign}");
                }
                Err(what) => report.failures.push(format!("{bug:?} {what}")),
            }
        }
    });
    report
}

/// The first campaign that fails while a bug is planted, and does not fail without; `sound` remembers the latter.
fn noticed_by(bug: Bug, sound: &mut [Option<bool>; SLICES.len()]) -> Result<&'static str, String> {
    plant(Some(bug));
    let checked = checks::failing().is_some();
    let found = if checked { None } else { SLICES.iter().position(|&(name, states)| fails(name, states)) };
    plant(None);
    if checked {
        return Ok("checks");
    }
    let found = found.ok_or("is noticed by no campaign")?;
    let (name, states) = SLICES[found];
    if *sound[found].get_or_insert_with(|| !fails(name, states)) {
        Ok(name)
    } else {
        Err(format!("is not noticed: {states} states of {name} fail without any bug"))
    }
}

/// Whether so many states of a campaign show a failure.
fn fails(name: &str, states: u64) -> bool {
    let campaign =
        crate::campaigns().find(|campaign| campaign.name == name).expect("a campaign of that name");
    let run = || (campaign.run)(&Size::new(Some(states), 1, None).to_first_failure());
    catch_unwind(AssertUnwindSafe(run)).map_or(true, |report| !report.failures.is_empty())
}

/// Runs something whose panics are expected: they are not told.
fn quiet(work: impl FnOnce()) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    work();
    std::panic::set_hook(told);
}
