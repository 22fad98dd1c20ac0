//! Plans as tables, and what holds of every plan.

use std::collections::{BTreeMap, BTreeSet};

use annals_model::{
    BlockContent, BlockId, BlockMeta, ChunkAge, DAY_MS, Day, DaySeal, Floors, HOUR_MS, Keep, Lsn, LsnRange,
    Plan, Resolution, Tier, Timestamp,
};
use proptest::prelude::*;

use crate::{Rule, Standing, State, Step, chunk_age, explain, next_change, plan};

const DAY: Day = Day(20_000);

fn built_in(name: &str) -> Plan {
    Plan::built_in(name).expect("built in")
}

fn block(content: BlockContent, sequence: u64, level: u8) -> BlockMeta {
    BlockMeta {
        id: BlockId { day: DAY, content, sequence },
        time: DAY.range(),
        lsns: LsnRange { after: Lsn(10 * sequence), through: Lsn(10 * sequence + 10) },
        level,
        age: if level == 0 { ChunkAge::Fresh } else { ChunkAge::Merged },
        series: 1,
        rows: 10,
        bytes: 1_000,
        check: 0,
    }
}

fn raw(sequence: u64, level: u8) -> BlockMeta {
    block(BlockContent::RawMetrics, sequence, level)
}

/// Nothing up to this stamp comes back, of any content.
fn floors(floor: Timestamp) -> Standing {
    let floors =
        BlockContent::ALL.into_iter().fold(Floors::NONE, |floors, content| floors.raised(content, floor));
    Standing { floors, ..Standing::default() }
}

fn besides_seals(blocks: &[BlockMeta], plan_: &Plan, now: Timestamp, standing: &Standing) -> Vec<Step> {
    let mut steps = plan(blocks, plan_, now, standing);
    steps.retain(|step| !matches!(step, Step::Seal { .. }));
    steps
}

/// What had expired before is due at once, whenever that is.
fn without_dues(mut steps: Vec<Step>) -> Vec<Step> {
    for step in &mut steps {
        if let Step::Drop { due, .. } = step {
            *due = Timestamp::MIN;
        }
    }
    steps
}

/// The sequences of the inputs of each merge, and of each dropped block; seals aside.
fn steps(blocks: &[BlockMeta], plan_: &Plan, now: Timestamp, standing: &Standing) -> Vec<Vec<u64>> {
    besides_seals(blocks, plan_, now, standing)
        .iter()
        .map(|step| match step {
            Step::Drop { block, .. } => vec![block.sequence],
            Step::Merge { inputs, .. } | Step::Seal { inputs, .. } => {
                inputs.iter().map(|id| id.sequence).collect()
            }
        })
        .collect()
}

#[test]
fn a_block_goes_at_its_due_instant_and_not_a_millisecond_before() {
    use BlockContent::{RawMetrics, RawSignals};
    for (name, content, days) in [
        ("starter", RawSignals, Some(1)),
        ("starter", RawMetrics, Some(7)),
        ("professional", RawSignals, Some(3)),
        ("professional", RawMetrics, Some(30)),
        ("enterprise", RawSignals, Some(14)),
        ("enterprise", RawMetrics, Some(1100)),
        ("archive", RawSignals, None),
        ("archive", RawMetrics, None),
    ] {
        // What is as small as it gets is not written again.
        let blocks = [BlockMeta { age: ChunkAge::Old, ..block(content, 1, 0) }];
        let (plan_, standing) = (built_in(name), Standing::default());
        let Some(days) = days else {
            assert_eq!(besides_seals(&blocks, &plan_, Timestamp::MAX, &standing), [], "{name}");
            let fate = explain(&blocks, &plan_, Timestamp::MAX, &standing)[0];
            assert_eq!((fate.due, fate.state), (None, State::Live), "{name}");
            continue;
        };
        let due = DAY.end().saturating_add(days * DAY_MS);
        let before = due.saturating_add(-1);
        assert_eq!(besides_seals(&blocks, &plan_, before, &standing), [], "{name} {content:?}");
        let fate = explain(&blocks, &plan_, before, &standing)[0];
        assert_eq!(fate.due, Some(due), "{name} {content:?}");
        assert_eq!(
            besides_seals(&blocks, &plan_, due, &standing),
            [Step::Drop { block: blocks[0].id, due, rule: fate.rule }],
            "{name} {content:?}"
        );
        assert_eq!(explain(&blocks, &plan_, due, &standing)[0].state, State::Due);
    }
}

#[test]
fn raw_is_held_hidden_until_the_longest_tier_ends_where_no_rollup_stands_in_for_it() {
    let (enterprise, blocks) = (built_in("enterprise"), [raw(1, 0), raw(2, 0)]);
    let hidden_from = DAY.end().saturating_add(90 * DAY_MS);
    for (now, state) in [
        (hidden_from.saturating_add(-1), State::Live),
        (hidden_from, State::Held),
        (DAY.end().saturating_add(1100 * DAY_MS - 1), State::Held),
        (DAY.end().saturating_add(1100 * DAY_MS), State::Due),
    ] {
        for fate in explain(&blocks, &enterprise, now, &Standing::default()) {
            assert_eq!(fate.state, state, "{now}");
            assert_eq!(fate.rule, Rule::UntilRollup { raw: Keep::Days(90), held: Keep::Days(1100) });
            assert!(fate.rule.to_string().contains("held 1100 days"));
        }
    }
    assert_eq!(
        besides_seals(&blocks, &enterprise, hidden_from, &Standing::default()),
        [],
        "nothing held is merged"
    );

    let mut for_ever = built_in("starter");
    for_ever.tiers[1] = Tier { resolution: Resolution::Hour, keep: Keep::Forever };
    let fate = explain(&blocks, &for_ever, Timestamp::MAX, &Standing::default())[0];
    assert_eq!((fate.due, fate.state), (None, State::Held));
}

#[test]
fn what_has_expired_once_goes_even_under_a_longer_plan_or_an_earlier_clock() {
    let blocks = [raw(1, 0), block(BlockContent::RawSignals, 2, 0)];
    let now = DAY.end().saturating_add(DAY_MS);
    let standing = floors(DAY.end());
    let dropped: Vec<_> = blocks
        .iter()
        .map(|block| Step::Drop { block: block.id, due: now, rule: Rule::ExpiredBefore })
        .collect();
    assert_eq!(besides_seals(&blocks, &built_in("archive"), now, &standing), dropped);
    let below = DAY.end().saturating_add(-DAY_MS);
    let standing = floors(below);
    assert_eq!(
        besides_seals(&blocks, &built_in("archive"), now, &standing),
        [],
        "the day is above the floor"
    );
    // Held raw waits for its rollup although queries no longer see it.
    let hidden = Floors::NONE.raised(BlockContent::RawMetrics, DAY.end());
    let standing = Standing { floors: hidden, ..Standing::default() };
    let fate = explain(&blocks[..1], &built_in("enterprise"), now, &standing)[0];
    assert_eq!(fate.state, State::Held);
    assert_eq!(besides_seals(&blocks[..1], &built_in("enterprise"), now, &standing), []);
}

#[test]
fn an_open_day_merges_four_of_a_level_and_a_day_that_is_over_merges_to_one() {
    let open = DAY.end();
    let over = DAY.end().saturating_add(6 * HOUR_MS);
    let levels = |levels: &[u8]| -> Vec<BlockMeta> {
        levels.iter().enumerate().map(|(at, &level)| raw(at as u64, level)).collect()
    };
    let none: &[&[u64]] = &[];
    for (given, now, expected) in [
        (levels(&[0, 0, 0]), open, none),
        (levels(&[0, 0, 0, 0]), open, &[&[0, 1, 2, 3]]),
        (levels(&[1, 1, 0, 0, 0, 0, 0]), open, &[&[2, 3, 4, 5, 6]]),
        (levels(&[1, 1, 1, 1, 0, 0]), open, &[&[0, 1, 2, 3]]),
        (levels(&[0, 0, 1, 0, 0]), open, none),
        (levels(&[0]), over, none),
        (levels(&[0, 0]), over.saturating_add(-1), none),
        (levels(&[0, 0]), over, &[&[0, 1]]),
        (levels(&[2, 1, 0]), over, &[&[0, 1, 2]]),
        // No more than 16 inputs at once, those of one level first.
        (levels(&[0; 20]), over, &[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]]),
        (levels(&[1, 0, 0, 0, 0]), over, &[&[0, 1, 2, 3, 4]]),
    ] {
        let found = steps(&given, &built_in("professional"), now, &Standing::default());
        assert_eq!(found, expected, "{:?}", given.iter().map(|block| block.level).collect::<Vec<_>>());
    }
}

#[test]
fn merges_keep_to_one_day_one_content_and_lsn_order_whatever_the_order_given() {
    let mut blocks = vec![
        raw(4, 0),
        block(BlockContent::RawSignals, 5, 0),
        raw(1, 0),
        block(BlockContent::RawSignals, 2, 0),
        raw(3, 0),
    ];
    blocks.push(BlockMeta { id: BlockId { day: Day(DAY.0 + 1), ..raw(6, 0).id }, ..raw(6, 0) });
    let now = Day(DAY.0 + 1).end();
    let found = steps(&blocks, &built_in("professional"), now, &Standing::default());
    assert_eq!(found, [vec![1, 3, 4], vec![2, 5]]);
}

#[test]
fn nothing_is_merged_across_a_block_that_is_set_aside_or_out_of_order() {
    let blocks: Vec<_> = (0..5).map(|at| raw(at, 0)).collect();
    let now = DAY.end().saturating_add(DAY_MS);
    let standing = Standing { set_aside: BTreeSet::from([blocks[2].id]), ..Standing::default() };
    assert_eq!(steps(&blocks, &built_in("professional"), now, &standing), [[0, 1]]);
    let mut blocks = blocks;
    blocks[2].lsns.after = Lsn(5);
    assert_eq!(steps(&blocks, &built_in("professional"), now, &Standing::default()), [[3, 4]]);
    // Two parts of one flush are no disorder.
    blocks[2].lsns = blocks[1].lsns;
    assert_eq!(steps(&blocks, &built_in("professional"), now, &Standing::default()), [[0, 1, 2, 3, 4]]);
}

#[test]
fn a_large_old_day_is_not_rewritten_for_a_trickle() {
    let mut blocks = vec![BlockMeta { bytes: 80_000, ..raw(0, 3) }, raw(1, 0), raw(2, 0)];
    let now = DAY.end().saturating_add(DAY_MS);
    assert_eq!(steps(&blocks, &built_in("archive"), now, &Standing::default()), [] as [Vec<u64>; 0]);
    blocks[2].bytes = 19_000;
    assert_eq!(steps(&blocks, &built_in("archive"), now, &Standing::default()), [[0, 1, 2]]);
    // Where nothing more can come, one last rewrite it is.
    blocks[2].bytes = 1;
    assert_eq!(steps(&blocks, &built_in("professional"), now, &Standing::default()), [[0, 1, 2]]);
}

#[test]
fn a_merge_takes_no_more_bytes_than_memory_should_hold() {
    let now = DAY.end().saturating_add(DAY_MS);
    let large = |at| BlockMeta { bytes: 200 << 20, ..raw(at, 0) };
    let blocks: Vec<_> = (0..5).map(large).collect();
    assert_eq!(steps(&blocks, &built_in("professional"), now, &Standing::default()), [[0, 1]]);
    let blocks: Vec<_> = (0..3).map(|at| BlockMeta { bytes: 300 << 20, ..raw(at, 1) }).collect();
    assert_eq!(steps(&blocks, &built_in("professional"), now, &Standing::default()), [] as [Vec<u64>; 0]);
    let blocks: Vec<_> = (0..3).map(|at| BlockMeta { bytes: u64::MAX, ..raw(at, 0) }).collect();
    assert_eq!(steps(&blocks, &built_in("professional"), now, &Standing::default()), [] as [Vec<u64>; 0]);
}

#[test]
fn the_longest_overdue_goes_first_and_drops_come_before_merges() {
    let at = |day: i32, sequence| {
        let block = raw(sequence, 0);
        BlockMeta { id: BlockId { day: Day(day), ..block.id }, ..block }
    };
    let signals = |day: i32, sequence| {
        let block = block(BlockContent::RawSignals, sequence, 0);
        BlockMeta { id: BlockId { day: Day(day), ..block.id }, ..block }
    };
    let blocks = [at(110, 1), at(110, 2), at(100, 3), at(101, 4), signals(103, 5)];
    let now = Day(112).end();
    // Signals of day 103 were due on day 104, metrics of day 100 on day 107.
    assert_eq!(
        steps(&blocks, &built_in("starter"), now, &Standing::default()),
        [vec![5], vec![3], vec![4], vec![1, 2]]
    );
}

#[test]
fn a_day_of_metrics_is_written_once_more_when_it_is_over_and_when_it_is_old_if_it_stays_as_long_again() {
    let standing = Standing::default();
    let after = |days: i64| DAY.end().saturating_add(days * DAY_MS);
    let steps =
        |blocks: &[BlockMeta], plan_: &str, now| besides_seals(blocks, &built_in(plan_), now, &standing);
    let single = |age| vec![BlockMeta { age, bytes: 64 << 10, ..raw(1, 0) }];
    let again = vec![Step::Merge { inputs: vec![raw(1, 0).id], day: DAY, content: BlockContent::RawMetrics }];
    assert_eq!(steps(&single(ChunkAge::Fresh), "professional", DAY.end()), [], "data still comes in");
    assert_eq!(steps(&single(ChunkAge::Fresh), "professional", after(1)), again);
    assert_eq!(steps(&[BlockMeta { bytes: 65_535, ..single(ChunkAge::Fresh)[0] }], "archive", after(9)), []);
    for age in [ChunkAge::Fresh, ChunkAge::Merged] {
        if age == ChunkAge::Merged {
            assert_eq!(steps(&single(age), "professional", Timestamp(after(7).0 - 1)), []);
        }
        assert_eq!(steps(&single(age), "professional", after(7)), again);
        assert_eq!(steps(&single(age), "professional", after(15)), again);
        // 30 days are kept: what is 16 days old goes before it has paid.
        assert_eq!(steps(&single(age), "professional", after(16)), []);
        assert_eq!(steps(&single(age), "archive", after(400)), again);
    }
    assert_eq!(steps(&single(ChunkAge::Old), "professional", after(7)), []);
    let signals = [BlockMeta { age: ChunkAge::Fresh, ..block(BlockContent::RawSignals, 1, 0) }];
    assert_eq!(steps(&signals, "archive", after(7)), []);
    let aside = Standing { set_aside: BTreeSet::from([raw(1, 0).id]), ..Standing::default() };
    assert_eq!(besides_seals(&single(ChunkAge::Fresh), &built_in("archive"), after(7), &aside), []);
}

fn seal(rows: u64, through: u64) -> DaySeal {
    DaySeal { rows, through: Lsn(through), digest: [0; 16] }
}

#[test]
fn a_day_is_sealed_when_its_late_window_has_passed_and_its_blocks_are_one() {
    use BlockContent::{RawMetrics, Rollup1h, Rollup5m};
    let enterprise = built_in("enterprise");
    let sealed_at = DAY.end().saturating_add(24 * HOUR_MS);
    let blocks = [raw(1, 0), raw(2, 0)];
    let merge = Step::Merge { inputs: vec![blocks[0].id, blocks[1].id], day: DAY, content: RawMetrics };
    let standing = Standing::default();
    assert_eq!(plan(&blocks, &enterprise, sealed_at.saturating_add(-1), &standing), []);
    assert_eq!(plan(&blocks, &enterprise, sealed_at, &standing), [merge]);
    let one = [BlockMeta { rows: 20, ..raw(3, 1) }];
    let seal_of =
        |tiers: &[BlockContent]| Step::Seal { day: DAY, inputs: vec![one[0].id], tiers: tiers.to_vec() };
    assert_eq!(plan(&one, &enterprise, sealed_at, &standing), [seal_of(&[Rollup5m, Rollup1h])]);
    let unflushed = Standing { unflushed: Some(DAY.range()), ..Standing::default() };
    assert_eq!(plan(&one, &enterprise, sealed_at, &unflushed), [], "not all of it is in blocks");
    let aside = Standing { set_aside: BTreeSet::from([one[0].id]), ..Standing::default() };
    assert_eq!(plan(&one, &enterprise, sealed_at, &aside), [], "a part of it is damaged");

    let rolled = |content| block(content, 4, 0);
    let standing = Standing { seals: [(DAY, seal(20, 40))].into(), ..Standing::default() };
    let all = [one[0], rolled(Rollup5m), rolled(Rollup1h)];
    assert_eq!(plan(&all, &enterprise, sealed_at, &standing), [], "once");
    // A tier that the plan wants and that is not there is made while raw is whole.
    assert_eq!(plan(&all[..2], &enterprise, sealed_at, &standing), [seal_of(&[Rollup5m, Rollup1h])]);
    let less = [BlockMeta { rows: 19, ..one[0] }, rolled(Rollup5m)];
    assert_eq!(plan(&less, &enterprise, sealed_at, &standing), [], "never from less than before");
    // In the end the 5-minute tier has expired, and is not made any more.
    let late = DAY.end().saturating_add(500 * DAY_MS);
    assert_eq!(plan(&one, &enterprise, late, &Standing::default()), [seal_of(&[Rollup1h])]);
}

#[test]
fn raw_goes_on_its_date_once_its_rollups_are_sealed_and_they_go_on_theirs() {
    use BlockContent::{Rollup1h, Rollup5m};
    let enterprise = built_in("enterprise");
    let standing = Standing { seals: [(DAY, seal(10, 40))].into(), ..Standing::default() };
    let blocks = [raw(3, 1), block(Rollup5m, 4, 0), block(Rollup1h, 5, 0)];
    for (days, kept) in [(90, vec![4, 5]), (400, vec![5]), (1100, vec![])] {
        for (now, gone) in [
            (DAY.end().saturating_add(days * DAY_MS), true),
            (DAY.end().saturating_add(days * DAY_MS - 1), false),
        ] {
            let due: Vec<u64> = steps(&blocks, &enterprise, now, &standing).concat();
            let left: Vec<u64> = blocks
                .iter()
                .map(|block| block.id.sequence)
                .filter(|sequence| !due.contains(sequence))
                .collect();
            assert_eq!(left == kept, gone, "{days} days: {left:?}");
        }
    }
    // A rollup of less than raw has now does not let raw go.
    let now = DAY.end().saturating_add(90 * DAY_MS);
    let newer = Standing { seals: [(DAY, seal(10, 39))].into(), ..Standing::default() };
    assert_eq!(steps(&blocks, &enterprise, now, &newer), [] as [Vec<u64>; 0]);
    assert!(matches!(plan(&blocks, &enterprise, now, &newer)[..], [Step::Seal { .. }]));
    // A tier that the plan does not have goes at once.
    assert_eq!(steps(&blocks, &built_in("archive"), DAY.end(), &standing), [[4]]);
}

#[test]
fn a_day_that_stays_open_is_sealed_again_once_a_fair_part_is_new() {
    let archive = built_in("archive");
    let now = DAY.end().saturating_add(2 * HOUR_MS);
    let sealed = block(BlockContent::Rollup1h, 9, 0);
    let big = BlockMeta { rows: 1_000, bytes: 100_000, age: ChunkAge::Old, ..raw(1, 1) };
    let standing = Standing { seals: [(DAY, seal(1_000, 20))].into(), ..Standing::default() };
    let with = |rows| [big, BlockMeta { rows, ..raw(2, 0) }, sealed];
    assert_eq!(plan(&with(249), &archive, now, &standing), []);
    assert!(matches!(plan(&with(250), &archive, now, &standing)[..], [Step::Seal { .. }]));
    assert_eq!(plan(&with(250), &archive, DAY.end(), &standing), [], "not before it is over");
}

/// A tenant's blocks of some days under flushes and merges, with the bytes written for them.
#[derive(Debug, Default)]
struct Tenant {
    blocks: Vec<BlockMeta>,
    seals: BTreeMap<Day, DaySeal>,
    sequence: u64,
    flushed_bytes: u64,
    merged_bytes: u64,
}

impl Tenant {
    fn next_id(&mut self, day: Day, content: BlockContent) -> BlockId {
        self.sequence += 1;
        BlockId { day, content, sequence: self.sequence }
    }

    fn flush(&mut self, day: Day, content: BlockContent, lsn: u64, bytes: u64) {
        let id = self.next_id(day, content);
        self.flushed_bytes += bytes;
        let lsns = LsnRange { after: Lsn(lsn), through: Lsn(lsn + 1) };
        self.blocks.push(BlockMeta { id, lsns, bytes, ..raw(0, 0) });
    }

    fn standing(&self) -> Standing {
        Standing { seals: self.seals.clone(), ..Standing::default() }
    }

    /// Does a step, and checks what must hold of it.
    fn apply(&mut self, step: &Step, plan_: &Plan, now: Timestamp) {
        let (inputs, day, content) = match step {
            Step::Drop { block, due, .. } => {
                assert!(*due <= now);
                self.blocks.retain(|other| other.id != *block);
                return;
            }
            Step::Seal { day, inputs, tiers } => {
                let raw: Vec<&BlockMeta> = self
                    .blocks
                    .iter()
                    .filter(|block| (block.id.day, block.id.content) == (*day, BlockContent::RawMetrics))
                    .collect();
                assert!(raw.iter().all(|block| inputs.contains(&block.id)) && raw.len() == inputs.len());
                let rows = raw.iter().map(|block| block.rows).sum();
                let through = raw.iter().map(|block| block.lsns.through).max().expect("an input");
                self.seals.insert(*day, DaySeal { through, rows, digest: [0; 16] });
                self.blocks.retain(|block| block.id.day != *day || block.id.content.window_ms().is_none());
                for &tier in tiers {
                    let id = self.next_id(*day, tier);
                    self.blocks.push(BlockMeta { id, ..raw_of(through) });
                }
                return;
            }
            Step::Merge { inputs, day, content } => (inputs, *day, *content),
        };
        assert!((1..=16).contains(&inputs.len()));
        let of = |id: &BlockId| *self.blocks.iter().find(|block| block.id == *id).expect("a live block");
        let metas: Vec<BlockMeta> = inputs.iter().map(of).collect();
        assert!(metas.iter().all(|meta| (meta.id.day, meta.id.content) == (day, content)));
        assert!(metas.windows(2).all(|pair| pair[0].lsns.through <= pair[1].lsns.after));
        let age = chunk_age(day, now);
        if metas.len() == 1 {
            assert!(metas[0].age < age && content == BlockContent::RawMetrics);
        }
        let lsns = LsnRange { after: metas[0].lsns.after, through: metas[metas.len() - 1].lsns.through };
        for other in &self.blocks {
            let between = lsns.after <= other.lsns.after && other.lsns.through <= lsns.through;
            assert!(
                !between || (other.id.day, other.id.content) != (day, content) || inputs.contains(&other.id),
                "a merge skips a neighbour"
            );
        }
        for fate in explain(&metas, plan_, now, &self.standing()) {
            assert_eq!(fate.state, State::Live);
        }
        let bytes = metas.iter().map(|meta| meta.bytes).sum();
        let level = metas.iter().map(|meta| meta.level).max().unwrap_or(0) + 1;
        self.merged_bytes += bytes;
        let id = self.next_id(day, content);
        self.blocks.retain(|other| !inputs.contains(&other.id));
        let rows = metas.iter().map(|meta| meta.rows).sum();
        self.blocks.push(BlockMeta { id, lsns, level, age, bytes, rows, ..raw(0, 0) });
    }

    /// Plans and does until nothing is left to do; only as many steps per plan as asked.
    fn settle(&mut self, plan_: &Plan, now: Timestamp, steps_per_plan: usize) {
        for _ in 0..10_000 {
            let steps = plan(&self.blocks, plan_, now, &self.standing());
            if steps.is_empty() {
                return;
            }
            let mut touched = BTreeSet::new();
            for step in &steps {
                let blocks = match step {
                    Step::Drop { block, .. } => std::slice::from_ref(block),
                    Step::Merge { inputs, .. } | Step::Seal { inputs, .. } => inputs,
                };
                assert!(blocks.iter().all(|id| touched.insert(*id)), "two steps touch one block");
            }
            for step in steps.iter().take(steps_per_plan) {
                self.apply(step, plan_, now);
            }
        }
        panic!("the plan does not converge");
    }
}

fn raw_of(through: Lsn) -> BlockMeta {
    BlockMeta { lsns: LsnRange { after: Lsn(0), through }, ..raw(0, 0) }
}

#[test]
fn what_is_not_shrunk_before_half_of_its_life_is_over_is_asked_about_again_then() {
    let merged = BlockMeta { bytes: 1 << 20, ..raw(1, 1) };
    let (plan_, end) = (built_in("professional"), DAY.end());
    let old = end.saturating_add(8 * DAY_MS);
    let wanted = |now| besides_seals(&[merged], &plan_, now, &Standing::default()).len();
    let changes = next_change(&[merged], &plan_, old).expect("it is half of thirty days");
    assert_eq!(changes, end.saturating_add(15 * DAY_MS + 1));
    assert_eq!((wanted(old), wanted(Timestamp(changes.0 - 1)), wanted(changes)), (1, 1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn plans_converge_and_never_merge_what_is_not_adjacent(
        name in prop::sample::select(&Plan::BUILT_IN[..]),
        flushes in prop::collection::vec((0..4i32, any::<bool>(), 1..5_000u64, 0..30u32), 1..120),
        steps_per_plan in 1..4usize,
        order in any::<u64>(),
    ) {
        let plan_ = built_in(name);
        let mut tenant = Tenant::default();
        let mut now = DAY.range().start;
        for (lsn, &(day, is_metrics, bytes, hours)) in flushes.iter().enumerate() {
            let content = if is_metrics { BlockContent::RawMetrics } else { BlockContent::RawSignals };
            tenant.flush(Day(DAY.0 + day), content, lsn as u64, bytes);
            now = now.saturating_add(i64::from(hours) * HOUR_MS / 10);
            if lsn % 3 == 0 {
                tenant.settle(&plan_, now, steps_per_plan);
            }
        }
        tenant.settle(&plan_, now, steps_per_plan);

        let changes = next_change(&tenant.blocks, &plan_, now).unwrap_or(Timestamp::MAX);
        let until = changes.min(now.saturating_add(1_000 * DAY_MS));
        let wanted = |now| without_dues(plan(&tenant.blocks, &plan_, now, &tenant.standing()));
        for later in [1, (until.0 - now.0) / 2, until.0 - now.0 - 1] {
            prop_assert_eq!(wanted(now), wanted(now.saturating_add(later.clamp(0, until.0 - now.0 - 1))));
        }

        // The order in which blocks are given changes nothing.
        let planned = plan(&tenant.blocks, &plan_, now, &tenant.standing());
        let len = tenant.blocks.len().max(1);
        tenant.blocks.rotate_left((order % len as u64) as usize);
        prop_assert_eq!(&planned, &plan(&tenant.blocks, &plan_, now, &tenant.standing()));

        // Once all days are over and sealed, one block per day and content is left.
        let over = Day(DAY.0 + 3).end().saturating_add(24 * HOUR_MS).max(now);
        tenant.settle(&plan_, over, steps_per_plan);
        if name != "archive" {
            let left: BTreeSet<_> = tenant.blocks.iter().map(|b| (b.id.day, b.id.content)).collect();
            prop_assert_eq!(left.len(), tenant.blocks.len());
        }
        tenant.settle(&plan_, Timestamp::MAX, 1_000);
        prop_assert_eq!(name == "archive", !tenant.blocks.is_empty());
    }
}

#[test]
fn write_amplification_is_logarithmic_and_a_day_never_has_many_blocks() {
    // A backfill of one old day, and the same day while it is open: both flush after flush.
    for (name, now) in [("archive", DAY.end().saturating_add(DAY_MS)), ("professional", DAY.end())] {
        let plan_ = built_in(name);
        let mut tenant = Tenant::default();
        let mut blocks_max = 0;
        for lsn in 0..4_096 {
            tenant.flush(DAY, BlockContent::RawMetrics, lsn, 1_000);
            tenant.settle(&plan_, now, 1);
            blocks_max = blocks_max.max(tenant.blocks.len());
        }
        let amplification = tenant.merged_bytes / tenant.flushed_bytes;
        println!("{name}: {amplification} bytes written per byte, at most {blocks_max} blocks");
        assert!(blocks_max <= 3 * 6 + 1, "{name}: {blocks_max}");
        assert!(amplification <= 9, "{name}: {amplification}");
    }
}
