//! Every scenario on a disk that is too small, by bytes in steps of 4 KiB and by files one by one: what does not fit is
//! refused cleanly, reads go on, and once there is space writes succeed without another open.

use super::book::Look;
use super::host::{Host, Step};
use super::recover::{Depth, recovers};
use super::scenarios::{Stage, stages};
use super::sweep::{Tally, sweep};
use crate::campaign::{Report, Size};

const STEP_BYTES: u64 = 4096;
/// What a scenario may need beyond what it leaves: drafts, segments made ahead of need.
const BEYOND_BYTES: u64 = 512 << 10;
const BEYOND_INODES: u64 = 16;

/// What there is of a disk.
#[derive(Debug, Clone, Copy)]
enum Room {
    Bytes(u64),
    Inodes(u64),
}

/// The campaign.
pub(super) fn run(size: &Size) -> Report {
    let mut report = Report::new("space");
    let stages = match stages() {
        Ok(stages) => stages,
        Err(what) => {
            report.failures.push(what);
            return report;
        }
    };
    let limits = |step: &Step| matches!(step, Step::Full | Step::Space | Step::Fault(_));
    let stages: Vec<Stage> = stages.into_iter().filter(|stage| !stage.steps.iter().any(limits)).collect();
    let pieces: Vec<(&Stage, Room, bool)> = stages.iter().flat_map(pieces).collect();
    let tally = sweep(size, &pieces, |&(stage, room, late), tally| at(stage, room, late, tally));
    tally.report(&mut report);
    report
}

fn pieces(stage: &Stage) -> Vec<(&Stage, Room, bool)> {
    let mut host = stage.host();
    let _ = host.run(stage.steps);
    let paths = host.machine.vfs.paths();
    let bytes: u64 =
        paths.iter().filter_map(|path| host.machine.vfs.read_file(path).ok()).map(|b| b.len() as u64).sum();
    let steps = (bytes + BEYOND_BYTES).div_ceil(STEP_BYTES);
    let by_bytes = (0..steps).flat_map(|step| {
        [(stage, Room::Bytes(step * STEP_BYTES), false), (stage, Room::Bytes(step * STEP_BYTES), true)]
    });
    let inodes = paths.len() as u64 * 2 + BEYOND_INODES;
    by_bytes.chain((0..inodes).map(|inodes| (stage, Room::Inodes(inodes), false))).collect()
}

fn at(stage: &Stage, room: Room, late: bool, tally: &mut Tally) {
    let mut refused = 0;
    let named = || {
        let late = if late { ", found out when it is synced" } else { "" };
        format!("{}, on a disk of {room:?}{late}", stage.named())
    };
    tally.check(named, || {
        let mut host = stage.host();
        host.machine.vfs.set_late_allocation(late);
        match room {
            Room::Bytes(bytes) => host.machine.vfs.set_space(bytes),
            Room::Inodes(inodes) => host.machine.vfs.set_inodes(inodes),
        }
        host.run(stage.steps)?;
        refused = host.told.len() as u64;
        is_clean(&host, late)?;
        while_full(&mut host).map_err(|what| format!("while it is full: {what}"))?;
        host.machine.vfs.set_space(u64::MAX);
        host.machine.vfs.set_inodes(u64::MAX);
        afterwards(&mut host).map_err(|what| format!("once there is space: {what}"))?;
        host.run(&[Step::Kill])?;
        recovers(&host.machine, &host.book, Depth { damaged: stage.scenario.damaged, more: true })
            .map_err(|what| format!("opened again: {what}"))
    });
    tally.add("refused", refused);
}

/// A full disk is no broken disk: nothing is in doubt, and no store has to be opened again. Where it shows only when a
/// file is synced, the engine cannot know so much.
fn is_clean(host: &Host, late: bool) -> Result<(), String> {
    if late {
        return Ok(());
    }
    let unclean = |told: &&String| {
        let told = told.to_lowercase();
        !(told.contains("space") || told.contains("over its limit"))
    };
    if let Some(told) = host.told.iter().find(unclean) {
        return Err(format!("an answer does not speak of space: {told}"));
    }
    if host.reopened > 0 { Err(format!("the store had to be opened again: {:?}", host.told)) } else { Ok(()) }
}

fn while_full(host: &mut Host) -> Result<(), String> {
    let now = host.machine.now();
    if let Some(store) = &host.store {
        host.book.check(store, now, Look::Live)?;
    }
    if host.book.usable().next().is_some() { host.run(&[Step::ReadOnly]) } else { Ok(()) }
}

fn afterwards(host: &mut Host) -> Result<(), String> {
    host.told.clear();
    let reopened = host.reopened;
    if !host.open()? {
        return Err(format!("{:?}", host.told));
    }
    let usable = host.book.usable().next();
    if let Some(tenant) = usable {
        host.run(&[Step::Signals(tenant, 1), Step::Retry, Step::Flush(tenant), Step::Settle])?;
    }
    if let Some(told) = host.told.first() {
        return Err(told.clone());
    }
    if host.reopened > reopened {
        return Err("the store had to be opened again".to_owned());
    }
    Ok(())
}
