//! The exact aggregates and the weekly report, entered by the crate's public door.

mod common;
mod exact;
mod numbers;
mod pages;
