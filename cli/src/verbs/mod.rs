//! One file per verb, or per few that share their work.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod delete;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod keys;
pub(crate) mod plan;
pub(crate) mod promql;
pub(crate) mod query;
mod questions;
mod reader;
pub(crate) mod receipt;
pub(crate) mod report;
pub(crate) mod retention;
pub(crate) mod series;
pub(crate) mod serve;
pub(crate) mod signals;
pub(crate) mod site;
pub(crate) mod stats;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod upkeep;
pub(crate) mod verify;
