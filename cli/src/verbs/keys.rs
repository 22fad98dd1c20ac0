//! `keys`: which keys a tenant has and what is sealed with them, and new ones in their place.

use std::io::Write;

use annals::{KeyClass, KeyState, KeyUse, Timestamp};

use crate::access;
use crate::args::{KeyClassName, KeysVerb, StoreArgs};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen};

/// Does what was asked.
pub(crate) fn run(verb: &KeysVerb, screen: &mut Screen) -> Outcome {
    match verb {
        KeysVerb::List { store, tenant, output } => list(tenant.as_deref(), store, *output, screen),
        KeysVerb::Rotate { tenant, class, days, store } => rotate(tenant, class, *days, store, screen),
    }
}

/// Each key, and what is sealed with it.
fn list(tenant: Option<&str>, store: &StoreArgs, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let root = access::directory(store);
    let opened = access::open_to_read(&root)?;
    let mut tenants = opened.tenants();
    if tenant.is_some() {
        tenants = vec![access::choose(tenants, tenant, &root)?];
    }
    let mut grid = Grid::new(["tenant", "class", "key", "state", "made", "until", "blocks", "bytes"]);
    let now = access::now();
    for tenant in &tenants {
        let Ok(mut keys) = opened.keys(&tenant.id) else {
            access::warn_unavailable(&tenant.id);
            continue;
        };
        keys.sort_by_key(|key| (key.class, key.id));
        for key in &keys {
            let data = matches!(key.class, KeyClass::Metrics | KeyClass::Signals);
            let used = |cell| if data && key.state != KeyState::Destroyed { cell } else { Cell::None };
            grid.row(vec![
                Cell::text(tenant.id.as_str()),
                Cell::text(key.class.word()),
                Cell::Count(u64::from(key.id.0)),
                Cell::text(key.state.word()),
                Cell::Time(key.created),
                key.until.map_or(Cell::None, Cell::Time),
                used(Cell::Count(key.blocks)),
                used(Cell::Bytes(key.bytes)),
            ]);
        }
        if let Some(due) = overdue(&keys, now) {
            eprintln!("{}", told(tenant.id.as_str(), due));
        }
    }
    screen.list(&grid, output)?;
    Ok(0)
}

/// Since when old keys should be gone, where they should.
pub(crate) fn overdue(keys: &[KeyUse], now: Timestamp) -> Option<Timestamp> {
    let old = keys.iter().filter(|key| key.state == KeyState::Old);
    old.filter_map(|key| key.until).min().filter(|&until| until <= now)
}

/// That they are not.
pub(crate) fn told(tenant: &str, due: Timestamp) -> String {
    format!(
        "note: tenant {tenant}: old keys were to be out of use by {due}; annals compact writes anew what needs them, \
         annals verify names what is damaged"
    )
}

/// Gives a tenant new keys.
fn rotate(
    tenant: &str,
    classes: &[KeyClassName],
    days: u32,
    store: &StoreArgs,
    screen: &mut Screen,
) -> Outcome {
    let root = access::directory(store);
    let annals = access::open_to_write(&root)?;
    let tenant = access::choose(annals.tenants(), Some(tenant), &root)?.id;
    let classes: Vec<KeyClass> = classes.iter().map(|class| class.class()).collect();
    let rotated = annals
        .tenant(&tenant)
        .and_then(|tenant| tenant.rotate_keys(&classes, i64::from(days) * annals::DAY_MS));
    annals.close().map_err(CliError::failed)?;
    let until = rotated.map_err(CliError::failed)?;
    writeln!(screen, "tenant {tenant} has new keys; those of before are out of use by {until}")?;
    writeln!(screen, "annals keys list --tenant {tenant} shows what is still sealed with them")?;
    Ok(0)
}
