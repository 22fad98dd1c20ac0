//! The exact aggregates and reports, entered by the crate's public door.

mod common;
mod exact;
mod numbers;
mod pages;
mod schema;
