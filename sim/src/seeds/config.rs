//! What one seed decides: who acts how often, what goes wrong, how large everything is.
//!
//! Each seed draws its own probabilities, some of them 0: runs that only write and crash find other defects than runs
//! of everything at once.

use annals::vfs::{SimCut, SimError, SimFailedSync};
use annals::{Durability, Encryption, Keep, Options, Plan, Reads, Resolution, Tier};

use super::draw::Draws;

/// The plans that tenants may get: the built-in ones; `hours` and `minutes`, whose tiers expire within days.
pub(super) const PLANS: [&str; 6] = ["starter", "professional", "enterprise", "archive", "hours", "minutes"];

/// Everything that is derived from a seed before the first operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The seed.
    pub seed: u64,
    /// How many operations follow.
    pub operations: u64,
    /// The tenants' plans; the first half are created at the start, the others by operations.
    pub plans: Vec<&'static str>,
    /// The most records of a batch that a plan allows.
    pub batch_records_max: usize,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// See [`Options::head_bytes_max`].
    pub head_bytes_max: usize,
    /// See [`Options::head_age_ms_max`].
    pub head_age_ms_max: i64,
    /// See [`Options::log_bytes_max`].
    pub log_bytes_max: u64,
    /// Whether tenants are sealed.
    pub sealed: bool,
    /// How blocks are read.
    pub reads: Reads,
    /// What is kept of the indexes of blocks.
    pub index_bytes_max: usize,
    /// What failed syncs do to what files look like.
    pub failed_sync: SimFailedSync,
    /// What power cuts leave, by index into [`SimCut::all`].
    pub cuts: Vec<usize>,
    /// Whether planted crashes strike within a call.
    pub crash_within: bool,
    /// The latest call, from now, that a planted fault or crash strikes.
    pub fault_calls_max: u64,
    /// The errors that planted faults give.
    pub errors: Vec<SimError>,
    /// Whether faults strike reads too.
    pub read_faults: bool,
    /// Percent of faults that last.
    pub forever_percent: u64,
    /// The farthest that the clock moves in one go, in hours.
    pub clock_hours_max: u64,
    /// Percent of the clock's moves that go back.
    pub clock_back_percent: u64,
    /// How contents look.
    pub shape: Shape,
    /// How often each actor acts, by [`Actor`].
    pub weights: Vec<(Actor, u64)>,
    /// Percent of operations after which a tenant is compared; after an open, all are.
    pub check_percent: u64,
    /// Percent of opens whose recovery is done twice on a copy and compared.
    pub twice_percent: u64,
}

/// How contents look, in percent of batches or records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Records of a usual batch.
    pub records_max: u64,
    /// Batches as large as the plan allows, or one larger.
    pub full_percent: u64,
    /// How many of the batches without deltas have no id.
    pub unnamed_percent: u64,
    /// Batches of signals, where the plan allows samples.
    pub signals_percent: u64,
    /// Series that samples are drawn from.
    pub series: u64,
    /// Samples on stamps that other batches use too.
    pub contested_percent: u64,
    /// Records outside of what the plan takes: late, expired, ahead of the clock.
    pub outside_percent: u64,
    /// Records that are refused for what they hold.
    pub invalid_percent: u64,
    /// Values that are NaN with a payload, stale markers, infinite, or negative zero.
    pub odd_percent: u64,
    /// Batches of series with long labels.
    pub fat_percent: u64,
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Writes a batch to one tenant, or to several in one commit.
    Write,
    /// Writes a batch once more.
    Retry,
    /// Writes other content under an id that was used.
    Conflict,
    /// Asks a query whose answer is known.
    Query,
    /// Opens a cursor, or the store read-only, and reads it to its end some operations later.
    Hold,
    /// Flushes a tenant.
    Flush,
    /// Does some steps of maintenance.
    Maintain,
    /// Flushes and merges everything.
    Settle,
    /// Moves the clock.
    Clock,
    /// Creates a tenant.
    Create,
    /// Cancels a tenant, or takes that back.
    Cancel,
    /// Erases a tenant.
    Erase,
    /// Gives a tenant new keys.
    Rotate,
    /// Asks for another plan for a tenant, or takes that back.
    Plan,
    /// Switches a signal kind off, or on again.
    Switch,
    /// Deletes by matchers and times.
    Delete,
    /// Takes a snapshot, and compares what it restores.
    Backup,
    /// Opens the store read-only.
    ReadOnly,
    /// Reads every byte.
    Verify,
    /// Closes in order and opens again.
    Close,
    /// Ends the process and opens again.
    Kill,
    /// Cuts the power and opens again.
    Cut,
    /// Plants a fault.
    Fault,
    /// Plants a crash.
    Crash,
    /// Takes all faults back.
    Clear,
    /// Fills the disk, or frees it.
    Space,
    /// Flips a bit of a block at rest.
    Rot,
}

/// Actors with the weight that they have in a run of everything.
const ACTORS: [(Actor, u64); 27] = [
    (Actor::Write, 40),
    (Actor::Retry, 8),
    (Actor::Conflict, 2),
    (Actor::Query, 4),
    (Actor::Hold, 4),
    (Actor::Flush, 8),
    (Actor::Maintain, 8),
    (Actor::Settle, 3),
    (Actor::Clock, 4),
    (Actor::Create, 2),
    (Actor::Cancel, 1),
    (Actor::Erase, 1),
    (Actor::Rotate, 2),
    (Actor::Plan, 2),
    (Actor::Switch, 2),
    (Actor::Delete, 2),
    (Actor::Backup, 1),
    (Actor::ReadOnly, 5),
    (Actor::Verify, 2),
    (Actor::Close, 2),
    (Actor::Kill, 3),
    (Actor::Cut, 4),
    (Actor::Fault, 5),
    (Actor::Crash, 5),
    (Actor::Clear, 3),
    (Actor::Space, 3),
    (Actor::Rot, 1),
];

impl Config {
    /// What a seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Config {
        let draws = Draws::new(seed ^ 0x5eed_0000_0000_0000);
        let tenants = match draws.below(40) {
            0..=9 => 1,
            10..=29 => draws.within(2, 4),
            30..=38 => draws.within(5, 16),
            _ => draws.within(17, 120),
        };
        let plan =
            |_| draws.one_of(&["archive", "archive", "enterprise", "minutes", "professional", "starter"]);
        let plans: Vec<&'static str> = (0..tenants).map(plan).collect();
        let weights = ACTORS
            .iter()
            .map(|&(actor, weight)| {
                let factor = match draws.below(8) {
                    // Writing is what all else is about.
                    0 | 1 if actor == Actor::Write => 1,
                    0 | 1 => 0,
                    2..=5 => 4,
                    6 => 1,
                    _ => 16,
                };
                (actor, weight * factor)
            })
            .filter(|&(_, weight)| weight > 0)
            .filter(|&(actor, _)| actor != Actor::Rot || draws.percent(20))
            .collect();
        let all_cuts = SimCut::all(0).len();
        let cuts = match draws.below(3) {
            0 => vec![draws.below(all_cuts as u64) as usize],
            _ => (0..all_cuts).collect(),
        };
        Config {
            seed,
            operations: draws.one_of(&[5, 15, 30, 30, 60, 60, 120]),
            batch_records_max: draws.one_of(&[8, 40, 500_000]),
            durability: draws.one_of(&[Durability::Synced, Durability::Synced, Durability::Buffered]),
            head_bytes_max: draws.one_of(&[3_000, 12_000, 60_000, 1 << 20, 64 << 20]),
            head_age_ms_max: draws.one_of(&[annals::HOUR_MS, annals::DAY_MS]),
            log_bytes_max: draws.one_of(&[512 << 10, 512 << 10, 2 << 20]),
            failed_sync: draws.one_of(&[SimFailedSync::KeepsBytes, SimFailedSync::RevertsBytes]),
            cuts,
            crash_within: draws.percent(50),
            fault_calls_max: draws.one_of(&[4, 12, 40, 200]),
            errors: draws
                .one_of::<&[SimError]>(&[
                    &[SimError::Io],
                    &[SimError::NoSpace],
                    &[SimError::Io, SimError::NoSpace],
                ])
                .to_vec(),
            read_faults: draws.percent(30),
            forever_percent: draws.one_of(&[0, 10, 50]),
            clock_hours_max: draws.one_of(&[1, 30, 24 * 9, 24 * 100]),
            clock_back_percent: draws.one_of(&[0, 0, 0, 25]),
            shape: Shape {
                records_max: draws.one_of(&[1, 4, 4, 12]),
                full_percent: draws.one_of(&[0, 0, 3]),
                unnamed_percent: draws.one_of(&[0, 50]),
                signals_percent: draws.one_of(&[0, 40, 40, 100]),
                series: draws.one_of(&[1, 3, 10, 60]),
                contested_percent: draws.one_of(&[0, 30, 80]),
                outside_percent: draws.one_of(&[0, 0, 10, 50]),
                invalid_percent: draws.one_of(&[0, 0, 5]),
                odd_percent: draws.one_of(&[0, 20, 100]),
                fat_percent: draws.one_of(&[0, 0, 10, 40]),
            },
            weights,
            check_percent: draws.one_of(&[10, 30, 100]),
            twice_percent: draws.one_of(&[0, 5, 20]),
            sealed: draws.percent(75),
            reads: if draws.percent(50) { Reads::Mapped } else { Reads::Positioned },
            index_bytes_max: draws.one_of(&[0, 2_000, 256 << 20]),
            plans,
        }
    }

    /// A short history of rollups: late data, merges, days that are sealed and tiers that expire within days, plan changes,
    /// deletions and crashes, of one tenant or two.
    #[must_use]
    pub fn of_rollups(seed: u64) -> Config {
        let draws = Draws::new(seed ^ 0x0110_0000_0000_0000);
        let plan = |_| draws.one_of(&["hours", "minutes", "minutes", "enterprise", "starter", "archive"]);
        let plans: Vec<&'static str> = (0..draws.within(1, 2)).map(plan).collect();
        Config {
            operations: 24,
            durability: Durability::Synced,
            head_bytes_max: draws.one_of(&[12_000, 1 << 20]),
            clock_hours_max: draws.one_of(&[30, 60, 24 * 6]),
            clock_back_percent: 0,
            shape: Shape {
                records_max: 12,
                full_percent: 0,
                unnamed_percent: draws.one_of(&[0, 50]),
                signals_percent: draws.one_of(&[0, 40]),
                series: draws.one_of(&[3, 10]),
                contested_percent: draws.one_of(&[0, 50]),
                outside_percent: draws.one_of(&[0, 25]),
                invalid_percent: 0,
                odd_percent: draws.one_of(&[0, 20]),
                fat_percent: 0,
            },
            weights: vec![
                (Actor::Write, 30),
                (Actor::Retry, 3),
                (Actor::Flush, 8),
                (Actor::Maintain, 12),
                (Actor::Settle, 6),
                (Actor::Clock, 16),
                (Actor::Plan, 3),
                (Actor::Delete, 3),
                (Actor::Kill, 2),
                (Actor::Cut, 2),
                (Actor::Crash, 2),
            ],
            check_percent: 30,
            twice_percent: 0,
            sealed: draws.percent(10),
            plans,
            ..Config::new(seed)
        }
    }

    /// What the store is opened with.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            durability: self.durability,
            head_bytes_max: self.head_bytes_max,
            head_age_ms_max: self.head_age_ms_max,
            log_bytes_max: self.log_bytes_max,
            encryption: if self.sealed { Encryption::Files } else { Encryption::None },
            reads: self.reads,
            index_bytes_max: self.index_bytes_max,
            ..Options::default()
        }
    }

    /// A plan by its name, a built-in one, `hours` or `minutes`.
    ///
    /// # Panics
    /// Where there is no such plan.
    #[must_use]
    pub fn plan_of(&self, name: &str) -> Plan {
        let tier = |resolution, days| Tier { resolution, keep: Keep::Days(days) };
        let hours = [tier(Resolution::Raw, 2), tier(Resolution::Hour, 9)];
        let mut plan = Plan::built_in(name).unwrap_or_else(|| Plan {
            name: name.to_owned(),
            signals_keep: Keep::Days(1),
            tiers: hours.to_vec(),
            ..Plan::built_in("enterprise").expect("built in")
        });
        if name == "minutes" {
            plan.tiers.insert(1, tier(Resolution::FiveMinutes, 5));
        }
        plan.limits.batch_records_max = self.batch_records_max;
        plan
    }
}
