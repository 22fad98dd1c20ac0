//! A short slice of each campaign; `cargo run --release -p annals-sim -- CAMPAIGN` runs it whole.
