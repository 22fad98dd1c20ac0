//! A tenant's manifest: the one truth about which of its data is live.
//!
//! Content of the twin file `manifest-<gen>` (see [`crate::twin`]); numbers are LEB128, texts are length-prefixed:
//!
//! | field           | type    | notes                                                                  |
//! |-----------------|---------|------------------------------------------------------------------------|
//! | `id`            | text    | the tenant's id                                                        |
//! | `created`       | i64     | milliseconds                                                           |
//! | `plan`          | -       | name; signals keep; tiers (resolution, keep); days after cancellation; late window; limits; rights |
//! | `next_plan`     | -       | u8: 0 none; 1: from when on (i64), and the plan as above               |
//! | `life`          | -       | see `life.rs`                                                          |
//! | `data_floor`    | number  | records up to this LSN are in blocks                                   |
//! | `replay_from`   | number  | records after this LSN are read at open: series are defined in them    |
//! | `epoch`         | number  | series numbers of later records are of this epoch or a later one       |
//! | `sealed`        | i64     | stamps up to this are in sealed days                                   |
//! | `floors`        | 4 x i64 | raw, 5m, 1h, signals: up to this they have expired; never go down      |
//! | `seals`         | list    | day (u32, ascending), last LSN, samples, keyed digest (16) of what its rollups were made from |
//! | `leaving`       | -       | u8: 0 none; 1: since, due (i64), through (number), from, to (i64): deleted, and not gone yet |
//! | `kinds_off`     | list    | signal kinds that are switched off (text, ascending)                   |
//! | `next_sequence` | number  | of the next block                                                      |
//! | `blocks`        | list    | day, content, sequence, time, LSNs, level, age, series, rows, bytes, check |
//! | `metrics`       | blob    | batch ids and kinds, sealed; see `remembered.rs`                       |
//! | `signals`       | blob    | bounded names, sealed; see `remembered.rs`                             |
//!
//! A keep is 0 for ever, else days + 1. A block exists only if the manifest names it: a file that it does not name
//! is garbage, left by a crash or by an interrupted removal, and goes at the next open.
//!
//! All but the two blobs is plain: what a store must know to be opened, checked and repaired without keys. Who may write
//! the file can change it: manifests are checked, not authenticated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{
    BlockContent, BlockId, BlockMeta, ChunkAge, Day, DaySeal, Floors, Keep, Limits, Lsn, LsnRange, Plan,
    Resolution, Rights, TenantId, Tier, TimeRange, Timestamp,
};
use annals_vfs::planted::{Bug, planted};

use crate::life::Life;
use crate::remembered::SealedRemembered;

/// What a block takes at least: 4 + 1 + 1 of its id, 16 of its time, 2 of its LSNs, 4 of its counts, 4 of its check.
const BLOCK_BYTES_MIN: usize = 32;

/// What a seal takes at least.
const SEAL_BYTES_MIN: usize = 4 + 1 + 1 + 16;

/// The decoded manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) id: TenantId,
    pub(crate) created: Timestamp,
    pub(crate) plan: Plan,
    /// The plan that is to hold from some time on.
    pub(crate) next_plan: Option<(Timestamp, Plan)>,
    pub(crate) life: Life,
    pub(crate) data_floor: Lsn,
    pub(crate) replay_from: Lsn,
    pub(crate) epoch: u64,
    pub(crate) sealed: Timestamp,
    pub(crate) floors: Floors,
    /// Of each day that has rollups, what they were made from.
    pub(crate) seals: Arc<BTreeMap<Day, DaySeal>>,
    /// What was deleted, and may still be in files and in the log.
    pub(crate) leaving: Option<Leaving>,
    /// Signals of these kinds are refused.
    pub(crate) kinds_off: Arc<BTreeSet<Box<str>>>,
    pub(crate) next_sequence: u64,
    pub(crate) blocks: Vec<BlockMeta>,
    pub(crate) remembered: SealedRemembered,
}

/// What was deleted and may still be in old files, or in records of the log up to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) since: Timestamp,
    /// By then it is gone.
    pub(crate) due: Timestamp,
    pub(crate) through: Lsn,
    /// The times that it had.
    pub(crate) range: TimeRange,
}

impl Manifest {
    /// Of a tenant that was just created.
    pub(crate) fn new(
        id: TenantId,
        plan: Plan,
        now: Timestamp,
        after: Lsn,
        remembered: SealedRemembered,
    ) -> Manifest {
        Manifest {
            id,
            created: now,
            plan,
            next_plan: None,
            life: Life::Live,
            data_floor: after,
            replay_from: after,
            epoch: 0,
            sealed: Timestamp::MIN,
            floors: Floors::NONE,
            seals: Arc::default(),
            leaving: None,
            kinds_off: Arc::default(),
            next_sequence: 1,
            blocks: Vec::new(),
            remembered,
        }
    }

    /// What a content has up to this stamp is never returned at `now`.
    pub(crate) fn floor(&self, content: BlockContent, now: Timestamp) -> Timestamp {
        let now = if planted(Bug::ExpiryOffByOne) { Timestamp(now.0 - 1) } else { now };
        let by_plan = self.plan.keep(content).map_or(Timestamp::MIN, |keep| keep.floor(now));
        self.floors.get(content).max(by_plan)
    }

    /// The same with the floors of `now`. For every change that leaves out what has expired: where the clock goes back,
    /// what is left must not be taken for all there was.
    ///
    /// A tier that the plan does not have has the floor of raw: under a plan that has it, it begins with what it can be made
    /// from.
    pub(crate) fn expire(self, now: Timestamp) -> Manifest {
        let raised = |floors: Floors, content| {
            let of = if self.plan.keep(content).is_some() { content } else { BlockContent::RawMetrics };
            floors.raised(content, self.floor(of, now))
        };
        let floors = BlockContent::ALL.into_iter().fold(self.floors, raised);
        Manifest { floors, ..self }
    }

    /// The same without the seals of days of which it names no rollups.
    pub(crate) fn forget_seals(self) -> Manifest {
        let rolled = |block: &&BlockMeta| block.id.content.window_ms().is_some();
        let days: BTreeSet<Day> = self.blocks.iter().filter(rolled).map(|block| block.id.day).collect();
        if self.seals.keys().all(|day| days.contains(day)) {
            return self;
        }
        let kept = self.seals.iter().filter(|(day, _)| days.contains(day)).map(|(day, seal)| (*day, *seal));
        Manifest { seals: Arc::new(kept.collect()), ..self }
    }

    /// Data up to this stamp need not be put into blocks any more. Raw metrics that no reader sees as samples stay while
    /// the plan keeps a coarser tier of them: their rollup is owed.
    pub(crate) fn build_floor(&self, content: BlockContent, now: Timestamp) -> Timestamp {
        match content {
            BlockContent::RawMetrics => {
                let tiers = self.plan.tiers.iter().map(|tier| BlockContent::of_tier(tier.resolution));
                tiers.map(|tier| self.floor(tier, now)).min().unwrap_or(Timestamp::MIN)
            }
            other => self.floor(other, now),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_text(self.id.as_str());
        out.put_i64(self.created.0);
        put_plan(&mut out, &self.plan);
        match &self.next_plan {
            None => out.put_u8(0),
            Some((at, plan)) => {
                out.put_u8(1);
                out.put_i64(at.0);
                put_plan(&mut out, plan);
            }
        }
        self.life.encode(&mut out);
        out.put_varint(self.data_floor.0);
        out.put_varint(self.replay_from.0);
        out.put_varint(self.epoch);
        out.put_i64(self.sealed.0);
        BlockContent::ALL.into_iter().for_each(|content| out.put_i64(self.floors.get(content).0));
        out.put_varint(self.seals.len() as u64);
        for (day, seal) in &*self.seals {
            out.put_u32(day.0 as u32);
            out.put_varint(seal.through.0);
            out.put_varint(seal.rows);
            out.put(&seal.digest);
        }
        match &self.leaving {
            None => out.put_u8(0),
            Some(Leaving { since, due, through, range }) => {
                out.put_u8(1);
                out.put_i64(since.0);
                out.put_i64(due.0);
                out.put_varint(through.0);
                out.put_i64(range.start.0);
                out.put_i64(range.end.0);
            }
        }
        out.put_varint(self.kinds_off.len() as u64);
        self.kinds_off.iter().for_each(|kind| out.put_text(kind));
        out.put_varint(self.next_sequence);
        out.put_varint(self.blocks.len() as u64);
        for block in &self.blocks {
            put_block_id(&mut out, block.id);
            out.put_i64(block.time.start.0);
            out.put_i64(block.time.end.0);
            out.put_varint(block.lsns.after.0);
            out.put_varint(block.lsns.through.0);
            out.put_u8(block.level);
            out.put_u8(block.age.tag());
            out.put_varint(block.series);
            out.put_varint(block.rows);
            out.put_varint(block.bytes);
            out.put_u32(block.check);
        }
        out.put_blob(&self.remembered.metrics);
        out.put_blob(&self.remembered.signals);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Manifest> {
        let mut cursor = Cursor::new(bytes);
        let c = &mut cursor;
        let manifest = Manifest {
            id: TenantId::new(c.text()?).ok()?,
            created: Timestamp(c.i64()?),
            plan: take_plan(c)?,
            next_plan: match c.u8()? {
                0 => None,
                1 => Some((Timestamp(c.i64()?), take_plan(c)?)),
                _ => return None,
            },
            life: Life::decode(c)?,
            data_floor: Lsn(c.varint()?),
            replay_from: Lsn(c.varint()?),
            epoch: c.varint()?,
            sealed: Timestamp(c.i64()?),
            floors: take_floors(c)?,
            seals: Arc::new(take_seals(c)?),
            leaving: match c.u8()? {
                0 => None,
                1 => Some(Leaving {
                    since: Timestamp(c.i64()?),
                    due: Timestamp(c.i64()?),
                    through: Lsn(c.varint()?),
                    range: TimeRange::new(Timestamp(c.i64()?), Timestamp(c.i64()?)),
                }),
                _ => return None,
            },
            kinds_off: Arc::new(take_kinds(c)?),
            next_sequence: c.varint()?,
            blocks: take_list(c, BLOCK_BYTES_MIN, take_block)?,
            remembered: SealedRemembered { metrics: c.blob()?.to_vec(), signals: c.blob()?.to_vec() },
        };
        cursor.is_empty().then_some(manifest)
    }
}

/// A list whose entries take at least so many bytes each.
pub(crate) fn take_list<T>(
    cursor: &mut Cursor<'_>,
    each_bytes_min: usize,
    mut take: impl FnMut(&mut Cursor<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = cursor.count(each_bytes_min)?;
    (0..count).map(|_| take(cursor)).collect()
}

fn take_floors(c: &mut Cursor<'_>) -> Option<Floors> {
    BlockContent::ALL
        .into_iter()
        .try_fold(Floors::NONE, |floors, content| Some(floors.raised(content, Timestamp(c.i64()?))))
}

fn take_kinds(c: &mut Cursor<'_>) -> Option<BTreeSet<Box<str>>> {
    let kinds = take_list(c, 1, |c| Some(Box::<str>::from(c.text()?)))?;
    kinds.is_sorted_by(|a, b| a < b).then(|| kinds.into_iter().collect())
}

fn take_seals(c: &mut Cursor<'_>) -> Option<BTreeMap<Day, DaySeal>> {
    let seals = take_list(c, SEAL_BYTES_MIN, |c| {
        let day = Day(c.u32()? as i32);
        Some((day, DaySeal { through: Lsn(c.varint()?), rows: c.varint()?, digest: c.array()? }))
    })?;
    seals.is_sorted_by(|a, b| a.0 < b.0).then(|| seals.into_iter().collect())
}

fn put_block_id(out: &mut Vec<u8>, id: BlockId) {
    out.put_u32(id.day.0 as u32);
    out.put_u8(id.content.tag());
    out.put_varint(id.sequence);
}

fn take_block_id(c: &mut Cursor<'_>) -> Option<BlockId> {
    Some(BlockId {
        day: Day(c.u32()? as i32),
        content: BlockContent::from_tag(c.u8()?)?,
        sequence: c.varint()?,
    })
}

fn take_block(c: &mut Cursor<'_>) -> Option<BlockMeta> {
    Some(BlockMeta {
        id: take_block_id(c)?,
        time: TimeRange::new(Timestamp(c.i64()?), Timestamp(c.i64()?)),
        lsns: LsnRange { after: Lsn(c.varint()?), through: Lsn(c.varint()?) },
        level: c.u8()?,
        age: ChunkAge::from_tag(c.u8()?)?,
        series: c.varint()?,
        rows: c.varint()?,
        bytes: c.varint()?,
        check: c.u32()?,
    })
}

fn put_keep(out: &mut Vec<u8>, keep: Keep) {
    match keep {
        Keep::Forever => out.put_varint(0),
        Keep::Days(days) => out.put_varint(u64::from(days) + 1),
    }
}

fn take_keep(c: &mut Cursor<'_>) -> Option<Keep> {
    Some(match c.varint()? {
        0 => Keep::Forever,
        days => Keep::Days(u32::try_from(days - 1).ok()?),
    })
}

fn put_plan(out: &mut Vec<u8>, plan: &Plan) {
    out.put_text(&plan.name);
    put_keep(out, plan.signals_keep);
    out.put_varint(plan.tiers.len() as u64);
    for tier in &plan.tiers {
        out.put_u8(match tier.resolution {
            Resolution::Raw => 0,
            Resolution::FiveMinutes => 1,
            Resolution::Hour => 2,
        });
        put_keep(out, tier.keep);
    }
    out.put_varint(u64::from(plan.cancelled_keep_days));
    out.put_i64(plan.late_window_ms.unwrap_or(-1));
    out.put_varint(plan.limits.series_max as u64);
    out.put_varint(plan.limits.batch_records_max as u64);
    out.put_i64(plan.limits.future_max_ms);
    let Rights { export, open_metrics, backfill } = plan.rights;
    out.put_u8(u8::from(export) | u8::from(open_metrics) << 1 | u8::from(backfill) << 2);
}

fn take_plan(c: &mut Cursor<'_>) -> Option<Plan> {
    Some(Plan {
        name: c.text()?.to_owned(),
        signals_keep: take_keep(c)?,
        tiers: take_list(c, 2, |c| {
            let resolution = match c.u8()? {
                0 => Resolution::Raw,
                1 => Resolution::FiveMinutes,
                2 => Resolution::Hour,
                _ => return None,
            };
            Some(Tier { resolution, keep: take_keep(c)? })
        })?,
        cancelled_keep_days: u32::try_from(c.varint()?).ok()?,
        late_window_ms: Some(c.i64()?).filter(|&window| window >= 0),
        limits: Limits {
            series_max: usize::try_from(c.varint()?).ok()?,
            batch_records_max: usize::try_from(c.varint()?).ok()?,
            future_max_ms: c.i64()?,
        },
        rights: match c.u8()? {
            bits @ 0..=7 => {
                Rights { export: bits & 1 != 0, open_metrics: bits & 2 != 0, backfill: bits & 4 != 0 }
            }
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_file::KeyClass;
    use crate::life::{Erased, Measured};
    use annals_model::KeyId;

    /// Of an erased tenant whose files were measured.
    fn erased() -> Manifest {
        let keys = vec![(KeyId(1), KeyClass::Identity), (KeyId(7), KeyClass::Signals)];
        let measured = Measured { destroyed: Timestamp(9), digests: vec![Some([3; 32]), None] };
        let (since, due, measured) = (Timestamp(8), Timestamp(80), Some(measured));
        let erased = Erased { since, due, through: Lsn(300), sealed: true, keys, measured };
        Manifest { life: Life::Erased(Box::new(erased)), ..sample() }
    }

    fn sample() -> Manifest {
        let plan = Plan::built_in("enterprise").expect("built in");
        let remembered = SealedRemembered { metrics: b"sealed".to_vec(), signals: b"sealed too".to_vec() };
        let id = TenantId::new("acme").expect("valid");
        let mut manifest = Manifest::new(id, plan, Timestamp(5), Lsn(9), remembered);
        let seal = |through| DaySeal { through: Lsn(through), rows: 8_640, digest: [7; 16] };
        manifest.seals = Arc::new([(Day(-3), seal(9)), (Day(4), seal(300))].into());
        manifest.next_plan = Plan::built_in("starter").map(|plan| (Timestamp(99), plan));
        manifest.floors = manifest.floors.raised(BlockContent::Rollup5m, Timestamp(77));
        let (since, range) = (Timestamp(6), TimeRange::new(Timestamp(-4), Timestamp(4)));
        manifest.leaving = Some(Leaving { since, due: Timestamp(60), through: Lsn(200), range });
        manifest.kinds_off = Arc::new(["auth.attempt".into(), "wp.cron".into()].into());
        let id = BlockId { day: Day(-3), content: BlockContent::RawSignals, sequence: 300 };
        manifest.blocks.push(BlockMeta {
            id,
            time: TimeRange::new(Timestamp(-9), Timestamp(9)),
            lsns: LsnRange { after: Lsn(1), through: Lsn(1000) },
            level: 2,
            age: ChunkAge::Old,
            series: 1,
            rows: 77,
            bytes: 1 << 40,
            check: 0xdead_beef,
        });
        manifest
    }

    #[test]
    fn a_manifest_round_trips() {
        let (since, due) = (Timestamp(-7), Timestamp(70));
        let cancelled = Manifest { life: Life::Cancelled { since, due }, ..sample() };
        for manifest in [sample(), cancelled, erased()] {
            assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
        }
    }

    #[test]
    fn a_manifest_whose_lists_are_as_short_as_can_be_round_trips() {
        let mut manifest = sample();
        manifest.remembered = SealedRemembered { metrics: Vec::new(), signals: Vec::new() };
        (manifest.seals, manifest.leaving, manifest.kinds_off) = (Arc::default(), None, Arc::default());
        let least = BlockMeta {
            id: BlockId { day: Day(0), content: BlockContent::RawMetrics, sequence: 1 },
            time: TimeRange::new(Timestamp(0), Timestamp(1)),
            lsns: LsnRange { after: Lsn(0), through: Lsn(1) },
            level: 0,
            age: ChunkAge::Fresh,
            series: 1,
            rows: 1,
            bytes: 1,
            check: 0,
        };
        for count in 0..4 {
            manifest.blocks = vec![least; count];
            assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest.clone()), "{count} blocks");
        }
    }

    #[test]
    fn a_damaged_manifest_never_panics() {
        let bytes = erased().encode();
        for length in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..length]), None, "cut at {length}");
        }
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let _ = Manifest::decode(&damaged);
            }
        }
    }

    #[test]
    fn the_bytes_are_held() {
        // A change here is a change of the format: it needs a new version.
        assert_eq!(crc32fast::hash(&sample().encode()), 1_252_615_696, "see docs/format");
        assert_eq!(crc32fast::hash(&erased().encode()), 3_373_586_929, "see docs/format");
    }
}
