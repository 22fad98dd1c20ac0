//! Which blocks of a tenant to drop and to merge: decided by a pure plan, done by plain executors.
//!
//! ```text
//!   blocks, plan, now ──► explain ──► one fate per block: rule, due date, state     fate.rs
//!                    └──► plan ─────► steps, most urgent first                       plan.rs
//!   Step::Drop                        the engine unlinks, after its manifest says so
//!   Step::Seal  ──► seal_day ──► encoded blocks of rollups, and a digest              seal.rs
//!   Step::Merge ──► merge_metrics, merge_signals ──► one encoded block               merge*.rs
//! ```
//!
//! This crate reads no clock and no directory, and publishes nothing: the engine swaps the manifest. A block that
//! cannot be read whole is never merged away; the error names it, and its neighbours are left as they are.
//!
//! ```
//! use annals_compaction::{Standing, State, explain};
//! use annals_model::{BlockContent, BlockId, BlockMeta, ChunkAge, Day, Lsn, LsnRange, Plan};
//!
//! let day = Day(20_000);
//! let block = BlockMeta {
//!     id: BlockId { day, content: BlockContent::RawSignals, sequence: 1 },
//!     time: day.range(),
//!     lsns: LsnRange { after: Lsn(0), through: Lsn(9) },
//!     level: 0, age: ChunkAge::Fresh, series: 1, rows: 1, bytes: 100, check: 0,
//! };
//! let starter = Plan::built_in("starter").expect("built in");
//! let fates = explain(&[block], &starter, day.end(), &Standing::default());
//! assert_eq!(fates[0].state, State::Live);
//! assert_eq!(fates[0].due, Some(Day(20_001).end()));
//! ```

mod fate;
mod merge;
mod merge_signals;
#[cfg(test)]
mod merge_signals_tests;
#[cfg(test)]
mod merge_tests;
mod plan;
#[cfg(test)]
mod plan_tests;
mod seal;

pub use fate::{BlockFate, DayBlocks, Rule, Standing, State, explain};
pub use merge::{MergeError, merge_metrics};
pub use merge_signals::merge_signals;
pub use plan::{Step, chunk_age, next_change, plan};
pub use seal::{RollupOutput, SealedDay, seal_day};
