//! `verify`: reads a whole store, names what is damaged and what is lost by it, and with `--repair` takes it out of
//! service.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use annals::vfs::{SystemClock, SystemEntropy};
use annals::{Encryption, Finding, Options, Repair, Timestamp, Verification};

use crate::access;
use crate::args::VerifyArgs;
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};

/// The exit code of damage.
const DAMAGE_FOUND: u8 = 3;

/// Reads everything and names what is damaged.
pub(crate) fn verify(args: &VerifyArgs, screen: &mut Screen) -> Outcome {
    let root = access::directory(&args.store);
    // A store that cannot be opened is verified all the same; one that is not there is another error.
    access::must_exist(&root)?;
    let found = if args.repair {
        let repair = repair(&root)?;
        for step in &repair.steps {
            eprintln!("{}", words::harmless(&step.path.display().to_string()));
            eprintln!("  done    {}", words::harmless(&step.did));
            if let Some(to) = &step.to {
                eprintln!("  now     {}", words::harmless(&to.display().to_string()));
            }
            match &step.tenant {
                Some(tenant) => eprintln!("  lost    {} (tenant {tenant})", words::harmless(&step.lost)),
                None => eprintln!("  lost    {}", words::harmless(&step.lost)),
            }
        }
        if repair.steps.is_empty() {
            eprintln!("note: there is nothing to repair, or nothing that can be");
        }
        repair.after
    } else {
        let encryption = if args.without_keys { Encryption::None } else { Encryption::Files };
        annals::verify_with(access::vfs(), &root, &encryption)
            .map_err(|error| access::open_error(&root, &error))?
    };
    match args.output {
        None | Some(ListForm::Table) => show(&found, screen)?,
        Some(form) => screen.list(&listed(&found), Some(form))?,
    }
    overdue(&root);
    if found.findings.is_empty() {
        return Ok(0);
    }
    eprintln!("note: everything that is not named is whole and is served");
    if args.repair {
        eprintln!("note: what is still named cannot be repaired from what is here: restore it from a backup");
    }
    Ok(DAMAGE_FOUND)
}

/// Says which tenants have blocks, or keys, that should have gone.
fn overdue(root: &Path) {
    let Ok(store) = access::open_to_read(root) else { return };
    for tenant in store.tenants() {
        let keys = store.keys(&tenant.id).unwrap_or_default();
        if let Some(due) = super::keys::overdue(&keys, access::now()) {
            eprintln!("{}", super::keys::told(tenant.id.as_str(), due));
        }
        if let Some(lag_ms) =
            store.retention(&tenant.id).ok().map(annals::Retention::lag_ms).filter(|&lag| lag > 0)
        {
            let lag = crate::times::print_span(lag_ms);
            eprintln!("note: tenant {}: blocks are due since {lag}; annals compact removes them", tenant.id);
        }
    }
}

fn repair(root: &Path) -> Result<Repair, CliError> {
    let clock = Arc::new(SystemClock::default());
    let entropy = Arc::new(SystemEntropy::default());
    annals::repair(access::vfs(), clock, entropy, root, Options::default())
        .map_err(|error| access::open_error(root, &error))
}

/// For people.
fn show(found: &Verification, screen: &mut Screen) -> std::io::Result<()> {
    for finding in &found.findings {
        writeln!(screen, "{}", words::harmless(&finding.path.display().to_string()))?;
        writeln!(screen, "  damage  {}", words::harmless(&finding.to_string()))?;
        match &finding.tenant {
            Some(tenant) => {
                writeln!(screen, "  lost    {} (tenant {tenant})", words::harmless(&finding.lost))?;
            }
            None => writeln!(screen, "  lost    {}", words::harmless(&finding.lost))?,
        }
    }
    for note in &found.notes {
        writeln!(screen, "{}", words::harmless(&note.path.display().to_string()))?;
        writeln!(screen, "  note    {}", words::harmless(&note.what))?;
    }
    let now = access::now();
    for aside in &found.quarantined {
        writeln!(screen, "{}", words::harmless(&aside.path.display().to_string()))?;
        let owner =
            aside.owner.as_deref().map_or("no tenant's".to_owned(), |owner| format!("tenant {owner}'s"));
        let size = aside.bytes.map_or("a record alone".to_owned(), words::size);
        let line = format!("{owner}, {}, {size}, {}", aside.class, due(aside.due, now));
        writeln!(screen, "  aside   {}", words::harmless(&line))?;
    }
    let read = format!("{}, {}", words::plural(found.files, "file", "files"), words::size(found.bytes));
    if !found.quarantined.is_empty() {
        let count = words::plural(found.quarantined.len() as u64, "file", "files");
        writeln!(screen, "{count} in quarantine, set aside earlier: no damage of what is served")?;
    }
    if found.findings.is_empty() {
        writeln!(screen, "no damage in {read}")
    } else {
        writeln!(screen, "{} in {read}", words::plural(found.findings.len() as u64, "finding", "findings"))
    }
}

fn due(due: Option<Timestamp>, now: Timestamp) -> String {
    match due {
        Some(due) if due <= now => format!("due for removal since {due}"),
        Some(due) => format!("due for removal on {due}"),
        None => "no date for its removal".to_owned(),
    }
}

/// For programs: findings, notes and what lies in quarantine, told apart by the first column.
fn listed(found: &Verification) -> Grid {
    let mut grid =
        Grid::new(["list", "file", "class", "tenant", "part", "series", "after", "until", "what", "lost"]);
    let text = |text: Option<&str>| Cell::text(text.unwrap_or_default());
    for finding in &found.findings {
        let Finding { path, kind, tenant, part, series, range, what, lost } = finding;
        grid.row(vec![
            Cell::text("finding"),
            Cell::text(path.display().to_string()),
            Cell::text(kind.word()),
            text(tenant.as_ref().map(annals::TenantId::as_str)),
            text(part.as_deref()),
            text(series.as_deref()),
            Cell::text(range.map(|range| range.start.to_string()).unwrap_or_default()),
            Cell::text(range.map(|range| range.end.to_string()).unwrap_or_default()),
            Cell::text(what.as_str()),
            Cell::text(lost.as_str()),
        ]);
    }
    let mut other = |list: &str, path: &Path, class: &str, tenant: Option<&str>, what: &str, lost: &str| {
        let (list, path) = (Cell::text(list), Cell::text(path.display().to_string()));
        let nothing = || Cell::text("");
        grid.row(vec![
            list,
            path,
            Cell::text(class),
            text(tenant),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            Cell::text(what),
            Cell::text(lost),
        ]);
    };
    for note in &found.notes {
        other("note", &note.path, "", None, &note.what, "");
    }
    let now = access::now();
    for aside in &found.quarantined {
        let what = due(aside.due, now);
        other("quarantine", &aside.path, &aside.class, aside.owner.as_deref(), &what, &aside.lost);
    }
    grid
}
