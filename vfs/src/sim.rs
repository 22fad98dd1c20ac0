//! A disk in memory: under construction.

/// A simulated disk.
#[derive(Debug, Default)]
pub struct SimVfs;
