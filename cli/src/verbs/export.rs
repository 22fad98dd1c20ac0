//! `tenant export` and `export verify`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use annals_export::{Content, Exported, FileEntry, Format, MANIFEST_NAME, Manifest, Progress, Request};
use indicatif::{ProgressBar, ProgressStyle};

use super::reader::operator;
use crate::access;
use crate::args::{ExportArgs, ExportFormat, ExportVerb};
use crate::error::{CliError, Outcome};
use crate::output::{Screen, words};

/// The exit code of damage.
const DAMAGE_FOUND: u8 = 3;
/// So many parts that are missing are told one by one.
const MISSING_TOLD: usize = 20;

/// Does what was asked.
pub(crate) fn run(verb: &ExportVerb, screen: &mut Screen) -> Outcome {
    match verb {
        ExportVerb::Verify { directory } => verify(directory, screen),
    }
}

/// Takes all of a tenant out.
pub(crate) fn export(args: &ExportArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(&args.store);
    access::refuse_within(&args.directory, &root)?;
    let store = access::open_to_read(&root)?;
    let tenant = access::choose(store.tenants(), Some(&args.tenant), &root)?;
    let reader = store.export(&tenant.id).map_err(|error| match error {
        annals::TenantError::NoRight { .. } => CliError::failed(&error).help(format_args!(
            "annals plan list shows which plans have it; annals plan change {} PLAN gives the tenant another",
            tenant.id
        )),
        other => CliError::failed(other),
    })?;
    if let Some(operator) = operator(&args.operator)? {
        let everything = store.operator_reader(&tenant.id, operator).map_err(CliError::failed)?;
        let formats: Vec<&str> = args.formats.iter().map(|format| format.format().extension()).collect();
        everything
            .note(&format!("an export of everything as {}", formats.join(", ")))
            .map_err(CliError::failed)?;
    }
    let mut formats: Vec<Format> = args.formats.iter().map(|format| format.format()).collect();
    formats.sort_unstable();
    formats.dedup();
    let bar = progress(&args.tenant);
    let request = Request { directory: &args.directory, formats: &formats };
    let exported =
        annals_export::export(&reader, &*access::vfs(), &request, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let Exported { manifest, sha256 } = exported.map_err(CliError::failed)?;
    let directory = args.directory.display();
    writeln!(screen, "exported tenant {} to {directory}, as it was at {}", manifest.tenant, manifest.at)?;
    contents(&manifest, screen)?;
    writeln!(screen, "manifest    {}, SHA-256 {sha256}", args.directory.join(MANIFEST_NAME).display())?;
    writeln!(screen, "check       annals export verify {directory}")?;
    for (what, rows) in &manifest.left_out {
        eprintln!("note: {rows} {what} are left out: no format that was asked for can hold them");
    }
    eprintln!("note: it is not encrypted, and an erasure of the tenant does not reach it");
    Ok(missing(&manifest))
}

/// Checks an export.
fn verify(directory: &Path, screen: &mut Screen) -> Outcome {
    let verified = annals_export::verify(&*access::vfs(), directory).map_err(CliError::failed)?;
    let manifest = &verified.manifest;
    for problem in &verified.problems {
        writeln!(screen, "{}", words::harmless(&problem.name))?;
        writeln!(screen, "  damage  {}", words::harmless(&problem.what))?;
    }
    let from = (words::harmless(&manifest.tenant), words::harmless(&manifest.at));
    writeln!(screen, "export of tenant {} as it was at {}", from.0, from.1)?;
    contents(manifest, screen)?;
    writeln!(screen, "manifest    SHA-256 {}", verified.sha256)?;
    missing(manifest);
    if !verified.problems.is_empty() {
        return Ok(DAMAGE_FOUND);
    }
    writeln!(screen, "Every file is as the manifest says.")?;
    Ok(0)
}

/// A line per content and resolution.
fn contents(manifest: &Manifest, screen: &mut Screen) -> std::io::Result<()> {
    let mut groups: BTreeMap<(Content, &str), Vec<&FileEntry>> = BTreeMap::new();
    for file in &manifest.files {
        groups.entry((file.content, &file.resolution)).or_default().push(file);
    }
    for ((content, resolution), files) in groups {
        let name = match resolution {
            "raw" => content.word().to_owned(),
            other => format!("{} {other}", content.word()),
        };
        let one_format =
            Manifest { files: files.iter().map(|file| (*file).clone()).collect(), ..manifest.clone() };
        let bytes = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        let from = files.iter().map(|file| file.from.as_str()).min().unwrap_or_default();
        let to = files.iter().map(|file| file.to.as_str()).max().unwrap_or_default();
        writeln!(
            screen,
            "{name:<11} {} from {} to {}, {} of {}",
            words::count(one_format.rows(content)),
            words::harmless(from),
            words::harmless(to),
            words::plural(files.len() as u64, "file", "files"),
            words::size(bytes),
        )?;
    }
    if manifest.files.is_empty() {
        writeln!(screen, "nothing     there is no data")?;
    }
    Ok(())
}

/// Says what could not be read, and the exit code that goes with it.
fn missing(manifest: &Manifest) -> u8 {
    for part in manifest.missing.iter().take(MISSING_TOLD) {
        eprintln!("missing: {}", words::harmless(&part.why));
    }
    let more =
        (manifest.missing.len().saturating_sub(MISSING_TOLD) as u64).saturating_add(manifest.missing_more);
    if more > 0 {
        eprintln!("missing: and {}", words::plural(more, "part more", "parts more"));
    }
    match manifest.missing.is_empty() {
        true => 0,
        false => {
            eprintln!("note: this is damaged in the store, and named in the manifest; all else is there");
            DAMAGE_FOUND
        }
    }
}

/// A bar on standard error where that is a terminal; nothing otherwise.
fn progress(tenant: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos} rows  {msg}  {eta} left")
    {
        bar.set_style(style);
    }
    bar.with_prefix(words::harmless(tenant))
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.rows_max);
    bar.set_message(progress.day.to_string());
    bar.set_position(progress.rows);
}

impl ExportFormat {
    fn format(self) -> Format {
        match self {
            ExportFormat::Parquet => Format::Parquet,
            ExportFormat::Openmetrics => Format::OpenMetrics,
            ExportFormat::Jsonl => Format::JsonLines,
        }
    }
}
