//! `token`: who may ask the gateway what.

use std::io::Write;

use annals::{Operator, Timestamp};
use annals_gateway::{Grant, NewToken};

use super::serve::tokens;
use crate::access;
use crate::args::{StoreArgs, TokenVerb};
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen};

/// Does what was asked.
pub(crate) fn run(verb: &TokenVerb, screen: &mut Screen) -> Outcome {
    match verb {
        TokenVerb::Create { tenant, role, operator, store } => {
            let root = access::directory(store);
            let grant = match (operator, role) {
                (Some(name), _) => {
                    access::must_exist(&root)?;
                    // The name that the audit log will hold.
                    Operator::new(name, "-").map_err(CliError::usage)?;
                    Grant::Operator { operator: name.trim().to_owned() }
                }
                (None, Some(role)) => {
                    let tenants = access::open_to_read(&root)?.tenants();
                    let tenant = access::choose(tenants, tenant.as_deref(), &root)?;
                    Grant::tenant(&tenant.id, tenant.number, *role)
                }
                (None, None) => return Err(CliError::usage("give --tenant and --role, or --operator")),
            };
            show(&tokens(&root).create_token(grant).map_err(CliError::failed)?, screen)
        }
        TokenVerb::Rotate { id, overlap, store } => {
            let tokens = tokens(&existing(store)?);
            show(&tokens.rotate_token(id, *overlap).map_err(CliError::failed)?, screen)
        }
        TokenVerb::Revoke { id, store } => {
            tokens(&existing(store)?).revoke_token(id).map_err(CliError::failed)?;
            writeln!(screen, "revoked {id}")?;
            Ok(0)
        }
        TokenVerb::List { store, output } => list(store, *output, screen),
    }
}

fn existing(store: &StoreArgs) -> Result<std::path::PathBuf, CliError> {
    let root = access::directory(store);
    access::must_exist(&root)?;
    Ok(root)
}

/// The token alone goes to standard output, so that it can be piped to where it is kept.
fn show(token: &NewToken, screen: &mut Screen) -> Outcome {
    eprintln!("token {}; it is shown this once", token.id);
    writeln!(screen, "{}", *token.text)?;
    Ok(0)
}

fn list(store: &StoreArgs, output: Option<ListForm>, screen: &mut Screen) -> Outcome {
    let list = tokens(&existing(store)?).load().map_err(CliError::failed)?;
    let mut grid = Grid::new(["id", "tenant", "role", "operator", "created", "ends"]);
    for token in &list.tokens {
        let (tenant, role, operator) = match &token.grant {
            Grant::Tenant { tenant, role, .. } => {
                (Cell::text(tenant.as_str()), Cell::text(role.name()), Cell::None)
            }
            Grant::Operator { operator } => (Cell::None, Cell::None, Cell::text(operator.as_str())),
        };
        grid.row(vec![
            Cell::text(token.id.as_str()),
            tenant,
            role,
            operator,
            Cell::Time(Timestamp(token.created)),
            token.ends.map_or(Cell::None, |ends| Cell::Time(Timestamp(ends))),
        ]);
    }
    screen.list(&grid, output)?;
    Ok(0)
}
