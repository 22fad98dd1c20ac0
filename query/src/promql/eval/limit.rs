//! `limit_ratio`: a share of the series of each group, always the same ones.
//!
//! A series is in where its labels' hash, as a share of the greatest hash, is below the ratio; a negative ratio takes
//! from the other end, so that `limit_ratio(0.3, v)` and `limit_ratio(-0.7, v)` together are `v`. The hash is that
//! of Prometheus as it is built by default, with labels held as one string. The reference scripts say the law, and bound how
//! many of eight series are chosen; these bounds hold for that layout and for the older one of separators alike (five of the
//! eight lie below one half in either), so that they are no evidence of which it is.

use annals_model::{FloatForm, LabelSet, format_float};

use super::Evaluator;
use super::column::{Grid, Vector};
use crate::promql::ast::Aggregate;
use crate::promql::error::{PromqlError, QueryError};

impl<'a> Evaluator<'a> {
    pub(super) fn limit_ratio(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let (mut ratios, span) = self.parameter(aggregate, grid)?;
        for ratio in &mut ratios {
            if ratio.is_nan() {
                return Err(PromqlError::new(span, "Ratio value is NaN").into());
            }
            let capped = ratio.clamp(-1.0, 1.0);
            if capped != *ratio {
                let text = format!(
                    "ratio value should be between -1 and 1, got {}, capping to {capped}",
                    format_float(*ratio, FloatForm::Reply)
                );
                self.warn(Some(span), text);
                *ratio = capped;
            }
        }
        let mut vector = Vector::new(self.budget);
        self.stream(&aggregate.expr, grid, &mut |mut series| {
            let place = hash(&series.labels.get()) as f64 / u64::MAX as f64;
            let mut any = false;
            for (step, &ratio) in ratios.iter().enumerate() {
                let chosen = if ratio >= 0.0 { place < ratio || ratio == 1.0 } else { place >= 1.0 + ratio };
                if !chosen {
                    series.clear(step);
                }
                any = any || series.holds(step);
            }
            if any { vector.push(series.take()) } else { Ok(()) }
        })?;
        Ok(vector)
    }
}

/// The hash of labels: XXH64 over each name and value behind its length, in one byte, or from 255 on in three behind a mark.
fn hash(labels: &LabelSet) -> u64 {
    let mut bytes = Vec::new();
    for (name, value) in labels.iter() {
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(length) if length < u8::MAX => bytes.push(length),
                _ => {
                    bytes.push(u8::MAX);
                    bytes.extend(text.len().to_le_bytes().into_iter().take(3));
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh64(&bytes)
}

const PRIMES: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

fn round(state: u64, lane: u64) -> u64 {
    state.wrapping_add(lane.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

/// XXH64 with seed 0.
fn xxh64(bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    let mut stripes = bytes.chunks_exact(32);
    let mut hash = if bytes.len() >= 32 {
        let mut lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0u64.wrapping_sub(PRIMES[0])];
        for stripe in &mut stripes {
            for (lane, chunk) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(chunk));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
        let merged = turned.fold(0u64, u64::wrapping_add);
        lanes.iter().fold(merged, |hash, &lane| {
            (hash ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3])
        })
    } else {
        PRIMES[4]
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let mut words = stripes.remainder().chunks_exact(8);
    for chunk in &mut words {
        hash = (hash ^ round(0, word(chunk))).rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    let mut halves = words.remainder().chunks_exact(4);
    for chunk in &mut halves {
        hash = (hash ^ word(chunk).wrapping_mul(PRIMES[0]))
            .rotate_left(23)
            .wrapping_mul(PRIMES[1])
            .wrapping_add(PRIMES[2]);
    }
    for &byte in halves.remainder() {
        hash = (hash ^ u64::from(byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxh64() {
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition"), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn labels_hash_as_those_of_prometheus() {
        // What the reference implementation of XXH64 says of the bytes in which Prometheus holds these labels.
        let of = |pairs: &[(&str, &str)]| hash(&LabelSet::from_pairs(pairs.iter().copied()).expect("valid"));
        assert_eq!(of(&[("__name__", "up"), ("job", "api")]), 0xea45_4d03_9365_4eec);
        let four =
            [("__name__", "http_requests"), ("group", "canary"), ("instance", "0"), ("job", "api-server")];
        assert_eq!(of(&four), 0xfa6e_5aa9_74a0_3e59);
        // A length of 255 and more takes three bytes behind a mark.
        assert_eq!(of(&[("long", &"x".repeat(254))]), 0x0635_2ebd_bfee_f71b);
        assert_eq!(of(&[("long", &"x".repeat(300))]), 0x1477_5af7_bfd3_75fc);
    }
}
