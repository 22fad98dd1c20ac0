//! Codecs: numbers to bytes and back, bit for bit.
//!
//! ```text
//!   values.rs     f64 samples of a chunk ── exact decimals, or their bits ──► a run of i64
//!   ints.rs       a run of i64 ── predictor, common factor ──► residuals
//!   residuals.rs  residuals ── patched bit packing, or entropy-coded high bits ──► bytes
//!   pack.rs       the kernels
//! ```

pub(crate) mod ints;
pub(crate) mod pack;
pub(crate) mod residuals;
pub(crate) mod values;
