//! What can be wrong with a block, or with what is to be written into one.

use std::sync::Arc;

use annals_model::{BlockContent, BlockId, KeyId, TenantNumber, TimeRange};

/// Whose block it is, and which: every check in a block covers it, so that no byte of another block passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockIdentity {
    /// The tenant.
    pub tenant: TenantNumber,
    /// The block's name within the tenant.
    pub id: BlockId,
}

/// Why a block, or a part of one, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The disk refused: a later try may succeed.
    #[error("{name}: cannot read: {what}; try again")]
    Io {
        /// The file.
        name: Arc<str>,
        /// What the system says.
        what: String,
    },
    /// No version of this engine wrote these bytes: quarantine the block, serve the others.
    #[error("{name}: {at}; run `annals verify`, then restore the block from a backup")]
    Corrupt {
        /// The file.
        name: Arc<str>,
        /// Where, and what.
        at: Corruption,
    },
    /// An intact block, but not the one that belongs here: a file was moved or copied.
    #[error(
        "{name}: holds block {} of tenant {}, not block {} of tenant {}; put the right file back",
        found.id, found.tenant, expected.id, expected.tenant
    )]
    WrongIdentity {
        /// The file.
        name: Arc<str>,
        /// What should be there.
        expected: BlockIdentity,
        /// What is there.
        found: BlockIdentity,
    },
    /// A newer engine wrote it: leave the file alone.
    #[error(
        "{name}: block format {found} is newer than {newest_known}, the newest known; use a newer Annals"
    )]
    VersionTooNew {
        /// The file.
        name: Arc<str>,
        /// The file's version.
        found: u16,
        /// The newest that this engine reads.
        newest_known: u16,
    },
    /// It needs features that this engine does not have: leave the file alone.
    #[error("{name}: needs block features {bits:#x} that are not known; use a newer Annals")]
    UnknownFeature {
        /// The file.
        name: Arc<str>,
        /// The required feature bits that are not known.
        bits: u32,
    },
    /// It is sealed and was opened without keys.
    #[error("{name}: it is sealed with key {key} and was opened without keys; give the tenant's keys")]
    Sealed {
        /// The file.
        name: Arc<str>,
        /// The key that it is sealed with.
        key: KeyId,
    },
    /// The tenant's keys do not have the one that it is sealed with: it was destroyed, or is newer than they are.
    #[error("{name}: it is sealed with key {key}, which the tenant's keys do not have; restore them")]
    KeyMissing {
        /// The file.
        name: Arc<str>,
        /// The key that it is sealed with.
        key: KeyId,
    },
    /// The tenant's key of that number is another: nothing is known to be damaged.
    #[error("{name}: key {key} is not the key that it was sealed with; restore the tenant's own keys")]
    KeyMismatch {
        /// The file.
        name: Arc<str>,
        /// The number of both keys.
        key: KeyId,
    },
    /// It is plain, and all blocks of its tenant are sealed: nobody with the tenant's keys wrote it.
    #[error("{name}: it is not sealed, as all blocks of its tenant are; restore the block from a backup")]
    NotSealed {
        /// The file.
        name: Arc<str>,
    },
    /// A series or row that the block does not have: the caller mixed up two blocks.
    #[error("{name}: has {count} series, none with ordinal {ordinal}")]
    NoSuchSeries {
        /// The file.
        name: Arc<str>,
        /// What was asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
}

/// Where a block is damaged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corruption {
    /// The section, or `header` or `footer`.
    pub section: &'static str,
    /// The chunk, column or row group within the section, where it is one of many.
    pub ordinal: Option<u64>,
    /// What is wrong.
    pub what: &'static str,
}

impl std::fmt::Display for Corruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ordinal {
            Some(ordinal) => write!(f, "section {}, part {ordinal}: {}", self.section, self.what),
            None => write!(f, "section {}: {}", self.section, self.what),
        }
    }
}

/// One thing that a full check of a block found. A damaged place is found once, however many series it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The section, or `header` or `footer` or `file`.
    pub section: &'static str,
    /// The chunk, column or row group within the section.
    pub chunk: Option<u64>,
    /// The first series that lost samples.
    pub series: Option<u32>,
    /// A digest of that series' labels, the same in every block: labels themselves are not for logs.
    pub labels: Option<u32>,
    /// How many series lost samples; 0 where that is not known.
    pub series_count: u64,
    /// How many samples or signals cannot be served; `None` where that is not known.
    pub rows: Option<u64>,
    /// The times that cannot be served.
    pub range: Option<TimeRange>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.section)?;
        if let Some(chunk) = self.chunk {
            write!(f, " {chunk}")?;
        }
        match (self.series, self.labels) {
            (Some(_), _) if self.series_count > 1 => write!(f, " of {} series", self.series_count)?,
            (Some(series), Some(labels)) => write!(f, " of series {series} (labels {labels:08x})")?,
            (Some(series), None) => write!(f, " of series {series}")?,
            (None, _) => {}
        }
        if let Some(range) = self.range {
            write!(f, ", after {} up to {}", range.start, range.end)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl Damage {
    pub(crate) fn of(error: &BlockError, range: Option<TimeRange>) -> Damage {
        let (section, chunk, what) = match error {
            BlockError::Corrupt { at, .. } => (at.section, at.ordinal, at.what.to_owned()),
            other => ("file", None, other.to_string()),
        };
        Damage { section, chunk, series: None, labels: None, series_count: 0, rows: None, range, what }
    }
}

/// What a full check finds, each damaged place once.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Damage>);

impl Findings {
    /// Adds a place that is damaged as a whole.
    pub(crate) fn add(&mut self, damage: Damage) {
        self.0.push(damage);
    }

    /// Adds a damaged place that costs one series so many samples: to what is known of that place already, where it
    /// is one that series share.
    pub(crate) fn add_for(&mut self, series: u32, labels: Option<u32>, rows: u64, damage: Damage) {
        let same = |known: &&mut Damage| {
            (known.section, known.chunk, known.series.is_some()) == (damage.section, damage.chunk, true)
        };
        // Damage is rare: where it is everywhere, a look at each of the last few is still cheap.
        match self.0.iter_mut().rev().take(LOOKED_BACK).find(same) {
            Some(known) => {
                known.series_count += 1;
                known.rows = known.rows.map(|known| known.saturating_add(rows));
                known.range = match (known.range, damage.range) {
                    (Some(a), Some(b)) => Some(TimeRange::new(a.start.min(b.start), a.end.max(b.end))),
                    (a, b) => a.or(b),
                };
            }
            None => {
                self.0.push(Damage {
                    series: Some(series),
                    labels,
                    series_count: 1,
                    rows: Some(rows),
                    ..damage
                });
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what checks over whole sections and the whole file say, as far as nothing above explains it.
    pub(crate) fn finish(mut self, whole: Vec<BlockError>) -> Vec<Damage> {
        for error in whole {
            let damage = Damage::of(&error, None);
            let explained = match damage.section {
                "file" => !self.0.is_empty(),
                section => self.0.iter().any(|known| known.section == section),
            };
            if !explained {
                self.0.push(damage);
            }
        }
        self.0
    }
}

/// How many findings are looked back at for one of the same place.
const LOOKED_BACK: usize = 256;

/// A section of a block, for `annals inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionInfo {
    /// Its name; `header` and `footer` are listed too, so that the sizes add up to the file's.
    pub name: &'static str,
    /// Where it starts.
    pub offset: u64,
    /// Its size in the file.
    pub bytes: u64,
    /// Its size once decompressed.
    pub plain_bytes: u64,
}

/// How many chunks one codec holds, for `annals inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecUse {
    /// The codec.
    pub codec: &'static str,
    /// Chunks in it.
    pub chunks: u64,
    /// Their samples.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was refused by a writer. The block is not broken: what was added before is still there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The identity is that of another content.
    #[error("block {id} is to hold {}, not what is written into it", content.word())]
    WrongContent {
        /// The block.
        id: BlockId,
        /// What its name says it holds.
        content: BlockContent,
    },
    /// Numbers of a series of histograms, or histograms of one of numbers.
    #[error("a series of kind {kind} does not hold such samples")]
    WrongKind {
        /// The series' kind.
        kind: &'static str,
    },
    /// Series must come in label order, each once.
    #[error("series {ordinal} does not come after the one before it in label order")]
    SeriesOrder {
        /// Its ordinal.
        ordinal: u32,
    },
    /// As many values as timestamps, and at least one.
    #[error("series {ordinal} has {timestamps} timestamps and {values} values")]
    Lengths {
        /// Its ordinal.
        ordinal: u32,
        /// How many timestamps.
        timestamps: usize,
        /// How many values.
        values: usize,
    },
    /// As many start times as values, or none.
    #[error("series {ordinal} has {values} values and {starts} start times")]
    Starts {
        /// Its ordinal.
        ordinal: u32,
        /// How many values.
        values: usize,
        /// How many start times.
        starts: usize,
    },
    /// Timestamps must ascend strictly.
    #[error("series {ordinal}: timestamp {position} does not come after the one before it")]
    TimeOrder {
        /// The series' ordinal.
        ordinal: u32,
        /// Which timestamp, from 0.
        position: usize,
    },
    /// A timestamp outside the block's day.
    #[error("timestamp {timestamp} of series or row {ordinal} lies outside the block's day {day}")]
    OutsideDay {
        /// The series' or the row's ordinal.
        ordinal: u64,
        /// The timestamp, in milliseconds.
        timestamp: i64,
        /// The day.
        day: annals_model::Day,
    },
    /// A signal of a kind whose schema was not given.
    #[error("row {row} is of a kind that the block has no schema for")]
    UnknownKind {
        /// The row's ordinal, in order of arrival.
        row: u64,
    },
    /// Two schemas of one kind.
    #[error("the schema of kind `{kind}` was given twice")]
    RepeatedKind {
        /// The kind.
        kind: Arc<str>,
    },
    /// A signal whose fields are not those of its schema.
    #[error("row {row} has {fields} fields, its kind's schema has {expected}")]
    FieldCount {
        /// The row's ordinal, in order of arrival.
        row: u64,
        /// How many it has.
        fields: usize,
        /// How many the schema has.
        expected: usize,
    },
    /// A field value of another type than the schema's.
    #[error("row {row}: the value of field `{field}` is not of its type")]
    FieldType {
        /// The row's ordinal, in order of arrival.
        row: u64,
        /// The field.
        field: Arc<str>,
    },
    /// More than the format can number.
    #[error("more than {max} {what} in a block; write it as several")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many are possible.
        max: u64,
    },
}
