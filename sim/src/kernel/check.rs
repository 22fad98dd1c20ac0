//! The oracle: what children said, and whether a store holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use annals::query::promql::Value;
use annals::vfs::{RealVfs, SystemClock};
use annals::{
    Annals, Background, Budget, DAY_MS, Matcher, Options, QueryLimits, ReadOnly, Samples, SeriesSource,
    TenantError, TenantReader, TimeRange, Timestamp,
};

use super::child::open;
use super::load::{self, DAYS, METRIC, SERIES, START, WRITERS, batch_of, series_name, signals_of, value};

/// What children said of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// By writer.
    pub writers: [Page; WRITERS],
    /// Newcomers that were created.
    pub newcomers: BTreeSet<u64>,
    /// Batches that were acknowledged, over all.
    pub acknowledged: u64,
    /// Refusals.
    pub refusals: u64,
    /// Times that reads were seen to go on after a refusal.
    pub looks: u64,
    /// What children could not read after a refusal, and were told so.
    pub missing: Vec<String>,
    /// What children saw that must not be.
    pub wrong: Vec<String>,
    /// The last child's reason to give up.
    pub failed: Option<String>,
}

/// What is known of a writer's batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Every batch below it was acknowledged.
    pub next: u64,
    /// Acknowledged, further on.
    ahead: BTreeSet<u64>,
    /// Every batch below it is on the disk, however acknowledgements are meant: it is in blocks, or was recovered.
    durable: u64,
    /// No batch from here on was ever sent.
    pub sent: u64,
    /// A batch was refused, so that later ones may be there without it.
    holes: bool,
}

impl Book {
    /// Notes that a child is about to start on a recovered store; it keeps `depth` batches of each writer on their way.
    pub fn begin(&mut self, depth: u64) {
        self.failed = None;
        for page in &mut self.writers {
            page.sent = page.sent.max(page.next + depth);
            page.durable = page.next;
        }
    }

    /// Notes a line of a child that keeps `depth` batches on their way. A line that a kill tore says nothing.
    pub fn hear(&mut self, line: &str, depth: u64) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut numbers = rest.split(' ').map_while(|text| text.parse::<u64>().ok());
        let (first, second) = (numbers.next(), numbers.next());
        let page = first.and_then(|writer| self.writers.get_mut(usize::try_from(writer).ok()?));
        match (word, page, second) {
            ("a", Some(page), Some(n)) => {
                if n >= page.next {
                    page.ahead.insert(n);
                }
                while page.ahead.remove(&page.next) {
                    page.next += 1;
                }
                self.acknowledged += 1;
                page.sent = page.sent.max(n + 1 + depth);
            }
            ("f", Some(page), Some(n)) => page.durable = page.durable.max(n),
            ("r", Some(page), Some(_)) => {
                page.holes = true;
                self.refusals += 1;
            }
            ("q", Some(_), _) => self.looks += 1,
            ("t", ..) => self.newcomers.extend(first),
            ("m", Some(_), _) => self.missing.push(rest.to_owned()),
            ("wrong", ..) => self.wrong.push(rest.to_owned()),
            ("failed", ..) => self.failed = Some(rest.to_owned()),
            _ => {}
        }
    }

    /// The first batch that the next child sends, per writer.
    #[must_use]
    pub fn first(&self) -> [u64; WRITERS] {
        std::array::from_fn(|writer| self.writers[writer].next)
    }

    /// The number of the next newcomer. One whose creation was not heard of is created again: it may exist.
    #[must_use]
    pub fn next_newcomer(&self) -> u64 {
        self.newcomers.last().map_or(0, |last| last + 1)
    }

    /// After a power cut of a store whose acknowledgements were not synced: only what is in blocks, or was there when the
    /// child began, was promised.
    pub fn forget_unsynced(&mut self) {
        for page in &mut self.writers {
            page.next = page.durable;
            page.ahead.clear();
        }
    }
}

/// Why what a tenant holds cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Something could not be read, and the store said so.
    Missing(String),
    /// A batch is there in part, twice, or otherwise than it was written.
    Wrong(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Trouble::Missing(what) | Trouble::Wrong(what)) = self;
        f.write_str(what)
    }
}

/// Batches that a tenant holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found(BTreeSet<u64>);

impl Found {
    /// Whether it is exactly the batches below a number.
    #[must_use]
    pub fn is_all_below(&self, end: u64) -> bool {
        self.0.iter().copied().eq(0..end)
    }
}

/// Reads everything a writer's tenant holds.
pub fn look(reader: &TenantReader) -> Result<Found, Trouble> {
    let mut found = samples(reader)?;
    let end = Timestamp(START + DAYS * DAY_MS);
    let derived = derived(reader, end)?;
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    let mut strange = Vec::new();
    let missing = reader.scan_signals(TimeRange::ALL, &[], &mut |row| match batch_of(row.time.0) {
        Some(n) => *rows.entry(n).or_default() += 1,
        None => strange.push(row.time),
    });
    if !missing.is_empty() {
        return Err(Trouble::Missing(format!("signals missing: {missing:?}")));
    }
    if !strange.is_empty() {
        return Err(Trouble::Wrong(format!("signals of no batch: {strange:?}")));
    }
    if let Some((n, count)) = rows.iter().find(|(n, count)| n.is_multiple_of(2) && **count != signals_of(**n))
    {
        let written = signals_of(*n);
        return Err(Trouble::Wrong(format!("batch {n} has {count} signals, {written} were written")));
    }
    let counted: u64 = rows.values().sum();
    if derived.is_some_and(|derived| derived != counted) {
        return Err(Trouble::Wrong(format!("{derived:?} events are derived of {counted} signals")));
    }
    found.0.extend(rows.into_keys());
    Ok(found)
}

/// The batches of samples.
fn samples(reader: &TenantReader) -> Result<Found, Trouble> {
    let limits = QueryLimits { samples_max: u64::MAX, memory_bytes_max: u64::MAX, ..QueryLimits::default() };
    let budget = Budget::new(limits);
    let matchers = [Matcher::equal("__name__", METRIC)];
    let selected = reader
        .select(&matchers, TimeRange::ALL, &budget)
        .map_err(|error| Trouble::Missing(error.to_string()))?;
    let coverage = selected.coverage();
    if !coverage.missing.is_empty() {
        return Err(Trouble::Missing(format!("samples missing: {:?}", coverage.missing)));
    }
    let mut parts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut samples = Samples::default();
    for index in 0..selected.len() {
        let name = selected.labels(index).get("series").to_owned();
        selected.read(index, &budget, &mut samples).map_err(|error| Trouble::Missing(error.to_string()))?;
        if !samples.missing.is_empty() {
            return Err(Trouble::Missing(format!("samples missing: {:?}", samples.missing)));
        }
        for (&time, &found) in samples.timestamps.iter().zip(&samples.values) {
            let unknown = || Trouble::Wrong(format!("series {name}: no batch has the stamp {time}"));
            let n = batch_of(time).ok_or_else(unknown)?;
            let series = (0..SERIES).find(|&series| series_name(n, series) == name);
            let expected = series.map(|series| value(n, series));
            if expected.map(f64::to_bits) != Some(found.to_bits()) {
                let what = format!("series {name}, batch {n}: {found:?}, {expected:?} was written");
                return Err(Trouble::Wrong(what));
            }
            *parts.entry(n).or_default() += 1;
        }
    }
    match parts.iter().find(|(_, count)| **count != SERIES) {
        Some((n, count)) => Err(Trouble::Wrong(format!("batch {n} has {count} samples of {SERIES}"))),
        None => Ok(Found(parts.into_keys().collect())),
    }
}

/// The events that were counted when signals came in; `None` where there was never one.
fn derived(reader: &TenantReader, end: Timestamp) -> Result<Option<u64>, Trouble> {
    let expression = format!("sum(increase(auth_attempts[{}d]))", DAYS + 1);
    let answer = reader.query(&expression, end).map_err(|error| Trouble::Missing(error.to_string()))?;
    if !answer.warnings.is_empty() {
        return Err(Trouble::Missing(format!("{expression}: {:?}", answer.warnings)));
    }
    match answer.value {
        Value::Vector(vector) => Ok(vector.first().and_then(|one| one.2.float()).map(|value| value as u64)),
        other => Err(Trouble::Wrong(format!("{expression}: {other:?}"))),
    }
}

/// Holds what a tenant has against a writer's page: acknowledged is there, unsent is not, and what is in doubt does
/// not leave holes. Returns how many batches were found whose acknowledgement was not heard.
fn compare(page: &Page, found: &Found) -> Result<u64, String> {
    let lost: Vec<u64> =
        (0..page.next).chain(page.ahead.iter().copied()).filter(|n| !found.0.contains(n)).collect();
    if !lost.is_empty() {
        return Err(format!("LOST: batches {lost:?} were acknowledged and are not there"));
    }
    let in_doubt: Vec<u64> =
        found.0.range(page.next..).copied().filter(|n| !page.ahead.contains(n)).collect();
    if let Some(unsent) = in_doubt.iter().find(|n| **n >= page.sent) {
        return Err(format!("batch {unsent} is there, and none from {} on was sent", page.sent));
    }
    let holes = in_doubt.iter().zip(page.next..).find(|(found, expected)| **found != *expected);
    match holes {
        Some((found, expected)) if !page.holes => {
            Err(format!("batch {found} is there and batch {expected}, written before it, is not"))
        }
        _ => Ok(in_doubt.len() as u64),
    }
}

/// What a store was found to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Batches whose acknowledgement was not heard.
    pub unannounced: u64,
    /// All batches, by writer.
    found: [Found; WRITERS],
}

/// Options of an oracle that opens a store to write.
fn options() -> Options {
    Options { background: Background::Steps, ..load::options() }
}

/// Opens the store at `root`, compares it with the book, and leaves it open.
pub fn open_and_compare(root: &Path, book: &Book) -> Result<(Annals, Checked), String> {
    let store = open(root, options()).map_err(|error| format!("the store does not open: {error}"))?;
    let recovery = store.recovery();
    if !recovery.findings.is_empty() || !recovery.unavailable.is_empty() {
        return Err(format!("a crash was taken for damage: {recovery:?}"));
    }
    let checked = compare_open(&store, book)?;
    Ok((store, checked))
}

/// Compares an open store with the book.
pub fn compare_open(store: &Annals, book: &Book) -> Result<Checked, String> {
    let mut checked = Checked::default();
    for (writer, page) in book.writers.iter().enumerate() {
        let id = load::tenant(writer);
        match store.tenant(&id) {
            Ok(tenant) => {
                let context = |what| format!("writer {writer}: {what}");
                let found = look(&tenant.reader()).map_err(|trouble| context(trouble.to_string()))?;
                checked.unannounced += compare(page, &found).map_err(context)?;
                checked.found[writer] = found;
            }
            Err(TenantError::Unknown(_)) if page.next == 0 && page.ahead.is_empty() => {}
            Err(error) => return Err(format!("writer {writer}: {error}")),
        }
    }
    match book.newcomers.iter().find(|number| store.tenant(&load::newcomer(**number)).is_err()) {
        Some(newcomer) => Err(format!("LOST: newcomer {newcomer} was created and is not there")),
        None => Ok(checked),
    }
}

/// Compares what one who only reads sees with the book. Nobody writes to the store.
pub fn compare_read_only(root: &Path, book: &Book) -> Result<(), String> {
    let store = ReadOnly::open(Arc::new(RealVfs), Arc::new(SystemClock::default()), root)
        .map_err(|error| format!("the store does not open to be read: {error}"))?;
    for (writer, page) in book.writers.iter().enumerate() {
        match store.tenant(&load::tenant(writer)) {
            Ok(reader) => {
                let found = look(&reader).map_err(|trouble| trouble.to_string());
                found
                    .and_then(|found| compare(page, &found))
                    .map_err(|what| format!("read only, writer {writer}: {what}"))?;
            }
            Err(TenantError::Unknown(_)) if page.next == 0 => {}
            Err(error) => return Err(format!("read only, writer {writer}: {error}")),
        }
    }
    Ok(())
}

/// Says what `annals verify` would find.
pub fn verify(root: &Path) -> Result<(), String> {
    let verification = annals::verify(Arc::new(RealVfs), root).map_err(|error| error.to_string())?;
    if verification.findings.is_empty() {
        return Ok(());
    }
    Err(format!("verify takes a crash for damage: {:?}", verification.findings))
}
