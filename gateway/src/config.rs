//! What the gateway is told, in one TOML file. Every key stands in `gateway/annals.toml` with its default and what it does;
//! a key that is not known is refused, and so is a number that cannot work.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The configuration; its defaults are those of `gateway/annals.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it may listen on other addresses than loopback without TLS.
    pub plain_http: bool,
    /// The certificate; without one it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Origins of other pages that may read answers in a browser.
    pub cors_origins: Vec<String>,
    /// How events are written.
    pub log: LogForm,
    /// What all requests together may use.
    pub limits: Limits,
    /// What each tenant may use.
    pub tenant: TenantRates,
    /// What tenants may use that differ, by id.
    pub tenants: BTreeMap<String, TenantOverride>,
}

/// Files of the certificate, PEM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How events are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// A line each.
    Text,
    /// A JSON object each.
    Json,
    /// Not at all.
    Off,
}

/// What all requests together may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at one time; further ones are closed at once.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Milliseconds until a whole head must have come, counted from the connection or the answer before.
    pub head_ms: u64,
    /// Milliseconds for a whole body to come.
    pub body_ms: u64,
    /// Milliseconds that a client may take none of an answer.
    pub stall_ms: u64,
    /// Bytes of a body as it is sent.
    pub body_bytes: usize,
    /// Bytes of a body once it is decompressed.
    pub plain_bytes: usize,
    /// How many times longer a body may be once it is decompressed.
    pub plain_ratio: usize,
    /// Bytes of all bodies that are held at one time; others wait for theirs.
    pub bodies_bytes: usize,
    /// Bodies that are decoded and admitted at one time; others wait.
    pub writes: usize,
    /// Queries that run at one time.
    pub queries: usize,
    /// Queries that wait for a place; further ones are refused.
    pub queries_waiting: usize,
    /// Milliseconds that one query may run.
    pub query_ms: u64,
    /// Points per resulting series.
    pub query_steps: u64,
    /// Series that one query may select.
    pub query_series: u64,
    /// Samples that one query may read.
    pub query_samples: u64,
    /// Bytes of memory that one query may hold.
    pub query_memory_bytes: u64,
    /// Bytes of one answer.
    pub answer_bytes: usize,
    /// Milliseconds that running requests are given when it is told to stop.
    pub stop_ms: u64,
}

/// What one tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TenantRates {
    /// Requests a second, on average.
    pub requests_per_second: u32,
    /// Bytes of bodies a second, once they are decompressed, on average.
    pub bytes_per_second: u64,
    /// How many seconds' worth it may use at once after it was quiet.
    pub burst_seconds: u32,
    /// Queries at one time, running and waiting.
    pub queries: usize,
}

/// What one tenant may use where that differs from the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TenantOverride {
    /// [`TenantRates::requests_per_second`].
    pub requests_per_second: Option<u32>,
    /// [`TenantRates::bytes_per_second`].
    pub bytes_per_second: Option<u64>,
    /// [`TenantRates::burst_seconds`].
    pub burst_seconds: Option<u32>,
    /// [`TenantRates::queries`].
    pub queries: Option<usize>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 9797)),
            plain_http: false,
            tls: None,
            cors_origins: Vec::new(),
            log: LogForm::Text,
            limits: Limits::default(),
            tenant: TenantRates::default(),
            tenants: BTreeMap::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 10_000,
            head_bytes: 16 << 10,
            head_ms: 30_000,
            body_ms: 30_000,
            stall_ms: 30_000,
            body_bytes: 8 << 20,
            plain_bytes: 64 << 20,
            plain_ratio: 100,
            bodies_bytes: 256 << 20,
            writes: 4,
            queries: 8,
            queries_waiting: 32,
            query_ms: 30_000,
            query_steps: 30_000,
            query_series: 300_000,
            query_samples: 50_000_000,
            query_memory_bytes: 256 << 20,
            answer_bytes: 64 << 20,
            stop_ms: 10_000,
        }
    }
}

impl Default for TenantRates {
    fn default() -> TenantRates {
        TenantRates { requests_per_second: 1_000, bytes_per_second: 64 << 20, burst_seconds: 10, queries: 16 }
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is no TOML, or holds a key or value that is not known: line, column and the known keys.
    #[error("{0}")]
    Toml(String),
    /// A value that cannot work.
    #[error("`{key}` is {value}; it must be {wanted}")]
    Value {
        /// Which.
        key: &'static str,
        /// What it is.
        value: String,
        /// What is possible.
        wanted: &'static str,
    },
    /// Plain HTTP where others could listen in.
    #[error(
        "{listen} is not a loopback address and no certificate is configured: tokens would cross the network in the \
         clear; configure [tls], listen on 127.0.0.1 behind a proxy, or set plain_http = true"
    )]
    PlainHttp {
        /// The address.
        listen: SocketAddr,
    },
}

impl Config {
    /// Reads a configuration; what it does not name keeps its default. [`Config::check`] is still to be asked.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Toml(error.to_string().trim_end().to_owned()))
    }

    /// Whether it can work as a whole.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() && !self.plain_http && !self.listen.ip().is_loopback() {
            return Err(ConfigError::PlainHttp { listen: self.listen });
        }
        let limits = &self.limits;
        for (key, value) in [
            ("limits.connections", limits.connections),
            ("limits.body_bytes", limits.body_bytes),
            ("limits.plain_bytes", limits.plain_bytes),
            ("limits.plain_ratio", limits.plain_ratio),
            ("limits.writes", limits.writes),
            ("limits.queries", limits.queries),
            ("limits.answer_bytes", limits.answer_bytes),
        ] {
            if value == 0 {
                return Err(ConfigError::Value { key, value: "0".to_owned(), wanted: "at least 1" });
            }
        }
        for (key, value) in [
            ("limits.head_ms", limits.head_ms),
            ("limits.body_ms", limits.body_ms),
            ("limits.stall_ms", limits.stall_ms),
            ("limits.query_ms", limits.query_ms),
        ] {
            if value == 0 {
                return Err(ConfigError::Value { key, value: "0".to_owned(), wanted: "at least 1" });
            }
        }
        let value =
            |key, value: usize, wanted| Err(ConfigError::Value { key, value: value.to_string(), wanted });
        if limits.head_bytes < HEAD_BYTES_MIN {
            return value("limits.head_bytes", limits.head_bytes, "at least 8192");
        }
        if limits.bodies_bytes < limits.body_bytes {
            return value("limits.bodies_bytes", limits.bodies_bytes, "at least limits.body_bytes");
        }
        let each = self.tenants.keys().map(|tenant| self.rates(tenant));
        for rates in std::iter::once(self.tenant).chain(each) {
            let zero = rates.requests_per_second == 0 || rates.bytes_per_second == 0;
            if zero || rates.burst_seconds == 0 || rates.queries == 0 {
                let (key, value) = ("tenant", "0".to_owned());
                return Err(ConfigError::Value { key, value, wanted: "at least 1 in each of its keys" });
            }
        }
        Ok(())
    }

    /// What a tenant may use.
    pub(crate) fn rates(&self, tenant: &str) -> TenantRates {
        let Some(own) = self.tenants.get(tenant) else { return self.tenant };
        TenantRates {
            requests_per_second: own.requests_per_second.unwrap_or(self.tenant.requests_per_second),
            bytes_per_second: own.bytes_per_second.unwrap_or(self.tenant.bytes_per_second),
            burst_seconds: own.burst_seconds.unwrap_or(self.tenant.burst_seconds),
            queries: own.queries.unwrap_or(self.tenant.queries),
        }
    }
}

/// Hyper reads heads through a buffer that cannot be smaller.
const HEAD_BYTES_MIN: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../annals.toml");

    /// The keys of a table and of those in it; what is commented out counts.
    fn keys(table: &toml::Table, under: &str) -> Vec<String> {
        let each = |(name, value): (&String, &toml::Value)| match value {
            toml::Value::Table(inner) => keys(inner, &format!("{under}{name}.")),
            _ => vec![format!("{under}{name}")],
        };
        table.iter().flat_map(each).collect()
    }

    #[test]
    fn the_example_names_every_key_with_its_default() {
        let example = Config::from_toml(EXAMPLE).expect("it can be read");
        assert_eq!(example, Config::default());
        let defaults = keys(&toml::Table::try_from(Config::default()).expect("a table"), "");
        let stated = keys(&EXAMPLE.parse().expect("a table"), "");
        assert_eq!(stated.iter().collect::<std::collections::BTreeSet<_>>(), defaults.iter().collect());
        // Those without a default stand in comments.
        for optional in ["# [tls]", "# certificate =", "# key =", "# [tenants."] {
            assert!(EXAMPLE.contains(optional), "{optional}");
        }
    }

    #[test]
    fn a_key_that_is_not_known_is_refused_and_named() {
        let error = Config::from_toml("[limits]\nconections = 5").expect_err("refused").to_string();
        assert!(error.contains("conections") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn plain_http_is_for_loopback_unless_it_is_asked_for() {
        let open = Config::from_toml("listen = \"0.0.0.0:9797\"").expect("read");
        assert!(matches!(open.check(), Err(ConfigError::PlainHttp { .. })));
        assert_eq!(Config { plain_http: true, ..open }.check(), Ok(()));
        assert_eq!(Config::from_toml("listen = \"[::1]:9797\"").expect("read").check(), Ok(()));
    }

    #[test]
    fn what_a_tenants_table_leaves_out_is_that_of_all_tenants() {
        let text = "[tenant]\nqueries = 3\nburst_seconds = 2\n[tenants.acme]\nqueries = 5";
        let config = Config::from_toml(text).expect("read");
        let (acme, other) = (config.rates("acme"), config.rates("other"));
        assert_eq!((acme.queries, acme.burst_seconds, other.queries), (5, 2, 3));
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        for text in ["[limits]\nwrites = 0", "[limits]\nhead_bytes = 100", "[tenants.acme]\nqueries = 0"] {
            let config = Config::from_toml(text).expect("read");
            assert!(matches!(config.check(), Err(ConfigError::Value { .. })), "{text}");
        }
    }
}
