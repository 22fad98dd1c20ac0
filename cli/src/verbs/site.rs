//! `site`: under which keys sites sign what they send to the gateway.

use std::io::Write;
use std::path::Path;

use annals::{ReadOnly, SiteName, TenantId, Timestamp};
use annals_gateway::SiteKey;

use super::serve::tokens;
use crate::access;
use crate::args::SiteVerb;
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen};

/// Does what was asked.
pub(crate) fn run(verb: &SiteVerb, screen: &mut Screen) -> Outcome {
    match verb {
        SiteVerb::Create { tenant, site } => {
            let site = SiteName::new(site).map_err(CliError::usage)?;
            let root = access::directory(&tenant.store);
            let reading = access::read(tenant)?;
            let own = &reading.tenant;
            // Whether a secret can be made, before there is a key of it.
            reading.store.site_secret(&own.id, &site, &[0; 16]).map_err(CliError::failed)?;
            let key = tokens(&root).create_site(&own.id, own.number, &site).map_err(CliError::failed)?;
            show(&reading.store, &key, screen)
        }
        SiteVerb::Rotate { key, overlap, store } => {
            let root = access::directory(store);
            let opened = access::open_to_read(&root)?;
            let key = tokens(&root).rotate_site(key, *overlap).map_err(CliError::failed)?;
            show(&opened, &key, screen)
        }
        SiteVerb::Revoke { key, store } => {
            let root = access::directory(store);
            access::must_exist(&root)?;
            tokens(&root).revoke_site(key).map_err(CliError::failed)?;
            writeln!(screen, "revoked {key}")?;
            Ok(0)
        }
        SiteVerb::List { store, output } => list(&access::directory(store), *output, screen),
    }
}

/// The key and its secret, which nobody is shown again.
fn show(store: &ReadOnly, key: &SiteKey, screen: &mut Screen) -> Outcome {
    let tenant = TenantId::new(&key.tenant).map_err(CliError::failed)?;
    let site = SiteName::new(&key.site).map_err(CliError::failed)?;
    let secret = store.site_secret(&tenant, &site, &key.id_bytes()).map_err(CliError::failed)?;
    eprintln!("of site {site} of tenant {tenant}; the secret is shown this once");
    writeln!(screen, "key    {}", key.id)?;
    write!(screen, "secret ")?;
    secret.iter().try_for_each(|byte| write!(screen, "{byte:02x}"))?;
    writeln!(screen)?;
    Ok(0)
}

fn list(root: &Path, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    access::must_exist(root)?;
    let list = tokens(root).load().map_err(CliError::failed)?;
    let mut grid = Grid::new(["key", "tenant", "site", "created", "ends"]);
    for key in &list.sites {
        grid.row(vec![
            Cell::text(key.id.as_str()),
            Cell::text(key.tenant.as_str()),
            Cell::text(key.site.as_str()),
            Cell::Time(Timestamp(key.created)),
            key.ends.map_or(Cell::None, |ends| Cell::Time(Timestamp(ends))),
        ]);
    }
    screen.list(&grid, output)?;
    Ok(0)
}
