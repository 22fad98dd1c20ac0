//! One tenant's answers do not depend on the others: a run of all, and the same run without them.

use super::config::{Actor, Config};
use super::operation::{Operation, operations};
use super::run::{Run, id};
use crate::oracle::Violation;

/// Runs a seed's operations twice, with all tenants and with the first alone, and compares what it shows.
///
/// Budgets that tenants share are wide here, and nothing fails: what is refused for want of memory, and which call a
/// fault strikes, may depend on the others.
pub(super) fn isolation(seed: u64) -> Result<(), Violation> {
    let mut config = Config::new(seed);
    config.head_bytes_max = 64 << 20;
    config.log_bytes_max = 64 << 20;
    config.plans.truncate(8);
    if config.plans.len() < 2 {
        config.plans.push("archive");
    }
    config.weights.retain(|(actor, _)| {
        !matches!(
            actor,
            Actor::Fault | Actor::Crash | Actor::Space | Actor::Rot | Actor::Cut | Actor::Hold | Actor::Plan
        )
    });
    if config.weights.is_empty() {
        return Ok(());
    }
    let all = operations(&config);
    let alone: Vec<Operation> = all
        .iter()
        .filter(|operation| (1..config.plans.len()).all(|other| !operation.what.is_of(other)))
        .cloned()
        .collect();
    let with_others = shown(&config, &all, true)?;
    let without = shown(&config, &alone, false)?;
    if with_others == without {
        Ok(())
    } else {
        Err(Violation::new("I17", "the first tenant's answers depend on other tenants"))
    }
}

/// What the first tenant shows at the end, as text.
fn shown(config: &Config, operations: &[Operation], others: bool) -> Result<String, Violation> {
    let mut run = Run::new(config, false)?;
    run.only_first(!others);
    run.operate(operations)?;
    run.text_of(&id(0))
}
