//! `manifest.json`: what an export is, written last.
//!
//! Its fields are those of [`Manifest`]; times are RFC 3339 in UTC, digests SHA-256 in hexadecimal.

use std::collections::BTreeMap;

use annals::{Missing, Timestamp};
use serde::{Deserialize, Serialize};

/// The name of the file.
pub const MANIFEST_NAME: &str = "manifest.json";
/// The version of its layout.
pub(crate) const MANIFEST_VERSION: u32 = 1;
/// A damaged block may be missing from each of a million series: so many parts are named, the rest counted.
const MISSING_MAX: usize = 1_000;

/// What an export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this layout.
    pub annals_export: u32,
    /// The program that wrote it.
    pub written_by: String,
    /// The tenant.
    pub tenant: String,
    /// Its plan.
    pub plan: String,
    /// When the store was opened: what had expired then is not here.
    pub at: String,
    /// The generation of the tenant's manifest in the store.
    pub generation: u64,
    /// How many samples were in the log and not in blocks then.
    pub unflushed_samples: u64,
    /// The same of raw signals.
    pub unflushed_signals: u64,
    /// The column of each label, in all files that have labels as columns.
    pub label_columns: BTreeMap<String, String>,
    /// The files.
    pub files: Vec<FileEntry>,
    /// What no file of this export holds, because none of its formats can: rows by [`Content`].
    pub left_out: BTreeMap<String, u64>,
    /// What of the tenant could not be read.
    pub missing: Vec<MissingPart>,
    /// How many more parts could not be read.
    pub missing_more: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Samples that are numbers.
    Samples,
    /// Native histograms.
    Histograms,
    /// Windows of samples that have expired.
    Windows,
    /// Raw signals.
    Signals,
}

impl Content {
    /// The word for it in a manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Content::Samples => "samples",
            Content::Histograms => "histograms",
            Content::Windows => "windows",
            Content::Signals => "signals",
        }
    }
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the directory, with `/` between.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// How fine: `raw`, `5m` or `1h`.
    pub resolution: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Rows: samples, windows or signals.
    pub rows: u64,
    /// The first stamp in it.
    pub from: String,
    /// The last stamp in it.
    pub to: String,
    /// Rows that are not in it because its format cannot say what they say, by what they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
}

/// A part of the tenant's data that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingPart {
    /// Stamps after this one, as milliseconds since 1970.
    pub after_ms: i64,
    /// And up to this one.
    pub through_ms: i64,
    /// Why, naming file and place.
    pub why: String,
}

/// Missing parts, each named once.
#[derive(Debug, Default)]
pub(crate) struct MissingParts {
    parts: std::collections::BTreeSet<MissingPart>,
    more: u64,
}

impl MissingParts {
    pub(crate) fn add(&mut self, missing: &Missing) {
        let Timestamp(after_ms) = missing.range.start;
        let Timestamp(through_ms) = missing.range.end;
        let part = MissingPart { after_ms, through_ms, why: missing.why.clone() };
        if self.parts.len() < MISSING_MAX || self.parts.contains(&part) {
            self.parts.insert(part);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn finish(self) -> (Vec<MissingPart>, u64) {
        (self.parts.into_iter().collect(), self.more)
    }
}

impl Manifest {
    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Maps of this have texts as keys, and nothing else can fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Whether something of the tenant could not be read.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Rows of a content, as one format has them: files of several formats hold the same.
    #[must_use]
    pub fn rows(&self, content: Content) -> u64 {
        let mut most: BTreeMap<&str, u64> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.content == content) {
            let (stem, _) = file.name.rsplit_once('.').unwrap_or((&file.name, ""));
            let left_out: u64 = file.left_out.values().sum();
            let rows = most.entry(stem).or_default();
            *rows = (*rows).max(file.rows.saturating_add(left_out));
        }
        most.values().sum()
    }
}
