//! `import`: log and metric files into a store, exactly once.
//!
//! ```text
//!   file, gz or pipe ──► source.rs ──lines──► format.rs ──► chunk.rs ──batches──► deliver.rs ──► the store
//!                        unpacks, counts      reads         1,000 lines,          a thread of its own,
//!                                                           identity              pipelined tickets,
//!                                                                                 retries, summary.rs
//! ```
//!
//! What must hold: reading a file again counts nothing twice, also when it has grown since; lines and their content
//! never reach messages, only line numbers do; memory is bounded whatever the file holds.

mod chunk;
mod deliver;
mod format;
mod source;
mod summary;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use annals::vfs::{SimVfs, SystemClock, SystemEntropy};
use annals::{Annals, Options, SiteName, TenantError, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use crate::access;
use crate::args::ImportArgs;
use crate::error::{CliError, Outcome};
use crate::output::{Screen, words};

use chunk::{Chunk, Chunker, FileIdentity};
use deliver::Delivery;
use format::LineReader;
use source::Source;
use summary::Summary;

/// From so many records on the import ends with a flush; fewer stay in the log, which the next flush takes.
const FLUSH_RECORDS_MIN: u64 = 50_000;

/// Chunks that are read while another is written, on a core of their own: a store that falls behind holds up the reading.
const CHUNKS_AHEAD: usize = 4;
/// So much of a file's name stands beside its bar.
const NAME_SHOWN: usize = 16;
/// What is done sooner shows no bar.
const BAR_AFTER: Duration = Duration::from_millis(400);

/// Imports files.
pub(crate) fn run(args: &ImportArgs, screen: &mut Screen) -> Outcome {
    let site = SiteName::new(&args.site).map_err(CliError::usage)?;
    let now = access::now();
    let (annals, tenant) = match scratch(args)? {
        Some(scratch) => scratch,
        None => open_tenant(args)?,
    };
    let mut total = Summary::default();
    let mut outcome = Ok(());
    for path in &args.files {
        let mut delivery = Delivery::new(&tenant, site.clone(), args.dry_run);
        outcome = import_file(args, path, now, &mut delivery);
        total.add(path, delivery.finish());
        if outcome.is_err() {
            break;
        }
    }
    if total.accepted >= FLUSH_RECORDS_MIN && !args.dry_run {
        eprintln!("writing blocks ..");
        tenant.flush().map_err(CliError::failed)?;
    }
    annals.close().map_err(CliError::failed)?;
    // Of a file that could not be opened there is nothing to tell but that.
    if outcome.is_ok() || total.lines.lines > 0 {
        total.write(args.dry_run, screen)?;
    }
    outcome?;
    let nothing = total.accepted + total.duplicates == 0 && total.refused.is_empty();
    if nothing && total.lines.unreadable > 0 {
        return Err(CliError::failed("nothing could be read")
            .help("is --format right? `annals import --help` shows what each format looks like"));
    }
    Ok(u8::from(total.conflicting_lines > 0))
}

/// A store in memory with the tenant that a dry run would have to create; `None` where there is one already, or where none
/// is to be made. What is checked is not kept, so it stays empty.
fn scratch(args: &ImportArgs) -> Result<Option<(Annals, annals::Tenant)>, CliError> {
    let (true, Some(plan)) = (args.dry_run, &args.create) else { return Ok(None) };
    let root = access::directory(&args.store.store);
    let Some(name) = &args.store.tenant else { return Ok(None) };
    let id = access::tenant_id(name)?;
    if access::open_to_read(&root).is_ok_and(|store| store.tenants().iter().any(|tenant| tenant.id == id)) {
        return Ok(None);
    }
    let (vfs, clock, entropy) = (SimVfs::new(), SystemClock::default(), SystemEntropy::default());
    let annals =
        Annals::open(Arc::new(vfs), Arc::new(clock), Arc::new(entropy), Path::new("/"), Options::default())
            .map_err(CliError::failed)?;
    let tenant = annals.create_tenant(&id, access::plan(plan)?).map_err(CliError::failed)?;
    Ok(Some((annals, tenant)))
}

/// Opens the store and its tenant, creating both where `--create` says so.
fn open_tenant(args: &ImportArgs) -> Result<(Annals, annals::Tenant), CliError> {
    let root = access::directory(&args.store.store);
    let plan = args.create.as_deref().map(access::plan).transpose()?;
    let annals = match plan {
        Some(_) => access::create_or_open(&root)?,
        None => access::open_to_write(&root)?,
    };
    for finding in &annals.recovery().findings {
        eprintln!("warning: {finding}");
    }
    let name = match &args.store.tenant {
        Some(name) => name.clone(),
        None => access::choose(annals.tenants(), None, &root)?.id.to_string(),
    };
    let id = access::tenant_id(&name)?;
    let tenant = match (annals.tenant(&id), plan) {
        (Ok(tenant), _) => tenant,
        (Err(TenantError::Unknown(_)), Some(plan)) => {
            let tenant = annals.create_tenant(&id, plan).map_err(CliError::failed)?;
            eprintln!("created tenant {id}");
            tenant
        }
        (Err(error @ TenantError::Unknown(_)), None) => {
            let known: Vec<String> = annals.tenants().iter().map(|tenant| tenant.id.to_string()).collect();
            let create =
                format!("create it: annals tenant create {id} --plan archive --data {}", root.display());
            return Err(CliError::failed(error).help(
                match annals::nearest(&name, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`? Otherwise {create}"),
                    None => create,
                },
            ));
        }
        (Err(error), _) => return Err(CliError::failed(error)),
    };
    Ok((annals, tenant))
}

fn import_file(
    args: &ImportArgs,
    path: &Path,
    now: Timestamp,
    delivery: &mut Delivery<'_>,
) -> Result<(), CliError> {
    let mut source = Source::open(path)?;
    if source.peek()?.is_empty() {
        return Ok(());
    }
    let bar = progress(path, source.bytes());
    let format = match args.format {
        Some(format) => format,
        None => {
            let guessed = format::guess(source.peek()?).map_err(|nearest| {
                let unknown = CliError::usage(format_args!("cannot tell the format of {}", path.display()));
                match nearest {
                    Some((format, read, of)) => unknown.help(format_args!(
                        "it is most like {}, as which {read} of its first {of} lines can be read; say its format with \
                         --format, `annals import --help` lists them",
                        format::name(format)
                    )),
                    None => unknown.help("say it with --format; `annals import --help` lists them"),
                }
            })?;
            eprintln!("{}: read as {}", path.display(), format::name(guessed));
            guessed
        }
    };
    let end = source.end();
    let reader = LineReader::new(format, args, now, source.peek()?, end.as_deref())?;
    let identity = FileIdentity::new(format::name(format), &args.site, reader.meaning());
    let mut chunker = Chunker::new(reader, identity);
    let (chunks, queue) = mpsc::sync_channel(CHUNKS_AHEAD);
    let (read, delivered) = std::thread::scope(|scope| {
        let delivering = scope.spawn(|| {
            let taken = queue.into_iter().try_for_each(|chunk| delivery.chunk(chunk));
            // What is on its way is waited for, whatever happened behind it.
            taken.and(delivery.wait_for_all())
        });
        let read = read_chunks(path, &mut source, &mut chunker, &bar, &mut |chunk| {
            chunks.send(chunk).map_err(|_| CliError::failed("the store takes no more"))
        });
        drop(chunks);
        (read, delivering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    delivery.count_lines(&chunker.counts);
    bar.finish_and_clear();
    // Where the store took no more, its own words say why.
    delivered.map_err(|error| error.about(path.display())).and(read)
}

/// Cuts what is read into chunks. What came before a place that cannot be read counts; the rest counts when the file is
/// whole again.
fn read_chunks(
    path: &Path,
    source: &mut Source,
    chunker: &mut Chunker,
    bar: &ProgressBar,
    each: &mut dyn FnMut(Chunk) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut failed: Option<CliError> = None;
    let read = source.lines(
        chunker.line_bytes_max(),
        &mut |line, ended| {
            failed = chunker.line(line, ended, each).err();
            failed.is_none()
        },
        &mut |bytes_read, lines| {
            // A file that is read in a moment needs no bar.
            if bar.elapsed() > BAR_AFTER {
                bar.set_message(lines);
                bar.set_position(bytes_read);
            }
        },
    );
    match failed {
        Some(error) => Err(error.about(path.display())),
        None => read.and(chunker.finish(each)),
    }
}

/// A bar on standard error where that is a terminal; nothing otherwise.
fn progress(path: &Path, bytes: Option<u64>) -> ProgressBar {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::new_spinner(),
    };
    // A narrow terminal cuts the end off: what is waited for comes first.
    let template = match bytes {
        Some(_) => "{prefix}  {msg}  {eta} left  {wide_bar} {bytes} of {total_bytes}",
        None => "{prefix}  {msg}  {spinner} {bytes}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_prefix(words::cut(&words::harmless(&name), NAME_SHOWN))
}
