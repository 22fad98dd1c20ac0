//! A run of 64-bit numbers: a predictor, and what it leaves over.
//!
//! | bytes   | field    | notes                                                                          |
//! |--------:|----------|--------------------------------------------------------------------------------|
//! |       1 | `form`   | bits 0 to 2: [`Predictor`]; bit 3: has a factor; high nibble: [`Packing`]      |
//! |  varint | `start`  | zigzag                                                                         |
//! |  varint | `step`   | zigzag; predictors `DeltaOfDelta` and `Linear` only                            |
//! |  varint | `factor` | all residuals were divided by it; only where bit 3 says so, else it is 1       |
//! |         | residuals| as `Packing` says                                                              |
//!
//! | packing    | residuals                                                                              |
//! |------------|----------------------------------------------------------------------------------------|
//! | `Zero`     | none: all are zero. A constant is `Plain` and `Zero`, a regular column `Linear` and    |
//! |            | `Zero`                                                                                 |
//! | `Packed`   | `packed.rs`                                                                            |
//! | `Squeezed` | plain length (varint), then a blob: zstd of the packed form                            |
//! | `Entropy`  | `entropy.rs`                                                                           |
//! | `Sparse`   | `sparse.rs`                                                                            |
//! | `Cold`     | a blob: `cold.rs`; the predictor is `Plain`, without a factor, and starts at 0         |
//!
//! The count is not stored: it is known where the run is referred to.

use annals_model::bytes::{Cursor, PutBytes};

use super::cold::{self, COLD_COUNT_MIN};
use super::entropy::{self, Entropy, Patches};
use super::kernel::{Level, Vectors, Work};
use super::pack::MINI;
use super::packed::{self, Packed};
use super::predict::{PREDICTORS, Predictor, Run, Shape};
use super::sparse::{self, Sparse};
use crate::squeeze::{Squeezer, Unsqueezer};

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
    /// Those that are not zero.
    Sparse = 4,
    /// The numbers themselves, by pco.
    Cold = 5,
}

/// How hard an encoder tries: what is read soon should decode fast, what is kept long should be small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Entropy coding only where it saves a quarter.
    Hot,
    /// Entropy coding where it saves a sixteenth.
    Warm,
    /// Whatever is smallest.
    Cold,
}

impl Effort {
    /// Whether a compressed form is worth its slower decoding.
    fn pays(self, bytes: usize, plain_bytes: usize) -> bool {
        bytes + (plain_bytes / self.saved_one_in()).max(1) <= plain_bytes
    }

    fn saved_one_in(self) -> usize {
        match self {
            Effort::Hot => 4,
            Effort::Warm => 128,
            Effort::Cold => 256,
        }
    }
}

/// Fewer packed bytes than this are never compressed: a frame's own head is about a dozen bytes.
const SQUEEZED_BYTES_MIN: usize = 48;
/// How many predictors are packed to compare them.
const PREDICTORS_PACKED: usize = 2;
/// Shorter runs are packed in all predictors: a guess over so few numbers is often wrong.
const GUESSED_COUNT_MIN: usize = 128;
/// A guess that is smaller than another by this part is believed.
const GUESS_MARGIN_ONE_IN: u64 = 8;
/// A run that takes fewer packed bytes per number is not searched for repeats before it is cold.
const REPEATS_BYTES_MIN: usize = 2;

const HAS_FACTOR: u8 = 0x08;

const PACKINGS: [Packing; 6] =
    [Packing::Zero, Packing::Packed, Packing::Squeezed, Packing::Entropy, Packing::Sparse, Packing::Cold];

/// Predictor and packing of a form byte, and whether there is a factor.
pub(crate) fn parse_form(form: u8) -> Option<(Predictor, Packing, bool)> {
    let predictor = *PREDICTORS.get(usize::from(form & 0x07))?;
    let packing = *PACKINGS.get(usize::from(form >> 4))?;
    Some((predictor, packing, form & HAS_FACTOR != 0))
}

/// Encodes runs; holds what is reused from run to run.
pub(crate) struct IntEncoder {
    pub(crate) squeezer: Squeezer,
    residuals: Vec<i64>,
    spare: Vec<Vec<u8>>,
}

/// A run in one form.
struct Form {
    run: Run,
    packing: Packing,
    bytes: Vec<u8>,
}

impl IntEncoder {
    pub(crate) fn new() -> IntEncoder {
        IntEncoder { squeezer: Squeezer::new(), residuals: Vec::new(), spare: Vec::new() }
    }

    /// Appends the smallest form of a run that its effort allows.
    pub(crate) fn encode(&mut self, numbers: &[i64], effort: Effort, out: &mut Vec<u8>) {
        let shape = Shape::of(numbers);
        let mut guessed = Vec::with_capacity(PREDICTORS.len());
        for predictor in PREDICTORS {
            let Some(run) = shape.begin(numbers, predictor) else { continue };
            let spread = run.spread(numbers, &mut self.residuals);
            if spread == 0 && self.is_exact(run, numbers) {
                return put_head(run, Packing::Zero, out);
            }
            guessed.push((spread, run));
        }
        // A stable sort keeps the simpler first.
        guessed.sort_by_key(|&(spread, _)| spread);
        if numbers.len() >= GUESSED_COUNT_MIN {
            let least = guessed.first().map_or(0, |&(spread, _)| spread);
            let margin = if effort == Effort::Hot { GUESS_MARGIN_ONE_IN } else { 1 };
            guessed.truncate(PREDICTORS_PACKED);
            guessed.retain(|&(spread, _)| spread <= least + least / margin);
        }
        let mut packed: Vec<Form> = Vec::with_capacity(guessed.len());
        for (_, run) in guessed {
            packed.push(self.pack(run, numbers));
        }
        packed.sort_by_key(|form| form.bytes.len());
        let Some(best) = packed.first() else {
            // `Plain` takes every run.
            return;
        };
        let mut smaller = Vec::new();
        if best.packing == Packing::Packed && best.bytes.len() >= SQUEEZED_BYTES_MIN {
            let candidates = if effort == Effort::Hot { 1 } else { PREDICTORS_PACKED };
            let bytes_max = best.bytes.len() - best.bytes.len() / effort.saved_one_in();
            for form in packed.iter().take(candidates) {
                form.run.residuals(numbers, &mut self.residuals);
                let mut bytes = Vec::new();
                if entropy::encode(&self.residuals, bytes_max, &mut self.squeezer, &mut bytes) {
                    smaller.push(Form { run: form.run, packing: Packing::Entropy, bytes });
                }
            }
            // Runs that pack well are not searched for repeats: it would take most of the time.
            let searched = effort == Effort::Cold || best.bytes.len() >= numbers.len() * REPEATS_BYTES_MIN;
            if searched && let Some(frame) = self.squeezer.repeats(&best.bytes) {
                let mut bytes = Vec::with_capacity(frame.len() + 8);
                bytes.put_varint(best.bytes.len() as u64);
                bytes.put_blob(&frame);
                smaller.push(Form { run: best.run, packing: Packing::Squeezed, bytes });
            }
        }
        if effort == Effort::Cold
            && best.bytes.len() >= SQUEEZED_BYTES_MIN
            && numbers.len() >= COLD_COUNT_MIN
            && let Some(chunk) = cold::encode(numbers)
        {
            let run = Run { predictor: Predictor::Plain, start: 0, step: 0, factor: 1 };
            let mut bytes = Vec::with_capacity(chunk.len() + 4);
            bytes.put_blob(&chunk);
            smaller.push(Form { run, packing: Packing::Cold, bytes });
        }
        let smallest = smaller.iter().min_by_key(|form| form.bytes.len());
        let form = smallest.filter(|form| effort.pays(form.bytes.len(), best.bytes.len())).unwrap_or(best);
        put_head(form.run, form.packing, out);
        out.put(&form.bytes);
        self.spare.extend(packed.into_iter().map(|form| form.bytes));
    }

    fn is_exact(&mut self, run: Run, numbers: &[i64]) -> bool {
        run.residuals(numbers, &mut self.residuals);
        self.residuals.iter().all(|&residual| residual == 0)
    }

    /// The run in mini-blocks, or as a few numbers where there are few.
    fn pack(&mut self, run: Run, numbers: &[i64]) -> Form {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        run.residuals(numbers, &mut self.residuals);
        if sparse::encode(&self.residuals, &mut bytes) {
            return Form { run, packing: Packing::Sparse, bytes };
        }
        packed::encode(&self.residuals, &mut bytes);
        Form { run, packing: Packing::Packed, bytes }
    }
}

pub(super) fn put_head(run: Run, packing: Packing, out: &mut Vec<u8>) {
    let has_factor = packing != Packing::Zero && run.factor != 1;
    let flag = if has_factor { HAS_FACTOR } else { 0 };
    out.put_u8(run.predictor as u8 | flag | (packing as u8) << 4);
    out.put_varint_signed(run.start);
    if run.predictor.has_step() {
        out.put_varint_signed(run.step);
    }
    if has_factor {
        out.put_varint(run.factor as u64);
    }
}

/// Where residuals come from: at most [`MINI`] of a run's next ones at a time.
pub(crate) trait Source {
    /// Fills all of `residuals`; `None` where the bytes do not hold them. Must be `#[inline(always)]`.
    fn next<V: Vectors>(&mut self, residuals: &mut [i64]) -> Option<()>;
}

/// Where numbers go: at most [`MINI`] of a run's next ones at a time.
pub(crate) trait Sink {
    /// Takes them. Must be `#[inline(always)]`.
    fn put(&mut self, numbers: &[i64]);

    /// Whether it needs no more. Must be `#[inline(always)]`.
    #[inline(always)]
    fn is_done(&self) -> bool {
        false
    }
}

/// Residuals of which all are zero.
struct Zeros;

impl Source for Zeros {
    #[inline(always)]
    fn next<V: Vectors>(&mut self, residuals: &mut [i64]) -> Option<()> {
        residuals.fill(0);
        Some(())
    }
}

/// Residuals in one piece.
struct Whole<'n>(&'n [i64]);

impl Source for Whole<'_> {
    #[inline(always)]
    fn next<V: Vectors>(&mut self, residuals: &mut [i64]) -> Option<()> {
        let (taken, rest) = self.0.split_at_checked(residuals.len())?;
        self.0 = rest;
        residuals.copy_from_slice(taken);
        Some(())
    }
}

impl Sink for Vec<i64> {
    #[inline(always)]
    fn put(&mut self, numbers: &[i64]) {
        self.extend_from_slice(numbers);
    }
}

/// The loop over a run's mini-blocks.
struct Decode<'s, R, S> {
    source: R,
    run: Run,
    count: usize,
    sink: &'s mut S,
}

impl<R: Source, S: Sink> Work for Decode<'_, R, S> {
    /// How many numbers were not needed.
    type Output = Option<usize>;

    #[inline(always)]
    fn run<V: Vectors>(mut self) -> Option<usize> {
        let mut numbers = [0i64; MINI];
        let mut left = self.count;
        while left > 0 && !self.sink.is_done() {
            let numbers = numbers.get_mut(..left.min(MINI))?;
            self.source.next::<V>(numbers)?;
            self.run.advance::<V>(numbers);
            self.sink.put(numbers);
            left -= numbers.len();
        }
        Some(left)
    }
}

/// What decoders keep from run to run.
#[derive(Default)]
pub(crate) struct Decoding {
    pub(crate) unsqueezer: Unsqueezer,
    /// Numbers that are decoded in one piece.
    whole: Vec<i64>,
}

/// Reads a run of `count` numbers into `sink`, or as many as it needs. `None` where the bytes are not one; the sink may have got a part then. The
/// caller bounds `count`.
pub(crate) fn decode<S: Sink>(
    cursor: &mut Cursor<'_>,
    count: usize,
    level: Level,
    decoding: &mut Decoding,
    sink: &mut S,
) -> Option<()> {
    let (predictor, packing, has_factor) = parse_form(cursor.u8()?)?;
    let start = cursor.varint_signed()?;
    let step = if predictor.has_step() { cursor.varint_signed()? } else { 0 };
    let factor = if has_factor { cursor.varint()? as i64 } else { 1 };
    let run = Run { predictor, start, step, factor };
    let left = match packing {
        Packing::Zero => level.run(Decode { source: Zeros, run, count, sink }),
        Packing::Packed => level.run(Decode { source: Packed(cursor), run, count, sink }),
        Packing::Entropy => {
            let source = Entropy::open(cursor, count, &mut decoding.unsqueezer)?;
            level.run(Decode { source, run, count, sink })
        }
        Packing::Sparse => {
            let source = Sparse(Patches::open(cursor, count)?);
            level.run(Decode { source, run, count, sink })
        }
        Packing::Squeezed => {
            let plain_bytes = usize::try_from(cursor.varint()?).ok()?;
            // A number takes at most 8 bytes packed, or 12 as a patch; a mini-block's head at most 12.
            if plain_bytes > count.checked_mul(24)?.checked_add(32)? {
                return None;
            }
            let mut plain = Cursor::new(decoding.unsqueezer.exactly(cursor.blob()?, plain_bytes)?);
            let left = level.run(Decode { source: Packed(&mut plain), run, count, sink });
            left.filter(|&left| left > 0 || plain.is_empty())
        }
        Packing::Cold => {
            decoding.whole.clear();
            decoding.whole.resize(count, 0);
            cold::decode(cursor.blob()?, &mut decoding.whole)?;
            level.run(Decode { source: Whole(&decoding.whole), run, count, sink })
        }
    };
    left.map(|_| ())
}

/// The same into a vector, replacing what it held.
pub(crate) fn decode_into(
    cursor: &mut Cursor<'_>,
    count: usize,
    decoding: &mut Decoding,
    out: &mut Vec<i64>,
) -> Option<()> {
    out.clear();
    out.reserve(count);
    decode(cursor, count, Level::widest(), decoding, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(numbers: &[i64], effort: Effort) -> Vec<u8> {
        let mut bytes = Vec::new();
        IntEncoder::new().encode(numbers, effort, &mut bytes);
        for level in Level::all() {
            let (mut cursor, mut back) = (Cursor::new(&bytes), Vec::new());
            let decoded = decode(&mut cursor, numbers.len(), level, &mut Decoding::default(), &mut back);
            assert_eq!(decoded, Some(()), "{level:?}");
            assert!(cursor.is_empty(), "bytes left over");
            assert_eq!(back, numbers, "{level:?}");
        }
        bytes
    }

    #[test]
    fn regular_runs_cost_only_their_head() {
        let regular: Vec<i64> = (0..4096).map(|i| 1_700_000_000_000 + i * 10_000).collect();
        assert!(round_trip(&regular, Effort::Hot).len() <= 10);
        assert!(round_trip(&[5; 300], Effort::Hot).len() <= 3);
        assert!(round_trip(&[], Effort::Hot).len() <= 3);
    }

    #[test]
    fn common_factors_are_taken_out() {
        let pages: Vec<i64> = (0..1024i64).map(|i| (i * 7919 % 61) * 4096 + 17).collect();
        assert!(round_trip(&pages, Effort::Hot).len() < 1024 * 7 / 8);
    }

    #[test]
    fn a_reset_in_a_counter_costs_a_patch() {
        let counter: Vec<i64> = (0..1024i64).map(|i| (i * 3 + i % 2) % 2000).collect();
        assert!(round_trip(&counter, Effort::Hot).len() < 1024 / 8 * 2 + 40);
    }

    #[test]
    fn the_ends_of_the_number_line_round_trip() {
        let extremes = [i64::MIN, i64::MAX, 0, -1, 1, i64::MIN + 1, i64::MAX - 1];
        for length in 0..40 {
            let numbers: Vec<i64> = (0..length).map(|i| extremes[i * 5 % 7]).collect();
            round_trip(&numbers, Effort::Hot);
            round_trip(&numbers, Effort::Cold);
        }
        round_trip(&(0..2000).map(|i| extremes[i * i % 7]).collect::<Vec<_>>(), Effort::Cold);
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
            round_trip(&numbers, Effort::Hot);
            round_trip(&numbers, Effort::Warm);
            round_trip(&numbers, Effort::Cold);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(
            numbers in runs(),
            flips in prop::collection::vec(any::<(u16, u8)>(), 1..4),
            count in 0usize..2000,
        ) {
            let mut bytes = Vec::new();
            IntEncoder::new().encode(&numbers, Effort::Cold, &mut bytes);
            for (at, with) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with;
            }
            let mut out = Vec::new();
            let _ = decode_into(&mut Cursor::new(&bytes), count, &mut Decoding::default(), &mut out);
        }
    }
}
