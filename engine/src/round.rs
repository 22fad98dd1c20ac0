//! Whose turn it is: background work in rounds.
//!
//! To look at ten thousand tenants takes longer than most of what there is to do for one of them. So a round looks once and
//! goes on from there. Its stages come in the order of their urgency; when the turn of one has come, all tenants are asked
//! which of them may owe it, and each step takes the next of these pieces. A piece looks again whether it is owed, so
//! that nothing is done because of what was so when the round began.
//!
//! After [`DONE_MAX`] pieces that were done, and as soon as heads or the log come under pressure, the next round begins:
//! what is more urgent waits for no more than that. Pieces that fail do not count, so they keep no other from its turn.
//! Where a round ends in which nothing was done, there is nothing to do.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use annals_model::{BlockContent, DAY_MS, Keep, Lsn, Timestamp};

use crate::cancel;
use crate::delete;
use crate::erase;
use crate::error::MaintenanceError;
use crate::flush;
use crate::head::Head;
use crate::maintenance::{self, Done};
use crate::manifest::Manifest;
use crate::owed::{Owed, may_owe};
use crate::plan_change;
use crate::rotation::{self, Turn};
use crate::seal_days;
use crate::shared::Shared;
use crate::tenant::{Data, TenantShared};

/// So many pieces are done before all tenants are looked at anew.
const DONE_MAX: usize = 32;
/// So many pieces of the sweep follow one another before a flush that is due has its turn.
const SWEEPS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Cancelled,
    Erasures,
    Deletions,
    Plans,
    /// As much of the sweep as goes before flushes.
    FirstSweeps,
    Flushes,
    Drops,
    Removals,
    Rotations(Turn),
    Merges,
    Seals,
    /// What the store does for itself.
    Upkeep,
}

/// Most urgent first.
const STAGES: [Stage; 14] = [
    Stage::Cancelled,
    Stage::Erasures,
    Stage::Deletions,
    Stage::Plans,
    Stage::FirstSweeps,
    Stage::Flushes,
    Stage::Drops,
    Stage::Removals,
    Stage::Rotations(Turn::First),
    Stage::Merges,
    Stage::Seals,
    Stage::Upkeep,
    Stage::Rotations(Turn::Last),
    // What those want out of the log.
    Stage::Flushes,
];

type Worked = Result<Option<Done>, MaintenanceError>;
type StoreWork = fn(&Shared) -> Worked;
type TenantWork = fn(&Shared, &Arc<TenantShared>, Timestamp) -> Worked;

/// Something that may be owed.
pub(crate) struct Piece {
    stage: Stage,
    work: PieceWork,
}

enum PieceWork {
    Store(StoreWork),
    Tenant(Arc<TenantShared>, TenantWork),
}

impl Piece {
    pub(crate) fn work(&self, shared: &Shared, now: Timestamp) -> Worked {
        match &self.work {
            PieceWork::Store(work) => work(shared),
            PieceWork::Tenant(tenant, work) => match work(shared, tenant, now) {
                // Since the round found it.
                Err(MaintenanceError::Erased { .. }) => Ok(None),
                worked => worked,
            },
        }
    }
}

/// What is left of a round.
#[derive(Default)]
pub(crate) struct Round {
    /// Stages whose turn has come.
    begun: usize,
    /// Of the last of these.
    pieces: VecDeque<Piece>,
    /// How many pieces were done.
    done: usize,
    /// Whether it knows of the pressure that there is.
    pressed: bool,
}

impl Round {
    /// Begins the next round where it is time for that.
    pub(crate) fn go_on(&mut self, shared: &Shared) {
        let pressed = is_pressed(shared);
        if self.done >= DONE_MAX || (pressed && !self.pressed) {
            *self = Round::default();
        }
        self.pressed = pressed;
    }

    /// The next piece; `None` where the round has ended.
    pub(crate) fn next(&mut self, shared: &Shared, now: Timestamp) -> Option<Piece> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(piece);
            }
            let stage = *STAGES.get(self.begun)?;
            self.begun += 1;
            self.pieces = stage.pieces(shared, now);
        }
    }

    /// After the last piece: begins the next round, and says whether there may be anything to do in it.
    pub(crate) fn end(&mut self) -> bool {
        let ended = std::mem::take(self);
        self.pressed = ended.pressed;
        ended.done > 0
    }

    /// A piece was done, and there may be more of it.
    pub(crate) fn done(&mut self, piece: Piece) {
        self.done += 1;
        match piece.stage {
            // What comes into a head meanwhile is not due; the rest of the sweep has its turn.
            Stage::Flushes | Stage::FirstSweeps => {}
            Stage::Rotations(_) | Stage::Merges => {
                self.pieces.push_front(piece);
                // The space of what it has replaced is free at once.
                self.pieces.push_front(removal());
            }
            _ => self.pieces.push_front(piece),
        }
    }
}

impl Stage {
    fn pieces(self, shared: &Shared, now: Timestamp) -> VecDeque<Piece> {
        let store = |work| Piece { stage: self, work: PieceWork::Store(work) };
        let of = |tenant, work| Piece { stage: self, work: PieceWork::Tenant(tenant, work) };
        let tenants = |may: &dyn Fn(&TenantShared) -> bool| {
            let mut tenants = shared.open_tenants();
            tenants.retain(|tenant| may(tenant));
            tenants.into_iter()
        };
        let owing = |kind| tenants(&|tenant| may_owe(&tenant.data.read(), kind, now));
        match self {
            Stage::Cancelled => {
                tenants(&is_changing).map(|tenant| of(tenant, cancel::erase_cancelled)).collect()
            }
            Stage::Erasures => [store(erase::step)].into(),
            Stage::Deletions => {
                let leave: TenantWork = |shared, tenant, _| delete::leave(shared, tenant);
                tenants(&is_changing).map(|tenant| of(tenant, leave)).collect()
            }
            Stage::Plans => tenants(&is_changing).map(|tenant| of(tenant, plan_change::apply_plan)).collect(),
            Stage::FirstSweeps => {
                let drops = owing(Owed::Drop).take(SWEEPS_MAX - 1);
                let drops = drops.map(|tenant| of(tenant, maintenance::drop_expired));
                drops.chain([store(maintenance::remove_retired)]).collect()
            }
            Stage::Flushes => {
                to_flush(shared, now).into_iter().map(|tenant| of(tenant, flush_where_due)).collect()
            }
            Stage::Drops => owing(Owed::Drop).map(|tenant| of(tenant, maintenance::drop_expired)).collect(),
            Stage::Removals => [removal()].into(),
            Stage::Rotations(turn) => {
                let step: TenantWork = match turn {
                    Turn::First => |shared, tenant, now| rotation::step(shared, tenant, now, Turn::First),
                    _ => |shared, tenant, now| rotation::step(shared, tenant, now, Turn::Last),
                };
                tenants(&|tenant| !tenant.keys.is_settled()).map(|tenant| of(tenant, step)).collect()
            }
            Stage::Merges => owing(Owed::Merge).map(|tenant| of(tenant, maintenance::merge_next)).collect(),
            Stage::Seals => owing(Owed::Seal).map(|tenant| of(tenant, seal_days::seal_next)).collect(),
            Stage::Upkeep => {
                let upkeep: [StoreWork; 4] = [
                    maintenance::sweep_quarantine,
                    maintenance::truncate,
                    maintenance::keep_reserve,
                    maintenance::prepare,
                ];
                upkeep.map(store).into()
            }
        }
    }
}

fn removal() -> Piece {
    Piece { stage: Stage::Removals, work: PieceWork::Store(maintenance::remove_retired) }
}

/// Whether a tenant is cancelled, has a deletion whose bytes are still there, or a plan that waits.
fn is_changing(tenant: &TenantShared) -> bool {
    let data = tenant.data.read();
    let manifest = &data.manifest;
    manifest.life.cancelled().is_some() || manifest.leaving.is_some() || manifest.next_plan.is_some()
}

/// The tenants whose heads should become blocks, most urgent first. Where the first cannot be flushed, the next is: one
/// tenant's trouble must not keep the others' heads in memory.
fn to_flush(shared: &Shared, now: Timestamp) -> Vec<Arc<TenantShared>> {
    let mut due = Vec::new();
    let mut rest: Vec<(usize, Lsn, Arc<TenantShared>)> = Vec::new();
    let leaving = erase::leaving(shared);
    let pressed = is_pressed(shared);
    for tenant in shared.open_tenants() {
        let data = tenant.data.read();
        if is_due(shared, &data, now, leaving) {
            drop(data);
            due.push(tenant);
        } else if pressed && let Some(first) = first_head(&data) {
            let (bytes, first) = (data.heads().map(Head::bytes).sum(), first.first);
            drop(data);
            rest.push((bytes, first, tenant));
        }
    }
    if flush::over_budget(shared) {
        rest.sort_by_key(|(bytes, ..)| Reverse(*bytes));
    } else {
        rest.sort_by_key(|(_, first, _)| *first);
    }
    due.into_iter().chain(rest.into_iter().map(|(.., tenant)| tenant)).collect()
}

/// Flushes a tenant that is due still, or where heads or the log still need it.
fn flush_where_due(shared: &Shared, tenant: &Arc<TenantShared>, now: Timestamp) -> Worked {
    if !is_pressed(shared) && !is_due(shared, &tenant.data.read(), now, erase::leaving(shared)) {
        return Ok(None);
    }
    let flushed = flush::flush(shared, tenant)?;
    Ok(flushed.map(|blocks| Done::Flushed { tenant: tenant.id.clone(), blocks }))
}

/// Whether heads take more than they should, or the log does: then those that are not due are flushed too.
fn is_pressed(shared: &Shared) -> bool {
    flush::over_budget(shared) || shared.commits.wal.status().file_bytes > shared.options.log_bytes_max / 2
}

/// Whether a tenant's heads should become blocks whatever there is space for.
fn is_due(shared: &Shared, data: &Data, now: Timestamp, leaving: Lsn) -> bool {
    first_head(data).is_some_and(|first| {
        first.since.saturating_add(age_max_ms(shared, &data.manifest)) <= now
            || holds_sealed_day(data, now)
            || holds_hidden(data, now)
            || first.first <= leaving
    })
}

fn first_head(data: &Data) -> Option<&Head> {
    data.heads().find(|head| !head.is_empty())
}

/// How old a head may become: what is in the log must not outlive half of the shortest retention.
fn age_max_ms(shared: &Shared, manifest: &Manifest) -> i64 {
    let plan = &manifest.plan;
    let shortest = plan.signals_keep.min(plan.raw_keep());
    match shortest {
        Keep::Days(days) => shared.options.head_age_ms_max.min(i64::from(days) * DAY_MS / 2),
        Keep::Forever => shared.options.head_age_ms_max,
    }
}

/// Whether a day that takes no more data is not in blocks yet.
fn holds_sealed_day(data: &Data, now: Timestamp) -> bool {
    let sealed = data.manifest.plan.late_floor(now);
    sealed > data.manifest.sealed && data.heads().any(|head| !head.is_empty() && head.since <= sealed)
}

/// Whether a head holds what no query sees as samples: its rollup waits for it, or it is to go.
fn holds_hidden(data: &Data, now: Timestamp) -> bool {
    let floor = data.manifest.floor(BlockContent::RawMetrics, now);
    data.heads().any(|head| head.ends().is_some_and(|(first, _)| first <= floor))
}
