//! The one place that opens stores: where they are, which tenant is meant, and errors that say what to do next.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::{Clock, RealVfs, SystemClock, SystemEntropy, Vfs};
use annals::{Annals, OpenError, Options, Plan, ReadOnly, TenantId, TenantSummary, Timestamp, nearest};

use crate::args::{StoreArgs, TenantArgs};
use crate::error::CliError;

/// The store where none is named.
pub(crate) const DATA_DEFAULT: &str = "annals-data";
/// The variable that names it.
const DATA_VARIABLE: &str = "ANNALS_DATA";

/// The present.
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemClock::default().now_ms())
}

/// The file system.
pub(crate) fn vfs() -> Arc<dyn Vfs> {
    Arc::new(RealVfs)
}

/// The directory that is meant, whether or not there is a store in it.
pub(crate) fn directory(store: &StoreArgs) -> PathBuf {
    let variable = || std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    store.data.clone().or_else(variable).unwrap_or_else(|| PathBuf::from(DATA_DEFAULT))
}

/// Opens a store beside whoever writes to it.
pub(crate) fn open_to_read(root: &Path) -> Result<ReadOnly, CliError> {
    ReadOnly::open(vfs(), Arc::new(SystemClock::default()), root).map_err(|error| open_error(root, &error))
}

/// Whether there is anything of a store in a directory, whole or damaged.
pub(crate) fn must_exist(root: &Path) -> Result<(), CliError> {
    match ReadOnly::open(vfs(), Arc::new(SystemClock::default()), root) {
        Err(error @ OpenError::NoStore { .. }) => Err(open_error(root, &error)),
        _ => Ok(()),
    }
}

/// Opens a store that exists as its only writer.
pub(crate) fn open_to_write(root: &Path) -> Result<Annals, CliError> {
    // A writer creates what is missing; a mistyped directory must not become a store.
    drop(open_to_read(root)?);
    create_or_open(root)
}

/// Opens a store as its only writer, and makes one where there is none.
pub(crate) fn create_or_open(root: &Path) -> Result<Annals, CliError> {
    let entropy = Arc::new(SystemEntropy::default());
    Annals::open(vfs(), Arc::new(SystemClock::default()), entropy, root, Options::default())
        .map_err(|error| open_error(root, &error))
}

pub(crate) fn open_error(root: &Path, error: &OpenError) -> CliError {
    let failed = CliError::failed(error);
    match error {
        OpenError::NoStore { .. } => failed.help(format_args!(
            "name it with --data DIR or {DATA_VARIABLE}, or make one: \
             annals tenant create NAME --plan archive --data {}",
            root.display()
        )),
        OpenError::AlreadyOpen(_) => failed.help("reading verbs (query, range, report ..) work beside it"),
        _ if is_denied(root) => match std::fs::metadata(root) {
            Ok(meta) => failed.help(format_args!(
                "it belongs to the user with number {0}: run this as that user (sudo -u '#{0}' annals ..)",
                meta.uid()
            )),
            Err(_) => failed.help("run this as the user that the store belongs to"),
        },
        OpenError::Catalogue(_) | OpenError::Log(_) => {
            failed.help(format_args!("annals verify --data {} names what is damaged", root.display()))
        }
        _ => failed,
    }
}

/// Refuses to write into a store what is none of it, as far as names tell.
pub(crate) fn refuse_within(path: &Path, root: &Path) -> Result<(), CliError> {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    match whole(path).starts_with(whole(root)) {
        true => Err(CliError::usage(format_args!("{} lies in the store itself", path.display()))
            .help("name a place beside it")),
        false => Ok(()),
    }
}

/// Whether what lies in a directory may not be read by who runs this.
fn is_denied(root: &Path) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match std::fs::read_dir(root) {
        Err(error) => denied(&error),
        Ok(entries) => {
            entries.flatten().any(|entry| File::open(entry.path()).is_err_and(|error| denied(&error)))
        }
    }
}

/// The tenant that is meant: the one that is named, else the only one.
pub(crate) fn choose(
    tenants: Vec<TenantSummary>,
    asked: Option<&str>,
    root: &Path,
) -> Result<TenantSummary, CliError> {
    let names: Vec<String> = tenants.iter().map(|tenant| tenant.id.to_string()).collect();
    let create = format!("annals tenant create NAME --plan archive --data {}", root.display());
    let Some(asked) = asked else {
        let mut tenants = tenants;
        return match tenants.len() {
            0 => {
                Err(CliError::failed("the store has no tenant yet").help(format_args!("make one: {create}")))
            }
            1 => Ok(tenants.remove(0)),
            _ => Err(CliError::failed("the store has several tenants; say which with --tenant")
                .help(format_args!("there are {}", names.join(", ")))),
        };
    };
    if let Some(found) = tenants.into_iter().find(|tenant| tenant.id.as_str() == asked) {
        return Ok(found);
    }
    let unknown = match TenantId::new(asked) {
        Ok(id) => CliError::failed(format_args!("there is no tenant `{id}`")),
        Err(invalid) => CliError::failed(invalid),
    };
    Err(match nearest(asked, names.iter().map(String::as_str)) {
        Some(near) => unknown.help(format_args!("did you mean `{near}`?")),
        None if names.is_empty() => unknown.help(format_args!("the store has none yet; make one: {create}")),
        None => unknown.help(format_args!("there are {}", names.join(", "))),
    })
}

/// Says that a tenant is left out.
pub(crate) fn warn_unavailable(tenant: &TenantId) {
    eprintln!("warning: tenant {tenant} is unavailable; annals tenant show {tenant} says why");
}

/// Says of each tenant that cannot be used that it is left out.
pub(crate) fn warn_of_unavailable(tenants: &[TenantSummary]) {
    tenants.iter().filter(|own| own.unavailable.is_some()).for_each(|own| warn_unavailable(&own.id));
}

/// A store that is read, and the tenant that is meant.
pub(crate) struct Reading {
    pub(crate) store: ReadOnly,
    pub(crate) tenant: TenantSummary,
}

/// Opens the store that is named to read, and finds the tenant.
pub(crate) fn read(args: &TenantArgs) -> Result<Reading, CliError> {
    let root = directory(&args.store);
    let store = open_to_read(&root)?;
    let tenant = choose(store.tenants(), args.tenant.as_deref(), &root)?;
    Ok(Reading { store, tenant })
}

/// The built-in plan of that name, or the one in a file whose name ends in `.toml`.
pub(crate) fn plan(name: &str) -> Result<Plan, CliError> {
    if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name)
            .map_err(|error| CliError::usage(format_args!("cannot read the plan {name}: {error}")))?;
        return Plan::from_toml(&text).map_err(|error| CliError::usage(format_args!("{name}: {error}")));
    }
    Plan::built_in(name).ok_or_else(|| {
        let unknown = CliError::usage(format_args!("there is no plan of that name"));
        match nearest(name, Plan::BUILT_IN) {
            Some(near) => unknown.help(format_args!("did you mean `{near}`?")),
            None => {
                unknown.help(format_args!("there are {}, and files FILE.toml", Plan::BUILT_IN.join(", ")))
            }
        }
    })
}

/// Checks a tenant's name as given on the command line.
pub(crate) fn tenant_id(name: &str) -> Result<TenantId, CliError> {
    TenantId::new(name).map_err(CliError::usage)
}
