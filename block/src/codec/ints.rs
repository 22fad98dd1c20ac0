//! A run of 64-bit numbers: a predictor, and what it leaves over.
//!
//! | bytes   | field    | notes                                                                          |
//! |--------:|----------|--------------------------------------------------------------------------------|
//! |       1 | `form`   | bits 0 to 2: [`Predictor`]; bit 3: has a factor; high nibble: [`Packing`]      |
//! |  varint | `start`  | zigzag                                                                         |
//! |  varint | `step`   | zigzag; predictors `DeltaOfDelta` and `Linear` only                            |
//! |  varint | `factor` | all residuals were divided by it; only where bit 3 says so, else it is 1       |
//! |         | residuals| `residuals.rs`; with packing `Squeezed`: plain length (varint), zstd frame     |
//!
//! The count is not stored: it is known where the run is referred to. With residual `r`, number `i` is
//!
//! | predictor      | number                                                                               |
//! |----------------|--------------------------------------------------------------------------------------|
//! | `Plain`        | `start + factor * r[i]`                                                              |
//! | `Delta`        | `number[i - 1] + factor * r[i]`, from `start`                                        |
//! | `DeltaOfDelta` | `number[i - 1] + delta[i]`, `delta[i] = delta[i - 1] + factor * r[i]`, from `step`   |
//! | `Linear`       | `start + i * step + factor * r[i]`                                                   |
//!
//! A constant is `Plain` and `Zero`, a regular column of stamps `Linear` and `Zero`. All arithmetic wraps, so
//! that every run has a form in each predictor and damage cannot overflow.

use annals_model::bytes::{Cursor, PutBytes};

use super::{pack, residuals};
use crate::squeeze::{Squeezer, Unsqueezer};

/// How a number is predicted from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predictor {
    Plain = 0,
    Delta = 1,
    DeltaOfDelta = 2,
    Linear = 3,
}

/// How residuals are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Packing {
    /// All are zero: nothing is stored.
    Zero = 0,
    /// Patched bit packing.
    Packed = 1,
    /// Patched bit packing inside a zstd frame.
    Squeezed = 2,
    /// High bits entropy coded.
    Entropy = 3,
}

/// How hard an encoder tries: what is read soon should decode fast, what is kept long should be small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// zstd only where it saves a quarter.
    Fast,
    /// zstd where it saves a sixteenth.
    Small,
}

impl Effort {
    /// Whether a compressed form is worth its slower decoding.
    fn pays(self, bytes: usize, plain_bytes: usize) -> bool {
        bytes + (plain_bytes / self.saved_one_in()).max(1) <= plain_bytes
    }

    fn saved_one_in(self) -> usize {
        match self {
            Effort::Fast => 4,
            Effort::Small => 16,
        }
    }
}

/// Fewer packed bytes than this are never compressed: a frame's own head is about a dozen bytes.
const SQUEEZED_BYTES_MIN: usize = 48;
/// How many predictors are packed to compare them.
const PREDICTORS_PACKED: usize = 2;
/// Shorter runs are packed in all predictors: a guess over so few numbers is often wrong.
const GUESSED_COUNT_MIN: usize = 128;
/// A fresh run that takes fewer packed bytes per number is not searched for repeats.
const REPEATS_BYTES_MIN: usize = 2;
/// Runs that span less than this can be multiplied, doubled and redoubled without wrapping.
const WRAP_FREE_RANGE: u64 = 1 << 60;

const HAS_FACTOR: u8 = 0x08;

const PREDICTORS: [Predictor; 4] =
    [Predictor::Plain, Predictor::Delta, Predictor::DeltaOfDelta, Predictor::Linear];
const PACKINGS: [Packing; 4] = [Packing::Zero, Packing::Packed, Packing::Squeezed, Packing::Entropy];

/// Predictor and packing of a form byte, and whether there is a factor.
pub(crate) fn parse_form(form: u8) -> Option<(Predictor, Packing, bool)> {
    let predictor = *PREDICTORS.get(usize::from(form & 0x07))?;
    let packing = *PACKINGS.get(usize::from(form >> 4))?;
    Some((predictor, packing, form & HAS_FACTOR != 0))
}

/// Encodes runs; holds what is reused from run to run.
pub(crate) struct IntEncoder {
    pub(crate) squeezer: Squeezer,
    sorted: Vec<i64>,
    spare: Vec<Vec<u8>>,
}

/// A run in one predictor.
struct Predicted {
    predictor: Predictor,
    start: i64,
    step: i64,
    factor: i64,
    residuals: Vec<i64>,
}

impl IntEncoder {
    pub(crate) fn new() -> IntEncoder {
        IntEncoder { squeezer: Squeezer::new(), sorted: Vec::new(), spare: Vec::new() }
    }

    /// Appends the smallest form of a run that its effort allows.
    pub(crate) fn encode(&mut self, numbers: &[i64], effort: Effort, out: &mut Vec<u8>) {
        let factor = common_factor(numbers);
        let mut predicted = Vec::with_capacity(PREDICTORS.len());
        for predictor in PREDICTORS {
            let Some(one) = predict(numbers, predictor, factor) else { continue };
            if one.residuals.iter().all(|&residual| residual == 0) {
                return one.put_head(Packing::Zero, out);
            }
            predicted.push((one.spread(), one));
        }
        // A cheap guess picks two of them to be packed; a stable sort keeps the simpler first.
        predicted.sort_by_key(|&(spread, _)| spread);
        if numbers.len() >= GUESSED_COUNT_MIN {
            predicted.truncate(PREDICTORS_PACKED);
        }
        let mut tried: Vec<(Predicted, Vec<u8>)> = Vec::with_capacity(PREDICTORS_PACKED);
        for (_, one) in predicted {
            let mut packed = self.spare.pop().unwrap_or_default();
            packed.clear();
            residuals::encode_packed(&one.residuals, &mut self.sorted, &mut packed);
            tried.push((one, packed));
        }
        tried.sort_by_key(|(_, packed)| packed.len());
        let Some((first, packed)) = tried.first() else {
            // `Plain` takes every run; without numbers its residuals are all zero.
            return;
        };
        let mut best = (first, Packing::Packed, packed.as_slice());
        let mut squeezed = Vec::new();
        if packed.len() >= SQUEEZED_BYTES_MIN {
            let bytes_max = packed.len() - packed.len() / effort.saved_one_in();
            let candidates = match effort {
                Effort::Fast => 1,
                Effort::Small => PREDICTORS_PACKED,
            };
            for (one, _) in tried.iter().take(candidates) {
                let mut entropy = Vec::new();
                let (sorted, squeezer) = (&mut self.sorted, &mut self.squeezer);
                if residuals::encode_entropy(&one.residuals, bytes_max, sorted, squeezer, &mut entropy) {
                    squeezed.push((one, Packing::Entropy, entropy));
                }
            }
            // Fresh chunks that pack well are not searched for repeats: it would take most of the time.
            let searched = effort == Effort::Small || packed.len() >= numbers.len() * REPEATS_BYTES_MIN;
            if searched && let Some(frame) = self.squeezer.repeats(packed) {
                let mut form = Vec::with_capacity(frame.len() + 8);
                form.put_varint(packed.len() as u64);
                form.put_blob(&frame);
                squeezed.push((first, Packing::Squeezed, form));
            }
        }
        if let Some((predicted, packing, bytes)) = squeezed.iter().min_by_key(|(.., bytes)| bytes.len())
            && effort.pays(bytes.len(), packed.len())
        {
            best = (predicted, *packing, bytes);
        }
        let (predicted, packing, bytes) = best;
        predicted.put_head(packing, out);
        out.put(bytes);
        self.spare.extend(tried.into_iter().map(|(_, packed)| packed));
    }
}

/// Reads a run of `count` numbers into `out`, replacing what it held. `None` where the bytes are not one. The
/// caller bounds `count`.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    unsqueezer: &mut Unsqueezer,
    out: &mut Vec<i64>,
) -> Option<()> {
    let (predictor, packing, has_factor) = parse_form(cursor.u8()?)?;
    let start = cursor.varint_signed()?;
    let step = match predictor {
        Predictor::DeltaOfDelta | Predictor::Linear => cursor.varint_signed()?,
        Predictor::Plain | Predictor::Delta => 0,
    };
    let factor = if has_factor { cursor.varint()? as i64 } else { 1 };
    out.clear();
    out.resize(count, 0);
    match packing {
        Packing::Zero => {}
        Packing::Packed => residuals::decode_packed(cursor, out)?,
        Packing::Entropy => residuals::decode_entropy(cursor, unsqueezer, out)?,
        Packing::Squeezed => {
            let plain_bytes = usize::try_from(cursor.varint()?).ok()?;
            // A number takes at most 8 bytes packed, or 12 as a patch; a mini-block's head at most 12.
            if plain_bytes > count.checked_mul(24)?.checked_add(32)? {
                return None;
            }
            let mut plain = Cursor::new(unsqueezer.exactly(cursor.blob()?, plain_bytes)?);
            residuals::decode_packed(&mut plain, out)?;
            plain.is_empty().then_some(())?;
        }
    }
    if factor != 1 {
        out.iter_mut().for_each(|number| *number = number.wrapping_mul(factor));
    }
    match predictor {
        Predictor::Plain => out.iter_mut().for_each(|number| *number = number.wrapping_add(start)),
        Predictor::Delta => {
            let mut last = start;
            for number in out {
                last = last.wrapping_add(*number);
                *number = last;
            }
        }
        Predictor::DeltaOfDelta => {
            let (mut last, mut delta) = (start, step);
            for number in out {
                delta = delta.wrapping_add(*number);
                last = last.wrapping_add(delta);
                *number = last;
            }
        }
        Predictor::Linear => {
            let mut line = start;
            for number in out {
                *number = number.wrapping_add(line);
                line = line.wrapping_add(step);
            }
        }
    }
    Some(())
}

impl Predicted {
    /// How far residuals lie from the first of their mini-block, in bits: a guess at the packed size that
    /// outliers do not dominate.
    fn spread(&self) -> u64 {
        let spread = |mini: &[i64]| {
            let first = mini.first().copied().unwrap_or(0);
            let distance =
                |&residual: &i64| u64::from(pack::bits(residual.wrapping_sub(first).unsigned_abs()));
            mini.iter().map(distance).sum::<u64>()
        };
        self.residuals.chunks(pack::MINI).map(spread).sum()
    }

    fn put_head(&self, packing: Packing, out: &mut Vec<u8>) {
        let has_factor = packing != Packing::Zero && self.factor != 1;
        let flag = if has_factor { HAS_FACTOR } else { 0 };
        out.put_u8(self.predictor as u8 | flag | (packing as u8) << 4);
        out.put_varint_signed(self.start);
        if matches!(self.predictor, Predictor::DeltaOfDelta | Predictor::Linear) {
            out.put_varint_signed(self.step);
        }
        if has_factor {
            out.put_varint(self.factor as u64);
        }
    }
}

/// The greatest factor of all differences, where their arithmetic cannot wrap; otherwise 1.
fn common_factor(numbers: &[i64]) -> i64 {
    let (Some(&least), Some(&greatest)) = (numbers.iter().min(), numbers.iter().max()) else { return 1 };
    if greatest.wrapping_sub(least) as u64 >= WRAP_FREE_RANGE {
        return 1;
    }
    let mut factor = 0u64;
    for &number in numbers {
        factor = gcd(factor, number.wrapping_sub(least) as u64);
        if factor == 1 {
            break;
        }
    }
    factor.max(1) as i64
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// What a predictor leaves of a run; `None` where it needs more numbers or a smaller range.
///
/// Where a predictor looks back, its start is set so that the first residuals equal the ones after them and
/// do not widen the first mini-block.
fn predict(numbers: &[i64], predictor: Predictor, factor: i64) -> Option<Predicted> {
    let least = numbers.iter().copied().min().unwrap_or(0);
    let (mut start, mut step) = (least, 0i64);
    let mut residuals: Vec<i64> = match predictor {
        Predictor::Plain => numbers.iter().map(|number| number.wrapping_sub(least)).collect(),
        Predictor::Delta => {
            let &[first, second, ..] = numbers else { return None };
            start = first.wrapping_sub(second.wrapping_sub(first));
            let before = std::iter::once(&start).chain(numbers);
            numbers.iter().zip(before).map(|(number, before)| number.wrapping_sub(*before)).collect()
        }
        Predictor::DeltaOfDelta => {
            let &[first, second, third, ..] = numbers else { return None };
            let delta = second.wrapping_sub(first);
            let bend = third.wrapping_sub(second).wrapping_sub(delta);
            let first_delta = delta.wrapping_sub(bend);
            step = first_delta.wrapping_sub(bend);
            start = first.wrapping_sub(first_delta);
            let (mut last, mut delta) = (start, step);
            let bend_to = |&number: &i64| {
                let delta_now = number.wrapping_sub(last);
                let bend = delta_now.wrapping_sub(delta);
                (last, delta) = (number, delta_now);
                bend
            };
            numbers.iter().map(bend_to).collect()
        }
        Predictor::Linear => {
            let (&[first, _, ..], Some(&last)) = (numbers, numbers.last()) else { return None };
            let greatest = numbers.iter().copied().max()?;
            if greatest.wrapping_sub(least) as u64 >= WRAP_FREE_RANGE {
                return None;
            }
            start = first;
            let steps = i64::try_from(numbers.len() - 1).ok()?;
            step = last.wrapping_sub(first) / steps / factor * factor;
            let mut line = start;
            let above = |number: &i64| {
                let residual = number.wrapping_sub(line);
                line = line.wrapping_add(step);
                residual
            };
            numbers.iter().map(above).collect()
        }
    };
    if factor != 1 {
        residuals.iter_mut().for_each(|residual| *residual /= factor);
    }
    Some(Predicted { predictor, start, step, factor, residuals })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(numbers: &[i64], effort: Effort) -> Vec<u8> {
        let mut bytes = Vec::new();
        IntEncoder::new().encode(numbers, effort, &mut bytes);
        let (mut cursor, mut back) = (Cursor::new(&bytes), Vec::new());
        let mut unsqueezer = Unsqueezer::default();
        assert_eq!(decode(&mut cursor, numbers.len(), &mut unsqueezer, &mut back), Some(()));
        assert!(cursor.is_empty(), "bytes left over");
        assert_eq!(back, numbers);
        bytes
    }

    #[test]
    fn regular_runs_cost_only_their_head() {
        let regular: Vec<i64> = (0..4096).map(|i| 1_700_000_000_000 + i * 10_000).collect();
        assert!(round_trip(&regular, Effort::Fast).len() <= 10);
        assert!(round_trip(&[5; 300], Effort::Fast).len() <= 3);
        assert!(round_trip(&[], Effort::Fast).len() <= 3);
    }

    #[test]
    fn common_factors_are_taken_out() {
        let pages: Vec<i64> = (0..1024i64).map(|i| (i * 7919 % 61) * 4096 + 17).collect();
        assert!(round_trip(&pages, Effort::Fast).len() < 1024 * 7 / 8);
    }

    #[test]
    fn a_reset_in_a_counter_costs_a_patch() {
        let counter: Vec<i64> = (0..1024i64).map(|i| (i * 3 + i % 2) % 2000).collect();
        assert!(round_trip(&counter, Effort::Fast).len() < 1024 / 8 * 2 + 40);
    }

    #[test]
    fn the_ends_of_the_number_line_round_trip() {
        let extremes = [i64::MIN, i64::MAX, 0, -1, 1, i64::MIN + 1, i64::MAX - 1];
        for length in 0..40 {
            let numbers: Vec<i64> = (0..length).map(|i| extremes[i * 5 % 7]).collect();
            round_trip(&numbers, Effort::Fast);
            round_trip(&numbers, Effort::Small);
        }
        round_trip(&(0..2000).map(|i| extremes[i * i % 7]).collect::<Vec<_>>(), Effort::Small);
    }

    fn runs() -> impl Strategy<Value = Vec<i64>> {
        let lengths = prop_oneof![0usize..20, 240usize..270, 500usize..1100];
        (lengths, any::<u64>(), 0u32..64, 0u8..5, 1i64..5000).prop_map(
            |(length, seed, shift, shape, factor)| {
                let mut rng = crate::testing::Rng(seed);
                let mut last = rng.next() as i64 >> shift;
                (0..length)
                    .map(|i| {
                        let noise = rng.next() as i64 >> shift;
                        last = match shape {
                            0 => noise,
                            1 => last.wrapping_add(noise),
                            2 => (i as i64).wrapping_mul(factor).wrapping_add(noise >> 20),
                            3 if !rng.next().is_multiple_of(50) => last,
                            3 => noise,
                            _ => noise.wrapping_mul(factor),
                        };
                        last
                    })
                    .collect()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 192 }))]

        #[test]
        fn every_run_round_trips(numbers in runs()) {
            round_trip(&numbers, Effort::Fast);
            round_trip(&numbers, Effort::Small);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(
            numbers in runs(),
            flips in prop::collection::vec(any::<(u16, u8)>(), 1..4),
            count in 0usize..2000,
        ) {
            let mut bytes = Vec::new();
            IntEncoder::new().encode(&numbers, Effort::Small, &mut bytes);
            for (at, with) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with;
            }
            let mut out = Vec::new();
            let _ = decode(&mut Cursor::new(&bytes), count, &mut Unsqueezer::default(), &mut out);
        }
    }
}
