//! Serving a store: `serve`, `token` and `site`.

use std::net::SocketAddr;
use std::path::PathBuf;

use annals_gateway::Role;
use clap::Subcommand;

use super::{StoreArgs, TenantArgs};
use crate::output::ListForm;
use crate::times::parse_span;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals serve --data /var/lib/annals
  annals serve --data /var/lib/annals --config /etc/annals.toml
  annals token create --tenant acme --role viewer --data /var/lib/annals
  curl -H \"Authorization: Bearer $TOKEN\" '127.0.0.1:9797/api/v1/query?query=up'

It is the store's only writer; reading verbs and `annals token` work beside it. SIGTERM ends it: running
requests are answered, what is in memory becomes blocks. SIGHUP has it read limits and certificate again.")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Where it listens [default: what the configuration says, else 127.0.0.1:9797]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The configuration, TOML; what it does not name keeps its default
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

fn parse_role(name: &str) -> Result<Role, String> {
    let all = || Role::ALL.map(Role::name).join(", ");
    Role::of_name(name).ok_or_else(|| format!("there are {}", all()))
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  annals token create --tenant acme --role viewer
  annals token create --operator ann
  annals token list
  annals token rotate 1f0c83a5b2d4 --overlap 1d
  annals token revoke 1f0c83a5b2d4

A token is printed once, and only its hash is kept. A gateway that is running knows of each change
within two seconds.")]
pub(crate) enum TokenVerb {
    /// Make a token, for one tenant or for an operator
    #[command(after_help = "\
Examples:
  annals token create --tenant acme --role ingest
  annals token create --operator ann

Roles: ingest writes metrics, viewer reads metrics and reports, report reads reports, manager may all
of that. An operator reads any tenant (header X-Annals-Tenant) and says why with each request (header
X-Annals-Reason); both stand in the audit log before anything is read.")]
    Create {
        /// The tenant
        #[arg(long, short, value_name = "TENANT", requires = "role", required_unless_present = "operator")]
        tenant: Option<String>,
        /// What it may do: ingest, viewer, report or manager
        #[arg(long, value_name = "ROLE", value_parser = parse_role, requires = "tenant")]
        role: Option<Role>,
        /// Who reads tenants without being one
        #[arg(long, value_name = "NAME", conflicts_with = "tenant")]
        operator: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Make another token for the same; the one that is there ends after a while
    #[command(after_help = "Example:\n  annals token rotate 1f0c83a5b2d4 --overlap 1d")]
    Rotate {
        /// Its id, the second part of the token
        id: String,
        /// How long the one that is there is still taken
        #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = parse_span)]
        overlap: i64,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Take a token back
    #[command(after_help = "Example:\n  annals token revoke 1f0c83a5b2d4")]
    Revoke {
        /// Its id, the second part of the token
        id: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List tokens, never what is secret of them
    #[command(after_help = "Example:\n  annals token list -o json")]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
}

/// What to do with the keys of sites.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  annals site create --tenant acme --site shop.example
  annals site list
  annals site rotate 3f0a5cc1d2b84e6f9a7b8c9d0e1f2a3b --overlap 7d
  annals site revoke 3f0a5cc1d2b84e6f9a7b8c9d0e1f2a3b

A secret is printed once and stored nowhere: it follows from the tenant's own key. A gateway that is
running knows of each change within two seconds. How to sign: docs/guide/signals.md.")]
pub(crate) enum SiteVerb {
    /// Make the first key and secret of a site
    #[command(after_help = "Example:\n  annals site create --tenant acme --site shop.example")]
    Create {
        #[command(flatten)]
        tenant: TenantArgs,
        /// The site, as it stands in the label `site` of what is counted
        #[arg(long, short, value_name = "SITE")]
        site: String,
    },
    /// Make another key and secret for the same site; the one that is there ends after a while
    #[command(after_help = "Example:\n  annals site rotate 3f0a5cc1d2b84e6f9a7b8c9d0e1f2a3b --overlap 7d")]
    Rotate {
        /// The key that is there
        key: String,
        /// How long the one that is there is still taken
        #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = parse_span)]
        overlap: i64,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Take a key back
    #[command(after_help = "Example:\n  annals site revoke 3f0a5cc1d2b84e6f9a7b8c9d0e1f2a3b")]
    Revoke {
        /// The key
        key: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List keys; their secrets are stored nowhere
    #[command(after_help = "Example:\n  annals site list -o json")]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
}
