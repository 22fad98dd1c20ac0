//! `serve`: the gateway over a store.

use std::path::Path;
use std::sync::Arc;

use annals::vfs::{SystemClock, SystemEntropy};
use annals_gateway::{AccessStore, Config, ConfigError, ServeError, Server};

use crate::access;
use crate::args::ServeArgs;
use crate::error::{CliError, Outcome};

/// Serves until it is told to stop.
pub(crate) fn serve(args: &ServeArgs) -> Outcome {
    let config = || {
        let mut config = args.config.as_deref().map_or(Ok(Config::default()), read)?;
        config.listen = args.listen.unwrap_or(config.listen);
        config.check().map(|()| config).map_err(|error| error.to_string())
    };
    // All that can be wrong with it before the store is opened.
    let first = config().map_err(CliError::usage)?;
    annals_gateway::log_to_stderr(first.log);
    let root = access::directory(&args.store);
    let store = access::open_to_write(&root)?;
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    let tokens = tokens(&root);
    let known = tokens.load().map_err(CliError::failed)?;
    let server = Server::start(first, store, tokens, clock, entropy).map_err(|error| match error {
        ServeError::Config(error @ ConfigError::PlainHttp { .. }) => CliError::usage(error),
        other => CliError::failed(other),
    })?;
    let served = annals_gateway::run(server, &config, |address| {
        eprintln!("serving {} on {address}", root.display());
        if known.tokens.is_empty() {
            let data = root.display();
            eprintln!(
                "nobody has a token yet: annals token create --tenant NAME --role viewer --data {data}"
            );
        }
    });
    let served = served.map_err(CliError::failed)?;
    if served.unflushed > 0 {
        eprintln!("warning: {} tenants were not flushed; the log has what they hold", served.unflushed);
    }
    Ok(0)
}

fn read(path: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))?;
    Config::from_toml(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Who may what, of the store in a directory.
pub(crate) fn tokens(root: &Path) -> AccessStore {
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    AccessStore::new(access::vfs(), clock, entropy, root)
}
