//! The nouns of Annals. No file, no clock, no thread: values and the rules they keep.
//!
//! ```text
//!   tenant ── site ── signal  (kind, time, allow-listed fields)      schema.rs, signal.rs
//!      └──── series ─ sample  (label set of a kind; time, value)     labels.rs, sample.rs
//!                   histogram: buckets and their arithmetic        histogram.rs
//!                                                                    matcher.rs picks series
//!   plan: tiers, late window, rights                                 plan.rs, plan_file.rs
//!   start: when what a sample counts began                           start.rs
//!   rollup: what samples come to, per window                         aggregate.rs, rollup.rs
//!   block: what the manifest knows of one                            block.rs
//!   SeriesSource: the one door through which queries see data        source.rs
//!   Sealer: how parts of files are encrypted                         seal.rs
//! ```
//!
//! ```
//! use annals_model::{LabelSet, Matcher, MatchOp, Timestamp, TimeRange};
//!
//! let series = LabelSet::from_pairs([("__name__", "up"), ("job", "web")])?;
//! assert!(Matcher::new("job", MatchOp::Regex, "w.*")?.matches(series.get("job")));
//!
//! // Ranges are left-open: the start is outside, the end is inside.
//! let range = TimeRange::new(Timestamp(0), Timestamp(60_000));
//! assert!(!range.contains(Timestamp(0)) && range.contains(Timestamp(60_000)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod block;
pub mod bytes;
mod float;
mod histogram;
mod id;
mod labels;
mod matcher;
mod nearest;
mod plan;
mod plan_file;
mod rollup;
mod sample;
pub mod schema;
mod seal;
mod signal;
mod source;
mod start;
mod sum;
mod time;
mod verdict;

pub use aggregate::Aggregate;
pub use block::{BlockContent, BlockId, BlockMeta, ChunkAge, DaySeal, Floors, Lsn, LsnRange};
pub use float::{FloatForm, format_float, put_float};
pub use histogram::{
    Added, Bucket, CUSTOM_BOUNDS_MAX, CUSTOM_BUCKETS_SCHEMA, HISTOGRAM_BUCKETS_MAX, Histogram,
    HistogramSample, HistogramSamples, HistogramSum, InvalidHistogram, MixedBuckets, ResetHint,
    merge_histograms,
};
pub use id::{BatchId, InvalidName, NameFault, SiteName, TenantId, TenantNumber};
pub use labels::{
    InvalidLabels, LABEL_NAME_BYTES_MAX, LABEL_SET_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, LabelSet,
    METRIC_NAME, decode_pair,
};
pub use matcher::{Candidates, InvalidMatcher, MatchOp, Matcher, REGEX_BYTES_MAX};
pub use nearest::nearest;
pub use plan::{Keep, Limits, Plan, Resolution, Rights, Tier};
pub use plan_file::{PlanError, PlanFault};
pub use rollup::{Rollup, roll_up, roll_up_further, window_end};
pub use sample::{STALE_NAN_BITS, SampleBatch, SeriesKind, SeriesSamples, is_stale, merge_values};
pub use seal::{COMMITMENT_BYTES, DataKeys, KeyId, NONCE_BYTES, SEAL_BYTES, Sealer};
pub use signal::{FieldValue, Pseudonym, Signal, SignalBatch, SignalRow, SignalValue};
pub use source::{
    Budget, Coverage, LimitExceeded, Missing, Piece, Pieces, QueryLimits, ReadPlan, Samples, SelectedSeries,
    SeriesGroups, SeriesSource, SourceError, StampsRead, Whole,
};
pub use start::{START_MAX, START_UNKNOWN, append_starts, replace_last_start, starts_anew, starts_overlap};
pub use sum::{Sum, add_compensated};
pub use time::{DAY_MS, Day, HOUR_MS, MINUTE_MS, TimeRange, Timestamp};
pub use verdict::{FieldRef, Refusal, RefusalReason, Verdict};
