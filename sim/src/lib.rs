//! Campaigns that show what Annals survives. Each is one command and prints one line of what it found:
//!
//! ```text
//! campaign=crash states=252480 failures=0 calls=1204 seconds=311
//! ```
//!
//! ```text
//!   world       a machine of a simulated disk, a clock and an entropy; opens the real engine on it
//!   oracle      what was tried, and what a reader must therefore see
//!   campaign    what a campaign reports, and the row it leaves in the ledger
//!   seeds       random histories against an oracle
//!   year        a year of many tenants
//!   enumerate   every call crashes or fails
//!   damage      damage at rest
//!   kernel      real kernels and file systems
//!   planted     deliberate bugs that the campaigns must notice
//! ```
//!
//! `cargo run --release -p annals-sim -- --help` lists the campaigns; `cargo test -p annals-sim` runs a short slice of
//! each.

pub mod campaign;
pub mod damage;
pub mod enumerate;
pub mod kernel;
pub mod oracle;
pub mod planted;
pub mod seeds;
pub mod world;
pub mod year;

/// Every campaign there is.
pub fn campaigns() -> impl Iterator<Item = &'static campaign::Campaign> {
    let kinds = [
        seeds::CAMPAIGNS,
        year::CAMPAIGNS,
        enumerate::CAMPAIGNS,
        damage::CAMPAIGNS,
        planted::CAMPAIGNS,
        kernel::CAMPAIGNS,
    ];
    kinds.into_iter().flatten()
}
