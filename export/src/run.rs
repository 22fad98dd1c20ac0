//! An export from its first day to its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use annals::schema::KindSchema;
use annals::vfs::Vfs;
use annals::{Day, ExportReader, ExportSeries, Missing, Moment, Resolution, Samples, SignalRow};
use aws_lc_rs::digest::{SHA256, digest};

use crate::error::ExportError;
use crate::manifest::{Content, FileEntry, MANIFEST_VERSION, Manifest, MissingParts};
use crate::output::{Destination, hexadecimal};
use crate::parquet::LabelColumns;
use crate::sheet::{Format, Rows, Series, Shape, Sheets};
use crate::text;

/// What is to be exported, and where to.
#[derive(Debug)]
pub struct Request<'a> {
    /// A directory that is empty or not there yet.
    pub directory: &'a Path,
    /// In which formats; no two are the same.
    pub formats: &'a [Format],
}

/// How far an export is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Samples, windows and signals that were written, in each format once.
    pub rows: u64,
    /// How many there are at most.
    pub rows_max: u64,
    /// The day that is being written.
    pub day: Day,
}

/// An export that is whole and durable.
#[derive(Debug, Clone)]
pub struct Exported {
    /// What it is.
    pub manifest: Manifest,
    /// SHA-256 of the manifest, and so of all of it.
    pub sha256: String,
}

/// Exports a tenant. What is damaged is named in the manifest and the rest exported. Where this fails, what was written is
/// removed.
pub fn export(
    reader: &ExportReader,
    vfs: &dyn Vfs,
    request: &Request<'_>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Exported, ExportError> {
    let mut destination = Destination::new(vfs, request.directory)?;
    let exported = run(reader, &mut destination, request.formats, on_progress);
    if exported.is_err() {
        destination.discard();
    }
    exported
}

/// What has become of an export so far.
struct Run<'a, 'v> {
    destination: &'a mut Destination<'v>,
    formats: &'a [Format],
    shape: Shape,
    files: Vec<FileEntry>,
    left_out: BTreeMap<String, u64>,
    missing: MissingParts,
    progress: Progress,
    on_progress: &'a mut dyn FnMut(Progress),
}

fn run(
    reader: &ExportReader,
    destination: &mut Destination<'_>,
    formats: &[Format],
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Exported, ExportError> {
    let labels = Arc::new(LabelColumns::new(reader.label_names()));
    let label_columns = labels.by_label();
    let shape = Shape { labels, kinds: reader.signal_kinds() };
    let progress = Progress { rows: 0, rows_max: reader.rows_max(), day: Day(0) };
    let mut run = Run {
        destination,
        formats,
        shape,
        files: Vec::new(),
        left_out: BTreeMap::new(),
        missing: MissingParts::default(),
        progress,
        on_progress,
    };
    for day in reader.days() {
        // Soon after an erasure nothing more is taken out.
        reader.check()?;
        run.progress.day = day.day;
        if let Some(resolution) = day.metrics {
            run.metrics(reader, day.day, resolution)?;
        }
        if day.signals {
            run.signals(reader, day.day)?;
        }
    }
    reader.check()?;
    let Run { files, left_out, missing, .. } = run;
    let Moment { at, generation, head_samples, head_signals } = reader.moment();
    let (missing, missing_more) = missing.finish();
    let manifest = Manifest {
        annals_export: MANIFEST_VERSION,
        written_by: concat!("annals ", env!("CARGO_PKG_VERSION")).to_owned(),
        tenant: reader.tenant().to_string(),
        plan: reader.plan().name.clone(),
        at: at.to_string(),
        generation,
        unflushed_samples: head_samples,
        unflushed_signals: head_signals,
        label_columns,
        files,
        left_out,
        missing,
        missing_more,
    };
    let encoded = manifest.encode();
    destination.finish_all(&encoded)?;
    Ok(Exported { manifest, sha256: hexadecimal(digest(&SHA256, &encoded).as_ref()) })
}

impl Run<'_, '_> {
    fn metrics(
        &mut self,
        reader: &ExportReader,
        day: Day,
        resolution: Resolution,
    ) -> Result<(), ExportError> {
        let mut found = reader.series(day)?;
        found.missing().iter().for_each(|missing| self.missing.add(missing));
        let word = resolution.word();
        let (date, rolled) = (text::date(day), resolution != Resolution::Raw);
        let of_tier = |folder: &str| if rolled { format!("{folder}-{word}") } else { folder.to_owned() };
        let numbers = if rolled { ("windows", Content::Windows) } else { ("metrics", Content::Samples) };
        let mut numbers = Sheets::new(numbers.1, word, &of_tier(numbers.0), &date);
        let mut histograms = Sheets::new(Content::Histograms, word, &of_tier("histograms"), &date);
        let mut samples = Samples::default();
        for index in 0..found.len() {
            let series = Series { labels: found.labels(index), kind: found.kind(index) };
            if series.kind.is_histogram() {
                self.samples(&mut found, index, &series, &mut samples, &mut histograms)?;
            } else if rolled {
                let mut missing = Vec::new();
                let windows = found.windows(index, &mut missing)?;
                missing.iter().for_each(|missing| self.missing.add(missing));
                self.add(&mut numbers, &Rows::Windows(&series, &windows), windows.len())?;
            } else {
                self.samples(&mut found, index, &series, &mut samples, &mut numbers)?;
            }
        }
        self.finish(numbers)?;
        self.finish(histograms)
    }

    /// Adds a series' samples.
    fn samples(
        &mut self,
        found: &mut ExportSeries,
        index: usize,
        series: &Series,
        samples: &mut Samples,
        sheets: &mut Sheets,
    ) -> Result<(), ExportError> {
        found.read(index, samples, |samples| {
            samples.missing.iter().for_each(|missing| self.missing.add(missing));
            let rows = match series.kind.is_histogram() {
                true => Rows::Histograms(series, samples),
                false => Rows::Samples(series, samples),
            };
            self.add(sheets, &rows, samples.timestamps.len())
        })
    }

    fn signals(&mut self, reader: &ExportReader, day: Day) -> Result<(), ExportError> {
        let date = text::date(day);
        let mut of_kinds: BTreeMap<Arc<str>, Sheets> = BTreeMap::new();
        // What is handed out cannot be stopped: after an error it is passed over.
        let mut outcome = Ok(());
        let mut unknown: BTreeSet<Arc<str>> = BTreeSet::new();
        let missing = reader.signals(day, &mut |kinds: &[Arc<KindSchema>], row: &SignalRow| {
            if outcome.is_err() {
                return;
            }
            let Some(kind) = kinds.iter().find(|kind| kind.name == row.kind) else {
                unknown.insert(row.kind.clone());
                return;
            };
            let sheets = of_kinds.entry(row.kind.clone()).or_insert_with(|| {
                Sheets::new(Content::Signals, "raw", &format!("signals/{}", folder(&row.kind)), &date)
            });
            outcome = self.add(sheets, &Rows::Signal(kind, row), 1);
        });
        outcome?;
        missing.iter().for_each(|missing| self.missing.add(missing));
        for kind in unknown {
            let why = format!("signals of the kind `{kind}`, of which there is no schema");
            self.missing.add(&Missing { range: day.range(), why });
        }
        of_kinds.into_values().try_for_each(|sheets| self.finish(sheets))
    }

    fn add(&mut self, sheets: &mut Sheets, rows: &Rows<'_>, count: usize) -> Result<(), ExportError> {
        sheets.add(rows, self.formats, &self.shape, self.destination)?;
        self.progress.rows += count as u64;
        (self.on_progress)(self.progress);
        Ok(())
    }

    fn finish(&mut self, sheets: Sheets) -> Result<(), ExportError> {
        sheets.finish(self.destination, &mut self.files, &mut self.left_out)
    }
}

/// A kind's name where it can be a directory's, as those of all kinds that were registered can. A file may say anything.
fn folder(kind: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match kind.len() <= 128 && kind.split('.').all(|word| !word.is_empty() && word.chars().all(is_plain)) {
        true => kind.to_owned(),
        false => hexadecimal(digest(&SHA256, kind.as_bytes()).as_ref().get(..8).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::folder;

    #[test]
    fn a_kind_that_a_file_makes_up_leads_to_no_other_directory() {
        assert_eq!(folder("http.request"), "http.request");
        for kind in ["..", "../../etc", "/etc", "", "a..b", "A", "a\0b"] {
            let name = folder(kind);
            assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{kind}: {name}");
        }
    }
}
