//! Makes a failing run small: fewer operations, then fewer faults, then fewer tenants.

use super::Failure;
use super::config::Config;
use super::operation::{Operation, What};

/// How many runs a failure may cost before it is shown as it is.
const RUNS_MAX: usize = 600;

/// The smallest list of operations found that still breaks the same promise.
pub(super) fn shrink(
    config: &Config,
    operations: Vec<Operation>,
    invariant: &'static str,
    run: &dyn Fn(&Config, &[Operation]) -> Option<Failure>,
) -> Vec<Operation> {
    let mut runs = 0;
    let mut fails = |candidate: &[Operation]| {
        runs += 1;
        runs <= RUNS_MAX && run(config, candidate).is_some_and(|failure| failure.invariant == invariant)
    };
    let mut smallest = operations;
    let mut part = smallest.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        while from < smallest.len() {
            let to = (from + part).min(smallest.len());
            let candidate = [&smallest[..from], &smallest[to..]].concat();
            if fails(&candidate) {
                smallest = candidate;
            } else {
                from = to;
            }
        }
        if part == 1 {
            break;
        }
        part = part.div_ceil(2);
    }
    remove_kind(&mut smallest, &mut fails, |operation| operation.what.is_fault());
    for tenant in 0..config.plans.len() {
        remove_kind(&mut smallest, &mut fails, |operation| operation.what.is_of(tenant));
    }
    // Commits of several tenants, without each of them in turn.
    for at in 0..smallest.len() {
        let mut part = 0;
        while let What::Write { tenants, .. } = &smallest[at].what
            && part < tenants.len()
            && tenants.len() > 1
        {
            let mut candidate = smallest.clone();
            if let What::Write { tenants, .. } = &mut candidate[at].what {
                tenants.remove(part);
            }
            if fails(&candidate) {
                smallest = candidate;
            } else {
                part += 1;
            }
        }
    }
    smallest
}

fn remove_kind(
    smallest: &mut Vec<Operation>,
    fails: &mut impl FnMut(&[Operation]) -> bool,
    is_of_kind: impl Fn(&Operation) -> bool,
) {
    let candidate: Vec<Operation> =
        smallest.iter().filter(|operation| !is_of_kind(operation)).cloned().collect();
    if candidate.len() < smallest.len() && fails(&candidate) {
        *smallest = candidate;
    }
}
