//! Codecs: numbers to bytes and back, bit for bit.
//!
//! ```text
//!   values.rs   f64 samples of a chunk ── exact decimals (decimal.rs), or their bits ──► a run of i64
//!   ints.rs     a run of i64 ── predictor (predict.rs), common factor ──► residuals
//!   packed.rs   residuals ── patched bit packing (pack.rs) ──► bytes: the hot form
//!   entropy.rs  residuals ── high bits through zstd ──► bytes: the warm form
//!   sparse.rs   residuals of which few are not zero
//!   cold.rs     numbers or doubles ── pco ──► bytes: the cold form
//!   kernel.rs   compiles the decoding loops for the vectors of the machine
//! ```

pub(crate) mod cold;
#[cfg(test)]
mod conformance;
pub(crate) mod decimal;
pub(crate) mod entropy;
pub(crate) mod ints;
pub(crate) mod kernel;
pub(crate) mod pack;
pub(crate) mod packed;
pub(crate) mod predict;
pub(crate) mod sparse;
pub(crate) mod values;
